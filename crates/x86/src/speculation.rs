// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a processor says of speculation, and how software steers it (SDM 4 table 2-2, SDM 3A 18.18).

use bitfield_struct::bitfield;

/// IA32_ARCH_CAPABILITIES. A bit `*_no` says that the processor does not have a weakness.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ArchCapabilities {
    /// Rogue data cache load (Meltdown).
    pub rdcl_no: bool,
    /// Enhanced IBRS: set once, it stays.
    pub ibrs_all: bool,
    /// RET may take its target from elsewhere when the return stack is empty.
    pub rsba: bool,
    /// A hypervisor need not flush the L1 data cache at VM entry.
    pub skip_l1dfl_vmentry: bool,
    /// Speculative store bypass.
    pub ssb_no: bool,
    /// Microarchitectural data sampling.
    pub mds_no: bool,
    /// Machine check on a change of page size.
    pub if_pschange_mc_no: bool,
    /// IA32_TSX_CTRL exists.
    pub tsx_ctrl: bool,
    /// TSX asynchronous abort.
    pub taa_no: bool,
    /// IA32_MCU_CONTROL exists.
    pub mcu_control: bool,
    /// IA32_MISC_PACKAGE_CTLS exists.
    pub misc_package_ctls: bool,
    /// The energy filter can be controlled.
    pub energy_filtering_ctl: bool,
    /// Data-operand independent timing can be controlled.
    pub doitm: bool,
    /// Shared buffers data read, sideband stale data propagator.
    pub sbdr_ssdp_no: bool,
    /// Fill buffer stale data propagator.
    pub fbsdp_no: bool,
    /// Primary stale data propagator.
    pub psdp_no: bool,
    __: bool,
    /// VERW overwrites fill buffers.
    pub fb_clear: bool,
    /// That can be switched off.
    pub fb_clear_ctrl: bool,
    /// As `rsba`, restricted.
    pub rrsba: bool,
    /// Branch history injection.
    pub bhi_no: bool,
    /// IA32_XAPIC_DISABLE_STATUS exists.
    pub xapic_disable_status: bool,
    __: bool,
    /// IA32_OVERCLOCKING_STATUS exists.
    pub overclocking_status: bool,
    /// Post-barrier return stack buffer.
    pub pbrsb_no: bool,
    /// The mitigation of gather data sampling can be controlled.
    pub gds_ctrl: bool,
    /// Gather data sampling.
    pub gds_no: bool,
    /// Register file data sampling.
    pub rfds_no: bool,
    /// VERW overwrites register files.
    pub rfds_clear: bool,
    /// UMONITOR can be ignored.
    pub ign_umonitor_support: bool,
    /// MONITOR and UMONITOR can be mitigated.
    pub mon_umon_mitg_support: bool,
    #[bits(31)]
    __: u32,
    /// Indirect target selection.
    pub its_no: bool,
    __: bool,
}

impl ArchCapabilities {
    /// A processor with enhanced IBRS on which nothing else has to be worked around.
    pub const NOTHING_TO_DO: Self = Self::new()
        .with_rdcl_no(true)
        .with_ibrs_all(true)
        .with_skip_l1dfl_vmentry(true)
        .with_ssb_no(true)
        .with_mds_no(true)
        .with_if_pschange_mc_no(true)
        .with_taa_no(true)
        .with_sbdr_ssdp_no(true)
        .with_fbsdp_no(true)
        .with_psdp_no(true)
        .with_bhi_no(true)
        .with_pbrsb_no(true)
        .with_gds_no(true)
        .with_rfds_no(true)
        .with_its_no(true);
}

/// IA32_SPEC_CTRL.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SpecCtrl {
    /// Indirect branch restricted speculation.
    pub ibrs: bool,
    /// Single thread indirect branch predictors.
    pub stibp: bool,
    /// Speculative store bypass disable.
    pub ssbd: bool,
    #[bits(61)]
    __: u64,
}

/// IA32_PRED_CMD, which is written only.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PredCmd {
    /// Indirect branch prediction barrier.
    pub ibpb: bool,
    #[bits(63)]
    __: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_where_the_manual_puts_them() {
        assert_eq!(ArchCapabilities::new().with_rfds_clear(true).with_psdp_no(true).into_bits(), 0x1000_8000);
        assert_eq!(
            ArchCapabilities::new().with_its_no(true).with_bhi_no(true).into_bits(),
            1 << 62 | 1 << 20
        );
        assert_eq!(ArchCapabilities::NOTHING_TO_DO.into_bits(), 0x4000_0000_0D10_E17B);
        assert_eq!(SpecCtrl::new().with_ssbd(true).into_bits(), 4);
    }
}

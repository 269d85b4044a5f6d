// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MSRs of the processor itself that engines do not keep, as firmware leaves them.
//!
//! The list is short on purpose: what a guest finds by CPUID, or reads without asking CPUID because every processor of the vendor has it. Everything
//! else is #GP, which guests that probe are ready for.

use x86::control::Cr4;
use x86::memory_type::{MemoryType, MtrrCap, MtrrDefType};
use x86::msr;
use x86::speculation::{ArchCapabilities, PredCmd, SpecCtrl};

use super::GeneralProtection;
use crate::machine_check::{MachineCheck, MachineCheckRegisters};
use crate::processor::Vendor;

/// Pairs of variable-range MTRRs, and fixed-range MTRRs.
const VARIABLE_PAIRS: usize = 8;
const FIXED: usize = 11;
const MTRR_CAP: MtrrCap =
    MtrrCap::new().with_variable_count(VARIABLE_PAIRS as u8).with_fixed(true).with_write_combining(true);

/// Microcode revision 1, where Intel shows it (bits 63:32) and where AMD does (31:0).
const MICROCODE_REVISION: u64 = 1 << 32 | 1;

/// IA32_MISC_ENABLE: fast strings; branch trace and PEBS unavailable (SDM 4 table 2-2).
const MISC_ENABLE_FAST_STRINGS: u64 = 1;
const MISC_ENABLE_RESET: u64 = MISC_ENABLE_FAST_STRINGS | 1 << 11 | 1 << 12;
/// What a guest may change of it: fast strings, and the limit and XD disable bits, which it may only keep clear.
const MISC_ENABLE_WRITABLE: u64 = MISC_ENABLE_FAST_STRINGS;

/// AMD SYSCFG: the MTRR fixed-range and TOM2 enables (APM 2 7.9, 7.9.6).
const SYSCFG_DEFINED: u64 = 0x1F << 18;
/// AMD HWCR: TscFreqSel, the TSC counts at one rate; and the bits that may be written: SMM lock, flush filter, IGNNE
/// emulation, MC status writes, TscFreqSel, IRPERF.
const HWCR_RESET: u64 = 1 << 24;
const HWCR_MC_STATUS_WRITES: u64 = 1 << 18;
const HWCR_DEFINED: u64 = 1 | 1 << 3 | 1 << 6 | 1 << 8 | HWCR_MC_STATUS_WRITES | 1 << 24 | 1 << 30;
/// AMD DE_CFG: LFENCE serialises; it cannot be made not to.
const DE_CFG: u64 = 1 << 1;
/// AMD OS visible workarounds: the length of the list, and the list. Empty: this processor has no errata to work around.
const OSVW_ID_LENGTH: u32 = 0xC001_0140;
const OSVW_STATUS: u32 = 0xC001_0141;
/// AMD NB_CFG: guests of the vendor switch EnableCf8ExtCfg on without asking, for a PCI bus that they may then not find.
const NB_CFG: u32 = 0xC001_001F;
const NB_CFG_DEFINED: u64 = 1 << 46;
/// IA32_FEATURE_CONTROL: locked with nothing enabled.
const FEATURE_CONTROL_LOCKED: u64 = 1;

/// IA32_SPEC_CTRL: IBRS, and STIBP, which may be set wherever IBRS exists. Neither changes anything for a processor whose engine does not speculate in the
/// guest's name.
const SPEC_CTRL_WRITABLE: u64 = SpecCtrl::new().with_ibrs(true).with_stibp(true).into_bits();
const PRED_CMD_WRITABLE: u64 = PredCmd::new().with_ibpb(true).into_bits();

/// MSRs that a VP's instructions alone reach, shared by its VTLs (TLFS 15.11.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessorMsrs {
    mtrr_def_type: u64,
    mtrr_fixed: [u64; FIXED],
    mtrr_variable: [u64; 2 * VARIABLE_PAIRS],
    machine_check: MachineCheckRegisters,
    misc_enable: u64,
    spec_ctrl: u64,
    syscfg: u64,
    hwcr: u64,
    nb_cfg: u64,
}

state::state!(ProcessorMsrs {
    mtrr_def_type,
    mtrr_fixed,
    mtrr_variable,
    machine_check,
    misc_enable,
    spec_ctrl,
    syscfg,
    hwcr,
    nb_cfg,
});

/// Which fixed-range MTRR a number is.
const fn fixed_index(number: u32) -> Option<usize> {
    match number {
        msr::IA32_MTRR_FIX64K_00000 => Some(0),
        msr::IA32_MTRR_FIX16K_80000 | msr::IA32_MTRR_FIX16K_A0000 => {
            Some(1 + (number - msr::IA32_MTRR_FIX16K_80000) as usize)
        }
        msr::IA32_MTRR_FIX4K_C0000..=msr::IA32_MTRR_FIX4K_F8000 => {
            Some(3 + (number - msr::IA32_MTRR_FIX4K_C0000) as usize)
        }
        _ => None,
    }
}

const VARIABLE_LAST: u32 = msr::IA32_MTRR_PHYSBASE0 + 2 * VARIABLE_PAIRS as u32 - 1;

impl ProcessorMsrs {
    /// As firmware leaves them: MTRRs on, all memory write-back. `machine_checks` may be injected, or not.
    pub(crate) fn new(machine_checks: bool) -> Self {
        let write_back = MemoryType::WriteBack as u8;
        let def_type =
            MtrrDefType::new().with_enable(true).with_fixed_enable(true).with_default_type(write_back);
        Self {
            mtrr_def_type: def_type.into_bits(),
            mtrr_fixed: [u64::from_le_bytes([write_back; 8]); FIXED],
            mtrr_variable: [0; 2 * VARIABLE_PAIRS],
            machine_check: MachineCheckRegisters::new(machine_checks),
            misc_enable: MISC_ENABLE_RESET,
            spec_ctrl: 0,
            syscfg: 0,
            hwcr: HWCR_RESET,
            nb_cfg: 0,
        }
    }

    /// What the MTRRs say of the memory at `gpa` (SDM 3A 11.11.4.1). Where ranges overlap, the stricter type counts.
    pub(crate) fn memory_type(&self, gpa: u64, address_bits: u32) -> MemoryType {
        let of = |byte: u64| MemoryType::from_bits(byte as u8).unwrap_or(MemoryType::Uncacheable);
        let def_type = MtrrDefType::from_bits(self.mtrr_def_type);
        if !def_type.enable() {
            return MemoryType::Uncacheable;
        }
        if gpa < 1 << 20 && def_type.fixed_enable() {
            // One register of 64 KiB pieces, two of 16 KiB, eight of 4 KiB; eight pieces each.
            let piece = match gpa {
                0..0x8_0000 => gpa >> 16,
                0x8_0000..0xC_0000 => 8 + ((gpa - 0x8_0000) >> 14),
                _ => 24 + ((gpa - 0xC_0000) >> 12),
            } as usize;
            return of(self.mtrr_fixed[piece / 8] >> (8 * (piece % 8)) & 0xFF);
        }
        let page_bits = (1u64 << address_bits) - 0x1000;
        let mut found = None;
        for pair in self.mtrr_variable.chunks_exact(2) {
            let (base, mask) = (pair[0], pair[1]);
            if mask & 1 << 11 == 0 || (gpa ^ base) & mask & page_bits != 0 {
                continue;
            }
            let memory_type = of(base & 0xFF);
            found = Some(match found {
                None => memory_type,
                Some(MemoryType::WriteBack) => memory_type,
                Some(other) if memory_type == MemoryType::WriteBack => other,
                Some(other) if other == memory_type => other,
                Some(_) => MemoryType::Uncacheable,
            });
        }
        found.unwrap_or(of(def_type.default_type().into()))
    }

    /// Takes up a machine check that is about to be delivered. False if that shuts the processor down, because the guest is still busy with the one before or has
    /// not switched them on (SDM 3B 16.3.1.2, 3A 6.15).
    pub(crate) fn report_machine_check(&mut self, check: MachineCheck, cr4: u64) -> bool {
        self.machine_check.report(check) && Cr4::from_bits(cr4).mce()
    }

    /// RDMSR; `None` is #GP.
    pub(crate) fn read(&self, number: u32, vendor: Vendor) -> Option<u64> {
        if let Some(index) = fixed_index(number) {
            return Some(self.mtrr_fixed[index]);
        }
        Some(match (vendor, number) {
            (_, msr::IA32_MTRRCAP) => MTRR_CAP.into_bits(),
            (_, msr::IA32_MTRR_DEF_TYPE) => self.mtrr_def_type,
            (_, msr::IA32_MTRR_PHYSBASE0..=VARIABLE_LAST) => {
                self.mtrr_variable[(number - msr::IA32_MTRR_PHYSBASE0) as usize]
            }
            (_, msr::IA32_BIOS_SIGN_ID) => MICROCODE_REVISION,
            (_, msr::IA32_MCG_CAP | msr::IA32_MCG_STATUS | msr::IA32_MC0_CTL..=msr::IA32_MC0_MISC) => {
                return self.machine_check.read(number, vendor);
            }
            // No last-branch records and no branch trap.
            (_, msr::IA32_DEBUGCTL) => 0,
            (Vendor::Intel, msr::IA32_MISC_ENABLE) => self.misc_enable,
            (Vendor::Intel, msr::IA32_FEATURE_CONTROL) => FEATURE_CONTROL_LOCKED,
            (Vendor::Intel, msr::IA32_ARCH_CAPABILITIES) => ArchCapabilities::NOTHING_TO_DO.into_bits(),
            (Vendor::Intel, msr::IA32_SPEC_CTRL) => self.spec_ctrl,
            (Vendor::Amd, msr::AMD_SYSCFG) => self.syscfg,
            (Vendor::Amd, msr::AMD_HWCR) => self.hwcr,
            (Vendor::Amd, msr::AMD_DE_CFG) => DE_CFG,
            (Vendor::Amd, NB_CFG) => self.nb_cfg,
            (Vendor::Amd, OSVW_ID_LENGTH | OSVW_STATUS) => 0,
            _ => return None,
        })
    }

    /// WRMSR. `address_bits` is the width of guest-physical addresses.
    pub(crate) fn write(
        &mut self,
        number: u32,
        value: u64,
        vendor: Vendor,
        address_bits: u32,
    ) -> Result<(), GeneralProtection> {
        let require = |valid: bool| if valid { Ok(()) } else { Err(GeneralProtection) };
        let memory_type = |byte: u64| MemoryType::is_valid_in_mtrr(byte as u8);
        let page_bits = (1u64 << address_bits) - 0x1000;
        if let Some(index) = fixed_index(number) {
            require(value.to_le_bytes().into_iter().all(MemoryType::is_valid_in_mtrr))?;
            self.mtrr_fixed[index] = value;
            return Ok(());
        }
        match (vendor, number) {
            (_, msr::IA32_MTRR_DEF_TYPE) => {
                require(value & !0xCFF == 0 && memory_type(value))?;
                self.mtrr_def_type = value;
            }
            (_, msr::IA32_MTRR_PHYSBASE0..=VARIABLE_LAST) => {
                let index = (number - msr::IA32_MTRR_PHYSBASE0) as usize;
                let is_mask = index % 2 == 1;
                require(if is_mask {
                    value & !(page_bits | 1 << 11) == 0
                } else {
                    value & !(page_bits | 0xFF) == 0 && memory_type(value)
                })?;
                self.mtrr_variable[index] = value;
            }
            // Guests write zero before they ask for the revision; there is no other to load.
            (_, msr::IA32_BIOS_SIGN_ID) => {}
            (_, msr::IA32_MCG_CAP | msr::IA32_MCG_STATUS | msr::IA32_MC0_CTL..=msr::IA32_MC0_MISC) => {
                let made_up = vendor == Vendor::Amd && self.hwcr & HWCR_MC_STATUS_WRITES != 0;
                self.machine_check.write(number, value, made_up)?;
            }
            (_, msr::IA32_DEBUGCTL) => require(value == 0)?,
            (Vendor::Intel, msr::IA32_MISC_ENABLE) => {
                require((value ^ self.misc_enable) & !MISC_ENABLE_WRITABLE == 0)?;
                self.misc_enable = value;
            }
            (Vendor::Intel, msr::IA32_SPEC_CTRL) => {
                require(value & !SPEC_CTRL_WRITABLE == 0)?;
                self.spec_ctrl = value;
            }
            (Vendor::Intel, msr::IA32_PRED_CMD) => require(value & !PRED_CMD_WRITABLE == 0)?,
            (Vendor::Amd, msr::AMD_SYSCFG) => {
                require(value & !SYSCFG_DEFINED == 0)?;
                self.syscfg = value;
            }
            (Vendor::Amd, msr::AMD_HWCR) => {
                require(value & !HWCR_DEFINED == 0)?;
                self.hwcr = value;
            }
            (Vendor::Amd, msr::AMD_DE_CFG) => require(value | DE_CFG == DE_CFG)?,
            (Vendor::Amd, NB_CFG) => {
                require(value & !NB_CFG_DEFINED == 0)?;
                self.nb_cfg = value;
            }
            _ => return Err(GeneralProtection),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_left_all_memory_write_back() {
        let msrs = ProcessorMsrs::new(true);
        assert_eq!(msrs.read(0x2FF, Vendor::Intel), Some(0xC06));
        assert_eq!(msrs.read(0xFE, Vendor::Amd), Some(0x508));
        for number in [0x250, 0x258, 0x259, 0x268, 0x26F] {
            assert_eq!(msrs.read(number, Vendor::Intel), Some(0x0606_0606_0606_0606), "{number:#x}");
        }
        assert_eq!(msrs.read(0x20F, Vendor::Intel), Some(0));
        assert_eq!(msrs.read(0x210, Vendor::Intel), None);
    }

    #[test]
    fn invalid_memory_types_and_addresses_fault() {
        let mut msrs = ProcessorMsrs::new(true);
        for (number, value) in [
            (0x2FF, 2),
            (0x2FF, 0x1006),
            (0x250, 0x0606_0206_0606_0606),
            (0x200, 7),
            (0x201, 1 << 40),
            (0x201, 1),
        ] {
            assert!(msrs.write(number, value, Vendor::Intel, 40).is_err(), "{number:#x} {value:#x}");
        }
        assert_eq!(msrs, ProcessorMsrs::new(true));
        msrs.write(0x201, 0xFF_8000_0800, Vendor::Intel, 40).unwrap();
        assert_eq!(msrs.read(0x201, Vendor::Intel), Some(0xFF_8000_0800));
    }

    /// B08.004, B08.016: the platform id is not the guest's, and what does not exist faults.
    #[test]
    fn the_rest_faults() {
        let msrs = ProcessorMsrs::new(true);
        for number in [0x17, 0x1234_5678, 0xC001_0015] {
            assert_eq!(msrs.read(number, Vendor::Intel), None);
        }
        assert_eq!(msrs.read(0x1A0, Vendor::Amd), None);
        assert_eq!(msrs.read(0xC001_0015, Vendor::Amd), Some(1 << 24));
    }

    /// AMD's processors let software write to the bank of machine checks after it has asked for that; Intel's do not.
    #[test]
    fn a_machine_check_is_made_up_on_amds_processors_alone() {
        for (vendor, asked, taken) in
            [(Vendor::Amd, true, true), (Vendor::Amd, false, false), (Vendor::Intel, false, false)]
        {
            let mut msrs = ProcessorMsrs::new(true);
            if asked {
                msrs.write(msr::AMD_HWCR, HWCR_RESET | HWCR_MC_STATUS_WRITES, vendor, 40).unwrap();
            }
            assert_eq!(msrs.write(msr::IA32_MC0_STATUS, 1 << 63, vendor, 40).is_ok(), taken, "{vendor:?}");
        }
    }

    /// Intel's processors tell by an MSR what AMD's tell by CPUID.
    #[test]
    fn speculation_is_steered_on_intels_processors_alone() {
        let mut msrs = ProcessorMsrs::new(true);
        let capabilities = ArchCapabilities::from_bits(msrs.read(0x10A, Vendor::Intel).unwrap());
        assert!(capabilities.ibrs_all() && capabilities.rdcl_no() && capabilities.its_no());
        assert!(msrs.write(0x10A, 0, Vendor::Intel, 40).is_err());
        msrs.write(0x48, 1, Vendor::Intel, 40).unwrap();
        assert!(msrs.write(0x48, 4, Vendor::Intel, 40).is_err(), "SSBD is not offered");
        assert_eq!(msrs.read(0x48, Vendor::Intel), Some(1));
        msrs.write(0x49, 1, Vendor::Intel, 40).unwrap();
        assert!(msrs.write(0x49, 2, Vendor::Intel, 40).is_err());
        assert_eq!(msrs.read(0x49, Vendor::Intel), None, "it is written only");
        for number in [0x48, 0x49, 0x10A] {
            assert_eq!(msrs.read(number, Vendor::Amd), None);
            assert!(msrs.write(number, 0, Vendor::Amd, 40).is_err());
        }
    }

    #[test]
    fn the_microcode_revision_survives_writes() {
        let mut msrs = ProcessorMsrs::new(true);
        msrs.write(0x8B, 0, Vendor::Intel, 40).unwrap();
        // Intel's processors show it in bits 63:32, AMD's in 31:0.
        assert_eq!(msrs.read(0x8B, Vendor::Intel), Some(1 << 32 | 1));
    }

    /// SDM 3A 11.11.2.2: 8 ranges of 64 KiB, 16 of 16 KiB, 64 of 4 KiB, a byte for each.
    #[test]
    fn fixed_ranges_say_how_the_first_mebibyte_is_cached() {
        let registers = [0x250, 0x258, 0x259].into_iter().chain(0x268..=0x26F);
        let ranges: Vec<(u32, u32, u64)> = registers
            .flat_map(|number| (0..8).map(move |piece| (number, piece)))
            .scan(0u64, |next, (number, piece)| {
                let start = *next;
                *next += match number {
                    0x250 => 0x1_0000,
                    0x258 | 0x259 => 0x4000,
                    _ => 0x1000,
                };
                Some((number, piece, start))
            })
            .collect();
        let ends = ranges[1..].iter().map(|range| range.2).chain([1 << 20]);
        for (&(number, piece, start), end) in ranges.iter().zip(ends) {
            let mut msrs = ProcessorMsrs::new(false);
            let value = 0x0606_0606_0606_0606 ^ 2 << (8 * piece);
            msrs.write(number, value, Vendor::Intel, 40).unwrap();
            assert_eq!(msrs.read(number, Vendor::Amd), Some(value));
            let of = |gpa: u64| msrs.memory_type(gpa, 40);
            assert_eq!(
                (of(start), of(end - 1)),
                (MemoryType::WriteThrough, MemoryType::WriteThrough),
                "{start:#x}"
            );
            assert_eq!(
                (of(start.wrapping_sub(1)), of(end)),
                (MemoryType::WriteBack, MemoryType::WriteBack),
                "{start:#x}"
            );
        }
    }

    #[test]
    fn mtrrs_that_are_off_do_not_count() {
        let mut msrs = ProcessorMsrs::new(false);
        msrs.write(0x250, 0, Vendor::Intel, 40).unwrap();
        assert_eq!(msrs.memory_type(0x1000, 40), MemoryType::Uncacheable);
        msrs.write(0x2FF, 0x804, Vendor::Intel, 40).unwrap();
        assert_eq!(
            msrs.memory_type(0x1000, 40),
            MemoryType::WriteThrough,
            "the default, without fixed ranges"
        );
        msrs.write(0x2FF, 0x406, Vendor::Intel, 40).unwrap();
        assert_eq!(msrs.memory_type(0x1000, 40), MemoryType::Uncacheable, "without MTRRs");
        assert_eq!(msrs.memory_type(0x10_0000, 40), MemoryType::Uncacheable);
    }

    /// SDM 3A 11.11.4.1: where variable ranges overlap, UC wins, then WT over WB; what else overlaps is undefined, and UC here.
    #[test]
    fn the_stricter_of_two_ranges_counts() {
        use MemoryType::{Uncacheable, WriteBack, WriteCombining, WriteProtected, WriteThrough};
        let types = [WriteBack, WriteThrough, WriteCombining, WriteProtected, Uncacheable];
        for first in types {
            for second in types {
                let mut msrs = ProcessorMsrs::new(false);
                // A range of 1 MiB at 256 MiB, and one of 64 KiB inside.
                for (number, value) in [
                    (0x202, 0x1000_0000 | first as u64),
                    (0x203, 0xFF_FFF0_0800),
                    (0x20E, 0x1001_0000 | second as u64),
                    (0x20F, 0xFF_FFFF_0800),
                ] {
                    msrs.write(number, value, Vendor::Intel, 40).unwrap();
                }
                let expected = match (first, second) {
                    (one, other) if one == other => one,
                    (WriteBack, other) | (other, WriteBack) => other,
                    _ => Uncacheable,
                };
                assert_eq!(msrs.memory_type(0x1001_8000, 40), expected, "{first:?} and {second:?}");
                assert_eq!(msrs.memory_type(0x1001_0000, 40), expected, "{first:?} and {second:?}");
                assert_eq!(msrs.memory_type(0x1000_F000, 40), first);
                assert_eq!(msrs.memory_type(0x1002_0000, 40), first);
                assert_eq!(msrs.memory_type(0x1010_0000, 40), WriteBack, "the default");
                assert_eq!(msrs.memory_type(0x0FFF_F000, 40), WriteBack);
                msrs.write(0x203, 0xFF_FFF0_0000, Vendor::Intel, 40).unwrap();
                assert_eq!(msrs.memory_type(0x1000_0000, 40), WriteBack, "a range that is not valid");
            }
        }
    }

    /// Which MSRs there are, and which of their bits can be set: each of them alone.
    #[test]
    fn bits_that_do_not_exist_fault() {
        let all = |bits: &[u32]| bits.iter().fold(0u64, |all, bit| all | 1 << bit);
        for (vendor, number, reset, writable) in [
            (Vendor::Intel, 0x17A, 0, 0b111),
            (Vendor::Amd, 0x17A, 0, 0b111),
            (Vendor::Intel, 0x1D9, 0, 0),
            // Fast strings can be switched off; that there is no branch trace and no PEBS stays.
            (Vendor::Intel, 0x1A0, all(&[0, 11, 12]), 1),
            (Vendor::Intel, 0x48, 0, 0b11),
            (Vendor::Amd, 0xC001_0010, 0, all(&[18, 19, 20, 21, 22])),
            (Vendor::Amd, 0xC001_0015, all(&[24]), all(&[0, 3, 6, 8, 18, 24, 30])),
            (Vendor::Amd, 0xC001_001F, 0, all(&[46])),
        ] {
            let mut msrs = ProcessorMsrs::new(false);
            assert_eq!(msrs.read(number, vendor), Some(reset), "{number:#x}");
            for bit in 0..64 {
                let (before, value) = (msrs.read(number, vendor), reset ^ 1 << bit);
                let done = msrs.write(number, value, vendor, 40).is_ok();
                assert_eq!(done, writable >> bit & 1 != 0, "{number:#x} bit {bit}");
                let after = msrs.read(number, vendor);
                assert_eq!(after, if done { Some(value) } else { before }, "{number:#x} bit {bit}");
            }
        }
    }

    #[test]
    fn registers_of_the_processor_that_only_tell() {
        let mut msrs = ProcessorMsrs::new(false);
        for (vendor, number, value) in [
            (Vendor::Intel, 0xFE, 0x508),
            (Vendor::Intel, 0x3A, 1),
            (Vendor::Intel, 0x179, 0),
            (Vendor::Amd, 0x179, 0),
            (Vendor::Amd, 0xC001_0140, 0),
            (Vendor::Amd, 0xC001_0141, 0),
        ] {
            assert_eq!(msrs.read(number, vendor), Some(value), "{number:#x}");
            assert!(msrs.write(number, value, vendor, 40).is_err(), "{number:#x}");
        }
        // LFENCE serialises, and cannot be made not to; a write is lost.
        msrs.write(0xC001_1029, 0, Vendor::Amd, 40).unwrap();
        msrs.write(0xC001_1029, 2, Vendor::Amd, 40).unwrap();
        assert_eq!(msrs.read(0xC001_1029, Vendor::Amd), Some(2));
        assert!(msrs.write(0xC001_1029, 1, Vendor::Amd, 40).is_err());
        for (amd, number) in [(true, 0xC001_0010), (true, 0xC001_001F), (true, 0xC001_1029), (false, 0x3A)] {
            let other = if amd { Vendor::Intel } else { Vendor::Amd };
            assert_eq!(msrs.read(number, other), None, "{number:#x}");
            assert!(msrs.write(number, 0, other, 40).is_err(), "{number:#x}");
        }
    }

    /// SDM 3A 11.11.2.1, 11.11.2.3: defined bits, and addresses as wide as the guest's.
    #[test]
    fn every_bit_of_a_memory_range_is_checked() {
        let bits = |number: u32, base: u64| -> u64 {
            let accepted = (0..64).filter(|bit| {
                let mut msrs = ProcessorMsrs::new(false);
                msrs.write(number, base ^ 1 << bit, Vendor::Intel, 40).is_ok()
            });
            accepted.fold(0, |all, bit| all | 1 << bit)
        };
        // From WB the other types of one bit's difference: WT, and 2 and 7, which are none; UC from WT or WC.
        assert_eq!(bits(0x2FF, 6), 1 << 11 | 1 << 10 | 1 << 1);
        assert_eq!(bits(0x2FF, 5), 1 << 11 | 1 << 10 | 1 << 0 | 1 << 2);
        assert_eq!(bits(0x20C, 0), 0xFF_FFFF_F000 | 1 << 0 | 1 << 2);
        assert_eq!(bits(0x20D, 0), 0xFF_FFFF_F800);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition may do: the privilege mask of a partition (TLFS 4.2.2). A guest reads its own mask in CPUID leaf
//! 0x40000003, the low half in EAX and the high half in EBX.

use crate::declare::bit_fields;

bit_fields! {
    /// `HV_PARTITION_PRIVILEGE_MASK`: one bit for each privilege a partition holds (TLFS 4.2.2).
    pub struct PrivilegeMask(u64);
    /// May read VP_RUNTIME.
    access_vp_run_time_reg: bool = 1;
    /// May read TIME_REF_COUNT.
    access_partition_reference_counter: bool = 1;
    /// May use the SynIC's MSRs, SCONTROL to EOM and SINT0 to SINT15.
    access_synic_regs: bool = 1;
    /// May use the MSRs of the synthetic timers.
    access_synthetic_timer_regs: bool = 1;
    /// May use EOI, ICR, TPR and the VP assist page MSR.
    access_intr_ctrl_regs: bool = 1;
    /// May use GUEST_OS_ID and HYPERCALL, and so issue hypercalls at all.
    access_hypercall_msrs: bool = 1;
    /// May read VP_INDEX.
    access_vp_index: bool = 1;
    /// May reset the partition through RESET.
    access_reset_reg: bool = 1;
    /// May map its own statistics pages through MSRs.
    access_stats_reg: bool = 1;
    /// May place the reference TSC page.
    access_partition_reference_tsc: bool = 1;
    /// May enter virtual idle by reading GUEST_IDLE.
    access_guest_idle_reg: bool = 1;
    /// May read the TSC and APIC frequency MSRs.
    access_frequency_regs: bool = 1;
    /// May use the debug MSRs.
    access_debug_regs: bool = 1;
    /// May use the re-enlightenment and TSC emulation MSRs.
    access_reenlightenment_controls: bool = 1;
    __: bool = 1;
    /// May use TSC_INVARIANT_CONTROL. Later than TLFS 6.0, where the bit is reserved.
    access_tsc_invariant_controls: bool = 1;
    __: u16 = 16;
    /// May create child partitions and control them.
    create_partitions: bool = 1;
    /// May ask for its own partition id.
    access_partition_id: bool = 1;
    /// May move pages into and out of memory pools.
    access_memory_pool: bool = 1;
    __: bool = 1;
    /// May post messages to connections.
    post_messages: bool = 1;
    /// May signal events on connections.
    signal_events: bool = 1;
    /// May create ports.
    create_port: bool = 1;
    /// May connect to ports.
    connect_port: bool = 1;
    /// May map statistics pages of other objects.
    access_stats: bool = 1;
    __: u8 = 2;
    /// May use the hypervisor's debug transport.
    debugging: bool = 1;
    /// May manage processors: power, logical processors, devices. Given to the root only.
    cpu_management: bool = 1;
    __: u8 = 3;
    /// May use virtual secure mode.
    access_vsm: bool = 1;
    /// May get and set registers of its own VPs by hypercall.
    access_vp_registers: bool = 1;
    __: u8 = 2;
    /// May issue extended hypercalls, codes 0x8001 and up.
    enable_extended_hypercalls: bool = 1;
    /// May start its own VPs by hypercall.
    start_virtual_processor: bool = 1;
    __: u16 = 10;
}

impl PrivilegeMask {
    /// No privilege.
    pub const NONE: Self = Self::from_bits(0);

    /// A mask of exactly the given privileges.
    pub const fn of(privileges: &[Privilege]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < privileges.len() {
            bits |= 1 << privileges[index] as u8;
            index += 1;
        }
        Self::from_bits(bits)
    }

    /// True if this mask has every privilege of `required`; a mask of nothing is always held.
    pub const fn holds(self, required: Self) -> bool {
        self.into_bits() & required.into_bits() == required.into_bits()
    }

    /// The half of the mask that CPUID leaf 0x40000003 returns in EAX.
    pub const fn low(self) -> u32 {
        self.into_bits() as u32
    }

    /// The half of the mask that CPUID leaf 0x40000003 returns in EBX.
    pub const fn high(self) -> u32 {
        (self.into_bits() >> 32) as u32
    }
}

macro_rules! privileges {
    ($( $(#[doc = $doc:literal])+ $Privilege:ident = $bit:literal; )+) => {
        /// One privilege; its value is its bit in [`PrivilegeMask`] (TLFS 4.2.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Privilege {
            $( $(#[doc = $doc])+ $Privilege = $bit, )+
        }

        impl Privilege {
            /// Every privilege, by bit.
            pub const ALL: &'static [Self] = &[$( Self::$Privilege, )+];

            /// The specification's name of the privilege.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$Privilege => stringify!($Privilege), )+
                }
            }

            /// What it allows, in a sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    $( Self::$Privilege => concat!($($doc),+).trim_ascii(), )+
                }
            }

            /// The bit in [`PrivilegeMask`], 0 to 63.
            pub const fn bit(self) -> u8 {
                self as u8
            }
        }
    };
}

privileges! {
    /// VP_RUNTIME may be read.
    AccessVpRunTimeReg = 0;
    /// TIME_REF_COUNT may be read.
    AccessPartitionReferenceCounter = 1;
    /// The SynIC's MSRs may be used.
    AccessSynicRegs = 2;
    /// The synthetic timers' MSRs may be used.
    AccessSyntheticTimerRegs = 3;
    /// EOI, ICR, TPR and VP_ASSIST_PAGE may be used.
    AccessIntrCtrlRegs = 4;
    /// GUEST_OS_ID and HYPERCALL may be used.
    AccessHypercallMsrs = 5;
    /// VP_INDEX may be read.
    AccessVpIndex = 6;
    /// RESET may be used.
    AccessResetReg = 7;
    /// The statistics page MSRs may be used.
    AccessStatsReg = 8;
    /// REFERENCE_TSC may be used.
    AccessPartitionReferenceTsc = 9;
    /// GUEST_IDLE may be read.
    AccessGuestIdleReg = 10;
    /// TSC_FREQUENCY and APIC_FREQUENCY may be read.
    AccessFrequencyRegs = 11;
    /// The debug MSRs may be used.
    AccessDebugRegs = 12;
    /// The re-enlightenment MSRs may be used.
    AccessReenlightenmentControls = 13;
    /// TSC_INVARIANT_CONTROL may be used.
    AccessTscInvariantControls = 15;
    /// Child partitions may be created.
    CreatePartitions = 32;
    /// HvCallGetPartitionId may be issued.
    AccessPartitionId = 33;
    /// Memory pool calls may be issued.
    AccessMemoryPool = 34;
    /// HvCallPostMessage may be issued.
    PostMessages = 36;
    /// HvCallSignalEvent may be issued.
    SignalEvents = 37;
    /// HvCallCreatePort may be issued.
    CreatePort = 38;
    /// HvCallConnectPort may be issued.
    ConnectPort = 39;
    /// Statistics page calls may be issued.
    AccessStats = 40;
    /// Debug transport calls may be issued.
    Debugging = 43;
    /// Processor and device management calls may be issued.
    CpuManagement = 44;
    /// Virtual secure mode calls may be issued.
    AccessVSM = 48;
    /// Register calls on the caller's own partition may be issued.
    AccessVpRegisters = 49;
    /// Extended hypercalls may be issued.
    EnableExtendedHypercalls = 52;
    /// HvCallStartVirtualProcessor may be issued.
    StartVirtualProcessor = 53;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_privilege_is_one_named_field_of_the_mask() {
        for &privilege in Privilege::ALL {
            let mask = PrivilegeMask::of(&[privilege]).into_bits();
            let fields = PrivilegeMask::FIELDS.iter().filter(|field| field.mask() & mask != 0);
            for field in fields {
                assert_eq!((field.low, field.width), (privilege.bit(), 1), "{}", privilege.name());
                assert!(!field.name.is_empty(), "{} lies on reserved bits", privilege.name());
            }
        }
        let named = PrivilegeMask::FIELDS.iter().filter(|field| !field.name.is_empty());
        assert_eq!(named.count(), Privilege::ALL.len());
    }

    #[test]
    fn holding_needs_every_bit() {
        let vsm = PrivilegeMask::of(&[Privilege::AccessVSM, Privilege::AccessSynicRegs]);
        assert!(vsm.holds(PrivilegeMask::NONE));
        assert!(vsm.holds(PrivilegeMask::of(&[Privilege::AccessVSM])));
        assert!(!PrivilegeMask::of(&[Privilege::AccessVSM]).holds(vsm));
        assert_eq!((vsm.low(), vsm.high()), (1 << 2, 1 << 16));
    }
}

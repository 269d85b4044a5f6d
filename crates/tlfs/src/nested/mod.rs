// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the interface offers to a hypervisor that runs in a partition (TLFS 16).

mod evmcs;

pub use evmcs::*;

use crate::address::PAGE_SIZE;
use crate::declare::{bit_fields, layout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the enlightened VMCS that is declared here (TLFS 16.5).
pub const EVMCS_VERSION: u32 = 1;
/// Exit reason of the exit that follows a direct flush while TLBs are locked (TLFS 16.8.3).
pub const SYNTHETIC_EXIT_REASON_TRAP_AFTER_FLUSH: u32 = 0x1000_0031;

bit_fields! {
    /// `HV_VMX_ENLIGHTENED_CLEAN_FIELD_*`: a set bit allows the hypervisor to use its copy of a group of fields, a clear
    /// one makes it read them again (TLFS 16.5.2, 16.11.3).
    pub struct CleanFields(u32);
    /// I/O bitmaps have not changed.
    io_bitmap: bool = 1;
    /// MSR bitmap have not changed.
    msr_bitmap: bool = 1;
    /// TSC offset, virtual APIC page and exiting bitmaps have not changed.
    control_grp2: bool = 1;
    /// Pin, exit and secondary controls have not changed.
    control_grp1: bool = 1;
    /// Processor controls have not changed.
    control_proc: bool = 1;
    /// Event injection have not changed.
    control_event: bool = 1;
    /// Entry controls have not changed.
    control_entry: bool = 1;
    /// Exception bitmap have not changed.
    control_excpn: bool = 1;
    /// Control and debug registers have not changed.
    crdr: bool = 1;
    /// Second-level translation have not changed.
    control_xlat: bool = 1;
    /// RSP, RFLAGS and interruptibility have not changed.
    guest_basic: bool = 1;
    /// Guest MSRs and other state have not changed.
    guest_grp1: bool = 1;
    /// Guest segments have not changed.
    guest_grp2: bool = 1;
    /// Host bases and RSP have not changed.
    host_pointer: bool = 1;
    /// Other host state have not changed.
    host_grp1: bool = 1;
    /// Enlightenments have not changed.
    enlightenmentscontrol: bool = 1;
    __: u16 = 16;
}

/// A group of fields of the enlightened VMCS; its value is its bit in [`CleanFields`] (TLFS 16.11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CleanGroup {
    /// I/O bitmaps.
    IoBitmap = 0,
    /// MSR bitmap.
    MsrBitmap = 1,
    /// TSC offset, virtual APIC page and exiting bitmaps.
    ControlGrp2 = 2,
    /// Pin, exit and secondary controls.
    ControlGrp1 = 3,
    /// Processor controls.
    ControlProc = 4,
    /// Event injection.
    ControlEvent = 5,
    /// Entry controls.
    ControlEntry = 6,
    /// Exception bitmap.
    ControlExcpn = 7,
    /// Control and debug registers.
    CrDr = 8,
    /// Second-level translation.
    ControlXlat = 9,
    /// RSP, RFLAGS and interruptibility.
    GuestBasic = 10,
    /// Guest MSRs and other state.
    GuestGrp1 = 11,
    /// Guest segments.
    GuestGrp2 = 12,
    /// Host bases and RSP.
    HostPointer = 13,
    /// Other host state.
    HostGrp1 = 14,
    /// Enlightenments.
    EnlightenmentsControl = 15,
}

impl CleanGroup {
    /// True if the hypervisor may use its copy of the group.
    pub const fn is_clean(self, clean_fields: CleanFields) -> bool {
        clean_fields.into_bits() & (1 << self as u8) != 0
    }
}

bit_fields! {
    /// Enlightenments that an enlightened VMCS turns on (TLFS 16.11.2).
    pub struct EnlightenmentsControl(u32);
    /// The second-level guest may issue flush hypercalls directly.
    nested_flush_virtual_hypercall: bool = 1;
    /// Changes of the MSR bitmap are told by the clean fields.
    msr_bitmap: bool = 1;
    __: u32 = 30;
}

/// `VM_PARTITION_ASSIST_PAGE` (TLFS 16.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PartitionAssistPage {
    /// Not 0: a direct flush is followed by an exit to the nested hypervisor.
    pub tlb_lock_count: u32,
    /// Not used.
    pub unused: [u8; PAGE_SIZE - 4],
}
layout!(PartitionAssistPage: 4096, tlb_lock_count @ 0);

/// Input of HvCallFlushGuestPhysicalAddressSpace, and header of HvCallFlushGuestPhysicalAddressList, whose elements are
/// [`GpaPageRange`](crate::address::GpaPageRange)s (TLFS 16.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlushGuestPhysicalAddressInput {
    /// The second-level address space: its EPT pointer.
    pub address_space: u64,
    /// Must be zero.
    pub flags: u64,
}
layout!(FlushGuestPhysicalAddressInput: 16, address_space @ 0, flags @ 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_bits_of_the_clean_fields() {
        let groups = EVMCS_FIELDS.iter().filter_map(|field| field.clean_group);
        assert_eq!(groups.fold(0, |bits, group| bits | 1 << group as u8), 0xFFFF);
        let clean = CleanFields::new().with_host_grp1(true);
        assert!(CleanGroup::HostGrp1.is_clean(clean));
        assert!(!CleanGroup::HostPointer.is_clean(clean));
    }
}

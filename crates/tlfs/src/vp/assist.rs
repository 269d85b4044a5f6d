// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VP assist page.

use crate::address::PAGE_SIZE;
use crate::declare::{bit_fields, layout, open_enum};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bit_fields! {
    /// `HV_VIRTUAL_APIC_ASSIST` (TLFS 10.3.5).
    pub struct ApicAssist(u32);
    /// The interrupt in service needs no EOI: clearing this bit is one.
    no_eoi_required: bool = 1;
    /// Zero.
    reserved_z: u32 = 31;
}

open_enum! {
    /// `HV_VTL_ENTRY_REASON`: why a higher VTL was entered (TLFS 15.6.1.2).
    pub struct VtlEntryReason(u32);
    /// Never given.
    RESERVED = 0, "HvVtlEntryReserved";
    /// The lower VTL called.
    VTL_CALL = 1, "HvVtlEntryVtlCall";
    /// An interrupt for the higher VTL arrived.
    INTERRUPT = 2, "HvVtlEntryInterrupt";
    /// An intercept for the higher VTL arrived. Later than TLFS 6.0.
    INTERCEPT = 3, "HvVtlEntryIntercept";
}

bit_fields! {
    /// State of the virtual interrupt notification assist (TLFS 15.8.2).
    pub struct VinaStatus(u8);
    /// The notification is asserted; the guest clears it.
    vina_asserted: bool = 1;
    /// Zero.
    reserved_z: u8 = 7;
}

/// `HV_VP_VTL_CONTROL` (TLFS 15.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VpVtlControl {
    /// Why this VTL was entered.
    pub entry_reason: VtlEntryReason,
    /// Notification state.
    pub vina_status: VinaStatus,
    /// Zero.
    pub reserved_z: [u8; 3],
    /// RAX to restore on a VTL return that is not fast. A 32-bit caller has EAX in the low half and ECX in the high one.
    pub vtl_return_rax: u64,
    /// RCX to restore on a VTL return that is not fast. A 32-bit caller has EDX in the low half.
    pub vtl_return_rcx: u64,
}
layout!(VpVtlControl: 24, entry_reason @ 0, vina_status @ 4, vtl_return_rax @ 8, vtl_return_rcx @ 16);

bit_fields! {
    /// Features of `HV_NESTED_ENLIGHTENMENTS_CONTROL` (TLFS 7.8.7.2).
    pub struct NestedEnlightenmentFeatures(u32);
    /// Second-level guests may issue hypercalls to the hypervisor below.
    direct_hypercall: bool = 1;
    /// Virtualization exceptions are in use.
    virtualization_exception: bool = 1;
    __: u32 = 30;
}

bit_fields! {
    /// Hypercall controls of `HV_NESTED_ENLIGHTENMENTS_CONTROL` (TLFS 7.8.7.2).
    pub struct NestedHypercallControls(u32);
    /// Communication with other partitions is allowed.
    inter_partition_communication: bool = 1;
    __: u32 = 31;
}

/// `HV_NESTED_ENLIGHTENMENTS_CONTROL` (TLFS 7.8.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NestedEnlightenmentsControl {
    /// What is in use.
    pub features: NestedEnlightenmentFeatures,
    /// What second-level guests may do by hypercall.
    pub hypercall_controls: NestedHypercallControls,
}
layout!(NestedEnlightenmentsControl: 8, features @ 0, hypercall_controls @ 4);

/// `HV_VIRTUALIZATION_FAULT_INFORMATION` (TLFS 7.8.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VirtualizationFaultInformation {
    /// First parameter.
    pub parameter0: u16,
    /// Zero.
    pub reserved0: u16,
    /// Kind of fault.
    pub code: u32,
    /// Second parameter.
    pub parameter1: u64,
}
layout!(VirtualizationFaultInformation: 16, parameter0 @ 0, code @ 4, parameter1 @ 8);

/// `HV_VP_ASSIST_PAGE` (TLFS 7.8.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VpAssistPage {
    /// EOI assist.
    pub apic_assist: ApicAssist,
    /// Zero.
    pub reserved_z0: u32,
    /// VTL entry and return.
    pub vtl_control: VpVtlControl,
    /// Controls for a nested hypervisor.
    pub nested_enlightenments_control: NestedEnlightenmentsControl,
    /// Not 0: the next VM entry uses the enlightened VMCS.
    pub enlighten_vm_entry: u8,
    /// Zero.
    pub reserved_z1: [u8; 7],
    /// GPA of the enlightened VMCS, in bytes.
    pub current_nested_vmcs: u64,
    /// Not 0: the time-unhalted timer has expired.
    pub synthetic_time_unhalted_timer_expired: u8,
    /// Zero.
    pub reserved_z2: [u8; 7],
    /// The last virtualization fault.
    pub virtualization_fault_information: VirtualizationFaultInformation,
    /// Not used.
    pub unused: [u8; PAGE_SIZE - 80],
}
layout!(
    VpAssistPage: 4096,
    apic_assist @ 0,
    vtl_control @ 8,
    nested_enlightenments_control @ 32,
    enlighten_vm_entry @ 40,
    current_nested_vmcs @ 48,
    synthetic_time_unhalted_timer_expired @ 56,
    virtualization_fault_information @ 64,
);

#[cfg(test)]
mod tests {
    use super::*;

    /// B07.019: what lies where in the assist page; the fault information is aligned to 16 bytes.
    #[test]
    fn the_assist_page_is_laid_out() {
        let offsets: [usize; 7] = [
            core::mem::offset_of!(VpAssistPage, apic_assist),
            core::mem::offset_of!(VpAssistPage, vtl_control),
            core::mem::offset_of!(VpAssistPage, nested_enlightenments_control),
            core::mem::offset_of!(VpAssistPage, enlighten_vm_entry),
            core::mem::offset_of!(VpAssistPage, current_nested_vmcs),
            core::mem::offset_of!(VpAssistPage, synthetic_time_unhalted_timer_expired),
            core::mem::offset_of!(VpAssistPage, virtualization_fault_information),
        ];
        assert_eq!(offsets, [0, 8, 32, 40, 48, 56, 64]);
        assert_eq!(size_of::<VpAssistPage>(), 4096);
    }
}

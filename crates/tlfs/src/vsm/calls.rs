// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of the calls about VTLs. HvCallEnableVpVtl takes a
//! [`StartVirtualProcessorInput`](crate::vp::StartVirtualProcessorInput).

use super::InputVtl;
use crate::address::{AccessTypeMask, MapGpaFlags};
use crate::declare::{bit_fields, layout};
use crate::partition::PartitionId;
use crate::vp::VpIndex;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input header of HvCallModifyVtlProtectionMask; 64-bit GPA page numbers follow (TLFS 15.15.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ModifyVtlProtectionMaskInput {
    /// Partition whose pages are meant.
    pub target_partition_id: PartitionId,
    /// Rights that lower VTLs keep.
    pub map_flags: MapGpaFlags,
    /// The VTL that loses rights.
    pub target_vtl: InputVtl,
    /// Must be zero.
    pub reserved_z: [u8; 3],
}
layout!(ModifyVtlProtectionMaskInput: 16, target_partition_id @ 0, map_flags @ 8, target_vtl @ 12);

bit_fields! {
    /// `HV_ENABLE_PARTITION_VTL_FLAGS` (TLFS 15.15.3).
    pub struct EnablePartitionVtlFlags(u8);
    /// The VTL gets mode-based execution control.
    enable_mbec: bool = 1;
    /// Must be zero.
    reserved_z: u8 = 7;
}

/// Input of HvCallEnablePartitionVtl (TLFS 15.15.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EnablePartitionVtlInput {
    /// The partition.
    pub target_partition_id: PartitionId,
    /// The VTL: a plain level, not an [`InputVtl`].
    pub target_vtl: u8,
    /// How it is enabled.
    pub flags: EnablePartitionVtlFlags,
    /// Must be zero.
    pub reserved_z: [u8; 6],
}
layout!(EnablePartitionVtlInput: 16, target_partition_id @ 0, target_vtl @ 8, flags @ 9);

/// Input of HvCallDisablePartitionVtl, guessed from its sister (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DisablePartitionVtlInput {
    /// The partition.
    pub target_partition_id: PartitionId,
    /// The VTL: a plain level, not an [`InputVtl`].
    pub target_vtl: u8,
    /// Must be zero.
    pub reserved_z: [u8; 7],
}
layout!(DisablePartitionVtlInput: 16, target_partition_id @ 0, target_vtl @ 8);

/// Input of HvCallDisableVpVtl, guessed from its sister (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DisableVpVtlInput {
    /// Partition of the VP.
    pub target_partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// The VTL: a plain level, not an [`InputVtl`].
    pub target_vtl: u8,
    /// Must be zero.
    pub reserved_z: [u8; 3],
}
layout!(DisableVpVtlInput: 16, target_partition_id @ 0, vp_index @ 8, target_vtl @ 12);

bit_fields! {
    /// Control word of a VTL return; that of a VTL call is zero (TLFS 15.6.1, 15.7.1).
    pub struct VtlReturnControl(u64);
    /// RAX and RCX are not restored from the VP assist page.
    fast_return: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 63;
}

/// Input header of HvCallCheckSparseGpaPageVtlAccess; 64-bit GPA page numbers follow and [`VtlAccessResult`]s are
/// returned. Later than TLFS 6.0; the layout is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CheckSparseGpaPageVtlAccessInput {
    /// Partition of the pages.
    pub partition_id: PartitionId,
    /// VTL that wants access.
    pub target_vtl: InputVtl,
    /// Access that is wanted.
    pub desired_access: AccessTypeMask,
    /// Must be zero.
    pub reserved_z: [u8; 6],
}
layout!(CheckSparseGpaPageVtlAccessInput: 16, partition_id @ 0, target_vtl @ 8, desired_access @ 9);

bit_fields! {
    /// Answer for one page to HvCallCheckSparseGpaPageVtlAccess.
    pub struct VtlAccessResult(u64);
    /// 0: allowed; 1: intercepted.
    result_code: u8 = 8;
    /// Accesses that are denied.
    denied_access: u8 = 8;
    /// VTL that denies.
    intercepting_vtl: u8 = 4;
    __: u64 = 44;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory pools, and the memory of children.

use super::ProximityDomainInfo;
use crate::address::MapGpaFlags;
use crate::declare::layout;
use crate::partition::PartitionId;
use crate::vp::VpIndex;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of HvCallGetMemoryBalance, and of HvCallWithdrawMemory, which returns 64-bit page numbers (TLFS
/// Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryPoolInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// Which part of the pool.
    pub proximity_domain_info: ProximityDomainInfo,
}
layout!(MemoryPoolInput: 16, partition_id @ 0, proximity_domain_info @ 8);

/// Output of HvCallGetMemoryBalance (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetMemoryBalanceOutput {
    /// Free pages in the pool.
    pub pages_available: u64,
    /// Other pages in the pool.
    pub pages_in_use: u64,
}
layout!(GetMemoryBalanceOutput: 16, pages_available @ 0, pages_in_use @ 8);

/// Input header of HvCallMapGpaPages; 64-bit page numbers of the caller follow (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapGpaPagesInput {
    /// The child.
    pub target_partition_id: PartitionId,
    /// Number of its first GPA page.
    pub target_gpa_base: u64,
    /// Its rights.
    pub map_flags: MapGpaFlags,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(MapGpaPagesInput: 24, target_partition_id @ 0, target_gpa_base @ 8, map_flags @ 16);

/// Input of HvCallUnmapGpaPages, a rep call without a list: the rep count is the number of pages (TLFS
/// Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapGpaPagesInput {
    /// The child.
    pub target_partition_id: PartitionId,
    /// Number of its first GPA page.
    pub target_gpa_base: u64,
    /// Later than TLFS 2.0.
    pub unmap_flags: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(UnmapGpaPagesInput: 24, target_partition_id @ 0, target_gpa_base @ 8, unmap_flags @ 16);

/// Input header of HvCallMapSparseGpaPages, with [`SparseGpaPage`]s, and of HvCallModifySparseGpaPages, with
/// 64-bit page numbers (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SparseGpaPagesInput {
    /// The child.
    pub target_partition_id: PartitionId,
    /// Its rights.
    pub map_flags: MapGpaFlags,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(SparseGpaPagesInput: 16, target_partition_id @ 0, map_flags @ 8);

/// List element of HvCallMapSparseGpaPages (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SparseGpaPage {
    /// Number of the child's GPA page.
    pub target_gpa_page: u64,
    /// Number of the caller's GPA page.
    pub source_gpa_page: u64,
}
layout!(SparseGpaPage: 16, target_gpa_page @ 0, source_gpa_page @ 8);

/// Input of HvCallReadGpa (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReadGpaInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// VP on whose behalf.
    pub vp_index: VpIndex,
    /// Bytes, 1 to 16, within one page.
    pub byte_count: u32,
    /// Address in bytes.
    pub base_gpa: u64,
    /// How it is accessed.
    pub control_flags: u64,
}
layout!(ReadGpaInput: 32, partition_id @ 0, vp_index @ 8, byte_count @ 12, base_gpa @ 16, control_flags @ 24);

/// Output of HvCallReadGpa (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReadGpaOutput {
    /// Outcome of the access.
    pub access_result: u64,
    /// What was read.
    pub data: [u8; 16],
}
layout!(ReadGpaOutput: 24, access_result @ 0, data @ 8);

/// Input of HvCallWriteGpa (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct WriteGpaInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// VP on whose behalf.
    pub vp_index: VpIndex,
    /// Bytes, 1 to 16, within one page.
    pub byte_count: u32,
    /// Address in bytes.
    pub base_gpa: u64,
    /// How it is accessed.
    pub control_flags: u64,
    /// What is written.
    pub data: [u8; 16],
}
layout!(WriteGpaInput: 48, partition_id @ 0, vp_index @ 8, byte_count @ 12, base_gpa @ 16, control_flags @ 24, data @ 32);

/// Output of HvCallWriteGpa (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct WriteGpaOutput {
    /// Outcome of the access.
    pub access_result: u64,
}
layout!(WriteGpaOutput: 8, access_result @ 0);

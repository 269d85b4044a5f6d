// SPDX-License-Identifier: MIT OR Apache-2.0
//! Life cycle and properties of partitions, and what a parent does to their VPs.

use super::ProximityDomainInfo;
use crate::declare::layout;
use crate::intercept::InterceptType;
use crate::partition::PartitionId;
use crate::vp::VpIndex;
use crate::vsm::InputVtl;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of HvCallCreatePartition as later hosts take it; TLFS 2.0 ends after the proximity domain (TLFS
/// 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreatePartitionInput {
    /// How it is created.
    pub flags: u64,
    /// Where its memory should come from.
    pub proximity_domain_info: ProximityDomainInfo,
    /// Version of the interface the child expects.
    pub compatibility_version: u32,
    /// Must be zero.
    pub reserved_z0: u32,
    /// Processor features the child does not get.
    pub disabled_processor_features: [u64; 2],
    /// XSAVE features the child does not get.
    pub disabled_xsave_features: u64,
    /// Must be zero.
    pub reserved_z1: u64,
}
layout!(CreatePartitionInput: 56, flags @ 0, proximity_domain_info @ 8, compatibility_version @ 16, disabled_processor_features @ 24, disabled_xsave_features @ 40);

/// Output of HvCallCreatePartition (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreatePartitionOutput {
    /// The child.
    pub new_partition_id: PartitionId,
}
layout!(CreatePartitionOutput: 8, new_partition_id @ 0);

/// Input of HvCallInitializePartition, HvCallFinalizePartition, HvCallDeletePartition, HvCallDepositMemory
/// (as header; 64-bit page numbers follow) and HvCallClearVirtualInterrupt; output of HvCallGetPartitionId
/// (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PartitionInput {
    /// The partition.
    pub partition_id: PartitionId,
}
layout!(PartitionInput: 8, partition_id @ 0);

/// Input of HvCallGetPartitionProperty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPartitionPropertyInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The property.
    pub property_code: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(GetPartitionPropertyInput: 16, partition_id @ 0, property_code @ 8);

/// Output of HvCallGetPartitionProperty and HvCallGetPortProperty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPropertyOutput {
    /// Value of the property.
    pub property_value: u64,
}
layout!(GetPropertyOutput: 8, property_value @ 0);

/// Input of HvCallSetPartitionProperty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetPartitionPropertyInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The property.
    pub property_code: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// Its new value.
    pub property_value: u64,
}
layout!(SetPartitionPropertyInput: 24, partition_id @ 0, property_code @ 8, property_value @ 16);

/// Input of HvCallGetNextChildPartition (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetNextChildPartitionInput {
    /// Whose children.
    pub parent_id: PartitionId,
    /// The child before the wanted one; invalid to start.
    pub previous_child_id: PartitionId,
}
layout!(GetNextChildPartitionInput: 16, parent_id @ 0, previous_child_id @ 8);

/// Output of HvCallGetNextChildPartition (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetNextChildPartitionOutput {
    /// The child; invalid at the end.
    pub next_child_id: PartitionId,
}
layout!(GetNextChildPartitionOutput: 8, next_child_id @ 0);

/// Input of HvCallInstallIntercept (TLFS 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InstallInterceptInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// Accesses to intercept, in the bits of [`AccessTypeMask`](crate::address::AccessTypeMask).
    pub access_type: u32,
    /// What is intercepted.
    pub intercept_type: InterceptType,
    /// Which one: a port, an MSR, a leaf, a vector.
    pub intercept_parameter: u64,
}
layout!(InstallInterceptInput: 24, partition_id @ 0, access_type @ 8, intercept_type @ 12, intercept_parameter @ 16);

/// Input of HvCallRegisterInterceptResult (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterInterceptResultInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// CPUID or MSR.
    pub intercept_type: InterceptType,
    /// What is asked, and the answer.
    pub parameters: [u64; 8],
}
layout!(RegisterInterceptResultInput: 80, partition_id @ 0, vp_index @ 8, intercept_type @ 12, parameters @ 16);

/// Input of HvCallUnregisterInterceptResult. How many bytes of parameters there are is not published; these
/// hold a leaf and subleaf, or an MSR (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnregisterInterceptResultInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// CPUID or MSR.
    pub intercept_type: InterceptType,
    /// What is asked.
    pub parameters: u64,
}
layout!(UnregisterInterceptResultInput: 24, partition_id @ 0, vp_index @ 8, intercept_type @ 12, parameters @ 16);

/// Input of HvCallSavePartitionState (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SavePartitionStateInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// Start or go on.
    pub flags: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(SavePartitionStateInput: 16, partition_id @ 0, flags @ 8);

/// Output of HvCallSavePartitionState (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SavePartitionStateOutput {
    /// Whether there is more.
    pub save_state: u32,
    /// Bytes that count.
    pub count: u32,
    /// State, opaque.
    pub data: [u8; 4080],
}
layout!(SavePartitionStateOutput: 4088, save_state @ 0, count @ 4, data @ 8);

/// Input of HvCallRestorePartitionState (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RestorePartitionStateInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// Start or go on.
    pub flags: u32,
    /// Bytes that count.
    pub count: u32,
    /// State, opaque.
    pub data: [u8; 4080],
}
layout!(RestorePartitionStateInput: 4096, partition_id @ 0, flags @ 8, count @ 12, data @ 16);

/// Output of HvCallRestorePartitionState (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RestorePartitionStateOutput {
    /// Whether more is expected.
    pub restore_state: u32,
    /// Bytes that were used.
    pub consumed: u32,
}
layout!(RestorePartitionStateOutput: 8, restore_state @ 0, consumed @ 4);

/// Input of HvCallCreateVp as later hosts take it; TLFS 2.0 has neither subnode field (TLFS 7.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreateVpInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// Must be zero.
    pub reserved_z: [u8; 3],
    /// Kind of the subnode; 0 for none.
    pub subnode_type: u8,
    /// The subnode.
    pub subnode_id: u64,
    /// Where its memory should come from.
    pub proximity_domain_info: ProximityDomainInfo,
    /// How it is created.
    pub flags: u64,
}
layout!(CreateVpInput: 40, partition_id @ 0, vp_index @ 8, subnode_type @ 15, subnode_id @ 16, proximity_domain_info @ 24, flags @ 32);

/// Input of HvCallDeleteVp (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DeleteVpInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(DeleteVpInput: 16, partition_id @ 0, vp_index @ 8);

/// Input of HvCallDispatchVp. Later than TLFS 6.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DispatchVpInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// How it runs.
    pub flags: u32,
    /// How long it may run, in 100 ns.
    pub time_slice: u64,
    /// Value of IA32_SPEC_CTRL while it runs.
    pub spec_ctrl: u64,
}
layout!(DispatchVpInput: 32, partition_id @ 0, vp_index @ 8, flags @ 12, time_slice @ 16, spec_ctrl @ 24);

/// Output of HvCallDispatchVp. Later than TLFS 6.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DispatchVpOutput {
    /// State it was left in.
    pub dispatch_state: u32,
    /// Why it stopped.
    pub dispatch_event: u32,
}
layout!(DispatchVpOutput: 8, dispatch_state @ 0, dispatch_event @ 4);

/// Input of HvCallMapVpStatePage. Later than TLFS 6.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapVpStatePageInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// Which page.
    pub page_type: u16,
    /// VTL whose state is meant.
    pub input_vtl: InputVtl,
    /// Bit 0: a place is given.
    pub flags: u8,
    /// Number of the GPA page to map it at.
    pub requested_map_location: u64,
}
layout!(MapVpStatePageInput: 24, partition_id @ 0, vp_index @ 8, page_type @ 12, input_vtl @ 14, flags @ 15, requested_map_location @ 16);

/// Output of HvCallMapVpStatePage. Later than TLFS 6.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapVpStatePageOutput {
    /// Number of the page it is mapped at.
    pub map_location: u64,
}
layout!(MapVpStatePageOutput: 8, map_location @ 0);

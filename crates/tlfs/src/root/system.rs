// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: logical processors, system properties and devices.

use super::ProximityDomainInfo;
use crate::declare::layout;
use crate::interrupt::{DeviceInterruptTargetFlags, InterruptEntry};
use crate::partition::PartitionId;
use crate::vp::VpSet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of HvCallGetLogicalProcessorRunTime as later hosts take it; TLFS 2.0 has none (TLFS 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetLogicalProcessorRunTimeInput {
    /// The logical processor.
    pub lp_index: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(GetLogicalProcessorRunTimeInput: 8, lp_index @ 0);

/// Output of HvCallGetLogicalProcessorRunTime (TLFS 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetLogicalProcessorRunTimeOutput {
    /// Time now, in 100 ns.
    pub global_time: u64,
    /// Time this processor was not idle, in 100 ns.
    pub local_run_time: u64,
    /// Zero.
    pub reserved_z: u64,
    /// Time it spent in the hypervisor, in 100 ns.
    pub hypervisor_time: u64,
}
layout!(GetLogicalProcessorRunTimeOutput: 32, global_time @ 0, local_run_time @ 8, hypervisor_time @ 24);

/// Input of HvCallParkedVirtualProcessors (TLFS 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ParkedVirtualProcessorsInput {
    /// Bit n: processor n is parked.
    pub processor_mask: u64,
}
layout!(ParkedVirtualProcessorsInput: 8, processor_mask @ 0);

/// Input of HvCallSetSystemProperty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetSystemPropertyInput {
    /// The property.
    pub property_code: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// Its new value.
    pub value: [u64; 2],
}
layout!(SetSystemPropertyInput: 24, property_code @ 0, value @ 8);

/// Input of HvCallGetSystemProperty, which returns 4 or 8 bytes by property (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetSystemPropertyInput {
    /// The property.
    pub property_id: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// What the property is asked about. Later than TLFS 2.0.
    pub argument: u64,
}
layout!(GetSystemPropertyInput: 16, property_id @ 0, argument @ 8);

/// Input of HvCallAddLogicalProcessor (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AddLogicalProcessorInput {
    /// Index it gets.
    pub lp_index: u32,
    /// Its APIC id.
    pub apic_id: u32,
    /// Where its memory should come from.
    pub proximity_domain_info: ProximityDomainInfo,
}
layout!(AddLogicalProcessorInput: 16, lp_index @ 0, apic_id @ 4, proximity_domain_info @ 8);

/// Output of HvCallAddLogicalProcessor (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AddLogicalProcessorOutput {
    /// Outcome, a status.
    pub hv_status: u64,
    /// Details.
    pub substatus: [u64; 6],
}
layout!(AddLogicalProcessorOutput: 56, hv_status @ 0, substatus @ 8);

/// Input of HvCallMapDeviceInterrupt, without the banks of the set (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapDeviceInterruptInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The device.
    pub device_id: u64,
    /// How it is mapped.
    pub flags: u32,
    /// First interrupt remapping entry.
    pub base_irt_index: u32,
    /// What the device is to be told.
    pub logical_interrupt_entry: InterruptEntry,
    /// Descriptor: kind of interrupt.
    pub interrupt_type: u32,
    /// Descriptor: 0 edge, 1 level.
    pub trigger_mode: u32,
    /// Descriptor: number of vectors.
    pub vector_count: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// Target: first vector.
    pub target_vector: u32,
    /// Target: how the rest is read.
    pub target_flags: DeviceInterruptTargetFlags,
    /// Target: VPs.
    pub target_set: VpSet,
}
layout!(MapDeviceInterruptInput: 80, partition_id @ 0, device_id @ 8, flags @ 16, base_irt_index @ 20, logical_interrupt_entry @ 24, interrupt_type @ 40, trigger_mode @ 44, vector_count @ 48, target_vector @ 56, target_flags @ 60, target_set @ 64);

/// Output of HvCallMapDeviceInterrupt (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapDeviceInterruptOutput {
    /// What the device is to be told.
    pub interrupt_entry: InterruptEntry,
    /// Further entries.
    pub extension: [u64; 5],
}
layout!(MapDeviceInterruptOutput: 56, interrupt_entry @ 0, extension @ 16);

/// Input of HvCallUnmapDeviceInterrupt (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapDeviceInterruptInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The device.
    pub device_id: u64,
    /// The interrupt.
    pub interrupt_entry: InterruptEntry,
    /// Later than the others.
    pub flags: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(UnmapDeviceInterruptInput: 40, partition_id @ 0, device_id @ 8, interrupt_entry @ 16, flags @ 32);

/// Input of HvCallNotifyPartitionEvent (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NotifyPartitionEventInput {
    /// The event; 2 is a crash dump of the root.
    pub event: u32,
    /// Its parameter.
    pub event_input: u32,
}
layout!(NotifyPartitionEventInput: 8, event @ 0, event_input @ 4);

/// Input of HvCallNotifyRingEmpty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NotifyRingEmptyInput {
    /// The SINT.
    pub sint_index: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(NotifyRingEmptyInput: 8, sint_index @ 0);

/// Input of HvCallAttachDeviceDomain. Later than TLFS 6.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AttachDeviceDomainInput {
    /// Partition of the domain.
    pub partition_id: PartitionId,
    /// VTL that owns the domain.
    pub owner_vtl: u8,
    /// Must be zero.
    pub reserved_z: [u8; 7],
    /// The domain.
    pub domain_id: u64,
    /// The device.
    pub device_id: u64,
}
layout!(AttachDeviceDomainInput: 32, partition_id @ 0, owner_vtl @ 8, domain_id @ 16, device_id @ 24);

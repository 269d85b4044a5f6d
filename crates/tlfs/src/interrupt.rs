// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts sent by hypercall (TLFS 10).

use crate::declare::{bit_fields, layout, open_enum};
use crate::partition::PartitionId;
use crate::vp::VpSet;
use crate::vsm::InputVtl;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_INTERRUPT_TYPE` (TLFS 10.4.1).
    pub struct InterruptType(u32);
    /// A vector, to every destination.
    FIXED = 0, "HvX64InterruptTypeFixed";
    /// A vector, to the destination of lowest priority.
    LOWEST_PRIORITY = 1, "HvX64InterruptTypeLowestPriority";
    /// System management interrupt. Later than TLFS 6.0.
    SMI = 2, "HvX64InterruptTypeSmi";
    /// Non-maskable interrupt.
    NMI = 4, "HvX64InterruptTypeNmi";
    /// INIT.
    INIT = 5, "HvX64InterruptTypeInit";
    /// Start-up.
    SIPI = 6, "HvX64InterruptTypeSipi";
    /// A vector from an 8259-compatible controller.
    EXT_INT = 7, "HvX64InterruptTypeExtInt";
}

open_enum! {
    /// `HV_INTERRUPT_VECTOR` (TLFS 10.4.3): 0 to 255, or none.
    pub struct InterruptVector(u32);
    /// No vector: the interrupt line is deasserted.
    NONE = 0xFFFF_FFFF, "HV_INTERRUPT_VECTOR_NONE";
}

/// Lowest vector of a fixed interrupt (TLFS 10.5.2, 11.8.5).
pub const MIN_FIXED_VECTOR: u8 = 16;

bit_fields! {
    /// `HV_INTERRUPT_CONTROL` (TLFS 10.4.2).
    pub struct InterruptControl(u64);
    /// Kind of interrupt.
    interrupt_type: InterruptType = 32;
    /// Level triggered.
    level_triggered: bool = 1;
    /// The destination is logical.
    logical_dest_mode: bool = 1;
    /// Must be zero.
    reserved_z: u32 = 30;
}

/// Input of HvCallSendSyntheticClusterIpi (TLFS 10.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SendSyntheticClusterIpiInput {
    /// Vector, 0x10 to 0xFF.
    pub vector: u32,
    /// VTL that gets it.
    pub target_vtl: InputVtl,
    /// Must be zero.
    pub reserved_z: [u8; 3],
    /// Bit n: VP n gets it.
    pub processor_mask: u64,
}
layout!(SendSyntheticClusterIpiInput: 16, vector @ 0, target_vtl @ 4, processor_mask @ 8);

/// Input of HvCallSendSyntheticClusterIpiEx, without the banks of the set (TLFS 10.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SendSyntheticClusterIpiExInput {
    /// Vector, 0x10 to 0xFF.
    pub vector: u32,
    /// VTL that gets it.
    pub target_vtl: InputVtl,
    /// Must be zero.
    pub reserved_z: [u8; 3],
    /// VPs that get it.
    pub processor_set: VpSet,
}
layout!(SendSyntheticClusterIpiExInput: 24, vector @ 0, target_vtl @ 4, processor_set @ 8);

/// Input of HvCallAssertVirtualInterrupt (TLFS 10.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AssertVirtualInterruptInput {
    /// Partition that gets it.
    pub destination_partition: PartitionId,
    /// Kind, trigger and destination mode.
    pub interrupt_control: InterruptControl,
    /// APIC id or logical destination.
    pub destination_address: u64,
    /// Vector.
    pub requested_vector: InterruptVector,
    /// VTL that gets it: a plain level, not an [`InputVtl`].
    pub target_vtl: u8,
    /// Must be zero.
    pub reserved_z: [u8; 3],
}
layout!(
    AssertVirtualInterruptInput: 32,
    destination_partition @ 0,
    interrupt_control @ 8,
    destination_address @ 16,
    requested_vector @ 24,
    target_vtl @ 28,
);

open_enum! {
    /// `HV_INTERRUPT_SOURCE` (TLFS 10.4.5).
    pub struct InterruptSource(u32);
    /// A message signaled interrupt.
    MSI = 1, "HvInterruptSourceMsi";
}

/// `HV_MSI_ENTRY`: what a device writes to raise the interrupt (TLFS 10.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MsiEntry {
    /// Low 32 bits of the address.
    pub address: u32,
    /// Data.
    pub data: u32,
}
layout!(MsiEntry: 8, address @ 0, data @ 4);

/// `HV_INTERRUPT_ENTRY` (TLFS 10.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InterruptEntry {
    /// What raises the interrupt.
    pub interrupt_source: InterruptSource,
    /// Must be zero.
    pub reserved_z: u32,
    /// The message, for a source of [`InterruptSource::MSI`].
    pub msi_entry: MsiEntry,
}
layout!(InterruptEntry: 16, interrupt_source @ 0, msi_entry @ 8);

bit_fields! {
    /// Flags of `HV_DEVICE_INTERRUPT_TARGET` (TLFS 10.4.7).
    pub struct DeviceInterruptTargetFlags(u32);
    /// Every target gets the interrupt, not one of them.
    multicast: bool = 1;
    /// The targets are a [`VpSet`], not a mask.
    processor_set: bool = 1;
    /// Must be zero.
    reserved_z: u32 = 30;
}

/// `HV_DEVICE_INTERRUPT_TARGET` up to its mask; a set continues in the variable header (TLFS 10.4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DeviceInterruptTarget {
    /// Vector.
    pub vector: u32,
    /// How the rest is to be read.
    pub flags: DeviceInterruptTargetFlags,
    /// Bit n: VP n. If `flags` say so, the format of a [`VpSet`] instead.
    pub processor_mask_or_set_format: u64,
}
layout!(DeviceInterruptTarget: 16, vector @ 0, flags @ 4, processor_mask_or_set_format @ 8);

/// Input of HvCallRetargetDeviceInterrupt, without the variable header (TLFS 10.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RetargetDeviceInterruptInput {
    /// Must be the caller's own partition.
    pub partition_id: PartitionId,
    /// The device.
    pub device_id: u64,
    /// Which of its interrupts.
    pub interrupt_entry: InterruptEntry,
    /// Must be zero.
    pub reserved_z: u64,
    /// Where it goes from now on.
    pub interrupt_target: DeviceInterruptTarget,
}
layout!(
    RetargetDeviceInterruptInput: 56,
    partition_id @ 0,
    device_id @ 8,
    interrupt_entry @ 16,
    interrupt_target @ 40,
);

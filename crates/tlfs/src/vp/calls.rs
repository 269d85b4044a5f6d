// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of the calls that start VPs, find them and reach their registers.

use super::VpIndex;
use crate::declare::layout;
use crate::partition::PartitionId;
use crate::register::{RegisterName, RegisterValue, SegmentRegister, TableRegister};
use crate::vsm::InputVtl;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `HV_INITIAL_VP_CONTEXT`: the state in which a VP starts (TLFS 7.10.3, 15.15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InitialVpContext {
    /// RIP.
    pub rip: u64,
    /// RSP.
    pub rsp: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CS.
    pub cs: SegmentRegister,
    /// DS.
    pub ds: SegmentRegister,
    /// ES.
    pub es: SegmentRegister,
    /// FS.
    pub fs: SegmentRegister,
    /// GS.
    pub gs: SegmentRegister,
    /// SS.
    pub ss: SegmentRegister,
    /// TR.
    pub tr: SegmentRegister,
    /// LDTR.
    pub ldtr: SegmentRegister,
    /// IDTR.
    pub idtr: TableRegister,
    /// GDTR.
    pub gdtr: TableRegister,
    /// EFER.
    pub efer: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_PAT.
    pub msr_cr_pat: u64,
}
layout!(InitialVpContext: 224, rip @ 0, cs @ 24, ldtr @ 136, idtr @ 152, gdtr @ 168, efer @ 184, msr_cr_pat @ 216);

/// Input of HvCallStartVirtualProcessor (TLFS 7.10.3) and HvCallEnableVpVtl (TLFS 15.15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StartVirtualProcessorInput {
    /// Partition of the VP.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// VTL to start in, or to enable: a plain level, not an [`InputVtl`].
    pub target_vtl: u8,
    /// Must be zero.
    pub reserved_z: [u8; 3],
    /// State to start in.
    pub vp_context: InitialVpContext,
}
layout!(StartVirtualProcessorInput: 240, partition_id @ 0, vp_index @ 8, target_vtl @ 12, vp_context @ 16);

/// Input of HvCallGetVpIndexFromApicId (TLFS 7.10.4); 32-bit APIC ids follow, 32-bit VP indexes are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetVpIndexFromApicIdInput {
    /// Partition of the VPs.
    pub partition_id: PartitionId,
    /// VTL whose APIC ids are meant.
    pub target_vtl: InputVtl,
    /// Must be zero.
    pub reserved_z: [u8; 7],
}
layout!(GetVpIndexFromApicIdInput: 16, partition_id @ 0, target_vtl @ 8);

/// Input header of HvCallGetVpRegisters and HvCallSetVpRegisters (TLFS 7.10.1, 7.10.2).
///
/// To get, 32-bit register names follow and 16-byte values are returned; to set, [`RegisterAssociation`]s follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VpRegistersInput {
    /// Partition of the VP.
    pub partition_id: PartitionId,
    /// The VP.
    pub vp_index: VpIndex,
    /// VTL whose registers are meant.
    pub target_vtl: InputVtl,
    /// Must be zero.
    pub reserved_z: [u8; 3],
}
layout!(VpRegistersInput: 16, partition_id @ 0, vp_index @ 8, target_vtl @ 12);

/// List element of HvCallSetVpRegisters (TLFS 7.10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterAssociation {
    /// The register.
    pub name: RegisterName,
    /// Must be zero.
    pub reserved_z: [u32; 3],
    /// Its new value.
    pub value: RegisterValue,
}
layout!(RegisterAssociation: 32, name @ 0, value @ 16);

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an engine can do beyond the least that every engine does.

/// What an engine can do. CPUID bits and intercepts that need one of these are offered only where it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// CPUID raises exits, so that answers may change while a guest runs (leaf 0x40000002 hidden until GUEST_OS_ID is set).
    pub cpuid_exits: bool,
    /// VMCALL and VMMCALL raise exits in every mode.
    pub hypercall_exits: bool,
    /// Chosen exceptions raise exits before they are delivered.
    pub exception_exits: bool,
    /// Descriptor-table registers can be kept from user code ([`crate::EngineVp::set_descriptor_table_guard`]).
    pub descriptor_table_guard: bool,
    /// Views may withhold the execute rights.
    pub execute_rights: bool,
    /// The two execute rights may differ.
    pub mode_based_execute: bool,
    /// Page walks that lack a right raise memory exits.
    pub walk_rights: bool,
    /// CR8 accesses raise exits.
    pub task_priority_exits: bool,
    /// Most VPs in a group.
    pub most_vps: u32,
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The contract between the hypervisor and whatever runs the instructions of a virtual processor (VP).
//!
//! An [`Engine`] makes [`VpGroup`]s: VPs that share one guest-physical [`memory::Space`] and one [`Clock`]. A group makes
//! [`EngineVp`]s, which run guest code until something happens that is not theirs to handle: an [`Exit`].
//!
//! Rules that every engine keeps, and that the hypervisor relies on:
//!
//! * An exit that an instruction causes stands *before* that instruction: RIP points to it and nothing of it is
//!   committed, not even when its page walk, its fetch or the delivery of an event caused the exit. It is answered by exactly one
//!   [`Resume`] before the next run.
//! * A kick is sticky: given before a run, it ends the next run at once, unless [`EngineVp::take_kick`] has taken it.
//! * When [`memory::Space::batch`] returns, no VP of any group on that space can use the old state.
//! * Stores made through the `memory` crate are seen by the VP's next instruction fetch, as if it had been serialised.
//! * An engine knows nothing of partitions, hypercalls, interrupt controllers or devices. What the hypervisor may offer a guest follows from
//!   [`Engine::capabilities`].
//!
//! A VP is owned by whoever holds it: methods take `&mut self`, and only its [`Kick`] may be used from elsewhere.

mod capabilities;
mod clock;
mod exit;
mod saved;
pub mod scripted;
mod state;
mod virtual_clock;
mod vp;

pub use capabilities::Capabilities;
pub use clock::{Clock, HostClock, host_tsc, host_tsc_frequency};
pub use exit::{
    Event, Exit, ExitReason, HypercallInstruction, MemoryAccess, MemoryAccessKind, MemoryExitCause,
    PortAccess, PortDirection, Resume,
};
pub use state::{
    ControlRegisters, DebugRegisters, EventState, Gpr, ModelSpecificRegisters, Repeatable, SegmentName,
    VpState, XsaveArea,
};
pub use virtual_clock::VirtualClock;
pub use vp::{
    CpuidResult, DescriptorTableGuard, Engine, EngineError, EngineVp, FlushScope, Kick, RunLimits, VpGroup,
};
pub use x86::segment::{Segment, SegmentAttributes, Selector, TableRegister};

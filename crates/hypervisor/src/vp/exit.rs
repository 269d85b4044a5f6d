// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run leaves to the host.

use engine::{MemoryAccess, PortAccess};

use crate::crash::CrashReport;

/// Why [`super::Vp::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum VpExit {
    /// An access to an I/O port. Answer with [`super::Vp::complete`] before the next run.
    Port(PortAccess),
    /// An access to memory that is not there, is protected, or faults on the host, and is not the local APIC's. Answer with
    /// [`super::Vp::complete`] (not for a fetch) or [`super::Vp::retry`] before the next run.
    Memory(MemoryAccess),
    /// A parameter page of a hypercall is not there, or protected (TLFS 3.6): the call has done nothing. Answer with [`super::Vp::retry`]
    /// once the page can be accessed, or with [`super::Vp::call_on_open_bus`] before the next run.
    Parameter(MemoryAccess),
    /// Nothing to run until somebody wakes the VP (see [`super::VpShared::set_waker`]), or until this tick of the clock. The thread may sleep; running again too early does no harm.
    Idle {
        /// When to run again if nobody wakes it.
        until: Option<u64>,
    },
    /// The guest waits in a loop: of PAUSE instructions, or it said so by HvNotifyLongSpinWait (TLFS 14.5.1). What it waits for may be another VP, so
    /// the thread had better let others run first. Running again at once does no harm.
    SpinWait,
    /// The host's deadline has come.
    Deadline,
    /// [`super::VpShared::stop`] was called.
    Stopped,
    /// The guest wants the system to be reset.
    Reset,
    /// The guest reports that it crashed. It may go on.
    Crash(CrashReport),
    /// The VP shut down on an exception that it could not deliver.
    TripleFault,
    /// The VP has been given register values that no processor has together (TLFS 7.3), by its guest or its host. It executes nothing until others are set.
    InvalidRegisters,
    /// The guest needs something that the engine does not have, named here for the user.
    Unsupported(&'static str),
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why an instruction did not finish, and how one that did goes on.

use engine::{Event, ExitReason};
use x86::exception::Exception;

use crate::cpu::Cpu;

/// Why an instruction did not finish. Nothing of it is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It raises an exception.
    Exception(Raised),
    /// The hypervisor has to do something first.
    Exit(NotedExit),
    /// It is a locked access that crosses a page, which needs all other processors to stand still (`alone`).
    Alone,
}

/// The processor has noted an exit. Stops are handed on through many a function: what most of them need not know stays where it is. Who has got one hands it on
/// before it makes another access, which may be noted over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotedExit(());

impl Cpu {
    /// Notes the exit that the run is to end with.
    pub(crate) fn note_exit(&mut self, reason: ExitReason) -> NotedExit {
        self.noted_exit = reason;
        NotedExit(())
    }

    /// The exit that was noted last.
    pub(crate) fn noted_exit(&self, _: NotedExit) -> ExitReason {
        self.noted_exit
    }

    /// The stop of an instruction before which the hypervisor has to do something.
    #[inline]
    pub(crate) fn stop_for(&mut self, reason: ExitReason) -> Stop {
        Stop::Exit(self.note_exit(reason))
    }

    /// The guest needs something that this processor does not have.
    pub(crate) fn unsupported(&mut self, what: &'static str) -> Stop {
        self.stop_for(ExitReason::Unsupported(what))
    }
}

/// An exception that an instruction, or the delivery of an event, raises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raised {
    /// Which.
    pub exception: Exception,
    /// Error code, where the exception has one (and the processor is not in real mode, which delivery knows).
    pub error_code: u32,
    /// The linear address for #PF, the DR6 bits for #DB, else 0.
    pub parameter: u64,
}

/// How a slow instruction that was executed goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// With the following instruction: the caller sets RIP to `cpu.next_rip`.
    Sequential,
    /// At `cpu.rip`, which the instruction has set.
    Jump,
}

impl Stop {
    /// An exception with error code 0, if it has one.
    #[must_use]
    pub const fn exception(exception: Exception) -> Self {
        Self::with_code(exception, 0)
    }

    /// An exception with an error code.
    #[must_use]
    pub const fn with_code(exception: Exception, error_code: u32) -> Self {
        Self::Exception(Raised { exception, error_code, parameter: 0 })
    }

    /// #PF at a linear address.
    #[must_use]
    pub const fn page_fault(error_code: u32, linear: u64) -> Self {
        Self::Exception(Raised { exception: Exception::PageFault, error_code, parameter: linear })
    }

    /// #UD.
    pub const INVALID_OPCODE: Self = Self::exception(Exception::InvalidOpcode);
    /// #GP(0).
    pub const GENERAL_PROTECTION: Self = Self::exception(Exception::GeneralProtection);
    /// #SS(0).
    pub const STACK_FAULT: Self = Self::exception(Exception::StackFault);
    /// #NM.
    pub const DEVICE_NOT_AVAILABLE: Self = Self::exception(Exception::DeviceNotAvailable);
    /// #DE.
    pub const DIVIDE_ERROR: Self = Self::exception(Exception::DivideError);
}

impl Raised {
    /// The event that delivers it.
    #[must_use]
    pub fn event(self) -> Event {
        Event::Exception {
            vector: self.exception.vector(),
            error_code: self.exception.has_error_code().then_some(self.error_code),
            parameter: self.parameter,
        }
    }
}

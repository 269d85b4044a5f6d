// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why an instruction did not finish, and how one that did goes on.

use engine::{Event, ExitReason};
use x86::exception::Exception;

/// Why an instruction did not finish. Nothing of it is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It raises an exception.
    Exception(Raised),
    /// The hypervisor has to do something first.
    Exit(ExitReason),
    /// It is a locked access that crosses a page, which needs all other processors to stand still (`alone`).
    Alone,
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

    /// The guest needs something that this processor does not have.
    #[must_use]
    pub const fn unsupported(what: &'static str) -> Self {
        Self::Exit(ExitReason::Unsupported(what))
    }
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

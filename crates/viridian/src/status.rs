// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exit statuses: what a script learns from a run.

use std::process::ExitCode;

/// How the command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// The guest powered off, or the command did what it was asked.
    Done,
    /// The guest left through the debug-exit port with this code.
    GuestCode(u32),
    /// The guest reset.
    Reset,
    /// The guest reported a crash through the crash MSRs.
    Crash,
    /// A processor of the guest shut down: after a triple fault, or for registers that cannot be together.
    ShutDown,
    /// The time of `--timeout` was over, or the guest ended without printing the text of `--expect`.
    Unmet,
    /// The command refused: options, files, or what the host lacks.
    Refused,
    /// The guest needs something that this build does not have.
    Unsupported,
    /// A signal ended the run, and is to end the command.
    Signal(i32),
}

/// Largest guest code that is passed on as it is.
const MOST_GUEST_CODE: u32 = 62;

impl Status {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            // The full code of a larger one is printed.
            Self::GuestCode(code) => u8::try_from(code.min(MOST_GUEST_CODE + 1)).unwrap_or(u8::MAX),
            Self::Reset => 64,
            Self::Crash => 65,
            Self::ShutDown => 66,
            Self::Unmet => 67,
            Self::Refused => 70,
            Self::Unsupported => 71,
            // As a shell tells it.
            Self::Signal(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX)),
        }
    }

    /// Whether [`Status::code`] does not tell the whole guest code.
    pub(crate) fn hides_guest_code(self) -> bool {
        matches!(self, Self::GuestCode(code) if code > MOST_GUEST_CODE)
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_do_not_collide() {
        assert_eq!(Status::GuestCode(62).code(), 62);
        assert!(!Status::GuestCode(62).hides_guest_code());
        for large in [63, 64, 70, 255, 256, u32::MAX] {
            assert_eq!(Status::GuestCode(large).code(), 63);
            assert!(Status::GuestCode(large).hides_guest_code());
        }
        let others = [
            Status::Reset,
            Status::Crash,
            Status::ShutDown,
            Status::Unmet,
            Status::Refused,
            Status::Unsupported,
            Status::Signal(1),
            Status::Signal(15),
        ];
        assert!(others.is_sorted_by(|one, next| 63 < one.code() && one.code() < next.code()));
    }
}

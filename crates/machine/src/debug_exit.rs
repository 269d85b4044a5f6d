// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two ways out for guest programs that have no ACPI.
//!
//! | Port | |
//! |---|---|
//! | 0xF4 | a write of up to 32 bits ends the run with that code (QEMU's isa-debug-exit, without its 2n + 1) |
//! | 0x8900 | the bytes "Shutdown", one after another, switch off (Bochs and old QEMU) |

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::Time;

/// Ports of the debug exit.
pub const EXIT_PORTS: std::ops::RangeInclusive<u16> = 0xF4..=0xF7;
/// Port of the shutdown word.
pub const SHUTDOWN_PORT: u16 = 0x8900;

const SHUTDOWN: &[u8] = b"Shutdown";

/// Both devices; saved and restored as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugExit {
    /// How many bytes of the word have come.
    matched: usize,
}

state::state!(DebugExit { matched });

impl PortDevice for DebugExit {
    fn read(&mut self, _now: Time, _port: u16, _size: AccessSize) -> u32 {
        // Nothing to read. Zero at 0xF4 tells a guest that the device is there, where an empty port shows ones.
        0
    }

    fn write(&mut self, _now: Time, port: u16, _size: AccessSize, value: u32) -> Option<ExitRequest> {
        if port != SHUTDOWN_PORT {
            return Some(ExitRequest::DebugExit(value));
        }
        let byte = value as u8;
        self.matched = match SHUTDOWN.get(self.matched) {
            Some(expected) if *expected == byte => self.matched + 1,
            _ => usize::from(byte == SHUTDOWN[0]),
        };
        (self.matched == SHUTDOWN.len()).then_some(ExitRequest::PowerOff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shutdown(bytes: &[u8]) -> Vec<usize> {
        let mut device = DebugExit::default();
        let mut write =
            |byte: &u8| device.write(Time::ZERO, SHUTDOWN_PORT, AccessSize::Byte, u32::from(*byte));
        (1..).zip(bytes).filter_map(|(n, byte)| write(byte).map(|_| n)).collect()
    }

    #[test]
    fn a_code_of_any_width_ends_the_run() {
        let mut device = DebugExit::default();
        for (size, code) in
            [(AccessSize::Byte, 0), (AccessSize::Word, 0x1234), (AccessSize::Dword, 0xDEAD_BEEF)]
        {
            assert_eq!(device.write(Time::ZERO, 0xF4, size, code), Some(ExitRequest::DebugExit(code)));
        }
    }

    #[test]
    fn the_whole_word_switches_off_and_nothing_less() {
        assert_eq!(shutdown(b"Shutdown"), [8]);
        assert_eq!(shutdown(b"Shutdow"), []);
        assert_eq!(shutdown(b"shutdown"), []);
        assert_eq!(shutdown(b"ShutShutdown"), [12]);
        assert_eq!(shutdown(b"SShutdown"), [9]);
    }
}

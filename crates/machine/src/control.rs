// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chipset odds and ends: reset control, system control port A and the POST code.
//!
//! | Port | |
//! |---|---|
//! | 0x80 | POST code: reads back what was written; also the classic short delay |
//! | 0x92 | bit 1 A20 (always on), bit 0: a rising edge resets |
//! | 0xCF8-0xCFF | PCI configuration, of which there is none: reads as ones |
//! | 0xCF9 | bytes only: bit 2, a rising edge resets; bit 1 says how thoroughly |
//!
//! Sources: Intel ICH and PCH datasheets (RST_CNT, PORT92). The reset byte lies inside the PCI address register and
//! answers to single-byte accesses only, so that a wide write of a PCI address never resets.

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::Time;

/// Ports of PCI configuration mechanism 1, with the reset byte inside.
pub const PCI_PORTS: std::ops::RangeInclusive<u16> = 0xCF8..=0xCFF;
/// Reset control.
pub const RESET_PORT: u16 = 0xCF9;
/// What to write there for a full reset: what the FADT tells the guest.
pub const RESET_VALUE: u8 = 0x06;
/// System control port A.
pub const SYSTEM_CONTROL_PORT_A: u16 = 0x92;
/// POST code.
pub const POST_CODE_PORT: u16 = 0x80;

const RESET_CPU: u8 = 1 << 2;
const RESET_WRITABLE: u8 = 0x0E;
const FAST_RESET: u8 = 1 << 0;
const A20: u8 = 1 << 1;

/// The three registers; saved and restored as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    reset: u8,
    port_a: u8,
    post_code: u8,
}

state::state!(Control { reset, port_a, post_code });

impl Control {
    /// The last POST code that the guest wrote.
    pub fn post_code(&self) -> u8 {
        self.post_code
    }
}

impl PortDevice for Control {
    fn read(&mut self, _now: Time, port: u16, size: AccessSize) -> u32 {
        match (port, size) {
            (RESET_PORT, AccessSize::Byte) => u32::from(self.reset),
            (SYSTEM_CONTROL_PORT_A, _) => u32::from(self.port_a | A20),
            (POST_CODE_PORT, _) => u32::from(self.post_code),
            _ => size.ones(),
        }
    }

    fn write(&mut self, _now: Time, port: u16, size: AccessSize, value: u32) -> Option<ExitRequest> {
        let value = value as u8;
        let (register, bit, writable) = match (port, size) {
            (RESET_PORT, AccessSize::Byte) => (&mut self.reset, RESET_CPU, RESET_WRITABLE),
            (SYSTEM_CONTROL_PORT_A, _) => (&mut self.port_a, FAST_RESET, 0xFF),
            (POST_CODE_PORT, _) => (&mut self.post_code, 0, 0xFF),
            _ => return None,
        };
        let rising = value & !*register & bit != 0;
        *register = value & writable;
        rising.then_some(ExitRequest::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessSize::{Byte, Dword, Word};

    #[test]
    fn reset_control_acts_on_the_rising_edge() {
        let mut control = Control::default();
        assert_eq!(control.write(Time::ZERO, RESET_PORT, Byte, 0x02), None);
        assert_eq!(control.write(Time::ZERO, RESET_PORT, Byte, 0x06), Some(ExitRequest::Reset));
        assert_eq!(control.write(Time::ZERO, RESET_PORT, Byte, 0x06), None);
        assert_eq!(control.read(Time::ZERO, RESET_PORT, Byte), 0x06);
        assert_eq!(control.write(Time::ZERO, RESET_PORT, Byte, 0), None);
        assert_eq!(control.write(Time::ZERO, RESET_PORT, Byte, RESET_VALUE.into()), Some(ExitRequest::Reset));
    }

    #[test]
    fn a_pci_address_never_resets_and_no_pci_answers() {
        let mut control = Control::default();
        assert_eq!(control.write(Time::ZERO, 0xCF8, Dword, 0x8000_0600), None);
        assert_eq!(control.read(Time::ZERO, 0xCF8, Dword), 0xFFFF_FFFF);
        assert_eq!(control.write(Time::ZERO, 0xCF9, Word, 0x0606), None);
        assert_eq!(control.read(Time::ZERO, 0xCFC, Word), 0xFFFF);
    }

    #[test]
    fn port_a_keeps_a20_on() {
        let mut control = Control::default();
        assert_eq!(control.write(Time::ZERO, SYSTEM_CONTROL_PORT_A, Byte, 0), None);
        assert_eq!(control.read(Time::ZERO, SYSTEM_CONTROL_PORT_A, Byte), 0x02);
        assert_eq!(control.write(Time::ZERO, SYSTEM_CONTROL_PORT_A, Byte, 0x03), Some(ExitRequest::Reset));
    }

    #[test]
    fn the_post_code_reads_back() {
        let mut control = Control::default();
        assert_eq!(control.write(Time::ZERO, POST_CODE_PORT, Byte, 0xA7), None);
        assert_eq!((control.read(Time::ZERO, POST_CODE_PORT, Byte), control.post_code()), (0xA7, 0xA7));
    }
}

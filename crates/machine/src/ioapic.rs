// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC: 24 pins that become messages to local APICs.
//!
//! | Address | Register |
//! |---|---|
//! | base + 0x00 | IOREGSEL: index of the register behind IOWIN |
//! | base + 0x10 | IOWIN: 0 id, 1 version, 2 arbitration id, 0x10 + 2n and 0x11 + 2n redirection entry of pin n |
//! | base + 0x40 | EOI: a written vector ends the level interrupts that have it |
//!
//! Redirection entry: 7:0 vector, 10:8 delivery mode, 11 logical destination, 12 delivery status, 13 active low,
//! 14 remote IRR, 15 level, 16 mask, 63:56 destination.
//!
//! Sources: Intel 82093AA datasheet (290566); Intel ICH and PCH datasheets for version 0x20 and its EOI register. Pins
//! carry "asserted" and not voltages, so the polarity bit is kept and has no effect. Messages are delivered at once,
//! so delivery status always reads idle. Registers are 32 bits wide and take aligned 32-bit accesses only.

use x86::apic::DeliveryMode;

use crate::bus::MmioDevice;
use crate::interrupt::InterruptMessage;
use crate::time::Time;

/// How many pins there are.
pub const PINS: u8 = 24;
/// Length of its address range in bytes.
pub const LENGTH: u64 = 0x1000;

const VERSION: u32 = 0x20;
const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
const EOI: u64 = 0x40;

const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Bits 16:0 and 63:56, less the two that only the device sets.
const WRITABLE: u64 = 0xFF00_0000_0001_FFFF & !(DELIVERY_STATUS | REMOTE_IRR);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    fn vector(self) -> u8 {
        self.0 as u8
    }

    fn delivery_mode(self) -> DeliveryMode {
        DeliveryMode::from_bits((self.0 >> 8) as u8)
    }

    /// `None` for the delivery modes that are reserved here, which send nothing.
    fn message(self) -> Option<InterruptMessage> {
        let delivery_mode = self.delivery_mode();
        if matches!(delivery_mode, DeliveryMode::Reserved | DeliveryMode::StartUp) {
            return None;
        }
        Some(InterruptMessage {
            destination: (self.0 >> 56) as u8,
            logical: self.has(1 << 11),
            delivery_mode,
            vector: self.vector(),
            level_triggered: self.is_level(),
        })
    }

    /// Only fixed and lowest-priority interrupts can be level-triggered: the others know no EOI.
    fn is_level(self) -> bool {
        self.has(LEVEL) && matches!(self.delivery_mode(), DeliveryMode::Fixed | DeliveryMode::LowestPriority)
    }
}

state::state!(Entry(_));
state::state!(State { id, select, entries, pins });

/// Everything the I/O APIC remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    id: u8,
    select: u8,
    entries: [Entry; PINS as usize],
    /// Bit n: pin n is asserted.
    pins: u32,
}

/// The I/O APIC. What it sends collects in a queue, which [`IoApic::take_messages`] empties.
#[derive(Debug)]
pub struct IoApic {
    base: u64,
    state: State,
    messages: Vec<InterruptMessage>,
}

state::state!(IoApic { base as derived, state, messages as derived });

impl IoApic {
    /// An I/O APIC whose registers begin at guest-physical address `base`.
    pub fn new(base: u64) -> Self {
        let state = State { id: 0, select: 0, entries: [Entry(MASKED); PINS as usize], pins: 0 };
        Self { base, state, messages: Vec::new() }
    }

    /// The messages sent since the last call.
    pub fn take_messages(&mut self) -> Vec<InterruptMessage> {
        std::mem::take(&mut self.messages)
    }

    /// Drives `pin` (0-23).
    pub fn set_pin(&mut self, pin: u8, asserted: bool) {
        let bit = 1u32 << pin;
        let rose = asserted && self.state.pins & bit == 0;
        if asserted {
            self.state.pins |= bit;
        } else {
            self.state.pins &= !bit;
        }
        let entry = self.state.entries[usize::from(pin)];
        if entry.is_level() {
            self.send_level(pin);
        } else if rose && !entry.has(MASKED) {
            // An edge on a masked pin is lost (82093AA 3.2.4).
            self.messages.extend(entry.message());
        }
    }

    /// The vector that an edge of `pin` sends now, if it sends one.
    pub fn edge_vector(&self, pin: u8) -> Option<u8> {
        let entry = self.state.entries[usize::from(pin)];
        let message = entry.message().filter(|_| !entry.is_level() && !entry.has(MASKED))?;
        matches!(message.delivery_mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority)
            .then_some(message.vector)
    }

    /// A local APIC ended `vector`: level interrupts that have it may be sent again.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for pin in 0..PINS {
            let entry = &mut self.state.entries[usize::from(pin)];
            if entry.vector() == vector && entry.has(REMOTE_IRR) {
                entry.0 &= !REMOTE_IRR;
                self.send_level(pin);
            }
        }
    }

    /// Whether some level interrupt with `vector` waits for its EOI.
    pub fn awaits_end_of(&self, vector: u8) -> bool {
        self.state.entries.iter().any(|entry| entry.vector() == vector && entry.has(REMOTE_IRR))
    }

    fn send_level(&mut self, pin: u8) {
        let entry = &mut self.state.entries[usize::from(pin)];
        let asserted = self.state.pins & 1 << pin != 0;
        if asserted
            && entry.is_level()
            && !entry.has(MASKED | REMOTE_IRR)
            && let Some(message) = entry.message()
        {
            entry.0 |= REMOTE_IRR;
            self.messages.push(message);
        }
    }

    fn read_window(&self) -> u32 {
        match self.state.select {
            0 | 2 => u32::from(self.state.id) << 24,
            1 => u32::from(PINS - 1) << 16 | VERSION,
            index @ 0x10..=0x3F => {
                let entry = self.state.entries[usize::from(index - 0x10) / 2].0;
                if index & 1 == 0 { entry as u32 } else { (entry >> 32) as u32 }
            }
            _ => u32::MAX,
        }
    }

    fn write_window(&mut self, value: u32) {
        match self.state.select {
            0 => self.state.id = (value >> 24) as u8 & 0x0F,
            index @ 0x10..=0x3F => {
                let pin = (index - 0x10) / 2;
                let entry = &mut self.state.entries[usize::from(pin)];
                let shift = 32 * u32::from(index & 1);
                let writable = WRITABLE & 0xFFFF_FFFF << shift;
                entry.0 = entry.0 & !writable | u64::from(value) << shift & writable;
                // An edge interrupt awaits no EOI. Drivers of version 0x11 switch to edge and back to clear the bit.
                if !entry.is_level() {
                    entry.0 &= !REMOTE_IRR;
                }
                self.send_level(pin);
            }
            _ => {}
        }
    }
}

impl MmioDevice for IoApic {
    fn read(&mut self, _now: Time, gpa: u64, data: &mut [u8]) {
        let value = match (gpa - self.base, data.len()) {
            (IOREGSEL, 4) => u32::from(self.state.select),
            (IOWIN, 4) => self.read_window(),
            _ => u32::MAX,
        };
        match <&mut [u8; 4]>::try_from(&mut *data) {
            Ok(dword) => *dword = value.to_le_bytes(),
            Err(_) => data.fill(0xFF),
        }
    }

    fn write(&mut self, _now: Time, gpa: u64, data: &[u8]) {
        let Ok(dword) = <[u8; 4]>::try_from(data) else { return };
        let value = u32::from_le_bytes(dword);
        match gpa - self.base {
            IOREGSEL => self.state.select = value as u8,
            IOWIN => self.write_window(value),
            EOI => self.end_of_interrupt(value as u8),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xFEC0_0000;

    impl IoApic {
        fn reg(&mut self, index: u8) -> u32 {
            let mut data = [0; 4];
            self.write(Time::ZERO, BASE, &u32::from(index).to_le_bytes());
            self.read(Time::ZERO, BASE + 0x10, &mut data);
            u32::from_le_bytes(data)
        }

        fn set_reg(&mut self, index: u8, value: u32) {
            self.write(Time::ZERO, BASE, &u32::from(index).to_le_bytes());
            self.write(Time::ZERO, BASE + 0x10, &value.to_le_bytes());
        }

        fn route(&mut self, pin: u8, entry: u64) {
            self.set_reg(0x11 + 2 * pin, (entry >> 32) as u32);
            self.set_reg(0x10 + 2 * pin, entry as u32);
        }

        fn sent(&mut self) -> Vec<u8> {
            self.take_messages().iter().map(|message| message.vector).collect()
        }
    }

    #[test]
    fn version_says_24_pins_and_an_eoi_register() {
        let mut apic = IoApic::new(BASE);
        assert_eq!(apic.reg(1), 0x0017_0020);
        apic.set_reg(0, 0xFFFF_FFFF);
        assert_eq!(apic.reg(0), 0x0F00_0000);
        assert_eq!(apic.reg(2), 0x0F00_0000);
        assert_eq!(apic.reg(0x10), 0x1_0000, "masked after reset");
    }

    #[test]
    fn entries_keep_their_writable_bits_only() {
        let mut apic = IoApic::new(BASE);
        apic.route(5, u64::MAX);
        assert_eq!((apic.reg(0x1A), apic.reg(0x1B)), (0x0001_AFFF, 0xFF00_0000));
        apic.route(23, 0x1200_0000_0001_0034);
        assert_eq!((apic.reg(0x3E), apic.reg(0x3F)), (0x0001_0034, 0x1200_0000));
        assert_eq!(apic.reg(0x40), u32::MAX);
    }

    #[test]
    fn an_edge_is_one_message() {
        let mut apic = IoApic::new(BASE);
        apic.route(4, 0x0300_0000_0000_0834);
        apic.set_pin(4, true);
        apic.set_pin(4, true);
        let expected = InterruptMessage {
            destination: 3,
            logical: true,
            delivery_mode: DeliveryMode::Fixed,
            vector: 0x34,
            level_triggered: false,
        };
        assert_eq!(apic.take_messages(), [expected]);
        apic.set_pin(4, false);
        apic.set_pin(4, true);
        assert_eq!(apic.sent(), [0x34]);
        assert!(!apic.awaits_end_of(0x34));
    }

    #[test]
    fn an_edge_on_a_masked_pin_is_lost_and_a_level_waits() {
        let mut apic = IoApic::new(BASE);
        apic.route(4, MASKED | 0x34);
        apic.set_pin(4, true);
        apic.route(4, 0x34);
        assert!(apic.sent().is_empty());
        apic.route(9, MASKED | LEVEL | 0x39);
        apic.set_pin(9, true);
        assert!(apic.sent().is_empty());
        apic.route(9, LEVEL | 0x39);
        assert_eq!(apic.sent(), [0x39]);
    }

    #[test]
    fn a_level_is_sent_again_after_each_eoi_while_it_lasts() {
        let mut apic = IoApic::new(BASE);
        apic.route(9, LEVEL | 0x39);
        apic.set_pin(9, true);
        assert_eq!(apic.sent(), [0x39]);
        assert_ne!(apic.reg(0x22) & REMOTE_IRR as u32, 0);
        assert!(apic.awaits_end_of(0x39));
        apic.set_pin(9, false);
        apic.set_pin(9, true);
        assert!(apic.sent().is_empty(), "not before the EOI");
        apic.end_of_interrupt(0x40);
        assert!(apic.sent().is_empty(), "another vector's EOI");
        apic.end_of_interrupt(0x39);
        assert_eq!(apic.sent(), [0x39]);
        apic.set_pin(9, false);
        apic.end_of_interrupt(0x39);
        assert!(apic.sent().is_empty());
        assert_eq!(apic.reg(0x22) & REMOTE_IRR as u32, 0);
    }

    #[test]
    fn the_eoi_register_does_what_an_eoi_does() {
        let mut apic = IoApic::new(BASE);
        apic.route(9, LEVEL | 0x39);
        apic.set_pin(9, true);
        apic.sent();
        apic.write(Time::ZERO, BASE + 0x40, &0x39u32.to_le_bytes());
        assert_eq!(apic.sent(), [0x39]);
    }

    #[test]
    fn switching_to_edge_and_back_clears_remote_irr() {
        let mut apic = IoApic::new(BASE);
        apic.route(9, LEVEL | 0x39);
        apic.set_pin(9, true);
        apic.sent();
        apic.set_reg(0x22, MASKED as u32 | 0x39);
        apic.set_reg(0x22, LEVEL as u32 | 0x39);
        assert_eq!(apic.sent(), [0x39]);
    }

    #[test]
    fn delivery_modes_without_eoi_are_edges_and_reserved_ones_send_nothing() {
        let mut apic = IoApic::new(BASE);
        for (mode, expected) in [
            (2, Some(DeliveryMode::Smi)),
            (3, None),
            (4, Some(DeliveryMode::Nmi)),
            (5, Some(DeliveryMode::Init)),
            (6, None),
            (7, Some(DeliveryMode::ExtInt)),
        ] {
            apic.route(0, LEVEL | mode << 8);
            apic.set_pin(0, true);
            let sent = apic.take_messages();
            assert_eq!(sent.first().map(|message| message.delivery_mode), expected, "mode {mode}");
            assert!(sent.iter().all(|message| !message.level_triggered));
            apic.set_pin(0, false);
        }
    }

    #[test]
    fn other_widths_and_places_read_ones() {
        let mut apic = IoApic::new(BASE);
        let mut wide = [0; 8];
        apic.read(Time::ZERO, BASE + 0x10, &mut wide);
        assert_eq!(wide, [0xFF; 8]);
        let mut byte = [0];
        apic.read(Time::ZERO, BASE + 0x3, &mut byte);
        assert_eq!(byte, [0xFF]);
        apic.write(Time::ZERO, BASE + 0x10, &[0; 8]);
        assert_eq!(apic.reg(0x10), 0x1_0000);
    }
}

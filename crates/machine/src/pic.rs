// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pair of 8259A interrupt controllers, the second on input 2 of the first, with edge/level control registers.
//!
//! | Port | Read | Write |
//! |---|---|---|
//! | 0x20, 0xA0 | IRR or ISR, or the answer to a poll | ICW1 (bit 4), OCW3 (bit 3), OCW2 |
//! | 0x21, 0xA1 | IMR | ICW2, ICW3, ICW4 after ICW1; IMR otherwise |
//! | 0x4D0, 0x4D1 | ELCR of interrupts 0-7, 8-15: one is level | the same; 0, 1, 2, 8 and 13 stay edge |
//!
//! Sources: Intel 8259A datasheet (231468); Intel ICH datasheets for ELCR. An edge is remembered even if its line falls
//! before it is acknowledged, as in the chipsets that took the 8259A's place, so a short pulse of the timer counts.

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::Time;

/// Ports of the first controller.
pub const FIRST_PORTS: std::ops::RangeInclusive<u16> = 0x20..=0x21;
/// Ports of the second controller.
pub const SECOND_PORTS: std::ops::RangeInclusive<u16> = 0xA0..=0xA1;
/// The edge/level control registers.
pub const ELCR_PORTS: std::ops::RangeInclusive<u16> = 0x4D0..=0x4D1;

/// The input of the first controller that the second one's output is wired to.
const CASCADE: u8 = 2;
/// The input that a spurious acknowledge reports.
const SPURIOUS: u8 = 7;

/// Which initialization word port 1 expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

state::state_enum!(Expects { Mask = 0, Icw2 = 1, Icw3 = 2, Icw4 = 3 });

/// One controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chip {
    /// Input lines as they are.
    lines: u8,
    /// Edges not yet acknowledged.
    edges: u8,
    level_triggered: u8,
    mask: u8,
    in_service: u8,
    vector_base: u8,
    /// The input with the lowest priority; the next one up has the highest.
    lowest: u8,
    expects: Expects,
    icw4_follows: bool,
    single: bool,
    auto_eoi: bool,
    rotate_in_auto_eoi: bool,
    special_fully_nested: bool,
    special_mask: bool,
    read_in_service: bool,
    poll: bool,
}

state::state!(Chip {
    lines,
    edges,
    level_triggered,
    mask,
    in_service,
    vector_base,
    lowest,
    expects,
    icw4_follows,
    single,
    auto_eoi,
    rotate_in_auto_eoi,
    special_fully_nested,
    special_mask,
    read_in_service,
    poll,
});
state::state!(State { first, second });

impl Chip {
    fn new(level_triggered: u8) -> Self {
        Self {
            lines: 0,
            edges: 0,
            level_triggered,
            mask: 0,
            in_service: 0,
            vector_base: 0,
            lowest: 7,
            expects: Expects::Mask,
            icw4_follows: false,
            single: false,
            auto_eoi: false,
            rotate_in_auto_eoi: false,
            special_fully_nested: false,
            special_mask: false,
            read_in_service: false,
            poll: false,
        }
    }

    fn requests(&self) -> u8 {
        self.edges | self.lines & self.level_triggered
    }

    fn set_line(&mut self, input: u8, asserted: bool) {
        let bit = 1 << input;
        if asserted {
            if self.lines & bit == 0 && self.level_triggered & bit == 0 {
                self.edges |= bit;
            }
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
    }

    /// The rank of the most urgent bit of `set`, and its input; rank 0 is the highest priority.
    fn most_urgent(&self, set: u8) -> Option<(u32, u8)> {
        let rotated = set.rotate_right(u32::from(self.lowest) + 1);
        (rotated != 0).then(|| {
            let rank = rotated.trailing_zeros();
            (rank, (self.lowest + 1 + rank as u8) & 7)
        })
    }

    /// The input that INT reports, if INT is asserted.
    fn pending(&self) -> Option<u8> {
        let (rank, input) = self.most_urgent(self.requests() & !self.mask)?;
        let mut blocking = self.in_service;
        if self.special_mask {
            blocking &= !self.mask;
        }
        if self.special_fully_nested && input == CASCADE {
            // The second controller may interrupt its own service with something more urgent.
            blocking &= !(1 << CASCADE);
        }
        match self.most_urgent(blocking) {
            Some((in_service, _)) if in_service <= rank => None,
            _ => Some(input),
        }
    }

    /// The acknowledge cycle; the input it reports, which is [`SPURIOUS`] if none asks any more.
    fn acknowledge(&mut self) -> u8 {
        let Some(input) = self.pending() else { return SPURIOUS };
        let bit = 1 << input;
        self.edges &= !bit;
        if !self.auto_eoi {
            self.in_service |= bit;
        } else if self.rotate_in_auto_eoi {
            self.lowest = input;
        }
        input
    }

    fn end_of_interrupt(&mut self, input: Option<u8>, rotate: bool) {
        let in_service = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        let Some(input) = input.or_else(|| self.most_urgent(in_service).map(|(_, input)| input)) else {
            return;
        };
        self.in_service &= !(1 << input);
        if rotate {
            self.lowest = input;
        }
    }

    fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            // ICW1. Initialization forgets everything but the wiring and ELCR.
            *self = Self {
                lines: self.lines,
                expects: Expects::Icw2,
                icw4_follows: value & 1 != 0,
                single: value & 2 != 0,
                ..Self::new(self.level_triggered)
            };
        } else if value & 0x08 != 0 {
            // OCW3.
            match value & 0x60 {
                0x60 => self.special_mask = true,
                0x40 => self.special_mask = false,
                _ => {}
            }
            match value & 0x03 {
                3 => self.read_in_service = true,
                2 => self.read_in_service = false,
                _ => {}
            }
            self.poll = value & 0x04 != 0;
        } else {
            // OCW2: rotate, specific, EOI.
            let input = value & 7;
            match value >> 5 {
                0b000 => self.rotate_in_auto_eoi = false,
                0b100 => self.rotate_in_auto_eoi = true,
                0b001 => self.end_of_interrupt(None, false),
                0b101 => self.end_of_interrupt(None, true),
                0b011 => self.end_of_interrupt(Some(input), false),
                0b111 => self.end_of_interrupt(Some(input), true),
                0b110 => self.lowest = input,
                _ => {}
            }
        }
    }

    fn write_data(&mut self, value: u8) {
        let icw4_or_mask = if self.icw4_follows { Expects::Icw4 } else { Expects::Mask };
        self.expects = match self.expects {
            Expects::Mask => {
                self.mask = value;
                Expects::Mask
            }
            Expects::Icw2 => {
                self.vector_base = value & 0xF8;
                if self.single { icw4_or_mask } else { Expects::Icw3 }
            }
            // The wiring is fixed; the word only counts.
            Expects::Icw3 => icw4_or_mask,
            Expects::Icw4 => {
                self.auto_eoi = value & 2 != 0;
                self.special_fully_nested = value & 0x10 != 0;
                Expects::Mask
            }
        };
    }

    fn read_command(&self) -> u8 {
        if self.read_in_service { self.in_service } else { self.requests() }
    }
}

/// Everything the pair remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    first: Chip,
    second: Chip,
}

/// The pair of controllers.
#[derive(Debug)]
pub struct PicPair {
    state: State,
}

state::state!(PicPair { state });

impl PicPair {
    /// A pair of which the inputs in `level_triggered` (bit n: interrupt n) are set to level in ELCR, as firmware does
    /// for the interrupts of its tables.
    pub fn new(level_triggered: u16) -> Self {
        let [first, second] = (level_triggered & Self::LEVEL_CAPABLE).to_le_bytes();
        Self { state: State { first: Chip::new(first), second: Chip::new(second) } }
    }

    /// Interrupts whose trigger mode can be changed: not the timer, keyboard, cascade, clock and coprocessor.
    const LEVEL_CAPABLE: u16 = 0xDEF8;

    /// Drives the line of ISA interrupt `irq` (0-15).
    pub fn set_line(&mut self, irq: u8, asserted: bool) {
        if irq >= 8 {
            self.state.second.set_line(irq & 7, asserted);
        } else if irq != CASCADE {
            self.state.first.set_line(irq, asserted);
        }
        self.cascade();
    }

    /// If interrupt 0 is not masked: whether an edge of it waits to be acknowledged, and its vector.
    pub fn timer(&self) -> Option<(bool, u8)> {
        let first = &self.state.first;
        (first.mask & 1 == 0).then_some((first.edges & 1 != 0, first.vector_base))
    }

    /// The INTR output.
    pub fn interrupt(&self) -> bool {
        self.state.first.pending().is_some()
    }

    /// The acknowledge cycle of a processor: the vector. A request that went away in between gives the vector of input
    /// 7 with nothing in service, as the datasheet has it.
    pub fn acknowledge(&mut self) -> u8 {
        let State { first, second } = &mut self.state;
        let input = first.acknowledge();
        let vector = if input == CASCADE {
            second.vector_base | second.acknowledge()
        } else {
            first.vector_base | input
        };
        self.cascade();
        vector
    }

    /// Carries the second controller's output to the first one's input. The line falls and rises for each further
    /// request, which is an edge.
    fn cascade(&mut self) {
        let State { first, second } = &mut self.state;
        let asserted = second.pending().is_some();
        first.set_line(CASCADE, asserted);
        if !asserted {
            first.edges &= !(1 << CASCADE);
        } else if first.in_service & 1 << CASCADE == 0 || first.special_fully_nested {
            first.edges |= 1 << CASCADE;
        }
    }
}

impl PortDevice for PicPair {
    fn read(&mut self, _now: Time, port: u16, _size: AccessSize) -> u32 {
        let value = match port {
            0x4D0 => self.state.first.level_triggered,
            0x4D1 => self.state.second.level_triggered,
            _ => {
                let chip = if port & 0x80 == 0 { &mut self.state.first } else { &mut self.state.second };
                if std::mem::take(&mut chip.poll) {
                    // A poll is an acknowledge whose answer says whether there was a request.
                    let asked = chip.pending().is_some();
                    if asked { 0x80 | chip.acknowledge() } else { 0 }
                } else if port & 1 == 0 {
                    chip.read_command()
                } else {
                    chip.mask
                }
            }
        };
        self.cascade();
        u32::from(value)
    }

    fn write(&mut self, _now: Time, port: u16, _size: AccessSize, value: u32) -> Option<ExitRequest> {
        let value = value as u8;
        let [first_capable, second_capable] = Self::LEVEL_CAPABLE.to_le_bytes();
        let State { first, second } = &mut self.state;
        match port {
            0x20 => first.write_command(value),
            0x21 => first.write_data(value),
            0xA0 => second.write_command(value),
            0xA1 => second.write_data(value),
            0x4D0 => first.level_triggered = value & first_capable,
            _ => second.level_triggered = value & second_capable,
        }
        self.cascade();
        None
    }
}

#[cfg(test)]
mod tests;

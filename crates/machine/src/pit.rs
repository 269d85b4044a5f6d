// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 8254 programmable interval timer, and port 0x61 with what is wired to its channel 2.
//!
//! | Port | Read | Write |
//! |---|---|---|
//! | 0x40-0x42 | count, latched count or latched status of channel 0-2 | count of channel 0-2 |
//! | 0x43 | ones | 7:6 channel (3: read-back), 5:4 access (0: latch), 3:1 mode, 0 BCD |
//! | 0x61 | 0 gate 2, 1 speaker, 3:2 error enables, 4 refresh toggle, 5 OUT2, 7:6 NMI reasons (none) | bits 3:0 |
//!
//! Sources: Intel 8254 datasheet (231164); Intel ICH datasheets for port 0x61 (NMI_SC). Channel 0's output is ISA
//! interrupt 0; channel 1 once refreshed memory; channel 2's gate and output are bits of port 0x61. Gates 0 and 1 are
//! tied high. The output of each channel and the count it shows are functions of time: `pit/channel.rs` has
//! them in a table.

mod channel;

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::{Frequency, Time};
use channel::Channel;

/// Ports of the three counters and the control word.
pub const PORTS: std::ops::RangeInclusive<u16> = 0x40..=0x43;
/// System control port B.
pub const SYSTEM_CONTROL_PORT_B: u16 = 0x61;
/// ISA interrupt of channel 0.
pub const IRQ: u8 = 0;
/// The counters' clock: a twelfth of 14.31818 MHz.
pub const FREQUENCY: Frequency = Frequency::constant(1_193_182);

/// The refresh bit of port 0x61 changes at each refresh of memory, every 15.085 µs.
const REFRESH_NS: u64 = 15_085;
const GATE2: u8 = 1 << 0;
const REFRESH: u8 = 1 << 4;
const OUT2: u8 = 1 << 5;

/// Everything the timer remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    channels: [Channel; 3],
    /// Bits 3:0 of port 0x61.
    control_b: u8,
    /// The tick up to which edges of channel 0 have been reported.
    tick: i64,
}

state::state!(State { channels, control_b, tick });

/// The timer.
#[derive(Debug)]
pub struct Pit {
    state: State,
}

impl Default for Pit {
    fn default() -> Self {
        let mut channels = [Channel::default(); 3];
        channels[0].set_gate(true, 0);
        channels[1].set_gate(true, 0);
        Self { state: State { channels, control_b: 0, tick: 0 } }
    }
}

state::state!(Pit { state });

impl Pit {
    /// Brings the timer to `now` and tells how often channel 0's output rose since the last call. It may have fallen
    /// again.
    pub fn advance(&mut self, now: Time) -> u64 {
        let tick = FREQUENCY.ticks_at(now) as i64;
        let rose = self.state.channels[0].rising_edges(self.state.tick, tick);
        for channel in &mut self.state.channels {
            channel.advance(tick);
        }
        self.state.tick = self.state.tick.max(tick);
        rose
    }

    /// Channel 0's output: the level of ISA interrupt 0.
    pub fn interrupt(&self) -> bool {
        self.state.channels[0].output(self.state.tick)
    }

    /// When channel 0's output next rises.
    pub fn next_deadline(&self) -> Option<Time> {
        let tick = self.state.channels[0].next_rising_edge(self.state.tick)?;
        Some(FREQUENCY.time_of(tick as u64))
    }

    fn write_control(&mut self, value: u8) {
        let tick = self.state.tick;
        match usize::from(value >> 6) {
            3 => {
                for (n, channel) in self.state.channels.iter_mut().enumerate() {
                    if value & 2 << n != 0 {
                        // Bits 5 and 4 are active low.
                        if value & 0x10 == 0 {
                            channel.latch_status(tick);
                        }
                        if value & 0x20 == 0 {
                            channel.latch_count(tick);
                        }
                    }
                }
            }
            n if value & 0x30 == 0 => self.state.channels[n].latch_count(tick),
            n => self.state.channels[n].write_control(value),
        }
    }
}

impl PortDevice for Pit {
    fn read(&mut self, now: Time, port: u16, _size: AccessSize) -> u32 {
        let tick = self.state.tick;
        let value = match port {
            SYSTEM_CONTROL_PORT_B => {
                let refresh = if now.as_ns() / REFRESH_NS % 2 == 1 { REFRESH } else { 0 };
                let out2 = if self.state.channels[2].output(tick) { OUT2 } else { 0 };
                self.state.control_b | refresh | out2
            }
            0x40..=0x42 => self.state.channels[usize::from(port - 0x40)].read(tick),
            _ => 0xFF,
        };
        u32::from(value)
    }

    fn write(&mut self, _now: Time, port: u16, _size: AccessSize, value: u32) -> Option<ExitRequest> {
        let (value, tick) = (value as u8, self.state.tick);
        match port {
            SYSTEM_CONTROL_PORT_B => {
                self.state.control_b = value & 0x0F;
                self.state.channels[2].set_gate(value & GATE2 != 0, tick);
            }
            0x40..=0x42 => self.state.channels[usize::from(port - 0x40)].write(value, tick),
            _ => self.write_control(value),
        }
        None
    }
}

#[cfg(test)]
mod tests;

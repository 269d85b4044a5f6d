// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real-time clock and its CMOS memory: Motorola MC146818A, with the century byte of PCs.
//!
//! | Port | |
//! |---|---|
//! | 0x70 | index of the byte behind 0x71 in bits 6:0; bit 7 masks NMI (there is none); reads as ones |
//! | 0x71 | 0 seconds, 2 minutes, 4 hours, 6 weekday, 7 day, 8 month, 9 year, 0x32 century; 1, 3, 5 alarm |
//! | | A: 7 update in progress, 6:4 divider, 3:0 periodic rate |
//! | | B: 7 set, 6:4 enable periodic, alarm, update interrupt, 2 binary, 1 24 hours |
//! | | C: 7 interrupt, 6:4 periodic, alarm, update happened; a read clears it. D: 7 battery is good |
//! | | the rest: memory, with RAM sizes in the places where firmware puts them |
//!
//! The clock is a function of partition time: civil time at [`Time::ZERO`] plus what has passed. The weekday follows
//! from the date. Update in progress is up for the 244 µs before each second; the update itself takes no time.

mod civil;

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::{Frequency, Time};
use civil::{Civil, Format};

/// Ports of index and data.
pub const PORTS: std::ops::RangeInclusive<u16> = 0x70..=0x71;
/// ISA interrupt of the clock.
pub const IRQ: u8 = 8;
/// Where the century is, as the FADT says.
pub const CENTURY: u8 = 0x32;

const NS: i128 = 1_000_000_000;
/// Update in progress shows this long before the second.
const UPDATE_WARNING_NS: i128 = 244_000;
/// The periodic interrupt's chain.
const CRYSTAL: Frequency = Frequency::constant(32_768);

const REGISTER_A: u8 = 0x0A;
const REGISTER_B: u8 = 0x0B;
const REGISTER_C: u8 = 0x0C;
const REGISTER_D: u8 = 0x0D;
const A_UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Divider settings 6 and 7 hold the chain in reset.
const A_DIVIDER_RESET: u8 = 0x60;
const B_SET: u8 = 1 << 7;
const B_BINARY: u8 = 1 << 2;
const B_24_HOURS: u8 = 1 << 1;
/// The three causes, at the same place in B (enabled) and C (happened).
const PERIODIC: u8 = 1 << 6;
const ALARM: u8 = 1 << 5;
const UPDATE: u8 = 1 << 4;
const C_INTERRUPT: u8 = 1 << 7;
const D_BATTERY: u8 = 1 << 7;

/// The time registers while the clock does not drive them, in the order of [`TIME_REGISTERS`].
type Held = [u8; 8];
const TIME_REGISTERS: [u8; 8] = [0, 2, 4, 6, 7, 8, 9, CENTURY];
const ALARM_REGISTERS: [u8; 3] = [1, 3, 5];

/// Everything the clock remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    index: u8,
    register_a: u8,
    register_b: u8,
    /// Causes that happened, of register C.
    happened: u8,
    /// Nanoseconds since 1970-01-01 at [`Time::ZERO`].
    offset_ns: i128,
    held: Option<Held>,
    alarm: [u8; 3],
    memory: [u8; 128],
    now: Time,
}

state::state!(State { index, register_a, register_b, happened, offset_ns, held, alarm, memory, now });

/// The clock.
#[derive(Debug)]
pub struct Cmos {
    state: State,
}

state::state!(Cmos { state });

impl Cmos {
    /// A clock that shows `start_ns` nanoseconds since 1970-01-01 at [`Time::ZERO`], with the sizes of RAM below and
    /// above 4 GiB, in bytes, in memory.
    pub fn new(start_ns: i128, ram_below_4g: u64, ram_above_4g: u64) -> Self {
        Self {
            state: State {
                index: 0,
                register_a: 0x26,
                register_b: B_24_HOURS,
                happened: 0,
                offset_ns: start_ns,
                held: None,
                alarm: [0; 3],
                memory: memory_sizes(ram_below_4g, ram_above_4g),
                now: Time::ZERO,
            },
        }
    }

    /// A reset of the machine: interrupts off, the clock goes on (MC146818A, RESET pin).
    pub fn reset(&mut self) {
        self.state.register_b &= !(PERIODIC | ALARM | UPDATE);
        self.state.happened = 0;
    }

    /// Brings the clock to `now`, and notes what happened since.
    pub fn advance(&mut self, now: Time) {
        let then = self.state.now;
        if now <= then {
            return;
        }
        if self.periods_at(now) != self.periods_at(then) {
            self.state.happened |= PERIODIC;
        }
        if self.state.held.is_none() {
            let (from, to) = (self.second_at(then), self.second_at(now));
            if from != to {
                self.state.happened |= UPDATE;
                if self.next_alarm(from).is_some_and(|alarm| alarm <= to) {
                    self.state.happened |= ALARM;
                }
            }
        }
        self.state.now = now;
    }

    /// The interrupt line (the inverse of the chip's IRQ pin).
    pub fn interrupt(&self) -> bool {
        self.state.happened & self.state.register_b & (PERIODIC | ALARM | UPDATE) != 0
    }

    /// When the interrupt line will next rise by itself.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.interrupt() {
            return None;
        }
        let enabled = |cause| self.state.register_b & cause != 0;
        let periodic = || {
            let ticks = self.period_ticks()?;
            Some(CRYSTAL.time_of((CRYSTAL.ticks_at(self.state.now) / ticks + 1) * ticks))
        };
        let running = self.state.held.is_none();
        let second = self.second_at(self.state.now);
        let update = || running.then(|| self.time_of_second(second + 1));
        let alarm = || running.then(|| self.next_alarm(second)).flatten().map(|at| self.time_of_second(at));
        let causes = [
            enabled(PERIODIC).then(periodic).flatten(),
            enabled(UPDATE).then(update).flatten(),
            enabled(ALARM).then(alarm).flatten(),
        ];
        causes.into_iter().flatten().min()
    }

    fn format(&self) -> Format {
        Format {
            binary: self.state.register_b & B_BINARY != 0,
            hours_24: self.state.register_b & B_24_HOURS != 0,
        }
    }

    fn divider_in_reset(&self) -> bool {
        self.state.register_a & A_DIVIDER_RESET == A_DIVIDER_RESET
    }

    fn civil_ns(&self, time: Time) -> i128 {
        self.state.offset_ns + i128::from(time.as_ns())
    }

    fn second_at(&self, time: Time) -> i64 {
        self.civil_ns(time).div_euclid(NS) as i64
    }

    fn time_of_second(&self, second: i64) -> Time {
        let ns = i128::from(second) * NS - self.state.offset_ns;
        Time::from_ns(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Ticks of the crystal in one period; `None` while there are no periods.
    fn period_ticks(&self) -> Option<u64> {
        if self.divider_in_reset() {
            return None;
        }
        match self.state.register_a & 0x0F {
            0 => None,
            // The two slowest settings of the other crystals mean these here.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    fn periods_at(&self, time: Time) -> u64 {
        self.period_ticks().map_or(0, |ticks| CRYSTAL.ticks_at(time) / ticks)
    }

    /// The first second after `after` at which the alarm matches; `None` if it never does.
    fn next_alarm(&self, after: i64) -> Option<i64> {
        let format = self.format();
        let [second, minute, hour] = self.state.alarm;
        let matches = |alarm: u8, shown: u8| alarm >= 0xC0 || alarm == shown;
        // Without this, a guest could make every search go through a whole day.
        let possible = (0..24).any(|n| matches(hour, format.hour(n)))
            && (0..60).any(|n| matches(minute, format.number(n)))
            && (0..60).any(|n| matches(second, format.number(n)));
        if !possible {
            return None;
        }
        let mut at = after + 1;
        // From each point that does not match, on to the next hour, minute or second that can.
        loop {
            let time = at.rem_euclid(86_400);
            if !matches(hour, format.hour((time / 3600) as u8)) {
                at += 3600 - time % 3600;
            } else if !matches(minute, format.number((time / 60 % 60) as u8)) {
                at += 60 - time % 60;
            } else if !matches(second, format.number((time % 60) as u8)) {
                at += 1;
            } else {
                return Some(at);
            }
        }
    }

    /// The time registers as they show now.
    fn time_registers(&self) -> Held {
        self.state
            .held
            .unwrap_or_else(|| Civil::from_seconds(self.second_at(self.state.now)).encode(self.format()))
    }

    /// Sets the clock to what the registers say, `fraction` nanoseconds after that second.
    fn set_clock(&mut self, registers: Held, fraction: i128) {
        let seconds = Civil::decode(registers, self.format()).seconds();
        let civil = i128::from(seconds) * NS + fraction;
        self.state.offset_ns = civil - i128::from(self.state.now.as_ns());
    }

    /// Applies new values of A and B: they may stop the clock, or let it go on.
    fn write_control(&mut self, a: u8, b: u8) {
        let was_in_reset = self.divider_in_reset();
        let shown = self.time_registers();
        self.state.register_a = a & !A_UPDATE_IN_PROGRESS;
        self.state.register_b = b;
        if self.divider_in_reset() || b & B_SET != 0 {
            self.state.held = Some(shown);
        } else if let Some(registers) = self.state.held.take() {
            // A released divider makes the first update come half a second later. SET leaves the divider alone.
            let fraction = if was_in_reset { NS / 2 } else { self.civil_ns(self.state.now).rem_euclid(NS) };
            self.set_clock(registers, fraction);
        }
    }

    fn read_register(&mut self) -> u8 {
        let index = self.state.index;
        if let Some(n) = TIME_REGISTERS.iter().position(|at| *at == index) {
            return self.time_registers()[n];
        }
        if let Some(n) = ALARM_REGISTERS.iter().position(|at| *at == index) {
            return self.state.alarm[n];
        }
        match index {
            REGISTER_A => {
                let left = NS - self.civil_ns(self.state.now).rem_euclid(NS);
                let updating = self.state.held.is_none() && left <= UPDATE_WARNING_NS;
                self.state.register_a | if updating { A_UPDATE_IN_PROGRESS } else { 0 }
            }
            REGISTER_B => self.state.register_b,
            REGISTER_C => {
                let interrupt = if self.interrupt() { C_INTERRUPT } else { 0 };
                std::mem::take(&mut self.state.happened) | interrupt
            }
            REGISTER_D => D_BATTERY,
            _ => self.state.memory[usize::from(index)],
        }
    }

    fn write_register(&mut self, value: u8) {
        let index = self.state.index;
        if let Some(n) = TIME_REGISTERS.iter().position(|at| *at == index) {
            let mut registers = self.time_registers();
            registers[n] = value;
            if self.state.held.is_some() {
                self.state.held = Some(registers);
            } else {
                self.set_clock(registers, self.civil_ns(self.state.now).rem_euclid(NS));
            }
        } else if let Some(n) = ALARM_REGISTERS.iter().position(|at| *at == index) {
            self.state.alarm[n] = value;
        } else {
            match index {
                REGISTER_A => self.write_control(value, self.state.register_b),
                // Setting SET also switches the update interrupt off.
                REGISTER_B if value & B_SET != 0 => {
                    self.write_control(self.state.register_a, value & !UPDATE);
                }
                REGISTER_B => self.write_control(self.state.register_a, value),
                REGISTER_C | REGISTER_D => {}
                _ => self.state.memory[usize::from(index)] = value,
            }
        }
    }
}

/// RAM sizes where PC firmware leaves them: KiB below 640 KiB (0x15), above 1 MiB (0x17, 0x30), then units of 64 KiB
/// above 16 MiB (0x34) and above 4 GiB (0x5B); and the equipment byte with no floppy and no display.
fn memory_sizes(below_4g: u64, above_4g: u64) -> [u8; 128] {
    let mut memory = [0; 128];
    let mut put = |at: usize, value: u64, bytes: usize| {
        let highest = (1 << (8 * bytes)) - 1;
        memory[at..at + bytes].copy_from_slice(&value.min(highest).to_le_bytes()[..bytes]);
    };
    let above_1m = below_4g.saturating_sub(1 << 20) >> 10;
    put(0x15, 640, 2);
    put(0x17, above_1m, 2);
    put(0x30, above_1m, 2);
    put(0x34, below_4g.saturating_sub(16 << 20) >> 16, 2);
    put(0x5B, above_4g >> 16, 3);
    memory
}

impl PortDevice for Cmos {
    fn read(&mut self, now: Time, port: u16, _size: AccessSize) -> u32 {
        self.advance(now);
        // The index cannot be read back.
        if port & 1 == 0 { 0xFF } else { u32::from(self.read_register()) }
    }

    fn write(&mut self, now: Time, port: u16, _size: AccessSize, value: u32) -> Option<ExitRequest> {
        self.advance(now);
        if port & 1 == 0 {
            self.state.index = value as u8 & 0x7F;
        } else {
            self.write_register(value as u8);
        }
        None
    }
}

#[cfg(test)]
mod tests;

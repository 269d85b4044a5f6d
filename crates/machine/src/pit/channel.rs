// SPDX-License-Identifier: MIT OR Apache-2.0
//! One counter of the 8254. Ticks are periods of its clock since time zero; a count that is written at one tick is
//! loaded at the next.
//!
//! With N the count and e the ticks since it was loaded:
//!
//! | Mode | Output | Count shown | Gate |
//! |---|---|---|---|
//! | 0 interrupt on terminal count | high from e = N | N - e | low: stands still |
//! | 1 one-shot | low until e = N | N - e | rising: starts again |
//! | 2 rate generator | low while e mod N = N - 1 | N - e mod N | low: output high; rising: starts again |
//! | 3 square wave | high in the first, larger half of each N | falls by two in each half | as mode 2 |
//! | 4 software strobe | low at e = N | N - e | low: stands still |
//! | 5 hardware strobe | low at e = N | N - e | rising: starts again |

/// Which bytes of the count are accessible, from bits 5:4 of the control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Low,
    High,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    /// No count yet, or the gate has not started it: the output stands at `output`.
    Idle { output: bool },
    /// Loaded with `count` at tick `start`; in modes 2 and 3 `next` replaces it at a tick.
    Running { start: i64, count: i64, next: Option<(i64, i64)> },
    /// The gate stopped it `elapsed` ticks after it was loaded.
    Paused { elapsed: i64, count: i64 },
}

state::state_enum!(Access { Low = 0, High = 1, Both = 2 });

impl state::State for Counting {
    fn save(&self, writer: &mut state::Writer) {
        match *self {
            Self::Idle { output } => (0u8, output).save(writer),
            Self::Running { start, count, next } => {
                (1u8, start).save(writer);
                (count, next).save(writer);
            }
            Self::Paused { elapsed, count } => {
                (2u8, elapsed).save(writer);
                count.save(writer);
            }
        }
    }

    fn restore(&mut self, reader: &mut state::Reader<'_>) -> Result<(), state::Damaged> {
        *self = match reader.value::<u8>()? {
            0 => Self::Idle { output: reader.value()? },
            1 => Self::Running { start: reader.value()?, count: reader.value()?, next: reader.value()? },
            2 => Self::Paused { elapsed: reader.value()?, count: reader.value()? },
            other => return Err(state::Damaged::Value { kind: "timer's counting", value: other.into() }),
        };
        Ok(())
    }
}

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    mode: u8,
    bcd: bool,
    access: Access,
    gate: bool,
    counting: Counting,
    /// The count last written, which a trigger loads.
    reload: Option<i64>,
    first_byte: Option<u8>,
    read_high_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

state::state!(Channel {
    mode,
    bcd,
    access,
    gate,
    counting,
    reload,
    first_byte,
    read_high_next,
    latched_count,
    latched_status,
});

impl Default for Channel {
    fn default() -> Self {
        Self {
            mode: 0,
            bcd: false,
            access: Access::Both,
            gate: false,
            counting: Counting::Idle { output: false },
            reload: None,
            first_byte: None,
            read_high_next: false,
            latched_count: None,
            latched_status: None,
        }
    }
}

impl Channel {
    pub(super) fn write_control(&mut self, value: u8) {
        // Modes 6 and 7 are 2 and 3: the top bit is not decoded for them.
        let mode = match value >> 1 & 7 {
            mode @ 0..=5 => mode,
            mode => mode - 4,
        };
        *self = Self {
            mode,
            bcd: value & 1 != 0,
            access: match value >> 4 & 3 {
                1 => Access::Low,
                2 => Access::High,
                _ => Access::Both,
            },
            gate: self.gate,
            counting: Counting::Idle { output: mode != 0 },
            ..Self::default()
        };
    }

    pub(super) fn write(&mut self, value: u8, tick: i64) {
        let raw = match (self.access, self.first_byte) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::Both, None) => {
                self.first_byte = Some(value);
                // The first byte of a new count stops mode 0.
                if self.mode == 0 {
                    self.counting = Counting::Idle { output: false };
                }
                return;
            }
            (Access::Both, Some(low)) => u16::from_le_bytes([low, value]),
        };
        self.first_byte = None;
        let count = match (raw, self.bcd) {
            (0, _) => self.modulus(),
            (raw, true) => (0..4).rev().fold(0, |n, digit| n * 10 + i64::from(raw >> (4 * digit) & 0xF)),
            (raw, false) => i64::from(raw),
        };
        self.reload = Some(count);
        let loaded = Counting::Running { start: tick + 1, count, next: None };
        match (self.mode, self.counting) {
            (0 | 4, _) if self.gate => self.counting = loaded,
            (0 | 4, _) => self.counting = Counting::Paused { elapsed: 0, count },
            (2 | 3, Counting::Idle { .. }) if self.gate => self.counting = loaded,
            (2 | 3, Counting::Running { start, count: old, .. }) => {
                let at = self.end_of_cycle(start, old, tick);
                self.counting = Counting::Running { start, count: old, next: Some((at, count)) };
            }
            // Modes 1 and 5, and 2 and 3 without gate, wait for a trigger.
            _ => {}
        }
    }

    /// The tick after `tick` at which a new count is taken: the end of the period in mode 2, of the half in mode 3.
    fn end_of_cycle(&self, start: i64, count: i64, tick: i64) -> i64 {
        let elapsed = (tick - start).max(0);
        let period = start + elapsed / count * count;
        let half = period + (count + 1) / 2;
        if self.mode == 3 && tick < half { half } else { period + count }
    }

    pub(super) fn set_gate(&mut self, gate: bool, tick: i64) {
        let rising = gate && !self.gate;
        let falling = !gate && self.gate;
        self.gate = gate;
        self.counting = match (self.mode, self.counting) {
            (0 | 4, Counting::Running { start, count, .. }) if falling => {
                Counting::Paused { elapsed: (tick - start).max(0), count }
            }
            (0 | 4, Counting::Paused { elapsed, count }) if rising => {
                Counting::Running { start: tick - elapsed, count, next: None }
            }
            (2 | 3, _) if falling => Counting::Idle { output: true },
            (1 | 2 | 3 | 5, counting) if rising => match self.reload {
                Some(count) => Counting::Running { start: tick + 1, count, next: None },
                None => counting,
            },
            (_, counting) => counting,
        };
    }

    /// Takes a new count whose tick has come.
    pub(super) fn advance(&mut self, tick: i64) {
        if let Counting::Running { start, count, next: Some((at, new)) } = self.counting
            && at <= tick
        {
            self.counting =
                Counting::Running { start: self.new_start(start, count, at, new), count: new, next: None };
        }
    }

    /// Where a period of `new` ticks would have begun that is at tick `at` where the old one is: mode 3 changes its
    /// count between halves, too.
    fn new_start(&self, start: i64, count: i64, at: i64, new: i64) -> i64 {
        let at_half = self.mode == 3 && (at - start) % count != 0;
        if at_half { at - (new + 1) / 2 } else { at }
    }

    pub(super) fn output(&self, tick: i64) -> bool {
        match self.counting {
            Counting::Idle { output } => output,
            Counting::Paused { elapsed, count } => self.output_at(elapsed, count),
            Counting::Running { start, .. } if tick < start => self.mode != 0,
            Counting::Running { start, count, .. } => self.output_at(tick - start, count),
        }
    }

    fn output_at(&self, elapsed: i64, count: i64) -> bool {
        match self.mode {
            0 | 1 => elapsed >= count,
            2 => count == 1 || elapsed % count != count - 1,
            3 => elapsed % count < (count + 1) / 2,
            _ => elapsed != count,
        }
    }

    /// The first tick after `tick` at which the output rises, if nothing is written until then.
    pub(super) fn next_rising_edge(&self, tick: i64) -> Option<i64> {
        let Counting::Running { start, count, next } = self.counting else { return None };
        let once = |at: i64| (at > tick).then_some(at);
        let multiple = |start: i64, count: i64, after: i64| {
            // A period of one never leaves high.
            (count > 1).then(|| start + ((after - start).max(0) / count + 1) * count)
        };
        match self.mode {
            0 | 1 => once(start + count),
            2 | 3 => {
                let edge = multiple(start, count, tick);
                match next {
                    Some((at, new)) if edge.is_none_or(|edge| edge > at) => {
                        multiple(self.new_start(start, count, at, new), new, tick.max(at))
                    }
                    _ => edge,
                }
            }
            _ => once(start + count + 1),
        }
    }

    /// How often the output rises after tick `after`, up to `until`, if nothing is written in between.
    pub(super) fn rising_edges(&self, after: i64, until: i64) -> u64 {
        let Some(first) = self.next_rising_edge(after).filter(|&first| first <= until) else { return 0 };
        match (self.mode, self.counting) {
            (2 | 3, Counting::Running { count, next: None, .. }) => 1 + ((until - first) / count) as u64,
            // With a new count under way the first one tells enough: who changes counts does not count edges.
            _ => 1,
        }
    }

    fn modulus(&self) -> i64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// The count as two bytes that a read shows.
    fn count(&self, tick: i64) -> u16 {
        let (elapsed, count) = match self.counting {
            Counting::Idle { .. } => (0, self.reload.unwrap_or(0)),
            Counting::Paused { elapsed, count } => (elapsed, count),
            Counting::Running { start, count, .. } => ((tick - start).max(0), count),
        };
        let value = match self.mode {
            _ if count == 0 => 0,
            2 => count - elapsed % count,
            3 => {
                let (larger, phase) = ((count + 1) / 2, elapsed % count);
                let in_half = if phase < larger { phase } else { phase - larger };
                // An odd count is loaded less one.
                (count & !1) - 2 * in_half
            }
            _ => count - elapsed,
        };
        let value = value.rem_euclid(self.modulus()) as u16;
        if self.bcd {
            (0..4).fold(0, |bcd, digit| bcd | (value / 10u16.pow(digit) % 10) << (4 * digit))
        } else {
            value
        }
    }

    pub(super) fn latch_count(&mut self, tick: i64) {
        // A second latch before the first is read is ignored.
        if self.latched_count.is_none() {
            self.latched_count = Some(self.count(tick));
        }
    }

    pub(super) fn latch_status(&mut self, tick: i64) {
        if self.latched_status.is_some() {
            return;
        }
        let null_count = match self.counting {
            Counting::Idle { .. } => true,
            Counting::Paused { .. } => false,
            Counting::Running { start, next, .. } => start > tick || next.is_some(),
        };
        let access = match self.access {
            Access::Low => 1,
            Access::High => 2,
            Access::Both => 3,
        };
        self.latched_status = Some(
            u8::from(self.output(tick)) << 7
                | u8::from(null_count) << 6
                | access << 4
                | self.mode << 1
                | u8::from(self.bcd),
        );
    }

    pub(super) fn read(&mut self, tick: i64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.count(tick)).to_le_bytes();
        let (byte, last) = match self.access {
            Access::Low => (low, true),
            Access::High => (high, true),
            Access::Both if self.read_high_next => (high, true),
            Access::Both => (low, false),
        };
        self.read_high_next = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The APIC timer (SDM 3A 10.5.4) as a pure function of the partition's clock.
//!
//! Nothing here ticks: what was written and when is kept, and everything else follows from the tick at which it is asked for.

use x86::apic::{TimerMode, timer_divisor};

/// Ticks of two clocks, for conversion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rates {
    /// Ticks of the partition's clock per second.
    pub(super) clock: u64,
    /// Ticks of the APIC's input clock per second.
    pub(super) bus: u64,
}

impl Rates {
    /// Whole bus ticks in `ticks` clock ticks.
    fn bus_ticks(self, ticks: u64) -> u128 {
        u128::from(ticks) * u128::from(self.bus) / u128::from(self.clock)
    }

    /// Fewest clock ticks in which `bus_ticks` bus ticks are over.
    fn clock_ticks(self, bus_ticks: u128) -> u128 {
        (bus_ticks * u128::from(self.clock)).div_ceil(u128::from(self.bus))
    }
}

/// What was written to the timer, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    rates: Rates,
    mode: TimerMode,
    /// Divide configuration register: bits 3, 1 and 0 count.
    divide: u32,
    initial_count: u32,
    /// Clock tick at which the count began; for a periodic timer it moves on by whole periods as they are delivered. It is before the
    /// clock's start where a longer divisor was set so early that what is counted would have taken longer than there was time.
    began: i64,
    /// A count is running: a one-shot that has fired is not.
    armed: bool,
    /// IA32_TSC_DEADLINE; 0 is disarmed.
    tsc_deadline: u64,
}

state::state!(Timer {
    rates as derived,
    mode as via mode,
    divide,
    initial_count,
    began,
    armed,
    tsc_deadline,
});

/// The mode as the LVT has it.
mod mode {
    use state::{Damaged, Reader, State, Writer};
    use x86::apic::TimerMode;

    pub(super) fn save(mode: &TimerMode, writer: &mut Writer) {
        mode.into_bits().save(writer);
    }

    pub(super) fn restore(mode: &mut TimerMode, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *mode = TimerMode::from_bits(reader.value()?);
        Ok(())
    }
}

/// A clock tick as one that may lie before the clock's start.
fn tick(now: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX)
}

impl Timer {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            rates,
            mode: TimerMode::OneShot,
            divide: 0,
            initial_count: 0,
            began: 0,
            armed: false,
            tsc_deadline: 0,
        }
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }

    /// Bus ticks per count: 1, 2, 4 ... 128.
    fn divisor(&self) -> u128 {
        timer_divisor(self.divide).into()
    }

    pub(super) fn divide_configuration(&self) -> u32 {
        self.divide
    }

    pub(super) fn initial_count(&self) -> u32 {
        self.initial_count
    }

    pub(super) fn tsc_deadline(&self) -> u64 {
        if self.mode == TimerMode::TscDeadline { self.tsc_deadline } else { 0 }
    }

    /// Changes the mode, as a write of the LVT does. Going to or from TSC-deadline mode disarms the timer.
    pub(super) fn set_mode(&mut self, mode: TimerMode) {
        if (mode == TimerMode::TscDeadline) != (self.mode == TimerMode::TscDeadline) {
            self.armed = false;
            self.initial_count = 0;
            self.tsc_deadline = 0;
        }
        self.mode = mode;
    }

    /// Changes the divisor. A count under way goes on with what is left of it.
    pub(super) fn set_divide_configuration(&mut self, value: u32, now: u64) {
        let left = self.current_count(now);
        self.divide = value & 0b1011;
        if self.armed && left != 0 {
            let done = u128::from(self.initial_count - left) * self.divisor();
            let ticks = i64::try_from(self.rates.clock_ticks(done)).unwrap_or(i64::MAX);
            self.began = tick(now).saturating_sub(ticks);
        }
    }

    /// Starts a count, or stops the timer with 0. Ignored in TSC-deadline mode.
    pub(super) fn set_initial_count(&mut self, value: u32, now: u64) {
        if self.mode != TimerMode::TscDeadline {
            self.initial_count = value;
            self.began = tick(now);
            self.armed = value != 0;
        }
    }

    /// Arms the timer for a value of the guest's TSC, or disarms it with 0. Ignored in other modes.
    pub(super) fn set_tsc_deadline(&mut self, value: u64) {
        if self.mode == TimerMode::TscDeadline {
            self.tsc_deadline = value;
        }
    }

    /// Clock ticks since the count began.
    fn elapsed(&self, now: u64) -> u64 {
        u64::try_from(i128::from(now) - i128::from(self.began)).unwrap_or(0)
    }

    /// Counts since the count began.
    fn counted(&self, now: u64) -> u128 {
        self.rates.bus_ticks(self.elapsed(now)) / self.divisor()
    }

    pub(super) fn current_count(&self, now: u64) -> u32 {
        if !self.armed {
            return 0;
        }
        let initial = u128::from(self.initial_count);
        let counted = self.counted(now);
        let left = match self.mode {
            TimerMode::Periodic => initial - counted % initial,
            _ => initial.saturating_sub(counted),
        };
        left as u32
    }

    /// Clock ticks in one count-down.
    fn period(&self) -> u128 {
        self.rates.clock_ticks(u128::from(self.initial_count) * self.divisor())
    }

    /// The clock tick at which the timer is next due. `tsc_offset` is what the VP's TSC is ahead of the clock.
    pub(super) fn deadline(&self, tsc_offset: u64) -> Option<u64> {
        match self.mode {
            TimerMode::TscDeadline => (self.tsc_deadline != 0).then(|| {
                // A VP's TSC may be behind the clock or ahead of it; a deadline before the clock's start is long past.
                let behind = tsc_offset as i64;
                u64::try_from(i128::from(self.tsc_deadline) - i128::from(behind)).unwrap_or(0)
            }),
            _ => {
                let due = || i128::from(self.began) + self.period() as i128;
                self.armed.then(|| u64::try_from(due().max(0)).unwrap_or(u64::MAX))
            }
        }
    }

    /// Takes the expiration that is due at `now`, if one is. Several missed periods are one expiration.
    pub(super) fn expire(&mut self, now: u64, tsc_offset: u64) -> bool {
        if self.deadline(tsc_offset).is_none_or(|deadline| now < deadline) {
            return false;
        }
        match self.mode {
            TimerMode::TscDeadline => self.tsc_deadline = 0,
            TimerMode::Periodic => {
                let period_counts = u128::from(self.initial_count) * self.divisor();
                let periods = self.rates.bus_ticks(self.elapsed(now)) / period_counts;
                let ticks = self.rates.clock_ticks(periods.max(1) * period_counts);
                self.began = self.began.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
            }
            _ => self.armed = false,
        }
        true
    }
}

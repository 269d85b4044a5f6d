// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic time-unhalted timer (TLFS 12.6): periods of time in which the VP was not halted, as a function of reference time and of when the VP
//! executed.

use tlfs::interrupt::MIN_FIXED_VECTOR;
use tlfs::msr::StimeUnhaltedTimerConfig;

use crate::synthetic_timer::{ReservedBits, SHORTEST_PERIOD};

/// The vector that stands for an NMI.
const NMI: u8 = 2;

/// What an expired timer raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raises {
    /// An NMI.
    Nmi,
    /// A fixed interrupt, edge triggered.
    Vector(u8),
}

/// The timer of a VP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnhaltedTimer {
    config: StimeUnhaltedTimerConfig,
    /// In 100 ns of unhalted time; 0 is none.
    period: u64,
    /// Unhalted time up to the last change, and the reference time since when the VP executes.
    unhalted: u64,
    executes_since: Option<u64>,
    /// Unhalted time at which it expires.
    expiration: u64,
}

state::state!(UnhaltedTimer { config as bits, period, unhalted, executes_since, expiration });

impl UnhaltedTimer {
    /// A timer after creation or reset, of a VP that is halted.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// STIME_UNHALTED_TIMER_CONFIG.
    pub(crate) fn config(&self) -> StimeUnhaltedTimerConfig {
        self.config
    }

    /// STIME_UNHALTED_TIMER_COUNT.
    pub(crate) fn count(&self) -> u64 {
        self.period
    }

    /// Writes the configuration. Enabling the timer begins a period; an enabled timer has vector 2 or one from 16 on.
    pub(crate) fn set_config(
        &mut self,
        config: StimeUnhaltedTimerConfig,
        now: u64,
    ) -> Result<(), ReservedBits> {
        let raises = config.vector() == NMI || config.vector() >= MIN_FIXED_VECTOR;
        if config.reserved_z() != 0 || (config.enabled() && !raises) {
            return Err(ReservedBits);
        }
        if config.enabled() && !self.config.enabled() {
            self.begin(now);
        }
        self.config = config;
        Ok(())
    }

    /// Writes the period, and begins one.
    pub(crate) fn set_count(&mut self, period: u64, now: u64) {
        self.period = period;
        self.begin(now);
    }

    fn begin(&mut self, now: u64) {
        self.expiration = self.unhalted(now).saturating_add(self.period);
    }

    fn runs(&self) -> bool {
        self.config.enabled() && self.period != 0
    }

    fn unhalted(&self, now: u64) -> u64 {
        self.unhalted + self.executes_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// The VP begins to execute at reference time `now`, or is halted from then on. Whether that changes when the timer is due.
    pub(crate) fn set_executing(&mut self, executes: bool, now: u64) -> bool {
        if executes == self.executes_since.is_some() {
            return false;
        }
        self.unhalted = self.unhalted(now);
        self.executes_since = executes.then_some(now);
        self.runs()
    }

    /// The reference time at which it expires if the VP goes on as it does now.
    pub(crate) fn due(&self) -> Option<u64> {
        let since = self.executes_since.filter(|_| self.runs())?;
        Some(since.saturating_add(self.expiration.saturating_sub(self.unhalted)))
    }

    /// Takes the expiration that is due at reference time `now`, if one is. Periods that were missed are one expiration.
    pub(crate) fn expire(&mut self, now: u64) -> Option<Raises> {
        self.due().filter(|&due| now >= due)?;
        let late = self.unhalted(now).saturating_sub(self.expiration);
        // The next period is the first that is not over, and leaves the guest some time to run in.
        let periods = late / self.period + 1;
        let next = self.expiration.saturating_add(periods.saturating_mul(self.period));
        self.expiration = next.max(self.unhalted(now).saturating_add(SHORTEST_PERIOD));
        Some(if self.config.vector() == NMI { Raises::Nmi } else { Raises::Vector(self.config.vector()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENABLED: StimeUnhaltedTimerConfig = StimeUnhaltedTimerConfig::new().with_enabled(true);

    fn timer(period: u64) -> UnhaltedTimer {
        let mut timer = UnhaltedTimer::new();
        assert!(!timer.set_executing(true, 0));
        timer.set_count(period, 0);
        timer.set_config(ENABLED.with_vector(0x50), 0).unwrap();
        timer
    }

    /// B12.031: only time in which the VP is not halted counts, and periods follow each other without a gap.
    #[test]
    fn halted_time_does_not_count() {
        let mut timer = timer(1000);
        assert_eq!((timer.due(), timer.expire(999)), (Some(1000), None));
        assert!(timer.set_executing(false, 600));
        assert_eq!((timer.due(), timer.expire(1_000_000)), (None, None));
        assert!(timer.set_executing(true, 2_000_000));
        assert_eq!((timer.due(), timer.expire(2_000_399)), (Some(2_000_400), None));
        assert_eq!(timer.expire(2_000_450), Some(Raises::Vector(0x50)));
        assert_eq!(timer.due(), Some(2_001_400), "the next period began when the last one ended");
        assert_eq!(timer.expire(2_010_000), Some(Raises::Vector(0x50)));
        assert_eq!(
            timer.due(),
            Some(2_010_500),
            "halfway through the period that began at 2 010 400: none of those missed comes late"
        );
    }

    /// B12.033: vector 2 is an NMI; other vectors below 16, and reserved bits, are refused.
    #[test]
    fn vectors_are_checked() {
        let mut timer = timer(1000);
        timer.set_config(ENABLED.with_vector(2), 0).unwrap();
        assert_eq!(timer.expire(1000), Some(Raises::Nmi));
        let before = timer.clone();
        for vector in [0, 1, 3, 15] {
            assert_eq!(timer.set_config(ENABLED.with_vector(vector), 0), Err(ReservedBits));
        }
        for bit in [9, 55, 63] {
            let config = StimeUnhaltedTimerConfig::from_bits(1 << bit);
            assert_eq!(timer.set_config(config, 0), Err(ReservedBits));
        }
        assert_eq!(timer, before);
        timer.set_config(StimeUnhaltedTimerConfig::new(), 0).unwrap();
        assert_eq!(timer.due(), None);
    }

    /// Writing the configuration of a timer that runs, such as another vector, leaves its period alone; enabling one begins it.
    #[test]
    fn enabling_begins_a_period() {
        let mut timer = timer(1000);
        timer.set_config(ENABLED.with_vector(0x60), 700).unwrap();
        assert_eq!(timer.due(), Some(1000));
        timer.set_config(StimeUnhaltedTimerConfig::new(), 800).unwrap();
        timer.set_config(ENABLED.with_vector(0x60), 900).unwrap();
        assert_eq!(timer.due(), Some(1900));
    }

    /// B12.034: writing the count begins a period of the new length; zero stops the timer.
    #[test]
    fn writing_the_count_begins_a_period() {
        let mut timer = timer(1000);
        timer.set_count(3000, 500);
        assert_eq!((timer.due(), timer.count()), (Some(3500), 3000));
        timer.set_count(0, 600);
        assert_eq!(timer.due(), None);
        timer.set_count(1, 700);
        assert!(timer.expire(701).is_some());
        assert_eq!(timer.due(), Some(701 + SHORTEST_PERIOD), "no storm");
    }
}

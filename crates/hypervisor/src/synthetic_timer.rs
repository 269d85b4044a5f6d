// SPDX-License-Identifier: MIT OR Apache-2.0
//! A synthetic timer (TLFS 12.1, 12.5), as a pure function of reference time and of what was written to it.

use tlfs::msr::StimerConfig;

/// The value is not one that the register takes (#GP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReservedBits;

/// Lowest vector that can be an interrupt.
const FIRST_VECTOR: u8 = tlfs::interrupt::MIN_FIXED_VECTOR;
/// A periodic timer that is late makes up for it by periods of at least half their length and at least this long, in 100 ns units: a guest
/// that asks for a period of 100 ns still gets to run.
pub(crate) const SHORTEST_PERIOD: u64 = 500;
/// Whoever is more periods late than this is not made up for: the missed signals are skipped (TLFS 12.1.4).
const MOST_PERIODS_LATE: u64 = 8;
/// A lazy timer that is late skips a signal if less than this part of its period is left: a quarter.
const LAZY_PART: u64 = 4;

/// What an expired timer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiration {
    pub(crate) config: StimerConfig,
    /// The reference time at which it was to expire.
    pub(crate) time: u64,
}

/// One of a VP's four timers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntheticTimer {
    config: StimerConfig,
    count: u64,
    /// When an enabled timer expires next, by its schedule.
    expiration: u64,
    /// When a late periodic timer may signal again.
    not_before: u64,
}

state::state!(SyntheticTimer { config as bits, count, expiration, not_before });

impl SyntheticTimer {
    /// A timer after creation or reset: disabled (TLFS 12.5.1).
    pub(crate) fn new() -> Self {
        Self { config: StimerConfig::new(), count: 0, expiration: 0, not_before: 0 }
    }

    pub(crate) fn config(&self) -> StimerConfig {
        self.config
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Writes STIMERx_CONFIG. `direct_mode` says whether direct mode is offered; its bits are reserved otherwise.
    pub(crate) fn set_config(
        &mut self,
        config: StimerConfig,
        direct_mode: bool,
        now: u64,
    ) -> Result<(), ReservedBits> {
        let direct_bits = config.direct_mode() || config.apic_vector() != 0;
        if config.reserved_z() != 0 || config.reserved_z2() != 0 || (direct_bits && !direct_mode) {
            return Err(ReservedBits);
        }
        self.config = config;
        self.start(now);
        Ok(())
    }

    /// Writes STIMERx_COUNT: zero disables the timer, another value enables it if it enables itself (TLFS 12.5.2).
    pub(crate) fn set_count(&mut self, count: u64, now: u64) {
        self.count = count;
        if self.config.auto_enable() {
            self.config.set_enable(true);
        }
        self.start(now);
    }

    /// Begins the first period of an enabled timer, or disables one that cannot run.
    fn start(&mut self, now: u64) {
        let reaches_someone = if self.config.direct_mode() {
            self.config.apic_vector() >= FIRST_VECTOR
        } else {
            self.config.sintx() != 0
        };
        if self.count == 0 || !reaches_someone {
            self.config.set_enable(false);
        }
        self.expiration = if self.config.periodic() { now.saturating_add(self.count) } else { self.count };
        self.not_before = 0;
    }

    /// The reference time at which the timer signals next.
    pub(crate) fn due(&self) -> Option<u64> {
        self.config.enable().then(|| self.expiration.max(self.not_before))
    }

    /// Takes the expiration that is due at reference time `now`, if one is.
    pub(crate) fn expire(&mut self, now: u64) -> Option<Expiration> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let expired = Expiration { config: self.config, time: self.expiration };
        if !self.config.periodic() {
            self.config.set_enable(false);
            return Some(expired);
        }
        if self.config.lazy() {
            return self.expire_lazily(now).then_some(expired);
        }
        self.expiration = self.expiration.saturating_add(self.count);
        self.not_before = now.saturating_add((self.count / 2).max(SHORTEST_PERIOD));
        // Skipping goes by whole periods, so that the schedule stays where it was.
        let periods_late = now.saturating_sub(self.expiration) / self.count;
        let skipped = periods_late.saturating_sub(MOST_PERIODS_LATE);
        self.expiration = self.expiration.saturating_add(skipped.saturating_mul(self.count));
        Some(expired)
    }

    /// A lazy timer's expiration: what was missed is not made up for. Whether it signals at all: not shortly before the next time.
    fn expire_lazily(&mut self, now: u64) -> bool {
        let periods_late = (now - self.expiration) / self.count;
        self.expiration =
            self.expiration.saturating_add((periods_late.saturating_add(1)).saturating_mul(self.count));
        let left = self.expiration - now;
        if left < self.count / LAZY_PART {
            return false;
        }
        self.not_before = now.saturating_add(SHORTEST_PERIOD);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIRECT: StimerConfig = StimerConfig::new().with_direct_mode(true).with_apic_vector(0x50);
    const PERIODIC: StimerConfig = DIRECT.with_enable(true).with_periodic(true);

    fn timer(config: StimerConfig, count: u64, now: u64) -> SyntheticTimer {
        let mut timer = SyntheticTimer::new();
        timer.set_count(count, now);
        timer.set_config(config, true, now).unwrap();
        timer
    }

    /// B12.020, B12.022, B12.027: a one-shot fires once, at its time or at once if that is past, and is then disabled; AutoEnable stays.
    #[test]
    fn a_one_shot_fires_once_and_disables_itself() {
        let mut timer = timer(DIRECT.with_enable(true).with_auto_enable(true), 1000, 0);
        assert_eq!((timer.due(), timer.expire(999)), (Some(1000), None));
        assert_eq!(timer.expire(1003).unwrap().time, 1000);
        assert!(!timer.config().enable() && timer.config().auto_enable());
        assert_eq!((timer.due(), timer.expire(5000)), (None, None));
        timer.set_count(1, 7000);
        assert_eq!(timer.expire(7000).unwrap().time, 1);
    }

    /// B12.018, B12.019, B12.026: COUNT enables a timer that enables itself, does not start another, and disables any when zero.
    #[test]
    fn writing_the_count_enables_and_disables() {
        let mut timer = timer(DIRECT.with_auto_enable(true), 0, 0);
        timer.set_count(10, 0);
        assert!(timer.config().enable());
        timer.set_count(0, 0);
        assert!(!timer.config().enable());
        timer.set_config(DIRECT, true, 0).unwrap();
        timer.set_count(10, 0);
        assert_eq!(timer.due(), None);
    }

    /// B12.023, B12.012: SINT 0 disables in message mode only.
    #[test]
    fn a_message_timer_without_sint_cannot_be_enabled() {
        let message = StimerConfig::new().with_enable(true);
        assert!(!timer(message, 10, 0).config().enable());
        assert!(timer(message.with_sintx(2), 10, 0).config().enable());
        assert!(timer(DIRECT.with_enable(true), 10, 0).config().enable());
        assert!(!timer(DIRECT.with_apic_vector(15).with_enable(true), 10, 0).config().enable());
    }

    /// B12.024, B12.011: reserved bits fault, those of direct mode too where it is not offered; nothing changes.
    #[test]
    fn reserved_bits_are_refused() {
        let mut timer = timer(PERIODIC, 1000, 0);
        let before = timer.clone();
        for bit in [13, 15, 20, 63] {
            assert_eq!(timer.set_config(StimerConfig::from_bits(1 << bit), true, 0), Err(ReservedBits));
        }
        for bit in [4, 11, 12] {
            assert_eq!(timer.set_config(StimerConfig::from_bits(1 << bit), false, 0), Err(ReservedBits));
        }
        assert_eq!(timer, before);
    }

    /// B12.028, B12.021, B12.007: the first period begins when the timer is enabled; a late signal is followed by shorter periods until
    /// the schedule is reached again.
    #[test]
    fn a_periodic_timer_returns_to_its_schedule() {
        let mut timer = timer(PERIODIC, 10_000, 500);
        assert_eq!(timer.expire(10_499), None);
        assert_eq!(timer.expire(10_500).unwrap().time, 10_500);
        // Late by two and a half periods.
        assert_eq!(timer.expire(45_500).unwrap().time, 20_500);
        assert_eq!(timer.due(), Some(50_500), "half a period later");
        assert_eq!(timer.expire(50_500).unwrap().time, 30_500);
        assert_eq!(timer.expire(55_500).unwrap().time, 40_500);
        assert_eq!(timer.expire(60_500).unwrap().time, 50_500);
        assert_eq!(timer.expire(65_500).unwrap().time, 60_500);
        assert_eq!(timer.due(), Some(70_500), "on schedule again");
    }

    /// B12.007: far behind, signals are skipped, and the schedule stays where it was.
    #[test]
    fn a_periodic_timer_that_is_far_behind_skips() {
        let mut timer = timer(PERIODIC, 1000, 0);
        assert_eq!(timer.expire(1_000_000).unwrap().time, 1000);
        let next = timer.due().unwrap();
        assert_eq!(timer.expire(next).unwrap().time % 1000, 0);
        assert!(timer.expiration >= 1_000_000 - 9_000, "{}", timer.expiration);
    }

    /// B12.008: a lazy timer gives one late signal and no burst.
    #[test]
    fn a_lazy_timer_drops_what_it_missed() {
        let mut timer = timer(PERIODIC.with_lazy(true), 1000, 0);
        assert_eq!(timer.expire(4500).unwrap().time, 1000);
        assert_eq!(timer.due(), Some(5000));
        assert_eq!(timer.expire(5900), None, "the next one is due too soon");
        assert_eq!(timer.due(), Some(6000));
        assert_eq!(timer.expire(6000).unwrap().time, 6000);
    }

    /// A period that is shorter than any signal could be served in gives no storm, lazy or not.
    #[test]
    fn short_periods_make_no_storm() {
        for config in [PERIODIC, PERIODIC.with_lazy(true)] {
            let mut timer = timer(config, 1, 0);
            let signals = (1..=10_000).filter(|&now| timer.expire(now).is_some()).count();
            assert!((10..=10_000 / SHORTEST_PERIOD as usize + 1).contains(&signals), "{signals}");
        }
    }

    proptest! {
        /// B12.006, B12.029: whatever is written, no signal comes before its time, and signals of a periodic timer are apart.
        #[test]
        fn no_signal_is_early_and_no_storm_is_possible(
            bits in any::<u64>(), count in any::<u64>(), start in 0u64..1 << 60, steps in prop::collection::vec(0u64..5000, 1..50),
        ) {
            let config = StimerConfig::from_bits(bits & 0xF_1FFF);
            let mut timer = timer(config, count, start);
            let (mut now, mut last) = (start, None);
            for step in steps {
                now += step;
                if let Some(expired) = timer.expire(now) {
                    prop_assert!(expired.time <= now);
                    if expired.config.periodic() {
                        prop_assert!(expired.time >= start.saturating_add(count));
                        prop_assert!(last.is_none_or(|last| now - last >= SHORTEST_PERIOD.min(count.max(SHORTEST_PERIOD))));
                    }
                    last = Some(now);
                }
            }
        }

        /// B12.025, B12.006: whatever is written to a timer that runs, it does not signal early and goes on in bounded steps.
        #[test]
        fn a_running_timer_can_be_changed(
            writes in prop::collection::vec((any::<bool>(), any::<u64>(), 0u64..100_000), 1..60),
        ) {
            let (mut timer, mut now) = (SyntheticTimer::new(), 0u64);
            for (is_config, value, step) in writes {
                if is_config {
                    let _ = timer.set_config(StimerConfig::from_bits(value & 0xF_1FFF), true, now);
                } else {
                    timer.set_count(value >> (value % 64), now);
                }
                now += step;
                for _ in 0..2 {
                    let due = timer.due();
                    if let Some(expired) = timer.expire(now) {
                        prop_assert!(expired.time <= now && due.is_some_and(|due| due <= now));
                        prop_assert!(timer.due().is_none_or(|due| due > now));
                    }
                }
            }
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition reference time (TLFS 12.1.2, 12.7): a count of 100 ns units, as a function of the partition's clock.
//!
//! The count is `(tick * scale) >> 64` with a scale of `10^7 * 2^64 / frequency`, rounded down: exactly what a guest computes from
//! the reference TSC page, so the page and the MSR cannot disagree.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Clock;

/// Units of reference time in a second.
const UNITS_PER_SECOND: u64 = 10_000_000;

/// How clock ticks become reference time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rate {
    /// A fraction of 2^64, as the reference TSC page holds it.
    Scale(u64),
    /// The clock is too slow for a scale of 64 bits: so many ticks per second. The page is then marked as unusable.
    Slow(u64),
}

/// The reference time of a partition.
pub struct ReferenceTime {
    clock: Arc<dyn Clock>,
    rate: Rate,
    /// What [`ReferenceTime::read`] gave last.
    last: AtomicU64,
}

impl ReferenceTime {
    /// Reference time that starts where `clock` starts.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let frequency = clock.frequency().max(1);
        let scale = (u128::from(UNITS_PER_SECOND) << 64) / u128::from(frequency);
        let rate = u64::try_from(scale).map_or(Rate::Slow(frequency), Rate::Scale);
        Self { clock, rate, last: AtomicU64::new(0) }
    }

    /// The scale of the reference TSC page, if the clock is fast enough for one.
    #[must_use]
    pub fn scale(&self) -> Option<u64> {
        match self.rate {
            Rate::Scale(scale) => Some(scale),
            Rate::Slow(_) => None,
        }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Reference time at a tick of the clock.
    #[must_use]
    pub fn at(&self, tick: u64) -> u64 {
        match self.rate {
            Rate::Scale(scale) => ((u128::from(tick) * u128::from(scale)) >> 64) as u64,
            Rate::Slow(frequency) => {
                let units = u128::from(tick) * u128::from(UNITS_PER_SECOND) / u128::from(frequency);
                u64::try_from(units).unwrap_or(u64::MAX)
            }
        }
    }

    /// The first tick at which [`ReferenceTime::at`] is `time` or later; `None` if the clock never gets there.
    #[must_use]
    pub fn tick_of(&self, time: u64) -> Option<u64> {
        let tick = match self.rate {
            Rate::Scale(scale) => (u128::from(time) << 64).div_ceil(u128::from(scale)),
            Rate::Slow(frequency) => {
                (u128::from(time) * u128::from(frequency)).div_ceil(u128::from(UNITS_PER_SECOND))
            }
        };
        u64::try_from(tick).ok()
    }

    /// What [`ReferenceTime::read`] gave last.
    pub(crate) fn last_read(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Later reads give more than this.
    pub(crate) fn set_last_read(&self, time: u64) {
        self.last.store(time, Ordering::Release);
    }

    /// Ticks in `microseconds`, rounded up.
    #[must_use]
    pub fn ticks_in(&self, microseconds: u64) -> u64 {
        let ticks = (u128::from(microseconds) * u128::from(self.clock.frequency())).div_ceil(1_000_000);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Reference time now, strictly greater than what any VP has read before (TLFS 12.1.2).
    ///
    /// Two reads within one unit cannot both be right and different, so the later one waits for the next unit: at most 100 ns. A
    /// clock that does not move by itself is moved there ([`engine::Clock::skip_to`]); one that does not let itself be moved gives the same count again.
    #[must_use]
    pub fn read(&self) -> u64 {
        let mut last = self.last.load(Ordering::Acquire);
        loop {
            let now = self.clock.now();
            let time = self.at(now);
            if time > last {
                match self.last.compare_exchange_weak(last, time, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return time,
                    Err(newer) => last = newer,
                }
            } else if self.clock.until(now).is_some() {
                std::hint::spin_loop();
            } else {
                // Waiting is time that passes.
                if let Some(tick) = last.checked_add(1).and_then(|next| self.tick_of(next)) {
                    self.clock.skip_to(tick);
                }
                if self.clock.now() == now {
                    return time.max(last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Engine;
    use engine::HostClock;
    use engine::scripted::ScriptedEngine;
    use memory::Space;
    use proptest::prelude::*;

    fn at_frequency(frequency: u64) -> ReferenceTime {
        ReferenceTime::new(ScriptedEngine::new(frequency).create_group(&Space::new(40)).unwrap().clock())
    }

    /// A clock that ticks less often than reference time counts: each tick is several units.
    #[test]
    fn a_slow_clock_is_followed_tick_by_tick() {
        let reference = at_frequency(1_000_000);
        assert_eq!(reference.scale(), None);
        assert_eq!([0, 1, 7].map(|tick| reference.at(tick)), [0, 10, 70]);
        assert_eq!([0, 1, 10, 11, 70].map(|time| reference.tick_of(time)), [0, 1, 1, 2, 7].map(Some));
        assert_eq!(
            (reference.at(u64::MAX), reference.tick_of(u64::MAX)),
            (u64::MAX, Some(u64::MAX / 10 + 1))
        );
    }

    proptest! {
        /// B12.006: a deadline is the first tick that shows the time, never an earlier one.
        #[test]
        fn a_deadline_is_the_first_tick_of_its_time(frequency in 1_000u64..8_000_000_000, time in 1u64..1 << 52) {
            let reference = at_frequency(frequency);
            let tick = reference.tick_of(time).unwrap();
            prop_assert!(reference.at(tick) >= time);
            prop_assert!(reference.at(tick - 1) < time);
        }
    }

    /// B12.039: ten million units in a second, within what the rounding of the scale loses.
    #[test]
    fn a_second_has_ten_million_units() {
        for frequency in [1_000_000, 10_000_001, 2_999_999_997, 8_000_000_000] {
            let reference = at_frequency(frequency);
            let day = reference.at(frequency * 86_400);
            assert!((863_999_999_999..=864_000_000_000).contains(&day), "{frequency}: {day}");
        }
        assert_eq!(at_frequency(10_000_000).scale(), None);
        assert_eq!(at_frequency(20_000_000).scale(), Some(1 << 63));
    }

    /// B12.003, B12.004: counts of two clocks that were made at different times differ, and go on at the rate of the host's own clock, asleep or not.
    #[test]
    fn counts_run_at_one_rate_from_different_starts() {
        use std::time::{Duration, Instant};
        let first = ReferenceTime::new(Arc::new(HostClock::new()));
        std::thread::sleep(Duration::from_millis(5));
        let second = ReferenceTime::new(Arc::new(HostClock::new()));
        let before = Instant::now();
        let (a, b) = (first.read(), second.read());
        assert!(a >= b + 50_000, "{a} {b}");
        std::thread::sleep(Duration::from_millis(20));
        while before.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let at_least = before.elapsed().as_nanos() as u64 / 100;
        let (a, b) = (first.read() - a, second.read() - b);
        let at_most = before.elapsed().as_nanos() as u64 / 100;
        for passed in [a, b] {
            // A thousandth for what measuring the frequency may be wrong by, and a millisecond for other threads.
            assert!(
                passed >= at_least - at_least / 1000 - 10_000 && passed <= at_most + at_most / 1000 + 10_000
            );
        }
    }

    /// B12.002: no two reads on any VP are equal, and none goes back.
    #[test]
    fn reads_on_several_threads_strictly_increase() {
        let reference = ReferenceTime::new(Arc::new(HostClock::new()));
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let times: Vec<u64> = (0..2000).map(|_| reference.read()).collect();
                        assert!(times.is_sorted_by(|earlier, later| earlier < later));
                        times
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert!(all.is_sorted_by(|earlier, later| earlier < later), "two reads gave the same count");
        assert!(
            all[all.len() - 1] <= reference.at(reference.clock().now()),
            "the count ran ahead of the clock"
        );
    }
}

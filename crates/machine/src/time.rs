// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition time as devices see it, and every conversion between it and a count of ticks.
//!
//! A partition has one clock, the guest TSC. Devices do not read clocks: each access carries the [`Time`] at which it
//! happens, and a device is a pure function of that and of its saved state. All conversions are exact: products are
//! taken in 128 bits, and a deadline in one unit is the *first* moment at which the other unit shows it.

use std::num::NonZeroU64;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// A moment of partition time: nanoseconds since the partition's clock was started.
///
/// 64 bits last for 584 years. It stands still while the partition's time is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

state::state!(Time(_));

impl Time {
    /// The moment the clock was started.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `ns` nanoseconds after the start.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the start.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// The moment `ns` nanoseconds later, or [`Time::NEVER`] where that lies beyond 64 bits.
    #[must_use]
    pub const fn after_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

/// The rate of a device's oscillator, in hertz.
///
/// Every device counts from [`Time::ZERO`], as if its crystal had run since then: what it shows is then a function of
/// time alone, and two reads never disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency(NonZeroU64);

impl Frequency {
    /// A rate of `hz` hertz; `None` for zero.
    pub const fn new(hz: u64) -> Option<Self> {
        match NonZeroU64::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Like [`Frequency::new`], for rates that are written in the source.
    pub(crate) const fn constant(hz: u64) -> Self {
        Self::new(hz).expect("a device's rate is not zero")
    }

    /// The rate in hertz.
    pub const fn hz(self) -> u64 {
        self.0.get()
    }

    /// Whole ticks that have passed at `time`; stays at the highest value when 64 bits are not enough.
    pub fn ticks_at(self, time: Time) -> u64 {
        let ticks = u128::from(time.0) * u128::from(self.hz()) / NANOSECONDS_PER_SECOND;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The first moment at which [`Frequency::ticks_at`] shows `tick` or more; [`Time::NEVER`] beyond 64 bits.
    pub fn time_of(self, tick: u64) -> Time {
        let ns = (u128::from(tick) * NANOSECONDS_PER_SECOND).div_ceil(u128::from(self.hz()));
        Time(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// The partition's clock: which guest TSC value is which moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TscClock {
    frequency: Frequency,
    origin: u64,
}

impl TscClock {
    /// A clock whose TSC runs at `frequency` and showed `origin` at [`Time::ZERO`].
    pub const fn new(frequency: Frequency, origin: u64) -> Self {
        Self { frequency, origin }
    }

    /// The moment at which the guest TSC shows `tsc`; values before the origin are [`Time::ZERO`].
    pub fn time(&self, tsc: u64) -> Time {
        let ticks = u128::from(tsc.saturating_sub(self.origin));
        let ns = ticks * NANOSECONDS_PER_SECOND / u128::from(self.frequency.hz());
        Time(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The first guest TSC value at which [`TscClock::time`] is `time` or later: what to give an engine as deadline.
    pub fn tsc(&self, time: Time) -> u64 {
        let ticks = (u128::from(time.0) * u128::from(self.frequency.hz())).div_ceil(NANOSECONDS_PER_SECOND);
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_deadline_is_the_first_moment_that_shows_the_tick(hz in 1u64..10_000_000_000, tick in 1u64..1 << 50) {
            let rate = Frequency::constant(hz);
            let at = rate.time_of(tick);
            prop_assume!(at != Time::NEVER);
            prop_assert!(rate.ticks_at(at) >= tick);
            prop_assert!(rate.ticks_at(Time(at.0 - 1)) < tick);
        }

        #[test]
        fn a_tsc_deadline_is_the_first_value_that_reaches_the_time(
            hz in 1_000_000u64..10_000_000_000, origin in 0u64..1 << 60, ns in 1u64..1 << 60,
        ) {
            let clock = TscClock::new(Frequency::constant(hz), origin);
            let tsc = clock.tsc(Time(ns));
            prop_assume!(tsc != u64::MAX);
            prop_assert!(clock.time(tsc) >= Time(ns));
            prop_assert!(clock.time(tsc - 1) < Time(ns));
        }

        #[test]
        fn time_never_runs_backwards(hz in 1u64..10_000_000_000, a in any::<u64>(), b in any::<u64>()) {
            let clock = TscClock::new(Frequency::constant(hz), 0);
            let (early, late) = (a.min(b), a.max(b));
            prop_assert!(clock.time(early) <= clock.time(late));
            prop_assert!(Frequency::constant(hz).ticks_at(Time(early)) <= Frequency::constant(hz).ticks_at(Time(late)));
        }
    }

    #[test]
    fn whole_seconds_convert_without_error_however_late() {
        let clock = TscClock::new(Frequency::constant(2_999_999_997), 7);
        for seconds in [1, 3600, 86_400 * 365] {
            assert_eq!(clock.time(7 + 2_999_999_997 * seconds), Time(seconds * 1_000_000_000));
        }
        assert_eq!(clock.time(3), Time::ZERO);
    }
}

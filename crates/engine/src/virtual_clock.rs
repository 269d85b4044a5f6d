// SPDX-License-Identifier: MIT OR Apache-2.0
//! A clock that only guest code moves: guest time is then a function of what the guest did, and a run can be repeated exactly.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Clock;

/// A clock that an engine moves on by one tick for each instruction that retires. While no VP has anything to do, whoever runs them skips to the next
/// deadline ([`Clock::skip_to`]).
///
/// All VPs of the group run one after another: two that ran at once would both move it.
#[derive(Debug, Default)]
pub struct VirtualClock {
    now: AtomicU64,
    frozen: AtomicBool,
}

impl VirtualClock {
    /// Ticks per second: an instruction takes a nanosecond.
    pub const FREQUENCY: u64 = 1_000_000_000;

    /// A clock at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { now: AtomicU64::new(0), frozen: AtomicBool::new(false) }
    }

    /// Lets `ticks` pass.
    pub fn advance(&self, ticks: u64) {
        self.now.fetch_add(ticks, Ordering::AcqRel);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }

    fn frequency(&self) -> u64 {
        Self::FREQUENCY
    }

    fn until(&self, _tick: u64) -> Option<Duration> {
        None
    }

    /// It stands whenever no VP runs; this keeps it from being skipped on.
    fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    fn thaw(&self) {
        self.frozen.store(false, Ordering::Release);
    }

    fn skip_to(&self, tick: u64) {
        if !self.frozen.load(Ordering::Acquire) {
            self.now.fetch_max(tick, Ordering::AcqRel);
        }
    }

    fn go_on_from(&self, tick: u64) {
        self.now.store(tick, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_only_when_told_to_and_never_back() {
        let clock = VirtualClock::new();
        assert_eq!((clock.now(), clock.until(5)), (0, None));
        clock.advance(7);
        clock.skip_to(5);
        assert_eq!(clock.now(), 7);
        clock.skip_to(100);
        assert_eq!(clock.now(), 100);
        clock.freeze();
        clock.skip_to(200);
        assert_eq!(clock.now(), 100);
        clock.thaw();
        clock.skip_to(200);
        assert_eq!(clock.now(), 200);
    }
}

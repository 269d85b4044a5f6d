// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock of a VP group: the guest time-stamp counter.
//!
//! Everything that tells a guest the time is a pure function of this one value, so nothing in a guest can disagree
//! about it. A guest's own writes of its TSC are offsets of one VP and do not move the clock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The guest TSC of a group, before any VP's offset.
pub trait Clock: Send + Sync {
    /// Ticks since the group was made, without the time it was frozen. Never runs backwards, on any thread.
    fn now(&self) -> u64;

    /// Ticks per second.
    fn frequency(&self) -> u64;

    /// How long a host thread has to sleep until `now()` reaches `tick`; `None` if the clock does not move by itself.
    fn until(&self, tick: u64) -> Option<Duration>;

    /// Stops the clock (all VPs are explicitly suspended, TLFS 12.1.2). Does nothing if it stands.
    fn freeze(&self);

    /// Lets the clock go on from where it stopped. Does nothing if it runs.
    fn thaw(&self);

    /// Moves the clock on to `tick`, unless it is there already or frozen: nothing happens until then. A clock that cannot be moved stays where it is.
    fn skip_to(&self, tick: u64) {
        let _ = tick;
    }

    /// Has the clock go on from `tick`, or stand there if it is frozen, wherever it is now: for a group that goes on where another one stood, while none of its VPs runs.
    fn go_on_from(&self, tick: u64);
}

/// The host's time-stamp counter.
#[must_use]
pub fn host_tsc() -> u64 {
    // SAFETY: RDTSC is part of every x86-64 processor.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks per second of the host's time-stamp counter, from CPUID where it tells (leaf 0x15, or the timing leaf 0x40000010 that
/// hypervisors give), else measured once against the monotonic clock.
#[must_use]
pub fn host_tsc_frequency() -> u64 {
    static FREQUENCY: OnceLock<u64> = OnceLock::new();
    *FREQUENCY.get_or_init(|| told_frequency().unwrap_or_else(measured_frequency))
}

fn told_frequency() -> Option<u64> {
    use core::arch::x86_64::__cpuid;
    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    let hypervisor_present = __cpuid(1).ecx >> 31 != 0;
    if hypervisor_present && (0x4000_0010..0x4001_0000).contains(&__cpuid(0x4000_0000).eax) {
        let kilohertz = __cpuid(0x4000_0010).eax;
        return (kilohertz != 0).then(|| u64::from(kilohertz) * 1000);
    }
    None
}

/// Counts ticks over a stretch of the monotonic clock; of several readings at each end the one with the smallest gap counts.
fn measured_frequency() -> u64 {
    let reading = || {
        (0..16)
            .map(|_| {
                let before = host_tsc();
                let time = Instant::now();
                let after = host_tsc();
                (after.wrapping_sub(before), before, time)
            })
            .min_by_key(|&(gap, _, _)| gap)
            .map(|(gap, before, time)| (before.wrapping_add(gap / 2), time))
            .expect("at least one reading")
    };
    let (first_tick, first_time) = reading();
    std::thread::sleep(Duration::from_millis(10));
    let (last_tick, last_time) = reading();
    let nanoseconds = (last_time - first_time).as_nanos().max(1);
    (u128::from(last_tick.wrapping_sub(first_tick)) * 1_000_000_000 / nanoseconds) as u64
}

/// A clock that follows the host's TSC at the host's frequency.
pub struct HostClock {
    /// Host TSC minus guest TSC while running.
    offset: AtomicU64,
    /// Guest TSC while frozen.
    stopped_at: AtomicU64,
    frozen: AtomicBool,
}

impl HostClock {
    /// A running clock that starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            offset: AtomicU64::new(host_tsc()),
            stopped_at: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
        }
    }

    /// Host TSC minus guest TSC, for an engine that reads the host TSC itself while the clock runs.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now(&self) -> u64 {
        if self.frozen.load(Ordering::Acquire) {
            self.stopped_at.load(Ordering::Acquire)
        } else {
            host_tsc().wrapping_sub(self.offset())
        }
    }

    fn frequency(&self) -> u64 {
        host_tsc_frequency()
    }

    fn until(&self, tick: u64) -> Option<Duration> {
        if self.frozen.load(Ordering::Acquire) {
            return None;
        }
        let ticks = u128::from(tick.saturating_sub(self.now()));
        let nanoseconds = (ticks * 1_000_000_000).div_ceil(u128::from(self.frequency()));
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    fn skip_to(&self, tick: u64) {
        if !self.frozen.load(Ordering::Acquire) {
            self.offset.fetch_sub(tick.saturating_sub(self.now()), Ordering::AcqRel);
        }
    }

    fn go_on_from(&self, tick: u64) {
        self.stopped_at.store(tick, Ordering::Release);
        self.offset.store(host_tsc().wrapping_sub(tick), Ordering::Release);
    }

    fn freeze(&self) {
        if !self.frozen.load(Ordering::Acquire) {
            self.stopped_at.store(self.now(), Ordering::Release);
            self.frozen.store(true, Ordering::Release);
        }
    }

    fn thaw(&self) {
        if self.frozen.load(Ordering::Acquire) {
            let stopped_at = self.stopped_at.load(Ordering::Acquire);
            self.offset.store(host_tsc().wrapping_sub(stopped_at), Ordering::Release);
            self.frozen.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_while_frozen_and_goes_on_from_there() {
        let clock = HostClock::new();
        let before = clock.now();
        clock.freeze();
        let stopped = clock.now();
        assert!(stopped >= before);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.now(), stopped);
        assert_eq!(clock.until(stopped + 1), None);
        clock.thaw();
        let after = clock.now();
        assert!(after >= stopped && after - stopped < clock.frequency() / 1000, "{stopped} {after}");
    }

    #[test]
    fn the_clock_goes_on_from_anywhere() {
        let (clock, second) = (HostClock::new(), host_tsc_frequency());
        for tick in [1000 * second, 5 * second] {
            clock.go_on_from(tick);
            let now = clock.now();
            assert!(now >= tick && now - tick < second, "{tick} {now}");
        }
        clock.freeze();
        clock.go_on_from(7);
        assert_eq!(clock.now(), 7);
        clock.thaw();
        assert!((7..second).contains(&clock.now()));
    }

    #[test]
    fn sleeping_until_a_tick_reaches_it() {
        let clock = HostClock::new();
        let tick = clock.now() + clock.frequency() / 500;
        std::thread::sleep(clock.until(tick).unwrap());
        assert!(clock.now() + clock.frequency() / 100_000 >= tick);
        assert_eq!(clock.until(0), Some(Duration::ZERO));
    }

    #[test]
    fn the_frequency_agrees_with_a_measurement() {
        let (told, measured) = (host_tsc_frequency() as f64, measured_frequency() as f64);
        assert!((told / measured - 1.0).abs() < 0.01, "told {told}, measured {measured}");
    }
}

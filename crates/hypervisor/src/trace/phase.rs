// SPDX-License-Identifier: MIT OR Apache-2.0
//! Phases: stretches of a partition's life that are counted apart, such as boot and idle.

use std::ops::{AddAssign, Sub};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::lock;
use crate::synic::SynicCounts;

/// What is counted in a VP's shared state, by whoever does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedCounts {
    pub(crate) synic: SynicCounts,
    /// Interrupts that the guest ended through the VP assist page.
    pub(crate) eoi_assists: u64,
}

impl AddAssign for SharedCounts {
    fn add_assign(&mut self, more: Self) {
        self.synic.messages += more.synic.messages;
        self.synic.event_flags += more.synic.event_flags;
        self.synic.interrupts += more.synic.interrupts;
        self.eoi_assists += more.eoi_assists;
    }
}

impl Sub for SharedCounts {
    type Output = Self;

    /// A VP that was reset has counted anew.
    fn sub(self, before: Self) -> Self {
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            synic: SynicCounts {
                messages: since(self.synic.messages, before.synic.messages),
                event_flags: since(self.synic.event_flags, before.synic.event_flags),
                interrupts: since(self.synic.interrupts, before.synic.interrupts),
            },
            eoi_assists: since(self.eoi_assists, before.eoi_assists),
        }
    }
}

/// Which phase it is, and what shared state had counted when it began.
#[derive(Default)]
pub(crate) struct Phases {
    current: AtomicUsize,
    /// For each VP that was ever settled: its counts then, and what they grew by in each phase.
    settled: Mutex<Vec<(SharedCounts, Vec<SharedCounts>)>>,
}

impl Phases {
    #[inline]
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Begins a phase; `counts` reads each VP's shared state.
    pub(crate) fn begin(&self, phase: usize, counts: impl Iterator<Item = SharedCounts>) {
        let mut settled = lock(&self.settled);
        for (vp, counts) in counts.enumerate() {
            Self::settle(&mut settled, self.current(), vp, counts);
        }
        self.current.store(phase, Ordering::Relaxed);
    }

    /// What a VP's shared state counted in each phase.
    pub(crate) fn of(&self, vp: usize, counts: SharedCounts) -> Vec<SharedCounts> {
        let mut settled = lock(&self.settled);
        Self::settle(&mut settled, self.current(), vp, counts);
        settled[vp].1.clone()
    }

    fn settle(
        settled: &mut Vec<(SharedCounts, Vec<SharedCounts>)>,
        phase: usize,
        vp: usize,
        now: SharedCounts,
    ) {
        if settled.len() <= vp {
            settled.resize_with(vp + 1, Default::default);
        }
        let (before, phases) = &mut settled[vp];
        if phases.len() <= phase {
            phases.resize_with(phase + 1, Default::default);
        }
        phases[phase] += now - *before;
        *before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_in_a_phase_belongs_to_it() {
        let phases = Phases::default();
        let counts = |assists| SharedCounts { eoi_assists: assists, ..Default::default() };
        phases.begin(1, [counts(3), counts(5)].into_iter());
        phases.begin(0, [counts(10), counts(5)].into_iter());
        assert_eq!(phases.of(0, counts(11)), [counts(4), counts(7)]);
        assert_eq!(phases.of(1, counts(2)), [counts(7), counts(0)], "it was reset and counted to two");
        assert_eq!(phases.current(), 0);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose turn it is: VPs share one logical processor under virtual time, in a fixed order, by turns of fixed length (TLFS 14).
//!
//! The policy knows neither VPs nor clocks; what it is told are ticks. Who has not had its reserve in this period comes first. All others have their turns
//! one after another, each as long as its weight says. Who has had all that its cap allows waits for the next period, even if nobody else wants to run.

use super::share::{PERIOD, Share};

/// What the policy knows of a VP.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    share: Share,
    awake: bool,
    /// Ticks that it has had in this period.
    used: u64,
}

impl Candidate {
    fn may_run(&self) -> bool {
        self.awake && self.left_of_cap() != 0
    }

    fn left_of_cap(&self) -> u64 {
        if self.share.has_cap() { self.share.capped().saturating_sub(self.used) } else { u64::MAX }
    }

    fn left_of_reserve(&self) -> u64 {
        self.share.reserved().saturating_sub(self.used)
    }
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turns {
    candidates: Vec<Candidate>,
    current: usize,
    /// Ticks left of the current turn.
    left: u64,
    /// The tick at which the next period begins.
    next_period: u64,
}

/// Who runs next, and for how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) candidate: usize,
    pub(crate) ticks: u64,
}

impl Turns {
    /// Turns of candidates with these shares, all awake.
    pub(crate) fn new(shares: impl IntoIterator<Item = Share>) -> Self {
        let candidates = shares.into_iter().map(|share| Candidate { share, awake: true, used: 0 });
        Self { candidates: candidates.collect(), current: 0, left: 0, next_period: PERIOD }
    }

    /// The turn at tick `now`; `None` if nobody may run.
    pub(crate) fn next(&mut self, now: u64) -> Option<Turn> {
        if now >= self.next_period {
            self.next_period = (now / PERIOD + 1) * PERIOD;
            self.candidates.iter_mut().for_each(|candidate| candidate.used = 0);
        }
        let count = self.candidates.len();
        let in_order = |from: usize| (from..from + count).map(move |index| index % count);
        let owed = |&index: &usize| {
            let candidate = &self.candidates[index];
            candidate.may_run() && candidate.left_of_reserve() != 0
        };
        if let Some(candidate) = in_order(self.current).find(owed) {
            let ticks = self.candidates[candidate].left_of_reserve().min(self.next_period - now);
            return Some(Turn { candidate, ticks });
        }
        if self.left == 0 || !self.candidates[self.current].may_run() {
            self.current = in_order(self.current + 1).find(|&index| self.candidates[index].may_run())?;
            self.left = self.candidates[self.current].share.quantum();
        }
        let current = &self.candidates[self.current];
        let ticks = self.left.min(current.left_of_cap());
        let ticks = if current.share.has_cap() { ticks.min(self.next_period - now) } else { ticks };
        Some(Turn { candidate: self.current, ticks })
    }

    /// When somebody who has work but may not run may run again.
    pub(crate) fn held_until(&self) -> Option<u64> {
        let held = |candidate: &Candidate| candidate.awake && !candidate.may_run();
        self.candidates.iter().any(held).then_some(self.next_period)
    }

    /// A candidate has had so many ticks.
    pub(crate) fn ran(&mut self, candidate: usize, ticks: u64) {
        self.candidates[candidate].used += ticks;
        if candidate == self.current {
            self.left = self.left.saturating_sub(ticks);
        }
    }

    /// A candidate wants the others to run first.
    pub(crate) fn make_way(&mut self, candidate: usize) {
        if candidate == self.current {
            self.left = 0;
        }
    }

    /// A candidate has nothing to do, or has again.
    pub(crate) fn set_awake(&mut self, candidate: usize, awake: bool) {
        self.candidates[candidate].awake = awake;
    }
}

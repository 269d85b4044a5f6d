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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::Engine;
    use engine_soft::SoftEngine;
    use engine_soft::model::Model;
    use hypervisor::{Partition, PartitionConfig, Vp, VpExit};
    use memory::{MemoryObject, Rights, Space, ViewId};

    use super::super::share::WHOLE;
    use super::*;

    /// `jmp $`, and `pause` before it, where a processor starts.
    const BUSY: &[u8] = &[0xEB, 0xFE];
    const SPINNING: &[u8] = &[0xF3, 0x90, 0xEB, 0xFC];

    /// VPs of partitions of their own, which share one processor.
    struct Contest {
        vps: Vec<Vp>,
        turns: Turns,
    }

    impl Contest {
        fn new(entrants: &[(Share, &[u8])]) -> Self {
            let engine = SoftEngine::new(Model::x86_64_v2().unwrap()).with_virtual_time(0);
            let engine: Arc<dyn Engine> = Arc::new(engine);
            let vps = entrants.iter().map(|(_, code)| {
                let space = Space::new(36);
                let rom = MemoryObject::allocate(0x1000).unwrap();
                rom.write(0xFF0, code).unwrap();
                space.batch(|batch| batch.map(ViewId(0), 0xF_FFFF, 1, &rom, 0, Rights::ALL)).unwrap();
                let (_, mut vps) = Partition::create(&engine, &space, PartitionConfig::default()).unwrap();
                vps.remove(0)
            });
            Self { vps: vps.collect(), turns: Turns::new(entrants.iter().map(|&(share, _)| share)) }
        }

        /// Lets 60 ms pass, and gives what share of it each VP has had, in thousandths.
        fn run(&mut self) -> Vec<u64> {
            const STRETCH: u64 = 60_000_000;
            let clock = Arc::clone(self.vps[0].partition().clock());
            let mut had = vec![0; self.vps.len()];
            while clock.now() < STRETCH {
                let now = clock.now();
                let Some(turn) = self.turns.next(now) else {
                    clock.skip_to(self.turns.held_until().expect("somebody is held back"));
                    continue;
                };
                let exit = self.vps[turn.candidate].run(Some(now + turn.ticks));
                let ticks = clock.now() - now;
                had[turn.candidate] += ticks;
                self.turns.ran(turn.candidate, ticks);
                match exit {
                    VpExit::Deadline => assert_eq!(ticks, turn.ticks),
                    VpExit::SpinWait => self.turns.make_way(turn.candidate),
                    other => panic!("{other:?}"),
                }
            }
            had.into_iter().map(|ticks| (ticks * 1000 + STRETCH / 2) / STRETCH).collect()
        }
    }

    fn shares(entrants: &[(u32, u32, u32)]) -> Vec<u64> {
        let entrants: Vec<(Share, &[u8])> = entrants
            .iter()
            .map(|&(reserve, cap, weight)| (Share::new(reserve, cap, weight, 1).unwrap(), BUSY))
            .collect();
        Contest::new(&entrants).run()
    }

    /// B14.004: a cap of a half gives half of a processor to a VP that is busy, whether or not anybody else wants the rest.
    #[test]
    fn a_cap_holds_back() {
        assert_eq!(shares(&[(0, 0x8000, 100)]), [500]);
        assert_eq!(shares(&[(0, 0x4000, 10_000), (0, WHOLE, 1)]), [250, 750]);
        assert_eq!(shares(&[(0, WHOLE, 100)]), [1000]);
    }

    /// B14.001, B14.005: who contends shares by weight, and each partition's weight is its own.
    #[test]
    fn weights_are_shares() {
        assert_eq!(shares(&[(0, WHOLE, 100), (0, WHOLE, 200)]), [333, 667]);
        assert_eq!(shares(&[(0, WHOLE, 100), (0, WHOLE, 200), (0, WHOLE, 700)]), [100, 200, 700]);
    }

    /// B14.002: what is reserved is had, whatever the weights.
    #[test]
    fn a_reserve_comes_first() {
        assert_eq!(shares(&[(0x8000, WHOLE, 1), (0, WHOLE, 10_000)])[0], 500);
        // And without others it is no limit.
        assert_eq!(shares(&[(0x8000, WHOLE, 1)]), [1000]);
    }

    /// A VP that waits in a loop makes way for one that works.
    #[test]
    fn who_spins_makes_way() {
        let share = Share::default();
        let had = Contest::new(&[(share, SPINNING), (share, BUSY)]).run();
        assert!(had[0] <= 2 && had[1] >= 998, "{had:?}");
    }

    #[test]
    fn who_sleeps_has_no_turn() {
        let mut turns = Turns::new([Share::default(); 3]);
        turns.set_awake(1, false);
        let mut order = Vec::new();
        for _ in 0..4 {
            let turn = turns.next(0).unwrap();
            order.push(turn.candidate);
            turns.ran(turn.candidate, turn.ticks);
        }
        assert_eq!(order, [2, 0, 2, 0]);
        turns.set_awake(0, false);
        turns.set_awake(2, false);
        assert_eq!((turns.next(0), turns.held_until()), (None, None));
    }
}

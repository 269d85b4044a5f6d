// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flushes of virtual translations on any VPs (TLFS 9.4).
//!
//! A flush is left in the shared state of each VP it is meant for, which carries it out before it runs guest code again. The call is
//! over when none of them still runs guest code that it entered before.

use engine::{EngineVp, FlushScope};
use hypercall::ProcessorSet;

use crate::partition::Partition;

/// Runs of pages that are remembered one by one: as many as a call hands over at once. More than that, and everything is flushed.
pub(crate) const RUNS: usize = 32;

impl Partition {
    /// Has the VPs in `targets` forget translations. When it returns no VP uses them any more, except that the VP with index `caller` has yet to
    /// look at its shared state, if it is among the targets (which is the answer).
    pub(crate) fn flush(&self, caller: u32, targets: &ProcessorSet<'_>, scope: FlushScope<'_>) -> bool {
        let mut caller_too = false;
        for index in targets.iter(self.vp_count()) {
            self.vp(index).state().flush.add(scope);
            if index == caller {
                caller_too = true;
            } else {
                // Whoever sleeps has no use for translations: it is not woken to forget them.
                self.vp(index).notify_running();
            }
        }
        for index in targets.iter(self.vp_count()).filter(|&index| index != caller) {
            let vp = self.vp(index);
            // Out of guest code it is enough that the request is there: it comes before the next entry. In guest code the VP was kicked, and
            // getting out takes it nothing that this thread holds.
            let mut tries = 0u32;
            while vp.is_in_guest() && !vp.state().flush.is_empty() {
                tries += 1;
                if tries < 100 {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
        }
        caller_too
    }
}

/// Translations that a VP is to forget before it runs guest code again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingFlush {
    all: bool,
    non_global: bool,
    runs: [(u64, u64); RUNS],
    run_count: usize,
}

impl PendingFlush {
    pub(crate) fn is_empty(&self) -> bool {
        !self.all && !self.non_global && self.run_count == 0
    }

    /// Adds a flush. What is remembered may be more than was asked for.
    pub(crate) fn add(&mut self, scope: FlushScope<'_>) {
        match scope {
            FlushScope::NonGlobal | FlushScope::AddressSpace { global: false, .. } => self.non_global = true,
            FlushScope::Pages(runs) if self.run_count + runs.len() <= RUNS => {
                self.runs[self.run_count..self.run_count + runs.len()].copy_from_slice(runs);
                self.run_count += runs.len();
            }
            FlushScope::All | FlushScope::AddressSpace { global: true, .. } | FlushScope::Pages(_) => {
                self.all = true
            }
        }
    }

    /// Does what was added and forgets it.
    pub(crate) fn carry_out(&mut self, vp: &mut dyn EngineVp) {
        if self.all {
            vp.flush(FlushScope::All);
        } else {
            if self.non_global {
                vp.flush(FlushScope::NonGlobal);
            }
            if self.run_count != 0 {
                vp.flush(FlushScope::Pages(&self.runs[..self.run_count]));
            }
        }
        (self.all, self.non_global, self.run_count) = (false, false, 0);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Explicit suspension of VPs (TLFS 7.3), and what it does to time: reference time stands while every VP is suspended (TLFS 12.1.2).

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use hypercall::ProcessorSet;
use tlfs::register::InterceptSuspendRegister;

use crate::partition::Partition;
use crate::sync::lock;

/// How many VPs of a partition are suspended.
#[derive(Default)]
pub(crate) struct Suspension(Mutex<u32>);

impl Partition {
    /// After the state of VPs was restored: counts those that are suspended.
    pub(crate) fn count_suspended(&self) {
        let mut count = lock(&self.suspension().0);
        *count = self.vps().filter(|vp| vp.state().is_suspended()).count() as u32;
        if *count == self.vp_count() && *count != 0 {
            self.clock().freeze();
        } else {
            self.clock().thaw();
        }
        let inhibited = self.vps().filter(|vp| vp.state().intercept_suspend.tlb_flush_inhibit());
        self.flush_inhibits().store(inhibited.count() as u32, Ordering::SeqCst);
    }

    /// Whether a VP is explicitly suspended.
    ///
    /// # Panics
    /// If there is no VP with this index.
    #[must_use]
    pub fn is_explicitly_suspended(&self, vp: u32) -> bool {
        self.vp(vp).state().is_suspended()
    }

    /// Suspends a VP explicitly, or lets it go on. What it does is then no longer, or again, the guest's: HLT and start-up are states of their own, which stay.
    ///
    /// A suspended VP executes nothing from the return of this on, if this is not called on its own thread, and else from its next entry
    /// on. Interrupts, messages and timers wait for it. When the last VP is suspended the partition's clock stops, until one goes on.
    ///
    /// # Panics
    /// If there is no VP with this index.
    pub fn set_explicit_suspend(&self, vp: u32, suspend: bool) {
        let vp = self.vp(vp);
        let mut count = lock(&self.suspension().0);
        if vp.state().is_suspended() == suspend {
            return;
        }
        let all = self.vp_count();
        if suspend {
            vp.state().set_suspended(true, self.reference_time());
            vp.notify();
            while vp.is_in_guest() {
                std::thread::yield_now();
            }
            *count += 1;
            if *count == all {
                self.clock().freeze();
            }
        } else {
            if *count == all {
                self.clock().thaw();
                // Threads that slept while time stood do not know when to wake up.
                self.vps().for_each(|vp| vp.notify());
            }
            *count -= 1;
            vp.state().set_suspended(false, self.reference_time());
            vp.notify();
        }
    }

    /// Sets a VP's InterceptSuspend register (TLFS 6.1, 7.8.3): whether it waits for its parent to handle an intercept, and whether its translations must not be flushed
    /// by other VPs, which then wait (TLFS 9.1.4).
    ///
    /// # Panics
    /// If there is no VP with this index.
    pub fn set_intercept_suspend(&self, vp: u32, value: InterceptSuspendRegister) {
        let reference = self.reference_time();
        let before = {
            let mut state = self.vp(vp).state();
            let before = state.intercept_suspend;
            state.set_intercept_suspend(value, reference);
            before
        };
        match (before.tlb_flush_inhibit(), value.tlb_flush_inhibit()) {
            (false, true) => drop(self.flush_inhibits().fetch_add(1, Ordering::SeqCst)),
            (true, false) => {
                self.flush_inhibits().fetch_sub(1, Ordering::SeqCst);
                // Any of them may wait for this.
                self.vps().for_each(|vp| vp.notify());
            }
            _ => {}
        }
        self.vp(vp).notify();
    }

    /// A VP among the targets of a flush, other than the caller, whose translations must not be flushed now.
    pub(crate) fn flush_inhibited(&self, targets: &ProcessorSet<'_>, caller: u32) -> Option<u32> {
        if self.flush_inhibits().load(Ordering::SeqCst) == 0 {
            return None;
        }
        let inhibited = |vp: u32| self.vp(vp).state().intercept_suspend.tlb_flush_inhibit();
        targets.iter(self.vp_count()).find(|&vp| vp != caller && inhibited(vp))
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Explicit suspension of VPs (TLFS 7.3), and what it does to time: reference time stands while every VP is suspended (TLFS 12.1.2).

use std::sync::Mutex;

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
        if *count == self.vp_count() {
            self.clock().freeze();
        } else {
            self.clock().thaw();
        }
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
}

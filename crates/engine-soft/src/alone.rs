// SPDX-License-Identifier: MIT OR Apache-2.0
//! One processor alone: the others stand still between two blocks, out of guest code as far as anyone can tell, until it is done.
//!
//! This is the bus lock of a processor in software. The host's own locked instructions make a LOCK inside a page atomic, across cache lines too. Across two pages
//! there is no one host address to lock: the two pages of guest memory may lie anywhere.
//!
//! Who stands still has left guest code for everybody ([`VpShared::leave_guest`]), so whoever waits for it to serve a notice or to heed a kick goes on; and it
//! serves its notices before it runs on, and for a kick it does not. Stores that no VP makes are not held back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};

use engine::Kick;

use crate::cpu::Cpu;
use crate::shared::{KICKED, Registry, STAND_STILL, VpShared};
use crate::stop::Stop;

/// No other processor of the engine runs guest code until this is dropped.
pub(crate) struct Alone<'a> {
    others: Vec<Arc<VpShared>>,
    _token: MutexGuard<'a, ()>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        for vp in &self.others {
            vp.pending.fetch_and(!STAND_STILL, Ordering::SeqCst);
        }
    }
}

impl VpShared {
    /// Stands still as long as another processor wants to be alone.
    pub(crate) fn stand_still(&self) {
        self.leave_guest();
        while self.pending.load(Ordering::SeqCst) & STAND_STILL != 0 {
            std::thread::yield_now();
        }
        self.enter_guest();
    }
}

impl Registry {
    /// Has all processors but `own`, which is between two instructions, stand still. `serve` serves the own notices meanwhile.
    fn alone(&self, own: &VpShared, mut serve: impl FnMut()) -> Alone<'_> {
        let token = loop {
            match self.alone.try_lock() {
                Ok(token) => break token,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                // Another one is alone, or about to be, and may wait for this one.
                Err(TryLockError::WouldBlock) => {
                    own.stand_still();
                    serve();
                    std::thread::yield_now();
                }
            }
        };
        let others = self.others(Some(own));
        for vp in &others {
            vp.pending.fetch_or(STAND_STILL, Ordering::SeqCst);
        }
        for vp in &others {
            while vp.is_in_guest() {
                serve();
                std::thread::yield_now();
            }
        }
        Alone { others, _token: token }
    }

    /// Adds a processor; it is there for everyone who wants to be alone from now on.
    pub(crate) fn add(&self, vp: &Arc<VpShared>) {
        let _nobody_is_alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(vp);
    }
}

impl Cpu {
    /// Executes with all other processors standing still; or does nothing and stays at [`Stop::Alone`], if the run loop has a kick to tell of first.
    pub(crate) fn execute_alone(
        &mut self,
        execute: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (registry, shared) = (Arc::clone(&self.registry), Arc::clone(&self.shared));
        let _alone = registry.alone(&shared, || self.serve_notices());
        if shared.pending.load(Ordering::SeqCst) & KICKED != 0 {
            // Who kicked may have seen this processor stand still, and count on it.
            return Err(Stop::Alone);
        }
        self.alone = true;
        let outcome = execute(self);
        self.alone = false;
        outcome
    }
}

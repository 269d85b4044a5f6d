// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waking several VPs at once.
//!
//! To wake a thread costs a system call of microseconds, so an interrupt to 63 sleeping VPs would keep its sender for a hundred. Where the host asks for it
//! ([`crate::PartitionConfig::wakes_at_once`]), the sender notes them instead, wakes two, and each that wakes wakes two of those that are left before it runs. Nobody is forgotten: as long as some are left, somebody was woken
//! who has yet to come by here, because there whoever has a [`crate::Waker`] runs its VP when it is woken.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::partition::Partition;
use crate::vp::VpShared;

/// VPs that were told to look at their shared state while they slept, and that nobody has woken yet.
pub(crate) struct Sleepers {
    /// Bit n of word m: VP 64 m + n.
    set: Box<[AtomicU64]>,
    /// How many each wakes.
    at_once: u32,
}

impl Sleepers {
    pub(crate) fn new(vp_count: u32, at_once: u32) -> Self {
        Self { set: (0..vp_count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(), at_once }
    }

    fn add(&self, index: u32) {
        self.set[index as usize / 64].fetch_or(1 << (index % 64), Ordering::SeqCst);
    }

    /// Forgets a VP; whether it was there.
    fn remove(&self, index: u32) -> bool {
        let (word, bit) = (&self.set[index as usize / 64], 1 << (index % 64));
        word.load(Ordering::SeqCst) & bit != 0 && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Some VP, which is forgotten.
    fn take(&self) -> Option<u32> {
        for (number, word) in self.set.iter().enumerate() {
            loop {
                let set = word.load(Ordering::SeqCst);
                if set == 0 {
                    break;
                }
                let index = number as u32 * 64 + set.trailing_zeros();
                if self.remove(index) {
                    return Some(index);
                }
            }
        }
        None
    }
}

impl Partition {
    /// Makes a VP look at its shared state, as [`VpShared::notify`] does, but leaves it to [`Partition::wake_some`] to wake it. Whoever calls this calls that
    /// when it is done with all. A VP that nothing wakes is left alone: its host looks by itself.
    pub(crate) fn notify_among_several(&self, vp: &VpShared) {
        if vp.notify_running() && vp.has_waker() {
            self.sleepers().add(vp.index());
        }
    }

    /// Wakes some of the VPs that are left.
    pub(crate) fn wake_some(&self) {
        for _ in 0..self.sleepers().at_once {
            let Some(index) = self.sleepers().take() else { return };
            self.vp(index).wake();
        }
    }

    /// The VP with this index is awake: it need not be woken, and wakes others.
    pub(crate) fn is_awake(&self, index: u32) {
        self.sleepers().remove(index);
        self.wake_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sleeper_is_taken_once() {
        let sleepers = Sleepers::new(130, 2);
        for index in [0, 63, 64, 129, 64] {
            sleepers.add(index);
        }
        assert!(sleepers.remove(63) && !sleepers.remove(63) && !sleepers.remove(5));
        let taken: Vec<_> = std::iter::from_fn(|| sleepers.take()).collect();
        assert_eq!(taken, [0, 64, 129]);
    }
}

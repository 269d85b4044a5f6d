// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads of all VPs of a machine, on the processors that the host has for them.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many threads have work, against how many the host can run at once.
pub(crate) struct Crowd {
    busy: AtomicU32,
    processors: u32,
}

impl Crowd {
    /// A crowd of `threads`, all of which have work.
    pub(crate) fn new(threads: u32) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { busy: AtomicU32::new(threads), processors: u32::try_from(processors).unwrap_or(u32::MAX) }
    }

    /// Does what the calling thread has no work during.
    pub(crate) fn without_me<R>(&self, sleep: impl FnOnce() -> R) -> R {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        let result = sleep();
        self.busy.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Whether some thread that has work must wait for another to stop.
    pub(crate) fn is_too_large(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > self.processors
    }

    /// Lets another thread run in place of the calling one, which only waits for another. If all of them can run at once, the one that is waited for
    /// does, and giving way would be giving way to strangers.
    pub(crate) fn make_way(&self) {
        if self.is_too_large() {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_in_nobodys_way() {
        let mut crowd = Crowd::new(3);
        crowd.processors = 2;
        assert!(crowd.is_too_large());
        crowd.without_me(|| assert!(!crowd.is_too_large()));
        assert!(crowd.is_too_large());
    }
}

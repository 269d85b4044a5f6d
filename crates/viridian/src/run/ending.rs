// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a run ends: the first reason counts, and stops everyone.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hypervisor::{CrashReport, Partition};
use machine::{Attention, ExitRequest};

use crate::signals::Wish;

/// Why the run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PowerOff,
    Reset,
    DebugExit(u32),
    Crash(CrashReport),
    TripleFault {
        vp: u32,
        rip: u64,
    },
    /// The guest set registers to values that no processor has together.
    InvalidRegisters {
        vp: u32,
    },
    /// The guest needs something that this build does not have.
    Unsupported(String),
    /// The user pressed the escape key and x, or sent SIGUSR1.
    Quit,
    /// The console printed the text that was waited for.
    Expected,
    /// The run has had this time.
    Timeout(Duration),
    /// This signal is to end the process.
    Signal(i32),
    /// A thread of ours panicked, and has said so.
    Broken,
}

impl End {
    /// Whether a core helps to find out why; `expected` if the guest was to print a text.
    pub(crate) fn leaves_core(&self, expected: bool) -> bool {
        match self {
            Self::Crash(_)
            | Self::TripleFault { .. }
            | Self::InvalidRegisters { .. }
            | Self::Timeout(_)
            | Self::Quit
            | Self::Unsupported(_) => true,
            Self::PowerOff | Self::DebugExit(0) => expected,
            // Who sends a signal waits for the end, and seldom long.
            Self::Reset | Self::DebugExit(_) | Self::Expected | Self::Signal(_) | Self::Broken => false,
        }
    }

    /// Whether somebody ends the run from outside, whose patience must not depend on the guest or on who reads its output.
    pub(crate) fn is_from_outside(&self) -> bool {
        matches!(self, Self::Quit | Self::Timeout(_) | Self::Signal(_))
    }
}

impl From<Wish> for End {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::End => Self::Quit,
            Wish::Die(signal) => Self::Signal(signal),
        }
    }
}

impl From<ExitRequest> for End {
    fn from(request: ExitRequest) -> Self {
        match request {
            ExitRequest::PowerOff => Self::PowerOff,
            ExitRequest::Reset => Self::Reset,
            ExitRequest::DebugExit(code) => Self::DebugExit(code),
        }
    }
}

/// Where threads meet when the run is over.
#[derive(Default)]
pub(crate) struct Ending {
    end: Mutex<Option<End>>,
    ended: Condvar,
    partition: Mutex<Weak<Partition>>,
}

impl Ending {
    /// Tells whose VPs are to be stopped.
    pub(crate) fn set_partition(&self, partition: &Arc<Partition>) {
        *self.partition.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(partition);
    }

    fn partition(&self) -> Option<Arc<Partition>> {
        self.partition.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Ends the run, if it has not ended already. A reset is no end to who ends the run from outside: the guest may be about to boot again.
    pub(crate) fn end(&self, end: End) {
        let mut first = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() || *first == Some(End::Reset) && end.is_from_outside() {
            *first = Some(end);
            self.ended.notify_all();
        }
        drop(first);
        if let Some(partition) = self.partition() {
            partition.vps().for_each(hypervisor::VpShared::stop);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits for the end, which comes after `limit` at the latest: at `Instant`, when the run has had that time.
    pub(crate) fn wait(&self, limit: Option<(Instant, Duration)>) -> End {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(end) = &*end {
                return end.clone();
            }
            let left = limit.map(|(until, _)| until.saturating_duration_since(Instant::now()));
            match (left, limit) {
                (Some(Duration::ZERO), Some((_, time))) => {
                    drop(end);
                    // Something else may have ended the run meanwhile: the next round sees the first reason.
                    self.end(End::Timeout(time));
                    end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
                }
                (Some(left), _) => {
                    end = self.ended.wait_timeout(end, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                (None, _) => end = self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Forgets a reset, for a guest that boots again. Nobody runs.
    pub(crate) fn begin_again(&self) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take_if(|end| *end == End::Reset);
    }
}

impl Attention for Ending {
    /// VP 0's thread is the one that keeps the machine's time.
    fn deadline_moved(&self) {
        if let Some(partition) = self.partition() {
            partition.vp(0).stop();
        }
    }

    /// The VP whose access it was ends the run: it gets the request as the answer to that access.
    fn exit_requested(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first end counts, but a guest that boots again and again hides nobody's wish.
    #[test]
    fn a_reset_gives_way_to_who_ends_the_run() {
        let ending = Ending::default();
        ending.end(End::Reset);
        ending.end(End::PowerOff);
        assert_eq!(ending.wait(None), End::Reset);
        ending.begin_again();
        assert!(!ending.is_over());
        ending.end(End::Reset);
        ending.end(End::Signal(15));
        ending.begin_again();
        assert_eq!(ending.wait(None), End::Signal(15));
        ending.end(End::Quit);
        assert_eq!(ending.wait(None), End::Signal(15));
    }
}

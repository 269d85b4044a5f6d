// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a run ends: the first reason counts, and stops everyone.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use hypervisor::{CrashReport, Partition};
use machine::{Attention, ExitRequest};

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
    /// The guest needs something that this build does not have.
    Unsupported(String),
    /// The user pressed the escape key and x.
    Quit,
    /// A thread of ours panicked, and has said so.
    Broken,
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
    partition: OnceLock<Arc<Partition>>,
}

impl Ending {
    /// Tells whose VPs are to be stopped.
    pub(crate) fn set_partition(&self, partition: &Arc<Partition>) {
        let _ = self.partition.set(Arc::clone(partition));
    }

    /// Ends the run, if it has not ended already.
    pub(crate) fn end(&self, end: End) {
        let mut first = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            *first = Some(end);
            self.ended.notify_all();
        }
        drop(first);
        if let Some(partition) = self.partition.get() {
            partition.vps().for_each(hypervisor::VpShared::stop);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits for the end.
    pub(crate) fn wait(&self) -> End {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*end {
                Some(end) => return end.clone(),
                None => end = self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Attention for Ending {
    /// VP 0's thread is the one that keeps the machine's time.
    fn deadline_moved(&self) {
        if let Some(partition) = self.partition.get() {
            partition.vp(0).stop();
        }
    }

    /// The VP whose access it was ends the run: it gets the request as the answer to that access.
    fn exit_requested(&self) {}
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread of a VP: runs it, serves what it leaves to the host, and sleeps while it has nothing to do.

use std::sync::Arc;

use hypervisor::Vp;

use super::crowd::Crowd;
use super::ending::{End, Ending};
use super::serve::{Surroundings, Then};

/// What a VP's thread works with.
pub(crate) struct VpThread {
    pub(crate) vp: Vp,
    pub(crate) around: Surroundings,
    pub(crate) ending: Arc<Ending>,
    pub(crate) crowd: Arc<Crowd>,
}

impl VpThread {
    /// Runs the VP until the run is over, and gives it back for its statistics.
    pub(crate) fn run(mut self) -> Vp {
        let thread = std::thread::current();
        self.around.partition.vp(self.vp.index()).set_waker(Box::new(move || thread.unpark()));
        // A panic must end the run, not leave the others waiting.
        let guard = EndOnPanic(Arc::clone(&self.ending));
        while !self.ending.is_over() {
            let until = self.machine_deadline();
            let exit = self.vp.run(until);
            match self.around.serve(&mut self.vp, exit) {
                Then::GoOn => {}
                Then::Sleep(until) => self.sleep(until),
                Then::MakeWay => self.crowd.make_way(),
                Then::End(end) => self.ending.end(end),
            }
        }
        std::mem::forget(guard);
        self.vp
    }

    /// The tick at which a device wants attention, for the thread that gives it: VP 0's.
    fn machine_deadline(&self) -> Option<u64> {
        if self.vp.index() == 0 { self.around.deadline() } else { None }
    }

    /// Sleeps until somebody wakes the VP, or until the earlier of its own deadline and the machine's.
    fn sleep(&mut self, until: Option<u64>) {
        self.crowd.without_me(|| self.park(until));
        if self.vp.index() == 0 {
            self.around.advance_if_due();
        }
    }

    fn park(&self, until: Option<u64>) {
        let machine = self.machine_deadline();
        let clock = self.around.partition.clock();
        match until.into_iter().chain(machine).min() {
            Some(tick) => {
                if let Some(time) = clock.until(tick) {
                    std::thread::park_timeout(time);
                } else {
                    std::thread::park();
                }
            }
            None => std::thread::park(),
        }
    }
}

/// Ends the run when its thread unwinds.
pub(super) struct EndOnPanic(pub(super) Arc<Ending>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        self.0.end(End::Broken);
    }
}

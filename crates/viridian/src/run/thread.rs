// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread of a VP: runs it, serves what it leaves to the host, and sleeps while it has nothing to do.

use std::sync::Arc;

use engine::{Event, MemoryAccess, MemoryAccessKind, PortAccess, PortDirection, Resume};
use hypervisor::{Vp, VpExit};
use machine::Pc;
use machine::bus::AccessSize;
use machine::time::{Time, TscClock};

use super::crowd::Crowd;
use super::ending::{End, Ending};

/// What a VP's thread works with.
pub(crate) struct VpThread {
    pub(crate) vp: Vp,
    pub(crate) pc: Arc<Pc>,
    pub(crate) time: TscClock,
    pub(crate) ending: Arc<Ending>,
    pub(crate) crowd: Arc<Crowd>,
}

impl VpThread {
    /// Runs the VP until the run is over, and gives it back for its statistics.
    pub(crate) fn run(mut self) -> Vp {
        let thread = std::thread::current();
        let partition = Arc::clone(self.vp.partition());
        partition.vp(self.vp.index()).set_waker(Box::new(move || thread.unpark()));
        // A panic must end the run, not leave the others waiting.
        let guard = EndOnPanic(Arc::clone(&self.ending));
        while !self.ending.is_over() {
            let until = self.machine_deadline();
            let exit = self.vp.run(until);
            if let Some(end) = self.serve(exit) {
                self.ending.end(end);
            }
        }
        std::mem::forget(guard);
        self.vp
    }

    fn now(&self) -> Time {
        self.time.time(self.vp.partition().clock().now())
    }

    /// The tick at which a device wants attention, for the thread that gives it: VP 0's.
    fn machine_deadline(&self) -> Option<u64> {
        (self.vp.index() == 0).then(|| self.pc.next_deadline()).flatten().map(|time| self.time.tsc(time))
    }

    /// Serves an exit; gives the end of the run if it is one.
    fn serve(&mut self, exit: VpExit) -> Option<End> {
        match exit {
            VpExit::Port(access) => return self.port(access),
            VpExit::Memory(access) => self.memory(access),
            VpExit::Idle { until } => self.sleep(until),
            VpExit::SpinWait => self.crowd.make_way(),
            VpExit::Deadline => self.pc.advance(self.now()),
            VpExit::Stopped => {}
            VpExit::Reset => return Some(End::Reset),
            VpExit::Crash(report) => return Some(End::Crash(report)),
            VpExit::TripleFault => {
                return Some(End::TripleFault { vp: self.vp.index(), rip: self.vp.registers().rip() });
            }
            VpExit::Unsupported(what) => return Some(End::Unsupported(what.to_owned())),
            VpExit::Parameter(access) => {
                return Some(End::Unsupported(format!(
                    "a hypercall whose parameters are at {:#x}, where there is no memory",
                    access.gpa
                )));
            }
        }
        None
    }

    fn port(&mut self, access: PortAccess) -> Option<End> {
        let now = self.now();
        let size = match access.size {
            1 => AccessSize::Byte,
            2 => AccessSize::Word,
            _ => AccessSize::Dword,
        };
        let mut end = None;
        let value = match access.direction {
            PortDirection::In => self.pc.io_read(now, access.port, size),
            PortDirection::Out(value) => {
                end = self.pc.io_write(now, access.port, size, value).map(End::from);
                0
            }
        };
        self.vp.complete(value.into());
        end
    }

    fn memory(&mut self, access: MemoryAccess) {
        let now = self.now();
        let size = usize::from(access.size);
        match access.kind {
            MemoryAccessKind::Read => {
                let mut bytes = [0; 8];
                self.pc.mmio_read(now, access.gpa, &mut bytes[..size]);
                self.vp.complete(u64::from_le_bytes(bytes));
            }
            MemoryAccessKind::Write(value) => {
                self.pc.mmio_write(now, access.gpa, &value.to_le_bytes()[..size]);
                self.vp.complete(0);
            }
            // Where nothing is, a fetch reads ones, and those are no instruction.
            MemoryAccessKind::Execute => self.vp.registers().resume(Resume::Inject(Event::INVALID_OPCODE)),
        }
    }

    /// Sleeps until somebody wakes the VP, or until the earlier of its own deadline and the machine's.
    fn sleep(&mut self, until: Option<u64>) {
        self.crowd.without_me(|| self.park(until));
        if self.machine_deadline().is_some_and(|tick| tick <= self.vp.partition().clock().now()) {
            self.pc.advance(self.now());
        }
    }

    fn park(&self, until: Option<u64>) {
        let machine = self.machine_deadline();
        let clock = self.vp.partition().clock();
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
struct EndOnPanic(Arc<Ending>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        self.0.end(End::Broken);
    }
}

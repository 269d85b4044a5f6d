// SPDX-License-Identifier: MIT OR Apache-2.0
//! What VPs leave to the host, whoever runs them: ports, device memory, and the reasons for which a run ends.

use std::sync::Arc;

use engine::{Event, MemoryAccess, MemoryAccessKind, PortAccess, PortDirection, Resume};
use hypervisor::{Partition, Vp, VpExit};
use machine::Pc;
use machine::bus::AccessSize;
use machine::time::{Time, TscClock};

use super::ending::End;

/// The machine around the VPs of a partition.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) partition: Arc<Partition>,
    pub(crate) pc: Arc<Pc>,
    pub(crate) time: TscClock,
}

/// What follows from an exit for whoever runs the VP.
pub(crate) enum Then {
    /// It runs on.
    GoOn,
    /// It has nothing to do until somebody wakes it, or until this tick.
    Sleep(Option<u64>),
    /// It waits for another VP.
    MakeWay,
    /// The run is over.
    End(End),
}

impl Surroundings {
    /// What time it is for devices.
    pub(crate) fn now(&self) -> Time {
        self.time.time(self.partition.clock().now())
    }

    /// The tick at which a device wants attention.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.pc.next_deadline().map(|time| self.time.tsc(time))
    }

    /// Gives devices the attention that is due.
    pub(crate) fn advance_if_due(&self) {
        if self.deadline().is_some_and(|tick| tick <= self.partition.clock().now()) {
            self.pc.advance(self.now());
        }
    }

    /// Serves an exit.
    pub(crate) fn serve(&self, vp: &mut Vp, exit: VpExit) -> Then {
        match exit {
            VpExit::Port(access) => return self.port(vp, access),
            VpExit::Memory(access) => self.memory(vp, access),
            VpExit::Idle { until } => return Then::Sleep(until),
            VpExit::SpinWait => return Then::MakeWay,
            VpExit::Deadline => self.advance_if_due(),
            VpExit::Stopped => {}
            VpExit::Reset => return Then::End(End::Reset),
            VpExit::Crash(report) => return Then::End(End::Crash(report)),
            VpExit::TripleFault => {
                return Then::End(End::TripleFault { vp: vp.index(), rip: vp.registers().rip() });
            }
            VpExit::InvalidRegisters => return Then::End(End::InvalidRegisters { vp: vp.index() }),
            VpExit::Unsupported(what) => return Then::End(End::Unsupported(what.to_owned())),
            // Nothing answers there, as for an instruction of the guest's own. (Devices' registers take no parameters.)
            VpExit::Parameter(_) => vp.call_on_open_bus(),
        }
        Then::GoOn
    }

    fn port(&self, vp: &mut Vp, access: PortAccess) -> Then {
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
        vp.complete(value.into());
        end.map_or(Then::GoOn, Then::End)
    }

    fn memory(&self, vp: &mut Vp, access: MemoryAccess) {
        let now = self.now();
        let size = usize::from(access.size);
        match access.kind {
            MemoryAccessKind::Read => {
                let mut bytes = [0; 8];
                self.pc.mmio_read(now, access.gpa, &mut bytes[..size]);
                vp.complete(u64::from_le_bytes(bytes));
            }
            MemoryAccessKind::Write(value) => {
                self.pc.mmio_write(now, access.gpa, &value.to_le_bytes()[..size]);
                vp.complete(0);
            }
            // Where nothing is, a fetch reads ones, and those are no instruction.
            MemoryAccessKind::Execute => vp.registers().resume(Resume::Inject(Event::INVALID_OPCODE)),
        }
    }
}

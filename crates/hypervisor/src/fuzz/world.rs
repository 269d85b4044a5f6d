// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition on the scripted engine, and the rules that hold whatever is done to it.

use std::sync::Arc;

use engine::scripted::{Deed, ScriptedEngine};
use engine::{Engine, Event, ExitReason, PortAccess, PortDirection, Resume, SegmentName, VpState};
use memory::{MemoryObject, PAGE_SIZE, Rights, Space, ViewId};
use tlfs::msr;
use tlfs::register::InterceptSuspendRegister;
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

use crate::vp::state::RunState;
use crate::{Partition, PartitionConfig, Port, PortKind, SintIndex, Tracing, Vp, VpExit};

/// VPs of the partition.
pub(super) const VPS: usize = 3;
/// Bytes of its memory, and where calls have their input.
pub(super) const MEMORY: u64 = 16 * PAGE_SIZE;
pub(super) const INPUT: u64 = 8 * PAGE_SIZE;
/// The exit with which every stretch of a script ends.
const END: PortAccess =
    PortAccess { port: 0xE0, size: 1, direction: PortDirection::In, string: false, rep: false };
/// Runs until a VP has done what it was to do.
const MOST_RUNS: u32 = 10_000;

/// A partition, its host program, and what both know.
pub(super) struct World {
    pub(super) engine: ScriptedEngine,
    pub(super) space: Arc<Space>,
    pub(super) partition: Arc<Partition>,
    pub(super) vps: Vec<Vp>,
    /// Ports that exist, of guests.
    pub(super) ports: Vec<Arc<Port>>,
    /// How the last exit was answered, if by a value or a fault.
    pub(super) answer: Option<Result<u64, Event>>,
    /// The reference count that was read last.
    last_count: u64,
}

impl World {
    pub(super) fn new() -> Self {
        // A clock of 128 ticks in 100 ns.
        let engine = ScriptedEngine::new(1_280_000_000);
        let space = Space::new(36);
        let ram = MemoryObject::allocate(MEMORY).expect("memory");
        space.batch(|batch| batch.map(ViewId(0), 0, ram.pages(), &ram, 0, Rights::ALL)).expect("a map");
        let shared: Arc<dyn Engine> = Arc::new(engine.clone());
        let config = PartitionConfig {
            vp_count: VPS as u32,
            tracing: Tracing::counting(),
            ..PartitionConfig::default()
        };
        let (partition, vps) = Partition::create(&shared, &space, config).expect("a partition");
        let mut world =
            Self { engine, space, partition, vps, ports: Vec::new(), answer: None, last_count: 0 };
        world.boot();
        for vp in 0..VPS as u32 {
            let kind =
                if vp == 0 { PortKind::Message } else { PortKind::Event { base_flag: 0, flag_count: 64 } };
            let sint = SintIndex::new(3).expect("it is below 16");
            let port = world.partition.create_guest_port(kind, VpIndex(vp), sint).expect("a port");
            world.partition.connect(vp, &port).expect("a connection");
            world.ports.push(port);
        }
        world
    }

    /// Gets every VP to 64-bit code in ring 0 with its local APIC and its SynIC enabled, and makes hypercalls possible.
    fn boot(&mut self) {
        for vp in 0..VPS {
            {
                let mut state = self.partition.vp(vp as u32).state();
                state.set_run_state(RunState::Running, self.partition.reference_time());
                state.vtl(Vtl::VTL0).apic.set_up_as_firmware_does();
            }
            self.set_mode(vp);
        }
        self.play(0, ExitReason::WriteMsr { number: msr::GUEST_OS_ID, value: 1 << 63 });
        self.play(0, ExitReason::WriteMsr { number: msr::HYPERCALL, value: (7 * PAGE_SIZE) | 1 });
        for vp in 0..VPS {
            let page = (9 + 2 * vp as u64) * PAGE_SIZE;
            let sint = 0x53 + 0x10 * vp as u64;
            for (number, value) in [
                (msr::SCONTROL, 1),
                (msr::SIMP, page | 1),
                (msr::SIEFP, (page + PAGE_SIZE) | 1),
                (msr::SINT0 + 3, sint),
            ] {
                self.play(vp, ExitReason::WriteMsr { number, value });
            }
        }
    }

    /// Gets a VP to 64-bit code in ring 0.
    fn set_mode(&mut self, vp: usize) {
        let mut registers = self.vps[vp].registers().save();
        registers.control.cr0 = 0x8000_0011;
        registers.control.cr4 = 0x60;
        registers.control.efer = 0x500;
        registers.segments[SegmentName::Cs as usize].attributes = 0xA09B.into();
        self.vps[vp].registers().restore(&registers);
    }

    /// Lets a VP run through one exit.
    pub(super) fn play(&mut self, vp: usize, exit: ExitReason) {
        self.engine.push(vp as u32, exit);
        self.pass(vp);
    }

    /// The same with other registers before the exit.
    pub(super) fn play_with(
        &mut self,
        vp: usize,
        exit: ExitReason,
        prepare: impl FnOnce(&mut VpState) + Send + 'static,
    ) {
        self.engine.push_with(vp as u32, exit, prepare);
        self.pass(vp);
    }

    /// Lets a VP run to the end of its script, whatever comes of it.
    pub(super) fn pass(&mut self, vp: usize) {
        self.partition.set_explicit_suspend(vp as u32, false);
        self.engine.push(vp as u32, ExitReason::Port(END));
        let mut reset = false;
        for run in 0.. {
            assert!(run < MOST_RUNS, "a run without end");
            match self.vps[vp].run(None) {
                VpExit::Port(END) => break,
                VpExit::Memory(_) => self.vps[vp].retry(),
                VpExit::Parameter(_) => self.vps[vp].call_on_open_bus(),
                VpExit::Idle { .. } => {
                    let reference = self.partition.reference_time();
                    self.partition.vp(vp as u32).state().set_run_state(RunState::Running, reference);
                    self.attend();
                }
                VpExit::InvalidRegisters => self.set_mode(vp),
                VpExit::Reset | VpExit::TripleFault => reset = true,
                VpExit::Crash(_) | VpExit::SpinWait => {}
                other => panic!("{other:?}"),
            }
        }
        self.vps[vp].complete(0);
        let deeds = self.engine.take_deeds(vp as u32);
        self.answer = deeds.iter().find_map(|deed| match deed {
            Deed::Resumed(Resume::Complete(value)) => Some(Ok(*value)),
            Deed::Resumed(Resume::Inject(event)) => Some(Err(*event)),
            _ => None,
        });
        for deed in &deeds {
            if let Deed::Injected(Event::Interrupt(vector)) = deed {
                // Only an external interrupt of the parent's can be lower, and those are the first VP's.
                assert!(*vector >= 16 || vp == 0, "vector {vector} at VP {vp}");
            }
        }
        if reset {
            self.partition.reset();
            self.vps.iter_mut().for_each(Vp::reset);
            self.boot();
            // What it was, it is no more.
            self.answer = None;
        }
    }

    /// What a VP that does not run on may wait for: that others answer it, as their threads would, and that the parent has handled intercepts.
    fn attend(&mut self) {
        for (index, vp) in self.vps.iter_mut().enumerate() {
            let requests = std::mem::take(&mut self.partition.vp(index as u32).state().requests);
            vp.serve_requests(requests);
            self.partition.set_intercept_suspend(index as u32, InterceptSuspendRegister::new());
        }
    }

    pub(super) fn delete(&self, port: &Port) {
        self.partition.delete_port(port);
        assert_eq!(port.buffers_in_use(), 0, "a deleted port has all its buffers");
    }

    /// What always holds.
    pub(super) fn check(&mut self) {
        let count = self.partition.reference_time().read();
        assert!(count >= self.last_count, "reference time went back from {} to {count}", self.last_count);
        self.last_count = count;
        for vp in self.partition.vps() {
            vp.state().vtl(Vtl::VTL0).check();
        }
    }

    /// After the last act: nothing of a port is left when it is deleted.
    pub(super) fn close(mut self) {
        for port in std::mem::take(&mut self.ports) {
            self.delete(&port);
        }
    }
}

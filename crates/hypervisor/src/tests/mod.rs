// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest sees, played on the scripted engine. Tests name the behaviour that they prove (B02.007 and so on).

mod assertions;
mod assist;
mod caller;
mod events;
mod hypercalls;
mod intercepts;
mod interface;
mod machine_checks;
mod monitors;
mod ports;
mod processor;
mod register_places;
mod registers;
mod routing;
mod rules;
mod saved;
mod services;
mod survival;
mod suspension;
mod synic;
mod timers;
mod tracing;
mod translate;
mod wake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::scripted::{Deed, ScriptedEngine};
use engine::{
    Engine, Event, ExitReason, Gpr, HypercallInstruction, PortAccess, PortDirection, Resume, VpState,
};
use memory::{MemoryObject, PAGE_SIZE, Rights, Space, ViewId};
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, InputValue, ResultValue};
use tlfs::msr;
use tlfs::vsm::Vtl;

use crate::{Enlightenments, Partition, PartitionConfig, SintIndex, Tracing, Vp, VpExit};

/// Ticks of the clock in a second: a number that 100 ns divide, and of which the scale of the reference TSC page is exact.
pub(crate) const FREQUENCY: u64 = 10_000_000 * TICKS;
/// Ticks of the clock in 100 ns.
pub(crate) const TICKS: u64 = 128;
/// The exit with which every stretch of a script ends.
const END: PortAccess =
    PortAccess { port: 0xE0, size: 1, direction: PortDirection::In, string: false, rep: false };
/// How long a test waits for what other threads do: one that would hang fails.
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Called in each round of a loop that ends when what is tested works.
    pub(crate) fn go_on(&self) {
        assert!(self.0.elapsed() < Duration::from_secs(20), "what was to happen did not");
    }
}

/// #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gp;

/// A partition with 16 MiB of memory on a scripted engine whose clock a test moves.
pub(crate) struct Lab {
    pub(crate) engine: ScriptedEngine,
    pub(crate) space: Arc<Space>,
    pub(crate) partition: Arc<Partition>,
    pub(crate) vps: Vec<Vp>,
}

impl Lab {
    pub(crate) fn new(vp_count: u32) -> Self {
        Self::with(vp_count, Enlightenments::ALL)
    }

    pub(crate) fn with(vp_count: u32, enlightenments: Enlightenments) -> Self {
        Self::configured(PartitionConfig {
            vp_count,
            enlightenments,
            tracing: Tracing::counting(),
            ..Default::default()
        })
    }

    pub(crate) fn configured(config: PartitionConfig) -> Self {
        let engine = ScriptedEngine::new(FREQUENCY);
        let space = Space::new(36);
        let ram = MemoryObject::allocate(16 << 20).unwrap();
        space.batch(|batch| batch.map(ViewId(0), 0, ram.pages(), &ram, 0, Rights::ALL)).unwrap();
        let shared: Arc<dyn Engine> = Arc::new(engine.clone());
        let (partition, vps) = Partition::create(&shared, &space, config).unwrap();
        let mut lab = Self { engine, space, partition, vps };
        for vp in 0..lab.vps.len() {
            lab.start(vp);
        }
        lab
    }

    /// Gets a VP to where 64-bit code runs in ring 0 with interrupts off, with its local APIC enabled.
    fn start(&mut self, vp: usize) {
        {
            let mut state = self.partition.vp(vp as u32).state();
            state.set_run_state(crate::vp::state::RunState::Running, self.partition.reference_time());
            state.vtl(Vtl::VTL0).apic.set_up_as_firmware_does();
        }
        let mut registers = self.vps[vp].registers().save();
        registers.control.cr0 = 0x8000_0011;
        registers.control.efer = 0x500;
        registers.control.cr4 = 0x60;
        registers.segments[engine::SegmentName::Cs as usize].attributes = 0xA09B.into();
        self.vps[vp].registers().restore(&registers);
    }

    pub(crate) fn set_interrupts(&mut self, vp: usize, on: bool) {
        self.vps[vp].registers().set_rflags(if on { 0x202 } else { 2 });
    }

    /// Lets a VP run through one exit, and gives what was done to it meanwhile.
    pub(crate) fn play(&mut self, vp: usize, exit: ExitReason) -> Vec<Deed> {
        self.engine.push(vp as u32, exit);
        self.pass(vp)
    }

    /// Lets a VP run without doing anything, and gives what was done to it.
    pub(crate) fn pass(&mut self, vp: usize) -> Vec<Deed> {
        self.engine.push(vp as u32, ExitReason::Port(END));
        let mut exits = std::iter::repeat_with(|| self.vps[vp].run(None));
        let exit = exits.find(|exit| *exit != VpExit::SpinWait);
        assert_eq!(exit, Some(VpExit::Port(END)));
        self.vps[vp].complete(0);
        let mut deeds = self.engine.take_deeds(vp as u32);
        deeds.pop();
        deeds
    }

    /// The vectors that a VP takes when it runs with interrupts on.
    pub(crate) fn interrupts(&mut self, vp: usize) -> Vec<u8> {
        self.set_interrupts(vp, true);
        let deeds = self.pass(vp);
        self.set_interrupts(vp, false);
        let vector = |deed: &Deed| match deed {
            Deed::Injected(Event::Interrupt(vector)) => Some(*vector),
            _ => None,
        };
        deeds.iter().filter_map(vector).collect()
    }

    pub(crate) fn read_msr(&mut self, vp: usize, number: u32) -> Result<u64, Gp> {
        self.answer(vp, ExitReason::ReadMsr { number })
    }

    pub(crate) fn write_msr(&mut self, vp: usize, number: u32, value: u64) -> Result<(), Gp> {
        self.answer(vp, ExitReason::WriteMsr { number, value }).map(drop)
    }

    /// The answer to an exit that completes or faults.
    pub(crate) fn answer(&mut self, vp: usize, exit: ExitReason) -> Result<u64, Gp> {
        let deeds = self.play(vp, exit);
        let answer = deeds.iter().find_map(|deed| match deed {
            Deed::Resumed(Resume::Complete(value)) => Some(Ok(*value)),
            Deed::Resumed(Resume::Inject(event)) => {
                assert_eq!(*event, Event::GENERAL_PROTECTION);
                Some(Err(Gp))
            }
            _ => None,
        });
        answer.expect("an answer")
    }

    /// Enables the hypercall page of the partition at `gpa`.
    pub(crate) fn enable_hypercalls(&mut self, gpa: u64) {
        self.write_msr(0, msr::GUEST_OS_ID, 0x8100_0000_0000_0000).unwrap();
        self.write_msr(0, msr::HYPERCALL, gpa | 1).unwrap();
    }

    /// Makes a hypercall with these registers (RCX, RDX, R8).
    pub(crate) fn call(&mut self, vp: usize, control: InputValue, rdx: u64, r8: u64) -> HvStatus {
        let (result, _) = self.call_with(vp, move |state| {
            state.gprs[Gpr::Rcx as usize] = control.into_bits();
            state.gprs[Gpr::Rdx as usize] = rdx;
            state.gprs[Gpr::R8 as usize] = r8;
        });
        result.status()
    }

    pub(crate) fn call_with(
        &mut self,
        vp: usize,
        prepare: impl FnOnce(&mut VpState) + Send + 'static,
    ) -> (ResultValue, Vec<Deed>) {
        self.engine.push_with(vp as u32, ExitReason::Hypercall(HypercallInstruction::Vmcall), prepare);
        let deeds = self.pass(vp);
        (ResultValue::from_bits(self.vps[vp].registers().gpr(Gpr::Rax)), deeds)
    }

    pub(crate) fn fast(code: CallCode) -> InputValue {
        InputValue::new().with_call_code(code).with_fast(true)
    }

    /// Enables SynIC, message page and event flags page of a VP: page 0x10 + 2 * VP and the next.
    pub(crate) fn enable_synic(&mut self, vp: usize) {
        self.write_msr(vp, msr::SCONTROL, 1).unwrap();
        self.write_msr(vp, msr::SIMP, Self::message_page(vp) | 1).unwrap();
        self.write_msr(vp, msr::SIEFP, Self::event_flags_page(vp) | 1).unwrap();
    }

    pub(crate) fn message_page(vp: usize) -> u64 {
        (0x10 + 2 * vp as u64) * PAGE_SIZE
    }

    pub(crate) fn event_flags_page(vp: usize) -> u64 {
        Self::message_page(vp) + PAGE_SIZE
    }

    pub(crate) fn read_u32(&self, gpa: u64) -> u32 {
        self.space.read_value::<4>(ViewId(0), gpa, Rights::READ).unwrap() as u32
    }

    pub(crate) fn write_u32(&self, gpa: u64, value: u32) {
        self.space.write_value::<4>(ViewId(0), gpa, value.into(), Rights::WRITE).unwrap();
    }

    /// Type, payload size, MessagePending and first four bytes of the payload of a slot.
    pub(crate) fn slot(&self, vp: usize, sint: u8) -> (u32, u8, bool, u32) {
        let slot = Self::message_page(vp) + 256 * u64::from(sint);
        let sizes = self.read_u32(slot + 4);
        (self.read_u32(slot), sizes as u8, sizes >> 8 & 1 != 0, self.read_u32(slot + 16))
    }

    /// The guest frees a slot.
    pub(crate) fn free_slot(&self, vp: usize, sint: u8) {
        self.write_u32(Self::message_page(vp) + 256 * u64::from(sint), 0);
    }

    /// Moves the clock by a number of 100 ns.
    pub(crate) fn advance(&self, time: u64) {
        self.engine.manual_clock().advance(time * TICKS);
    }
}

/// A write to a register of the local APIC's page.
pub(crate) fn page_write(offset: u64, value: u64) -> ExitReason {
    ExitReason::Memory(engine::MemoryAccess {
        gpa: 0xFEE0_0000 + offset,
        gva: None,
        size: 4,
        kind: engine::MemoryAccessKind::Write(value),
        cause: engine::MemoryExitCause::Unmapped,
        page_walk: false,
        user: false,
    })
}

pub(crate) fn sint(number: u8) -> SintIndex {
    SintIndex::new(number).unwrap()
}

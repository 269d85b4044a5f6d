// SPDX-License-Identifier: MIT OR Apache-2.0
//! An engine without a processor: a test says which exits happen, and sees how they were answered.
//!
//! Each VP runs a *script*: exits that [`ScriptedEngine::push`] queues, with an optional change of registers before each. When the script is
//! empty the VP halts. The clock moves only when the test moves it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memory::{Space, ViewId};

use crate::{
    Capabilities, Clock, ControlRegisters, CpuidResult, DebugRegisters, DescriptorTableGuard, Engine,
    EngineError, EngineVp, Event, EventState, Exit, ExitReason, FlushScope, Gpr, Kick,
    ModelSpecificRegisters, Resume, RunLimits, Segment, SegmentName, TableRegister, VpGroup, VpState,
    XsaveArea,
};

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
    frozen: AtomicBool,
    frequency: u64,
}

impl ManualClock {
    /// Moves the clock on, unless it is frozen.
    pub fn advance(&self, ticks: u64) {
        if !self.frozen.load(Ordering::Relaxed) {
            self.now.fetch_add(ticks, Ordering::Relaxed);
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
    fn frequency(&self) -> u64 {
        self.frequency
    }
    fn until(&self, _tick: u64) -> Option<Duration> {
        None
    }
    fn go_on_from(&self, tick: u64) {
        self.now.store(tick, Ordering::Relaxed);
    }
    fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }
    fn thaw(&self) {
        self.frozen.store(false, Ordering::Relaxed);
    }
}

/// What the hypervisor did to a VP, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It answered an exit.
    Resumed(Resume),
    /// It injected an event.
    Injected(Event),
    /// It had translations forgotten; the scope in words.
    Flushed(String),
    /// It chose a view.
    ViewSet(ViewId),
    /// It chose the exceptions that raise exits.
    ExceptionExits(u32),
    /// It chose what user code may not read.
    DescriptorTableGuard(DescriptorTableGuard),
}

type Prepare = Box<dyn FnOnce(&mut VpState) + Send>;

#[derive(Default)]
struct Shared {
    scripts: HashMap<u32, VecDeque<(Option<Prepare>, Exit)>>,
    deeds: HashMap<u32, Vec<Deed>>,
}

/// The engine. Clones are the same engine.
#[derive(Clone)]
pub struct ScriptedEngine {
    shared: Arc<Mutex<Shared>>,
    clock: Arc<ManualClock>,
    capabilities: Capabilities,
}

impl ScriptedEngine {
    /// An engine with every capability and a clock of `frequency` ticks per second.
    #[must_use]
    pub fn new(frequency: u64) -> Self {
        Self {
            shared: Arc::default(),
            clock: Arc::new(ManualClock {
                now: AtomicU64::new(0),
                frozen: AtomicBool::new(false),
                frequency,
            }),
            capabilities: Capabilities {
                cpuid_exits: true,
                hypercall_exits: true,
                exception_exits: true,
                descriptor_table_guard: true,
                execute_rights: true,
                mode_based_execute: true,
                walk_rights: true,
                task_priority_exits: true,
                most_vps: u32::MAX,
            },
        }
    }

    /// The same engine with other capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The clock.
    #[must_use]
    pub fn manual_clock(&self) -> &ManualClock {
        &self.clock
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an exit of VP `index`. Exits that an instruction causes say that it is 3 bytes long.
    pub fn push(&self, index: u32, reason: ExitReason) {
        self.push_prepared(index, reason, None);
    }

    /// Queues an exit of VP `index` before which `prepare` changes its registers.
    pub fn push_with(
        &self,
        index: u32,
        reason: ExitReason,
        prepare: impl FnOnce(&mut VpState) + Send + 'static,
    ) {
        self.push_prepared(index, reason, Some(Box::new(prepare)));
    }

    fn push_prepared(&self, index: u32, reason: ExitReason, prepare: Option<Prepare>) {
        let instruction_length = if stands_before_instruction(reason) { 3 } else { 0 };
        let exit = Exit { reason, instruction_length, delivering: None };
        self.lock().scripts.entry(index).or_default().push_back((prepare, exit));
    }

    /// Takes the list of what was done to VP `index` since the last call.
    #[must_use]
    pub fn take_deeds(&self, index: u32) -> Vec<Deed> {
        self.lock().deeds.remove(&index).unwrap_or_default()
    }
}

const fn stands_before_instruction(reason: ExitReason) -> bool {
    !matches!(
        reason,
        ExitReason::Deadline
            | ExitReason::Kicked
            | ExitReason::InterruptWindow
            | ExitReason::NmiWindow
            | ExitReason::SpinWait
            | ExitReason::TripleFault
    )
}

impl Engine for ScriptedEngine {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
    fn cpuid(&self, leaf: u32, _subleaf: u32) -> CpuidResult {
        match leaf {
            0 => CpuidResult { eax: 1, ..Default::default() },
            // x2APIC; PAE, APIC, global pages.
            1 => CpuidResult {
                eax: 0x0006_0000,
                ecx: 1 << 21,
                edx: 1 << 6 | 1 << 9 | 1 << 13,
                ..Default::default()
            },
            _ => CpuidResult::default(),
        }
    }
    fn create_group(&self, _space: &Arc<Space>) -> Result<Box<dyn VpGroup>, EngineError> {
        Ok(Box::new(self.clone()))
    }
}

impl VpGroup for ScriptedEngine {
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
    fn create_vp(&self, index: u32) -> Result<Box<dyn EngineVp>, EngineError> {
        Ok(Box::new(ScriptedVp {
            engine: self.clone(),
            index,
            state: VpState::reset(0),
            unanswered: None,
            kicked: Arc::default(),
        }))
    }
}

#[derive(Default)]
struct Kicked {
    kicked: AtomicBool,
    in_guest: AtomicBool,
}

impl Kick for Kicked {
    fn kick(&self) {
        self.kicked.store(true, Ordering::SeqCst);
    }
    fn is_in_guest(&self) -> bool {
        self.in_guest.load(Ordering::SeqCst)
    }
}

struct ScriptedVp {
    engine: ScriptedEngine,
    index: u32,
    state: VpState,
    unanswered: Option<Exit>,
    kicked: Arc<Kicked>,
}

impl ScriptedVp {
    fn note(&self, deed: Deed) {
        self.engine.lock().deeds.entry(self.index).or_default().push(deed);
    }

    fn play(&mut self, limits: RunLimits) -> Exit {
        // What was to be delivered has been.
        if self.state.events.pending.take().is_some() {
            self.state.events.interrupt_shadow = false;
        }
        let between = |reason| Exit { reason, instruction_length: 0, delivering: None };
        if self.take_kick() {
            return between(ExitReason::Kicked);
        }
        if limits.deadline.is_some_and(|deadline| self.engine.clock.now() >= deadline) {
            return between(ExitReason::Deadline);
        }
        if limits.interrupt_window && self.can_take_interrupt() {
            return between(ExitReason::InterruptWindow);
        }
        if limits.nmi_window && self.can_take_nmi() {
            return between(ExitReason::NmiWindow);
        }
        let step = self.engine.lock().scripts.get_mut(&self.index).and_then(VecDeque::pop_front);
        let (prepare, exit) = step
            .unwrap_or((None, Exit { reason: ExitReason::Halt, instruction_length: 1, delivering: None }));
        if let Some(prepare) = prepare {
            prepare(&mut self.state);
        }
        exit
    }
}

impl EngineVp for ScriptedVp {
    fn run(&mut self, limits: RunLimits) -> Exit {
        assert!(self.unanswered.is_none(), "exit {:?} was not answered", self.unanswered);
        self.kicked.in_guest.store(true, Ordering::SeqCst);
        let exit = self.play(limits);
        self.kicked.in_guest.store(false, Ordering::SeqCst);
        self.unanswered = stands_before_instruction(exit.reason).then_some(exit);
        exit
    }

    fn resume(&mut self, resume: Resume) {
        let exit = self.unanswered.take().expect("an exit to answer");
        match resume {
            Resume::Complete(_) | Resume::Advance => {
                self.state.rip = self.state.rip.wrapping_add(u64::from(exit.instruction_length));
                self.state.events.interrupt_shadow = false;
            }
            Resume::Inject(event) => self.state.events.pending = Some(event),
            Resume::Retry => {}
        }
        self.note(Deed::Resumed(resume));
    }

    fn inject(&mut self, event: Event) {
        self.state.events.pending = Some(event);
        self.note(Deed::Injected(event));
    }

    fn can_take_interrupt(&self) -> bool {
        let events = &self.state.events;
        self.state.rflags & 0x200 != 0 && !events.interrupt_shadow && events.pending.is_none()
    }

    fn can_take_nmi(&self) -> bool {
        let events = &self.state.events;
        !events.nmi_blocked && !events.interrupt_shadow && events.pending.is_none()
    }

    fn is_in_instruction(&self) -> bool {
        self.unanswered.is_some()
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        self.kicked.clone()
    }

    fn take_kick(&mut self) -> bool {
        self.kicked.kicked.swap(false, Ordering::SeqCst)
    }

    fn set_view(&mut self, view: ViewId) {
        self.note(Deed::ViewSet(view));
    }

    fn flush(&mut self, scope: FlushScope<'_>) {
        self.note(Deed::Flushed(format!("{scope:?}")));
    }

    fn instruction_bytes(&mut self) -> ([u8; 15], u8) {
        ([0; 15], 0)
    }

    fn gpr(&self, register: Gpr) -> u64 {
        self.state.gprs[register as usize]
    }
    fn set_gpr(&mut self, register: Gpr, value: u64) {
        self.state.gprs[register as usize] = value;
    }
    fn rip(&self) -> u64 {
        self.state.rip
    }
    fn set_rip(&mut self, value: u64) {
        self.unanswered = None;
        self.state.rip = value;
    }
    fn rflags(&self) -> u64 {
        self.state.rflags
    }
    fn set_rflags(&mut self, value: u64) {
        self.state.rflags = value | 2;
    }
    fn xmm(&self, index: u8) -> u128 {
        let start = 160 + 16 * usize::from(index);
        u128::from_le_bytes(self.state.xsave.0[start..start + 16].try_into().expect("16 bytes"))
    }
    fn set_xmm(&mut self, index: u8, value: u128) {
        let start = 160 + 16 * usize::from(index);
        self.state.xsave.0[start..start + 16].copy_from_slice(&value.to_le_bytes());
    }
    fn cpl(&self) -> u8 {
        self.state.segments[SegmentName::Ss as usize].attributes.dpl()
    }
    fn segment(&self, name: SegmentName) -> Segment {
        self.state.segments[name as usize]
    }
    fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        self.state.segments[name as usize] = segment;
    }
    fn gdtr(&self) -> TableRegister {
        self.state.gdtr
    }
    fn set_gdtr(&mut self, table: TableRegister) {
        self.state.gdtr = table;
    }
    fn idtr(&self) -> TableRegister {
        self.state.idtr
    }
    fn set_idtr(&mut self, table: TableRegister) {
        self.state.idtr = table;
    }
    fn control(&self) -> ControlRegisters {
        self.state.control
    }
    fn set_control(&mut self, control: ControlRegisters) {
        self.state.control = control;
    }
    fn debug(&self) -> DebugRegisters {
        self.state.debug
    }
    fn set_debug(&mut self, debug: DebugRegisters) {
        self.state.debug = debug;
    }
    fn msrs(&self) -> ModelSpecificRegisters {
        self.state.msrs
    }
    fn set_msrs(&mut self, msrs: ModelSpecificRegisters) {
        self.state.msrs = msrs;
    }
    fn instructions(&self) -> u64 {
        0
    }
    fn events(&self) -> EventState {
        self.state.events
    }
    fn set_events(&mut self, events: EventState) {
        self.state.events = events;
    }
    fn set_exception_exits(&mut self, vectors: u32) {
        self.note(Deed::ExceptionExits(vectors));
    }
    fn set_descriptor_table_guard(&mut self, guard: DescriptorTableGuard) {
        self.note(Deed::DescriptorTableGuard(guard));
    }
    fn set_xsave(&mut self, area: &XsaveArea) {
        self.state.xsave = area.clone();
    }
    fn save(&self) -> VpState {
        self.state.clone()
    }
    fn restore(&mut self, state: &VpState) {
        self.unanswered = None;
        self.state = state.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_plays_and_answers_are_noted() {
        let engine = ScriptedEngine::new(1_000_000);
        let group = engine.create_group(&Space::new(40)).unwrap();
        let mut vp = group.create_vp(3).unwrap();
        engine
            .push_with(3, ExitReason::ReadMsr { number: 0x10 }, |state| state.gprs[Gpr::Rcx as usize] = 0x10);
        let rip = vp.rip();
        assert_eq!(vp.run(RunLimits::default()).reason, ExitReason::ReadMsr { number: 0x10 });
        assert_eq!(vp.gpr(Gpr::Rcx), 0x10);
        vp.resume(Resume::Complete(5));
        assert_eq!(vp.rip(), rip + 3);
        assert_eq!(engine.take_deeds(3), [Deed::Resumed(Resume::Complete(5))]);
        assert_eq!(vp.run(RunLimits::default()).reason, ExitReason::Halt);
    }

    #[test]
    fn a_kick_before_a_run_ends_it_at_once() {
        let engine = ScriptedEngine::new(1_000_000);
        let mut vp = engine.create_vp(0).unwrap();
        engine.push(0, ExitReason::TripleFault);
        vp.kicker().kick();
        assert_eq!(vp.run(RunLimits::default()).reason, ExitReason::Kicked);
        assert_eq!(vp.run(RunLimits::default()).reason, ExitReason::TripleFault);
    }

    #[test]
    fn deadlines_and_windows_come_when_due() {
        let engine = ScriptedEngine::new(1_000_000);
        let mut vp = engine.create_vp(0).unwrap();
        let limits = RunLimits { deadline: Some(10), interrupt_window: true, nmi_window: false };
        engine.push_with(0, ExitReason::Halt, |state| state.rflags |= 0x200);
        assert_eq!(vp.run(limits).reason, ExitReason::Halt);
        vp.resume(Resume::Advance);
        assert_eq!(vp.run(limits).reason, ExitReason::InterruptWindow);
        engine.manual_clock().advance(10);
        assert_eq!(vp.run(limits).reason, ExitReason::Deadline);
    }
}

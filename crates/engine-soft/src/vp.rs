// SPDX-License-Identifier: MIT OR Apache-2.0
//! The contract's face of a processor.

use std::sync::Arc;

use engine::{
    ControlRegisters, DebugRegisters, DescriptorTableGuard, EngineVp, Event, EventState, Exit, ExitReason,
    FlushScope, Gpr, Kick, ModelSpecificRegisters, Repeatable, Resume, RunLimits, Segment, SegmentName,
    TableRegister, VpState, XsaveArea,
};
use memory::{Space, ViewId};

use crate::cpu::{Cpu, Generator, NewCpuError, Parts, TimeSource};
use crate::host_execution::{PointerWidth, RestoreForm, SaveForm};
use crate::model::Model;
use crate::shared::{SpaceMembers, VpShared};
use crate::system;

/// What is still to be known of an exit when it is answered.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    completion: Completion,
    /// It stands in the delivery of an event.
    delivering: bool,
}

/// What [`Resume::Complete`] means.
#[derive(Clone, Copy, Debug)]
enum Completion {
    /// RDMSR: the value goes to EDX:EAX, and that is all.
    ReadMsr,
    /// WRMSR: that was all.
    WriteMsr,
    /// One access is done of an instruction that may have others; it is executed again.
    Access(ExitReason),
    /// Nothing: there is no access.
    Nothing,
}

impl Unanswered {
    /// `None` if the exit stands between two instructions.
    fn new(exit: &Exit) -> Option<Self> {
        let completion = match exit.reason {
            ExitReason::Deadline
            | ExitReason::Kicked
            | ExitReason::InterruptWindow
            | ExitReason::NmiWindow
            | ExitReason::SpinWait
            | ExitReason::TripleFault => return None,
            ExitReason::ReadMsr { .. } => Completion::ReadMsr,
            ExitReason::WriteMsr { .. } => Completion::WriteMsr,
            ExitReason::Halt
            | ExitReason::Cpuid { .. }
            | ExitReason::Hypercall(_)
            | ExitReason::Exception { .. }
            | ExitReason::Unsupported(_) => Completion::Nothing,
            ExitReason::Port(_)
            | ExitReason::Memory(_)
            | ExitReason::ReadTaskPriority
            | ExitReason::WriteTaskPriority(_) => Completion::Access(exit.reason),
        };
        Some(Self { completion, delivering: exit.delivering.is_some() })
    }
}

/// A virtual processor.
pub(crate) struct SoftVp {
    cpu: Box<Cpu>,
    shared: Arc<VpShared>,
    /// The exit that has to be answered before the next run.
    unanswered: Option<Unanswered>,
    /// The last answer amounted to a triple fault, which the next run tells.
    triple_fault: bool,
    /// Bytes of the XSAVE area in [`VpState`].
    xsave_bytes: usize,
    /// Keeps the space's observer alive.
    _members: Arc<SpaceMembers>,
}

impl SoftVp {
    pub(crate) fn new(
        space: &Arc<Space>,
        time: TimeSource,
        parts: Parts,
        model: &Model,
        members: Arc<SpaceMembers>,
    ) -> Result<Self, NewCpuError> {
        let shared = Arc::clone(&parts.shared);
        let state = VpState::reset(model.signature());
        let cpu = Cpu::new(Arc::clone(space), time, parts, &state)?;
        let xsave_bytes = model.xsave_bytes();
        let mut vp = Self {
            cpu: Box::new(cpu),
            shared,
            unanswered: None,
            triple_fault: false,
            xsave_bytes,
            _members: members,
        };
        vp.set_xsave(&state.xsave);
        Ok(vp)
    }

    fn xsave(&self) -> XsaveArea {
        let mut area = XsaveArea::initial(self.xsave_bytes);
        let vector = &self.cpu.frame.vector;
        // Registers keep their values while XCR0 has them disabled.
        let components = self.cpu.components.into_bits();
        let written = vector.xsave(
            SaveForm::Xsave,
            components,
            PointerWidth::Offset64,
            true,
            0,
            |offset, bytes| -> Result<(), std::convert::Infallible> {
                if let Some(place) = area.0.get_mut(offset..offset + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
                Ok(())
            },
        );
        let Ok(()) = written;
        area
    }

    fn set_xsave(&mut self, area: &XsaveArea) {
        let vector = &mut self.cpu.frame.vector;
        // MXCSR is there even if no component is marked as in use.
        let mxcsr =
            area.0.get(24..28).map_or(0x1F80, |bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes")));
        let components = self.cpu.components.into_bits();
        let outcome = vector.xrstor(
            RestoreForm::Xrstor,
            components,
            components,
            PointerWidth::Offset64,
            true,
            |offset, bytes| -> Result<(), std::convert::Infallible> {
                bytes.fill(0);
                let have = area.0.len().saturating_sub(offset).min(bytes.len());
                bytes[..have].copy_from_slice(&area.0[offset..offset + have]);
                if offset <= 24 && offset + bytes.len() >= 28 {
                    let masked = mxcsr & 0xFFFF;
                    bytes[24 - offset..28 - offset].copy_from_slice(&masked.to_le_bytes());
                }
                Ok(())
            },
        );
        // A header that XRSTOR would refuse leaves the initial state.
        if outcome.is_err() {
            *vector = crate::host_execution::VectorState::initial();
        }
        let fcw = area.0.get(..2).map_or(0x40, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        let in_use = area.0.get(512).is_some_and(|&byte| byte & 1 != 0);
        if !in_use {
            vector.set_x87_words(fcw, 0, 0);
        }
    }
}

impl SoftVp {
    /// Goes on behind the instruction that the exit stands before.
    fn advance(&mut self) {
        self.cpu.forget_completed();
        self.cpu.budget -= 1;
        self.cpu.time.pass(self.cpu.instructions());
        let stepped = self.cpu.must_step().then(|| self.cpu.rflags());
        self.cpu.rip = self.cpu.next_rip;
        self.cpu.events.interrupt_shadow = false;
        if let Some(before) = stepped
            && let Some(raised) = system::after_step(&mut self.cpu, before)
        {
            self.cpu.raise(raised);
        }
    }
}

impl EngineVp for SoftVp {
    fn run(&mut self, limits: RunLimits) -> Exit {
        assert!(self.unanswered.is_none(), "exit {:?} was not answered", self.unanswered);
        let exit = if std::mem::take(&mut self.triple_fault) {
            Exit { reason: ExitReason::TripleFault, instruction_length: 0, delivering: None }
        } else {
            self.cpu.run(limits)
        };
        self.unanswered = Unanswered::new(&exit);
        exit
    }

    fn resume(&mut self, resume: Resume) {
        let exit = self.unanswered.take().expect("an exit to answer");
        match resume {
            Resume::Complete(value) => match exit.completion {
                Completion::ReadMsr => {
                    system::set_edx_eax(&mut self.cpu, value);
                    self.advance();
                }
                Completion::WriteMsr => self.advance(),
                Completion::Access(reason) => self.cpu.complete(reason, value),
                Completion::Nothing => {}
            },
            Resume::Retry => {}
            Resume::Advance if exit.delivering => {
                self.cpu.forget_completed();
                self.cpu.events.pending = None;
            }
            Resume::Advance => self.advance(),
            Resume::Inject(event) => {
                self.cpu.forget_completed();
                // In place of an event whose delivery needed the access, the two combine as on a processor.
                self.cpu.just_raised = false;
                let delivering = self.cpu.events.pending.take();
                match delivering.map_or(Some(event), |first| system::injected_during(first, event)) {
                    Some(event) => self.cpu.events.pending = Some(event),
                    None => self.triple_fault = true,
                }
            }
        }
    }

    fn inject(&mut self, event: Event) {
        self.cpu.forget_completed();
        self.cpu.just_raised = false;
        self.cpu.events.pending = Some(event);
    }

    fn can_take_interrupt(&self) -> bool {
        self.cpu.can_take_interrupt()
    }

    fn can_take_nmi(&self) -> bool {
        self.cpu.can_take_nmi()
    }

    fn is_in_instruction(&self) -> bool {
        self.unanswered.is_some() || self.cpu.has_completed()
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        self.shared.clone()
    }

    fn take_kick(&mut self) -> bool {
        self.shared.take_kick()
    }

    fn set_view(&mut self, view: ViewId) {
        self.cpu.set_view(view);
    }

    fn flush(&mut self, scope: FlushScope<'_>) {
        match scope {
            FlushScope::Pages(ranges) if ranges.iter().map(|range| range.1).sum::<u64>() <= 64 => {
                for &(first, pages) in ranges {
                    (0..pages).for_each(|page| self.cpu.flush_page(first.wrapping_add(page << 12)));
                }
            }
            _ => self.cpu.flush_all(),
        }
    }

    fn instructions(&self) -> u64 {
        self.cpu.instructions()
    }

    fn instruction_bytes(&mut self) -> ([u8; 15], u8) {
        self.cpu.bytes_at_rip()
    }

    fn gpr(&self, register: Gpr) -> u64 {
        self.cpu.gpr(register)
    }
    fn set_gpr(&mut self, register: Gpr, value: u64) {
        self.cpu.set_gpr(register, value);
    }
    fn rip(&self) -> u64 {
        self.cpu.rip
    }
    fn set_rip(&mut self, value: u64) {
        self.unanswered = None;
        self.cpu.forget_completed();
        self.cpu.rip = value;
    }
    fn rflags(&self) -> u64 {
        self.cpu.rflags()
    }
    fn set_rflags(&mut self, value: u64) {
        self.cpu.set_rflags(value);
    }
    fn xmm(&self, index: u8) -> u128 {
        self.cpu.frame.vector.xmm(index.into())
    }
    fn set_xmm(&mut self, index: u8, value: u128) {
        self.cpu.frame.vector.set_xmm(index.into(), value);
    }
    fn cpl(&self) -> u8 {
        self.cpu.cpl()
    }
    fn segment(&self, name: SegmentName) -> Segment {
        self.cpu.segment(name)
    }
    fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        self.cpu.set_segment_raw(name, segment);
    }
    fn gdtr(&self) -> TableRegister {
        self.cpu.gdtr
    }
    fn set_gdtr(&mut self, table: TableRegister) {
        self.cpu.gdtr = table;
    }
    fn idtr(&self) -> TableRegister {
        self.cpu.idtr
    }
    fn set_idtr(&mut self, table: TableRegister) {
        self.cpu.idtr = table;
    }
    fn control(&self) -> ControlRegisters {
        self.cpu.control()
    }
    fn set_control(&mut self, control: ControlRegisters) {
        self.cpu.set_control(control);
        self.cpu.reload_pdptes();
    }
    fn debug(&self) -> DebugRegisters {
        self.cpu.debug()
    }
    fn set_debug(&mut self, debug: DebugRegisters) {
        self.cpu.set_debug(debug);
    }
    fn msrs(&self) -> ModelSpecificRegisters {
        self.cpu.msrs
    }
    fn set_msrs(&mut self, msrs: ModelSpecificRegisters) {
        self.cpu.msrs = msrs;
    }
    fn events(&self) -> EventState {
        self.cpu.events
    }
    fn set_events(&mut self, events: EventState) {
        self.cpu.just_raised = false;
        self.cpu.events = events;
    }

    fn set_exception_exits(&mut self, vectors: u32) {
        self.cpu.exception_exits = vectors;
    }
    fn set_descriptor_table_guard(&mut self, guard: DescriptorTableGuard) {
        self.cpu.descriptor_table_guard = guard;
    }
    fn set_xsave(&mut self, area: &XsaveArea) {
        Self::set_xsave(self, area);
    }

    fn save(&self) -> VpState {
        let cpu = &self.cpu;
        VpState {
            gprs: cpu.frame.gprs,
            rip: cpu.rip,
            rflags: cpu.rflags(),
            segments: cpu.segments(),
            gdtr: cpu.gdtr,
            idtr: cpu.idtr,
            control: cpu.control(),
            debug: cpu.debug(),
            msrs: cpu.msrs,
            events: cpu.events,
            xsave: self.xsave(),
            repeatable: cpu.time.random().map(|random| Repeatable {
                instructions: cpu.instructions(),
                random,
                pauses: cpu.pauses,
            }),
        }
    }

    fn restore(&mut self, state: &VpState) {
        self.unanswered = None;
        self.cpu.load(state);
        self.cpu.reload_pdptes();
        self.set_xsave(&state.xsave);
        if let Some(kept) = state.repeatable {
            self.cpu.granted = self.cpu.budget + kept.instructions as i64;
            self.cpu.pauses = kept.pauses;
            self.cpu.time.resume(kept.instructions, Generator::at(kept.random));
        }
    }
}

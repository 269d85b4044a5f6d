// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtual processor. Its state is of three kinds:
//!
//! * [`Vp`] is what belongs to whoever may run it: registers, which the engine keeps, and what else only its own instructions reach. The value *is* the
//!   run token: there is one, and it moves from thread to thread as any value does.
//! * [`VpShared`] is what everyone may reach, through [`Partition::vp`]: the [state](state) behind the VP's small lock.
//! * Requests, such as to flush translations, are left in the shared state, with a kick; the VP serves them before it runs guest code again.

mod events;
mod exit;
mod run;
mod saved;
mod shared;
pub(crate) mod start;
pub(crate) mod state;

use std::sync::Arc;

use engine::{DescriptorTableGuard, EngineVp, Resume, RunLimits};
use tlfs::msr::NpiepConfig;
use tlfs::register::InterceptSuspendRegister;
use tlfs::vsm::Vtl;

use crate::calls::Condition;
use crate::enlightenment::Enlightenment;
use crate::msr::processor::ProcessorMsrs;
use crate::overlay::Overlay;
use crate::partition::Partition;
use crate::register::request::Deferred;
use crate::trace::{PhaseStatistics, Statistics, TraceEvent, Tracer, Tracing};
use state::{RunState, VTL_COUNT};

pub use exit::VpExit;
pub use shared::{StatisticsReply, VpShared, Waker};

/// Where the overlay pages of one VTL of a VP lie.
#[derive(Debug)]
pub(crate) struct VpOverlays {
    pub(crate) message: Overlay,
    pub(crate) event_flags: Overlay,
    pub(crate) assist: Overlay,
}

/// A virtual processor, as whoever may run it holds it.
pub struct Vp {
    pub(crate) partition: Arc<Partition>,
    pub(crate) index: u32,
    pub(crate) engine: Box<dyn EngineVp>,
    pub(crate) active_vtl: Vtl,
    pub(crate) overlays: [VpOverlays; VTL_COUNT],
    pub(crate) processor_msrs: ProcessorMsrs,
    /// Guest-physical address of the local APIC's page, while it has one.
    apic_page: Option<u64>,
    /// NPIEP_CONFIG (TLFS 8.12).
    pub(crate) npiep: NpiepConfig,
    /// Exceptions that raise exits.
    exception_exits: u32,
    /// Registers were set by name since the VP last ran.
    pub(crate) registers_set: bool,
    /// What a hypercall waits for, which will be made again.
    pub(crate) waiting: Option<Condition>,
    /// The hypercall that is made again, until it is over, finds an open bus where its parameters cannot be accessed.
    pub(crate) open_bus: bool,
    /// Registers that a hypercall sets when it is over.
    pub(crate) deferred: Deferred,
    /// Shared state is to be looked at before guest code runs on.
    look: bool,
    /// The host's deadline of this run.
    until: Option<u64>,
    /// What holds while nobody wants attention.
    limits: RunLimits,
    tracer: Option<Box<Tracer>>,
}

impl Vp {
    pub(crate) fn new(
        partition: Arc<Partition>,
        index: u32,
        engine: Box<dyn EngineVp>,
        overlays: [VpOverlays; VTL_COUNT],
        tracing: &Tracing,
    ) -> Self {
        let apic_page = partition.vp(index).state().vtl(Vtl::VTL0).apic.page();
        let processor_msrs = new_processor_msrs(&partition);
        Self {
            partition,
            index,
            engine,
            active_vtl: Vtl::VTL0,
            overlays,
            processor_msrs,
            apic_page,
            npiep: NpiepConfig::new(),
            exception_exits: 0,
            registers_set: false,
            waiting: None,
            open_bus: false,
            deferred: Deferred::new(),
            look: true,
            until: None,
            limits: RunLimits::default(),
            tracer: Tracer::new(tracing),
        }
    }

    /// VP index (TLFS 7.8.1).
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The partition it belongs to.
    #[must_use]
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Its registers. What they are set to takes effect with the next run.
    pub fn registers(&mut self) -> &mut dyn EngineVp {
        self.look = true;
        &mut *self.engine
    }

    /// Completes the port or memory access that [`Vp::run`] ended with; `value` is what was read, zero-extended, and is ignored for a write.
    pub fn complete(&mut self, value: u64) {
        self.engine.resume(Resume::Complete(value));
    }

    /// Has the instruction that [`Vp::run`] ended with executed again from the start, because what was wrong has changed.
    pub fn retry(&mut self) {
        self.engine.resume(Resume::Retry);
    }

    /// Has the hypercall that [`Vp::run`] ended with ([`VpExit::Parameter`]) made although its parameters lie where nothing can be accessed, as a machine's bus answers where
    /// no device does: it reads ones there, and what it writes is lost.
    pub fn call_on_open_bus(&mut self) {
        self.open_bus = true;
        self.retry();
    }

    /// Programs the local APIC as firmware does before it hands over: enabled in software, LINT0 as ExtINT, LINT1 as NMI.
    pub fn set_up_local_apic_as_firmware_does(&mut self) {
        self.shared().state().vtl(Vtl::VTL0).apic.set_up_as_firmware_does();
    }

    /// Whether an instruction has begun and not ended ([`EngineVp::is_in_instruction`]).
    #[must_use]
    pub fn is_in_instruction(&self) -> bool {
        self.engine.is_in_instruction()
    }

    /// Guest instructions that have retired ([`EngineVp::instructions`]).
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.engine.instructions()
    }

    /// What has happened on this VP, if the partition was made to count.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        let parts = self.statistics_by_phase();
        let mut sum = Statistics::default();
        parts.iter().for_each(|part| sum.add(&part.statistics));
        (!parts.is_empty()).then_some(sum)
    }

    /// The same, in parts: one for each phase ([`Partition::begin_phase`]) and VTL. Nothing if the partition was not made to count.
    #[must_use]
    pub fn statistics_by_phase(&self) -> Vec<PhaseStatistics> {
        let instructions = self.engine.instructions();
        let Some(tracer) = &self.tracer else { return Vec::new() };
        let counts = self.partition.vp(self.index).state().vtl(Vtl::VTL0).counts();
        tracer.statistics(instructions, &self.partition.phases.of(self.index as usize, counts))
    }

    /// Takes the VP back to what it is at creation, registers included. For a system reset, when no VP runs.
    pub fn reset(&mut self) {
        let (space, view) = (Arc::clone(self.partition.space()), crate::partition::view_of(self.active_vtl));
        for overlays in &mut self.overlays {
            for overlay in [&mut overlays.message, &mut overlays.event_flags, &mut overlays.assist] {
                overlay.place(&space, view, None);
            }
        }
        let signature = self.partition.processor().signature();
        self.engine.restore(&engine::VpState::reset(signature));
        self.processor_msrs = new_processor_msrs(&self.partition);
        self.npiep = NpiepConfig::new();
        self.engine.set_descriptor_table_guard(DescriptorTableGuard::default());
        self.waiting = None;
        self.open_bus = false;
        self.deferred.clear();
        // Not with the rest of the shared state: others may wait for it.
        self.partition.set_intercept_suspend(self.index, InterceptSuspendRegister::new());
        let run_state = if self.index == 0 { RunState::Running } else { RunState::WaitForStartUp };
        let apic_page = self.shared().state().reset(run_state, self.partition.reference_time());
        self.apic_page = apic_page;
        self.look = true;
    }

    pub(crate) fn shared(&self) -> &VpShared {
        self.partition.vp(self.index)
    }

    /// Has shared state looked at before guest code runs on: something changed that decides what is delivered, or when.
    pub(crate) fn look_again(&mut self) {
        self.look = true;
    }

    /// After IA32_APIC_BASE was written.
    pub(crate) fn set_apic_page(&mut self, page: Option<u64>) {
        self.apic_page = page;
    }

    /// Clock ticks that the VP has consumed.
    pub(crate) fn consumed(&self) -> u64 {
        self.shared().consumed(self.partition.clock().now())
    }

    /// The trace point.
    #[inline]
    pub(crate) fn trace(&mut self, event: TraceEvent) {
        if self.tracer.is_some() {
            self.trace_wanted(event);
        }
    }

    #[inline(never)]
    fn trace_wanted(&mut self, event: TraceEvent) {
        if let Some(tracer) = &mut self.tracer {
            let phase = self.partition.phases.current();
            if phase != tracer.phase() {
                tracer.begin_phase(phase, self.engine.instructions());
            }
            tracer.count(self.active_vtl, event);
            if let Some(sink) = tracer.sink() {
                sink.record(self.partition.clock().now(), self.index, self.active_vtl, event);
            }
        }
    }

    /// The host's time, for what calls cost; 0 if nobody wants to know.
    #[inline]
    pub(crate) fn host_time(&self) -> u64 {
        self.tracer.as_ref().map_or(0, |tracer| tracer.host_time())
    }
}

fn new_processor_msrs(partition: &Partition) -> ProcessorMsrs {
    ProcessorMsrs::new(partition.offer().enlightenments.contains(Enlightenment::SyntheticMachineCheck))
}

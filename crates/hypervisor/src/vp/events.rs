// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens between two stretches of guest code: requests of others, INIT and start-up, timers, interrupts, and sleep.

use std::sync::Arc;

use engine::{Event, RunLimits, VpState as Registers, XsaveArea};

use super::state::{RunState, TimerExpirations};
use super::{Vp, VpExit};
use crate::local_apic::PendingInterrupt;
use crate::register::request::Request;
use crate::trace::TraceEvent;

/// What follows from a look at the shared state.
pub(super) enum Readiness {
    /// Guest code may run within `Vp::limits`.
    Enter,
    /// Something changed meanwhile.
    LookAgain,
    /// The run is over.
    Leave(VpExit),
}

/// What a look decided while it held the lock.
struct Decision {
    limits: RunLimits,
    delivered: Delivered,
    expirations: TimerExpirations,
    /// Nothing can run; the deadline in `limits` is when to wake up.
    sleep: bool,
}

enum Delivered {
    Nothing,
    Nmi,
    MachineCheck,
    /// A machine check that the VP is not ready for.
    Shutdown,
    Vector(u8),
    /// The vector is still to be asked of the PIC.
    External,
    /// The external interrupt that the parent asserts.
    Asserted(u8),
    /// Nothing to the guest: others want something of the VP.
    Requests(Vec<Arc<Request>>),
}

impl Vp {
    /// HLT: the VP waits until an event can be delivered.
    pub(super) fn halt(&mut self) {
        self.wait(RunState::Halted);
    }

    /// HV_X64_MSR_GUEST_IDLE: the VP waits until an interrupt arrives, whether or not it can be delivered (TLFS 7.5).
    pub(crate) fn guest_idle(&mut self) {
        self.wait(RunState::GuestIdle);
    }

    fn wait(&mut self, run_state: RunState) {
        self.shared().state().set_run_state(run_state, self.partition.reference_time());
        self.look = true;
    }

    /// Looks at the shared state: serves requests, lets time pass, delivers what can be delivered, and decides how guest code may run.
    pub(super) fn get_ready(&mut self) -> Readiness {
        // A run that is over begins the next one with another look.
        self.look = true;
        if self.shared().take_stop() {
            return Readiness::Leave(VpExit::Stopped);
        }
        if let Some(asker) = self.shared().take_asker() {
            // Who has gone need not know.
            let _ = asker.send((self.index, self.statistics_by_phase()));
        }
        let now = self.partition.clock().now();
        if self.until.is_some_and(|until| now >= until) {
            return Readiness::Leave(VpExit::Deadline);
        }
        self.partition.inspect_monitors(now);
        let waits = self.waits();
        let decision = self.decide(now, waits);
        self.trace_expirations(decision.expirations);
        match decision.delivered {
            Delivered::Nothing => {}
            Delivered::Requests(requests) => {
                self.serve_requests(requests);
                return Readiness::LookAgain;
            }
            Delivered::Nmi => self.trace(TraceEvent::Nmi),
            Delivered::MachineCheck => self.trace(TraceEvent::MachineCheck),
            Delivered::Shutdown => return Readiness::Leave(VpExit::TripleFault),
            Delivered::Vector(vector) => {
                self.trace(TraceEvent::Interrupt(vector));
                if let Some(controller) = self.partition.interrupt_controller() {
                    controller.accepted(vector);
                }
            }
            Delivered::Asserted(vector) => self.trace(TraceEvent::ExternalInterrupt(vector)),
            Delivered::External => {
                self.acknowledge_external();
                // The PIC may have another one, and what was decided is out of date.
                return Readiness::LookAgain;
            }
        }
        self.limits = decision.limits;
        let monitors = &self.partition.monitors();
        // Whoever sleeps pulls no trigger: it wakes only for one that it has pulled before.
        let watches = !decision.sleep || self.partition.inspect_monitors_before_sleep(now);
        let monitors_due = if watches { monitors.due() } else { None };
        self.limits.deadline = [self.limits.deadline, self.until, monitors_due].into_iter().flatten().min();
        if !decision.sleep {
            if std::mem::take(&mut self.registers_set) && !self.registers_agree() {
                return self.refuse_registers();
            }
            let exceptions = self.partition.intercepts().exceptions();
            if std::mem::replace(&mut self.exception_exits, exceptions) != exceptions {
                self.engine.set_exception_exits(exceptions);
            }
            self.look = false;
            return Readiness::Enter;
        }
        if self.partition.vp(self.index).fall_asleep(&mut *self.engine) {
            Readiness::Leave(VpExit::Idle { until: self.limits.deadline })
        } else {
            Readiness::LookAgain
        }
    }

    /// The VP was to run with registers that do not go together (TLFS 7.3): its parent hears of it, or its host.
    fn refuse_registers(&mut self) -> Readiness {
        // They are looked at again when it is to run again.
        self.registers_set = true;
        let message = self.invalid_register_message();
        if self.suspend_for(&message) {
            return Readiness::LookAgain;
        }
        Readiness::Leave(VpExit::InvalidRegisters)
    }

    fn trace_expirations(&mut self, expirations: TimerExpirations) {
        if expirations.direct != 0 {
            self.trace(TraceEvent::DirectTimers(expirations.direct));
        }
        if expirations.message != 0 {
            self.trace(TraceEvent::TimerMessages(expirations.message));
        }
    }

    /// The part of a look that needs the VP's lock.
    fn decide(&mut self, now: u64, waits: bool) -> Decision {
        let vtl_index = self.active_vtl;
        let partition = &*self.partition;
        let reference = partition.reference_time();
        let mut state = partition.vp(self.index).state();
        if !state.flush.is_empty() {
            state.flush.carry_out(&mut *self.engine);
        }
        if !state.requests.is_empty() {
            let (limits, expirations) = (RunLimits::default(), TimerExpirations::default());
            let delivered = Delivered::Requests(std::mem::take(&mut state.requests));
            return Decision { limits, delivered, expirations, sleep: false };
        }
        if state.is_stopped() || waits {
            // Whatever arrives waits, timers too.
            let (limits, expirations) = (RunLimits::default(), TimerExpirations::default());
            return Decision { limits, delivered: Delivered::Nothing, expirations, sleep: true };
        }
        if std::mem::take(&mut state.init) {
            let signature = partition.processor().signature();
            let registers = after_init(&self.engine.save(), signature);
            self.engine.restore(&registers);
            let run_state = if self.index == 0 { RunState::Running } else { RunState::WaitForStartUp };
            self.apic_page = state.init(vtl_index, run_state, reference);
            // Whatever the VP waited for belongs to an instruction that it does not go on with.
            (self.waiting, self.open_bus) = (None, false);
        }
        if let Some(start_up) = state.start_up.take()
            && state.run_state() == RunState::WaitForStartUp
        {
            start_up.apply(&mut *self.engine);
            state.set_run_state(RunState::Running, reference);
        }
        let tsc_offset = self.engine.msrs().tsc_offset;
        let expirations = state.advance(vtl_index, now, tsc_offset, reference);
        let mut limits = RunLimits::default();
        let mut delivered = Delivered::Nothing;
        if state.run_state() == RunState::WaitForStartUp {
            return Decision { limits, delivered, expirations, sleep: true };
        }

        let idle = state.run_state() == RunState::GuestIdle;
        let mut wakes = false;
        if let Some(check) = state.machine_check {
            wakes = true;
            if self.engine.events().pending.is_none() && !self.engine.is_in_instruction() {
                state.machine_check = None;
                if self.processor_msrs.report_machine_check(check, self.engine.control().cr4) {
                    self.engine.inject(Event::MACHINE_CHECK);
                    delivered = Delivered::MachineCheck;
                } else {
                    // Nothing is delivered any more.
                    return Decision { limits, delivered: Delivered::Shutdown, expirations, sleep: false };
                }
            } else {
                // Until then what is under way is over; there is no window of its own for this.
                limits.nmi_window = true;
            }
        }
        if state.nmi {
            wakes = true;
            if self.engine.can_take_nmi() {
                state.nmi = false;
                self.engine.inject(Event::Nmi);
                delivered = Delivered::Nmi;
            } else {
                limits.nmi_window = true;
                wakes |= idle;
            }
        }
        let vtl = state.vtl(vtl_index);
        if let Some(pending) = vtl.pending() {
            if self.engine.can_take_interrupt() {
                match pending {
                    PendingInterrupt::External => delivered = Delivered::External,
                    PendingInterrupt::Asserted(vector) => {
                        vtl.assertions.external_acknowledged();
                        self.engine.inject(Event::Interrupt(vector));
                        delivered = Delivered::Asserted(vector);
                        limits.interrupt_window = vtl.pending().is_some();
                    }
                    PendingInterrupt::Vector(_) => {
                        if let Some(acknowledged) = vtl.acknowledge() {
                            self.engine.inject(Event::Interrupt(acknowledged.vector));
                            delivered = Delivered::Vector(acknowledged.vector);
                        }
                        limits.interrupt_window = vtl.pending().is_some();
                    }
                }
                wakes = true;
            } else {
                limits.interrupt_window = true;
            }
        }
        // Whoever is idle wants to know of every interrupt, also of one that has to wait for the end of another.
        wakes |= idle && vtl.is_requested();
        if wakes {
            state.set_run_state(RunState::Running, reference);
        }
        limits.deadline = state.vtl(vtl_index).deadline(tsc_offset);
        Decision { limits, delivered, expirations, sleep: !state.executes() }
    }

    /// The acknowledge cycle with the PIC, for an interrupt that can be delivered now.
    fn acknowledge_external(&mut self) {
        let Some(controller) = self.partition.interrupt_controller() else {
            // Nobody is there to say which vector it is, so there is no interrupt.
            self.shared().state().vtl(self.active_vtl).apic.set_lint0(false);
            return;
        };
        let vector = controller.acknowledge();
        self.engine.inject(Event::Interrupt(vector));
        self.trace(TraceEvent::ExternalInterrupt(vector));
    }
}

/// Registers after INIT (SDM 3A table 9-1): those of a reset, except for what INIT leaves alone: FPU and vector state, caching, and the MSRs other
/// than EFER.
fn after_init(before: &Registers, signature: u32) -> Registers {
    const CACHING: u64 = 0x6000_0000;
    let mut after = Registers::reset(signature);
    after.control.cr0 = after.control.cr0 & !CACHING | before.control.cr0 & CACHING;
    after.control.xcr0 = before.control.xcr0;
    after.msrs = before.msrs;
    after.xsave = XsaveArea(before.xsave.0.clone());
    after
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The run loop: into guest code, out with an exit, and to whoever serves it.

use engine::{CpuidResult, Event, Exit, ExitReason, MemoryAccess, MemoryAccessKind, MemoryExitCause, Resume};
use memory::{PAGE_SHIFT, PAGE_SIZE};

use super::events::Readiness;
use super::{Vp, VpExit};
use crate::local_apic::Effect;
use crate::machine_check::MachineCheck;
use crate::processor::CpuidContext;
use crate::trace::{ExitKind, TraceEvent};

impl Vp {
    /// Runs the VP until something happens that is the host's, at the latest until tick `until` of the partition's clock.
    ///
    /// # Panics
    /// If a port or memory access that an earlier run ended with was not answered.
    pub fn run(&mut self, until: Option<u64>) -> VpExit {
        self.shared().begin_run(self.partition.clock().now());
        self.shared().wake_up();
        self.partition.is_awake(self.index);
        if self.until != until {
            self.until = until;
            self.look = true;
        }
        let exit = self.run_until();
        self.shared().end_run(self.partition.clock().now());
        exit
    }

    fn run_until(&mut self) -> VpExit {
        loop {
            if self.engine.take_kick() {
                self.look = true;
            }
            if self.look {
                match self.get_ready() {
                    Readiness::Enter => {}
                    Readiness::LookAgain => continue,
                    Readiness::Leave(exit) => return exit,
                }
            }
            let exit = self.engine.run(self.limits);
            if let Some(exit) = self.serve(exit) {
                return exit;
            }
        }
    }

    /// Serves an exit, or leaves it to the host.
    fn serve(&mut self, exit: Exit) -> Option<VpExit> {
        if self.meets_intercept(&exit) {
            self.trace(TraceEvent::Exit(ExitKind::Other));
            return None;
        }
        match exit.reason {
            ExitReason::ReadMsr { number } => {
                self.trace(TraceEvent::Exit(ExitKind::Msr));
                self.read_msr(number)
            }
            ExitReason::WriteMsr { number, value } => {
                self.trace(TraceEvent::Exit(ExitKind::Msr));
                self.write_msr(number, value)
            }
            ExitReason::Hypercall(_) => {
                self.trace(TraceEvent::Exit(ExitKind::Hypercall));
                self.hypercall()
            }
            ExitReason::Memory(access) => self.serve_memory(access),
            ExitReason::Port(access) => {
                self.trace(TraceEvent::Exit(ExitKind::Port));
                Some(VpExit::Port(access))
            }
            ExitReason::Halt => {
                self.trace(TraceEvent::Exit(ExitKind::Halt));
                self.engine.resume(Resume::Advance);
                self.halt();
                None
            }
            ExitReason::Deadline => {
                self.trace(TraceEvent::Exit(ExitKind::Deadline));
                self.look = true;
                None
            }
            ExitReason::Kicked => {
                self.trace(TraceEvent::Exit(ExitKind::Kicked));
                self.look = true;
                None
            }
            ExitReason::InterruptWindow | ExitReason::NmiWindow => {
                self.trace(TraceEvent::Exit(ExitKind::Window));
                self.look = true;
                None
            }
            ExitReason::SpinWait => {
                self.trace(TraceEvent::Exit(ExitKind::SpinWait));
                Some(VpExit::SpinWait)
            }
            ExitReason::Cpuid { leaf, subleaf } => {
                self.trace(TraceEvent::Exit(ExitKind::Cpuid));
                self.trace(TraceEvent::Cpuid(leaf));
                self.cpuid(leaf, subleaf);
                None
            }
            ExitReason::ReadTaskPriority => {
                self.trace(TraceEvent::Exit(ExitKind::TaskPriority));
                let vtl = self.active_vtl;
                let value = self.shared().state().vtl(vtl).apic.cr8();
                self.engine.resume(Resume::Complete(value.into()));
                None
            }
            ExitReason::WriteTaskPriority(value) => {
                self.trace(TraceEvent::Exit(ExitKind::TaskPriority));
                let vtl = self.active_vtl;
                self.shared().state().vtl(vtl).apic.set_cr8(value);
                self.look = true;
                self.engine.resume(Resume::Complete(0));
                None
            }
            // No exception was chosen: whatever the engine shows is the guest's.
            ExitReason::Exception { vector, error_code, parameter } => {
                self.trace(TraceEvent::Exit(ExitKind::Other));
                self.engine.resume(Resume::Inject(Event::Exception { vector, error_code, parameter }));
                None
            }
            ExitReason::TripleFault => {
                self.trace(TraceEvent::Exit(ExitKind::Other));
                Some(VpExit::TripleFault)
            }
            ExitReason::Unsupported(what) => {
                self.trace(TraceEvent::Exit(ExitKind::Other));
                Some(VpExit::Unsupported(what))
            }
        }
    }

    /// Answers an exit with an event in place of the instruction.
    pub(crate) fn fault(&mut self, event: Event) {
        self.engine.resume(Resume::Inject(event));
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) {
        use engine::Gpr;
        let result = self.cpuid_result(leaf, subleaf);
        self.engine.set_gpr(Gpr::Rax, result.eax.into());
        self.engine.set_gpr(Gpr::Rbx, result.ebx.into());
        self.engine.set_gpr(Gpr::Rcx, result.ecx.into());
        self.engine.set_gpr(Gpr::Rdx, result.edx.into());
        self.engine.resume(Resume::Advance);
    }

    /// What CPUID gives this VP now.
    pub(crate) fn cpuid_result(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        let control = self.engine.control();
        let vtl = self.active_vtl;
        let context = CpuidContext {
            index: self.index,
            cr4: control.cr4,
            xcr0: control.xcr0,
            xss: self.engine.msrs().xss,
            apic_enabled: self.shared().state().vtl(vtl).apic.base() >> 11 & 1 != 0,
            guest_os_id_set: self.partition.vtl(vtl).hypercall_page.guest_os_id() != 0,
        };
        self.partition.processor().cpuid(self.partition.offer(), context, leaf, subleaf)
    }

    fn serve_memory(&mut self, access: MemoryAccess) -> Option<VpExit> {
        if self.apic_page.is_some_and(|page| page == access.gpa & !(PAGE_SIZE - 1)) {
            self.trace(TraceEvent::Exit(ExitKind::LocalApic));
            self.local_apic_page(access);
            return None;
        }
        self.trace(TraceEvent::Exit(ExitKind::Memory));
        if matches!(access.cause, MemoryExitCause::Rights(_))
            && self.partition.is_overlay(self.active_vtl, access.gpa >> PAGE_SHIFT)
        {
            return self.overlay_violation(access);
        }
        self.memory_intercept(access, VpExit::Memory(access))
    }

    /// An access to the register page of the local APIC (TLFS 10.2.1). Reads of up to four bytes inside a register, and writes of a whole
    /// one, work; what remains is #GP.
    fn local_apic_page(&mut self, access: MemoryAccess) {
        let offset = (access.gpa % PAGE_SIZE) as u16;
        let (vtl, now) = (self.active_vtl, self.partition.clock().now());
        let inside = u64::from(access.size) + access.gpa % 4 <= 4;
        match access.kind {
            MemoryAccessKind::Read if inside => {
                let mut state = self.shared().state();
                let vtl = state.vtl(vtl);
                vtl.settle_eoi_assist();
                let value = u64::from(vtl.apic.read_page(offset, now));
                drop(state);
                self.engine.resume(Resume::Complete(value & (u64::MAX >> (64 - 8 * access.size))));
            }
            MemoryAccessKind::Write(value) if access.size == 4 && offset.is_multiple_of(16) => {
                let effect = {
                    let mut state = self.shared().state();
                    let vtl = state.vtl(vtl);
                    if offset == x86::apic::register::EOI {
                        vtl.before_end_of_interrupt();
                    } else {
                        vtl.settle_eoi_assist();
                    }
                    let effect = vtl.apic.write_page(offset, value as u32, now);
                    vtl.after_register_write(effect, self.partition.reference_time());
                    effect
                };
                self.engine.resume(Resume::Complete(0));
                self.apply_apic_effect(effect);
            }
            _ => self.fault(Event::GENERAL_PROTECTION),
        }
    }

    /// Does what an APIC register write asks for beyond the APIC itself.
    pub(crate) fn apply_apic_effect(&mut self, effect: Effect) {
        self.look = true;
        match effect {
            Effect::None => {}
            Effect::Send(message) => {
                // That it merged with one before is nothing to the sender.
                self.partition.route(Some(self.index), self.active_vtl, message);
            }
            Effect::EndOfInterrupt(level_triggered) => {
                let controller = self.partition.interrupt_controller();
                if let (Some(vector), Some(controller)) = (level_triggered, controller) {
                    controller.end_of_interrupt(self.index, vector);
                }
            }
        }
    }

    /// An access that an overlay page does not allow: #GP for a write to the hypercall page (TLFS 3.13), else #MC (TLFS 8.8).
    fn overlay_violation(&mut self, access: MemoryAccess) -> Option<VpExit> {
        let page = &self.partition.vtl(self.active_vtl).hypercall_page;
        let at_hypercall_page = page.is_enabled() && page.msr().gpa_page_number() == access.gpa >> PAGE_SHIFT;
        let write = matches!(access.kind, MemoryAccessKind::Write(_));
        if at_hypercall_page && write {
            self.fault(Event::GENERAL_PROTECTION);
            return None;
        }
        let (check, cr4) = (MachineCheck::at_overlay(access.gpa), self.engine.control().cr4);
        if self.processor_msrs.report_machine_check(check, cr4) {
            self.fault(Event::MACHINE_CHECK);
            return None;
        }
        self.engine.resume(Resume::Retry);
        Some(VpExit::TripleFault)
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Delivery of events through the interrupt vector table of real mode or the IDT (SDM 3A 6.10 to 6.15).

use engine::{Event, ExitReason, Gpr, SegmentName};
use x86::control::Rflags;
use x86::exception::{Combination, Exception};
use x86::idt::Gate;
use x86::paging::Privilege;
use x86::segment::{Selector, SystemType};

use super::descriptor::{check_entry, code_segment, general_protection, not_present, paragraph};
use super::inner_stack::InnerStack;
use crate::cpu::{Cpu, rflags};
use crate::stop::{NotedExit, Raised, Stop};

/// Bits of a selector error code.
const EXTERNAL: u32 = 1;
const IDT: u32 = 2;

/// Delivers an event, or whatever its delivery leads to: another exception, a double fault.
///
/// `cpu.rip` is the RIP to push (for a software interrupt that of the instruction, whose length the event knows). Sets `cpu.events.nmi_blocked`
/// for an NMI, CR2 or DR6 from the parameter, and ends an interrupt shadow.
///
/// # Errors
/// The exit that the delivery needs, or [`ExitReason::TripleFault`]; the caller keeps the event, to deliver it again.
pub fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), NotedExit> {
    let mut event = event;
    loop {
        match attempt(cpu, event) {
            Ok(()) => return Ok(()),
            Err(Stop::Exit(noted)) => return Err(noted),
            Err(Stop::Alone) => unreachable!("a delivery locks single bytes only"),
            // An exception that raises an exit does so before it combines with another (TLFS 8.13; SDM 3C 25.2).
            Err(Stop::Exception(second)) => match cpu.exception_exit(second.event()) {
                Some(reason) => return Err(cpu.note_exit(reason)),
                None => {
                    event = combine(event, second).ok_or_else(|| cpu.note_exit(ExitReason::TripleFault))?;
                }
            },
        }
    }
}

/// What is delivered when the hypervisor answers an access of the delivery of `first` with an event; `None` is a triple fault.
pub(crate) fn injected_during(first: Event, second: Event) -> Option<Event> {
    match second {
        Event::Exception { vector, error_code, parameter } => match Exception::from_vector(vector) {
            Some(exception) => {
                combine(first, Raised { exception, error_code: error_code.unwrap_or(0), parameter })
            }
            None => Some(second),
        },
        _ => Some(second),
    }
}

/// What is delivered when `second` is raised during the delivery of `first`; `None` is a triple fault.
fn combine(first: Event, second: Raised) -> Option<Event> {
    let Event::Exception { vector, .. } = first else { return Some(second.event()) };
    // A vector that names no exception is benign, as #UD is.
    let exception = Exception::from_vector(vector).unwrap_or(Exception::InvalidOpcode);
    match exception.followed_by(second.exception) {
        Combination::Serial => Some(second.event()),
        Combination::DoubleFault => {
            let vector = Exception::DoubleFault.vector();
            Some(Event::Exception { vector, error_code: Some(0), parameter: 0 })
        }
        Combination::TripleFault => None,
    }
}

/// What delivery needs to know of an event.
struct Entry {
    vector: u8,
    error_code: Option<u32>,
    /// INT n, INT3 or INTO: the gate's DPL counts, and EXT is not set in error codes.
    software: bool,
    return_rip: u64,
    /// RFLAGS as pushed.
    flags: u64,
}

impl Entry {
    fn new(cpu: &Cpu, event: Event) -> Self {
        let (vector, error_code, software, length) = match event {
            Event::Interrupt(vector) => (vector, None, false, 0),
            Event::Nmi => (Exception::Nmi.vector(), None, false, 0),
            Event::Exception { vector, error_code, .. } => (vector, error_code, false, 0),
            Event::Software { vector, instruction_length } => (vector, None, true, instruction_length),
        };
        let mut flags = cpu.rflags();
        if matches!(event, Event::Exception { vector, .. } if is_fault(vector)) {
            // The instruction is executed again after the handler, without meeting its breakpoint again (SDM 3B 17.3.1.1).
            flags |= rflags::RF;
        }
        let return_rip = cpu.rip.wrapping_add(length.into());
        Self { vector, error_code, software, return_rip, flags }
    }

    /// Error code of an exception that names this event's gate.
    fn gate_code(&self) -> u32 {
        u32::from(self.vector) << 3 | IDT | self.external()
    }

    fn external(&self) -> u32 {
        if self.software { 0 } else { EXTERNAL }
    }

    /// Adds EXT to the error code of an exception that names a selector.
    fn mark(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Exception(raised) if raised.exception != Exception::PageFault => {
                Stop::Exception(Raised { error_code: raised.error_code | self.external(), ..raised })
            }
            other => other,
        }
    }
}

/// Exceptions that are faults: the return address is the instruction's own. #DB is one only at instruction breakpoints, where
/// RF is left as it is.
const fn is_fault(vector: u8) -> bool {
    !matches!(vector, 1..=4 | 8 | 18)
}

fn attempt(cpu: &mut Cpu, event: Event) -> Result<(), Stop> {
    note_parameter(cpu, event);
    let entry = Entry::new(cpu, event);
    if cpu.is_real_mode() {
        through_vector_table(cpu, &entry)?;
    } else {
        through_idt(cpu, &entry).map_err(|stop| entry.mark(stop))?;
    }
    cpu.events.interrupt_shadow = false;
    if event == Event::Nmi {
        cpu.events.nmi_blocked = true;
    }
    Ok(())
}

/// CR2 and DR6 change as the exception is raised, also when its delivery then fails.
fn note_parameter(cpu: &mut Cpu, event: Event) {
    match event {
        Event::Exception { vector: 14, parameter, .. } => cpu.set_cr2(parameter),
        Event::Exception { vector: 1, parameter, .. } => {
            const GENERAL_DETECT: u64 = 1 << 13;
            let mut debug = cpu.debug();
            // The four breakpoint bits tell of this exception alone; BD, BS and BT stay until software clears them.
            debug.dr6 = debug.dr6 & !0xF | parameter;
            debug.dr7 &= !GENERAL_DETECT;
            cpu.set_debug(debug);
        }
        _ => {}
    }
}

fn through_vector_table(cpu: &mut Cpu, entry: &Entry) -> Result<(), Stop> {
    let offset = u64::from(entry.vector) * 4;
    if offset + 3 > cpu.idtr.limit.into() {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let pointer =
        cpu.read(cpu.idtr.base.wrapping_add(offset) & 0xFFFF_FFFF, 4, Privilege::ImplicitSupervisor)?;
    let mut stack = cpu.stack();
    stack.push(cpu, 2, entry.flags)?;
    stack.push(cpu, 2, cpu.segment(SegmentName::Cs).selector.into_bits().into())?;
    stack.push(cpu, 2, entry.return_rip)?;
    stack.commit(cpu);
    let code = paragraph(cpu, SegmentName::Cs, Selector::from_bits((pointer >> 16) as u16));
    cpu.set_segment_raw(SegmentName::Cs, code);
    cpu.set_rflags(cpu.rflags() & !(rflags::IF | rflags::TF | rflags::AC | rflags::RF));
    cpu.rip = pointer & 0xFFFF;
    Ok(())
}

fn read_gate(cpu: &mut Cpu, entry: &Entry) -> Result<Gate, Stop> {
    let fault = Stop::with_code(Exception::GeneralProtection, entry.gate_code());
    let long = cpu.is_long_mode();
    let size = if long { 16 } else { 8 };
    let offset = u64::from(entry.vector) * size;
    if offset + size - 1 > cpu.idtr.limit.into() {
        return Err(fault);
    }
    let linear = cpu.idtr.base.wrapping_add(offset);
    let low = cpu.read(linear, 8, Privilege::ImplicitSupervisor)?;
    let gate = if long {
        Gate::decode_long(low, cpu.read(linear.wrapping_add(8), 8, Privilege::ImplicitSupervisor)?)
    } else {
        Gate::decode_legacy(low)
    };
    match gate.kind() {
        Some(SystemType::InterruptGate | SystemType::TrapGate) => {}
        Some(SystemType::InterruptGate16 | SystemType::TrapGate16 | SystemType::TaskGate) if !long => {}
        _ => return Err(fault),
    }
    if entry.software && gate.dpl < cpu.cpl() {
        return Err(fault);
    }
    if !gate.present {
        return Err(Stop::with_code(Exception::SegmentNotPresent, entry.gate_code()));
    }
    Ok(gate)
}

fn through_idt(cpu: &mut Cpu, entry: &Entry) -> Result<(), Stop> {
    let gate = read_gate(cpu, entry)?;
    let kind = gate.kind();
    if kind == Some(SystemType::TaskGate) {
        return Err(cpu.unsupported("a task gate in the interrupt descriptor table"));
    }
    let long = cpu.is_long_mode();
    let found = cpu.code_descriptor(gate.selector)?;
    let attributes = found.attributes();
    let cpl = cpu.cpl();
    if attributes.dpl() > cpl || (long && !attributes.long()) {
        return Err(general_protection(gate.selector));
    }
    if !attributes.present() {
        return Err(not_present(gate.selector));
    }
    let new_cpl = if attributes.is_conforming() { cpl } else { attributes.dpl() };
    let from_v86 = cpu.is_v86();
    if from_v86 && new_cpl != 0 {
        return Err(general_protection(gate.selector));
    }

    let mut stack = match (long, new_cpl < cpl, gate.ist) {
        (true, false, 0) | (false, false, _) => InnerStack::same_level(cpu, long),
        (true, false, ist) => InnerStack::from_ist_same_level(cpu, ist)?,
        (true, true, ist) => InnerStack::from_tss64(cpu, new_cpl, ist)?,
        (false, true, _) => InnerStack::from_tss(cpu, new_cpl)?,
    };
    let size = match kind {
        _ if long => 8,
        Some(SystemType::InterruptGate16 | SystemType::TrapGate16) => 2,
        _ => 4,
    };
    let code = code_segment(&found, new_cpl);
    check_entry(cpu, &code, gate.offset)?;
    let old_stack = cpu.segment(SegmentName::Ss).selector;
    if long {
        stack.align();
    }
    if from_v86 {
        for name in [SegmentName::Gs, SegmentName::Fs, SegmentName::Ds, SegmentName::Es] {
            stack.push(cpu, size, cpu.segment(name).selector.into_bits().into())?;
        }
    }
    if long || new_cpl < cpl {
        stack.push(cpu, size, old_stack.into_bits().into())?;
        stack.push(cpu, size, cpu.gpr(Gpr::Rsp))?;
    }
    stack.push(cpu, size, entry.flags)?;
    stack.push(cpu, size, cpu.segment(SegmentName::Cs).selector.into_bits().into())?;
    stack.push(cpu, size, entry.return_rip)?;
    if let Some(code) = entry.error_code {
        stack.push(cpu, size, code.into())?;
    }
    found.mark_accessed(cpu)?;

    // From here on nothing can fail. Flags first: leaving virtual-8086 mode decides how segments count.
    let mut flags =
        Rflags::from_bits(cpu.rflags()).with_tf(false).with_nt(false).with_rf(false).with_vm(false);
    if matches!(kind, Some(SystemType::InterruptGate | SystemType::InterruptGate16)) {
        flags.set_interrupt_flag(false);
    }
    cpu.set_rflags(flags.into_bits());
    if from_v86 {
        for name in [SegmentName::Gs, SegmentName::Fs, SegmentName::Ds, SegmentName::Es] {
            cpu.set_segment_raw(name, engine::Segment::default());
        }
    }
    cpu.set_segment_raw(SegmentName::Cs, code);
    stack.commit(cpu);
    cpu.rip = gate.offset;
    Ok(())
}

/// INT n, INT3 and INTO deliver themselves: see [`Event::Software`].
pub(super) fn software_interrupt(cpu: &mut Cpu, vector: u8) -> Result<(), Stop> {
    if cpu.is_v86() && cpu.iopl() < 3 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let instruction_length = cpu.next_rip.wrapping_sub(cpu.rip) as u8;
    attempt(cpu, Event::Software { vector, instruction_length })?;
    cpu.holds_trap = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An access of a delivery that the hypervisor answers with #GP, again and again, ends in a triple fault and not in a loop.
    #[test]
    fn faults_injected_during_deliveries_come_to_an_end() {
        let first = Event::Interrupt(0x40);
        let second = injected_during(first, Event::GENERAL_PROTECTION).unwrap();
        assert_eq!(second, Event::GENERAL_PROTECTION);
        let third = injected_during(second, Event::GENERAL_PROTECTION).unwrap();
        assert_eq!(third, Event::Exception { vector: 8, error_code: Some(0), parameter: 0 });
        assert_eq!(injected_during(third, Event::GENERAL_PROTECTION), None);
        assert_eq!(injected_during(second, Event::Nmi), Some(Event::Nmi));
    }
}

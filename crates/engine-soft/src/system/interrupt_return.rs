// SPDX-License-Identifier: MIT OR Apache-2.0
//! IRET in every mode (SDM 2: IRET/IRETD/IRETQ).

use engine::{Gpr, Segment, SegmentName};
use iced_x86::{Code, Instruction};
use x86::exception::Exception;
use x86::segment::Selector;

use super::descriptor::{check_entry, code_segment, general_protection, not_present, paragraph};
use super::segment_load::{drop_inner_segments, stack_segment};
use crate::cpu::{Cpu, rflags};
use crate::stop::{Next, Stop};

/// IRET, IRETD and IRETQ.
pub(super) fn iret(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let size = match instruction.code() {
        Code::Iretw => 2,
        Code::Iretd => 4,
        _ => 8,
    };
    if cpu.is_real_mode() {
        from_real_mode(cpu, size)?;
    } else if cpu.is_v86() {
        from_v86(cpu, size)?;
    } else {
        from_protected_mode(cpu, size)?;
    }
    cpu.events.nmi_blocked = false;
    Ok(Next::Jump)
}

/// RFLAGS after a return that popped `popped` at `cpl` and `iopl`.
fn returned_flags(cpu: &Cpu, popped: u64, size: usize) -> u64 {
    const ALWAYS: u64 =
        rflags::STATUS | rflags::TF | rflags::DF | rflags::NT | rflags::RF | rflags::AC | rflags::ID;
    const VIRTUAL: u64 = rflags::VIF | rflags::VIP;
    let mut changed = ALWAYS;
    if cpu.cpl() <= cpu.iopl() {
        changed |= rflags::IF;
    }
    if cpu.cpl() == 0 {
        changed |= rflags::IOPL | VIRTUAL;
    }
    if size == 2 {
        changed &= 0xFFFF;
    }
    cpu.rflags() & !changed | popped & changed
}

fn from_real_mode(cpu: &mut Cpu, size: usize) -> Result<(), Stop> {
    let mut stack = cpu.stack();
    let rip = stack.pop(cpu, size)?;
    let selector = Selector::from_bits(stack.pop(cpu, size)? as u16);
    let flags = stack.pop(cpu, size)?;
    if rip > cpu.segment(SegmentName::Cs).limit.into() {
        return Err(Stop::GENERAL_PROTECTION);
    }
    stack.commit(cpu);
    let code = paragraph(cpu, SegmentName::Cs, selector);
    cpu.set_segment_raw(SegmentName::Cs, code);
    cpu.set_rflags(returned_flags(cpu, flags, size));
    cpu.rip = rip;
    Ok(())
}

fn from_v86(cpu: &mut Cpu, size: usize) -> Result<(), Stop> {
    if cpu.iopl() < 3 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    from_real_mode(cpu, size)
}

fn from_protected_mode(cpu: &mut Cpu, size: usize) -> Result<(), Stop> {
    let long = cpu.is_long_mode();
    if cpu.rflags() & rflags::NT != 0 {
        return Err(if long { Stop::GENERAL_PROTECTION } else { cpu.unsupported("IRET to another task") });
    }
    let mut stack = cpu.stack();
    let rip = stack.pop(cpu, size)?;
    let selector = Selector::from_bits(stack.pop(cpu, size)? as u16);
    let flags = stack.pop(cpu, size)?;
    if !long && size == 4 && flags & rflags::VM != 0 && cpu.cpl() == 0 {
        return to_v86(cpu, stack, rip, selector, flags);
    }
    let found = cpu.code_descriptor(selector)?;
    let attributes = found.attributes();
    let (cpl, new_cpl) = (cpu.cpl(), selector.rpl());
    let level_fits =
        if attributes.is_conforming() { attributes.dpl() <= new_cpl } else { attributes.dpl() == new_cpl };
    if new_cpl < cpl || !level_fits {
        return Err(general_protection(selector));
    }
    if !attributes.present() {
        return Err(not_present(selector));
    }
    let code = code_segment(&found, new_cpl);
    let to_long = long && attributes.long();

    // 64-bit mode pops the stack pointer always; elsewhere only a return to an outer level does.
    let outer = if cpu.mode().is_64() || new_cpl != cpl {
        let pointer = stack.pop(cpu, size)?;
        let stack_selector = Selector::from_bits(stack.pop(cpu, size)? as u16);
        Some((pointer, return_stack(cpu, stack_selector, new_cpl, to_long)?))
    } else {
        None
    };
    check_entry(cpu, &code, rip)?;
    found.mark_accessed(cpu)?;

    let flags = returned_flags(cpu, flags, size);
    cpu.set_segment_raw(SegmentName::Cs, code);
    match outer {
        Some((pointer, segment)) => {
            cpu.set_segment_raw(SegmentName::Ss, segment);
            set_stack_pointer(cpu, pointer, size);
        }
        None => stack.commit(cpu),
    }
    cpu.set_rflags(flags);
    if new_cpl != cpl {
        drop_inner_segments(cpu);
    }
    cpu.rip = rip;
    Ok(())
}

/// The stack segment of a return to `cpl`. In 64-bit mode inner levels may have none.
pub(super) fn return_stack(
    cpu: &mut Cpu,
    selector: Selector,
    cpl: u8,
    to_long: bool,
) -> Result<Segment, Stop> {
    if selector.is_null() && to_long && cpl != 3 && selector.rpl() == cpl {
        return Ok(Segment { selector, ..super::descriptor::null_stack(cpl) });
    }
    if selector.is_null() {
        return Err(Stop::GENERAL_PROTECTION);
    }
    stack_segment(cpu, selector, cpl, Exception::GeneralProtection)
}

/// RSP after a return that popped a pointer of `size` bytes: what the new stack's width does not cover stays, as far as the operand goes.
pub(super) fn set_stack_pointer(cpu: &mut Cpu, pointer: u64, size: usize) {
    let stack = cpu.segment(SegmentName::Ss).attributes;
    if cpu.mode().is_64() {
        cpu.set_gpr(Gpr::Rsp, pointer);
    } else if stack.default_32() {
        cpu.set_gpr_part(Gpr::Rsp, 4, pointer);
    } else {
        cpu.set_gpr_part(Gpr::Rsp, if size == 4 { 4 } else { 2 }, pointer);
    }
}

fn to_v86(
    cpu: &mut Cpu,
    mut stack: crate::cpu::StackCursor,
    rip: u64,
    selector: Selector,
    flags: u64,
) -> Result<(), Stop> {
    let pointer = stack.pop(cpu, 4)?;
    let mut selectors = [Selector::new(); 5];
    for slot in &mut selectors {
        *slot = Selector::from_bits(stack.pop(cpu, 4)? as u16);
    }
    if rip > 0xFFFF {
        return Err(Stop::GENERAL_PROTECTION);
    }
    cpu.set_rflags(flags);
    let names = [SegmentName::Ss, SegmentName::Es, SegmentName::Ds, SegmentName::Fs, SegmentName::Gs];
    for (name, selector) in names.into_iter().zip(selectors) {
        let segment = paragraph(cpu, name, selector);
        cpu.set_segment_raw(name, segment);
    }
    let code = paragraph(cpu, SegmentName::Cs, selector);
    cpu.set_segment_raw(SegmentName::Cs, code);
    cpu.set_gpr_part(Gpr::Rsp, 4, pointer);
    cpu.rip = rip;
    Ok(())
}

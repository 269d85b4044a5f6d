// SPDX-License-Identifier: MIT OR Apache-2.0
//! Far JMP, CALL and RET, with call gates (SDM 2: JMP, CALL, RET; SDM 3A 5.8). Hardware task switches are not supported: nothing since OS/2 uses
//! them, and long mode has none.

use engine::{Gpr, SegmentName};
use iced_x86::{Instruction, OpKind};
use x86::idt::Gate;
use x86::paging::AccessKind;
use x86::segment::{Selector, SystemType};

use super::descriptor::{Found, check_entry, code_segment, general_protection, not_present, paragraph};
use super::inner_stack::InnerStack;
use super::interrupt_return::{return_stack, set_stack_pointer};
use super::segment_load::drop_inner_segments;
use crate::cpu::{Cpu, Operand};
use crate::stop::{Next, Stop};

/// Where a far transfer leads, as the instruction says.
#[derive(Clone, Copy)]
struct Target {
    selector: Selector,
    offset: u64,
    /// Operand size in bytes: 2, 4 or 8.
    size: usize,
}

impl Target {
    fn of(cpu: &mut Cpu, instruction: &Instruction) -> Result<Self, Stop> {
        let at = |selector: u16, offset, size| Self { selector: Selector::from_bits(selector), offset, size };
        match instruction.op0_kind() {
            OpKind::FarBranch16 => {
                Ok(at(instruction.far_branch_selector(), instruction.far_branch16().into(), 2))
            }
            OpKind::FarBranch32 => {
                Ok(at(instruction.far_branch_selector(), instruction.far_branch32().into(), 4))
            }
            _ => {
                let size = instruction.memory_size().size() - 2;
                let Operand::Memory(linear) =
                    cpu.operand_address(instruction, 0, size + 2, AccessKind::Read)?
                else {
                    return Err(Stop::INVALID_OPCODE);
                };
                let offset = cpu.read(linear, size, cpu.privilege())?;
                let selector = cpu.read(linear.wrapping_add(size as u64), 2, cpu.privilege())?;
                Ok(at(selector as u16, offset, size))
            }
        }
    }
}

/// A call or a jump.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Jump,
    Call,
}

/// Far JMP.
pub(super) fn jump(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    transfer(cpu, instruction, Kind::Jump)
}

/// Far CALL.
pub(super) fn call(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    transfer(cpu, instruction, Kind::Call)
}

fn transfer(cpu: &mut Cpu, instruction: &Instruction, kind: Kind) -> Result<Next, Stop> {
    let target = Target::of(cpu, instruction)?;
    if cpu.is_real_mode() || cpu.is_v86() {
        if target.offset > cpu.segment(SegmentName::Cs).limit.into() {
            return Err(Stop::GENERAL_PROTECTION);
        }
        if kind == Kind::Call {
            push_return(cpu, target.size)?;
        }
        let code = paragraph(cpu, SegmentName::Cs, target.selector);
        cpu.set_segment_raw(SegmentName::Cs, code);
        cpu.rip = target.offset;
        return Ok(Next::Jump);
    }
    if target.selector.is_null() {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let found = cpu.descriptor(target.selector)?;
    if found.attributes().non_system() {
        to_segment(cpu, target, &found, kind)?;
    } else {
        to_system_descriptor(cpu, target, &found, kind)?;
    }
    Ok(Next::Jump)
}

/// Pushes CS and the return address on the current stack, whole or not at all.
fn push_return(cpu: &mut Cpu, size: usize) -> Result<(), Stop> {
    let mut stack = cpu.stack();
    stack.push(cpu, size, cpu.segment(SegmentName::Cs).selector.into_bits().into())?;
    stack.push(cpu, size, cpu.next_rip)?;
    stack.commit(cpu);
    Ok(())
}

fn to_segment(cpu: &mut Cpu, target: Target, found: &Found, kind: Kind) -> Result<(), Stop> {
    cpu.check_code(found)?;
    let attributes = found.attributes();
    let cpl = cpu.cpl();
    let allowed = if attributes.is_conforming() {
        attributes.dpl() <= cpl
    } else {
        target.selector.rpl() <= cpl && attributes.dpl() == cpl
    };
    if !allowed {
        return Err(general_protection(target.selector));
    }
    if !attributes.present() {
        return Err(not_present(target.selector));
    }
    let code = code_segment(found, cpl);
    check_entry(cpu, &code, target.offset)?;
    found.mark_accessed(cpu)?;
    if kind == Kind::Call {
        push_return(cpu, target.size)?;
    }
    cpu.set_segment_raw(SegmentName::Cs, code);
    cpu.rip = target.offset;
    Ok(())
}

fn to_system_descriptor(cpu: &mut Cpu, target: Target, found: &Found, kind: Kind) -> Result<(), Stop> {
    let long = cpu.is_long_mode();
    let attributes = found.attributes();
    let fault = general_protection(target.selector);
    let wide = match SystemType::from_bits(attributes.segment_type()) {
        Some(SystemType::CallGate) => true,
        Some(SystemType::CallGate16) if !long => false,
        Some(SystemType::TaskGate | SystemType::AvailableTss | SystemType::AvailableTss16) if !long => {
            return Err(cpu.unsupported("a far transfer to another task"));
        }
        _ => return Err(fault),
    };
    if attributes.dpl() < cpu.cpl().max(target.selector.rpl()) {
        return Err(fault);
    }
    if !attributes.present() {
        return Err(not_present(target.selector));
    }
    let low = found.descriptor.into_bits();
    let gate = if long { Gate::decode_long(low, found.upper_half(cpu)?) } else { Gate::decode_legacy(low) };
    through_gate(cpu, gate, wide, kind)
}

fn through_gate(cpu: &mut Cpu, gate: Gate, wide: bool, kind: Kind) -> Result<(), Stop> {
    let long = cpu.is_long_mode();
    let found = cpu.code_descriptor(gate.selector)?;
    let attributes = found.attributes();
    let cpl = cpu.cpl();
    let inner = !attributes.is_conforming() && attributes.dpl() < cpl;
    let allowed = attributes.dpl() <= cpl && (kind == Kind::Call || !inner) && (!long || attributes.long());
    if !allowed {
        return Err(general_protection(gate.selector));
    }
    if !attributes.present() {
        return Err(not_present(gate.selector));
    }
    let size = match (long, wide) {
        (true, _) => 8,
        (false, true) => 4,
        (false, false) => 2,
    };
    let new_cpl = if inner { attributes.dpl() } else { cpl };
    let code = code_segment(&found, new_cpl);
    check_entry(cpu, &code, gate.offset)?;
    let mut stack = match (inner, long) {
        (false, _) => InnerStack::same_level(cpu, long),
        (true, true) => InnerStack::from_tss64(cpu, new_cpl, 0)?,
        (true, false) => InnerStack::from_tss(cpu, new_cpl)?,
    };
    if kind == Kind::Call {
        if inner {
            let mut old = cpu.stack();
            stack.push(cpu, size, cpu.segment(SegmentName::Ss).selector.into_bits().into())?;
            stack.push(cpu, size, cpu.gpr(Gpr::Rsp))?;
            // Parameters keep their order: the last one pushed by the caller is lowest.
            let mut parameters = [0; 31];
            let parameters = &mut parameters[..usize::from(gate.parameter_count)];
            for parameter in parameters.iter_mut() {
                *parameter = old.pop(cpu, size)?;
            }
            for parameter in parameters.iter().rev() {
                stack.push(cpu, size, *parameter)?;
            }
        }
        stack.push(cpu, size, cpu.segment(SegmentName::Cs).selector.into_bits().into())?;
        stack.push(cpu, size, cpu.next_rip)?;
    }
    found.mark_accessed(cpu)?;
    cpu.set_segment_raw(SegmentName::Cs, code);
    if kind == Kind::Call {
        stack.commit(cpu);
    }
    cpu.rip = gate.offset;
    Ok(())
}

/// Far RET, with or without bytes to drop.
pub(super) fn ret(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let dropped = if instruction.op_count() == 1 { i64::from(instruction.immediate16()) } else { 0 };
    let size = (instruction.stack_pointer_increment() as i64 - dropped) as usize / 2;
    let mut stack = cpu.stack();
    let rip = stack.pop(cpu, size)?;
    let selector = Selector::from_bits(stack.pop(cpu, size)? as u16);
    stack.skip(dropped);
    if cpu.is_real_mode() || cpu.is_v86() {
        if rip > cpu.segment(SegmentName::Cs).limit.into() {
            return Err(Stop::GENERAL_PROTECTION);
        }
        stack.commit(cpu);
        let code = paragraph(cpu, SegmentName::Cs, selector);
        cpu.set_segment_raw(SegmentName::Cs, code);
        cpu.rip = rip;
        return Ok(Next::Jump);
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
    let outer = if new_cpl != cpl {
        let pointer = stack.pop(cpu, size)?;
        let stack_selector = Selector::from_bits(stack.pop(cpu, size)? as u16);
        let to_long = cpu.is_long_mode() && attributes.long();
        Some((pointer.wrapping_add(dropped as u64), return_stack(cpu, stack_selector, new_cpl, to_long)?))
    } else {
        None
    };
    check_entry(cpu, &code, rip)?;
    found.mark_accessed(cpu)?;
    cpu.set_segment_raw(SegmentName::Cs, code);
    match outer {
        Some((pointer, segment)) => {
            cpu.set_segment_raw(SegmentName::Ss, segment);
            set_stack_pointer(cpu, pointer, size);
            drop_inner_segments(cpu);
        }
        None => stack.commit(cpu),
    }
    cpu.rip = rip;
    Ok(Next::Jump)
}

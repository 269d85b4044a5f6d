// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads of ES, CS, SS, DS, FS and GS by MOV, POP and the far-pointer loads (SDM 2: MOV, POP, LDS).

use engine::{Segment, SegmentName};
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::exception::Exception;
use x86::paging::AccessKind;
use x86::segment::Selector;

use super::descriptor::{error_code, general_protection, not_present, null_stack, paragraph};
use crate::cpu::{Cpu, Operand, segment_of};
use crate::stop::{Next, Stop};

/// MOV to and from a segment register.
pub(super) fn mov(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let destination = instruction.op_register(0);
    if instruction.op_kind(0) == OpKind::Register && destination.is_segment_register() {
        let value = cpu.read_operand(instruction, 1, 2)?;
        let name = segment_of(destination);
        if name == SegmentName::Cs {
            return Err(Stop::INVALID_OPCODE);
        }
        load(cpu, name, value as u16)?;
        if name == SegmentName::Ss {
            cpu.events.interrupt_shadow = true;
            cpu.holds_trap = true;
        }
        return Ok(Next::Sequential);
    }
    let selector = cpu.segment(segment_of(instruction.op_register(1))).selector;
    // A register is written whole, with zeros above; memory gets 16 bits.
    cpu.write_operand(instruction, 0, 2, selector.into_bits().into())?;
    Ok(Next::Sequential)
}

/// POP of a segment register.
pub(super) fn pop(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let name = segment_of(instruction.op_register(0));
    let mut stack = cpu.stack();
    let value = stack.pop(cpu, instruction.stack_pointer_increment() as usize)?;
    load(cpu, name, value as u16)?;
    stack.commit(cpu);
    if name == SegmentName::Ss {
        cpu.events.interrupt_shadow = true;
        cpu.holds_trap = true;
    }
    Ok(Next::Sequential)
}

/// PUSH of a segment register.
pub(super) fn push(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let selector = cpu.segment(segment_of(instruction.op_register(0))).selector;
    let mut stack = cpu.stack();
    stack.push(
        cpu,
        instruction.stack_pointer_increment().unsigned_abs() as usize,
        selector.into_bits().into(),
    )?;
    stack.commit(cpu);
    Ok(Next::Sequential)
}

/// LDS, LES, LFS, LGS, LSS.
pub(super) fn far_pointer(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let name = match instruction.mnemonic() {
        Mnemonic::Lds => SegmentName::Ds,
        Mnemonic::Les => SegmentName::Es,
        Mnemonic::Lfs => SegmentName::Fs,
        Mnemonic::Lgs => SegmentName::Gs,
        _ => SegmentName::Ss,
    };
    let register = instruction.op_register(0);
    let size = register.size();
    let Operand::Memory(linear) = cpu.operand_address(instruction, 1, size + 2, AccessKind::Read)? else {
        return Err(Stop::INVALID_OPCODE);
    };
    let offset = cpu.read(linear, size, cpu.privilege())?;
    let selector = cpu.read(linear.wrapping_add(size as u64), 2, cpu.privilege())?;
    load(cpu, name, selector as u16)?;
    cpu.set_register(register, offset);
    Ok(Next::Sequential)
}

/// Loads a data or stack segment register with all checks.
///
/// # Errors
/// #GP, #NP or #SS; nothing was changed then.
pub(super) fn load(cpu: &mut Cpu, name: SegmentName, selector: u16) -> Result<(), Stop> {
    let segment = if cpu.is_real_mode() || cpu.is_v86() {
        paragraph(cpu, name, Selector::from_bits(selector))
    } else if name == SegmentName::Ss {
        let cpl = cpu.cpl();
        stack_segment(cpu, Selector::from_bits(selector), cpl, Exception::GeneralProtection)?
    } else {
        data_segment(cpu, Selector::from_bits(selector))?
    };
    cpu.set_segment_raw(name, segment);
    Ok(())
}

fn data_segment(cpu: &mut Cpu, selector: Selector) -> Result<Segment, Stop> {
    if selector.is_null() {
        return Ok(Segment { selector, ..Segment::default() });
    }
    let found = cpu.descriptor(selector)?;
    let attributes = found.attributes();
    let weakest = cpu.cpl().max(selector.rpl());
    let allowed = attributes.is_readable() && (attributes.is_conforming() || attributes.dpl() >= weakest);
    if !allowed {
        return Err(general_protection(selector));
    }
    if !attributes.present() {
        return Err(not_present(selector));
    }
    found.mark_accessed(cpu)?;
    Ok(found.segment())
}

/// The stack segment for privilege level `cpl`. `fault` is #GP for loads by instructions and returns, #TS for a stack that a TSS names.
///
/// # Errors
/// `fault` of the selector, or #SS if it is not present.
pub(super) fn stack_segment(
    cpu: &mut Cpu,
    selector: Selector,
    cpl: u8,
    fault: Exception,
) -> Result<Segment, Stop> {
    if selector.is_null() {
        let from_tss = fault == Exception::InvalidTss;
        return if cpu.mode().is_64() && !from_tss && cpl != 3 && selector.rpl() == cpl {
            Ok(Segment { selector, ..null_stack(cpl) })
        } else {
            Err(Stop::with_code(fault, 0))
        };
    }
    let wrong = Stop::with_code(fault, error_code(selector));
    let found = cpu.find_descriptor(selector)?.ok_or(wrong)?;
    let attributes = found.attributes();
    if selector.rpl() != cpl || attributes.dpl() != cpl || !attributes.is_writable() {
        return Err(wrong);
    }
    if !attributes.present() {
        return Err(Stop::with_code(Exception::StackFault, error_code(selector)));
    }
    found.mark_accessed(cpu)?;
    Ok(found.segment())
}

/// After a return to an outer level: data segments that the new level may not use become null (SDM 2: RET).
pub(super) fn drop_inner_segments(cpu: &mut Cpu) {
    let cpl = cpu.cpl();
    for name in [SegmentName::Es, SegmentName::Ds, SegmentName::Fs, SegmentName::Gs] {
        let segment = cpu.segment(name);
        let attributes = segment.attributes;
        if attributes.present() && !attributes.is_conforming() && attributes.dpl() < cpl {
            cpu.set_segment_raw(name, Segment::default());
        }
    }
}

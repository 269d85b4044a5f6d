// SPDX-License-Identifier: MIT OR Apache-2.0
//! IN, OUT, INS and OUTS, with the permission bitmap of the TSS (SDM 1 19.5).

use engine::{ExitReason, Gpr, PortAccess, PortDirection, SegmentName};
use iced_x86::{Instruction, OpKind, Register};
use x86::paging::{AccessKind, Privilege};
use x86::tss::tss32;

use crate::cpu::{Cpu, memory_segment, segment_of};
use crate::stop::{Next, Stop};

/// Checks that the current code may access `size` ports from `port` on.
fn require_permission(cpu: &mut Cpu, port: u16, size: u8) -> Result<(), Stop> {
    let privileged = cpu.is_real_mode() || (!cpu.is_v86() && cpu.cpl() <= cpu.iopl());
    if privileged {
        return Ok(());
    }
    let task = cpu.segment(SegmentName::Tr);
    let attributes = task.attributes;
    let wide = attributes.segment_type() & 8 != 0;
    let read = |cpu: &mut Cpu, offset: u32| {
        if !attributes.present() || !wide || offset + 1 > task.limit {
            return Err(Stop::GENERAL_PROTECTION);
        }
        cpu.read(task.base.wrapping_add(offset.into()), 2, Privilege::ImplicitSupervisor)
    };
    let map = read(cpu, tss32::IO_MAP_BASE)? as u32;
    // Two bytes are read always, because an access may reach into the second.
    let bits = read(cpu, map + u32::from(port >> 3))?;
    let wanted = ((1u64 << size) - 1) << (port & 7);
    if bits & wanted == 0 { Ok(()) } else { Err(Stop::GENERAL_PROTECTION) }
}

/// Port of an operand: DX or an immediate byte.
fn port_of(cpu: &Cpu, instruction: &Instruction, operand: u32) -> u16 {
    if instruction.op_kind(operand) == OpKind::Register {
        cpu.register(Register::DX) as u16
    } else {
        instruction.immediate8().into()
    }
}

/// IN.
pub(super) fn input(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let register = instruction.op0_register();
    let size = register.size() as u8;
    let port = port_of(cpu, instruction, 1);
    require_permission(cpu, port, size)?;
    let access = PortAccess { port, size, direction: PortDirection::In, string: false, rep: false };
    let value = cpu.external(ExitReason::Port(access))?;
    cpu.set_register(register, value);
    Ok(Next::Sequential)
}

/// OUT.
pub(super) fn output(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let register = instruction.op1_register();
    let size = register.size() as u8;
    let port = port_of(cpu, instruction, 0);
    require_permission(cpu, port, size)?;
    let direction = PortDirection::Out(cpu.register(register) as u32);
    cpu.external(ExitReason::Port(PortAccess { port, size, direction, string: false, rep: false }))?;
    Ok(Next::Sequential)
}

/// Width in bytes of the index register of a string operand.
fn index_width(kind: OpKind) -> usize {
    match kind {
        OpKind::MemoryESDI | OpKind::MemorySegSI => 2,
        OpKind::MemoryESEDI | OpKind::MemorySegESI => 4,
        _ => 8,
    }
}

fn masked(value: u64, width: usize) -> u64 {
    value & (u64::MAX >> (64 - 8 * width))
}

/// Moves the index register by one element and counts down. A repeated instruction is executed anew for each element, so that what one has done is
/// committed before the next.
fn finish_element(cpu: &mut Cpu, instruction: &Instruction, index: Gpr, width: usize, size: u64) -> Next {
    let step = if cpu.direction_down() { size.wrapping_neg() } else { size };
    let moved = cpu.gpr(index).wrapping_add(step);
    cpu.set_gpr_part(index, width, moved);
    if !repeats(instruction) {
        return Next::Sequential;
    }
    let left = masked(cpu.gpr(Gpr::Rcx), width).wrapping_sub(1);
    cpu.set_gpr_part(Gpr::Rcx, width, left);
    if masked(left, width) == 0 { Next::Sequential } else { Next::Jump }
}

fn repeats(instruction: &Instruction) -> bool {
    instruction.has_rep_prefix() || instruction.has_repne_prefix()
}

/// INSB, INSW and INSD, with or without REP.
pub(super) fn input_string(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let width = index_width(instruction.op0_kind());
    let size = instruction.memory_size().size();
    let port = cpu.register(Register::DX) as u16;
    // Permission is needed even to move nothing.
    require_permission(cpu, port, size as u8)?;
    if repeats(instruction) && masked(cpu.gpr(Gpr::Rcx), width) == 0 {
        return Ok(Next::Sequential);
    }
    let linear = cpu.linear(SegmentName::Es, masked(cpu.gpr(Gpr::Rdi), width), size, AccessKind::Write)?;
    // The device must not be read if its value then cannot be stored.
    cpu.probe_write(linear, size, cpu.privilege())?;
    let rep = repeats(instruction);
    let access = PortAccess { port, size: size as u8, direction: PortDirection::In, string: true, rep };
    let value = cpu.external(ExitReason::Port(access))?;
    cpu.write(linear, size, value, cpu.privilege())?;
    Ok(finish_element(cpu, instruction, Gpr::Rdi, width, size as u64))
}

/// OUTSB, OUTSW and OUTSD, with or without REP.
pub(super) fn output_string(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let width = index_width(instruction.op1_kind());
    let size = instruction.memory_size().size();
    let port = cpu.register(Register::DX) as u16;
    // Permission is needed even to move nothing.
    require_permission(cpu, port, size as u8)?;
    if repeats(instruction) && masked(cpu.gpr(Gpr::Rcx), width) == 0 {
        return Ok(Next::Sequential);
    }
    let segment = segment_of(memory_segment(instruction, cpu.mode().is_64()));
    let linear = cpu.linear(segment, masked(cpu.gpr(Gpr::Rsi), width), size, AccessKind::Read)?;
    let value = cpu.read(linear, size, cpu.privilege())?;
    let rep = repeats(instruction);
    let direction = PortDirection::Out(value as u32);
    cpu.external(ExitReason::Port(PortAccess { port, size: size as u8, direction, string: true, rep }))?;
    Ok(finish_element(cpu, instruction, Gpr::Rsi, width, size as u64))
}

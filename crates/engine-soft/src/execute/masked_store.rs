// SPDX-License-Identifier: MIT OR Apache-2.0
//! MASKMOVQ, MASKMOVDQU and VMASKMOVDQU: stores of selected bytes.

use engine::Gpr;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::paging::AccessKind;

use crate::cpu::{Cpu, memory_segment, segment_of};
use crate::host_execution::{Requirement, VectorState};
use crate::stop::{Next, Stop};

/// All three. Bytes that are not selected are not touched, but raise the same faults, as the manuals allow and AMD's processors do.
pub(crate) fn masked_store(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let mmx = instruction.mnemonic() == Mnemonic::Maskmovq;
    cpu.check_requirement(match instruction.mnemonic() {
        Mnemonic::Maskmovq => Requirement::Mmx,
        Mnemonic::Maskmovdqu => Requirement::Sse,
        _ => Requirement::Avx,
    })?;
    let vector = &cpu.frame.vector;
    if mmx && vector.x87_exception_pending() {
        return Err(cpu.x87_exception());
    }
    let value = |operand: u32| {
        let number = instruction.op_register(operand).number();
        if mmx { vector.mmx(number).into() } else { vector.xmm(number) }
    };
    let bytes = value(1).to_le_bytes();
    let selected = VectorState::masked_store(value(2));
    let size = if mmx { 8 } else { 16 };
    let offset = match instruction.op0_kind() {
        OpKind::MemorySegDI => cpu.gpr(Gpr::Rdi) & 0xFFFF,
        OpKind::MemorySegEDI => cpu.gpr(Gpr::Rdi) & 0xFFFF_FFFF,
        _ => cpu.gpr(Gpr::Rdi),
    };
    let segment = segment_of(memory_segment(instruction, cpu.mode().is_64()));
    let linear = cpu.linear(segment, offset, size, AccessKind::Write)?;
    let privilege = cpu.privilege();
    cpu.check_alignment(linear, size, privilege)?;
    cpu.probe_write(linear, size, privilege)?;
    for index in (0..size).filter(|index| selected >> index & 1 != 0) {
        cpu.write(linear.wrapping_add(index as u64), 1, bytes[index].into(), privilege)?;
    }
    if mmx {
        cpu.frame.vector.enter_mmx();
    }
    Ok(Next::Sequential)
}

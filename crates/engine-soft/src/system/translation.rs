// SPDX-License-Identifier: MIT OR Apache-2.0
//! INVLPG, INVPCID and CLFLUSH.

use iced_x86::Instruction;
use x86::paging::AccessKind;

use super::require_kernel;
use crate::cpu::{Cpu, Operand};
use crate::stop::{Next, Stop};

/// INVLPG. A non-canonical address names no translation.
pub(super) fn invlpg(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let (segment, offset) = cpu.effective_address(instruction);
    if let Ok(linear) = cpu.linear(segment, offset, 1, AccessKind::Read) {
        cpu.flush_page(linear);
        cpu.derive();
    }
    Ok(Next::Sequential)
}

/// CLFLUSH, CLFLUSHOPT and CLWB: fault as a load does. There is no cache that anyone could see.
pub(super) fn clflush(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let (segment, offset) = cpu.effective_address(instruction);
    let linear = cpu.linear(segment, offset, 1, AccessKind::Read)?;
    cpu.translate(linear, AccessKind::Read, cpu.privilege())?;
    Ok(Next::Sequential)
}

/// INVPCID (SDM 2: INVPCID). More may be forgotten than is asked for.
pub(super) fn invpcid(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let kind = cpu.register(instruction.op0_register());
    let Operand::Memory(linear) = cpu.operand_address(instruction, 1, 16, AccessKind::Read)? else {
        return Err(Stop::INVALID_OPCODE);
    };
    let pcid = cpu.read(linear, 8, cpu.privilege())?;
    let address = cpu.read(linear.wrapping_add(8), 8, cpu.privilege())?;
    let names_pcid = matches!(kind, 0 | 1);
    if kind > 3 || (names_pcid && (pcid >> 12 != 0 || (pcid != 0 && !cpu.cr4().pcide()))) {
        return Err(Stop::GENERAL_PROTECTION);
    }
    match kind {
        0 if !cpu.is_canonical(address) => return Err(Stop::GENERAL_PROTECTION),
        0 => cpu.flush_page(address),
        1 => cpu.flush_space(pcid as u16),
        _ => cpu.flush_all(),
    }
    cpu.derive();
    Ok(Next::Sequential)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! CLI, STI, PUSHF, POPF, CLAC, STAC and SALC.

use engine::Gpr;
use iced_x86::Instruction;

use crate::cpu::{Cpu, Flags, rflags};
use crate::stop::{Next, Stop};

fn require_io_privilege(cpu: &Cpu) -> Result<(), Stop> {
    // Neither CR4.VME nor CR4.PVI exists, so only IOPL counts. Real mode is level 0.
    if cpu.cpl() <= cpu.iopl() { Ok(()) } else { Err(Stop::GENERAL_PROTECTION) }
}

/// CLI.
pub(super) fn cli(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_io_privilege(cpu)?;
    cpu.set_rflags(cpu.rflags() & !rflags::IF);
    Ok(Next::Sequential)
}

/// STI: interrupts wait for one more instruction if they were off.
pub(super) fn sti(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_io_privilege(cpu)?;
    let old = cpu.rflags();
    cpu.set_rflags(old | rflags::IF);
    if old & rflags::IF == 0 {
        cpu.events.interrupt_shadow = true;
    }
    Ok(Next::Sequential)
}

/// PUSHF, PUSHFD and PUSHFQ.
pub(super) fn pushf(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    if cpu.is_v86() {
        require_io_privilege(cpu)?;
    }
    let image = cpu.rflags() & !(rflags::VM | rflags::RF);
    let mut stack = cpu.stack();
    stack.push(cpu, instruction.stack_pointer_increment().unsigned_abs() as usize, image)?;
    stack.commit(cpu);
    Ok(Next::Sequential)
}

/// POPF, POPFD and POPFQ.
pub(super) fn popf(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    if cpu.is_v86() {
        require_io_privilege(cpu)?;
    }
    let size = instruction.stack_pointer_increment() as usize;
    let mut stack = cpu.stack();
    let image = stack.pop(cpu, size)?;
    let mut changed = rflags::STATUS | rflags::TF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;
    if cpu.cpl() <= cpu.iopl() {
        changed |= rflags::IF;
    }
    if cpu.cpl() == 0 {
        changed |= rflags::IOPL;
    }
    if size == 2 {
        changed &= 0xFFFF;
    }
    stack.commit(cpu);
    cpu.set_rflags(cpu.rflags() & !(changed | rflags::RF) | image & changed);
    Ok(Next::Sequential)
}

fn set_alignment_check(cpu: &mut Cpu, on: bool) -> Result<Next, Stop> {
    if cpu.cpl() != 0 {
        return Err(Stop::INVALID_OPCODE);
    }
    let flags = cpu.rflags();
    cpu.set_rflags(if on { flags | rflags::AC } else { flags & !rflags::AC });
    Ok(Next::Sequential)
}

/// CLAC.
pub(super) fn clac(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    set_alignment_check(cpu, false)
}

/// STAC.
pub(super) fn stac(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    set_alignment_check(cpu, true)
}

/// SALC: AL is all ones or zeros, as CF is. Every processor has it; AMD's manuals leave it out.
pub(super) fn salc(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    let value = if cpu.flags.has(Flags::CF) { 0xFF } else { 0 };
    cpu.set_gpr_part(Gpr::Rax, 1, value);
    Ok(Next::Sequential)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debug registers, breakpoints and single step (SDM 3B 17.2, 17.3).

use engine::{DebugRegisters, Gpr};
use iced_x86::{Decoder, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use x86::control::{BreakpointCondition, Dr7};
use x86::exception::Exception;

use super::control::operand_mask;
use super::require_kernel;
use crate::cpu::{CodeSize, Cpu, rflags, segment_of};
use crate::stop::{Next, Raised, Stop};

/// DR6.BD: debug registers were touched while DR7.GD guarded them.
const GENERAL_DETECT: u64 = 1 << 13;

fn debug_exception(bits: u64) -> Raised {
    Raised { exception: Exception::Debug, error_code: 0, parameter: bits }
}

/// Checks that debug registers may be touched now, and gives the number of the one that is meant.
fn register_number(cpu: &mut Cpu, register: Register) -> Result<usize, Stop> {
    let number = register.number();
    let number = match number {
        4 | 5 if cpu.cr4().de() => return Err(Stop::INVALID_OPCODE),
        // Without CR4.DE, DR4 and DR5 are other names of DR6 and DR7.
        4 | 5 => number + 2,
        8.. => return Err(Stop::INVALID_OPCODE),
        _ => number,
    };
    require_kernel(cpu)?;
    if Dr7::from_bits(cpu.debug().dr7).gd() {
        return Err(Stop::Exception(debug_exception(GENERAL_DETECT)));
    }
    Ok(number)
}

/// MOV from a debug register.
pub(super) fn read(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let number = register_number(cpu, instruction.op1_register())?;
    let debug = cpu.debug();
    let value = match number {
        6 => debug.dr6,
        7 => debug.dr7,
        _ => debug.dr[number],
    };
    cpu.set_register(instruction.op0_register(), value & operand_mask(cpu));
    Ok(Next::Sequential)
}

/// MOV to a debug register.
pub(super) fn write(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    const DR6_WRITABLE: u64 = 0xE00F;
    const DR6_ONES: u64 = 0xFFFF_0FF0;
    const DR7_WRITABLE: u64 = 0xFFFF_23FF;
    const DR7_ONES: u64 = 0x400;
    let number = register_number(cpu, instruction.op0_register())?;
    let value = cpu.register(instruction.op1_register()) & operand_mask(cpu);
    let mut debug = cpu.debug();
    if number >= 6 && value >> 32 != 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    match number {
        6 => debug.dr6 = value & DR6_WRITABLE | DR6_ONES,
        7 => debug.dr7 = value & DR7_WRITABLE | DR7_ONES,
        _ => debug.dr[number] = value,
    }
    cpu.set_debug(debug);
    Ok(Next::Sequential)
}

/// Before an instruction, while the processor steps: an instruction breakpoint, unless RFLAGS.RF is set.
///
/// # Errors
/// #DB, a fault.
pub fn before_step(cpu: &mut Cpu) -> Result<(), Raised> {
    let debug = cpu.debug();
    // A load of SS holds off the breakpoint of the instruction behind it (SDM 3A 6.8.3).
    let after_stack_load = std::mem::take(&mut cpu.holds_trap) && cpu.events.interrupt_shadow;
    cpu.data_breakpoints_met = 0;
    if debug.dr7 & 0xFF == 0 {
        return Ok(());
    }
    cpu.data_breakpoints_met = data_breakpoints(cpu);
    if after_stack_load || cpu.rflags() & rflags::RF != 0 {
        return Ok(());
    }
    let linear = cpu.code_linear(cpu.rip);
    let met = breakpoints(&debug).filter(|(index, breakpoint)| {
        breakpoint.condition == BreakpointCondition::Execute && debug.dr[*index] == linear
    });
    match met.fold(0, |bits, (index, _)| bits | 1 << index) {
        0 => Ok(()),
        bits => Err(debug_exception(bits)),
    }
}

fn breakpoints(debug: &DebugRegisters) -> impl Iterator<Item = (usize, x86::control::Breakpoint)> {
    let dr7 = Dr7::from_bits(debug.dr7);
    (0..4).map(move |index| (index, dr7.breakpoint(index))).filter(|(_, breakpoint)| breakpoint.enabled)
}

/// The first port that an instruction accesses, and how many bytes, if it is one that does.
fn port_access(cpu: &Cpu, instruction: &Instruction) -> Option<(u64, u64)> {
    use Mnemonic as M;
    let port = match instruction.mnemonic() {
        M::In if instruction.op1_kind() == OpKind::Immediate8 => instruction.immediate(1),
        M::Out if instruction.op0_kind() == OpKind::Immediate8 => instruction.immediate(0),
        M::In | M::Out | M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd => {
            cpu.gpr(Gpr::Rdx) & 0xFFFF
        }
        _ => return None,
    };
    let size = match instruction.mnemonic() {
        M::In => instruction.op0_register().size(),
        M::Out => instruction.op1_register().size(),
        _ => instruction.memory_size().size(),
    };
    Some((port, size as u64))
}

/// The data and port breakpoints that the instruction at RIP will meet if it is executed, as bits of DR6.
fn data_breakpoints(cpu: &mut Cpu) -> u64 {
    let debug = cpu.debug();
    if !breakpoints(&debug).any(|(_, breakpoint)| breakpoint.condition != BreakpointCondition::Execute) {
        return 0;
    }
    let (bytes, length) = cpu.bytes_at_rip();
    let bits = match cpu.mode().code_size() {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    };
    let instruction =
        &Decoder::with_ip(bits, &bytes[..length.into()], cpu.rip, crate::decode::options(cpu)).decode();
    let mut factory = InstructionInfoFactory::new();
    let mut bits = 0;
    if cpu.cr4().de()
        && let Some((port, size)) = port_access(cpu, instruction)
    {
        for (index, breakpoint) in breakpoints(&debug) {
            let first = debug.dr[index] & !(u64::from(breakpoint.length) - 1);
            let meets = port < first.wrapping_add(breakpoint.length.into()) && first < port + size;
            if breakpoint.condition == BreakpointCondition::Io && meets {
                bits |= 1 << index;
            }
        }
    }
    for used in factory.info(instruction).used_memory() {
        let (reads, writes) = match used.access() {
            OpAccess::Read | OpAccess::CondRead => (true, false),
            OpAccess::Write | OpAccess::CondWrite => (false, true),
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
            _ => continue,
        };
        let value = |register: Register| match register {
            Register::None => 0,
            register => cpu.register(register),
        };
        // iced has already added RIP to displacements that are relative to it, and names no base then.
        let offset = value(used.base())
            .wrapping_add(value(used.index()).wrapping_mul(used.scale() as u64))
            .wrapping_add(used.displacement());
        let segment = cpu.segment(segment_of(used.segment()));
        let flat = cpu.mode().is_64() && !matches!(used.segment(), Register::FS | Register::GS);
        let start = if flat { offset } else { segment.base.wrapping_add(offset) };
        let end = start.wrapping_add(used.memory_size().size().max(1) as u64);
        for (index, breakpoint) in breakpoints(&debug) {
            let wanted = match breakpoint.condition {
                BreakpointCondition::Write => writes,
                BreakpointCondition::ReadWrite => reads || writes,
                _ => false,
            };
            let first = debug.dr[index] & !(u64::from(breakpoint.length) - 1);
            if wanted && start < first.wrapping_add(breakpoint.length.into()) && first < end {
                bits |= 1 << index;
            }
        }
    }
    bits
}

/// After an instruction was executed, while the processor steps. `before` is RFLAGS before it: with TF set it ends in the single-step trap. Data breakpoints that it
/// met are reported with it. RFLAGS.RF covered this one instruction, and goes unless the instruction has just set it. The interrupt shadow is the caller's.
#[must_use]
pub fn after_step(cpu: &mut Cpu, before: u64) -> Option<Raised> {
    const SINGLE_STEP: u64 = 1 << 14;
    if before & rflags::RF != 0 {
        cpu.set_rflags(cpu.rflags() & !rflags::RF);
    }
    let met = std::mem::take(&mut cpu.data_breakpoints_met);
    let traps = before & rflags::TF != 0 && !std::mem::take(&mut cpu.holds_trap);
    let bits = met | if traps { SINGLE_STEP } else { 0 };
    (bits != 0).then(|| debug_exception(bits))
}

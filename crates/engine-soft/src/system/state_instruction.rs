// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory side of instructions that control, save and restore x87, MMX and SSE state. What they do to the state itself is
//! [`host_execution`](crate::host_execution)'s.

use engine::Gpr;
use iced_x86::{EncodingKind, Instruction, Mnemonic, OpKind, Register};
use x86::paging::AccessKind;

use super::require_kernel;
use crate::cpu::{Cpu, Operand};
use crate::host_execution::{
    AVX, Environment, Placement, PointerWidth, RestoreForm, SaveForm, StateInstruction, VectorState,
    XrstorError, place,
};
use crate::stop::{Next, Stop};

/// Whether [`execute`] is the one to execute an instruction.
pub(super) fn is_one(instruction: &Instruction) -> bool {
    matches!(place(instruction), Placement::State(_))
}

/// Executes one of [`StateInstruction`].
pub(super) fn execute(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let Placement::State(which) = place(instruction) else { return Err(Stop::INVALID_OPCODE) };
    cpu.check_requirement(which.requirement(instruction.encoding() == EncodingKind::VEX))?;
    if which.is_waiting() && cpu.frame.vector.x87_exception_pending() {
        return Err(cpu.x87_exception());
    }
    match which {
        StateInstruction::Wait | StateInstruction::Nothing => {}
        StateInstruction::Fninit => cpu.frame.vector.fninit(),
        StateInstruction::Fnclex => cpu.frame.vector.fnclex(),
        StateInstruction::Fnstsw => store_word(cpu, instruction, cpu.frame.vector.fsw())?,
        StateInstruction::Fnstcw => store_word(cpu, instruction, cpu.frame.vector.fcw())?,
        StateInstruction::Fldcw => {
            let value = cpu.read_operand(instruction, 0, 2)?;
            cpu.frame.vector.fldcw(value as u16);
        }
        StateInstruction::Fnstenv | StateInstruction::Fnsave => store_environment(cpu, instruction, which)?,
        StateInstruction::Fldenv | StateInstruction::Frstor => load_environment(cpu, instruction, which)?,
        StateInstruction::Fxsave => fxsave(cpu, instruction)?,
        StateInstruction::Fxrstor => fxrstor(cpu, instruction)?,
        StateInstruction::Ldmxcsr => {
            let value = cpu.read_operand(instruction, 0, 4)?;
            cpu.frame.vector.set_mxcsr(value as u32).map_err(|_| Stop::GENERAL_PROTECTION)?;
        }
        StateInstruction::Stmxcsr => cpu.write_operand(instruction, 0, 4, cpu.frame.vector.mxcsr().into())?,
        StateInstruction::Xsave => xsave(cpu, instruction)?,
        StateInstruction::Xrstor => xrstor(cpu, instruction)?,
        StateInstruction::Vzero => {
            let registers = if cpu.mode().is_64() { 16 } else { 8 };
            for index in 0..registers {
                cpu.frame.vector.set_ymm_high(index, 0);
                if instruction.mnemonic() == Mnemonic::Vzeroall {
                    cpu.frame.vector.set_xmm(index, 0);
                }
            }
        }
    }
    Ok(Next::Sequential)
}

fn store_word(cpu: &mut Cpu, instruction: &Instruction, value: u16) -> Result<(), Stop> {
    if instruction.op0_kind() == OpKind::Register {
        cpu.set_register(Register::AX, value.into());
        Ok(())
    } else {
        cpu.write_operand(instruction, 0, 2, value.into())
    }
}

/// Linear address of the memory operand, checked for `size` bytes.
fn area(
    cpu: &Cpu,
    instruction: &Instruction,
    size: usize,
    kind: AccessKind,
    alignment: u64,
) -> Result<u64, Stop> {
    let Operand::Memory(linear) = cpu.operand_address(instruction, 0, size, kind)? else {
        return Err(Stop::INVALID_OPCODE);
    };
    if linear.is_multiple_of(alignment) { Ok(linear) } else { Err(Stop::GENERAL_PROTECTION) }
}

fn environment(cpu: &Cpu, instruction: &Instruction) -> Environment {
    let wide = matches!(instruction.memory_size().size(), 28 | 108);
    match (cpu.is_real_mode() || cpu.is_v86(), wide) {
        (false, true) => Environment::Protected32,
        (false, false) => Environment::Protected16,
        (true, true) => Environment::Real32,
        (true, false) => Environment::Real16,
    }
}

fn store_environment(cpu: &mut Cpu, instruction: &Instruction, which: StateInstruction) -> Result<(), Stop> {
    let form = environment(cpu, instruction);
    let size = form.size() + if which == StateInstruction::Fnsave { 80 } else { 0 };
    let linear = area(cpu, instruction, size, AccessKind::Write, 1)?;
    // The state changes with the store, so the store has to succeed first.
    let mut after = cpu.frame.vector.clone();
    let mut bytes = [0; 108];
    if which == StateInstruction::Fnsave {
        bytes = after.fnsave(form);
    } else {
        bytes[..28].copy_from_slice(&after.fnstenv(form));
    }
    cpu.write_bytes(linear, &bytes[..size], cpu.privilege())?;
    cpu.frame.vector = after;
    Ok(())
}

fn load_environment(cpu: &mut Cpu, instruction: &Instruction, which: StateInstruction) -> Result<(), Stop> {
    let form = environment(cpu, instruction);
    let size = form.size() + if which == StateInstruction::Frstor { 80 } else { 0 };
    let linear = area(cpu, instruction, size, AccessKind::Read, 1)?;
    let mut bytes = [0; 108];
    cpu.read_bytes(linear, &mut bytes[..size], cpu.privilege())?;
    if which == StateInstruction::Frstor {
        cpu.frame.vector.frstor(form, &bytes[..size]);
    } else {
        cpu.frame.vector.fldenv(form, &bytes[..size]);
    }
    Ok(())
}

fn pointer_width(instruction: &Instruction) -> PointerWidth {
    use Mnemonic as M;
    let wide = matches!(
        instruction.mnemonic(),
        M::Fxsave64
            | M::Fxrstor64
            | M::Xsave64
            | M::Xsaveopt64
            | M::Xsavec64
            | M::Xsaves64
            | M::Xrstor64
            | M::Xrstors64
    );
    if wide { PointerWidth::Offset64 } else { PointerWidth::Offset32 }
}

fn fxsave(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), Stop> {
    let linear = area(cpu, instruction, 512, AccessKind::Write, 16)?;
    // The reserved end of the area is not written, but must be there.
    cpu.probe_write(linear, 512, cpu.privilege())?;
    let (image, length) = cpu.frame.vector.fxsave(pointer_width(instruction), cpu.mode().is_64());
    cpu.write_bytes(linear, &image[..length], cpu.privilege())
}

fn fxrstor(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), Stop> {
    let linear = area(cpu, instruction, 512, AccessKind::Read, 16)?;
    let mut image = [0; 512];
    cpu.read_bytes(linear, &mut image, cpu.privilege())?;
    let is_64 = cpu.mode().is_64();
    cpu.frame.vector.fxrstor(&image, pointer_width(instruction), is_64).map_err(|_| Stop::GENERAL_PROTECTION)
}

/// EDX:EAX.
fn requested(cpu: &Cpu) -> u64 {
    cpu.gpr(Gpr::Rdx) << 32 | cpu.gpr(Gpr::Rax) & 0xFFFF_FFFF
}

/// Bytes of an XSAVE area, in either form, for the components of `mask`: the legacy region and the header always are there.
const fn area_bytes(mask: u64) -> usize {
    VectorState::AVX_START + if mask & AVX != 0 { VectorState::AVX_BYTES } else { 0 }
}

fn xsave(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), Stop> {
    use Mnemonic as M;
    let form = match instruction.mnemonic() {
        M::Xsave | M::Xsave64 => SaveForm::Xsave,
        M::Xsaveopt | M::Xsaveopt64 => SaveForm::Xsaveopt,
        M::Xsavec | M::Xsavec64 => SaveForm::Xsavec,
        _ => SaveForm::Xsaves,
    };
    if form == SaveForm::Xsaves {
        require_kernel(cpu)?;
    }
    let mask = requested(cpu) & cpu.control().xcr0;
    let bytes = area_bytes(mask);
    let linear = area(cpu, instruction, bytes, AccessKind::Write, 64)?;
    let privilege = cpu.privilege();
    cpu.probe_write(linear, bytes, privilege)?;
    let old = cpu.read(linear + 512, 8, privilege)?;
    let vector = cpu.frame.vector.clone();
    vector.xsave(form, mask, pointer_width(instruction), cpu.mode().is_64(), old, |offset, bytes| {
        cpu.write_bytes(linear + offset as u64, bytes, privilege)
    })
}

fn xrstor(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), Stop> {
    let form = match instruction.mnemonic() {
        Mnemonic::Xrstors | Mnemonic::Xrstors64 => RestoreForm::Xrstors,
        _ => RestoreForm::Xrstor,
    };
    if form == RestoreForm::Xrstors {
        require_kernel(cpu)?;
    }
    let (mask, enabled) = (requested(cpu), cpu.control().xcr0);
    let linear = area(cpu, instruction, area_bytes(mask & enabled), AccessKind::Read, 64)?;
    let privilege = cpu.privilege();
    let (width, is_64) = (pointer_width(instruction), cpu.mode().is_64());
    let mut vector = cpu.frame.vector.clone();
    let outcome = vector.xrstor(form, mask, enabled, width, is_64, |offset, bytes| {
        cpu.read_bytes(linear + offset as u64, bytes, privilege)
    });
    match outcome {
        Ok(()) => {
            cpu.frame.vector = vector;
            Ok(())
        }
        Err(XrstorError::GeneralProtection) => Err(Stop::GENERAL_PROTECTION),
        Err(XrstorError::Memory(stop)) => Err(stop),
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that control, save and restore x87 and SSE state, the XSAVE family excepted: their memory side.

use iced_x86::{EncodingKind, Instruction, Mnemonic};
use x86::paging::AccessKind;

use crate::cpu::{Cpu, Operand};
use crate::host_execution::{Environment, PointerWidth, StateInstruction};
use crate::stop::{Next, Stop};
use crate::system::SlowInstruction;

/// The function that executes a state instruction, if it is one of these.
pub(crate) fn state_instruction(which: StateInstruction) -> Option<SlowInstruction> {
    match which {
        StateInstruction::Xsave | StateInstruction::Xrstor => None,
        _ => Some(execute),
    }
}

fn memory(cpu: &Cpu, instruction: &Instruction, size: usize, kind: AccessKind) -> Result<u64, Stop> {
    match cpu.operand_address(instruction, 0, size, kind)? {
        Operand::Memory(linear) => Ok(linear),
        Operand::Register(_) => Err(Stop::INVALID_OPCODE),
    }
}

fn environment(cpu: &Cpu, instruction: &Instruction) -> Environment {
    let wide = !matches!(instruction.memory_size().size(), 14 | 94);
    match (cpu.is_real_mode() || cpu.is_v86(), wide) {
        (false, true) => Environment::Protected32,
        (false, false) => Environment::Protected16,
        (true, true) => Environment::Real32,
        (true, false) => Environment::Real16,
    }
}

fn pointer_width(instruction: &Instruction) -> PointerWidth {
    match instruction.mnemonic() {
        Mnemonic::Fxsave64 | Mnemonic::Fxrstor64 => PointerWidth::Offset64,
        _ => PointerWidth::Offset32,
    }
}

fn execute(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let crate::host_execution::Placement::State(which) = crate::host_execution::place(instruction) else {
        return Err(Stop::INVALID_OPCODE);
    };
    let is_vex = instruction.code().encoding() == EncodingKind::VEX;
    cpu.check_requirement(which.requirement(is_vex))?;
    if which.is_waiting() && cpu.frame.vector.x87_exception_pending() {
        return Err(cpu.x87_exception());
    }
    let privilege = cpu.privilege();
    match which {
        StateInstruction::Wait | StateInstruction::Nothing => {}
        StateInstruction::Fninit => cpu.frame.vector.fninit(),
        StateInstruction::Fnclex => cpu.frame.vector.fnclex(),
        StateInstruction::Fnstsw => {
            let value = cpu.frame.vector.fsw().into();
            cpu.write_operand(instruction, 0, 2, value)?;
        }
        StateInstruction::Fnstcw => {
            let value = cpu.frame.vector.fcw().into();
            cpu.write_operand(instruction, 0, 2, value)?;
        }
        StateInstruction::Fldcw => {
            let value = cpu.read_operand(instruction, 0, 2)?;
            cpu.frame.vector.fldcw(value as u16);
        }
        StateInstruction::Ldmxcsr => {
            let value = cpu.read_operand(instruction, 0, 4)?;
            cpu.frame.vector.set_mxcsr(value as u32).map_err(|_| Stop::GENERAL_PROTECTION)?;
        }
        StateInstruction::Stmxcsr => {
            let value = cpu.frame.vector.mxcsr().into();
            cpu.write_operand(instruction, 0, 4, value)?;
        }
        StateInstruction::Fnstenv => {
            let form = environment(cpu, instruction);
            let linear = memory(cpu, instruction, form.size(), AccessKind::Write)?;
            cpu.probe_write(linear, form.size(), privilege)?;
            let before = cpu.frame.vector.clone();
            let bytes = cpu.frame.vector.fnstenv(form);
            if let Err(stop) = cpu.write_bytes(linear, &bytes[..form.size()], privilege) {
                cpu.frame.vector = before;
                return Err(stop);
            }
        }
        StateInstruction::Fldenv => {
            let form = environment(cpu, instruction);
            let linear = memory(cpu, instruction, form.size(), AccessKind::Read)?;
            let mut bytes = [0; 28];
            cpu.read_bytes(linear, &mut bytes[..form.size()], privilege)?;
            cpu.frame.vector.fldenv(form, &bytes[..form.size()]);
        }
        StateInstruction::Fnsave => {
            let form = environment(cpu, instruction);
            let size = form.size() + 80;
            let linear = memory(cpu, instruction, size, AccessKind::Write)?;
            cpu.probe_write(linear, size, privilege)?;
            let before = cpu.frame.vector.clone();
            let bytes = cpu.frame.vector.fnsave(form);
            if let Err(stop) = cpu.write_bytes(linear, &bytes[..size], privilege) {
                cpu.frame.vector = before;
                return Err(stop);
            }
        }
        StateInstruction::Frstor => {
            let form = environment(cpu, instruction);
            let size = form.size() + 80;
            let linear = memory(cpu, instruction, size, AccessKind::Read)?;
            let mut bytes = [0; 108];
            cpu.read_bytes(linear, &mut bytes[..size], privilege)?;
            cpu.frame.vector.frstor(form, &bytes[..size]);
        }
        StateInstruction::Fxsave => {
            let linear = memory(cpu, instruction, 512, AccessKind::Write)?;
            if !linear.is_multiple_of(16) {
                return Err(Stop::GENERAL_PROTECTION);
            }
            let (image, length) = cpu.frame.vector.fxsave(pointer_width(instruction), cpu.mode().is_64());
            cpu.write_bytes(linear, &image[..length], privilege)?;
        }
        StateInstruction::Fxrstor => {
            let linear = memory(cpu, instruction, 512, AccessKind::Read)?;
            if !linear.is_multiple_of(16) {
                return Err(Stop::GENERAL_PROTECTION);
            }
            let mut image = [0; 512];
            cpu.read_bytes(linear, &mut image, privilege)?;
            let is_64 = cpu.mode().is_64();
            cpu.frame
                .vector
                .fxrstor(&image, pointer_width(instruction), is_64)
                .map_err(|_| Stop::GENERAL_PROTECTION)?;
        }
        StateInstruction::Vzero => {
            let registers = if cpu.mode().is_64() { 16 } else { 8 };
            for index in 0..registers {
                cpu.frame.vector.set_ymm_high(index, 0);
                if instruction.mnemonic() == Mnemonic::Vzeroall {
                    cpu.frame.vector.set_xmm(index, 0);
                }
            }
        }
        StateInstruction::Xsave | StateInstruction::Xrstor => return Err(Stop::INVALID_OPCODE),
    }
    Ok(Next::Sequential)
}

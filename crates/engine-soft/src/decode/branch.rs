// SPDX-License-Identifier: MIT OR Apache-2.0
//! Near branches, and the ends of blocks.

use iced_x86::{Mnemonic, OpKind};

use super::Made;
use super::operands::{memory, plain, register};
use super::select::Context;
use crate::block::{Handler, Op};
use crate::cpu::{CodeSize, Cpu};
use crate::execute::{self, Branch, Kind};

macro_rules! by_condition {
    ($handler:ident, $code:expr) => {{
        const HANDLERS: [Handler; 16] = [
            execute::$handler::<0>,
            execute::$handler::<1>,
            execute::$handler::<2>,
            execute::$handler::<3>,
            execute::$handler::<4>,
            execute::$handler::<5>,
            execute::$handler::<6>,
            execute::$handler::<7>,
            execute::$handler::<8>,
            execute::$handler::<9>,
            execute::$handler::<10>,
            execute::$handler::<11>,
            execute::$handler::<12>,
            execute::$handler::<13>,
            execute::$handler::<14>,
            execute::$handler::<15>,
        ];
        HANDLERS[usize::from($code)]
    }};
}

fn full_width(cpu: &Cpu) -> u8 {
    match cpu.mode().code_size() {
        CodeSize::Bits64 => 8,
        // EIP; a wrap around at 64 KiB is the segment limit's affair.
        _ => 4,
    }
}

const fn is_inside(displacement: i64) -> bool {
    0 <= displacement && displacement < 0x1000
}

/// The end of a block after `count` instructions, which goes on at offset `at`.
pub(super) fn end(cpu: &Cpu, at: u16, count: u8, stepping: bool) -> Op {
    let mut op = plain(at, 0, execute::end_step);
    op.displacement = at.into();
    op.index = full_width(cpu);
    op.extra = count;
    if !stepping {
        op.set_handler(if is_inside(op.displacement) {
            execute::jump_inside
        } else if cpu.mode().is_64() {
            execute::jump_outside
        } else {
            execute::end_step
        });
    }
    op
}

/// The operation of a near branch, if `context` is one.
pub(super) fn operation(cpu: &Cpu, context: &Context<'_>) -> Option<Made> {
    let instruction = context.instruction;
    let is_64 = cpu.mode().is_64();
    let length = instruction.len() as u8;
    let mut op = plain(context.at, length, execute::branch_slow);
    op.extra = context.count;
    op.index = full_width(cpu);
    let made = |op: Op, kind, size: usize, detail| {
        let mut data = plain(context.at, length, execute::undefined);
        execute::branch_data(&mut data, Branch { kind, size: size as u8, detail });
        Some(Made::LeavesWithData(op, data))
    };
    let direct =
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    if direct {
        let size = match instruction.op0_kind() {
            OpKind::NearBranch16 => 2,
            OpKind::NearBranch32 => 4,
            _ => 8,
        };
        // Targets before the page come out of the decoder wrapped around at their width.
        let target = instruction.near_branch_target();
        op.displacement = match size {
            2 => i64::from(target as i16),
            4 => i64::from(target as i32),
            _ => target as i64,
        };
        op.index = size as u8;
        // A branch that cuts RIP in wider code is never inside.
        let natural =
            size == usize::from(full_width(cpu)) || (size == 2 && cpu.mode().code_size() == CodeSize::Bits16);
        let inside = is_inside(op.displacement) && natural && !context.stepping;
        let outside = is_64 && natural && !context.stepping;
        if instruction.is_jcc_short_or_near() {
            let code = condition(instruction.mnemonic());
            if inside {
                op.set_handler(by_condition!(branch_inside, code));
                return Some(Made::BranchInside(op, code));
            }
            if outside {
                op.set_handler(by_condition!(branch_outside, code));
                return Some(Made::Operation(op));
            }
            return made(op, Kind::Conditional, size, code);
        }
        let (kind, detail) = match instruction.mnemonic() {
            Mnemonic::Jmp => (Kind::Jump, 0),
            Mnemonic::Call => (Kind::Call, 0),
            Mnemonic::Jcxz => (Kind::CounterZero, 2),
            Mnemonic::Jecxz => (Kind::CounterZero, 4),
            Mnemonic::Jrcxz => (Kind::CounterZero, 8),
            Mnemonic::Loop => (Kind::Loop, loop_width(instruction)),
            Mnemonic::Loope => (Kind::LoopEqual, loop_width(instruction)),
            Mnemonic::Loopne => (Kind::LoopNotEqual, loop_width(instruction)),
            _ => return None,
        };
        match kind {
            Kind::Jump if inside => op.set_handler(execute::jump_inside),
            Kind::Jump if outside => op.set_handler(execute::jump_outside),
            Kind::Call if inside && is_64 => op.set_handler(execute::call_64::<true>),
            Kind::Call if outside => op.set_handler(execute::call_64::<false>),
            _ => {}
        }
        return made(op, kind, size, detail);
    }
    let fast = is_64 && !context.stepping;
    match instruction.mnemonic() {
        Mnemonic::Ret => {
            let size = return_size(instruction);
            op.immediate = if instruction.op_count() == 1 { instruction.immediate(0) } else { 0 };
            if fast && size == 8 {
                op.set_handler(execute::return_64);
            }
            made(op, Kind::Return, size, 0)
        }
        mnemonic @ (Mnemonic::Jmp | Mnemonic::Call) => {
            let call = mnemonic == Mnemonic::Call;
            match instruction.op0_kind() {
                OpKind::Register => {
                    op.register = register(instruction.op0_register());
                    let size = instruction.op0_register().size();
                    if fast && size == 8 {
                        op.set_handler(if call {
                            execute::call_register_64
                        } else {
                            execute::jump_register_64
                        });
                    }
                    made(op, if call { Kind::CallRegister } else { Kind::JumpRegister }, size, 0)
                }
                OpKind::Memory
                    if instruction.is_call_near_indirect() || instruction.is_jmp_near_indirect() =>
                {
                    let simple = memory(cpu, instruction, &mut op);
                    let size = instruction.memory_size().size();
                    if fast && simple && size == 8 {
                        op.set_handler(if call { execute::call_memory_64 } else { execute::jump_memory_64 });
                    }
                    made(op, if call { Kind::CallMemory } else { Kind::JumpMemory }, size, 0)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn return_size(instruction: &iced_x86::Instruction) -> usize {
    use iced_x86::Code;
    match instruction.code() {
        Code::Retnw | Code::Retnw_imm16 => 2,
        Code::Retnd | Code::Retnd_imm16 => 4,
        _ => 8,
    }
}

fn loop_width(instruction: &iced_x86::Instruction) -> u8 {
    use iced_x86::Code as C;
    match instruction.code() {
        C::Loop_rel8_16_CX
        | C::Loop_rel8_32_CX
        | C::Loope_rel8_16_CX
        | C::Loope_rel8_32_CX
        | C::Loopne_rel8_16_CX
        | C::Loopne_rel8_32_CX => 2,
        C::Loop_rel8_64_RCX
        | C::Loop_rel8_16_RCX
        | C::Loope_rel8_64_RCX
        | C::Loope_rel8_16_RCX
        | C::Loopne_rel8_64_RCX
        | C::Loopne_rel8_16_RCX => 8,
        _ => 4,
    }
}

/// The condition code of a Jcc, SETcc or CMOVcc.
pub(super) fn condition(mnemonic: Mnemonic) -> u8 {
    use Mnemonic as M;
    match mnemonic {
        M::Jo | M::Seto | M::Cmovo => 0,
        M::Jno | M::Setno | M::Cmovno => 1,
        M::Jb | M::Setb | M::Cmovb => 2,
        M::Jae | M::Setae | M::Cmovae => 3,
        M::Je | M::Sete | M::Cmove => 4,
        M::Jne | M::Setne | M::Cmovne => 5,
        M::Jbe | M::Setbe | M::Cmovbe => 6,
        M::Ja | M::Seta | M::Cmova => 7,
        M::Js | M::Sets | M::Cmovs => 8,
        M::Jns | M::Setns | M::Cmovns => 9,
        M::Jp | M::Setp | M::Cmovp => 10,
        M::Jnp | M::Setnp | M::Cmovnp => 11,
        M::Jl | M::Setl | M::Cmovl => 12,
        M::Jge | M::Setge | M::Cmovge => 13,
        M::Jle | M::Setle | M::Cmovle => 14,
        _ => 15,
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integer instructions: which handler, and its operands.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::Made;
use super::branch::condition;
use super::operands::{address_width, memory, plain, register};
use super::select::Context;
use super::shapes::*;
use crate::block::Op;
use crate::cpu::Cpu;
use crate::execute::*;

/// Operand size of pushes and pops, from the instruction's own move of the stack pointer.
fn stack_size(instruction: &Instruction) -> usize {
    instruction.stack_pointer_increment().unsigned_abs() as usize
}

/// The operation of an integer instruction, if it is one.
#[allow(clippy::too_many_lines)]
pub(super) fn operation(cpu: &Cpu, context: &Context<'_>) -> Option<Made> {
    use Mnemonic as M;
    let instruction = context.instruction;
    let mnemonic = instruction.mnemonic();
    let mut shape = shape(instruction);
    let lock = instruction.has_lock_prefix();
    let mut op = plain(context.at, instruction.len() as u8, undefined);
    let size = match shape {
        Shape::RegReg | Shape::RegMem | Shape::RegImm | Shape::Reg => instruction.op0_register().size(),
        Shape::MemReg | Shape::MemImm | Shape::Mem => instruction.memory_size().size(),
        _ => 0,
    };
    // Segment registers as operands of MOV and PUSH.
    let segment_operand = |index: u32| {
        instruction.op_count() > index
            && instruction.op_kind(index) == OpKind::Register
            && instruction.op_register(index).is_segment_register()
    };
    let is_special = |index: u32| {
        instruction.op_kind(index) == OpKind::Register
            && !instruction.op_register(index).is_gpr()
            && !instruction.op_register(index).is_segment_register()
    };
    if (0..instruction.op_count()).any(is_special) {
        return None;
    }
    let by_cl = instruction.op_count() == 3 && instruction.op2_kind() == OpKind::Register;
    let mut simple_only = false;
    let handlers = match mnemonic {
        M::Add => fusable_binary::<Add>(shape, size, lock)?,
        M::Or => binary::<Or>(shape, size, lock)?,
        M::Adc => binary::<Adc>(shape, size, lock)?,
        M::Sbb => binary::<Sbb>(shape, size, lock)?,
        M::And => fusable_binary::<And>(shape, size, lock)?,
        M::Sub => fusable_binary::<Sub>(shape, size, lock)?,
        M::Xor => binary::<Xor>(shape, size, lock)?,
        M::Cmp => comparison::<Cmp>(shape, size)?,
        M::Test => comparison::<Test>(shape, size)?,
        M::Inc => fusable_unary::<Inc>(shape, size, lock)?,
        M::Dec => fusable_unary::<Dec>(shape, size, lock)?,
        M::Neg => unary::<Neg>(shape, size, lock)?,
        M::Not => unary::<Not>(shape, size, lock)?,
        M::Shl | M::Sal => shift::<Shl>(shape, size)?,
        M::Shr => shift::<Shr>(shape, size)?,
        M::Sar => shift::<Sar>(shape, size)?,
        M::Rol => shift::<Rol>(shape, size)?,
        M::Ror => shift::<Ror>(shape, size)?,
        M::Rcl => shift::<Rcl>(shape, size)?,
        M::Rcr => shift::<Rcr>(shape, size)?,
        M::Shld => double_shift::<Shld>(shape, size, by_cl)?,
        M::Shrd => double_shift::<Shrd>(shape, size, by_cl)?,
        M::Bt => bit::<Bt>(shape, size, false)?,
        M::Bts => bit::<Bts>(shape, size, lock)?,
        M::Btr => bit::<Btr>(shape, size, lock)?,
        M::Btc => bit::<Btc>(shape, size, lock)?,
        M::Bsf => scan::<Bsf>(shape, size)?,
        M::Bsr => scan::<Bsr>(shape, size)?,
        // Where they are not offered they are BSF and BSR with a prefix that does nothing.
        M::Tzcnt if !cpu.offered.bmi1() => scan::<Bsf>(shape, size)?,
        M::Lzcnt if !cpu.offered.lzcnt() => scan::<Bsr>(shape, size)?,
        M::Mov if segment_operand(0) => return None,
        M::Mov if segment_operand(1) => match shape {
            Shape::RegReg => wide!(size, MovRegSegment),
            _ => of::<MovMemSegment>(),
        },
        M::Mov => match shape {
            Shape::RegReg => widths!(size, MovRegReg),
            Shape::RegImm => widths!(size, MovRegImm),
            Shape::RegMem => widths!(size, Load),
            Shape::MemReg => widths!(size, Store),
            Shape::MemImm => widths!(size, StoreImm),
            _ => return None,
        },
        M::Movzx => {
            let from = source_size(instruction);
            extend!(ZeroExtendReg, ZeroExtendMem, shape, from, size)
        }
        M::Movsx | M::Movsxd => {
            let from = source_size(instruction);
            extend!(SignExtendReg, SignExtendMem, shape, from, size)
        }
        M::Lea => {
            if cpu.mode().is_64() && address_width(cpu, instruction) == 8 {
                wide!(size, Lea64)
            } else {
                wide!(size, Lea)
            }
        }
        M::Xchg => match shape {
            Shape::RegReg => widths!(size, XchgRegReg),
            Shape::MemReg => widths!(size, XchgMem),
            Shape::RegMem => widths!(size, XchgMem),
            _ => return None,
        },
        M::Xadd => match (shape, lock) {
            (Shape::RegReg, _) => widths!(size, XaddReg),
            (Shape::MemReg, false) => widths!(size, XaddMem, 0),
            (Shape::MemReg, true) => widths!(size, XaddMem, 1),
            _ => return None,
        },
        M::Cmpxchg => match (shape, lock) {
            (Shape::RegReg, _) => widths!(size, CmpxchgReg),
            (Shape::MemReg, false) => widths!(size, CmpxchgMem, 0),
            (Shape::MemReg, true) => widths!(size, CmpxchgMem, 1),
            _ => return None,
        },
        M::Cmpxchg8b => of::<Cmpxchg8b>(),
        M::Cmpxchg16b => {
            simple_only = true;
            of::<Cmpxchg16b>()
        }
        M::Bswap => wide!(size, Bswap),
        M::Mul => match shape {
            Shape::Reg => widths!(size, MulReg),
            Shape::Mem => widths!(size, MulMem),
            _ => return None,
        },
        M::Imul => match (shape, instruction.op_count()) {
            (Shape::Reg, _) => widths!(size, ImulReg),
            (Shape::Mem, _) => widths!(size, ImulMem),
            (Shape::RegReg, 2) => wide!(size, Imul2Reg),
            (Shape::RegMem, 2) => wide!(size, Imul2Mem),
            (Shape::RegReg, _) => wide!(size, Imul3Reg),
            (Shape::RegMem, _) => wide!(size, Imul3Mem),
            // The two-operand form with an immediate has the register twice.
            _ => return None,
        },
        M::Div => match shape {
            Shape::Reg => widths!(size, DivReg),
            Shape::Mem => widths!(size, DivMem),
            _ => return None,
        },
        M::Idiv => match shape {
            Shape::Reg => widths!(size, IdivReg),
            Shape::Mem => widths!(size, IdivMem),
            _ => return None,
        },
        M::Push if segment_operand(0) => {
            shape = Shape::None;
            op.extra = instruction.op0_register().number() as u8;
            wide!(stack_size(instruction), PushSegment)
        }
        M::Pop if segment_operand(0) => return None,
        M::Push => match shape {
            Shape::Reg => wide!(size, PushReg),
            Shape::Mem => wide!(size, PushMem),
            Shape::Imm => wide!(stack_size(instruction), PushImm),
            _ => return None,
        },
        M::Pop => match shape {
            Shape::Reg => wide!(size, PopReg),
            Shape::Mem => wide!(size, PopMem),
            _ => return None,
        },
        M::Pusha => {
            simple_only = true;
            of::<PushAll<2>>()
        }
        M::Pushad => {
            simple_only = true;
            of::<PushAll<4>>()
        }
        M::Popa => of::<PopAll<2>>(),
        M::Popad => of::<PopAll<4>>(),
        M::Leave => wide!(leave_size(instruction), Leave),
        M::Enter => {
            simple_only = true;
            op.immediate = instruction.immediate(0) | instruction.immediate(1) << 16;
            shape = Shape::None;
            wide!(leave_size(instruction), Enter)
        }
        M::Bound => wide!(size, Bound),
        M::Cbw => of::<ExtendAccumulator<2>>(),
        M::Cwde => of::<ExtendAccumulator<4>>(),
        M::Cdqe => of::<ExtendAccumulator<8>>(),
        M::Cwd => of::<SignAccumulator<2>>(),
        M::Cdq => of::<SignAccumulator<4>>(),
        M::Cqo => of::<SignAccumulator<8>>(),
        M::Xlatb => {
            xlat_operand(cpu, instruction, &mut op);
            op.set_handler(slow::<Xlat>);
            return Some(Made::Operation(op));
        }
        M::Movbe => match shape {
            Shape::RegMem if cpu.offered.movbe() => wide!(size, MovbeLoad),
            Shape::MemReg if cpu.offered.movbe() => wide!(size, MovbeStore),
            _ => return None,
        },
        M::Clc => of::<Clc>(),
        M::Stc => of::<Stc>(),
        M::Cmc => of::<Cmc>(),
        M::Cld => of::<Cld>(),
        M::Std => of::<Std>(),
        M::Lahf => of::<Lahf>(),
        M::Sahf => of::<Sahf>(),
        M::Aaa => of::<Aaa>(),
        M::Aas => of::<Aas>(),
        M::Daa => of::<Daa>(),
        M::Das => of::<Das>(),
        M::Aam => of::<Aam>(),
        M::Aad => of::<Aad>(),
        M::Nop => {
            shape = Shape::None;
            of::<Nop>()
        }
        _ if is_set(mnemonic) => {
            op.extra = condition(mnemonic);
            if shape == Shape::Reg { of::<SetReg>() } else { of::<SetMem>() }
        }
        _ if is_cmov(mnemonic) => {
            op.extra = condition(mnemonic);
            if shape == Shape::RegReg { wide!(size, CmovRegReg) } else { wide!(size, CmovRegMem) }
        }
        _ => return None,
    };
    let simple = match (mnemonic, shape) {
        (M::Lea, _) => {
            op.register = register(instruction.op0_register());
            memory(cpu, instruction, &mut op);
            // The segment does not matter.
            if matches!(op.index, crate::block::field::FS_BASE | crate::block::field::GS_BASE) {
                op.index = crate::block::field::ZERO;
            }
            true
        }
        (M::Mov | M::Push, Shape::RegReg | Shape::MemReg) if segment_operand(1) => {
            op.extra = instruction.op1_register().number() as u8;
            if shape == Shape::RegReg {
                op.register = register(instruction.op0_register());
                true
            } else {
                memory(cpu, instruction, &mut op)
            }
        }
        // One form for a shift by CL: the second register is not an operand.
        _ => operands(cpu, instruction, shape, &mut op),
    };
    if matches!(mnemonic, M::Imul) && instruction.op_count() == 3 {
        op.immediate = instruction.immediate(2);
    }
    if matches!(mnemonic, M::Shld | M::Shrd) {
        // The destination is first in the instruction, but `base` or memory in the operation.
        if shape == Shape::RegReg {
            op.base = register(instruction.op0_register());
        }
        op.register = register(instruction.op1_register());
        if !by_cl {
            op.immediate = instruction.immediate(2);
        }
    }
    if matches!(mnemonic, M::Xadd | M::Cmpxchg | M::Bt | M::Bts | M::Btr | M::Btc) && shape == Shape::RegReg {
        op.base = register(instruction.op0_register());
        op.register = register(instruction.op1_register());
    }
    let touches_memory =
        matches!(shape, Shape::Mem | Shape::RegMem | Shape::MemReg | Shape::MemImm) && mnemonic != M::Lea;
    let touches_stack = matches!(
        mnemonic,
        M::Push | M::Pop | M::Leave | M::Enter | M::Pusha | M::Pushad | M::Popa | M::Popad
    );
    let fast_path = !simple_only && (!touches_memory || simple) && (!touches_stack || cpu.mode().is_64());
    op.set_handler(if fast_path { handlers.fast } else { handlers.slow });
    Some(match handlers.fused {
        Some(fused) if fast_path => Made::Fusable(op, fused),
        _ => Made::Operation(op),
    })
}

fn source_size(instruction: &Instruction) -> usize {
    match instruction.op1_kind() {
        OpKind::Register => instruction.op1_register().size(),
        _ => instruction.memory_size().size(),
    }
}

/// Operand size of LEAVE and ENTER.
fn leave_size(instruction: &Instruction) -> usize {
    use iced_x86::Code;
    match instruction.code() {
        Code::Leavew | Code::Enterw_imm16_imm8 => 2,
        Code::Leaved | Code::Enterd_imm16_imm8 => 4,
        _ => 8,
    }
}

/// XLAT's implicit operand: [RBX] at the address size; AL is added by its handler.
fn xlat_operand(cpu: &Cpu, instruction: &Instruction, op: &mut Op) {
    memory(cpu, instruction, op);
    op.index = crate::block::field::ZERO;
    op.scale &= 0x30;
}

fn is_set(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Seto
            | M::Setno
            | M::Setb
            | M::Setae
            | M::Sete
            | M::Setne
            | M::Setbe
            | M::Seta
            | M::Sets
            | M::Setns
            | M::Setp
            | M::Setnp
            | M::Setl
            | M::Setge
            | M::Setle
            | M::Setg
    )
}

fn is_cmov(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Cmovo
            | M::Cmovno
            | M::Cmovb
            | M::Cmovae
            | M::Cmove
            | M::Cmovne
            | M::Cmovbe
            | M::Cmova
            | M::Cmovs
            | M::Cmovns
            | M::Cmovp
            | M::Cmovnp
            | M::Cmovl
            | M::Cmovge
            | M::Cmovle
            | M::Cmovg
    )
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fields of operations from iced's operands.

use iced_x86::{Instruction, Register};

use crate::block::{Handler, Op, field};
use crate::cpu::{Cpu, memory_segment};

/// An operation without operands.
pub(super) fn plain(offset: u16, length: u8, handler: Handler) -> Op {
    Op::new(handler, offset, length)
}

/// Byte offset of a general-purpose register of any width.
pub(super) fn register(register: Register) -> u8 {
    let high = matches!(register, Register::AH | Register::CH | Register::DH | Register::BH);
    register.full_register().number() as u8 * 8 + u8::from(high)
}

/// Width of addresses in bytes.
pub(super) fn address_width(cpu: &Cpu, instruction: &Instruction) -> usize {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    match (base, index) {
        (Register::RIP, _) => 8,
        (Register::EIP, _) => 4,
        (Register::None, Register::None) => match instruction.memory_displ_size() {
            2 => 2,
            4 => 4,
            8 => 8,
            _ if cpu.mode().is_64() => 8,
            _ => 4,
        },
        (Register::None, index) => index.size(),
        (base, _) => base.size(),
    }
}

/// Fills in the memory operand; gives whether the fast path can serve it.
pub(super) fn memory(cpu: &Cpu, instruction: &Instruction, op: &mut Op) -> bool {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    let segment = match memory_segment(instruction, cpu.mode().is_64()) {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    };
    op.length_and_segment |= segment << 4;
    op.displacement = instruction.memory_displacement64() as i64;
    op.base = match base {
        Register::None => field::ZERO,
        Register::RIP | Register::EIP => field::IP_BASE,
        base => register(base),
    };
    op.index = if index == Register::None { field::ZERO } else { register(index) };
    op.scale = match instruction.memory_index_scale() {
        2 => 1,
        4 => 2,
        8 => 3,
        _ => 0,
    };
    let width = address_width(cpu, instruction);
    match width {
        2 => op.scale |= 2 << 4,
        4 => op.scale |= 1 << 4,
        _ => {}
    }
    let mut simple = cpu.mode().is_64() && width == 8;
    if simple && (segment == 4 || segment == 5) {
        if index == Register::None {
            op.index = if segment == 4 { field::FS_BASE } else { field::GS_BASE };
            op.scale = 0;
        } else {
            simple = false;
        }
    }
    simple
}

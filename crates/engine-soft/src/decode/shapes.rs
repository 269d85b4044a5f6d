// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers by operand shape and size.

use iced_x86::{Instruction, OpKind};

use super::operands::{memory, register};
use crate::block::{Handler, Op};
use crate::cpu::Cpu;
use crate::execute::*;

/// Both handlers of an instruction.
#[derive(Clone, Copy)]
pub(super) struct Handlers {
    pub(super) fast: Handler,
    pub(super) slow: Handler,
    /// Together with a conditional branch that follows, by its condition.
    pub(super) fused: Option<&'static [Handler; 16]>,
}

pub(super) const fn of<B: Body>() -> Handlers {
    Handlers { fast: fast::<B>, slow: slow::<B>, fused: None }
}

/// Handlers of an instruction that conditional branches often follow.
pub(super) const fn fusable<B: Body>() -> Handlers {
    let fused: &'static [Handler; 16] = const {
        &[
            fused::<B, 0>,
            fused::<B, 1>,
            fused::<B, 2>,
            fused::<B, 3>,
            fused::<B, 4>,
            fused::<B, 5>,
            fused::<B, 6>,
            fused::<B, 7>,
            fused::<B, 8>,
            fused::<B, 9>,
            fused::<B, 10>,
            fused::<B, 11>,
            fused::<B, 12>,
            fused::<B, 13>,
            fused::<B, 14>,
            fused::<B, 15>,
        ]
    };
    Handlers { fast: fast::<B>, slow: slow::<B>, fused: Some(fused) }
}

/// `widths!` of instructions that conditional branches often follow.
macro_rules! fusable_widths {
    ($size:expr, $body:ident <$type:ty>) => {
        match $size {
            1 => fusable::<$body<$type, 1>>(),
            2 => of::<$body<$type, 2>>(),
            4 => fusable::<$body<$type, 4>>(),
            _ => fusable::<$body<$type, 8>>(),
        }
    };
}

/// Handlers by operand size: `widths!(size, Body<types...>)`; a width is its last parameter.
macro_rules! widths {
    ($size:expr, $body:ident $(<$($type:ty),+>)? $(, $flag:literal)?) => {
        match $size {
            1 => of::<$body<$($($type,)+)? 1 $(, $flag)?>>(),
            2 => of::<$body<$($($type,)+)? 2 $(, $flag)?>>(),
            4 => of::<$body<$($($type,)+)? 4 $(, $flag)?>>(),
            _ => of::<$body<$($($type,)+)? 8 $(, $flag)?>>(),
        }
    };
}

/// The same without bytes.
macro_rules! wide {
    ($size:expr, $body:ident $(<$($type:ty),+>)?) => {
        match $size {
            2 => of::<$body<$($($type,)+)? 2>>(),
            4 => of::<$body<$($($type,)+)? 4>>(),
            _ => of::<$body<$($($type,)+)? 8>>(),
        }
    };
}

/// Where the first two operands are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    None,
    Reg,
    Mem,
    Imm,
    RegReg,
    RegMem,
    RegImm,
    MemReg,
    MemImm,
    Other,
}

pub(super) fn shape(instruction: &Instruction) -> Shape {
    let kind = |index| match instruction.op_kind(index) {
        OpKind::Register => 'r',
        OpKind::Memory => 'm',
        OpKind::Immediate8
        | OpKind::Immediate8_2nd
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => 'i',
        _ => '?',
    };
    match instruction.op_count() {
        0 => Shape::None,
        1 => match kind(0) {
            'r' => Shape::Reg,
            'm' => Shape::Mem,
            'i' => Shape::Imm,
            _ => Shape::Other,
        },
        _ => match (kind(0), kind(1)) {
            ('r', 'r') => Shape::RegReg,
            ('r', 'm') => Shape::RegMem,
            ('r', 'i') => Shape::RegImm,
            ('m', 'r') => Shape::MemReg,
            ('m', 'i') => Shape::MemImm,
            _ => Shape::Other,
        },
    }
}

/// Fills in the operands by shape; gives whether the fast path can serve the memory operand.
pub(super) fn operands(cpu: &Cpu, instruction: &Instruction, shape: Shape, op: &mut Op) -> bool {
    match shape {
        Shape::Reg => {
            op.register = register(instruction.op0_register());
            true
        }
        Shape::RegReg => {
            op.register = register(instruction.op0_register());
            op.base = register(instruction.op1_register());
            true
        }
        Shape::RegImm => {
            op.register = register(instruction.op0_register());
            op.immediate = instruction.immediate(1);
            true
        }
        Shape::RegMem => {
            op.register = register(instruction.op0_register());
            memory(cpu, instruction, op)
        }
        Shape::MemReg => {
            op.register = register(instruction.op1_register());
            memory(cpu, instruction, op)
        }
        Shape::MemImm => {
            op.immediate = instruction.immediate(1);
            memory(cpu, instruction, op)
        }
        Shape::Mem => memory(cpu, instruction, op),
        Shape::Imm => {
            op.immediate = instruction.immediate(0);
            true
        }
        Shape::None | Shape::Other => true,
    }
}

pub(super) fn binary<O: Binary>(shape: Shape, size: usize, lock: bool) -> Option<Handlers> {
    Some(match shape {
        Shape::RegReg => widths!(size, RegReg<O>),
        Shape::RegImm => widths!(size, RegImm<O>),
        Shape::RegMem => widths!(size, RegMem<O>),
        Shape::MemReg if lock => widths!(size, LockReg<O>),
        Shape::MemImm if lock => widths!(size, LockImm<O>),
        Shape::MemReg => widths!(size, MemReg<O>),
        Shape::MemImm => widths!(size, MemImm<O>),
        _ => return None,
    })
}

/// CMP and TEST.
pub(super) fn comparison<O: Binary>(shape: Shape, size: usize) -> Option<Handlers> {
    Some(match shape {
        Shape::RegReg => fusable_widths!(size, RegReg<O>),
        Shape::RegImm => fusable_widths!(size, RegImm<O>),
        Shape::RegMem => fusable_widths!(size, RegMem<O>),
        Shape::MemReg => fusable_widths!(size, MemReg<O>),
        Shape::MemImm => fusable_widths!(size, MemImm<O>),
        _ => return None,
    })
}

/// Instructions that compute and are compared by that, on registers.
pub(super) fn fusable_binary<O: Binary>(shape: Shape, size: usize, lock: bool) -> Option<Handlers> {
    match shape {
        Shape::RegReg => Some(fusable_widths!(size, RegReg<O>)),
        Shape::RegImm => Some(fusable_widths!(size, RegImm<O>)),
        _ => binary::<O>(shape, size, lock),
    }
}

pub(super) fn fusable_unary<O: Unary>(shape: Shape, size: usize, lock: bool) -> Option<Handlers> {
    match shape {
        Shape::Reg => Some(fusable_widths!(size, OneReg<O>)),
        _ => unary::<O>(shape, size, lock),
    }
}

pub(super) fn unary<O: Unary>(shape: Shape, size: usize, lock: bool) -> Option<Handlers> {
    Some(match shape {
        Shape::Reg => widths!(size, OneReg<O>),
        Shape::Mem if lock => widths!(size, OneLock<O>),
        Shape::Mem => widths!(size, OneMem<O>),
        _ => return None,
    })
}

pub(super) fn shift<O: Shift>(shape: Shape, size: usize) -> Option<Handlers> {
    Some(match shape {
        Shape::RegImm => widths!(size, ShiftReg<O, ByImmediate>),
        Shape::RegReg => widths!(size, ShiftReg<O, ByCl>),
        Shape::MemImm => widths!(size, ShiftMem<O, ByImmediate>),
        Shape::MemReg => widths!(size, ShiftMem<O, ByCl>),
        _ => return None,
    })
}

pub(super) fn double_shift<O: DoubleShift>(shape: Shape, size: usize, by_cl: bool) -> Option<Handlers> {
    Some(match (shape, by_cl) {
        (Shape::RegReg, false) => wide!(size, DoubleReg<O, ByImmediate>),
        (Shape::RegReg, true) => wide!(size, DoubleReg<O, ByCl>),
        (Shape::MemReg, false) => wide!(size, DoubleMem<O, ByImmediate>),
        (Shape::MemReg, true) => wide!(size, DoubleMem<O, ByCl>),
        _ => return None,
    })
}

pub(super) fn bit<O: BitChange>(shape: Shape, size: usize, lock: bool) -> Option<Handlers> {
    Some(match shape {
        Shape::RegReg => wide!(size, BitRegReg<O>),
        Shape::RegImm => wide!(size, BitRegImm<O>),
        Shape::MemImm if lock => wide!(size, BitLockImm<O>),
        Shape::MemReg if lock => wide!(size, BitLockReg<O>),
        Shape::MemImm => wide!(size, BitMemImm<O>),
        Shape::MemReg => wide!(size, BitMemReg<O>),
        _ => return None,
    })
}

pub(super) fn scan<O: Scan>(shape: Shape, size: usize) -> Option<Handlers> {
    Some(match shape {
        Shape::RegReg => wide!(size, ScanReg<O>),
        Shape::RegMem => wide!(size, ScanMem<O>),
        _ => return None,
    })
}

macro_rules! extend {
    ($reg:ident, $mem:ident, $shape:expr, $from:expr, $to:expr) => {
        match ($shape, $from, $to) {
            (Shape::RegReg, 1, 2) => of::<$reg<1, 2>>(),
            (Shape::RegReg, 1, 4) => of::<$reg<1, 4>>(),
            (Shape::RegReg, 1, _) => of::<$reg<1, 8>>(),
            (Shape::RegReg, 2, 2) => of::<$reg<2, 2>>(),
            (Shape::RegReg, 2, 4) => of::<$reg<2, 4>>(),
            (Shape::RegReg, 2, _) => of::<$reg<2, 8>>(),
            (Shape::RegReg, 4, 2) => of::<$reg<4, 2>>(),
            (Shape::RegReg, 4, 4) => of::<$reg<4, 4>>(),
            (Shape::RegReg, _, _) => of::<$reg<4, 8>>(),
            (Shape::RegMem, 1, 2) => of::<$mem<1, 2>>(),
            (Shape::RegMem, 1, 4) => of::<$mem<1, 4>>(),
            (Shape::RegMem, 1, _) => of::<$mem<1, 8>>(),
            (Shape::RegMem, 2, 2) => of::<$mem<2, 2>>(),
            (Shape::RegMem, 2, 4) => of::<$mem<2, 4>>(),
            (Shape::RegMem, 2, _) => of::<$mem<2, 8>>(),
            (Shape::RegMem, 4, 2) => of::<$mem<4, 2>>(),
            (Shape::RegMem, 4, 4) => of::<$mem<4, 4>>(),
            (Shape::RegMem, _, _) => of::<$mem<4, 8>>(),
            _ => return None,
        }
    };
}

pub(super) use {extend, wide, widths};

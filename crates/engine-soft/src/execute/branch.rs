// SPDX-License-Identifier: MIT OR Apache-2.0
//! Branches, calls and returns in one code segment, and the ends of blocks.
//!
//! A direct branch inside its page is linked: `immediate` holds the operation it leads to, null until the run loop has found it once. A link stays valid
//! as long as its block: the operations it leads to are at worst stale, and then return to the run loop. Branches to other pages, and indirect ones, go by way
//! of the jump cache. `extra` counts the instructions from the last such point, which are taken off the budget.

use std::sync::atomic::Ordering;

use super::path::{Body, Fast, Miss, Path, Slow, slow};
use super::register::{get, set, truncate, whole};
use super::stack::{move_pointer, push, top};
use crate::block::{Leave, Op};
use crate::cpu::{Cpu, is_canonical, slot};
use crate::stop::Stop;

const RCX: u8 = 8;

/// The handler of dropped operations.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn stale(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live memory; its offset was left when its block was dropped.
    cpu.enter_slow(unsafe { &*op });
    cpu.count_to_slow_op(0);
    Leave::LookUp
}

/// Takes instructions off the budget; whether the chain must end.
#[inline(always)]
fn spend(cpu: &mut Cpu, op: &Op) -> bool {
    cpu.budget -= i64::from(op.extra);
    cpu.budget < 0 || cpu.shared.pending.load(Ordering::Relaxed) != 0
}

/// RIP of the target of a direct branch. `index` holds the width in bytes that it is cut to.
#[inline(always)]
fn target(cpu: &Cpu, op: &Op) -> u64 {
    let rip = cpu.frame.slots[slot::IP_BASE].wrapping_add(op.displacement as u64);
    match op.index {
        8 => rip,
        4 => rip & 0xFFFF_FFFF,
        _ => rip & 0xFFFF,
    }
}

/// Goes to the target of a branch inside its page.
#[inline(always)]
unsafe fn go_linked(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live; its link is null or leads to one that stays in the arena as long as this one.
    unsafe {
        let link = std::ptr::with_exposed_provenance::<Op>((*op).immediate as usize);
        if spend(cpu, &*op) || link.is_null() {
            return unlinked(cpu, op);
        }
        (*link).handler()(cpu, link)
    }
}

#[cold]
#[inline(never)]
unsafe fn unlinked(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    let operation = unsafe { &*op };
    cpu.rip = target(cpu, operation);
    if operation.immediate == 0 && cpu.shared.pending.load(Ordering::Relaxed) == 0 && cpu.budget >= 0 {
        cpu.link_from = op.cast_mut();
    }
    Leave::LookUp
}

/// Goes to a RIP in 64-bit mode by way of the jump cache.
#[inline(always)]
unsafe fn go(cpu: &mut Cpu, op: *const Op, rip: u64) -> Leave {
    // SAFETY: the operation is live, and so is what the jump cache holds.
    unsafe {
        let found = cpu.blocks.jumps.find(rip, cpu.jump_key);
        if spend(cpu, &*op) || found.is_null() {
            cpu.rip = rip;
            return Leave::LookUp;
        }
        cpu.frame.slots[slot::IP_BASE] = rip & !0xFFF;
        (*found).handler()(cpu, found)
    }
}

/// A conditional branch inside its page, by condition code.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn branch_inside<const CONDITION: u8>(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live and not the last of its block.
    unsafe { if cpu.flags.condition(CONDITION) { go_linked(cpu, op) } else { super::path::next(cpu, op) } }
}

/// An instruction that sets flags, and the conditional branch inside its page that follows it, which keeps its own operation.
///
/// # Safety
/// As [`crate::block::Handler`]; the following operation is a [`branch_inside`].
pub(crate) unsafe fn fused<B: Body, const CONDITION: u8>(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: both operations are live, and the branch is not the last of its block.
    unsafe {
        match B::run::<Fast>(cpu, &*op) {
            Ok(()) => {
                let branch = op.add(1);
                if cpu.flags.condition(CONDITION) {
                    go_linked(cpu, branch)
                } else {
                    super::path::next(cpu, branch)
                }
            }
            Err(Miss) => slow::<B>(cpu, op),
        }
    }
}

/// A conditional branch to another page, in 64-bit mode.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn branch_outside<const CONDITION: u8>(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: as above.
    unsafe {
        if cpu.flags.condition(CONDITION) {
            let rip = target(cpu, &*op);
            go(cpu, op, rip)
        } else {
            super::path::next(cpu, op)
        }
    }
}

/// JMP inside its page, and the end of a block that goes on in the same page.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn jump_inside(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe { go_linked(cpu, op) }
}

/// JMP to another page in 64-bit mode, and the end of a block that goes on in the next page.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn jump_outside(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        let rip = target(cpu, &*op);
        go(cpu, op, rip)
    }
}

/// The end of a block of one instruction: back to the run loop, which looks at everything.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn end_step(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    let operation = unsafe { &*op };
    cpu.budget -= i64::from(operation.extra);
    cpu.rip = target(cpu, operation);
    Leave::LookUp
}

/// CALL in 64-bit mode: pushes the return address, then as a jump inside or outside the page.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn call_64<const INSIDE: bool>(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        let back = cpu.frame.slots[slot::IP_BASE].wrapping_add((*op).next_offset());
        if push::<Fast, 8>(cpu, back).is_err() {
            return branch_slow(cpu, op);
        }
        if INSIDE {
            return go_linked(cpu, op);
        }
        let rip = target(cpu, &*op);
        go(cpu, op, rip)
    }
}

/// RET in 64-bit mode; the immediate is what it takes off the stack besides.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn return_64(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        match top::<Fast, 8>(cpu) {
            Ok(rip) if is_canonical(rip) => {
                move_pointer(cpu, 8 + (*op).immediate as i64);
                go(cpu, op, rip)
            }
            _ => branch_slow(cpu, op),
        }
    }
}

/// JMP to the address in a register, in 64-bit mode.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn jump_register_64(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        let rip = whole(cpu, (*op).register);
        if is_canonical(rip) { go(cpu, op, rip) } else { branch_slow(cpu, op) }
    }
}

/// CALL of the address in a register, in 64-bit mode.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn call_register_64(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        let rip = whole(cpu, (*op).register);
        let back = cpu.frame.slots[slot::IP_BASE].wrapping_add((*op).next_offset());
        if !is_canonical(rip) || push::<Fast, 8>(cpu, back).is_err() {
            return branch_slow(cpu, op);
        }
        go(cpu, op, rip)
    }
}

/// JMP to the address in memory, in 64-bit mode.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn jump_memory_64(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        let Ok(address) = Fast::address(cpu, &*op, 8, false) else { return branch_slow(cpu, op) };
        match Fast::read::<8>(cpu, address) {
            Ok(rip) if is_canonical(rip) => go(cpu, op, rip),
            _ => branch_slow(cpu, op),
        }
    }
}

/// CALL of the address in memory, in 64-bit mode.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn call_memory_64(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        let Ok(address) = Fast::address(cpu, &*op, 8, false) else { return branch_slow(cpu, op) };
        let back = cpu.frame.slots[slot::IP_BASE].wrapping_add((*op).next_offset());
        match Fast::read::<8>(cpu, address) {
            Ok(rip) if is_canonical(rip) && push::<Fast, 8>(cpu, back).is_ok() => go(cpu, op, rip),
            _ => branch_slow(cpu, op),
        }
    }
}

/// What a branch does, for [`branch_slow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Conditional,
    Jump,
    Call,
    Return,
    JumpRegister,
    CallRegister,
    JumpMemory,
    CallMemory,
    /// JCXZ, JECXZ, JRCXZ.
    CounterZero,
    Loop,
    LoopEqual,
    LoopNotEqual,
}

/// What [`branch_slow`] needs of a branch. It stands in a data operation after the branch's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Branch {
    pub(crate) kind: Kind,
    /// Operand size in bytes: what the target is cut to, and what is pushed or popped.
    pub(crate) size: u8,
    /// Condition code, or width of the counter in bytes.
    pub(crate) detail: u8,
}

/// Executes any branch with all checks, then returns to the run loop.
///
/// # Safety
/// As [`crate::block::Handler`]; the operation after this one holds the [`Branch`] (see [`branch_data`]).
#[cold]
#[inline(never)]
pub(crate) unsafe fn branch_slow(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: decode puts a data operation after each branch that can come here.
    let (operation, branch) = unsafe { (&*op, decode_branch(&*op.add(1))) };
    cpu.enter_slow(operation);
    match execute(cpu, operation, branch) {
        Ok(rip) => {
            cpu.rip = rip;
            cpu.budget -= i64::from(operation.extra);
            Leave::LookUp
        }
        Err(stop) => cpu.stop_at_slow_op(stop),
    }
}

/// The fields of the data operation that describes the branch before it.
pub(crate) fn branch_data(data: &mut Op, branch: Branch) {
    data.register = branch.kind as u8;
    data.base = branch.size;
    data.scale = branch.detail;
}

fn decode_branch(data: &Op) -> Branch {
    const KINDS: [Kind; 12] = [
        Kind::Conditional,
        Kind::Jump,
        Kind::Call,
        Kind::Return,
        Kind::JumpRegister,
        Kind::CallRegister,
        Kind::JumpMemory,
        Kind::CallMemory,
        Kind::CounterZero,
        Kind::Loop,
        Kind::LoopEqual,
        Kind::LoopNotEqual,
    ];
    Branch { kind: KINDS[usize::from(data.register)], size: data.base, detail: data.scale }
}

const fn cut(value: u64, size: u8) -> u64 {
    match size {
        2 => value & 0xFFFF,
        4 => value & 0xFFFF_FFFF,
        _ => value,
    }
}

fn read_sized(cpu: &mut Cpu, op: &Op, size: u8) -> Result<u64, Stop> {
    let address = Slow::address(cpu, op, size.into(), false)?;
    cpu.read(address, size.into(), cpu.privilege())
}

fn push_sized(cpu: &mut Cpu, size: u8, value: u64) -> Result<(), Stop> {
    match size {
        2 => push::<Slow, 2>(cpu, value),
        4 => push::<Slow, 4>(cpu, value),
        _ => push::<Slow, 8>(cpu, value),
    }
}

/// Gives the RIP to go to.
fn execute(cpu: &mut Cpu, op: &Op, branch: Branch) -> Result<u64, Stop> {
    let Branch { kind, size, detail } = branch;
    let direct = |cpu: &Cpu| cut(target(cpu, op), size);
    let rip = match kind {
        Kind::Conditional if !cpu.flags.condition(detail) => return Ok(cpu.next_rip),
        Kind::Conditional | Kind::Jump | Kind::Call => direct(cpu),
        Kind::CounterZero => {
            if cut(whole(cpu, RCX), detail) != 0 {
                return Ok(cpu.next_rip);
            }
            direct(cpu)
        }
        Kind::Loop | Kind::LoopEqual | Kind::LoopNotEqual => {
            let count = cut(whole(cpu, RCX).wrapping_sub(1), detail);
            let zero = cpu.flags.has(crate::cpu::Flags::ZF);
            let taken = count != 0
                && match kind {
                    Kind::LoopEqual => zero,
                    Kind::LoopNotEqual => !zero,
                    _ => true,
                };
            let rip = if taken { direct(cpu) } else { cpu.next_rip };
            cpu.check_near_target(rip)?;
            match detail {
                2 => set::<2>(cpu, RCX, count),
                4 => set::<4>(cpu, RCX, count),
                _ => set::<8>(cpu, RCX, count),
            }
            return Ok(rip);
        }
        Kind::Return => {
            let popped = match size {
                2 => top::<Slow, 2>(cpu)?,
                4 => top::<Slow, 4>(cpu)?,
                _ => top::<Slow, 8>(cpu)?,
            };
            cpu.check_near_target(popped)?;
            move_pointer(cpu, i64::from(size) + op.immediate as i64);
            return Ok(popped);
        }
        Kind::JumpRegister | Kind::CallRegister => cut(get::<8>(cpu, op.register), size),
        Kind::JumpMemory | Kind::CallMemory => read_sized(cpu, op, size)?,
    };
    cpu.check_near_target(rip)?;
    if matches!(kind, Kind::Call | Kind::CallRegister | Kind::CallMemory) {
        push_sized(cpu, size, truncate::<8>(cpu.next_rip))?;
    }
    Ok(rip)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! MOVS, STOS, LODS, CMPS, SCAS, with and without REP.
//!
//! REP MOVS and REP STOS upwards are done a page at a time by the host's own, where both sides are plain memory; everything else element
//! by element. Registers are committed after each such piece, so a fault or an exit leaves the instruction where hardware would.

use std::sync::atomic::Ordering;

use engine::SegmentName;
use x86::paging::AccessKind;

use super::alu;
use super::path::finish;
use super::register::{set, truncate, whole};
use crate::block::{Leave, Op};
use crate::cpu::{Cpu, Flags};
use crate::mmu::host;
use crate::stop::Stop;

const RAX: u8 = 0;
const RCX: u8 = 8;
const RSI: u8 = 6 * 8;
const RDI: u8 = 7 * 8;

/// What a string instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum StringKind {
    Move,
    Store,
    Load,
    Compare,
    Scan,
}

/// Repeat prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Repeat {
    Once,
    /// REP, REPE.
    WhileEqual,
    /// REPNE.
    WhileNotEqual,
}

/// A string instruction: `register` is its [`StringKind`], `base` the element's width, `extra` the [`Repeat`], `index` the width of addresses.
///
/// # Safety
/// As [`crate::block::Handler`].
#[inline(never)]
pub(crate) unsafe fn string(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    let operation = unsafe { &*op };
    cpu.enter_slow(operation);
    match run(cpu, operation) {
        Ok(true) => {
            // SAFETY: a string instruction is never the last operation of its block.
            finish(cpu, Ok(()), unsafe { op.add(1) })
        }
        // The rest when the run loop has looked around; RIP stays.
        Ok(false) => {
            cpu.count_to_slow_op(0);
            Leave::LookUp
        }
        Err(stop) => cpu.stop_at_slow_op(stop),
    }
}

/// Moves a pointer or counter of `width` bytes.
fn advance(cpu: &mut Cpu, register: u8, width: u8, by: u64) {
    let value = whole(cpu, register).wrapping_add(by);
    match width {
        2 => set::<2>(cpu, register, value),
        4 => set::<4>(cpu, register, value),
        _ => set::<8>(cpu, register, value),
    }
}

fn cut(value: u64, width: u8) -> u64 {
    match width {
        2 => truncate::<2>(value),
        4 => truncate::<4>(value),
        _ => value,
    }
}

/// Gives whether the instruction is done.
fn run(cpu: &mut Cpu, op: &Op) -> Result<bool, Stop> {
    const KINDS: [StringKind; 5] =
        [StringKind::Move, StringKind::Store, StringKind::Load, StringKind::Compare, StringKind::Scan];
    let kind = KINDS[usize::from(op.register)];
    let (size, width) = (op.base, op.index);
    if op.extra == Repeat::Once as u8 {
        element(cpu, op, kind)?;
        return Ok(true);
    }
    loop {
        let count = cut(whole(cpu, RCX), width);
        if count == 0 {
            return Ok(true);
        }
        let bulk =
            matches!(kind, StringKind::Move | StringKind::Store) && !cpu.direction_down() && !cpu.stepping;
        let done = match bulk {
            true => piece(cpu, op, kind, count)?,
            false => 0,
        };
        let done = if done == 0 {
            element(cpu, op, kind)?;
            1
        } else {
            done
        };
        advance(cpu, RCX, width, done.wrapping_neg());
        // Work, not instructions: it is taken off both.
        let work = 1 + (done * u64::from(size) / 64) as i64;
        cpu.budget -= work;
        cpu.granted -= work;
        if matches!(kind, StringKind::Compare | StringKind::Scan) {
            let equal = cpu.flags.has(Flags::ZF);
            if equal != (op.extra == Repeat::WhileEqual as u8) {
                return Ok(true);
            }
        }
        if count == done {
            return Ok(true);
        }
        if cpu.stepping || cpu.budget < 0 || cpu.shared.pending.load(Ordering::Relaxed) != 0 {
            return Ok(false);
        }
    }
}

fn source_segment(op: &Op) -> SegmentName {
    use SegmentName::{Cs, Ds, Es, Fs, Gs, Ss};
    [Es, Cs, Ss, Ds, Fs, Gs, Ds, Ds][usize::from(op.length_and_segment >> 4 & 7)]
}

fn address(
    cpu: &Cpu,
    segment: SegmentName,
    register: u8,
    width: u8,
    bytes: usize,
    kind: AccessKind,
) -> Result<u64, Stop> {
    cpu.linear(segment, cut(whole(cpu, register), width), bytes, kind)
}

/// Does as many elements as lie in one page on each side, and gives their number: 0 if that cannot be done at once.
fn piece(cpu: &mut Cpu, op: &Op, kind: StringKind, count: u64) -> Result<u64, Stop> {
    if cpu.checks_alignment() {
        return Ok(0);
    }
    let (size, width) = (u64::from(op.base), op.index);
    let room = |linear: u64| 0x1000 - (linear & 0xFFF);
    let moving = kind == StringKind::Move;
    // Offsets must not wrap around inside the piece.
    let most = match width {
        2 => 0x1_0000 - cut(whole(cpu, RDI), 2).max(if moving { cut(whole(cpu, RSI), 2) } else { 0 }),
        _ => 0x1000,
    };
    let Ok(to) = address(cpu, SegmentName::Es, RDI, width, 1, AccessKind::Write) else { return Ok(0) };
    let mut bytes = room(to).min(most).min(count.saturating_mul(size));
    let mut from = 0;
    if moving {
        let Ok(linear) = address(cpu, source_segment(op), RSI, width, 1, AccessKind::Read) else {
            return Ok(0);
        };
        from = linear;
        bytes = bytes.min(room(from));
    }
    let elements = bytes / size;
    if elements < 2 {
        return Ok(0);
    }
    let bytes = (elements * size) as usize;
    if address(cpu, SegmentName::Es, RDI, width, bytes, AccessKind::Write).is_err()
        || (moving && address(cpu, source_segment(op), RSI, width, bytes, AccessKind::Read).is_err())
    {
        return Ok(0);
    }
    let privilege = cpu.privilege();
    // The order of faults is the processor's: source first.
    let from = if moving {
        match cpu.plain_memory(from, bytes, false, privilege)? {
            Some(address) => address,
            None => return Ok(0),
        }
    } else {
        0
    };
    let Some(to) = cpu.plain_memory(to, bytes, true, privilege)? else { return Ok(0) };
    // SAFETY: both are host addresses of guest memory, mapped for all the bytes.
    unsafe {
        if moving {
            host::repeat_move(to, from, elements, size);
            advance(cpu, RSI, width, bytes as u64);
        } else {
            host::repeat_store(to, whole(cpu, RAX), elements, size);
        }
    }
    advance(cpu, RDI, width, bytes as u64);
    Ok(elements)
}

/// Does one element.
fn element(cpu: &mut Cpu, op: &Op, kind: StringKind) -> Result<(), Stop> {
    let (size, width) = (usize::from(op.base), op.index);
    let by = if cpu.direction_down() { (size as u64).wrapping_neg() } else { size as u64 };
    let privilege = cpu.privilege();
    let source = source_segment(op);
    match kind {
        StringKind::Move => {
            let from = address(cpu, source, RSI, width, size, AccessKind::Read)?;
            let value = cpu.read(from, size, privilege)?;
            let to = address(cpu, SegmentName::Es, RDI, width, size, AccessKind::Write)?;
            cpu.write(to, size, value, privilege)?;
            advance(cpu, RSI, width, by);
            advance(cpu, RDI, width, by);
        }
        StringKind::Store => {
            let to = address(cpu, SegmentName::Es, RDI, width, size, AccessKind::Write)?;
            cpu.write(to, size, whole(cpu, RAX), privilege)?;
            advance(cpu, RDI, width, by);
        }
        StringKind::Load => {
            let from = address(cpu, source, RSI, width, size, AccessKind::Read)?;
            let value = cpu.read(from, size, privilege)?;
            match size {
                1 => set::<1>(cpu, RAX, value),
                2 => set::<2>(cpu, RAX, value),
                4 => set::<4>(cpu, RAX, value),
                _ => set::<8>(cpu, RAX, value),
            }
            advance(cpu, RSI, width, by);
        }
        StringKind::Compare => {
            let first = address(cpu, source, RSI, width, size, AccessKind::Read)?;
            let first = cpu.read(first, size, privilege)?;
            let second = address(cpu, SegmentName::Es, RDI, width, size, AccessKind::Read)?;
            let second = cpu.read(second, size, privilege)?;
            compare(cpu, size, first, second);
            advance(cpu, RSI, width, by);
            advance(cpu, RDI, width, by);
        }
        StringKind::Scan => {
            let second = address(cpu, SegmentName::Es, RDI, width, size, AccessKind::Read)?;
            let second = cpu.read(second, size, privilege)?;
            compare(cpu, size, whole(cpu, RAX), second);
            advance(cpu, RDI, width, by);
        }
    }
    Ok(())
}

fn compare(cpu: &mut Cpu, size: usize, a: u64, b: u64) {
    let flags = &mut cpu.flags;
    match size {
        1 => alu::cmp::<1>(a, b, flags),
        2 => alu::cmp::<2>(a, b, flags),
        4 => alu::cmp::<4>(a, b, flags),
        _ => alu::cmp::<8>(a, b, flags),
    };
}

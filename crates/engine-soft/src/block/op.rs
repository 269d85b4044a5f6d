// SPDX-License-Identifier: MIT OR Apache-2.0
//! A predecoded operation.

use std::cell::Cell;

use crate::cpu::Cpu;
use crate::stop::NotedExit;

/// What executes an operation. It ends in a call of the next operation's handler by tail position, which the compiler makes a
/// jump, or returns to the run loop.
///
/// # Safety
/// The operation must be live in the processor's block cache and decoded for its current mode.
pub(crate) type Handler = unsafe fn(&mut Cpu, *const Op) -> Leave;

/// Why a chain of handlers returned to the run loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Leave {
    /// Go on with the operation at `cpu.resume_at`.
    Continue,
    /// Go on at `cpu.rip`. If `cpu.link_from` is set, what is found there may be linked to that operation.
    LookUp,
    /// `cpu.stop` says why the instruction at `cpu.rip` did not finish.
    Stop,
    /// The hypervisor has to do something before the instruction at `cpu.rip`.
    Exit(NotedExit),
}

/// One instruction (or a part of a block that is no instruction, such as its end).
#[repr(C)]
pub(crate) struct Op {
    /// It may be made stale while a handler holds a reference to the operation.
    handler: Cell<Handler>,
    /// Immediate operand; for a direct branch the operation it leads to (null until known); else what the handler says.
    pub(crate) immediate: u64,
    /// Displacement of the memory operand; for a direct branch its target's offset from the start of the page.
    pub(crate) displacement: i64,
    /// Offset of the instruction in its page.
    pub(crate) offset: u16,
    /// Length of the instruction (low 4 bits), segment of the memory operand (bits 4 to 6), whether it is the first of its block (bit 7).
    pub(crate) length_and_segment: u8,
    /// Byte offset in [`crate::host_execution::HostFrame`] of the memory operand's base, or of the second register operand.
    pub(crate) base: u8,
    /// Byte offset of the memory operand's index.
    pub(crate) index: u8,
    /// Binary logarithm of the scale (low 2 bits), address size (bits 4 and 5: 0 is 64 bits, 1 is 32, 2 is 16).
    pub(crate) scale: u8,
    /// Byte offset of the register operand (odd for AH to BH).
    pub(crate) register: u8,
    /// What the handler says: a third register, a width, or for ends of blocks the number of instructions up to there.
    pub(crate) extra: u8,
}

const _: () = assert!(size_of::<Op>() == 32);

/// Bit of [`Op::length_and_segment`].
const FIRST: u8 = 1 << 7;

/// Byte offsets of what is not a register, from the start of the frame.
pub(crate) mod field {
    use crate::cpu::slot;

    pub(crate) const ZERO: u8 = 128 + 8 * slot::ZERO as u8;
    pub(crate) const IP_BASE: u8 = 128 + 8 * slot::IP_BASE as u8;
    pub(crate) const FS_BASE: u8 = 128 + 8 * slot::FS_BASE as u8;
    pub(crate) const GS_BASE: u8 = 128 + 8 * slot::GS_BASE as u8;
}

impl Op {
    /// An operation without operands, at an offset in its page.
    pub(crate) const fn new(handler: Handler, offset: u16, length: u8) -> Self {
        Self {
            handler: Cell::new(handler),
            immediate: 0,
            displacement: 0,
            offset,
            length_and_segment: length & 15,
            base: field::ZERO,
            index: field::ZERO,
            scale: 0,
            register: 0,
            extra: 0,
        }
    }

    /// What executes it.
    #[inline(always)]
    pub(crate) fn handler(&self) -> Handler {
        self.handler.get()
    }

    /// Has something else execute it.
    pub(crate) fn set_handler(&self, handler: Handler) {
        self.handler.set(handler);
    }

    /// Marks it as the first of its block.
    pub(crate) fn begin_block(&mut self) {
        self.length_and_segment |= FIRST;
    }

    /// Instructions of the block before this one.
    ///
    /// # Safety
    /// `op` must be live and an instruction's: every operation before it in its block is one too.
    pub(crate) unsafe fn position(mut op: *const Self) -> i64 {
        let mut position = 0;
        // SAFETY: by contract the block's first operation, which has the mark, is reached before its memory ends.
        unsafe {
            while (*op).length_and_segment & FIRST == 0 {
                op = op.sub(1);
                position += 1;
            }
        }
        position
    }

    /// Length of the instruction in bytes.
    #[inline(always)]
    pub(crate) const fn length(&self) -> u64 {
        (self.length_and_segment & 15) as u64
    }

    /// Offset of the following instruction from the start of the page.
    #[inline(always)]
    pub(crate) const fn next_offset(&self) -> u64 {
        self.offset as u64 + self.length()
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pushing and popping, in steps that commit nothing until the caller says so.

use engine::{Gpr, SegmentName};
use x86::paging::{AccessKind, Privilege};

use super::Cpu;
use crate::stop::Stop;

/// A stack pointer that moves as values are pushed or popped, and is put into RSP only by [`StackCursor::commit`].
#[derive(Clone, Copy, Debug)]
pub struct StackCursor {
    pointer: u64,
    width: usize,
    privilege: Privilege,
}

impl StackCursor {
    /// The pointer as it stands.
    #[must_use]
    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    const fn moved(&self, by: i64) -> u64 {
        let moved = self.pointer.wrapping_add(by as u64);
        match self.width {
            2 => self.pointer & !0xFFFF | moved & 0xFFFF,
            4 => moved & 0xFFFF_FFFF,
            _ => moved,
        }
    }

    const fn offset(&self, pointer: u64) -> u64 {
        match self.width {
            2 => pointer & 0xFFFF,
            4 => pointer & 0xFFFF_FFFF,
            _ => pointer,
        }
    }

    /// Pushes the low `size` bytes (2, 4, 8) of a value: memory is written, RSP is not.
    ///
    /// # Errors
    /// Any fault or exit of the access; the cursor has not moved then.
    pub fn push(&mut self, cpu: &mut Cpu, size: usize, value: u64) -> Result<(), Stop> {
        let pointer = self.moved(-(size as i64));
        let linear = cpu.linear(SegmentName::Ss, self.offset(pointer), size, AccessKind::Write)?;
        cpu.write(linear, size, value, self.privilege)?;
        self.pointer = pointer;
        Ok(())
    }

    /// Pops a value of `size` bytes (2, 4, 8).
    ///
    /// # Errors
    /// Any fault or exit of the access; the cursor has not moved then.
    pub fn pop(&mut self, cpu: &mut Cpu, size: usize) -> Result<u64, Stop> {
        let linear = cpu.linear(SegmentName::Ss, self.offset(self.pointer), size, AccessKind::Read)?;
        let value = cpu.read(linear, size, self.privilege)?;
        self.pointer = self.moved(size as i64);
        Ok(value)
    }

    /// Moves the pointer without an access.
    pub fn skip(&mut self, by: i64) {
        self.pointer = self.moved(by);
    }

    /// Puts the pointer into RSP.
    pub fn commit(self, cpu: &mut Cpu) {
        match self.width {
            2 => cpu.set_gpr_part(Gpr::Rsp, 2, self.pointer),
            _ => cpu.set_gpr(Gpr::Rsp, self.pointer),
        }
    }
}

impl Cpu {
    /// A cursor at RSP, with the current stack's width and privilege.
    #[must_use]
    pub fn stack(&self) -> StackCursor {
        StackCursor {
            pointer: self.gpr(Gpr::Rsp),
            width: self.mode().stack_width(),
            privilege: self.privilege(),
        }
    }

    /// A cursor at another pointer in the current SS (see [`crate::system`]'s own handling for a new SS): width in bytes, and who accesses.
    #[must_use]
    pub fn stack_at(&self, pointer: u64, width: usize, privilege: Privilege) -> StackCursor {
        StackCursor { pointer, width, privilege }
    }
}

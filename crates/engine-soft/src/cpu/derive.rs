// SPDX-License-Identifier: MIT OR Apache-2.0
//! What follows from control registers, segments and flags: the mode of the code that runs, and who accesses memory.

use engine::SegmentName;
use x86::control::{Rflags, Xcr0};
use x86::paging::{Paging, PagingRegisters, Privilege};

use super::{Cpu, rflags};
use crate::host_execution::Availability;

/// Default operand and address size of code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, and code segments with D clear.
    Bits16,
    /// Protected and compatibility mode with D set.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// A key that no remembered jump has.
const NO_JUMP_KEY: u64 = u64::MAX - 1;

/// What code is decoded for; part of the key of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Mode(u8);

impl Mode {
    const SIZE: u8 = 3;
    const STACK_32: u8 = 4;
    /// Blocks of one instruction, after which the run loop looks at everything.
    const STEP: u8 = 8;

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Code size.
    #[must_use]
    pub const fn code_size(self) -> CodeSize {
        match self.0 & Self::SIZE {
            0 => CodeSize::Bits16,
            1 => CodeSize::Bits32,
            _ => CodeSize::Bits64,
        }
    }

    /// Whether code is 64-bit.
    #[must_use]
    pub const fn is_64(self) -> bool {
        self.0 & 2 != 0
    }

    /// Width of the stack pointer in bytes: 2, 4 or 8.
    #[must_use]
    pub const fn stack_width(self) -> usize {
        if self.is_64() {
            8
        } else if self.0 & Self::STACK_32 != 0 {
            4
        } else {
            2
        }
    }

    pub(crate) const fn stepping(self) -> Self {
        Self(self.0 | Self::STEP)
    }

    pub(crate) const fn is_stepping(self) -> bool {
        self.0 & Self::STEP != 0
    }
}

impl Cpu {
    /// What code is decoded for.
    #[inline(always)]
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// CR0.PE is clear.
    #[must_use]
    pub fn is_real_mode(&self) -> bool {
        !self.cr0().pe()
    }

    /// Virtual-8086 mode.
    #[must_use]
    pub fn is_v86(&self) -> bool {
        self.other_flags & rflags::VM != 0 && self.cr0().pe()
    }

    /// EFER.LMA: 64-bit or compatibility mode.
    #[must_use]
    pub fn is_long_mode(&self) -> bool {
        self.efer().lma()
    }

    /// On whose behalf an ordinary access of the current instruction is made.
    #[inline]
    #[must_use]
    pub fn privilege(&self) -> Privilege {
        if self.cpl == 3 {
            Privilege::User
        } else {
            Privilege::Supervisor { ac: self.other_flags & rflags::AC != 0 }
        }
    }

    /// Whether each instruction has to be looked at by itself: see [`crate::system`].
    #[inline]
    #[must_use]
    pub fn must_step(&self) -> bool {
        self.other_flags & (rflags::TF | rflags::RF) != 0
            || self.events.interrupt_shadow
            || self.debug.dr7 & 0xFF != 0
            || self.has_completed()
    }

    /// Works out everything that is derived from segments, flags and control registers. Setters call it.
    pub fn derive(&mut self) {
        let code = self.segments[SegmentName::Cs as usize].attributes;
        let stack = self.segments[SegmentName::Ss as usize].attributes;
        let protected = self.cr0().pe();
        self.cpl = match (protected, self.is_v86()) {
            (false, _) => 0,
            (true, true) => 3,
            (true, false) => stack.dpl(),
        };
        let size = if self.is_long_mode() && code.long() { 2 } else { u8::from(code.default_32()) };
        let stack_32 = if stack.default_32() { Mode::STACK_32 } else { 0 };
        self.mode = Mode(if size == 2 { size } else { size | stack_32 });
        let control = &self.control;
        self.availability = Availability::new(
            self.cr0(),
            self.cr4(),
            Rflags::from_bits(self.other_flags),
            Xcr0::from_bits(control.xcr0),
        );
        let space =
            if self.control.cr4 & 1 << 17 != 0 { self.control.cr3 } else { self.control.cr3 & !0xFFF };
        let (privilege, always_miss) = (self.privilege(), self.checks_alignment());
        self.mmu.select(space, privilege, always_miss);
        self.code_context_changed();
    }

    /// Code that runs now may not be the code that ran before at the same addresses.
    pub(crate) fn code_context_changed(&mut self) {
        self.context_epoch += 1;
        self.jump_key = if self.mode.is_64() && !self.stepping { self.mmu.context() } else { NO_JUMP_KEY };
    }

    /// Works out the page walker's settings.
    pub(super) fn derive_paging(&mut self) {
        self.paging = Paging::new(&PagingRegisters {
            cr0: self.cr0(),
            cr3: self.control.cr3,
            cr4: self.cr4(),
            efer: self.efer(),
            pdptes: self.pdptes,
            physical_address_width: self.space.address_bits() as u8,
            has_1g_pages: true,
        });
    }
}

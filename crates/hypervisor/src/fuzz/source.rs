// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values out of the input.

use memory::PAGE_SIZE;
use tlfs::msr;

/// Takes values off the input; zeros follow its end.
pub(super) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }

    /// A number below `bound`, which is 1 to 255.
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        self.u8() % bound
    }

    pub(super) fn flag(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// A register: mostly a synthetic one or one of the local APIC's.
    pub(super) fn register(&mut self) -> u32 {
        let selector = self.u8();
        match selector {
            0..=159 => msr::MSRS[usize::from(selector) % msr::MSRS.len()].number,
            160..=223 => 0x800 + u32::from(selector - 160),
            224..=247 => {
                self.one_of(&[0x1B, 0x6E0, 0x10, 0x8B, 0x179, 0x200, 0x201, 0x250, 0x2FF, 0xC001_0015])
            }
            _ => self.u32(),
        }
    }

    /// A value that means something: an enabled page, a vector with flags, a short time, a command; or any.
    pub(super) fn value(&mut self) -> u64 {
        match self.u8() & 7 {
            0 => u64::from(self.below(8)) * PAGE_SIZE + 1,
            1 => u64::from(self.u8()),
            2 => u64::from(self.u16()),
            3 => u64::from(self.u8()) | u64::from(self.below(8)) << 16,
            4 => u64::from(self.u16()) | u64::from(self.below(4)) << 56,
            5 => u64::from(self.u32() & 0x1F_FFFF),
            6 => 1 << (self.u8() & 63),
            _ => self.u64(),
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stores of this processor to pages that hold code.

use super::Cpu;
use crate::mmu::PhysicalPage;

impl Cpu {
    /// This processor has stored to a watched page: `size` bytes at `offset`.
    pub(crate) fn stored_to_watched(&mut self, _page: PhysicalPage, _offset: u32, _size: u32) {}
}

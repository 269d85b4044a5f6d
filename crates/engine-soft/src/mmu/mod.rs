// SPDX-License-Identifier: MIT OR Apache-2.0
//! From linear addresses to host memory.
//!
//! All accesses of slow code are methods of [`Cpu`](crate::cpu::Cpu): `read` and `write` (1, 2, 4 or 8 bytes), `read_bytes` and `write_bytes`,
//! `probe_write` (could these bytes be written? raises what a write would, stores nothing), `compare_exchange` (LOCK), and `fetch`. They take linear
//! addresses (after segmentation, [`Cpu::linear`](crate::cpu::Cpu::linear)) and a [`Privilege`]: `cpu.privilege()` for ordinary operands,
//! [`Privilege::ImplicitSupervisor`] for descriptor tables, the TSS and the IDT, `Privilege::Supervisor { ac: false }` for the stack of an inner level.
//! They may cross pages. They give a [`Stop`](crate::stop::Stop): #PF, or an exit where memory is a device's or lacks a right in the view; an access
//! that the hypervisor has completed then gives its value when the instruction is executed again.

mod access;
pub(crate) mod host;
mod physical;
mod tlb;

use x86::paging::Privilege;

use physical::PhysicalCache;
pub(crate) use physical::PhysicalPage;
use tlb::Tlb;

/// The translations that a processor holds.
pub struct Mmu {
    tlb: Tlb,
    physical: PhysicalCache,
}

impl Mmu {
    /// Nothing translated yet.
    #[must_use]
    pub fn new() -> Self {
        Self { tlb: Tlb::new(), physical: PhysicalCache::new() }
    }

    /// Selects the address space (CR3 with its PCID) and who accesses; `mode` tells code of different modes apart.
    pub(crate) fn select(&mut self, space: u64, privilege: Privilege, mode: u8) {
        self.tlb.select(space, privilege, mode);
    }

    /// Forgets everything. Call it by way of `Cpu::flush_*`, which also selects anew.
    pub fn flush_all(&mut self) {
        self.tlb.flush_all();
    }

    /// Forgets what a load of CR3 forgets.
    pub fn flush_non_global(&mut self) {
        self.tlb.flush_all();
    }

    /// Forgets the translations with a PCID (the low 12 bits of CR3).
    pub fn flush_space(&mut self, pcid: u16) {
        self.tlb.flush_space(pcid);
    }

    /// Forgets one page, in all address spaces.
    pub fn flush_page(&mut self, linear: u64) {
        self.tlb.flush_page(linear);
    }

    /// Forgets where jumps lead.
    pub(crate) fn forget_jumps(&mut self) {
        self.tlb.forget_jumps();
    }

    /// Forgets what guest-physical pages are: the space's maps, rights or overlays changed.
    pub(crate) fn forget_physical(&mut self) {
        self.physical.clear();
        self.tlb.flush_all();
    }
}

impl Default for Mmu {
    fn default() -> Self {
        Self::new()
    }
}

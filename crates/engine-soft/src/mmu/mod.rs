// SPDX-License-Identifier: MIT OR Apache-2.0
//! From linear addresses to host memory.
//!
//! All accesses of slow code are methods of [`Cpu`]: `read` and `write` (1, 2, 4 or 8 bytes), `read_bytes` and `write_bytes`,
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
use tlb::{Selected, Tlb};

use crate::cpu::Cpu;

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

    /// Selects the address space (CR3 with its PCID) and who accesses; with `always_miss`, nothing is ever found.
    pub(crate) fn select(&mut self, space: u64, privilege: Privilege, always_miss: bool) {
        self.tlb.select(Selected { space, privilege, always_miss });
    }

    /// Tells address spaces and privileges apart, for what is remembered of code.
    pub(crate) fn context(&self) -> u64 {
        self.tlb.context()
    }

    /// The host address for an access by the current privilege that lies in one page, if it is remembered.
    #[inline(always)]
    pub(crate) fn hit(&self, linear: u64, size: usize, write: bool) -> Option<u64> {
        self.tlb.hit(linear, size, write)
    }
}

impl Cpu {
    /// Forgets all translations.
    pub fn flush_all(&mut self) {
        self.mmu.tlb.flush_all();
        self.code_context_changed();
    }

    /// Forgets what a load of CR3 forgets. (Global translations go too: more may be forgotten than asked for.)
    pub fn flush_non_global(&mut self) {
        self.flush_all();
    }

    /// Forgets the translations with a PCID (the low 12 bits of CR3).
    pub fn flush_space(&mut self, pcid: u16) {
        self.mmu.tlb.flush_space(pcid);
        self.code_context_changed();
    }

    /// Forgets one page, in all address spaces.
    pub fn flush_page(&mut self, linear: u64) {
        if self.mmu.tlb.flush_page(linear) {
            self.code_context_changed();
        } else {
            self.blocks.forget_page(linear);
            self.code_pages.forget_page(linear);
        }
    }

    /// Forgets what guest-physical pages are: the space's maps, rights or overlays, or the view, changed.
    pub(crate) fn flush_physical(&mut self) {
        self.mmu.physical.clear();
        // Pages at the same host address may be others from now on.
        self.physical_epoch = self.physical_epoch.wrapping_add(1);
        if self.physical_epoch == 0 {
            self.blocks.jumps.clear();
        }
        self.flush_all();
    }

    /// Takes away the right to write fast to the page at a host address.
    pub(crate) fn revoke_writes(&mut self, host: u64) {
        self.mmu.tlb.revoke_writes(host);
    }
}

impl Default for Mmu {
    fn default() -> Self {
        Self::new()
    }
}

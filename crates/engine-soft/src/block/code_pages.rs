// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which host page a linear page of code is: translations of fetches, remembered.

use crate::mmu::PhysicalPage;

const ENTRIES: usize = 256;

/// Translations of fetches by linear page and context ([`crate::mmu::Mmu::context`]).
pub(crate) struct CodePages {
    entries: Vec<Option<(u64, u64, PhysicalPage)>>,
}

const fn index_of(linear: u64) -> usize {
    (linear >> 12) as usize % ENTRIES
}

impl CodePages {
    pub(crate) fn new() -> Self {
        Self { entries: vec![None; ENTRIES] }
    }

    pub(crate) fn find(&self, linear: u64, context: u64) -> Option<PhysicalPage> {
        let (page, known, physical) = self.entries[index_of(linear)]?;
        (page == linear >> 12 && known == context).then_some(physical)
    }

    pub(crate) fn enter(&mut self, linear: u64, context: u64, page: PhysicalPage) {
        self.entries[index_of(linear)] = Some((linear >> 12, context, page));
    }

    pub(crate) fn forget_page(&mut self, linear: u64) {
        self.entries[index_of(linear)] = None;
    }
}

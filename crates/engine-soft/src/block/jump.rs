// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where branches to other pages lead: from linear RIP to block, for 64-bit code.

use super::Op;

const ENTRIES: usize = 32_768;
/// Entries that a page's addresses share.
const PER_PAGE: usize = 128;

/// A known target.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    rip: u64,
    key: u64,
    op: *const Op,
    /// What page `op` was decoded from, and for what mode: see [`JumpCache::find_in_page`].
    page: u64,
}

const EMPTY: Entry = Entry { rip: 1, key: u64::MAX, op: std::ptr::null(), page: 0 };

/// A direct-mapped table of targets. Entries hold the key of the context in which they were entered. Those of dropped blocks may stay: the stale
/// operations that they lead to return to the run loop.
pub(crate) struct JumpCache {
    entries: Box<[Entry; ENTRIES]>,
}

#[inline(always)]
fn index_of(rip: u64) -> usize {
    let page = (rip >> 12 ^ rip >> 18) as usize & (ENTRIES / PER_PAGE - 1);
    let inside = (rip ^ rip >> 6) as usize & (PER_PAGE - 1);
    page * PER_PAGE + inside
}

impl JumpCache {
    pub(crate) fn new() -> Self {
        let entries = vec![EMPTY; ENTRIES].into_boxed_slice();
        Self {
            entries: entries.try_into().unwrap_or_else(|_| unreachable!("the length is that of the array")),
        }
    }

    /// The operation at `rip` in the context `key`; null if it is not known.
    #[inline(always)]
    pub(crate) fn find(&self, rip: u64, key: u64) -> *const Op {
        let entry = &self.entries[index_of(rip)];
        if entry.rip == rip && entry.key == key { entry.op } else { std::ptr::null() }
    }

    /// The operation at `rip` if it was decoded from this page, whatever the context was. It may be stale.
    #[inline]
    pub(crate) fn find_in_page(&self, rip: u64, page: u64) -> Option<*const Op> {
        let entry = &self.entries[index_of(rip)];
        (entry.rip == rip && entry.page == page).then_some(entry.op)
    }

    /// Enters a target. `page` names the page that it was decoded from, and the mode, as long as the entry lives.
    pub(crate) fn enter(&mut self, rip: u64, key: u64, page: u64, op: *const Op) {
        self.entries[index_of(rip)] = Entry { rip, key, op, page };
    }

    pub(crate) fn clear(&mut self) {
        self.entries.fill(EMPTY);
    }

    /// Forgets the targets in a linear page.
    pub(crate) fn forget_page(&mut self, linear: u64) {
        let first = index_of(linear & !0xFFF) & !(PER_PAGE - 1);
        self.entries[first..first + PER_PAGE].fill(EMPTY);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The translation look-aside buffer.
//!
//! Three direct-mapped tables, one for each kind of access that rights tell apart: user, supervisor, and supervisor with SMAP lifted. A tag is the linear
//! page with the number of the address space in its low 12 bits; a number is not used again until all tables are cleared, so an address space is forgotten by
//! giving it a new number.

use std::ptr::NonNull;

use x86::paging::Privilege;

pub(crate) const PAGE_MASK: u64 = !0xFFF;
/// Entries in a table. A power of two.
pub(crate) const TLB_ENTRIES: usize = 1024;
/// Address spaces remembered at a time.
const SPACES: usize = 8;
const LAST_NUMBER: u64 = 0xFFD;
/// The number of no entry: with it every access misses.
const NEVER: u64 = 0xFFE;
/// Never equal to a tag: number 0xFFF is not given out.
const EMPTY: u64 = 0xFFF;

/// A page.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct TlbEntry {
    /// Tag if reads may use it.
    pub(crate) read: u64,
    /// Tag if writes and read-modify-writes may use it.
    pub(crate) write: u64,
    /// Host address minus linear address.
    pub(crate) addend: u64,
    _reserved: u64,
}

impl TlbEntry {
    const EMPTY: Self = Self { read: EMPTY, write: EMPTY, addend: 0, _reserved: 0 };
}

struct Space {
    key: u64,
    number: u64,
}

/// The tables, apart so that fast code reaches them by one pointer.
type Tables = [[TlbEntry; TLB_ENTRIES]; 3];

pub(super) struct Tlb {
    /// The table that the current privilege uses.
    table: NonNull<TlbEntry>,
    /// Number of the current address space, or [`NEVER`].
    number: u64,
    tables: NonNull<Tables>,
    spaces: Vec<Space>,
    next_number: u64,
    /// How often the numbers began anew.
    generation: u64,
    selected: Selected,
    /// 2 MiB and 1 GiB regions of which a large page was seen, hashed: forgetting one address there forgets everything.
    large: Box<[u64; 64]>,
}

/// What decides about the tables in use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Selected {
    /// CR3 with its PCID.
    pub(super) space: u64,
    pub(super) privilege: Privilege,
    /// Nothing may hit: every access has to be checked for alignment.
    pub(super) always_miss: bool,
}

// SAFETY: the tables belong to this value alone.
unsafe impl Send for Tlb {}

const fn table_of(privilege: Privilege) -> usize {
    match privilege {
        Privilege::User => 0,
        Privilege::Supervisor { ac: false } | Privilege::ImplicitSupervisor => 1,
        Privilege::Supervisor { ac: true } => 2,
    }
}

impl Tlb {
    pub(super) fn new() -> Self {
        let tables = vec![[TlbEntry::EMPTY; TLB_ENTRIES]; 3].into_boxed_slice();
        let tables = NonNull::from(Box::leak(tables)).cast::<Tables>();
        let selected =
            Selected { space: 0, privilege: Privilege::Supervisor { ac: false }, always_miss: false };
        let mut tlb = Self {
            table: tables.cast(),
            number: 0,
            tables,
            spaces: Vec::new(),
            next_number: 0,
            generation: 0,
            selected,
            large: Box::new([0; 64]),
        };
        tlb.select(selected);
        tlb
    }

    fn tables(&mut self) -> &mut Tables {
        // SAFETY: allocated in `new`, freed in `drop`, and reached from nowhere else while `self` is borrowed.
        unsafe { self.tables.as_mut() }
    }

    /// Tells the spaces and privileges of code apart in the jump cache.
    pub(super) fn context(&self) -> u64 {
        self.generation << 16
            | self.number << 1
            | u64::from(matches!(self.selected.privilege, Privilege::User))
    }

    pub(super) fn select(&mut self, selected: Selected) {
        self.selected = selected;
        let number = match self.spaces.iter().find(|known| known.key == selected.space) {
            Some(known) => known.number,
            None => self.new_space(selected.space),
        };
        self.number = if selected.always_miss { NEVER } else { number };
        let table = table_of(selected.privilege);
        self.table = NonNull::from(&mut self.tables()[table]).cast();
    }

    fn new_space(&mut self, key: u64) -> u64 {
        if self.next_number > LAST_NUMBER {
            for table in self.tables() {
                table.fill(TlbEntry::EMPTY);
            }
            self.spaces.clear();
            self.next_number = 0;
            self.generation += 1;
        }
        let number = self.next_number;
        self.next_number += 1;
        if self.spaces.len() == SPACES {
            self.spaces.remove(0);
        }
        self.spaces.push(Space { key, number });
        number
    }

    pub(super) fn flush_all(&mut self) {
        self.spaces.clear();
        self.large.fill(0);
        self.select(self.selected);
    }

    pub(super) fn flush_space(&mut self, pcid: u16) {
        self.spaces.retain(|space| space.key as u16 & 0xFFF != pcid);
        self.select(self.selected);
    }

    /// Forgets a page; tells whether that took forgetting everything.
    pub(super) fn flush_page(&mut self, linear: u64) -> bool {
        if self.is_large(linear) {
            self.flush_all();
            return true;
        }
        let index = index_of(linear);
        for table in self.tables() {
            table[index] = TlbEntry::EMPTY;
        }
        false
    }

    /// The host address for an access of `size` bytes by the current privilege, if an entry allows it and it does not cross a page.
    #[inline(always)]
    pub(super) fn hit(&self, linear: u64, size: usize, write: bool) -> Option<u64> {
        // SAFETY: the index is below the number of entries in the table that `table` points to.
        let entry = unsafe { self.table.add(index_of(linear)).as_ref() };
        let tag = linear.wrapping_add(size as u64 - 1) & PAGE_MASK | self.number;
        let held = if write { entry.write } else { entry.read };
        (held == tag).then(|| entry.addend.wrapping_add(linear))
    }

    /// As `hit`, for any privilege.
    pub(super) fn look_up(&self, linear: u64, size: usize, write: bool, privilege: Privilege) -> Option<u64> {
        // SAFETY: as in `tables`.
        let entry = unsafe { &self.tables.as_ref()[table_of(privilege)][index_of(linear)] };
        let tag = linear.wrapping_add(size as u64 - 1) & PAGE_MASK | self.number;
        let held = if write { entry.write } else { entry.read };
        (held == tag).then(|| entry.addend.wrapping_add(linear))
    }

    /// Enters a page.
    pub(super) fn fill(&mut self, linear: u64, host: u64, read: bool, write: bool, privilege: Privilege) {
        if self.number == NEVER {
            return;
        }
        let page = linear & PAGE_MASK;
        let tag = page | self.number;
        self.tables()[table_of(privilege)][index_of(linear)] = TlbEntry {
            read: if read { tag } else { EMPTY },
            write: if write { tag } else { EMPTY },
            addend: host.wrapping_sub(page),
            _reserved: 0,
        };
    }

    /// Takes the right to write away from every entry that leads to the page at this host address.
    pub(super) fn revoke_writes(&mut self, host: u64) {
        for table in self.tables() {
            for entry in table.iter_mut() {
                if entry.write != EMPTY && entry.addend.wrapping_add(entry.write & PAGE_MASK) == host {
                    entry.write = EMPTY;
                }
            }
        }
    }

    pub(super) fn note_large(&mut self, linear: u64) {
        for shift in [21, 30] {
            let (word, bit) = large_bit(linear, shift);
            self.large[word] |= bit;
        }
    }

    fn is_large(&self, linear: u64) -> bool {
        [21, 30].into_iter().any(|shift| {
            let (word, bit) = large_bit(linear, shift);
            self.large[word] & bit != 0
        })
    }
}

impl Drop for Tlb {
    fn drop(&mut self) {
        // SAFETY: made from a box of this type in `new`.
        drop(unsafe { Box::from_raw(self.tables.as_ptr()) });
    }
}

#[inline(always)]
fn index_of(linear: u64) -> usize {
    (linear >> 12) as usize % TLB_ENTRIES
}

fn large_bit(linear: u64, shift: u32) -> (usize, u64) {
    let hash = (linear >> shift).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

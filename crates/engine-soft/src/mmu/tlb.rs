// SPDX-License-Identifier: MIT OR Apache-2.0
//! The translation look-aside buffer.
//!
//! Three direct-mapped tables, one for each kind of access that rights tell apart: user, supervisor, and supervisor with SMAP lifted. A tag is the linear
//! page with the number of the address space in its low 12 bits; a number is not used again until all tables are cleared, so an address space is forgotten by
//! giving it a new number.

use x86::paging::Privilege;

pub(crate) const PAGE_MASK: u64 = !0xFFF;
/// Entries in a table. A power of two.
pub(crate) const TLB_ENTRIES: usize = 1024;
/// Address spaces remembered at a time.
const SPACES: usize = 8;
const LAST_NUMBER: u64 = 0xFFE;
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

pub(super) struct Tlb {
    /// Which of the tables the current privilege uses.
    current: usize,
    /// Number of the current address space.
    number: u64,
    spaces: Vec<Space>,
    next_number: u64,
    selected: (u64, usize, u8),
    tables: [Box<[TlbEntry; TLB_ENTRIES]>; 3],
    /// 2 MiB and 1 GiB regions of which a large page was seen, hashed: forgetting one address there forgets everything.
    large: Box<[u64; 64]>,
}

const fn table_of(privilege: Privilege) -> usize {
    match privilege {
        Privilege::User => 0,
        Privilege::Supervisor { ac: false } | Privilege::ImplicitSupervisor => 1,
        Privilege::Supervisor { ac: true } => 2,
    }
}

impl Tlb {
    pub(super) fn new() -> Self {
        let table = || Box::new([TlbEntry::EMPTY; TLB_ENTRIES]);
        Self {
            current: 1,
            number: 0,
            spaces: Vec::new(),
            next_number: 0,
            selected: (0, 1, 0),
            tables: [table(), table(), table()],
            large: Box::new([0; 64]),
        }
    }

    pub(super) fn select(&mut self, space: u64, privilege: Privilege, mode: u8) {
        let table = table_of(privilege);
        self.selected = (space, table, mode);
        self.current = table;
        self.number = match self.spaces.iter().find(|known| known.key == space) {
            Some(known) => known.number,
            None => self.new_space(space),
        };
    }

    fn new_space(&mut self, key: u64) -> u64 {
        if self.next_number > LAST_NUMBER {
            for table in &mut self.tables {
                table.fill(TlbEntry::EMPTY);
            }
            self.spaces.clear();
            self.next_number = 0;
        }
        let number = self.next_number;
        self.next_number += 1;
        if self.spaces.len() == SPACES {
            self.spaces.remove(0);
        }
        self.spaces.push(Space { key, number });
        number
    }

    /// Finds the numbers for the current address space again.
    fn reselect(&mut self) {
        let (space, table, mode) = self.selected;
        self.current = table;
        self.number = match self.spaces.iter().find(|known| known.key == space) {
            Some(known) => known.number,
            None => self.new_space(space),
        };
        let _ = mode;
    }

    pub(super) fn flush_all(&mut self) {
        self.spaces.clear();
        self.large.fill(0);
        self.reselect();
    }

    pub(super) fn flush_space(&mut self, pcid: u16) {
        self.spaces.retain(|space| space.key as u16 & 0xFFF != pcid);
        self.reselect();
    }

    pub(super) fn flush_page(&mut self, linear: u64) {
        if self.is_large(linear) {
            self.flush_all();
            return;
        }
        let index = index_of(linear);
        for table in &mut self.tables {
            table[index] = TlbEntry::EMPTY;
        }
    }

    pub(super) fn forget_jumps(&mut self) {}

    /// The host address for an access of `size` bytes, if an entry allows it and it does not cross a page.
    #[inline(always)]
    pub(super) fn look_up(&self, linear: u64, size: usize, write: bool, privilege: Privilege) -> Option<u64> {
        let entry = &self.tables[table_of(privilege)][index_of(linear)];
        let tag = linear.wrapping_add(size as u64 - 1) & PAGE_MASK | self.number;
        let held = if write { entry.write } else { entry.read };
        (held == tag).then(|| entry.addend.wrapping_add(linear))
    }

    /// Enters a page.
    pub(super) fn fill(&mut self, linear: u64, host: u64, read: bool, write: bool, privilege: Privilege) {
        let page = linear & PAGE_MASK;
        let tag = page | self.number;
        self.tables[table_of(privilege)][index_of(linear)] = TlbEntry {
            read: if read { tag } else { EMPTY },
            write: if write { tag } else { EMPTY },
            addend: host.wrapping_sub(page),
            _reserved: 0,
        };
    }

    /// Takes the right to write away from every page for which `of` says so (given the host address of the page).
    pub(super) fn revoke_writes(&mut self, of: impl Fn(u64) -> bool) {
        for table in &mut self.tables {
            for entry in table.iter_mut() {
                if entry.write != EMPTY && of(entry.addend.wrapping_add(entry.write & PAGE_MASK)) {
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

fn index_of(linear: u64) -> usize {
    (linear >> 12) as usize % TLB_ENTRIES
}

fn large_bit(linear: u64, shift: u32) -> (usize, u64) {
    let hash = (linear >> shift).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

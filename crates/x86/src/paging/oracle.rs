// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second page walker for tests, written from the manual's tables without a look at speed or at the first one: every
//! mode is a list of levels, every level says by name which bits mean what, rights are looked up in SDM 3A 4.6.1 order.

use super::{Access, AccessKind, PageRights, PageSize, PagingRegisters, Privilege, Translation};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

/// Entries by address. An absent one cannot be reached.
pub(super) type Entries = BTreeMap<u64, u64>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Translation(Translation),
    PageFault(u32),
    Unreachable(u64),
}

struct Level {
    index_low: u32,
    index_bits: u32,
    page: Option<PageSize>,
    always_page: bool,
    /// A page-directory-pointer register rather than an entry in memory.
    register: bool,
}

fn bit(value: u64, index: u32) -> bool {
    (value >> index) % 2 == 1
}

fn field(value: u64, high: u32, low: u32) -> u64 {
    let mut result = 0;
    for index in low..=high {
        if bit(value, index) {
            result += 1u64 << (index - low);
        }
    }
    result
}

fn levels(registers: &PagingRegisters) -> (Vec<Level>, bool) {
    let level = |index_low, index_bits, page, always_page| Level {
        index_low,
        index_bits,
        page,
        always_page,
        register: false,
    };
    if !registers.cr4.pae() {
        let large = registers.cr4.pse().then_some(PageSize::Size4M);
        return (vec![level(22, 10, large, false), level(12, 10, Some(PageSize::Size4K), true)], false);
    }
    let mut list = vec![];
    if registers.efer.lma() {
        if registers.cr4.la57() {
            list.push(level(48, 9, None, false));
        }
        list.push(level(39, 9, None, false));
        list.push(level(30, 9, registers.has_1g_pages.then_some(PageSize::Size1G), false));
    } else {
        list.push(Level { register: true, ..level(30, 2, None, false) });
    }
    list.push(level(21, 9, Some(PageSize::Size2M), false));
    list.push(level(12, 9, Some(PageSize::Size4K), true));
    (list, true)
}

/// Bits that must be zero in this entry, as a list of (high, low) ranges.
fn reserved_ranges(registers: &PagingRegisters, wide: bool, page: Option<PageSize>) -> Vec<(u32, u32)> {
    let width = u32::from(registers.physical_address_width);
    let mut ranges = vec![];
    if !wide {
        if page == Some(PageSize::Size4M) {
            let m = width.min(40);
            if m - 19 <= 21 {
                ranges.push((21, m - 19));
            }
        }
        return ranges;
    }
    let top = if registers.efer.lma() { 51 } else { 62 };
    if width <= top {
        ranges.push((top, width));
    }
    if !registers.efer.nxe() {
        ranges.push((63, 63));
    }
    match page {
        Some(PageSize::Size2M) => ranges.push((20, 13)),
        Some(PageSize::Size1G) => ranges.push((29, 13)),
        None => ranges.push((7, 7)),
        _ => {}
    }
    ranges
}

fn allowed(registers: &PagingRegisters, rights: PageRights, access: Access) -> bool {
    let user_address = rights.user;
    if access.privilege == Privilege::User {
        return match access.kind {
            AccessKind::Read => user_address,
            AccessKind::Write => user_address && rights.writable,
            AccessKind::Execute => user_address && rights.executable,
        };
    }
    if access.kind == AccessKind::Execute {
        if user_address && registers.cr4.smep() {
            return false;
        }
        return rights.executable;
    }
    if user_address && registers.cr4.smap() {
        match access.privilege {
            Privilege::Supervisor { ac: true } => {}
            _ => return false,
        }
    }
    if access.kind == AccessKind::Write && registers.cr0.wp() {
        return rights.writable;
    }
    true
}

pub(super) fn translate(
    registers: &PagingRegisters,
    memory: &mut Entries,
    gva: u64,
    access: Access,
) -> Answer {
    if !registers.cr0.pg() {
        return Answer::Translation(Translation {
            gpa: field(gva, 31, 0),
            page_size: PageSize::Size4K,
            rights: PageRights { writable: true, user: true, executable: true },
            global: false,
            dirty: true,
            pat_index: 0,
        });
    }
    let mut code = 0;
    if access.kind == AccessKind::Write {
        code += 2;
    }
    if access.privilege == Privilege::User {
        code += 4;
    }
    let nx_works = registers.cr4.pae() && registers.efer.nxe();
    if access.kind == AccessKind::Execute && (nx_works || registers.cr4.smep()) {
        code += 16;
    }

    let (levels, wide) = levels(registers);
    let entry_size = if wide { 8 } else { 4 };
    let mut table = if registers.efer.lma() && wide {
        field(registers.cr3, 51, 12)
    } else {
        field(registers.cr3, 31, 12)
    } << 12;
    let mut rights = PageRights { writable: true, user: true, executable: true };
    for level in levels {
        let index = field(gva, level.index_low + level.index_bits - 1, level.index_low);
        if level.register {
            let pdpte = registers.pdptes[index as usize];
            if !bit(pdpte, 0) {
                return Answer::PageFault(code);
            }
            table = field(pdpte, 51, 12) << 12;
            continue;
        }
        let address = table + index * entry_size;
        let Some(entry) = memory.get(&address).copied() else {
            return Answer::Unreachable(address);
        };
        if !bit(entry, 0) {
            return Answer::PageFault(code);
        }
        let is_page = level.always_page || (level.page.is_some() && bit(entry, 7));
        let page = if is_page { level.page } else { None };
        for (high, low) in reserved_ranges(registers, wide, page) {
            if field(entry, high, low) != 0 {
                return Answer::PageFault(code + 1 + 8);
            }
        }
        rights.writable &= bit(entry, 1);
        rights.user &= bit(entry, 2);
        rights.executable &= !(nx_works && bit(entry, 63));
        let Some(page) = page else {
            if access.set_accessed_dirty {
                memory.insert(address, entry | 0x20);
            }
            table = field(entry, if wide { 51 } else { 31 }, 12) << 12;
            continue;
        };
        if access.check_rights && !allowed(registers, rights, access) {
            return Answer::PageFault(code + 1);
        }
        let mut updated = entry;
        if access.set_accessed_dirty {
            updated |= 0x20;
            if access.kind == AccessKind::Write {
                updated |= 0x40;
            }
            memory.insert(address, updated);
        }
        let (base, pat_bit) = match page {
            PageSize::Size4K => (field(entry, if wide { 51 } else { 31 }, 12) << 12, 7),
            PageSize::Size2M => (field(entry, 51, 21) << 21, 12),
            PageSize::Size4M => ((field(entry, 20, 13) << 32) + (field(entry, 31, 22) << 22), 12),
            PageSize::Size1G => (field(entry, 51, 30) << 30, 12),
        };
        let offset_bits = match page {
            PageSize::Size4K => 12,
            PageSize::Size2M => 21,
            PageSize::Size4M => 22,
            PageSize::Size1G => 30,
        };
        return Answer::Translation(Translation {
            gpa: base + field(gva, offset_bits - 1, 0),
            page_size: page,
            rights,
            global: registers.cr4.pge() && bit(entry, 8),
            dirty: bit(updated, 6),
            pat_index: field(entry, 4, 3) as u8 + 4 * u8::from(bit(entry, pat_bit)),
        });
    }
    unreachable!("the last level always maps a page")
}

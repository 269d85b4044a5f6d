// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walk itself: 8-byte entries (PAE, 4-level, 5-level) and 4-byte entries (32-bit paging).

use super::{
    Access, AccessKind, PageRights, PageSize, PageTableMemory, Paging, PagingMode, Privilege, Translation,
    WalkError, bits,
};
use crate::exception::PageFaultErrorCode;

pub(super) const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// PS in a directory entry that may map a page.
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// PAT of a 4 KiB page; in larger pages it is bit 12.
const PAT_4K: u64 = 1 << 7;
const PAT_LARGE: u64 = 1 << 12;
pub(super) const NX: u64 = 1 << 63;
/// Physical address bits of an 8-byte entry.
pub(super) const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// A walk that has to begin again because an entry changed under it, or has failed.
enum Stop<E> {
    LostRace,
    Error(WalkError<E>),
}

impl Paging {
    /// Translates `gva`.
    ///
    /// Accessed flags are set entry by entry as the walk uses them, so those of a walk that fails further down stay
    /// set, as on a processor. The page's own entry is only changed when the access is allowed, accessed and dirty in
    /// one step.
    #[inline]
    pub fn walk<M: PageTableMemory>(
        &self,
        memory: &mut M,
        gva: u64,
        access: Access,
    ) -> Result<Translation, WalkError<M::Error>> {
        loop {
            let outcome = match self.mode {
                PagingMode::None => return Ok(identity(gva)),
                PagingMode::Bits32 => self.walk_32(memory, gva, access),
                PagingMode::Pae => self.walk_pae(memory, gva, access),
                PagingMode::Level4 => self.walk_64(memory, self.root, 4, gva, access),
                PagingMode::Level5 => self.walk_64(memory, self.root, 5, gva, access),
            };
            match outcome {
                Ok(translation) => return Ok(translation),
                Err(Stop::LostRace) => continue,
                Err(Stop::Error(error)) => return Err(error),
            }
        }
    }

    #[inline]
    fn walk_pae<M: PageTableMemory>(
        &self,
        memory: &mut M,
        gva: u64,
        access: Access,
    ) -> Result<Translation, Stop<M::Error>> {
        // The PDPTE registers were checked for reserved bits when they were loaded; they carry no rights.
        let pdpte = self.pdptes[(gva >> 30 & 3) as usize];
        if pdpte & PRESENT == 0 {
            return Err(self.fault(access, 0));
        }
        self.walk_64(memory, pdpte & ADDRESS, 2, gva, access)
    }

    /// Walks `levels` levels of 512 8-byte entries.
    #[inline]
    fn walk_64<M: PageTableMemory>(
        &self,
        memory: &mut M,
        mut table: u64,
        levels: u32,
        gva: u64,
        access: Access,
    ) -> Result<Translation, Stop<M::Error>> {
        // R/W and U/S as they are, NX inverted: a right is given where every level has a one.
        let mut rights = u64::MAX;
        let mut level = levels;
        loop {
            let shift = 12 + 9 * (level - 1);
            let gpa = table + (gva >> shift & 0x1FF) * 8;
            let entry = memory.read_u64(gpa).map_err(|error| unreachable_entry(error, gpa, false))?;
            if entry & PRESENT == 0 {
                return Err(self.fault(access, 0));
            }
            rights &= entry ^ NX;

            let size = match level {
                1 => Some(PageSize::Size4K),
                2 if entry & LARGE != 0 => Some(PageSize::Size2M),
                3 if entry & LARGE != 0 && self.has_1g_pages => Some(PageSize::Size1G),
                _ => None,
            };
            let reserved = self.reserved
                | match size {
                    Some(PageSize::Size4K) => 0,
                    // Address bits below the page size, but bit 12, which is PAT.
                    Some(size) => size.offset_mask() & ADDRESS & !PAT_LARGE,
                    None => LARGE,
                };
            if entry & reserved != 0 {
                return Err(self.fault(access, PageFaultErrorCode::new().with_reserved(true).into_bits()));
            }

            let Some(size) = size else {
                if access.set_accessed_dirty && entry & ACCESSED == 0 {
                    replace_u64(memory, gpa, entry, entry | ACCESSED)?;
                }
                table = entry & ADDRESS;
                level -= 1;
                continue;
            };
            let (rights, updated) = self.settle(entry, rights, access)?;
            if updated != entry {
                replace_u64(memory, gpa, entry, updated)?;
            }
            let base = entry & ADDRESS & !size.offset_mask();
            return Ok(self.translation(gva, base, size, updated, rights));
        }
    }

    /// Walks the two levels of 1024 4-byte entries.
    fn walk_32<M: PageTableMemory>(
        &self,
        memory: &mut M,
        gva: u64,
        access: Access,
    ) -> Result<Translation, Stop<M::Error>> {
        let gpa = self.root + (gva >> 22 & 0x3FF) * 4;
        let directory = memory.read_u32(gpa).map_err(|error| unreachable_entry(error, gpa, false))?;
        if u64::from(directory) & PRESENT == 0 {
            return Err(self.fault(access, 0));
        }
        if self.has_large_32 && u64::from(directory) & LARGE != 0 {
            if directory & self.reserved_4m != 0 {
                return Err(self.fault(access, PageFaultErrorCode::new().with_reserved(true).into_bits()));
            }
            let (rights, updated) = self.settle(directory.into(), directory.into(), access)?;
            if updated != u64::from(directory) {
                replace_u32(memory, gpa, directory, updated as u32)?;
            }
            // PSE-36: bits 20:13 of the entry are bits 39:32 of the address.
            let base = u64::from(directory & 0xFFC0_0000) | u64::from(directory >> 13 & 0xFF) << 32;
            return Ok(self.translation(gva, base, PageSize::Size4M, updated, rights));
        }
        if access.set_accessed_dirty && u64::from(directory) & ACCESSED == 0 {
            replace_u32(memory, gpa, directory, directory | ACCESSED as u32)?;
        }

        let gpa = u64::from(directory & 0xFFFF_F000) + (gva >> 12 & 0x3FF) * 4;
        let entry = memory.read_u32(gpa).map_err(|error| unreachable_entry(error, gpa, false))?;
        if u64::from(entry) & PRESENT == 0 {
            return Err(self.fault(access, 0));
        }
        let (rights, updated) = self.settle(entry.into(), (directory & entry).into(), access)?;
        if updated != u64::from(entry) {
            replace_u32(memory, gpa, entry, updated as u32)?;
        }
        Ok(self.translation(gva, u64::from(entry & 0xFFFF_F000), PageSize::Size4K, updated, rights))
    }

    /// Checks the access against the combined rights; gives them, and the page's entry as it must be afterwards.
    ///
    /// In `combined` bit 63 is "executable"; 4-byte entries have no NX, so there it is ignored.
    #[inline]
    fn settle<E>(&self, entry: u64, combined: u64, access: Access) -> Result<(PageRights, u64), Stop<E>> {
        let rights = PageRights {
            writable: combined & WRITABLE != 0,
            user: combined & USER != 0,
            executable: combined & NX != 0 || matches!(self.mode, PagingMode::Bits32),
        };
        if access.check_rights && !self.permits(rights, access.kind, access.privilege) {
            return Err(self.fault(access, PageFaultErrorCode::new().with_present(true).into_bits()));
        }
        let updated = match (access.set_accessed_dirty, access.kind) {
            (false, _) => entry,
            (true, AccessKind::Write) => entry | ACCESSED | DIRTY,
            (true, _) => entry | ACCESSED,
        };
        Ok((rights, updated))
    }

    #[inline]
    fn translation(
        &self,
        gva: u64,
        base: u64,
        size: PageSize,
        entry: u64,
        rights: PageRights,
    ) -> Translation {
        let pat = if matches!(size, PageSize::Size4K) { PAT_4K } else { PAT_LARGE };
        Translation {
            gpa: base | gva & size.offset_mask(),
            page_size: size,
            rights,
            global: self.global_enabled && entry & GLOBAL != 0,
            dirty: entry & DIRTY != 0,
            pat_index: (entry >> 3 & 3) as u8 | if entry & pat != 0 { 4 } else { 0 },
        }
    }

    /// A page fault: `cause` is 0 (not present), the present bit (rights) or the reserved bit, which implies present.
    #[cold]
    fn fault<E>(&self, access: Access, cause: u32) -> Stop<E> {
        let code = PageFaultErrorCode::from_bits(cause)
            .with_present(cause != 0)
            .with_write(access.kind == AccessKind::Write)
            .with_user(access.privilege == Privilege::User)
            .with_fetch(access.kind == AccessKind::Execute && self.reports_fetch);
        Stop::Error(WalkError::PageFault(code))
    }
}

/// With paging off linear addresses have 32 bits, and nothing is forbidden.
#[inline]
fn identity(gva: u64) -> Translation {
    Translation {
        gpa: gva & bits(0, 31),
        page_size: PageSize::Size4K,
        rights: PageRights::ALL,
        global: false,
        dirty: true,
        pat_index: 0,
    }
}

#[cold]
fn unreachable_entry<E>(error: E, gpa: u64, write: bool) -> Stop<E> {
    Stop::Error(WalkError::Memory { error, gpa, write })
}

#[inline]
fn replace_u32<M: PageTableMemory>(
    memory: &mut M,
    gpa: u64,
    old: u32,
    new: u32,
) -> Result<(), Stop<M::Error>> {
    won(memory.compare_exchange_u32(gpa, old, new), gpa)
}

#[inline]
fn replace_u64<M: PageTableMemory>(
    memory: &mut M,
    gpa: u64,
    old: u64,
    new: u64,
) -> Result<(), Stop<M::Error>> {
    won(memory.compare_exchange_u64(gpa, old, new), gpa)
}

#[inline]
fn won<E>(exchanged: Result<bool, E>, gpa: u64) -> Result<(), Stop<E>> {
    match exchanged {
        Ok(true) => Ok(()),
        Ok(false) => Err(Stop::LostRace),
        Err(error) => Err(unreachable_entry(error, gpa, true)),
    }
}

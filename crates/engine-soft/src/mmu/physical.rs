// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest-physical pages: what they are, remembered; and page tables in them for the walker.

use std::sync::Arc;

use engine::{ExitReason, MemoryAccess, MemoryAccessKind, MemoryExitCause};
use memory::{MemoryObject, ObjectId, Rights};
use x86::paging::PageTableMemory;

use super::host;
use crate::cpu::Cpu;
use crate::stop::Stop;

const ENTRIES: usize = 1024;

/// What a guest-physical page is.
#[derive(Clone, Copy)]
pub(crate) struct PhysicalPage {
    /// Host address, or 0 if it may not be touched directly (a lent page).
    pub(crate) host: u64,
    pub(crate) rights: Rights,
    pub(crate) object: ObjectId,
    /// Page in the object.
    pub(crate) page: u64,
}

/// Guest-physical pages of the current view, by number.
pub(super) struct PhysicalCache {
    entries: Vec<Option<(u64, PhysicalPage)>>,
    /// Objects that host addresses point into, kept alive as long as any is remembered here or in the TLB.
    objects: Vec<Arc<MemoryObject>>,
}

impl PhysicalCache {
    pub(super) fn new() -> Self {
        Self { entries: vec![None; ENTRIES], objects: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.entries.fill(None);
        self.objects.clear();
    }

    fn object(&self, id: ObjectId) -> Option<&Arc<MemoryObject>> {
        self.objects.iter().find(|object| object.id() == id)
    }
}

impl Cpu {
    /// What a guest-physical page is in the current view; `None` if nothing is mapped.
    pub(crate) fn physical_page(&mut self, gpn: u64) -> Option<PhysicalPage> {
        let slot = gpn as usize % ENTRIES;
        if let Some((known, page)) = self.mmu.physical.entries[slot]
            && known == gpn
        {
            return Some(page);
        }
        let resolved = self.space.resolve(self.view(), gpn)?;
        let page = PhysicalPage {
            host: if resolved.object.is_lent() {
                0
            } else {
                resolved.object.host_page(resolved.page).as_ptr().addr() as u64
            },
            rights: resolved.rights,
            object: resolved.object.id(),
            page: resolved.page,
        };
        let cache = &mut self.mmu.physical;
        if !cache.objects.iter().any(|object| object.id() == page.object) {
            cache.objects.push(resolved.object);
        }
        cache.entries[slot] = Some((gpn, page));
        Some(page)
    }

    /// The object behind a page that [`Cpu::physical_page`] gave.
    pub(crate) fn object(&self, id: ObjectId) -> &Arc<MemoryObject> {
        self.mmu.physical.object(id).expect("objects of remembered pages are kept")
    }

    /// The object, if pages of it are remembered.
    pub(crate) fn object_if_known(&self, id: ObjectId) -> Option<&Arc<MemoryObject>> {
        self.mmu.physical.object(id)
    }
}

/// Page tables, as the walker reads and marks them. `linear` is the address that is being translated.
pub(super) struct Tables<'a> {
    pub(super) cpu: &'a mut Cpu,
    pub(super) linear: u64,
    pub(super) user: bool,
}

impl Tables<'_> {
    fn access(
        &mut self,
        gpa: u64,
        size: u8,
        kind: MemoryAccessKind,
        cause: MemoryExitCause,
    ) -> Result<u64, Stop> {
        self.cpu.external(ExitReason::Memory(MemoryAccess {
            gpa,
            gva: Some(self.linear),
            size,
            kind,
            cause,
            page_walk: true,
            user: self.user,
        }))
    }

    fn read(&mut self, gpa: u64, size: u8) -> Result<u64, Stop> {
        let cause = match self.cpu.physical_page(gpa >> 12) {
            None => MemoryExitCause::Unmapped,
            Some(page) if !page.rights.contains(Rights::READ) => MemoryExitCause::Rights(page.rights),
            Some(page) if page.host != 0 => {
                // SAFETY: the page is the guest's, mapped whole, and its object is kept alive by the cache; entries are aligned.
                return Ok(unsafe { host::load(page.host + (gpa & 0xFFF), size.into()) });
            }
            Some(page) => {
                let offset = page.page << 12 | gpa & 0xFFF;
                let object = self.cpu.object(page.object);
                let value = match size {
                    4 => object.read_value::<4>(offset),
                    _ => object.read_value::<8>(offset),
                };
                match value {
                    Ok(value) => return Ok(value),
                    Err(_) => MemoryExitCause::HostFault,
                }
            }
        };
        self.access(gpa, size, MemoryAccessKind::Read, cause)
    }

    fn compare_exchange(&mut self, gpa: u64, size: u8, old: u64, new: u64) -> Result<bool, Stop> {
        let cause = match self.cpu.physical_page(gpa >> 12) {
            None => MemoryExitCause::Unmapped,
            Some(page) if !page.rights.contains(Rights::WRITE) => MemoryExitCause::Rights(page.rights),
            Some(page) => {
                let offset = page.page << 12 | gpa & 0xFFF;
                let object = self.cpu.object(page.object);
                // By way of the object, which tells whoever watches the page.
                let value = match size {
                    4 => object.compare_exchange::<4>(offset, old, new),
                    _ => object.compare_exchange::<8>(offset, old, new),
                };
                match value {
                    Ok(value) => return Ok(value == old),
                    Err(_) => MemoryExitCause::HostFault,
                }
            }
        };
        self.access(gpa, size, MemoryAccessKind::Write(new), cause).map(|_| true)
    }
}

impl PageTableMemory for Tables<'_> {
    type Error = Stop;

    fn read_u32(&mut self, gpa: u64) -> Result<u32, Stop> {
        self.read(gpa, 4).map(|value| value as u32)
    }

    fn read_u64(&mut self, gpa: u64) -> Result<u64, Stop> {
        self.read(gpa, 8)
    }

    fn compare_exchange_u32(&mut self, gpa: u64, old: u32, new: u32) -> Result<bool, Stop> {
        self.compare_exchange(gpa, 4, old.into(), new.into())
    }

    fn compare_exchange_u64(&mut self, gpa: u64, old: u64, new: u64) -> Result<bool, Stop> {
        self.compare_exchange(gpa, 8, old, new)
    }
}

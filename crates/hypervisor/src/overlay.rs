// SPDX-License-Identifier: MIT OR Apache-2.0
//! Overlay pages: pages of the hypervisor's own that MSRs place in a guest's address space (TLFS 5.2.1).
//!
//! All of a partition's overlay pages are pages of one memory object. That object keeps their contents whether they are placed or not,
//! and tells an access to an overlay from one to guest memory.

use std::sync::Arc;

use memory::{MemoryObject, OverlayId, PAGE_SHIFT, PAGE_SIZE, Rights, Space, ViewId};
use state::{Damaged, Reader, State, Writer};

/// A page of the hypervisor's own.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    object: Arc<MemoryObject>,
    number: u64,
}

impl State for Page {
    fn save(&self, writer: &mut Writer) {
        let mut bytes = [0; PAGE_SIZE as usize];
        self.object.read(self.offset(0), &mut bytes).expect(OURS);
        writer.bytes(&bytes);
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.write(0, reader.bytes(PAGE_SIZE as usize)?);
        Ok(())
    }
}

/// Overlay pages are anonymous memory of this process, which cannot fault.
const OURS: &str = "an overlay page is the hypervisor's own memory";

impl Page {
    pub(crate) fn new(object: &Arc<MemoryObject>, number: u64) -> Self {
        Self { object: Arc::clone(object), number }
    }

    fn offset(&self, offset: u64) -> u64 {
        (self.number << PAGE_SHIFT) + offset
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.object.write(self.offset(offset), bytes).expect(OURS);
    }

    pub(crate) fn read_u16(&self, offset: u64) -> u16 {
        self.object.read_value::<2>(self.offset(offset)).expect(OURS) as u16
    }

    pub(crate) fn read_u64(&self, offset: u64) -> u64 {
        self.object.read_value::<8>(self.offset(offset)).expect(OURS)
    }

    pub(crate) fn read_u32(&self, offset: u64) -> u32 {
        self.object.read_value::<4>(self.offset(offset)).expect(OURS) as u32
    }

    pub(crate) fn write_u32(&self, offset: u64, value: u32) {
        self.object.write_value::<4>(self.offset(offset), value.into()).expect(OURS);
    }

    pub(crate) fn write_u64(&self, offset: u64, value: u64) {
        self.object.write_value::<8>(self.offset(offset), value).expect(OURS);
    }

    /// Sets and clears bits of a 32-bit word atomically, and gives the word that was there. Orders everything before it against everything
    /// after it.
    pub(crate) fn change_u32(&self, offset: u64, set: u32, clear: u32) -> u32 {
        self.change::<4>(offset, set.into(), clear.into()) as u32
    }

    /// The same for 64 bits.
    pub(crate) fn change_u64(&self, offset: u64, set: u64, clear: u64) -> u64 {
        self.change::<8>(offset, set, clear)
    }

    fn change<const BYTES: usize>(&self, offset: u64, set: u64, clear: u64) -> u64 {
        let offset = self.offset(offset);
        let mut before = self.object.read_value::<BYTES>(offset).expect(OURS);
        loop {
            let after = (before | set) & !clear;
            let found = self.object.compare_exchange::<BYTES>(offset, before, after).expect(OURS);
            if found == before {
                return before;
            }
            before = found;
        }
    }

    /// Fills the page with zeros.
    pub(crate) fn clear(&self) {
        self.write(0, &[0; PAGE_SIZE as usize]);
    }
}

/// A page and the place where it lies, if anywhere.
#[derive(Debug)]
pub(crate) struct Overlay {
    page: Page,
    rights: Rights,
    laid: Option<(u64, OverlayId)>,
}

impl Overlay {
    /// The guest page where it lies, if anywhere.
    pub(crate) fn place_now(&self) -> Option<u64> {
        self.laid.as_ref().map(|&(gpn, _)| gpn)
    }

    pub(crate) fn new(page: Page, rights: Rights) -> Self {
        Self { page, rights, laid: None }
    }

    /// Lays the page over guest page `gpn`, or nowhere. Beyond the end of the space is nowhere: the page is then inaccessible (TLFS
    /// 11.8.3, 12.7.1).
    pub(crate) fn place(&mut self, space: &Space, view: ViewId, gpn: Option<u64>) {
        let gpn = gpn.filter(|&gpn| gpn < space.end());
        if self.laid.map(|(at, _)| at) == gpn {
            return;
        }
        let (page, rights, laid) = (&self.page, self.rights, self.laid.take());
        self.laid = space.batch(|batch| {
            if let Some((_, id)) = laid {
                batch.lift_overlay(view, id);
            }
            let gpn = gpn?;
            let id = batch
                .lay_overlay(view, gpn, &page.object, page.number, rights)
                .expect("the view, the guest page and the object's page exist");
            Some((gpn, id))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B07.020, B03.071: moving an overlay uncovers what it hid, unchanged, and keeps the page's own contents.
    #[test]
    fn moving_an_overlay_uncovers_what_it_hid() {
        let space = Space::new(36);
        let ram = MemoryObject::allocate(2 * PAGE_SIZE).unwrap();
        let view = ViewId(0);
        space.batch(|batch| batch.map(view, 0, 2, &ram, 0, Rights::ALL)).unwrap();
        space.write_value::<8>(view, 0, 0x1111, Rights::WRITE).unwrap();
        let ours = MemoryObject::allocate(PAGE_SIZE).unwrap();
        let mut overlay = Overlay::new(Page::new(&ours, 0), Rights::READ);
        overlay.page.write_u64(0, 0x2222);
        let read = |gpa| space.read_value::<8>(view, gpa, Rights::READ).unwrap();

        overlay.place(&space, view, Some(0));
        assert_eq!((read(0), read(0x1000)), (0x2222, 0));
        assert!(space.write_value::<8>(view, 0, 1, Rights::WRITE).is_err(), "rights are the overlay's own");
        overlay.place(&space, view, Some(1));
        assert_eq!((read(0), read(0x1000)), (0x1111, 0x2222));
        overlay.place(&space, view, Some(space.end()));
        assert_eq!((read(0), read(0x1000)), (0x1111, 0));
    }

    #[test]
    fn bits_change_atomically() {
        let page = Page::new(&MemoryObject::allocate(PAGE_SIZE).unwrap(), 0);
        assert_eq!(page.change_u32(8, 5, 0), 0);
        assert_eq!(page.change_u32(8, 2, 1), 5);
        assert_eq!(page.read_u32(8), 6);
    }
}

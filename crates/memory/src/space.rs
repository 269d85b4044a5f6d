// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest-physical address spaces: views, batches of changes, and access by guest-physical address.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use crate::error::{AccessError, AccessErrorCause, MemoryError};
use crate::object::MemoryObject;
use crate::view::{OverlayId, Resolved, View, ViewId};
use crate::{PAGE_SHIFT, PAGE_SIZE, Rights};

/// Someone who caches what a space maps.
pub trait SpaceObserver: Send + Sync {
    /// The maps, rights or overlays of `view` changed for the guest pages `first..first + pages`. Must return only when no virtual processor
    /// of the observer can use the old state any more. Called on the thread that made the change, which is
    /// never inside a virtual processor's guest code.
    fn changed(&self, view: ViewId, first: u64, pages: u64);
}

/// A guest-physical address space.
///
/// It starts with one empty view, `ViewId(0)`. Addresses go up to the width given at creation.
pub struct Space {
    address_bits: u32,
    views: RwLock<Vec<View>>,
    observers: RwLock<Vec<Weak<dyn SpaceObserver>>>,
    next_overlay: AtomicU64,
}

impl Space {
    /// An empty space of `address_bits` (32 to 52) wide guest-physical addresses.
    ///
    /// # Panics
    /// If the width is out of that range.
    #[must_use]
    pub fn new(address_bits: u32) -> Arc<Self> {
        assert!(
            (32..=52).contains(&address_bits),
            "a guest-physical address has 32 to 52 bits, not {address_bits}"
        );
        Arc::new(Self {
            address_bits,
            views: RwLock::new(vec![View::default()]),
            observers: RwLock::new(Vec::new()),
            next_overlay: AtomicU64::new(1),
        })
    }

    /// Width of guest-physical addresses in bits.
    #[must_use]
    pub fn address_bits(&self) -> u32 {
        self.address_bits
    }

    /// First guest page number that does not exist.
    #[must_use]
    pub fn end(&self) -> u64 {
        1 << (self.address_bits - PAGE_SHIFT)
    }

    /// Adds someone to be told of changes.
    pub fn add_observer(&self, observer: Weak<dyn SpaceObserver>) {
        let mut observers = self.observers.write().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|known| known.strong_count() > 0);
        observers.push(observer);
    }

    /// Makes several changes as one. When it returns, no virtual processor can use the old state.
    ///
    /// Must not be called while holding anything that a virtual processor needs in order to leave guest code.
    pub fn batch<R>(&self, make: impl FnOnce(&mut Batch<'_>) -> R) -> R {
        let mut batch = Batch {
            space: self,
            views: self.views.write().unwrap_or_else(PoisonError::into_inner),
            changes: Vec::new(),
        };
        let result = make(&mut batch);
        let changes = std::mem::take(&mut batch.changes);
        drop(batch);
        if !changes.is_empty() {
            let observers: Vec<_> = self
                .observers
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .filter_map(Weak::upgrade)
                .collect();
            for (view, first, pages) in changes {
                for observer in &observers {
                    observer.changed(view, first, pages);
                }
            }
        }
        result
    }

    fn views(&self) -> RwLockReadGuard<'_, Vec<View>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What guest page `gpn` is in `view`, if it is mapped.
    #[must_use]
    pub fn resolve(&self, view: ViewId, gpn: u64) -> Option<Resolved> {
        self.views().get(usize::from(view.0))?.resolve(gpn)
    }

    /// Every run of mapped pages of a view, overlays not counted: (first guest page, number of pages, rights), in order.
    #[must_use]
    pub fn mapped(&self, view: ViewId) -> Vec<(u64, u64, Rights)> {
        let views = self.views();
        views.get(usize::from(view.0)).map_or_else(Vec::new, |view| {
            view.runs().map(|(gpn, pages, _, _, rights)| (gpn, pages, rights)).collect()
        })
    }

    /// Calls `each` for every mapped page of a view, in order, with its guest page, its object and its page there. Overlays do not count: it
    /// is what they cover.
    pub fn for_each_mapped(&self, view: ViewId, mut each: impl FnMut(u64, &MemoryObject, u64)) {
        let views = self.views();
        let Some(view) = views.get(usize::from(view.0)) else { return };
        for (gpn, pages, object, first, _) in view.runs() {
            (0..pages).for_each(|page| each(gpn + page, object, first + page));
        }
    }

    /// Calls `each` for the part of `gpa..gpa + bytes` in each page, with the offset in the page's object, the offset in
    /// the buffer, and the length. The rights of every page are checked before the first call (TLFS 5.2: a split
    /// access is checked whole).
    fn for_each_page(
        &self,
        view: ViewId,
        gpa: u64,
        bytes: usize,
        need: Rights,
        mut each: impl FnMut(&MemoryObject, u64, usize, usize) -> Result<(), crate::access::Fault>,
    ) -> Result<(), AccessError> {
        if bytes == 0 {
            return Ok(());
        }
        let views = self.views();
        let unmapped = |gpa| AccessError { gpa, cause: AccessErrorCause::Unmapped };
        let view = views.get(usize::from(view.0)).ok_or(unmapped(gpa))?;
        let last = gpa.checked_add(bytes as u64 - 1).ok_or(unmapped(gpa))?;
        let parts = (gpa >> PAGE_SHIFT..=last >> PAGE_SHIFT).map(|gpn| {
            let start = gpa.max(gpn << PAGE_SHIFT);
            let end = last.min((gpn << PAGE_SHIFT) | (PAGE_SIZE - 1));
            (gpn, start, (end - start + 1) as usize)
        });
        let single = gpa >> PAGE_SHIFT == last >> PAGE_SHIFT;
        for touch in if single { [true].as_slice() } else { &[false, true] } {
            for (gpn, start, length) in parts.clone() {
                let outcome = view.with_page(gpn, |object, page, have| {
                    if !have.contains(need) {
                        return Err(AccessErrorCause::Denied { have, need });
                    }
                    if *touch {
                        let offset = (page << PAGE_SHIFT) | (start % PAGE_SIZE);
                        each(object, offset, (start - gpa) as usize, length)
                            .map_err(|_| AccessErrorCause::HostFault)?;
                    }
                    Ok(())
                });
                outcome.ok_or(unmapped(start))?.map_err(|cause| AccessError { gpa: start, cause })?;
            }
        }
        Ok(())
    }

    /// Reads bytes, which may span pages, if every page has the rights in `need` (give [`Rights::READ`], or
    /// [`Rights::NONE`] for an access that rights do not bind, such as a debugger's).
    ///
    /// # Errors
    /// If a page is missing, lacks a right, or faults; the buffer's contents are then unspecified.
    pub fn read(&self, view: ViewId, gpa: u64, buffer: &mut [u8], need: Rights) -> Result<(), AccessError> {
        self.for_each_page(view, gpa, buffer.len(), need, |object, offset, start, length| {
            object.read(offset, &mut buffer[start..start + length])
        })
    }

    /// Writes bytes, which may span pages, if every page has the rights in `need` (see [`Space::read`]).
    ///
    /// # Errors
    /// If a page is missing or lacks a right, and then nothing was written; or if a host page faults.
    pub fn write(&self, view: ViewId, gpa: u64, bytes: &[u8], need: Rights) -> Result<(), AccessError> {
        self.for_each_page(view, gpa, bytes.len(), need, |object, offset, start, length| {
            object.write(offset, &bytes[start..start + length])
        })
    }

    /// Reads a value of 1, 2, 4 or 8 bytes that does not cross a page, in one host access.
    ///
    /// # Errors
    /// As [`Space::read`].
    ///
    /// # Panics
    /// If the value crosses a page: callers check alignment first.
    pub fn read_value<const BYTES: usize>(
        &self,
        view: ViewId,
        gpa: u64,
        need: Rights,
    ) -> Result<u64, AccessError> {
        let mut value = 0;
        self.on_value::<BYTES>(view, gpa, need, |object, offset| {
            value = object.read_value::<BYTES>(offset)?;
            Ok(())
        })?;
        Ok(value)
    }

    /// Writes a value of 1, 2, 4 or 8 bytes that does not cross a page, in one host access.
    ///
    /// # Errors
    /// As [`Space::write`].
    ///
    /// # Panics
    /// As [`Space::read_value`].
    pub fn write_value<const BYTES: usize>(
        &self,
        view: ViewId,
        gpa: u64,
        value: u64,
        need: Rights,
    ) -> Result<(), AccessError> {
        self.on_value::<BYTES>(view, gpa, need, |object, offset| object.write_value::<BYTES>(offset, value))
    }

    /// Replaces an aligned value of 4 or 8 bytes by `new` if it is `expected`, atomically; gives the value that was there.
    ///
    /// # Errors
    /// As [`Space::write`].
    ///
    /// # Panics
    /// As [`Space::read_value`].
    pub fn compare_exchange<const BYTES: usize>(
        &self,
        view: ViewId,
        gpa: u64,
        expected: u64,
        new: u64,
        need: Rights,
    ) -> Result<u64, AccessError> {
        let mut before = 0;
        self.on_value::<BYTES>(view, gpa, need, |object, offset| {
            before = object.compare_exchange::<BYTES>(offset, expected, new)?;
            Ok(())
        })?;
        Ok(before)
    }

    fn on_value<const BYTES: usize>(
        &self,
        view: ViewId,
        gpa: u64,
        need: Rights,
        mut access: impl FnMut(&MemoryObject, u64) -> Result<(), crate::access::Fault>,
    ) -> Result<(), AccessError> {
        assert!(
            gpa % PAGE_SIZE + BYTES as u64 <= PAGE_SIZE,
            "a value of {BYTES} bytes at {gpa:#x} crosses a page"
        );
        self.for_each_page(view, gpa, BYTES, need, |object, offset, _, _| access(object, offset))
    }
}

impl core::fmt::Debug for Space {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Space").field("address_bits", &self.address_bits).finish_non_exhaustive()
    }
}

/// Changes being made to a space, seen all at once.
pub struct Batch<'a> {
    space: &'a Space,
    views: std::sync::RwLockWriteGuard<'a, Vec<View>>,
    changes: Vec<(ViewId, u64, u64)>,
}

impl Batch<'_> {
    /// Adds an empty view.
    ///
    /// # Panics
    /// When 256 views exist.
    pub fn add_view(&mut self) -> ViewId {
        let id = ViewId(u8::try_from(self.views.len()).expect("at most 256 views"));
        self.views.push(View::default());
        id
    }

    fn view(&mut self, id: ViewId, gpn: u64, pages: u64) -> Result<&mut View, MemoryError> {
        let end = self.space.end();
        if pages == 0 || gpn.checked_add(pages).is_none_or(|last| last > end) {
            return Err(MemoryError::OutOfRange {
                what: "the guest-physical address space",
                first: gpn,
                pages,
                end,
            });
        }
        let view = self.views.get_mut(usize::from(id.0)).ok_or(MemoryError::NoSuchView(id))?;
        self.changes.push((id, gpn, pages));
        Ok(view)
    }

    /// Maps guest pages `gpn..gpn + pages` to pages of `object` from `first_page` on, in place of what was mapped there.
    ///
    /// # Errors
    /// If the range reaches past the object or the space, or the view does not exist; nothing changes then.
    pub fn map(
        &mut self,
        view: ViewId,
        gpn: u64,
        pages: u64,
        object: &Arc<MemoryObject>,
        first_page: u64,
        rights: Rights,
    ) -> Result<(), MemoryError> {
        if first_page.checked_add(pages).is_none_or(|end| end > object.pages()) {
            return Err(MemoryError::OutOfRange {
                what: "a memory object",
                first: first_page,
                pages,
                end: object.pages(),
            });
        }
        self.view(view, gpn, pages)?.map(gpn, pages, Arc::clone(object), first_page, rights);
        Ok(())
    }

    /// Removes what is mapped at guest pages `gpn..gpn + pages`. Overlays stay.
    ///
    /// # Errors
    /// If the range reaches past the space or the view does not exist.
    pub fn unmap(&mut self, view: ViewId, gpn: u64, pages: u64) -> Result<(), MemoryError> {
        self.view(view, gpn, pages)?.unmap(gpn, pages);
        Ok(())
    }

    /// Sets the rights of what is mapped at guest pages `gpn..gpn + pages`. Overlays keep theirs (TLFS 5.2.1).
    ///
    /// # Errors
    /// If the range reaches past the space or the view does not exist.
    pub fn protect(&mut self, view: ViewId, gpn: u64, pages: u64, rights: Rights) -> Result<(), MemoryError> {
        self.view(view, gpn, pages)?.protect(gpn, pages, rights);
        Ok(())
    }

    /// Lays a page of `object` over guest page `gpn`. It hides what is there, mapped or not, and its rights are its own.
    ///
    /// # Errors
    /// If the object has no such page, or the view or guest page does not exist.
    pub fn lay_overlay(
        &mut self,
        view: ViewId,
        gpn: u64,
        object: &Arc<MemoryObject>,
        page: u64,
        rights: Rights,
    ) -> Result<OverlayId, MemoryError> {
        if page >= object.pages() {
            return Err(MemoryError::OutOfRange {
                what: "a memory object",
                first: page,
                pages: 1,
                end: object.pages(),
            });
        }
        let id = OverlayId(self.space.next_overlay.fetch_add(1, Ordering::Relaxed));
        self.view(view, gpn, 1)?.lay(id, gpn, Resolved { object: Arc::clone(object), page, rights });
        Ok(id)
    }

    /// Takes an overlay away, which uncovers what it hid, unchanged. Does nothing if it is not there.
    pub fn lift_overlay(&mut self, view: ViewId, overlay: OverlayId) {
        if let Some(gpn) = self.views.get_mut(usize::from(view.0)).and_then(|view| view.lift(overlay)) {
            self.changes.push((view, gpn, 1));
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory objects: runs of host pages that guest pages are backed by.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::access::{self, Fault, Width};
use crate::error::MemoryError;
use crate::{PAGE_SHIFT, PAGE_SIZE};

/// Identifies an object for the life of the process; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectId(u64);

/// Someone who keeps something derived from the bytes of pages, such as translated code.
pub trait StoreWatcher: Send + Sync {
    /// Bytes of a watched page were changed by something other than a virtual processor's own store: a device, a
    /// loader, the output of a hypercall. Called after the bytes have changed, on the writer's thread; must not block on a virtual processor.
    fn stored(&self, object: ObjectId, page: u64, offset: u32, bytes: u32);
}

/// The page holds something that somebody watches.
const WATCHED: u8 = 1;

/// A run of host pages. All access is by value through methods; a page that the host takes away (possible for lent
/// memory) is an error, not a crash.
pub struct MemoryObject {
    id: ObjectId,
    host: NonNull<u8>,
    pages: u64,
    lent: bool,
    flags: Box<[AtomicU8]>,
    /// Whether any watcher was ever added, so that writes need not look into `watchers`.
    has_watchers: AtomicBool,
    watchers: RwLock<Vec<Weak<dyn StoreWatcher>>>,
}

// SAFETY: the host range is only touched by the access primitives and by engines, as shared memory that any thread may
// change at any time; no Rust reference to it exists.
unsafe impl Send for MemoryObject {}
// SAFETY: as above.
unsafe impl Sync for MemoryObject {}

fn next_id() -> ObjectId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ObjectId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl MemoryObject {
    /// Reserves `bytes` of zeroed memory. Host pages are taken only as they are written.
    ///
    /// # Errors
    /// If `bytes` is not a positive multiple of the page size, or the host refuses.
    pub fn allocate(bytes: u64) -> Result<Arc<Self>, MemoryError> {
        let length = whole_pages("the size of a memory object", bytes)?;
        // SAFETY: a new private anonymous mapping, at an address of the host's choice, touches nothing that exists.
        let pointer = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        let host = match NonNull::new(pointer.cast::<u8>()) {
            Some(host) if pointer != libc::MAP_FAILED => host,
            _ => return Err(MemoryError::Reserve { bytes, source: io::Error::last_os_error() }),
        };
        Ok(Self::new(host, bytes, false))
    }

    /// Wraps pages that a host program lends. They may be reserved but not committed, be protected, or change behind our back.
    ///
    /// # Errors
    /// If the range is not made of whole pages.
    ///
    /// # Safety
    /// Until the object is dropped, the range must be the lender's to lend: nothing in this process may hold a Rust
    /// reference into it.
    pub unsafe fn lend(host: NonNull<u8>, bytes: u64) -> Result<Arc<Self>, MemoryError> {
        whole_pages("the size of a lent range", bytes)?;
        let address = host.as_ptr().addr() as u64;
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::Unaligned { what: "the address of a lent range", value: address });
        }
        Ok(Self::new(host, bytes, true))
    }

    fn new(host: NonNull<u8>, bytes: u64, lent: bool) -> Arc<Self> {
        access::prepare();
        let pages = bytes >> PAGE_SHIFT;
        let flags = (0..pages).map(|_| AtomicU8::new(0)).collect();
        let watchers = RwLock::new(Vec::new());
        Arc::new(Self {
            id: next_id(),
            host,
            pages,
            lent,
            flags,
            has_watchers: AtomicBool::new(false),
            watchers,
        })
    }

    /// The object's identity.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether the pages are a host program's: then they may fault when touched and change without notice, so an
    /// engine must use the methods of this type, and may not rely on being told of stores.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.lent
    }

    /// Host address of a page, for engines, which access memory of their own accord as a processor does. Valid while the object lives.
    ///
    /// # Panics
    /// If the object has no such page.
    #[must_use]
    pub fn host_page(&self, page: u64) -> NonNull<u8> {
        assert!(page < self.pages, "page {page:#x} of an object of {:#x} pages", self.pages);
        // SAFETY: within the range, as just checked.
        unsafe { self.host.add((page << PAGE_SHIFT) as usize) }
    }

    /// Adds someone to be told of stores to watched pages.
    pub fn add_watcher(&self, watcher: Weak<dyn StoreWatcher>) {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|known| known.strong_count() > 0);
        watchers.push(watcher);
        self.has_watchers.store(true, Ordering::Release);
    }

    /// Marks a page as watched and tells whether it was already. After this returns, either a store is seen by a following read of
    /// the page, or the watchers are told of it; stores of virtual processors are the engines' own affair.
    pub fn watch(&self, page: u64) -> bool {
        let before = self.flags[page as usize].fetch_or(WATCHED, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        before & WATCHED != 0
    }

    /// Ends the watch over a page.
    pub fn unwatch(&self, page: u64) {
        self.flags[page as usize].fetch_and(!WATCHED, Ordering::SeqCst);
    }

    /// Whether the page is watched.
    #[must_use]
    pub fn is_watched(&self, page: u64) -> bool {
        self.flags[page as usize].load(Ordering::Relaxed) & WATCHED != 0
    }

    fn pointer(&self, offset: u64, bytes: u64) -> *mut u8 {
        let end = offset.checked_add(bytes).expect("an access that wraps around");
        assert!(
            end <= self.pages << PAGE_SHIFT,
            "access to {offset:#x}+{bytes:#x} past the end of an object"
        );
        // SAFETY: within the range, as just checked.
        unsafe { self.host.as_ptr().add(offset as usize) }
    }

    /// Reads bytes at a byte offset.
    ///
    /// # Errors
    /// If a host page faults; the buffer's contents are then unspecified.
    ///
    /// # Panics
    /// As all access methods: if the access reaches past the end. Bounds come from mappings that were checked when they were made.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let source = self.pointer(offset, buffer.len() as u64);
        // SAFETY: `source` lies in the object for the whole length; the buffer is ours.
        unsafe { access::copy(buffer.as_mut_ptr(), source, buffer.len()) }
    }

    /// Writes bytes at a byte offset and tells watchers.
    ///
    /// # Errors
    /// If a host page faults; bytes before it may have been written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let destination = self.pointer(offset, bytes.len() as u64);
        // SAFETY: `destination` lies in the object for the whole length; the source is ours.
        let result = unsafe { access::copy(destination, bytes.as_ptr(), bytes.len()) };
        self.tell(offset, bytes.len() as u64);
        result
    }

    /// Reads a value of 1, 2, 4 or 8 bytes in one host access.
    ///
    /// # Errors
    /// If the host page faults.
    pub fn read_value<const BYTES: usize>(&self, offset: u64) -> Result<u64, Fault> {
        let pointer = self.pointer(offset, BYTES as u64);
        // SAFETY: within the object.
        unsafe { access::read(pointer, const { width(BYTES) }) }
    }

    /// Writes a value of 1, 2, 4 or 8 bytes in one host access and tells watchers.
    ///
    /// # Errors
    /// If the host page faults.
    pub fn write_value<const BYTES: usize>(&self, offset: u64, value: u64) -> Result<(), Fault> {
        let pointer = self.pointer(offset, BYTES as u64);
        // SAFETY: within the object.
        let result = unsafe { access::write(pointer, const { width(BYTES) }, value) };
        self.tell(offset, BYTES as u64);
        result
    }

    /// Replaces a value of 4 or 8 bytes by `new` if it is `expected`, atomically; gives the value that was there.
    ///
    /// # Errors
    /// If the host page faults.
    pub fn compare_exchange<const BYTES: usize>(
        &self,
        offset: u64,
        expected: u64,
        new: u64,
    ) -> Result<u64, Fault> {
        const { assert!(BYTES == 4 || BYTES == 8) }
        let pointer = self.pointer(offset, BYTES as u64);
        // SAFETY: within the object.
        let before = unsafe { access::compare_exchange(pointer, BYTES == 8, expected, new) }?;
        if before == expected {
            self.tell(offset, BYTES as u64);
        }
        Ok(before)
    }

    /// Tells watchers of a store, page by page.
    fn tell(&self, offset: u64, bytes: u64) {
        if bytes == 0 || !self.has_watchers.load(Ordering::Acquire) {
            return;
        }
        // Pairs with `watch`: the store is before this, the reading of bytes by whoever watches is after theirs.
        fence(Ordering::SeqCst);
        let last = (offset + bytes - 1) >> PAGE_SHIFT;
        for page in offset >> PAGE_SHIFT..=last {
            if !self.is_watched(page) {
                continue;
            }
            let start = offset.max(page << PAGE_SHIFT);
            let end = (offset + bytes).min((page + 1) << PAGE_SHIFT);
            let watchers: Vec<_> = self
                .watchers
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .filter_map(Weak::upgrade)
                .collect();
            for watcher in watchers {
                watcher.stored(self.id, page, (start % PAGE_SIZE) as u32, (end - start) as u32);
            }
        }
    }
}

const fn width(bytes: usize) -> Width {
    match bytes {
        1 => Width::One,
        2 => Width::Two,
        4 => Width::Four,
        8 => Width::Eight,
        _ => panic!("single accesses are of 1, 2, 4 or 8 bytes"),
    }
}

fn whole_pages(what: &'static str, bytes: u64) -> Result<usize, MemoryError> {
    if bytes == 0 || !bytes.is_multiple_of(PAGE_SIZE) {
        return Err(MemoryError::Unaligned { what, value: bytes });
    }
    usize::try_from(bytes)
        .ok()
        .filter(|&length| isize::try_from(length).is_ok())
        .ok_or_else(|| MemoryError::Reserve { bytes, source: io::ErrorKind::OutOfMemory.into() })
}

impl Drop for MemoryObject {
    fn drop(&mut self) {
        if !self.lent {
            // SAFETY: the range was mapped by `allocate` with this length and nothing refers to it any more.
            unsafe { libc::munmap(self.host.as_ptr().cast(), (self.pages << PAGE_SHIFT) as usize) };
        }
    }
}

impl core::fmt::Debug for MemoryObject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryObject")
            .field("id", &self.id.0)
            .field("pages", &self.pages)
            .field("lent", &self.lent)
            .finish()
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory for emitted host code: one memory file mapped twice, once writable and once executable.
//!
//! No address is ever both. Code is only appended, never changed or taken back while the mapping lives: whoever
//! runs code holds an [`Arc`](std::sync::Arc) of its [`CodeMemory`], so nothing is unmapped under a running
//! stub, and no check is needed at each run.

use std::io;
use std::ptr::NonNull;
use std::sync::Mutex;

use thiserror::Error;

/// Host memory for emitted code could not be had.
#[derive(Debug, Error)]
#[error(
    "cannot map {bytes} bytes of executable memory ({step}): {source}; \
     check memory limits and whether a security policy (SELinux execmem, vm.memfd_noexec) forbids it"
)]
pub struct CodeMemoryError {
    bytes: usize,
    step: &'static str,
    source: io::Error,
}

/// A bounded, append-only area of host code.
#[derive(Debug)]
pub(super) struct CodeMemory {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    capacity: usize,
    used: Mutex<usize>,
}

/// Where appended code begins: a host fetch window, so that no stub shares its first one.
const ALIGNMENT: usize = 32;

/// What lies between pieces of code: INT3, in case control ever goes astray.
const FILLER: u8 = 0xCC;

// SAFETY: the two pointers name mappings which this value owns and which no thread-local state refers to; writes go
// through `append`, which the mutex serialises.
unsafe impl Send for CodeMemory {}
// SAFETY: as above. Bytes that have been handed out are never written again.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Maps `capacity` bytes, rounded up to whole pages.
    pub(super) fn new(capacity: usize) -> Result<Self, CodeMemoryError> {
        let capacity = capacity.next_multiple_of(4096);
        let failed = |step| CodeMemoryError { bytes: capacity, step, source: io::Error::last_os_error() };
        let file = MemoryFile::new().ok_or_else(|| failed("memfd_create"))?;
        // SAFETY: plain system call on a descriptor that we own.
        if unsafe { libc::ftruncate(file.0, capacity as libc::off_t) } != 0 {
            return Err(failed("ftruncate"));
        }
        let map = |protection| {
            // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
            let address = unsafe {
                libc::mmap(std::ptr::null_mut(), capacity, protection, libc::MAP_SHARED, file.0, 0)
            };
            if address == libc::MAP_FAILED { None } else { NonNull::new(address.cast::<u8>()) }
        };
        let writable =
            map(libc::PROT_READ | libc::PROT_WRITE).ok_or_else(|| failed("mmap of the writable view"))?;
        let Some(executable) = map(libc::PROT_READ | libc::PROT_EXEC) else {
            let error = failed("mmap of the executable view");
            // SAFETY: `writable` is the mapping of `capacity` bytes made above, and nothing refers to it.
            unsafe { libc::munmap(writable.as_ptr().cast(), capacity) };
            return Err(error);
        };
        Ok(Self { writable, executable, capacity, used: Mutex::new(0) })
    }

    /// Appends `code` and returns the address at which it can be executed, or `None` if it does not fit.
    ///
    /// The address was never executed before, and the host's instruction caches follow stores by physical
    /// address, so no other step is needed before control goes there.
    pub(super) fn append(&self, code: &[u8]) -> Option<NonNull<u8>> {
        let mut used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = *used;
        let end = start.checked_add(code.len())?;
        if end > self.capacity {
            return None;
        }
        let next = end.next_multiple_of(ALIGNMENT);
        *used = next;
        // SAFETY: start..next lies within the writable view, whose size is a multiple of the alignment, and no one has
        // been told of these bytes.
        unsafe {
            let to = self.writable.as_ptr().add(start);
            to.copy_from_nonoverlapping(code.as_ptr(), code.len());
            to.add(code.len()).write_bytes(FILLER, next - end);
        }
        // SAFETY: start < capacity, the size of the executable view.
        Some(unsafe { self.executable.add(start) })
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        // SAFETY: both mappings are ours and `capacity` bytes long; every stub that points into them holds an
        // `Arc` of this value, so none is left.
        unsafe {
            libc::munmap(self.writable.as_ptr().cast(), self.capacity);
            libc::munmap(self.executable.as_ptr().cast(), self.capacity);
        }
    }
}

/// An anonymous memory file; the mappings outlive it.
struct MemoryFile(libc::c_int);

impl MemoryFile {
    fn new() -> Option<Self> {
        let create = |flags| {
            // SAFETY: plain system call with a terminated name.
            let file = unsafe { libc::memfd_create(c"viridian-code".as_ptr(), flags) };
            (file >= 0).then_some(Self(file))
        };
        // Kernels before 6.3 do not know MFD_EXEC; later ones may refuse executable mappings without it.
        create(libc::MFD_CLOEXEC | libc::MFD_EXEC).or_else(|| create(libc::MFD_CLOEXEC))
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and still open.
        unsafe { libc::close(self.0) };
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test's pages in this process: at their fixed addresses with the rights that they are to have, and once more, writable, elsewhere.

use std::io;

use crate::layout::{CODE, CODE_PAGES, DATA, DATA_BYTES, DATA_RIGHTS, PAGE, PageRights, RESERVED};

/// Owns the reserved range of addresses and the pages in it. There is at most one in a process.
pub(super) struct Region {
    /// Writable view: code pages, then data pages.
    alias: *mut u8,
}

const CODE_BYTES: usize = (CODE_PAGES * PAGE) as usize;
const BYTES: usize = CODE_BYTES + DATA_BYTES as usize;

impl Region {
    /// Maps everything.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a new file that nobody else knows.
        let file = unsafe { libc::memfd_create(c"oracle".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        let region = Self::map_all(file);
        // SAFETY: ours; the mappings keep the file's pages.
        unsafe { libc::close(file) };
        region
    }

    fn map_all(file: i32) -> io::Result<Self> {
        // SAFETY: plain system call on our own file.
        if unsafe { libc::ftruncate(file, BYTES as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let reserved = (RESERVED.end - RESERVED.start) as usize;
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: NOREPLACE refuses to touch anything that exists.
        unsafe {
            map(RESERVED.start, reserved, libc::PROT_NONE, anonymous | libc::MAP_FIXED_NOREPLACE, -1, 0)?;
        }
        let place = |address: u64, bytes: usize, rights: i32, offset: usize| {
            let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE;
            // SAFETY: inside the range that was just reserved, which is ours.
            unsafe { map(address, bytes, rights, flags, file, offset) }
        };
        place(CODE, CODE_BYTES, libc::PROT_READ | libc::PROT_EXEC, 0)?;
        for (index, rights) in DATA_RIGHTS.iter().enumerate() {
            let protection = match rights {
                PageRights::None => continue,
                PageRights::Read => libc::PROT_READ,
                PageRights::Write => libc::PROT_READ | libc::PROT_WRITE,
            };
            let offset = index * PAGE as usize;
            place(DATA + offset as u64, PAGE as usize, protection, CODE_BYTES + offset)?;
        }
        // SAFETY: a new mapping at an address of the kernel's choice.
        let alias = unsafe {
            map(0, BYTES, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE, file, 0)?
        };
        Ok(Self { alias })
    }

    fn offset(address: u64, bytes: usize) -> usize {
        let (start, first, length) =
            if address >= DATA { (DATA, CODE_BYTES, DATA_BYTES as usize) } else { (CODE, 0, CODE_BYTES) };
        let offset = address.checked_sub(start).expect("an address in the region") as usize;
        assert!(offset + bytes <= length, "{address:#x} and {bytes} bytes lie in the region");
        first + offset
    }

    /// Writes bytes of code or data.
    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) {
        let offset = Self::offset(address, bytes.len());
        // SAFETY: inside the alias, as just checked; no Rust reference to these pages outlives a method of this type.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.alias.add(offset), bytes.len()) };
    }

    /// Copies a data page.
    pub(super) fn read_page(&self, index: usize, into: &mut [u8; PAGE as usize]) {
        let offset = Self::offset(DATA + index as u64 * PAGE, into.len());
        // SAFETY: inside the alias, as `offset` checks.
        unsafe { core::ptr::copy_nonoverlapping(self.alias.add(offset), into.as_mut_ptr(), into.len()) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: both were mapped by `map_all`, and nothing refers to them any more.
        unsafe {
            libc::munmap(self.alias.cast(), BYTES);
            libc::munmap(RESERVED.start as *mut _, (RESERVED.end - RESERVED.start) as usize);
        }
    }
}

/// `mmap`.
///
/// # Safety
/// As `mmap`: with MAP_FIXED the range must be the caller's.
unsafe fn map(
    address: u64,
    bytes: usize,
    rights: i32,
    flags: i32,
    file: i32,
    offset: usize,
) -> io::Result<*mut u8> {
    // SAFETY: by contract.
    let pointer = unsafe { libc::mmap(address as *mut _, bytes, rights, flags, file, offset as libc::off_t) };
    if pointer == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(pointer.cast()) }
}

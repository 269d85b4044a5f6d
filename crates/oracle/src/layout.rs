// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are: the same linear addresses on the host and in the guest.
//!
//! Everything lies below 4 GiB, where the host maps nothing else, so that 32-bit addresses reach it and a stray address that
//! is cut to 32 bits cannot hurt the process.

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// First code page. Instructions are executed here; every other byte is HLT, which ends a run with #GP at CPL 3.
pub const CODE: u64 = 0x1000_0000;
/// Code pages. What lies before and behind is not mapped.
pub const CODE_PAGES: u64 = 2;
/// What code pages hold besides instructions.
pub const FILLER: u8 = 0xF4;

/// First data page.
pub const DATA: u64 = 0x1010_0000;

/// What user code may do with a data page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageRights {
    /// Not mapped.
    None,
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

/// The data pages. Each kind of page has each other kind as a neighbour, so that operands that lie across pages meet all combinations.
pub const DATA_RIGHTS: [PageRights; 10] = {
    use PageRights::{None, Read, Write};
    [None, Write, Write, Read, Write, None, Write, None, Read, None]
};
/// Bytes of all data pages.
pub const DATA_BYTES: u64 = DATA_RIGHTS.len() as u64 * PAGE;

/// The reserved range: nothing else of the process is in it.
pub const RESERVED: core::ops::Range<u64> = 0x0FF0_0000..0x1030_0000;

/// Whether an access at a linear address cannot touch anything of this process but the test's own pages: below 4 GiB there is nothing else, and above the
/// user half there is nothing that user code may touch.
#[must_use]
pub const fn is_harmless(address: u64) -> bool {
    address < 1 << 32 || address >= 0x7FFF_FFFF_F000
}

/// Rights of the page at a linear address, as far as data pages are concerned.
#[must_use]
pub const fn data_rights(address: u64) -> PageRights {
    if address < DATA || address >= DATA + DATA_BYTES {
        return PageRights::None;
    }
    DATA_RIGHTS[((address - DATA) / PAGE) as usize]
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables that map the first 4 GiB to themselves in 2 MiB pages (Intel SDM 3A 4.5).

/// Entries of a table, and also a table's size in entries of eight bytes.
const ENTRIES: u64 = 512;
const PAGE: u64 = 4096;
/// One table of 2 MiB pages for each GiB.
const DIRECTORIES: u64 = 4;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

/// The tables' bytes, to be put at the page-aligned `gpa`: the top table, one table of directories, and the
/// directories.
pub(super) fn identity(gpa: u64) -> Vec<u8> {
    let mut entries = vec![0_u64; ((2 + DIRECTORIES) * ENTRIES) as usize];
    entries[0] = (gpa + PAGE) | PRESENT_WRITABLE;
    for directory in 0..DIRECTORIES {
        entries[(ENTRIES + directory) as usize] = (gpa + (2 + directory) * PAGE) | PRESENT_WRITABLE;
    }
    for page in 0..DIRECTORIES * ENTRIES {
        entries[(2 * ENTRIES + page) as usize] = page << 21 | LARGE | PRESENT_WRITABLE;
    }
    entries.into_iter().flat_map(u64::to_le_bytes).collect()
}

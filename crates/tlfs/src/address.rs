// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages and addresses (TLFS 1.7), and how pages are cached and accessed (TLFS 5.2, 9.3.3). Addresses are `u64` in bytes;
//! a page number is an address divided by [`PAGE_SIZE`].

use crate::declare::{bit_fields, open_enum};

/// Bytes in a page (TLFS 1.7).
pub const PAGE_SIZE: usize = 0x1000;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// The offset bits of an address within its page (TLFS 1.7).
pub const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;
/// Bytes in a large page (TLFS 1.7).
pub const LARGE_PAGE_SIZE: usize = 0x20_0000;
/// Largest page number that the interface can express (TLFS 1.7).
pub const MAX_PAGE_NUMBER: u64 = u64::MAX / PAGE_SIZE as u64;

open_enum! {
    /// `HV_CACHE_TYPE`: how a page is cached (TLFS 9.3.3).
    pub struct CacheType(u32);
    /// Not at all.
    UNCACHED = 0, "HvCacheTypeX64Uncached";
    /// Writes are gathered.
    WRITE_COMBINING = 1, "HvCacheTypeX64WriteCombining";
    /// Writes go through.
    WRITE_THROUGH = 4, "HvCacheTypeX64WriteThrough";
    /// Reads are cached, writes are not.
    WRITE_PROTECTED = 5, "HvCacheTypeX64WriteProtected";
    /// Ordinary memory.
    WRITE_BACK = 6, "HvCacheTypeX64WriteBack";
}

bit_fields! {
    /// `HV_MAP_GPA_FLAGS`: rights to a GPA page (TLFS 5.2, 15.10).
    pub struct MapGpaFlags(u32);
    /// May be read.
    read: bool = 1;
    /// May be written.
    write: bool = 1;
    /// May be executed in kernel mode.
    kernel_execute: bool = 1;
    /// May be executed in user mode.
    user_execute: bool = 1;
    /// No right that is defined.
    reserved: u32 = 28;
}

bit_fields! {
    /// `HV_INTERCEPT_ACCESS_TYPE_MASK`: kinds of access, several at once (TLFS 6.1.1).
    pub struct AccessTypeMask(u8);
    /// Read.
    read: bool = 1;
    /// Write.
    write: bool = 1;
    /// Execute.
    execute: bool = 1;
    __: u8 = 5;
}

bit_fields! {
    /// `HV_GPA_PAGE_RANGE`: a run of pages, or of large pages (TLFS 16.11.1).
    pub struct GpaPageRange(u64);
    /// Pages beyond the first, 0 to 2047, in units of the page size.
    additional_pages: u16 = 11;
    /// The pages are 2 MiB, or 1 GiB if bit 12 is set too.
    large_page: bool = 1;
    /// Number of the first page. Of a large page only bits 51:9 count, and bit 0 selects 1 GiB pages.
    base_page_number: u64 = 52;
}

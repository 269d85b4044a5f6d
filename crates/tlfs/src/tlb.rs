// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual memory: flushing translation caches and translating addresses (TLFS 9).

use crate::address::CacheType;
use crate::declare::{bit_fields, layout, open_enum};
use crate::partition::PartitionId;
use crate::register::PendingExceptionEvent;
use crate::vp::{VpIndex, VpSet};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bit_fields! {
    /// `HV_FLUSH_FLAGS` (TLFS 9.3.2).
    pub struct FlushFlags(u64);
    /// Every VP is meant, whatever the mask or set says.
    all_processors: bool = 1;
    /// Every address space is meant, whatever the address space says.
    all_virtual_address_spaces: bool = 1;
    /// Global mappings need not be flushed. Not for list calls.
    non_global_mappings_only: bool = 1;
    /// List elements are [`ExtendedGvaRange`]s. Only for list calls.
    use_extended_range_format: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 60;
}

/// Input of HvCallSwitchVirtualAddressSpace (TLFS 9.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SwitchVirtualAddressSpaceInput {
    /// `HV_ADDRESS_SPACE_ID`: the new CR3.
    pub address_space: u64,
}
layout!(SwitchVirtualAddressSpaceInput: 8, address_space @ 0);

/// Input of HvCallFlushVirtualAddressSpace, and header of HvCallFlushVirtualAddressList (TLFS 9.4.2, 9.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlushVirtualAddressInput {
    /// `HV_ADDRESS_SPACE_ID`: the CR3 whose translations are meant.
    pub address_space: u64,
    /// How far the flush goes.
    pub flags: FlushFlags,
    /// Bit n: VP n is meant.
    pub processor_mask: u64,
}
layout!(FlushVirtualAddressInput: 24, address_space @ 0, flags @ 8, processor_mask @ 16);

/// Input of HvCallFlushVirtualAddressSpaceEx, and header of HvCallFlushVirtualAddressListEx, without the banks of the
/// set (TLFS 9.4.3, 9.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlushVirtualAddressExInput {
    /// `HV_ADDRESS_SPACE_ID`: the CR3 whose translations are meant.
    pub address_space: u64,
    /// How far the flush goes.
    pub flags: FlushFlags,
    /// VPs that are meant.
    pub processor_set: VpSet,
}
layout!(FlushVirtualAddressExInput: 32, address_space @ 0, flags @ 8, processor_set @ 16);

bit_fields! {
    /// List element of the list flushes (TLFS 9.4.4).
    pub struct GvaRange(u64);
    /// Pages beyond the first, 0 to 4095.
    additional_pages: u16 = 12;
    /// Number of the first virtual page.
    gva_page_number: u64 = 52;
}

bit_fields! {
    /// List element of the list flushes under [`FlushFlags::use_extended_range_format`] (TLFS 9.4.4).
    pub struct ExtendedGvaRange(u64);
    /// Pages beyond the first, 0 to 2047, in units of the page size.
    additional_pages: u16 = 11;
    /// The pages are 2 MiB, or 1 GiB if bit 12 is set too.
    large_page: bool = 1;
    /// Number of the first virtual page. Of a large page only bits 51:9 count, and bit 0 selects 1 GiB pages.
    gva_page_number: u64 = 52;
}

bit_fields! {
    /// `HV_TRANSLATE_GVA_CONTROL_FLAGS` (TLFS 9.3.4).
    pub struct TranslateGvaControlFlags(u64);
    /// Reading must be possible.
    validate_read: bool = 1;
    /// Writing must be possible.
    validate_write: bool = 1;
    /// Executing must be possible.
    validate_execute: bool = 1;
    /// Privilege does not count: translate as for the most privileged code.
    privilege_exempt: bool = 1;
    /// Set accessed and dirty bits as a real access would.
    set_page_table_bits: bool = 1;
    /// The VP must not lose this translation until it is resumed.
    tlb_flush_inhibit: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 50;
    /// The VTL that is meant, in the form of [`InputVtl`](crate::vsm::InputVtl).
    input_vtl: u8 = 8;
}

open_enum! {
    /// `HV_TRANSLATE_GVA_RESULT_CODE` (TLFS 9.3.4).
    pub struct TranslateGvaResultCode(u32);
    /// Translated.
    SUCCESS = 0, "HvTranslateGvaSuccess";
    /// A page table entry is not present.
    PAGE_NOT_PRESENT = 1, "HvTranslateGvaPageNotPresent";
    /// The page tables forbid the access.
    PRIVILEGE_VIOLATION = 2, "HvTranslateGvaPrivilegeViolation";
    /// A page table entry has reserved bits set.
    INVALID_PAGE_TABLE_FLAGS = 3, "HvTranslateGvaInvalidPageTableFlags";
    /// A GPA on the way is not mapped.
    GPA_UNMAPPED = 4, "HvTranslateGvaGpaUnmapped";
    /// A GPA on the way cannot be read.
    GPA_NO_READ_ACCESS = 5, "HvTranslateGvaGpaNoReadAccess";
    /// A GPA on the way cannot be written.
    GPA_NO_WRITE_ACCESS = 6, "HvTranslateGvaGpaNoWriteAccess";
    /// A GPA on the way is an overlay that cannot be accessed so.
    GPA_ILLEGAL_OVERLAY_ACCESS = 7, "HvTranslateGvaGpaIllegalOverlayAccess";
    /// A higher VTL intercepts the access.
    INTERCEPT = 8, "HvTranslateGvaIntercept";
}

bit_fields! {
    /// Second half of `HV_TRANSLATE_GVA_RESULT` (TLFS 9.3.4).
    pub struct TranslateGvaResultFlags(u32);
    /// How the page is cached; a [`CacheType`] that fits in 8 bits.
    cache_type: u8 = 8;
    /// The page is an overlay.
    overlay_page: bool = 1;
    __: u32 = 23;
}

impl TranslateGvaResultFlags {
    /// `cache_type` as the enumeration it is.
    pub const fn cache(self) -> CacheType {
        CacheType(self.cache_type() as u32)
    }
}

/// `HV_TRANSLATE_GVA_RESULT` (TLFS 9.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TranslateGvaResult {
    /// Outcome.
    pub result_code: TranslateGvaResultCode,
    /// What is known of the page.
    pub flags: TranslateGvaResultFlags,
}
layout!(TranslateGvaResult: 8, result_code @ 0, flags @ 4);

/// Input of HvCallTranslateVirtualAddress and HvCallTranslateVirtualAddressEx (TLFS 9.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TranslateVirtualAddressInput {
    /// Partition of the VP.
    pub partition_id: PartitionId,
    /// The VP whose page tables are walked.
    pub vp_index: VpIndex,
    /// Must be zero.
    pub reserved_z: u32,
    /// What to check and do.
    pub control_flags: TranslateGvaControlFlags,
    /// Number of the virtual page.
    pub gva_page: u64,
}
layout!(
    TranslateVirtualAddressInput: 32,
    partition_id @ 0,
    vp_index @ 8,
    control_flags @ 16,
    gva_page @ 24,
);

/// Output of HvCallTranslateVirtualAddress (TLFS 9.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TranslateVirtualAddressOutput {
    /// Outcome.
    pub translation_result: TranslateGvaResult,
    /// Number of the GPA page, if the outcome is success.
    pub gpa_page: u64,
}
layout!(TranslateVirtualAddressOutput: 16, translation_result @ 0, gpa_page @ 8);

/// `HV_TRANSLATE_GVA_RESULT_EX` in the 48 bytes that public sources give it; TLFS 6.0 leaves its event open (9.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TranslateGvaResultEx {
    /// Outcome.
    pub result_code: TranslateGvaResultCode,
    /// What is known of the page.
    pub flags: TranslateGvaResultFlags,
    /// Zero: aligns the event.
    pub reserved: u64,
    /// The event that an access would raise: a [`PendingExceptionEvent`], then zero.
    pub event_info: [PendingExceptionEvent; 2],
}
layout!(TranslateGvaResultEx: 48, result_code @ 0, flags @ 4, event_info @ 16);

/// Output of HvCallTranslateVirtualAddressEx. Later than TLFS 6.0; the layout is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TranslateVirtualAddressExOutput {
    /// Outcome.
    pub translation_result: TranslateGvaResultEx,
    /// Number of the GPA page, if the outcome is success.
    pub gpa_page: u64,
    /// Zero.
    pub reserved: u64,
}
layout!(TranslateVirtualAddressExOutput: 64, translation_result @ 0, gpa_page @ 48);

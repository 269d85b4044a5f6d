// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended hypercalls, codes 0x8001 and up (TLFS 3.14).

use crate::declare::{bit_fields, layout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bit_fields! {
    /// Which extended calls exist (TLFS 3.14.1).
    pub struct ExtendedCapabilities(u64);
    /// HvExtCallGetBootZeroedMemory.
    get_boot_zeroed_memory: bool = 1;
    /// HvExtCallMemoryHeatHint.
    memory_heat_hint: bool = 1;
    /// HvExtCallEpfSetup.
    epf_setup: bool = 1;
    /// HvExtCallSchedulerAssistSetup.
    scheduler_assist_setup: bool = 1;
    /// HvExtCallMemoryHeatHintAsync.
    memory_heat_hint_async: bool = 1;
    __: u64 = 59;
}

/// Output of HvExtCallQueryCapabilities (TLFS 3.14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct QueryCapabilitiesOutput {
    /// The calls that exist.
    pub capabilities: ExtendedCapabilities,
}
layout!(QueryCapabilitiesOutput: 8, capabilities @ 0);

/// One run of pages in [`BootZeroedMemoryOutput`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ZeroedRange {
    /// Number of the first GPA page.
    pub start_gpa_page: u64,
    /// Number of pages.
    pub page_count: u64,
}
layout!(ZeroedRange: 16, start_gpa_page @ 0, page_count @ 8);

/// Output of HvExtCallGetBootZeroedMemory in the form guests in use read; TLFS 6.0 prints a single pair (9.4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BootZeroedMemoryOutput {
    /// Ranges that are valid, 0 to 255.
    pub range_count: u64,
    /// The ranges.
    pub ranges: [ZeroedRange; 255],
}
layout!(BootZeroedMemoryOutput: 0xFF8, range_count @ 0, ranges @ 8);

/// Kind of memory heat hint that says pages may be discarded. The number is public, not in TLFS 6.0.
pub const HEAT_HINT_COLD_DISCARD: u64 = 2;

/// Input header of HvExtCallMemoryHeatHint; [`GpaPageRange`](crate::address::GpaPageRange)s follow. The layout is public
/// (TLFS 3.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryHeatHintInput {
    /// Kind of hint.
    pub hint_type: u64,
}
layout!(MemoryHeatHintInput: 8, hint_type @ 0);

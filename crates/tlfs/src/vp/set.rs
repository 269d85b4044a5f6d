// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sets of VPs.

use crate::declare::{layout, open_enum};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_GENERIC_SET_FORMAT`, in the 8 bytes that a set gives it (TLFS 7.8.7.3).
    pub struct SetFormat(u64);
    /// Banks of 64 VPs, of which only those named in a mask follow.
    SPARSE_4K = 0, "HvGenericSetSparse4k";
    /// Every VP; no bank follows.
    ALL_VPS = 1, "HvGenericSetAll";
}

/// VPs in one bank of a sparse set.
pub const VPS_PER_BANK: u32 = 64;
/// Banks a sparse set can have, so it reaches VPs 0 to 4095.
pub const MAX_BANKS: usize = 64;

/// `HV_VP_SET` without its banks, which follow as 64-bit masks and count as variable header (TLFS 7.8.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VpSet {
    /// How the set is written.
    pub format: SetFormat,
    /// Bit n: a bank for VPs 64 n to 64 n + 63 follows.
    pub valid_banks_mask: u64,
}
layout!(VpSet: 16, format @ 0, valid_banks_mask @ 8);

impl VpSet {
    /// Number of banks that the set announces, 0 to 64.
    pub const fn bank_count(&self) -> u32 {
        self.valid_banks_mask.count_ones()
    }
}

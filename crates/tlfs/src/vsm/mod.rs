// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual secure mode: virtual trust levels (TLFS 15).

mod calls;
mod registers;

pub use calls::*;
pub use registers::*;

use crate::declare::{bit_fields, open_enum};

open_enum! {
    /// `HV_VTL`: a virtual trust level; a higher one is more trusted (TLFS 15.2).
    pub struct Vtl(u8);
    /// The normal level, which every partition has.
    VTL0 = 0, "Vtl0";
    /// The secure level.
    VTL1 = 1, "Vtl1";
    /// Every level.
    ALL_VTLS = 0xF, "HV_VTL_ALL";
    /// No level.
    INVALID = 0xFF, "HV_INVALID_VTL";
}

/// Levels that the interface has in use (TLFS 15.2).
pub const NUM_VTLS: usize = 2;

bit_fields! {
    /// `HV_INPUT_VTL`: the VTL that a call is about (TLFS 15.15.1).
    pub struct InputVtl(u8);
    /// The VTL, 0 to 15, if `use_target_vtl` is set.
    target_vtl: u8 = 4;
    /// Take `target_vtl`; otherwise the caller's own VTL is meant.
    use_target_vtl: bool = 1;
    /// Must be zero.
    reserved_z: u8 = 3;
}

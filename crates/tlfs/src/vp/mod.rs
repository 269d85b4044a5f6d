// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual processors: their index, sets of them, their assist page and the calls that start them and reach their
//! registers (TLFS 7).

mod assist;
mod calls;
mod set;

pub use assist::*;
pub use calls::*;
pub use set::*;

use crate::declare::open_enum;

open_enum! {
    /// `HV_VP_INDEX`: number of a VP within its partition, from 0 (TLFS 7.8.1).
    pub struct VpIndex(u32);
    /// Any VP.
    ANY = 0xFFFF_FFFF, "HV_ANY_VP";
    /// The calling VP.
    SELF = 0xFFFF_FFFE, "HV_VP_INDEX_SELF";
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition identifiers (TLFS 4.2.1).

use crate::declare::open_enum;

open_enum! {
    /// `HV_PARTITION_ID` (TLFS 4.2.1).
    pub struct PartitionId(u64);
    /// No partition.
    INVALID = 0, "HV_PARTITION_ID_INVALID";
    /// The caller's own partition.
    SELF = 0xFFFF_FFFF_FFFF_FFFF, "HV_PARTITION_ID_SELF";
}

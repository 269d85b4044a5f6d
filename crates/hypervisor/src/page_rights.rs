// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rights that a parent gives its child to pages (TLFS 5.2).

use memory::Rights;
use tlfs::HvStatus;
use tlfs::address::MapGpaFlags;
use tlfs::vsm::Vtl;

use crate::partition::{Partition, view_of};

/// The rights of a combination that pages can have: none, or to read, and then also to write, to execute, or both.
fn legal(flags: MapGpaFlags) -> Option<Rights> {
    let (write, execute) = (flags.write(), flags.kernel_execute());
    let together = execute == flags.user_execute() && flags.reserved() == 0;
    match (flags.read(), write, execute) {
        _ if !together => None,
        (false, false, false) => Some(Rights::NONE),
        (false, ..) => None,
        (true, false, false) => Some(Rights::READ),
        (true, true, false) => Some(Rights::READ | Rights::WRITE),
        (true, false, true) => Some(Rights::READ_EXECUTE),
        (true, true, true) => Some(Rights::ALL),
    }
}

impl Partition {
    /// Sets the rights to guest pages that are mapped, `pages` of them from `first` on. Overlay pages keep theirs (TLFS 5.2.1).
    ///
    /// INVALID_PARAMETER answers pages that do not exist, and a combination of rights that x64 does not have: to write or execute without reading, or to execute in one mode only
    /// (TLFS 5.2).
    pub fn set_page_rights(&self, first: u64, pages: u64, flags: MapGpaFlags) -> HvStatus {
        let Some(rights) = legal(flags) else { return HvStatus::INVALID_PARAMETER };
        let view = view_of(Vtl::VTL0);
        match self.space().batch(|batch| batch.protect(view, first, pages, rights)) {
            Ok(()) => HvStatus::SUCCESS,
            Err(_) => HvStatus::INVALID_PARAMETER,
        }
    }
}

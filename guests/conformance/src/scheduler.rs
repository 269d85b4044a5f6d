// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scheduler (TLFS 14), as far as a guest takes part.

use crate::lab::Guest;
use support::hyperv::hypercall;
use support::{check, skip};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;

pub(crate) fn check(guest: &Guest) {
    if !guest.has_calls() {
        return skip!("B14.007", "hypercalls are not offered");
    }
    for count in [0, 1, u64::from(guest.interface.spin_retries), u64::from(u32::MAX)] {
        let status = hypercall::fast(CallCode::NOTIFY_LONG_SPIN_WAIT, count, 0).status();
        check!("B14.006, B14.007", status == HvStatus::SUCCESS, "a long spin wait of {count}: {status:?}");
    }
}

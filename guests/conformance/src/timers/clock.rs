// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reference TSC page against the counter, on every processor at once.

use super::MILLISECOND;
use crate::lab::Guest;
use core::sync::atomic::{AtomicU32, Ordering};
use support::hyperv::time;
use support::{check, skip, trap};
use tlfs::msr;

static WARPS: AtomicU32 = AtomicU32::new(0);
static ROUNDS: AtomicU32 = AtomicU32::new(0);

/// Page, counter, page, over and over: a stretch of time that never goes back.
fn compare() {
    let Some(start) = time::by_page() else { return };
    let mut last = start;
    while last < start + 20 * MILLISECOND {
        let (before, counter, after) = (time::by_page(), time::counter(), time::by_page());
        let (Some(before), Ok(counter), Some(after)) = (before, counter, after) else {
            WARPS.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !(last <= before && before <= counter && counter <= after) {
            WARPS.fetch_add(1, Ordering::Relaxed);
        }
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        last = after;
    }
}

pub(super) fn check(guest: &Guest) {
    if !guest.interface.privileges.access_partition_reference_tsc() {
        return skip!("B12.038", "no AccessPartitionReferenceTsc");
    }
    let enabled = time::enable_page();
    let sequence = time::parameters().sequence;
    if enabled.is_err() || sequence == 0 {
        return skip!("B12.038", "the page is of no use now");
    }
    let register = trap::rdmsr(msr::REFERENCE_TSC);
    let placed = register.is_ok_and(|register| register & 0xFFF == 1 && register >> 12 != 0);
    check!(
        "B12.035, B12.037",
        placed && sequence != u32::MAX,
        "REFERENCE_TSC is {register:x?}, sequence {sequence}"
    );
    guest.on_all(compare);
    let (warps, rounds) = (WARPS.load(Ordering::Relaxed), ROUNDS.load(Ordering::Relaxed));
    check!(
        "B12.036, B12.038",
        warps == 0 && rounds != 0,
        "page <= counter <= page on {} processor(s): {warps} times not, of {rounds}",
        guest.processors
    );
    check!("B12.035", time::disable_page().is_ok(), "the page is off");
}

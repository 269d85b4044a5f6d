// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces that a processor switches to by hypercall (TLFS 9.4.1).

use super::architecture::{MAPPED, change_mapping};
use super::{NEW, OLD, WINDOW};
use crate::lab::Guest;
use core::sync::atomic::{AtomicU64, Ordering};
use support::hyperv::hypercall;
use support::page::{self, Page, Size, bits};
use support::{check, cpu, skip, trap};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;

/// An address that has an entry of its own in the top table, where nothing else has.
const ELSEWHERE: u64 = 1 << 39;

static OTHER_SPACE: AtomicU64 = AtomicU64::new(0);

/// A top table with the entries of the one in force.
fn copy_of_top_table(root: u64) -> &'static Page {
    let copy = page::new_table();
    for index in 0..512 {
        // SAFETY: page tables are identity-mapped memory of the program.
        let entry = unsafe { ((root & bits::ADDRESS) as *const u64).add(index).read_volatile() };
        copy.write(8 * index, entry);
    }
    copy
}

/// Switches; tells whether that is where the processor then is.
fn switch_to(root: u64) -> bool {
    let status = hypercall::fast(CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE, root, 0).status();
    status == HvStatus::SUCCESS && cpu::cr3() == root
}

fn map_elsewhere(page: &Page) {
    // SAFETY: an address that the program does not use otherwise.
    unsafe { page::map(ELSEWHERE, page.address(), Size::Small, MAPPED) };
}

pub(super) fn check(guest: &Guest) {
    let first = cpu::cr3();
    let second = copy_of_top_table(first).address();
    OLD.write(0, 0x01D_u64);
    NEW.write(0, 0x2E2_u64);
    map_elsewhere(&OLD);
    let switched = switch_to(second);
    map_elsewhere(&NEW);
    let seen = trap::read64(ELSEWHERE);
    guest.have(1, || OTHER_SPACE.store(cpu::cr3(), Ordering::Relaxed));
    let round = [first, second, first].map(|root| (switch_to(root), trap::read64(ELSEWHERE)));
    check!(
        "B09.019",
        switched && seen == Ok(0x2E2) && round == [(true, Ok(0x01D)), (true, Ok(0x2E2)), (true, Ok(0x01D))],
        "a switch to other page tables and back: each shows its own page, {seen:x?} and {round:x?}"
    );
    if guest.processors == 1 {
        skip!("B09.020", "one processor only");
    } else {
        let other = OTHER_SPACE.load(Ordering::Relaxed);
        check!(
            "B09.020",
            switched && other == first,
            "meanwhile the other processor is where it was: {other:#x}"
        );
    }
    let before = change_mapping(0);
    let switched = switch_to(first);
    let unflushed = trap::read64(WINDOW);
    page::invalidate(WINDOW);
    let flushed = trap::read64(WINDOW);
    check!(
        "B09.018",
        before && switched && matches!(unflushed, Ok(0x01D | 0x2E2)) && flushed == Ok(0x2E2),
        "a switch to the same page tables need not flush, {unflushed:x?}; INVLPG does, {flushed:x?}"
    );
    let refused = hypercall::fast(CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE, 1 << 62 | first, 0).status();
    check!(
        "B09.019",
        refused == HvStatus::INVALID_PARAMETER && cpu::cr3() == first,
        "an address that cannot be: {refused:?}"
    );
}

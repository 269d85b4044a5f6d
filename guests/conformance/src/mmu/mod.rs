// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual MMU (TLFS 9): what it does by itself, switches and flushes by hypercall, and memory that is zero at boot.

mod architecture;
mod spaces;
mod zeroed;

use crate::lab::{Guest, own_index};
use support::hyperv::hypercall;
use support::page::{self, Page, Size, bits};
use support::{check, cpu, skip, trap};
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, InputValue};

/// An address that nothing else maps.
const WINDOW: u64 = 6 << 30;
static OLD: Page = Page::new();
static NEW: Page = Page::new();

const ALL_PROCESSORS: u64 = 1;
const ALL_SPACES: u64 = 2;
const NON_GLOBAL: u64 = 4;

fn prepare(space: u64, flags: u64, mask: u64) {
    let input = hypercall::input();
    input.write(0, space);
    input.write(8, flags);
    input.write(16, mask);
}

fn flush(space: u64, flags: u64, mask: u64) -> HvStatus {
    prepare(space, flags, mask);
    hypercall::simple(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE).status()
}

fn flush_list(flags: u64, range: u64) -> HvStatus {
    prepare(0, flags, 1);
    hypercall::input().write(24, range);
    hypercall::rep(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST, 1).status()
}

/// True if a new mapping is in force once `flush` has been called.
fn takes_effect(flush: impl FnOnce() -> HvStatus) -> bool {
    OLD.write(0, 0x01D_u64);
    NEW.write(0, 0x2E2_u64);
    // SAFETY: an address that the program does not use otherwise.
    unsafe { page::map(WINDOW, OLD.address(), Size::Small, bits::PRESENT | bits::WRITE) };
    let before = trap::read64(WINDOW);
    // SAFETY: as above; this time the processor is not told.
    unsafe { page::entry(WINDOW, Size::Small).write_volatile(NEW.address() | bits::PRESENT | bits::WRITE) };
    let status = flush();
    before == Ok(0x01D) && status == HvStatus::SUCCESS && trap::read64(WINDOW) == Ok(0x2E2)
}

pub(crate) fn check(guest: &Guest) {
    let has_calls = guest.has_calls();
    if has_calls {
        zeroed::check(guest);
    } else {
        skip!("B09.050", "hypercalls are not offered");
    }
    architecture::check(guest);
    if !has_calls {
        return skip!("B09.019", "hypercalls are not offered");
    }
    spaces::check(guest);
    if !guest.interface.recommendations.use_hypercall_for_remote_flush_and_local_flush_entire() {
        return skip!("B09.021", "flushes by hypercall are not offered");
    }
    const ALL: u64 = ALL_PROCESSORS | ALL_SPACES;
    check!("B09.021", takes_effect(|| flush(0, ALL, 0)), "after a flush the new mapping is in force");
    check!(
        "B09.022",
        takes_effect(|| flush(u64::MAX, ALL, u64::MAX)),
        "with these flags space and mask do not count"
    );
    check!("B09.036", takes_effect(|| flush_list(ALL, WINDOW)), "after a flush of a list, too");
    check!(
        "B09.031",
        takes_effect(|| flush_list(ALL, (WINDOW - 0xFFF_000) | 0xFFF)),
        "in the last of 4096 pages, too"
    );
    let space = cpu::cr3();
    check!("B09.015", takes_effect(|| flush(space, ALL_PROCESSORS, 0)), "CR3 {space:#x} names the space");
    check!("B09.023", takes_effect(|| flush(0, ALL | NON_GLOBAL, 0)), "what is not global goes in any case");
    if architecture::has_large_pages() {
        check!(
            "B09.034",
            architecture::large_page_is_dropped(|address| flush_list(ALL, address) == HvStatus::SUCCESS),
            "a large page goes whole, whichever address of it is named"
        );
    } else {
        skip!("B09.034", "too little memory for large pages");
    }
    extended(guest);
    let refused = |status| status == HvStatus::INVALID_PARAMETER;
    check!(
        "B09.016, B09.025",
        (4..64).all(|flag| refused(flush(0, ALL | 1 << flag, 0))),
        "there are four flags, and none above"
    );
    check!("B09.024", refused(flush(0, ALL_SPACES, 0)), "no processor at all");
    check!("B09.025", refused(flush(0, ALL | 1 << 4, 0)), "reserved flag 4");
    check!("B09.025", refused(flush(0, ALL | 1 << 63, 0)), "reserved flag 63");
    check!("B09.026", refused(flush(1 << 63, ALL_PROCESSORS, 0)), "a CR3 that cannot be");
    check!("B09.033", refused(flush_list(ALL | NON_GLOBAL, WINDOW)), "a list of non-global mappings only");
}

/// The calls that take a set of processors: this one, by a bank of the set.
fn extended(guest: &Guest) {
    if !guest.interface.recommendations.use_ex_processor_masks() {
        return skip!("B09.038", "calls that take sparse sets are not offered");
    }
    let own = own_index();
    let call = |code, list: u16| {
        let input = hypercall::input();
        let set = [0, ALL_SPACES, 0, 1 << (own / 64), 1 << (own % 64), WINDOW];
        set.into_iter().enumerate().for_each(|(index, value)| input.write(8 * index, value));
        let control =
            InputValue::new().with_call_code(code).with_variable_header_size(1).with_rep_count(list);
        hypercall::call(control, input.address(), 0).status()
    };
    check!(
        "B09.030",
        takes_effect(|| call(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX, 0)),
        "a flush of the processors in a set"
    );
    check!(
        "B09.038",
        takes_effect(|| call(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST_EX, 1)),
        "and of a list on them"
    );
}

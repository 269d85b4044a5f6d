// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest-physical address spaces (TLFS 5): overlays.

use crate::lab::Guest;
use support::page::Page;
use support::{check, skip, trap};
use tlfs::msr::{self, OverlayPage};

static FIRST: Page = Page::new();
static SECOND: Page = Page::new();

fn place(number: u32, page: &Page) -> bool {
    let place = OverlayPage::new().with_enable(true).with_gpa_page_number(page.number());
    trap::wrmsr(number, place.into_bits()).is_ok()
}

fn remove(number: u32) -> bool {
    trap::wrmsr(number, 0).is_ok()
}

pub(crate) fn check(guest: &Guest) {
    if !guest.interface.privileges.access_synic_regs() {
        return skip!("B05.009", "no AccessSynicRegs, so no page that can be placed freely");
    }
    FIRST.fill(0x11);
    SECOND.fill(0x22);
    let covered = place(msr::SIMP, &FIRST) && FIRST.read::<u64>(0x800) == 0;
    FIRST.write(0xF00, 0x77_u64);
    let moved = place(msr::SIMP, &SECOND);
    let below = FIRST.read::<u64>(0xF00) == 0x1111_1111_1111_1111;
    check!("B05.009", covered && below, "an overlay hides the page below, and writes do not reach it");
    let carried = SECOND.read::<u64>(0xF00) == 0x77;
    let uncovered = remove(msr::SIMP) && SECOND.read::<u64>(0xF00) == 0x2222_2222_2222_2222;
    check!("B05.011", moved && carried && below && uncovered, "what an overlay leaves is as it was before");
    let both = place(msr::SIMP, &FIRST) && place(msr::SIEFP, &FIRST);
    FIRST.write(0xFF8, 0x99_u64);
    let one_left = remove(msr::SIEFP) && FIRST.read::<u64>(0x800) == 0;
    let none_left = remove(msr::SIMP) && FIRST.read::<u64>(0x800) == 0x1111_1111_1111_1111;
    check!(
        "B05.012",
        both && one_left && none_left,
        "of two overlays at one place the other shows when one goes"
    );
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VP assist page (TLFS 7.8.7), of which a guest without nesting uses the first bit: no EOI required (TLFS 10.3.5).

use crate::apic;
use crate::page::Page;
use crate::segments::{self, MAX_PROCESSORS};
use crate::trap::{self, Fault};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tlfs::msr::{self, OverlayPage};

static PAGES: [Page; MAX_PROCESSORS] = [const { Page::new() }; MAX_PROCESSORS];
static ENABLED: [AtomicBool; MAX_PROCESSORS] = [const { AtomicBool::new(false) }; MAX_PROCESSORS];
static BY_MSR: AtomicBool = AtomicBool::new(false);
static SPARED: AtomicU32 = AtomicU32::new(0);

/// Enables this processor's page.
pub fn enable() -> Result<u64, Fault> {
    let index = segments::processor_index();
    let page = &PAGES[index];
    let place = OverlayPage::new().with_enable(true).with_gpa_page_number(page.number());
    trap::wrmsr(msr::VP_ASSIST_PAGE, place.into_bits())?;
    ENABLED[index].store(true, Ordering::Relaxed);
    Ok(page.address())
}

/// Disables this processor's page.
pub fn disable() -> Result<(), Fault> {
    ENABLED[segments::processor_index()].store(false, Ordering::Relaxed);
    trap::wrmsr(msr::VP_ASSIST_PAGE, 0)
}

/// Lets [`end_of_interrupt`] use the EOI MSR rather than the APIC's page.
pub fn use_eoi_msr(use_it: bool) {
    BY_MSR.store(use_it, Ordering::Relaxed);
}

/// Ends the interrupt in service, with as little as the hypervisor needs.
pub fn end_of_interrupt() {
    let index = segments::processor_index();
    if ENABLED[index].load(Ordering::Relaxed) && take_no_eoi_required(PAGES[index].address()) {
        SPARED.fetch_add(1, Ordering::Relaxed);
    } else if BY_MSR.load(Ordering::Relaxed) {
        // A refusal would show as an interrupt that never comes again; there is nobody to tell it to here.
        let _ = trap::wrmsr(msr::EOI, 0);
    } else {
        apic::end_of_interrupt();
    }
}

/// How many ends of interrupt the page has spared so far.
pub fn spared() -> u32 {
    SPARED.load(Ordering::Relaxed)
}

/// Clears the bit in one instruction, for the hypervisor may clear it as well, and tells whether it was set.
fn take_no_eoi_required(page: u64) -> bool {
    let was_set: u8;
    // SAFETY: the page is this program's, and no reference to it exists.
    unsafe {
        asm!("btr dword ptr [{page}], 0", "setc {was}", page = in(reg) page, was = out(reg_byte) was_set, options(nostack))
    };
    was_set != 0
}

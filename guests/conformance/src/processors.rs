// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual processor management (TLFS 7).

use crate::lab::{Guest, own_index, read_faults, vector, write_faults};
use core::sync::atomic::{AtomicU64, Ordering};
use support::hyperv::{arrivals, assist};
use support::page::{Page, SIZE};
use support::{apic, check, cpu, skip, trap};
use tlfs::msr::{self, OverlayPage};

const APIC_BASE: u32 = 0x1B;
const BOOT_PROCESSOR: u64 = 1 << 8;

pub(crate) fn check(guest: &Guest) {
    index(guest);
    boot_processor(guest);
    run_time(guest);
    idle(guest);
    assist_page(guest);
}

static SEEN: AtomicU64 = AtomicU64::new(0);

fn index(guest: &Guest) {
    if !guest.interface.privileges.access_vp_index() {
        return skip!("B07.012", "no AccessVpIndex");
    }
    let own = trap::rdmsr(msr::VP_INDEX);
    check!(
        "B07.012",
        own == Ok(0) && write_faults(msr::VP_INDEX, 1),
        "the boot processor's index is {own:?}, and stays"
    );
    let mut seen = 1_u64;
    for other in 1..guest.processors {
        guest.have(other, || SEEN.store(own_index(), Ordering::SeqCst));
        seen |= 1 << SEEN.load(Ordering::SeqCst);
    }
    check!("B07.011", seen == (1 << guest.processors) - 1, "indexes of all processors: {seen:#b}");
}

fn boot_processor(guest: &Guest) {
    check!("B07.008", cpu::rdmsr(APIC_BASE) & BOOT_PROCESSOR != 0, "VP 0 is the boot processor");
    for other in 1..guest.processors {
        guest.have(other, || SEEN.store(cpu::rdmsr(APIC_BASE) & BOOT_PROCESSOR, Ordering::SeqCst));
        check!("B07.008", SEEN.load(Ordering::SeqCst) == 0, "VP {other} is not");
    }
}

fn run_time(guest: &Guest) {
    if !guest.interface.privileges.access_vp_run_time_reg() {
        return skip!("B07.026", "no AccessVpRunTimeReg");
    }
    let before = trap::rdmsr(msr::VP_RUNTIME);
    let after = trap::rdmsr(msr::VP_RUNTIME);
    let grows = before.is_ok() && after.is_ok() && before.unwrap_or(0) <= after.unwrap_or(0);
    check!("B07.026", grows && write_faults(msr::VP_RUNTIME, 0), "run time grows and cannot be written");
}

fn idle(guest: &Guest) {
    let offered = guest.interface.privileges.access_guest_idle_reg();
    if !offered {
        check!("B07.007", read_faults(msr::GUEST_IDLE), "GUEST_IDLE is not offered, and faults");
        return;
    }
    check!("B07.007", guest.interface.features.virtual_guest_idle(), "GUEST_IDLE is offered by both bits");
    arrivals::expect(vector::IPI);
    let before = arrivals::count(vector::IPI);
    cpu::disable_interrupts();
    apic::send(0, apic::FIXED | apic::TO_SELF | u32::from(vector::IPI));
    let slept = trap::rdmsr(msr::GUEST_IDLE);
    let pending = arrivals::count(vector::IPI) == before && apic::is_requested(vector::IPI);
    let taken = arrivals::wait(|| arrivals::count(vector::IPI) != before);
    check!(
        "B07.006",
        slept.is_ok() && pending && taken,
        "an interrupt ends the sleep, with interrupts off too, and stays pending"
    );
}

static ASSIST: Page = Page::new();

fn assist_page(guest: &Guest) {
    if !guest.interface.privileges.access_intr_ctrl_regs() {
        return skip!("B07.018", "no AccessIntrCtrlRegs");
    }
    let enabled = assist::enable();
    let address = enabled.unwrap_or(0);
    check!(
        "B07.018",
        trap::rdmsr(msr::VP_ASSIST_PAGE) == Ok(address | 1),
        "the assist page is at {address:#x}"
    );
    let zero = (0..SIZE).step_by(8).all(|offset| trap::read64(address + offset) == Ok(0));
    check!("B07.021", zero, "and all zero");
    let off = assist::disable();
    ASSIST.fill(0x33);
    let place = OverlayPage::new().with_enable(true).with_gpa_page_number(ASSIST.number()).into_bits();
    let moved = trap::wrmsr(msr::VP_ASSIST_PAGE, place);
    let covers = ASSIST.read::<u64>(0x800) == 0;
    let gone = trap::wrmsr(msr::VP_ASSIST_PAGE, 0);
    let uncovered = ASSIST.read::<u64>(0x800) == 0x3333_3333_3333_3333;
    check!(
        "B07.020",
        [off, moved, gone] == [Ok(()); 3] && covers && uncovered,
        "the page moves, and uncovers what was below"
    );
}

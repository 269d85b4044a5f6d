// SPDX-License-Identifier: MIT OR Apache-2.0
//! All 16 interrupt sources of every processor, raised by another one through the test device.

use crate::lab::{Guest, own_index};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use support::hyperv::test_device::{self, Command};
use support::hyperv::{arrivals, synic};
use support::segments::{self, MAX_PROCESSORS};
use support::{check, skip};
use tlfs::synic::SINT_COUNT;

/// The vector of source 0; the others follow.
const FIRST_VECTOR: u8 = 0xB0;
/// Sources whose interrupts end by themselves.
const AUTO_EOI: [u8; 4] = [3, 8, 10, 14];
const SINTS: core::ops::Range<u8> = 0..SINT_COUNT as u8;

/// VP indexes, by processor.
static VP_INDEX: [AtomicU8; MAX_PROCESSORS] = [const { AtomicU8::new(0) }; MAX_PROCESSORS];
static FAILED: AtomicBool = AtomicBool::new(false);
static TARGET: AtomicUsize = AtomicUsize::new(0);

/// The VP index of a processor that has set up its sources.
pub(super) fn vp_index(processor: usize) -> u8 {
    VP_INDEX[processor].load(Ordering::Relaxed)
}

fn set_up() {
    VP_INDEX[segments::processor_index()].store(own_index() as u8, Ordering::Relaxed);
    let set = |sint| synic::set_sint(sint, FIRST_VECTOR + sint, AUTO_EOI.contains(&sint));
    if synic::enable().and_then(|()| SINTS.clone().try_for_each(set)).is_err() {
        FAILED.store(true, Ordering::Relaxed);
    }
}

fn tear_down() {
    if SINTS.clone().try_for_each(synic::mask_sint).and_then(|()| synic::disable()).is_err() {
        FAILED.store(true, Ordering::Relaxed);
    }
}

/// Tells the device, or has it forget, that the sources of every processor are going to be raised.
fn route(guest: &Guest, command: Command) {
    for target in 0..guest.processors {
        SINTS.clone().for_each(|sint| test_device::command(command, vp_index(target), sint, 0));
    }
}

fn raise_all() {
    let vp = vp_index(TARGET.load(Ordering::Relaxed));
    SINTS.clone().for_each(|sint| test_device::command(Command::SetSint, vp, sint, 0));
}

pub(super) fn check(guest: &Guest) {
    if !test_device::is_present() {
        return skip!("B11.043", "no test device at port 0x3000 to raise interrupt sources");
    }
    for sint in SINTS.clone() {
        if AUTO_EOI.contains(&sint) {
            arrivals::expect_unended(FIRST_VECTOR + sint);
        } else {
            arrivals::expect(FIRST_VECTOR + sint);
        }
    }
    guest.on_all(set_up);
    route(guest, Command::CreateRoute);
    // The second time nothing comes of a source whose interrupt is still in service.
    for round in 1..=2u32 {
        for target in 0..guest.processors {
            TARGET.store(target, Ordering::Relaxed);
            let count = |sint: u8| arrivals::count_on(target, FIRST_VECTOR + sint);
            let total = || SINTS.clone().map(count).sum::<u32>();
            let before = total();
            guest.on((target + 1) % guest.processors, raise_all);
            arrivals::wait(|| total() - before >= SINT_COUNT as u32);
            guest.on(target, arrivals::let_in);
            let arrived = total() - before;
            let each = SINTS.clone().all(|sint| count(sint) == round);
            check!(
                "B11.036, B11.043",
                each && arrived == SINT_COUNT as u32,
                "each source of processor {target} interrupts once, {arrived} in all, round {round}"
            );
        }
    }
    route(guest, Command::DestroyRoute);
    guest.on_all(tear_down);
    check!(
        "B11.036",
        !FAILED.load(Ordering::Relaxed),
        "all processors set up their sources, and masked them"
    );
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The time-unhalted timer (TLFS 12.6).

use super::MILLISECOND;
use crate::lab::{Guest, read_faults, vector, write_faults};
use core::mem::offset_of;
use support::hyperv::timer::Timer;
use support::hyperv::{arrivals, assist, time};
use support::trap::{self, Fault};
use support::{check, cpu, skip};
use tlfs::msr::{self, StimeUnhaltedTimerConfig, StimerConfig};
use tlfs::vp::VpAssistPage;

const CONFIG: u32 = msr::STIME_UNHALTED_TIMER_CONFIG;
const COUNT: u32 = msr::STIME_UNHALTED_TIMER_COUNT;
/// The vector that stands for an NMI.
const NMI: u8 = 2;
const EXPIRED: u64 = offset_of!(VpAssistPage, synthetic_time_unhalted_timer_expired) as u64;

fn start(vector: u8, period: u64) -> Result<(), Fault> {
    trap::wrmsr(COUNT, period)?;
    let config = StimeUnhaltedTimerConfig::new().with_vector(vector).with_enabled(true);
    trap::wrmsr(CONFIG, config.into_bits())
}

fn stop() -> Result<(), Fault> {
    trap::wrmsr(CONFIG, 0)
}

pub(super) fn check(guest: &Guest) {
    if !guest.interface.features.synthetic_time_unhalted_timer() {
        let faults = read_faults(CONFIG) && read_faults(COUNT) && write_faults(CONFIG, 0);
        check!("B12.030", faults, "the time-unhalted timer is not offered, and faults");
        return;
    }
    let fresh = (trap::rdmsr(CONFIG), trap::rdmsr(COUNT));
    let privileged = guest.interface.privileges.access_synthetic_timer_regs();
    check!("B12.030", fresh == (Ok(0), Ok(0)) && privileged, "the time-unhalted timer is off at first");
    let enabled = StimeUnhaltedTimerConfig::new().with_enabled(true).into_bits();
    let refused = [0, 1, 3, 15].into_iter().all(|vector| write_faults(CONFIG, enabled | vector));
    check!("B12.033", refused && write_faults(CONFIG, 1 << 9), "it takes vector 2 and those from 16 on");
    busy();
    expired(guest);
    halted();
    nmi();
    check!("B12.034", stop().is_ok() && trap::wrmsr(COUNT, 0).is_ok(), "it is off again");
}

/// Does something, and waits for so many interrupts at a vector; gives how long both took, if it worked.
fn time_until(act: impl FnOnce() -> Result<(), Fault>, at: u8, count: u32) -> Option<u64> {
    let (before, since) = (arrivals::count(at), time::counter().ok()?);
    act().ok()?;
    let came = arrivals::wait(|| arrivals::count(at) - before >= count);
    came.then(|| time::counter().unwrap_or(since) - since)
}

fn busy() {
    arrivals::expect(vector::TIMER);
    let took = time_until(|| start(vector::TIMER, 2 * MILLISECOND), vector::TIMER, 5);
    check!(
        "B12.031",
        took.is_some_and(|took| took >= 10 * MILLISECOND),
        "it interrupts who is busy, five times of 2 ms in {took:?}"
    );
    // Whatever was due before is taken first: a new period begins with the write.
    let stopped = stop();
    arrivals::let_in();
    let longer =
        || start(vector::TIMER, 40 * MILLISECOND).and_then(|()| trap::wrmsr(COUNT, 20 * MILLISECOND));
    let took = time_until(longer, vector::TIMER, 1);
    check!(
        "B12.034",
        stopped.is_ok() && took.is_some_and(|took| took >= 20 * MILLISECOND),
        "a new period begins when it is written: {took:?}"
    );
    check!("B12.034", stop().is_ok(), "and ends");
    arrivals::let_in();
}

fn expired(guest: &Guest) {
    if !guest.interface.privileges.access_intr_ctrl_regs() {
        return skip!("B12.032", "no AccessIntrCtrlRegs, so no assist page");
    }
    let Ok(page) = assist::enable() else {
        check!("B12.032", false, "no assist page");
        return;
    };
    let shown = || trap::read64(page + EXPIRED).unwrap_or(0) & 0xFF;
    let before = shown();
    let mut told = 0;
    let started = start(vector::TIMER, MILLISECOND);
    for _ in 0..2 {
        told += u32::from(time_until(|| Ok(()), vector::TIMER, 1).is_some() && shown() == 1);
        // SAFETY: the page is this program's, and only this byte of these eight is in use.
        let _ = unsafe { trap::write64(page + EXPIRED, 0) };
    }
    let stopped = stop();
    arrivals::let_in();
    let off = assist::disable();
    check!(
        "B12.032",
        started.is_ok() && stopped.is_ok() && off.is_ok() && before == 0 && told == 2,
        "the assist page tells of it, again after that was taken back"
    );
}

/// Time that passes in HLT does not count. A host may take its time from a guest that runs, so one of a few tries has to show it.
fn halted() {
    arrivals::expect(vector::IPI);
    let wake = StimerConfig::new().with_direct_mode(true).with_apic_vector(vector::IPI);
    let sleeps = || -> Result<bool, Fault> {
        start(vector::TIMER, 50 * MILLISECOND)?;
        let before = arrivals::count(vector::TIMER);
        let until = time::counter()? + 150 * MILLISECOND;
        while time::counter()? < until {
            Timer(2).start(wake, until)?;
            cpu::wait_for_interrupt();
        }
        stop()?;
        Ok(arrivals::count(vector::TIMER) == before)
    };
    let slept = (0..5).any(|_| sleeps() == Ok(true));
    check!("B12.031", slept, "150 ms of sleep do not end 50 ms of unhalted time");
}

fn nmi() {
    arrivals::expect_unended(NMI);
    let before = arrivals::count(NMI);
    let started = start(NMI, MILLISECOND);
    let came = arrivals::wait(|| arrivals::count(NMI) != before);
    let stopped = stop();
    check!("B12.033", started.is_ok() && stopped.is_ok() && came, "vector 2 is an NMI");
    trap::set_handler(NMI, None);
}

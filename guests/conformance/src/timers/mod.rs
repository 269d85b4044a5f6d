// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timers (TLFS 12).

mod clock;
mod delivery;
mod unhalted;

use crate::lab::{Guest, vector, write_faults};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::hyperv::timer::Timer;
use support::hyperv::{arrivals, time};
use support::{check, cpu, processors, skip, trap};
use tlfs::msr::{self, StimerConfig};

/// One millisecond.
pub(crate) const MILLISECOND: u64 = 10_000;

pub(crate) fn check(guest: &Guest) {
    if !guest.interface.privileges.access_partition_reference_counter() {
        return skip!("B12.002", "no AccessPartitionReferenceCounter");
    }
    check!("B12.014", write_faults(msr::TIME_REF_COUNT, 0), "the reference counter cannot be written");
    order(guest);
    page(guest);
    clock::check(guest);
    configuration(guest);
    direct(guest);
    delivery::check(guest);
    unhalted::check(guest);
}

static TURN: AtomicBool = AtomicBool::new(false);
static LAST: AtomicU64 = AtomicU64::new(0);
const TURNS: u32 = 200;

/// Reads the counter when it is this processor's turn; tells whether every value was above the last one, of either.
fn take_turns(mine: bool) -> bool {
    let mut rises = true;
    for _ in 0..TURNS {
        while TURN.load(Ordering::Acquire) != mine {
            cpu::pause();
        }
        let now = time::counter().unwrap_or(0);
        rises &= LAST.swap(now, Ordering::Relaxed) < now;
        TURN.store(!mine, Ordering::Release);
    }
    rises
}

static OTHER_RISES: AtomicBool = AtomicBool::new(false);

fn order(guest: &Guest) {
    if guest.processors == 1 {
        return skip!("B12.002", "one processor only");
    }
    processors::give(1, || OTHER_RISES.store(take_turns(true), Ordering::Release));
    let rises = take_turns(false);
    while !processors::is_idle(1) {
        cpu::pause();
    }
    let rises = rises && OTHER_RISES.load(Ordering::Acquire);
    check!("B12.002", rises, "two VPs that read in turn see {} values, each above the last", 2 * TURNS);
}

fn page(guest: &Guest) {
    if !guest.interface.privileges.access_partition_reference_tsc() {
        return skip!("B12.038", "no AccessPartitionReferenceTsc");
    }
    let fresh = trap::rdmsr(msr::REFERENCE_TSC);
    check!("B12.035", fresh.is_ok_and(|place| place & 1 == 0), "REFERENCE_TSC is off at first");
    if time::enable_page().is_err() || time::parameters().sequence == 0 {
        return skip!("B12.038", "the page is of no use now");
    }
    let agrees = (0..1000).all(|_| {
        let (before, between, after) = (time::by_page(), time::counter(), time::by_page());
        // One unit: the counter and the page may round differently.
        let between = between.unwrap_or(0);
        before.is_some_and(|before| before <= between + 1) && after.is_some_and(|after| between <= after + 1)
    });
    check!("B12.038", agrees, "page, counter, page: never out of order");
    if guest.interface.privileges.access_frequency_regs() {
        let frequency = trap::rdmsr(msr::TSC_FREQUENCY).unwrap_or(0);
        let expected = ((10_000_000_u128 << 64) / u128::from(frequency.max(1))) as u64;
        let scale = time::parameters().scale;
        check!(
            "B12.039",
            scale.abs_diff(expected) <= expected >> 20,
            "the scale {scale:#x} is that of {frequency} Hz"
        );
    }
    let off = time::disable_page();
    check!("B12.035", off.is_ok(), "and can be switched off");
}

fn configuration(guest: &Guest) {
    if !guest.interface.privileges.access_synthetic_timer_regs() {
        return skip!("B12.017", "no AccessSyntheticTimerRegs");
    }
    let (config, count) = (msr::STIMER0_CONFIG + 6, msr::STIMER0_COUNT + 6);
    let clear = (0..4).all(|timer| trap::rdmsr(msr::STIMER0_CONFIG + 2 * timer) == Ok(0));
    check!("B12.017", clear, "all timers are off at first");
    let enable_after = |writes: &[(u32, u64)]| {
        let written = writes.iter().all(|&(number, value)| trap::wrmsr(number, value).is_ok());
        let config = trap::rdmsr(config).map(StimerConfig::from_bits);
        config.ok().filter(|_| written).map(|config| config.enable())
    };
    let automatic = StimerConfig::new().with_auto_enable(true).with_sintx(4).into_bits();
    let plain = StimerConfig::new().with_sintx(4).into_bits();
    let far = u64::MAX / 2;
    check!(
        "B12.018",
        enable_after(&[(config, automatic), (count, far)]) == Some(true),
        "COUNT enables with AutoEnable"
    );
    check!("B12.026", enable_after(&[(count, 0)]) == Some(false), "and zero disables");
    check!(
        "B12.019",
        enable_after(&[(config, plain), (count, far)]) == Some(false),
        "without AutoEnable it does not"
    );
    check!("B12.023", enable_after(&[(config, 1)]) == Some(false), "a timer cannot send messages to SINT0");
    check!("B12.026", enable_after(&[(config, 0), (count, 0)]) == Some(false), "all is off again");
}

fn direct(guest: &Guest) {
    if !guest.interface.features.use_direct_synthetic_timers() {
        return skip!("B12.010", "no direct timers");
    }
    arrivals::expect(vector::TIMER);
    let config = StimerConfig::new().with_direct_mode(true).with_apic_vector(vector::TIMER);
    let shoot = |due: u64| {
        let before = arrivals::count(vector::TIMER);
        let started = Timer(2).start(config, due);
        let arrived = arrivals::wait(|| arrivals::count(vector::TIMER) != before);
        let now = time::counter().unwrap_or(0);
        (started.is_ok() && arrived && arrivals::count(vector::TIMER) == before + 1, now)
    };
    let due = time::counter().unwrap_or(0) + MILLISECOND;
    let (once, now) = shoot(due);
    check!("B12.010, B12.012", once, "a direct timer raises its vector, without a SynIC and without a SINT");
    check!("B12.006, B12.027", once && now >= due, "not before {due}: {now}");
    let off = Timer(2).read();
    check!("B12.020", off.is_ok_and(|config| !config.enable()), "a one-shot timer disables itself");
    check!("B12.022", shoot(1).0, "one whose time is past fires at once");
    let before = arrivals::count(vector::TIMER);
    let start = time::counter().unwrap_or(0);
    let started = Timer(2).start(config.with_periodic(true), MILLISECOND);
    let arrived = arrivals::wait(|| arrivals::count(vector::TIMER) >= before + 10);
    let spent = time::counter().unwrap_or(0) - start;
    let enabled = Timer(2).read().is_ok_and(|config| config.enable());
    check!("B12.021", started.is_ok() && arrived && enabled, "a periodic timer goes on");
    check!("B12.028", spent >= 10 * MILLISECOND, "its periods begin when it is enabled: ten took {spent}");
    let stopped = Timer(2).stop();
    check!("B12.021", stopped.is_ok(), "until it is disabled");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Synthetic timers: one shot by message, periods by direct interrupts, and sleeping until one fires.

use crate::arrivals;
use crate::report::{Report, Span};
use support::hyperv::timer::Timer;
use support::hyperv::{Interface, synic, time};
use support::trap;
use tlfs::msr::{self, StimerConfig};
use tlfs::synic::MessageType;
use tlfs::timer::TimerMessagePayload;
use zerocopy::FromBytes;

const SINT: u8 = 4;
/// One millisecond.
const MILLISECOND: u64 = 10_000;
const TICKS: u32 = 20;

pub(crate) fn visit(report: &mut Report, interface: &Interface) {
    report.section("Synthetic timers");
    let privileges = interface.privileges;
    if !privileges.access_synthetic_timer_regs() {
        return report.absent("timers", "AccessSyntheticTimerRegs");
    }
    if !privileges.access_partition_reference_counter() {
        return report.absent("timers", "AccessPartitionReferenceCounter, so no time to set them to");
    }
    if privileges.access_synic_regs() {
        one_shot(report);
    } else {
        report.absent("one shot, by message", "AccessSynicRegs");
    }
    if interface.features.use_direct_synthetic_timers() {
        periodic(report);
    } else {
        report.absent("periodic, direct", "UseDirectSyntheticTimers");
    }
    idle(report, interface);
}

fn one_shot(report: &mut Report) {
    let what = "one shot, by message";
    let before = arrivals::count(arrivals::TIMER_MESSAGE);
    let timer = Timer(0);
    let started = synic::set_sint(SINT, arrivals::TIMER_MESSAGE, false)
        .and_then(|()| time::counter())
        .and_then(|now| {
            let due = now + MILLISECOND;
            timer.start(StimerConfig::new().with_sintx(SINT), due).map(|()| due)
        });
    let Some(due) = report.expect(what, started) else { return };
    arrivals::wait(|| arrivals::count(arrivals::TIMER_MESSAGE) != before);
    let now = time::counter().unwrap_or(0);
    let message = report.expect(what, synic::take_message(SINT)).flatten();
    let Some(message) = message else {
        report.outcome(false, what, "no message came");
        return;
    };
    let Ok((payload, _)) = TimerMessagePayload::read_from_prefix(synic::payload(&message)) else {
        report.outcome(false, what, "the message is too short");
        return;
    };
    let (expiration, delivery) = (payload.expiration_time, payload.delivery_time);
    let timely = expiration == due && delivery >= due && now >= delivery;
    let right =
        message.header.message_type == MessageType::TIMER_EXPIRED && payload.timer_index == 0 && timely;
    let late = delivery.saturating_sub(due);
    report.outcome(
        right,
        what,
        format_args!("due after {}, delivered {} later, never early", Span(MILLISECOND), Span(late)),
    );
    let off = timer.read().is_ok_and(|config| !config.enable());
    report.outcome(off, "one shot is over", "the timer has switched itself off");
}

fn periodic(report: &mut Report) {
    let what = "periodic, direct";
    let before = arrivals::count(arrivals::TIMER_DIRECT);
    let timer = Timer(1);
    let config = StimerConfig::new()
        .with_periodic(true)
        .with_direct_mode(true)
        .with_apic_vector(arrivals::TIMER_DIRECT);
    let started = time::counter().and_then(|now| timer.start(config, MILLISECOND).map(|()| now));
    let Some(start) = report.expect(what, started) else { return };
    arrivals::wait(|| arrivals::count(arrivals::TIMER_DIRECT) - before >= TICKS);
    let spent = time::counter().unwrap_or(0).saturating_sub(start);
    let ticks = arrivals::count(arrivals::TIMER_DIRECT) - before;
    if report.expect(what, timer.stop()).is_none() {
        return;
    }
    let right = ticks >= TICKS && spent >= u64::from(ticks) * MILLISECOND;
    report.outcome(right, what, format_args!("{ticks} ticks of {} in {}", Span(MILLISECOND), Span(spent)));
    let after = arrivals::count(arrivals::TIMER_DIRECT);
    arrivals::wait_a_moment();
    let quiet = arrivals::count(arrivals::TIMER_DIRECT) <= after + 1;
    report.outcome(quiet, "stopped", "no more ticks");
}

fn idle(report: &mut Report, interface: &Interface) {
    let what = "virtual idle";
    if !interface.privileges.access_guest_idle_reg() || !interface.features.virtual_guest_idle() {
        return report.absent(what, "AccessGuestIdleReg and VirtualGuestIdle");
    }
    if !interface.features.use_direct_synthetic_timers() {
        return report.absent(what, "a timer in direct mode to end it");
    }
    let before = arrivals::count(arrivals::WAKE);
    let config = StimerConfig::new().with_direct_mode(true).with_apic_vector(arrivals::WAKE);
    let due =
        time::counter().and_then(|now| Timer(2).start(config, now + MILLISECOND).map(|()| now + MILLISECOND));
    let Some(due) = report.expect(what, due) else { return };
    // With interrupts off: the sleep ends, the interrupt stays pending (TLFS 7.5).
    let slept = trap::rdmsr(msr::GUEST_IDLE);
    let woke = time::counter().unwrap_or(0);
    let pending = arrivals::count(arrivals::WAKE) == before;
    if report.expect(what, slept).is_none() {
        return;
    }
    let taken = arrivals::wait(|| arrivals::count(arrivals::WAKE) != before);
    let right = woke >= due && pending && taken;
    report.outcome(
        right,
        what,
        format_args!(
            "slept with interrupts off, woke {} after the timer was due",
            Span(woke.saturating_sub(due))
        ),
    );
}

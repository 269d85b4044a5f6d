// SPDX-License-Identifier: MIT OR Apache-2.0
//! Monitored notifications (TLFS 11.7).

use engine::ExitReason;
use memory::{Rights, ViewId};
use tlfs::hypercall::CallCode;
use tlfs::msr;
use tlfs::synic::{ConnectionId, MonitorParameter};
use tlfs::vp::VpIndex;

use super::*;
use crate::{MonitorPort, MonitorTrigger, PortError, PortKind};

const SINT: u8 = 5;
const VECTOR: u8 = 0x72;
/// Where the page lies in the guest that sends.
const PAGE: u64 = 0x3_0000;
/// The connection that triggers signal through, and that to the page.
const EVENTS: u32 = 7;
const MONITOR: u32 = 8;
/// A latency, in 100 ns.
const LATENCY: u64 = 2000;

fn trigger(group: u32, number: u32) -> MonitorTrigger {
    MonitorTrigger::new(group, number).unwrap()
}

fn signals(flag: u16) -> MonitorParameter {
    MonitorParameter { connection_id: ConnectionId::from_bits(EVENTS), flag_number: flag, reserved: 0 }
}

/// A guest that signals itself: group 1 in use, trigger 3 of it signals flag 2, trigger 4 flag 3 at three times the latency.
fn lab() -> (Lab, Arc<MonitorPort>) {
    let mut lab = Lab::new(1);
    lab.enable_hypercalls(0x5000);
    lab.enable_synic(0);
    lab.write_msr(0, msr::SINT5, VECTOR.into()).unwrap();
    let event = PortKind::Event { base_flag: 0, flag_count: 32 };
    let port = lab.partition.create_guest_port(event, VpIndex(0), sint(SINT)).unwrap();
    lab.partition.connect(EVENTS, &port).unwrap();
    let monitor = lab.partition.create_monitor_port(None).unwrap();
    monitor.set_trigger(trigger(1, 3), signals(2), LATENCY as u16);
    monitor.set_trigger(trigger(1, 4), signals(3), 3 * LATENCY as u16);
    monitor.enable_groups(0b10);
    lab.partition.connect_monitor(MONITOR, &monitor, PAGE).unwrap();
    lab.pass(0);
    (lab, monitor)
}

const fn pending_word(group: u64) -> u64 {
    PAGE + 8 + 8 * group
}

/// The guest pulls triggers: sets the pending bits, clears the armed ones, at once.
fn pull(lab: &Lab, group: u64, bits: u32) {
    let word = pending_word(group);
    loop {
        let before = lab.space.read_value::<8>(ViewId(0), word, Rights::READ).unwrap();
        let after = (before | u64::from(bits)) & !(u64::from(bits) << 32);
        let found = lab.space.compare_exchange::<8>(ViewId(0), word, before, after, Rights::WRITE).unwrap();
        if found == before {
            return;
        }
    }
}

fn flags(lab: &Lab) -> u32 {
    lab.read_u32(Lab::event_flags_page(0) + 256 * u64::from(SINT))
}

/// Lets the guest run for a time, in steps of 10 microseconds.
fn run(lab: &mut Lab, time: u64) {
    for _ in 0..time / 100 {
        lab.advance(100);
        lab.pass(0);
    }
}

/// B11.023, B11.031, B11.032, B11.033, B11.057: a trigger that the guest pulls in memory signals its event once, not before its latency and not much after twice that,
/// and nothing but the look at the page has taken the guest out of its code.
#[test]
fn a_pulled_trigger_signals_after_its_latency() {
    let (mut lab, monitor) = lab();
    let calls = lab.vps[0].statistics().unwrap().hypercalls(CallCode::SIGNAL_EVENT);
    pull(&lab, 1, 1 << 3);
    assert!(monitor.is_pending(trigger(1, 3)) && !monitor.is_pending(trigger(1, 4)));
    run(&mut lab, LATENCY - 100);
    assert_eq!(flags(&lab), 0, "not before its latency");
    run(&mut lab, LATENCY + 200);
    assert_eq!(flags(&lab), 1 << 2);
    assert_eq!(lab.interrupts(0), [VECTOR]);
    assert_eq!((lab.read_u32(pending_word(1)), lab.read_u32(pending_word(1) + 4)), (0, 0));
    assert!(!monitor.is_pending(trigger(1, 3)));
    lab.write_msr(0, msr::EOI, 0).unwrap();
    lab.write_u32(Lab::event_flags_page(0) + 256 * u64::from(SINT), 0);
    run(&mut lab, 4 * LATENCY);
    assert_eq!(flags(&lab), 0, "once");
    assert_eq!(lab.vps[0].statistics().unwrap().hypercalls(CallCode::SIGNAL_EVENT), calls);
}

/// B11.057: whoever pulls a trigger again disarms it, and its latency begins anew; one that is taken back signals nothing.
#[test]
fn pulling_again_begins_the_latency_anew() {
    let (mut lab, _monitor) = lab();
    for _ in 0..10 {
        pull(&lab, 1, 1 << 4);
        run(&mut lab, 2 * LATENCY);
        assert_eq!(flags(&lab), 0);
    }
    // Taken back: it is no longer armed when it is pulled by setting its bit alone.
    lab.write_u32(pending_word(1), 0);
    run(&mut lab, LATENCY);
    assert_eq!(lab.read_u32(pending_word(1) + 4), 0);
    lab.write_u32(pending_word(1), 1 << 4);
    run(&mut lab, 2 * LATENCY);
    assert_eq!(flags(&lab), 0);
    run(&mut lab, 3 * LATENCY);
    assert_eq!(flags(&lab), 1 << 3);
}

/// B11.058, B11.034: each trigger signals what its own parameters say; one whose connection or flag does not exist does nothing at all.
#[test]
fn each_trigger_has_its_own_parameters() {
    let (mut lab, monitor) = lab();
    let nowhere =
        MonitorParameter { connection_id: ConnectionId::from_bits(99), flag_number: 0, reserved: 0 };
    monitor.set_trigger(trigger(0, 31), nowhere, LATENCY as u16);
    monitor.set_trigger(trigger(3, 0), signals(32), LATENCY as u16);
    monitor.set_trigger(trigger(3, 31), signals(31), LATENCY as u16);
    monitor.enable_groups(0b1111);
    pull(&lab, 0, 1 << 31);
    pull(&lab, 1, 0b1_1000);
    pull(&lab, 3, 1 | 1 << 31);
    run(&mut lab, 8 * LATENCY);
    assert_eq!(flags(&lab), 1 << 2 | 1 << 3 | 1 << 31);
    for group in [0, 1, 3] {
        assert_eq!(lab.read_u32(pending_word(group)), 0, "group {group}: what fails is over too");
    }
}

/// B11.059: triggers of a group that is not in use wait until it is.
#[test]
fn a_group_that_is_not_in_use_waits() {
    let (mut lab, monitor) = lab();
    monitor.enable_groups(0b1101);
    pull(&lab, 1, 1 << 3);
    run(&mut lab, 20_000);
    assert_eq!((flags(&lab), lab.read_u32(pending_word(1))), (0, 1 << 3));
    monitor.enable_groups(0);
    run(&mut lab, 20_000);
    // The guest itself may change what is in use, at any time.
    lab.write_u32(PAGE, 0b10);
    run(&mut lab, 100_000 + 3 * LATENCY);
    assert_eq!(flags(&lab), 1 << 2);
}

/// B11.031: the page is one page for both partitions, laid over what they have there, and gone with port or connection.
#[test]
fn both_partitions_see_one_page() {
    let (receiver, sender) = (Lab::new(1), Lab::new(1));
    sender.write_u32(PAGE + 0x800, 0x1111);
    let monitor = receiver.partition.create_monitor_port(Some(0x7000)).unwrap();
    sender.partition.connect_monitor(1, &monitor, PAGE).unwrap();
    assert_eq!(sender.read_u32(PAGE + 0x800), 0);
    receiver.write_u32(0x7800, 0x2222);
    assert_eq!(sender.read_u32(PAGE + 0x800), 0x2222);
    receiver.partition.delete_monitor_port(&monitor);
    assert_eq!((receiver.read_u32(0x7800), sender.read_u32(PAGE + 0x800)), (0, 0x2222));
    assert!(sender.partition.disconnect(1));
    assert_eq!(sender.read_u32(PAGE + 0x800), 0x1111);

    let error = sender.partition.connect_monitor(2, &monitor, PAGE + 8).err();
    assert_eq!(error, Some(PortError::MonitorAddress(PAGE + 8)));
    assert_eq!(error.unwrap().status(), HvStatus::INVALID_PARAMETER);
}

/// B11.030, B11.035: a monitored connection takes no call; a deleted port signals nothing; and a guest can make none of them itself.
#[test]
fn only_the_parent_makes_monitored_connections() {
    let (mut lab, monitor) = lab();
    let signal = lab.call(0, Lab::fast(CallCode::SIGNAL_EVENT), MONITOR.into(), 0);
    assert_eq!(signal, HvStatus::INVALID_PORT_ID);
    assert_eq!(lab.partition.connect_monitor(EVENTS, &monitor, PAGE), Err(PortError::ConnectionId(EVENTS)));
    for code in [CallCode::CREATE_PORT, CallCode::CONNECT_PORT, CallCode::DELETE_PORT] {
        let refused = lab.call(0, InputValue::new().with_call_code(code), 0x8000, 0);
        assert!(
            [HvStatus::INVALID_HYPERCALL_CODE, HvStatus::ACCESS_DENIED].contains(&refused),
            "{code:?}: {refused:?}"
        );
    }
    lab.partition.delete_monitor_port(&monitor);
    pull(&lab, 1, 1 << 3);
    run(&mut lab, 4 * LATENCY);
    assert_eq!(flags(&lab), 0);
}

/// A guest that pulls a trigger and halts is signalled all the same; one that has pulled none sleeps on.
#[test]
fn a_guest_that_halts_is_still_signalled() {
    let (mut lab, _monitor) = lab();
    lab.set_interrupts(0, true);
    lab.engine.push(0, ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    pull(&lab, 1, 1 << 3);
    lab.partition.vp(0).notify();
    for _ in 0..10 {
        let VpExit::Idle { until } = lab.vps[0].run(None) else { panic!("the guest has nothing to run") };
        if flags(&lab) != 0 {
            assert_eq!(until, None, "and sleeps on");
            return;
        }
        let now = lab.partition.clock().now();
        lab.engine.manual_clock().advance(until.expect("a time to wake up").saturating_sub(now).max(1));
    }
    panic!("no signal");
}

/// Without the privilege to signal, a trigger cannot either: it does what the guest could do by call (TLFS 11.7).
#[test]
fn a_trigger_has_no_more_rights_than_its_guest() {
    let (mut receiver, mut sender) =
        (Lab::new(1), Lab::with(1, Enlightenments::ALL.without(crate::Enlightenment::SignalEvents)));
    receiver.enable_synic(0);
    receiver.write_msr(0, msr::SINT5, VECTOR.into()).unwrap();
    let event = PortKind::Event { base_flag: 0, flag_count: 32 };
    let port = receiver.partition.create_guest_port(event, VpIndex(0), sint(SINT)).unwrap();
    sender.partition.connect(EVENTS, &port).unwrap();
    let monitor = receiver.partition.create_monitor_port(None).unwrap();
    monitor.set_trigger(trigger(1, 3), signals(2), 0);
    monitor.enable_groups(0b10);
    sender.partition.connect_monitor(MONITOR, &monitor, PAGE).unwrap();
    pull(&sender, 1, 1 << 3);
    run(&mut sender, 30_000);
    assert_eq!((flags(&receiver), monitor.is_pending(trigger(1, 3))), (0, false));
}

/// A partition that goes on from the state of another signals what was pulled in that one, at the time at which that one would have; ports, connections and
/// the page's place come with it, and what the host has of them is found by its id.
#[test]
fn monitors_are_part_of_the_state() {
    let (mut first, monitor) = lab();
    pull(&first, 1, 0b1_1000);
    // Both are armed by now.
    run(&mut first, LATENCY + 500);
    assert_eq!(first.read_u32(pending_word(1) + 4), 0b1_1000);
    monitor.set_trigger(trigger(3, 0), signals(9), 1000);
    let mut second = Lab::new(1);
    second.write_u32(PAGE + 0x800, 0x1111);
    // A clock that only a test moves.
    second.engine.manual_clock().advance(first.partition.clock().now());
    saved::restore(&mut second, &saved::save(&first)).unwrap();
    assert_eq!(saved::save(&second), saved::save(&first));
    let again = second.partition.monitor_port(monitor.id()).expect("the port");
    assert!(again.is_pending(trigger(1, 3)) && !again.is_pending(trigger(3, 0)));
    let history = |lab: &mut Lab| {
        let mut seen = Vec::new();
        for _ in 0..8 * LATENCY / 100 {
            run(lab, 100);
            seen.push((flags(lab), lab.read_u32(pending_word(1)), lab.interrupts(0)));
        }
        seen
    };
    let seen = history(&mut first);
    assert!(seen.iter().any(|step| step.0 == 1 << 2) && seen.last().unwrap().0 == 1 << 2 | 1 << 3);
    assert_eq!(history(&mut second), seen);
    // The host's other triggers, and the numbers of the connections.
    again.enable_groups(0b1010);
    pull(&second, 3, 1);
    run(&mut second, 20_000);
    assert_eq!(flags(&second), 1 << 2 | 1 << 3 | 1 << 9);
    let signal = second.call(0, Lab::fast(CallCode::SIGNAL_EVENT), MONITOR.into(), 0);
    assert_eq!(signal, HvStatus::INVALID_PORT_ID);
    second.partition.disconnect(MONITOR);
    assert_eq!(second.read_u32(PAGE + 0x800), 0x1111, "what lies below the page is memory's");
}

/// A page whose port was deleted stays where its connections laid it, and does nothing, in the other partition as well.
#[test]
fn a_page_without_a_port_is_saved_too() {
    let (mut first, monitor) = lab();
    first.partition.delete_monitor_port(&monitor);
    pull(&first, 1, 1 << 3);
    let mut second = Lab::new(1);
    second.engine.manual_clock().advance(first.partition.clock().now());
    saved::restore(&mut second, &saved::save(&first)).unwrap();
    assert_eq!(saved::save(&second), saved::save(&first));
    for lab in [&mut first, &mut second] {
        run(lab, 4 * LATENCY);
        assert_eq!((flags(lab), lab.read_u32(pending_word(1))), (0, 1 << 3));
        assert_eq!(lab.partition.monitor_port(monitor.id()).map(|port| port.id()), None);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions that are saved, and others that go on from there.

use engine::{ExitReason, SegmentName};
use state::{Damaged, Reader, State, Writer};
use tlfs::interrupt::{InterruptControl, InterruptType, InterruptVector};
use tlfs::msr;
use tlfs::synic::{ConnectionId, MessageType};
use tlfs::vp::{InitialVpContext, VpIndex};
use x86::apic::DeliveryMode;
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::local_apic::InterruptMessage;
use crate::{GuestTarget, PortKind, PortOwner};

const SINT: u8 = 4;
const PORT: u32 = 0x77;

pub(super) fn save(lab: &Lab) -> Vec<u8> {
    let mut writer = Writer::default();
    lab.partition.save(&mut writer);
    lab.vps.iter().for_each(|vp| vp.save(&mut writer));
    writer.into_bytes()
}

pub(super) fn restore(lab: &mut Lab, bytes: &[u8]) -> Result<(), Damaged> {
    let mut reader = Reader::new(bytes);
    lab.partition.restore(&mut reader)?;
    lab.vps.iter_mut().try_for_each(|vp| vp.restore(&mut reader))?;
    reader.end()
}

/// A lab with a port to SINT 4 of VP 1.
fn with_port() -> (Lab, Arc<crate::Port>) {
    let lab = Lab::new(2);
    let target = GuestTarget { vp: VpIndex(1), vtl: Vtl::VTL0, sint: sint(SINT) };
    let port = lab.partition.create_port_with_id(PORT, PortKind::Message, PortOwner::Guest(target)).unwrap();
    (lab, port)
}

/// One that a guest has used for a while.
fn used() -> Lab {
    let (mut lab, port) = with_port();
    lab.enable_hypercalls(0x5000);
    lab.enable_synic(1);
    for (number, value) in [
        (msr::SINT4, 0x71),
        (msr::STIMER0_COUNT, 1_000_000),
        (msr::STIMER0_CONFIG, 0x5_0001 | 0x50 << 4 | 1 << 12),
        (msr::VP_ASSIST_PAGE, 0x9001),
        (msr::REFERENCE_TSC, 0xA001),
        (msr::CRASH_P0, 0xDEAD),
        (0x250, 0x0606_0606_0606_0606),
    ] {
        lab.write_msr(1, number, value).unwrap();
    }
    for word in 0..5u32 {
        assert_eq!(port.post_message(MessageType(1), &word.to_le_bytes()), HvStatus::SUCCESS);
    }
    lab
}

#[test]
fn another_partition_goes_on_where_the_first_one_was_saved() {
    let first = used();
    let bytes = save(&first);
    let (mut second, port) = with_port();
    restore(&mut second, &bytes).unwrap();
    assert_eq!(save(&second), bytes);
    for number in [msr::SINT4, msr::STIMER0_COUNT, msr::STIMER0_CONFIG, msr::SIMP, msr::VP_ASSIST_PAGE] {
        assert_ne!(second.read_msr(1, number), Ok(0), "{number:#x}");
    }
    assert_eq!(second.read_msr(0, msr::CRASH_P0), Ok(0xDEAD));
    assert_eq!(second.read_msr(1, 0x250), Ok(0x0606_0606_0606_0606));
    // Overlays lie where they lay.
    for page in [0x5, 0x9, 0xA] {
        assert!(second.partition.is_overlay(Vtl::VTL0, page), "page {page:#x}");
    }
    // The first message is in its slot; four wait, in buffers of the port, which has sixteen.
    let free = (0..20).filter(|_| port.post_message(MessageType(1), &[9]) == HvStatus::SUCCESS).count();
    assert_eq!(free, 12);
    let mut words = Vec::new();
    while second.slot(1, SINT).0 != 0 {
        words.push(second.slot(1, SINT).3);
        second.free_slot(1, SINT);
        second.write_msr(1, msr::EOM, 0).unwrap();
    }
    assert_eq!(words[..5], [0, 1, 2, 3, 4]);
    assert_eq!(words.len(), 17);
}

/// B12.013: reference time stands while a partition is saved, however long that is and whatever the other partition's clock showed until then.
#[test]
fn time_stands_while_a_partition_is_saved() {
    const SECOND: u64 = 10_000_000;
    let first = used();
    first.advance(3 * SECOND);
    let bytes = save(&first);
    let (mut second, _port) = with_port();
    second.advance(10 * SECOND);
    restore(&mut second, &bytes).unwrap();
    assert_eq!(second.read_msr(0, msr::TIME_REF_COUNT), Ok(3 * SECOND));
    second.advance(5);
    assert_eq!(second.read_msr(0, msr::TIME_REF_COUNT), Ok(3 * SECOND + 5));
    // The page from which a guest computes it says the same: no offset, and the scale of the same clock.
    let page = |lab: &Lab| [0xA000, 0xA008, 0xA00C, 0xA010, 0xA014].map(|gpa| lab.read_u32(gpa));
    assert_eq!(page(&second), page(&first));
    // Nor does it begin to run while all VPs are suspended.
    second.partition.set_explicit_suspend(0, true);
    second.partition.set_explicit_suspend(1, true);
    let bytes = save(&second);
    let (mut third, _port) = with_port();
    restore(&mut third, &bytes).unwrap();
    third.advance(SECOND);
    assert_eq!(third.partition.clock().now(), second.partition.clock().now());
}

/// Takes up what was saved of one partition in another that is like it.
fn moved(first: &Lab) -> Lab {
    let mut second = Lab::new(2);
    restore(&mut second, &save(first)).unwrap();
    second
}

/// B10.018: the external interrupt that a parent asserts, and whether it has to be cleared.
#[test]
fn what_a_parent_asserts_goes_along() {
    let assert = |lab: &Lab, kind, vector| {
        let control = InterruptControl::new()
            .with_interrupt_type(kind)
            .with_level_triggered(kind == InterruptType::FIXED);
        lab.partition.assert_virtual_interrupt(control, 0, InterruptVector(vector), Vtl::VTL0)
    };
    let first = Lab::new(2);
    assert_eq!(assert(&first, InterruptType::EXT_INT, 0x30), HvStatus::SUCCESS);
    let mut second = moved(&first);
    assert_eq!(second.interrupts(0), [0x30]);
    let third = moved(&second);
    assert_eq!(assert(&third, InterruptType::EXT_INT, 0x31), HvStatus::ACKNOWLEDGED);
    assert_eq!(third.partition.clear_virtual_interrupt(Vtl::VTL0), HvStatus::SUCCESS);
    assert_eq!(moved(&third).partition.clear_virtual_interrupt(Vtl::VTL0), HvStatus::NOT_ACKNOWLEDGED);
    // A level that was not delivered yet can be withdrawn here as there.
    assert_eq!(assert(&third, InterruptType::FIXED, 0x50), HvStatus::SUCCESS);
    let mut fourth = moved(&third);
    assert_eq!(assert(&fourth, InterruptType::FIXED, InterruptVector::NONE.0), HvStatus::SUCCESS);
    assert!(fourth.interrupts(0).is_empty());
    assert_eq!(moved(&third).interrupts(0), [0x50]);
}

/// A VP that was told how to start and has not run since.
#[test]
fn a_start_goes_along() {
    let waiting = || {
        let lab = Lab::new(2);
        let mut state = lab.partition.vp(1).state();
        state.set_run_state(crate::vp::state::RunState::WaitForStartUp, lab.partition.reference_time());
        drop(state);
        lab
    };
    let by_message = waiting();
    let start_up = InterruptMessage::from_device(DeliveryMode::StartUp, 0x9A, 1, false, false);
    assert!(by_message.partition.deliver(start_up));
    let mut second = moved(&by_message);
    second.pass(1);
    let code = second.vps[1].registers().segment(SegmentName::Cs);
    assert_eq!((code.base, code.selector.into_bits()), (0x9_A000, 0x9A00));
    let by_call = waiting();
    let context = InitialVpContext::read_from_bytes(super::services::context()[2..].as_bytes()).unwrap();
    by_call.partition.start_virtual_processor(1, &context).unwrap();
    let mut second = moved(&by_call);
    second.pass(1);
    let registers = second.vps[1].registers();
    assert_eq!(
        (registers.rip(), registers.gpr(Gpr::Rsp), registers.control().cr3),
        (0x7003, 0x6000, 0x10_0000)
    );
}

/// Time stands in a partition that takes up a state in which every VP is suspended, and in no other.
#[test]
fn suspension_goes_along() {
    let first = Lab::new(2);
    let passes = |lab: &Lab| {
        let before = lab.partition.clock().now();
        lab.advance(10);
        lab.partition.clock().now() != before
    };
    assert!(passes(&moved(&first)));
    first.partition.set_explicit_suspend(1, true);
    let second = moved(&first);
    assert!(passes(&second) && second.partition.is_explicitly_suspended(1));
    first.partition.set_explicit_suspend(0, true);
    let third = moved(&first);
    assert!(!passes(&third));
    third.partition.set_explicit_suspend(0, false);
    assert!(passes(&third));
}

/// Run time that a VP has consumed stays consumed.
#[test]
fn consumed_time_goes_along() {
    let mut first = Lab::new(2);
    let engine = first.engine.clone();
    let exit = ExitReason::Cpuid { leaf: 0, subleaf: 0 };
    first.engine.push_with(1, exit, move |_| engine.manual_clock().advance(500 * super::TICKS));
    first.pass(1);
    first.advance(10_000);
    assert_eq!((first.read_msr(1, msr::VP_RUNTIME), first.read_msr(0, msr::VP_RUNTIME)), (Ok(500), Ok(0)));
    let mut second = moved(&first);
    assert_eq!((second.read_msr(1, msr::VP_RUNTIME), second.read_msr(0, msr::VP_RUNTIME)), (Ok(500), Ok(0)));
}

/// Ids of ports go on after the last one, so that no message of an old port is taken for one of a new.
#[test]
fn ids_of_ports_go_on() {
    let first = Lab::new(2);
    let create =
        |lab: &Lab| lab.partition.create_guest_port(PortKind::Message, VpIndex(0), sint(SINT)).unwrap();
    let ids = [create(&first), create(&first), create(&first)].map(|port| {
        first.partition.delete_port(&port);
        port.id().into_bits()
    });
    let next = create(&moved(&first)).id().into_bits();
    assert!(!ids.contains(&next), "{next} was one of {ids:?}");
    assert_eq!(create(&first).id().into_bits(), next);
}

#[test]
fn damaged_states_are_errors() {
    let bytes = save(&used());
    let (mut lab, _port) = with_port();
    for length in (0..bytes.len()).step_by(401) {
        assert_eq!(restore(&mut lab, &bytes[..length]), Err(Damaged::Short), "{length}");
    }
    for index in (0..bytes.len()).step_by(211) {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0xFF;
        // Most bytes are values of registers, any of which will do.
        let _ = restore(&mut lab, &damaged);
    }
}

struct Counter(std::sync::atomic::AtomicU32);

impl crate::PortHandler for Counter {
    fn event(&self, _flag: u16) -> HvStatus {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        HvStatus::SUCCESS
    }
}

/// The guest's ports and its connections come with the state; those of the host are the host's to make before, and then lead to the new one.
#[test]
fn ports_and_connections_are_part_of_the_state() {
    const EVENT: PortKind = PortKind::Event { base_flag: 3, flag_count: 4 };
    const HOST: u32 = 0x500;
    let mut first = Lab::new(2);
    first.enable_hypercalls(0x5000);
    first.enable_synic(1);
    first.write_msr(1, msr::SINT4, 0x71).unwrap();
    let counters = [0, 0].map(|_| Arc::new(Counter(0.into())));
    let host = |lab: &Lab, counter: &Arc<Counter>| {
        let owner = PortOwner::Host(counter.clone());
        lab.partition.create_port_with_id(HOST, EVENT, owner).unwrap()
    };
    let (first_host, partition) = (host(&first, &counters[0]), &first.partition);
    let messages = partition.create_guest_port(PortKind::Message, VpIndex::ANY, sint(SINT)).unwrap();
    let events = partition.create_guest_port(EVENT, VpIndex(1), sint(SINT)).unwrap();
    let gone = partition.create_guest_port(EVENT, VpIndex(1), sint(SINT)).unwrap();
    for (connection, port) in [(7, &messages), (8, &events), (9, &gone), (10, &first_host)] {
        partition.connect(connection, port).unwrap();
    }
    partition.delete_port(&gone);
    for word in 0..3 {
        assert_eq!(messages.post_message(MessageType(1), &[word]), HvStatus::SUCCESS);
    }
    let bytes = save(&first);
    let signal = |lab: &mut Lab, connection, flag: u64| {
        lab.call(0, Lab::fast(CallCode::SIGNAL_EVENT), connection | flag << 32, 0)
    };

    let mut alone = Lab::new(2);
    restore(&mut alone, &bytes).unwrap();
    assert_eq!(signal(&mut alone, 10, 0), HvStatus::INVALID_CONNECTION_ID);

    let mut second = Lab::new(2);
    host(&second, &counters[1]);
    restore(&mut second, &bytes).unwrap();
    assert_eq!(save(&second), bytes);
    for lab in [&mut first, &mut second] {
        let statuses = [7, 8, 9, 10, 11].map(|connection| signal(lab, connection, 1));
        let expected = [
            HvStatus::INVALID_PORT_ID,
            HvStatus::SUCCESS,
            HvStatus::INVALID_PORT_ID,
            HvStatus::SUCCESS,
            HvStatus::INVALID_CONNECTION_ID,
        ];
        assert_eq!(statuses, expected);
        assert_eq!(signal(lab, 8, 4), HvStatus::INVALID_PARAMETER, "the port has four flags");
        assert_eq!(lab.read_u32(Lab::event_flags_page(1) + 256 * u64::from(SINT)), 1 << 4);
        let port = lab.partition.port(messages.id()).expect("the port");
        let free = (0..20).filter(|_| port.post_message(MessageType(1), &[9]) == HvStatus::SUCCESS).count();
        assert_eq!(free, 14, "one message is in its slot, two in buffers of the port");
        let next = lab.partition.create_guest_port(EVENT, VpIndex(1), sint(SINT)).unwrap();
        assert_eq!(next.id().into_bits(), gone.id().into_bits() + 1);
    }
    assert_eq!(counters.map(|counter| counter.0.load(std::sync::atomic::Ordering::SeqCst)), [1, 1]);
}

/// A port that the host has made again is taken as it is if it is the one that was saved, and is an error if not.
#[test]
fn ports_that_the_host_made_again_are_kept() {
    let (first, port) = with_port();
    first.partition.connect(7, &port).unwrap();
    let bytes = save(&first);
    let (mut second, own) = with_port();
    restore(&mut second, &bytes).unwrap();
    assert!(Arc::ptr_eq(&own, &second.partition.port(own.id()).unwrap()));
    assert!(second.partition.disconnect(7));
    let mut other = Lab::new(2);
    let kind = PortKind::Event { base_flag: 0, flag_count: 1 };
    let target = GuestTarget { vp: VpIndex(1), vtl: Vtl::VTL0, sint: sint(SINT) };
    other.partition.create_port_with_id(PORT, kind, PortOwner::Guest(target)).unwrap();
    let taken = Damaged::Value { kind: "port", value: PORT.into() };
    assert_eq!(restore(&mut other, &bytes), Err(taken));
}

/// A connection into another partition does not become one to a port of this one that has the same id; the host makes it again, and what was pulled through it
/// goes on.
#[test]
fn connections_into_other_partitions_are_the_hosts() {
    const PAGE: u64 = 0x3_0000;
    let ((first, own), (other, port)) = (with_port(), with_port());
    assert_eq!(own.id(), port.id());
    let _own = first.partition.create_monitor_port(None).unwrap();
    let monitor = other.partition.create_monitor_port(None).unwrap();
    first.partition.connect(7, &port).unwrap();
    first.partition.connect(8, &own).unwrap();
    first.partition.connect_monitor(9, &monitor, PAGE).unwrap();
    let bytes = save(&first);

    let mut alone = Lab::new(2);
    restore(&mut alone, &bytes).unwrap();
    assert_eq!([7, 8, 9].map(|number| alone.partition.disconnect(number)), [false, true, false]);

    let mut second = Lab::new(2);
    second.partition.connect(7, &port).unwrap();
    second.partition.connect_monitor(9, &monitor, 0x7000).unwrap();
    restore(&mut second, &bytes).unwrap();
    assert_eq!(save(&second), bytes);
    let find = |number| second.partition.ports().find(ConnectionId::from_bits(number)).unwrap();
    assert!(Arc::ptr_eq(&find(7), &port) && !Arc::ptr_eq(&find(8), &port));
    second.write_u32(PAGE + 0x800, 0x1234);
    second.write_u32(0x7800, 0x5678);
    assert_eq!(first.read_u32(PAGE + 0x800), 0x1234, "the page lies where it lay");
}

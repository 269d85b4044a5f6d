// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages and event flags (TLFS 11).

use std::sync::Mutex;

use memory::{Rights, ViewId};
use tlfs::hypercall::CallCode;
use tlfs::msr;
use tlfs::synic::MessageType;
use tlfs::vp::VpIndex;

use super::*;
use crate::{PortHandler, PortKind, PortOwner};

const CONNECTION: u32 = 0x10;
const SINT: u8 = 8;
const VECTOR: u8 = 0xB0;
/// Where a test keeps the input of a call.
const INPUT: u64 = 0x8000;

/// A lab with SynICs enabled, SINT 8 of each VP on vector 0xB0 with this in its other bits, and connection 0x10 + VP to it.
fn lab(vp_count: u32, sint_bits: u64) -> Lab {
    let mut lab = Lab::new(vp_count);
    lab.enable_hypercalls(0x5000);
    for vp in 0..vp_count as usize {
        lab.enable_synic(vp);
        lab.write_msr(vp, msr::SINT8, u64::from(VECTOR) | sint_bits).unwrap();
        let port =
            lab.partition.create_guest_port(PortKind::Message, VpIndex(vp as u32), sint(SINT)).unwrap();
        lab.partition.connect(CONNECTION + vp as u32, &port).unwrap();
        let event = PortKind::Event { base_flag: 0x20, flag_count: 2 };
        let port = lab.partition.create_guest_port(event, VpIndex(vp as u32), sint(SINT)).unwrap();
        lab.partition.connect(0x20 + vp as u32, &port).unwrap();
    }
    lab
}

fn post_typed(
    lab: &mut Lab,
    vp: usize,
    connection: u32,
    message_type: u32,
    size: u32,
    word: u32,
) -> HvStatus {
    for (offset, value) in [(0, connection), (8, message_type), (12, size), (16, word)] {
        lab.write_u32(INPUT + offset, value);
    }
    lab.call(vp, InputValue::new().with_call_code(CallCode::POST_MESSAGE), INPUT, 0x3)
}

fn post(lab: &mut Lab, vp: usize, connection: u32, word: u32) -> HvStatus {
    post_typed(lab, vp, connection, 1, 8, word)
}

fn signal(lab: &mut Lab, vp: usize, connection: u32, flag: u16) -> HvStatus {
    lab.call(vp, Lab::fast(CallCode::SIGNAL_EVENT), u64::from(connection) | u64::from(flag) << 32, 0)
}

/// B11.036 to B11.041, B11.047, B11.051: registers after reset, what they take, and what they give back.
#[test]
fn registers_start_and_check_as_specified() {
    let mut lab = Lab::new(2);
    for number in [msr::SCONTROL, msr::SIEFP, msr::SIMP, msr::EOM] {
        assert_eq!(lab.read_msr(0, number), Ok(0), "{number:#x}");
    }
    assert_eq!(lab.read_msr(0, msr::SVERSION), Ok(1));
    assert_eq!(lab.read_msr(0, msr::SINT15), Ok(0x1_0000));
    lab.write_msr(0, msr::SINT15, 0x1_0000).unwrap();
    assert_eq!(lab.write_msr(0, msr::SINT15, 5), Err(Gp));
    lab.write_msr(0, msr::SINT15, 0xFFFF_FFFF_FFF6_FFB0).unwrap();
    assert_eq!(lab.read_msr(0, msr::SINT15), Ok(0xFFFF_FFFF_FFF6_FFB0));
    assert_eq!(lab.read_msr(1, msr::SINT15), Ok(0x1_0000), "each VP has its own");
    // Beyond the space: no fault, and the bits are kept.
    lab.write_msr(0, msr::SIMP, 1 << 50 | 0xFFF).unwrap();
    assert_eq!(lab.read_msr(0, msr::SIMP), Ok(1 << 50 | 0xFFF));
}

/// B11.009, B11.011, B11.013, B11.016, B11.053, B11.062: a message reaches a free slot with one interrupt; behind an occupied one it waits, says so, and comes
/// after EOM, alone.
#[test]
fn a_busy_slot_makes_the_next_message_wait() {
    let mut lab = lab(1, 0);
    assert_eq!(post(&mut lab, 0, CONNECTION, 0x1111), HvStatus::SUCCESS);
    assert_eq!(lab.slot(0, SINT), (1, 8, false, 0x1111));
    let sender = lab.read_u32(Lab::message_page(0) + 256 * u64::from(SINT) + 8);
    assert_eq!(sender, 1, "the port, which is the first");
    assert_eq!(lab.interrupts(0), [VECTOR]);
    lab.write_msr(0, msr::EOI, 0).unwrap();

    assert_eq!(post(&mut lab, 0, CONNECTION, 0x2222), HvStatus::SUCCESS);
    assert_eq!(lab.slot(0, SINT), (1, 8, true, 0x1111), "the older message, and it says that more wait");
    assert!(lab.interrupts(0).is_empty());
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(lab.slot(0, SINT), (1, 8, false, 0x2222));
    assert_eq!(lab.interrupts(0), [VECTOR]);
    let counts = lab.vps[0].statistics().unwrap();
    assert_eq!((counts.messages(), counts.synic_interrupts(), counts.interrupts(VECTOR)), (2, 2, 2));
    assert_eq!(counts.hypercalls(CallCode::POST_MESSAGE), 2);
    let mut twice = counts.clone();
    twice.add(&counts);
    assert!(twice.to_string().contains("4  SynIC interrupts"), "{twice}");
}

/// B11.016, B11.017, B11.053: an EOI of the local APIC drains queues too, a second waiting message is announced, and a slot that is freed without a
/// word is looked at within milliseconds.
#[test]
fn queues_are_looked_at_again() {
    let mut lab = lab(1, 0);
    for word in [1, 2, 3, 4] {
        assert_eq!(post(&mut lab, 0, CONNECTION, word), HvStatus::SUCCESS);
    }
    assert_eq!(lab.interrupts(0), [VECTOR]);
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!(lab.slot(0, SINT), (1, 8, true, 2));
    assert_eq!(lab.interrupts(0), [VECTOR]);
    lab.write_msr(0, msr::EOI, 0).unwrap();

    lab.free_slot(0, SINT);
    assert!(lab.interrupts(0).is_empty(), "nothing tells the hypervisor yet");
    lab.advance(10_000);
    assert_eq!(lab.interrupts(0), [VECTOR]);
    assert_eq!(lab.slot(0, SINT), (1, 8, true, 3));
}

/// B11.002: a port has 16 buffers, besides the message in the slot; a buffer is free when its message is delivered.
#[test]
fn a_port_has_sixteen_buffers() {
    let mut lab = lab(1, 0);
    for word in 0..17 {
        assert_eq!(post(&mut lab, 0, CONNECTION, word), HvStatus::SUCCESS);
    }
    assert_eq!(post(&mut lab, 0, CONNECTION, 17), HvStatus::INSUFFICIENT_BUFFERS);
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(post(&mut lab, 0, CONNECTION, 18), HvStatus::SUCCESS);
    for expected in (1..17).chain([18]) {
        assert_eq!(lab.slot(0, SINT).3, expected, "first in, first out");
        lab.free_slot(0, SINT);
        lab.write_msr(0, msr::EOM, 0).unwrap();
    }
    assert_eq!(lab.slot(0, SINT).0, 0);
}

/// B11.013, B11.026, B11.046: a masked source gets messages without an interrupt, and refuses events.
#[test]
fn a_masked_source_is_silent() {
    let mut lab = lab(1, 1 << 16);
    assert_eq!(post(&mut lab, 0, CONNECTION, 1), HvStatus::SUCCESS);
    assert_eq!(lab.slot(0, SINT).3, 1);
    assert_eq!(post(&mut lab, 0, CONNECTION, 2), HvStatus::SUCCESS);
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(lab.slot(0, SINT).3, 2);
    assert!(lab.interrupts(0).is_empty());
    assert_eq!(signal(&mut lab, 0, 0x20, 0), HvStatus::INVALID_SYNIC_STATE);
    assert!(!lab.partition.set_sint(0, sint(SINT)));
}

/// B11.042: a polled source is unmasked and never interrupts.
#[test]
fn a_polled_source_delivers_without_interrupt() {
    let mut lab = lab(1, 1 << 18);
    assert_eq!(signal(&mut lab, 0, 0x20, 0), HvStatus::SUCCESS);
    assert_eq!(post(&mut lab, 0, CONNECTION, 1), HvStatus::SUCCESS);
    assert_eq!(lab.read_u32(Lab::event_flags_page(0) + 256 * u64::from(SINT) + 4), 1);
    assert!(lab.interrupts(0).is_empty());
}

/// B11.043: with AutoEOI the same vector comes again without an EOI; without it, it does not.
#[test]
fn auto_eoi_leaves_nothing_in_service() {
    for (bits, second) in [(1 << 17, vec![VECTOR]), (0, vec![])] {
        let mut lab = lab(1, bits);
        assert!(lab.partition.set_sint(0, sint(SINT)));
        assert_eq!(lab.interrupts(0), [VECTOR]);
        assert!(lab.partition.set_sint(0, sint(SINT)));
        assert_eq!(lab.interrupts(0), second);
    }
}

/// Two that leave nothing in service come one behind the other.
#[test]
fn auto_eoi_interrupts_do_not_hold_each_other_back() {
    let mut lab = lab(1, 1 << 17);
    lab.write_msr(0, msr::SINT9, 1 << 17 | 0xB1).unwrap();
    assert!(lab.partition.set_sint(0, sint(SINT)) && lab.partition.set_sint(0, sint(9)));
    assert_eq!(lab.interrupts(0), [0xB1, VECTOR]);
}

/// B11.025, B11.054, B11.063: only a flag that was clear interrupts; flags count from the port's first and end with its last.
#[test]
fn an_event_interrupts_once() {
    let mut lab = lab(2, 0);
    let word = Lab::event_flags_page(1) + 256 * u64::from(SINT) + 4;
    assert_eq!(signal(&mut lab, 0, 0x21, 1), HvStatus::SUCCESS);
    assert_eq!(lab.read_u32(word), 2, "flag 0x21");
    assert_eq!(lab.interrupts(1), [VECTOR]);
    lab.write_msr(1, msr::EOI, 0).unwrap();
    assert_eq!(signal(&mut lab, 0, 0x21, 1), HvStatus::SUCCESS);
    assert!(lab.interrupts(1).is_empty());
    lab.write_u32(word, 0);
    assert_eq!(signal(&mut lab, 0, 0x21, 1), HvStatus::SUCCESS);
    assert_eq!(lab.interrupts(1), [VECTOR]);
    assert_eq!(signal(&mut lab, 0, 0x21, 2), HvStatus::INVALID_PARAMETER);
}

/// B11.010, B11.027: what is switched off is no target.
#[test]
fn a_disabled_synic_is_no_target() {
    for number in [msr::SCONTROL, msr::SIMP] {
        let mut lab = lab(1, 0);
        lab.write_msr(0, number, 0).unwrap();
        assert_eq!(post(&mut lab, 0, CONNECTION, 1), HvStatus::INVALID_SYNIC_STATE, "{number:#x}");
    }
    for number in [msr::SCONTROL, msr::SIEFP] {
        let mut lab = lab(1, 0);
        lab.write_msr(0, number, 0).unwrap();
        assert_eq!(signal(&mut lab, 0, 0x20, 0), HvStatus::INVALID_SYNIC_STATE, "{number:#x}");
    }
}

/// B11.014: a message whose page is switched off stays queued and comes when it is on again, where it is then.
#[test]
fn a_queued_message_survives_a_disabled_page() {
    let mut lab = lab(1, 0);
    post(&mut lab, 0, CONNECTION, 1);
    post(&mut lab, 0, CONNECTION, 2);
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::SIMP, 0).unwrap();
    lab.write_msr(0, msr::EOM, 0).unwrap();
    lab.write_msr(0, msr::SIMP, 0x3_0001).unwrap();
    let slot = 0x3_0000 + 256 * u64::from(SINT);
    assert_eq!(lab.read_u32(slot + 16), 2);
    post(&mut lab, 0, CONNECTION, 3);
    lab.write_u32(slot, 0);
    lab.write_msr(0, msr::SCONTROL, 0).unwrap();
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(lab.read_u32(slot), 0);
    lab.write_msr(0, msr::SCONTROL, 1).unwrap();
    assert_eq!(lab.read_u32(slot + 16), 3);
}

/// B11.048, B11.050: the page is the VP's: it hides memory, keeps its contents when it moves, and gives back what it hid.
#[test]
fn message_pages_are_overlays() {
    let mut lab = Lab::new(1);
    lab.write_u32(0x1_0000, 77);
    lab.enable_synic(0);
    assert_eq!(lab.read_u32(0x1_0000), 0);
    lab.write_u32(0x1_0000, 88);
    lab.write_msr(0, msr::SIMP, 0x3_0001).unwrap();
    assert_eq!((lab.read_u32(0x1_0000), lab.read_u32(0x3_0000)), (77, 88));
}

/// B11.019: a port to any VP chooses one that listens.
#[test]
fn a_port_to_any_vp_finds_one_that_listens() {
    let mut lab = Lab::new(3);
    lab.enable_synic(2);
    lab.write_msr(2, msr::SINT8, VECTOR.into()).unwrap();
    let port = lab.partition.create_guest_port(PortKind::Message, VpIndex::ANY, sint(SINT)).unwrap();
    assert_eq!(port.post_message(MessageType(1), b"host"), HvStatus::SUCCESS);
    assert_eq!(lab.slot(2, SINT), (1, 4, false, u32::from_le_bytes(*b"host")));
    assert_eq!(lab.interrupts(2), [VECTOR]);
}

/// B11.030, B11.052, B11.056, B11.060, B11.061, B11.064, B04.005: what the two calls refuse.
#[test]
fn calls_refuse_what_they_must() {
    let mut lab = lab(1, 0);
    assert_eq!(post_typed(&mut lab, 0, CONNECTION, 0, 8, 0), HvStatus::INVALID_PARAMETER);
    assert_eq!(post_typed(&mut lab, 0, CONNECTION, 0x8000_0010, 8, 0), HvStatus::INVALID_PARAMETER);
    assert_eq!(post_typed(&mut lab, 0, CONNECTION, 1, 241, 0), HvStatus::INVALID_PARAMETER);
    assert_eq!(post_typed(&mut lab, 0, CONNECTION, 1, 240, 0), HvStatus::SUCCESS);
    assert_eq!(post(&mut lab, 0, 0x1234, 0), HvStatus::INVALID_CONNECTION_ID);
    assert_eq!(post(&mut lab, 0, 1 << 24 | CONNECTION, 0), HvStatus::INVALID_CONNECTION_ID);
    assert_eq!(signal(&mut lab, 0, 0x1234, 0), HvStatus::INVALID_CONNECTION_ID);
    assert_eq!(post(&mut lab, 0, 0x20, 0), HvStatus::INVALID_PORT_ID, "an event port");
    assert_eq!(signal(&mut lab, 0, CONNECTION, 0), HvStatus::INVALID_PORT_ID, "a message port");
    let reserved = 0x20 | 1 << 48;
    assert_eq!(lab.call(0, Lab::fast(CallCode::SIGNAL_EVENT), reserved, 0), HvStatus::INVALID_PARAMETER);
    let port = lab.partition.create_guest_port(PortKind::Message, VpIndex(7), sint(SINT)).unwrap();
    lab.partition.connect(0x30, &port).unwrap();
    assert_eq!(post(&mut lab, 0, 0x30, 0), HvStatus::INVALID_VP_INDEX);
    lab.partition.delete_port(&port);
    assert_eq!(post(&mut lab, 0, 0x30, 0), HvStatus::INVALID_PORT_ID);
    let kind = PortKind::Event { base_flag: 0, flag_count: 1 };
    let event = lab.partition.create_guest_port(kind, VpIndex(0), sint(SINT)).unwrap();
    lab.partition.delete_port(&event);
    assert_eq!(event.signal_event(0), HvStatus::INVALID_PORT_ID);
    assert!(lab.partition.disconnect(0x30) && !lab.partition.disconnect(0x30));
    assert_eq!(post(&mut lab, 0, 0x30, 0), HvStatus::INVALID_CONNECTION_ID);

    let unprivileged = Enlightenments::ALL
        .without(crate::Enlightenment::PostMessages)
        .without(crate::Enlightenment::SignalEvents);
    let mut without = Lab::with(1, unprivileged);
    without.enable_hypercalls(0x5000);
    assert_eq!(post(&mut without, 0, CONNECTION, 0), HvStatus::ACCESS_DENIED);
    assert_eq!(signal(&mut without, 0, CONNECTION, 0), HvStatus::ACCESS_DENIED);
}

/// What a host cannot make: flags past the last one, and a VTL that is not there.
#[test]
fn ports_are_checked_when_they_are_made() {
    let lab = Lab::new(1);
    let kind = PortKind::Event { base_flag: 2047, flag_count: 2 };
    let error = lab.partition.create_guest_port(kind, VpIndex(0), sint(SINT)).err().unwrap();
    assert!(error.to_string().contains("2047"), "{error}");
    let vp = VpIndex(0);
    let target = crate::GuestTarget { vp, vtl: Vtl::VTL1, sint: sint(SINT) };
    assert!(lab.partition.create_port(PortKind::Message, PortOwner::Guest(target)).is_err());
}

/// A host's port is called with what was sent, and its answer is the call's.
#[test]
fn a_host_port_is_called_on_the_senders_thread() {
    #[derive(Default)]
    struct Host(Mutex<Vec<(u32, Vec<u8>)>>);
    impl PortHandler for Host {
        fn message(&self, message_type: MessageType, payload: &[u8]) -> HvStatus {
            self.0.lock().unwrap().push((message_type.0, payload.to_vec()));
            HvStatus::SUCCESS
        }
        fn event(&self, flag: u16) -> HvStatus {
            self.0.lock().unwrap().push((flag.into(), vec![]));
            HvStatus::OBJECT_IN_USE
        }
    }
    let mut lab = lab(1, 0);
    let host = Arc::new(Host::default());
    let port = lab.partition.create_port(PortKind::Message, PortOwner::Host(host.clone())).unwrap();
    lab.partition.connect(1, &port).unwrap();
    let event = PortKind::Event { base_flag: 0, flag_count: 9 };
    let port = lab.partition.create_port(event, PortOwner::Host(host.clone())).unwrap();
    lab.partition.connect(2, &port).unwrap();
    assert!(lab.partition.connect(2, &port).is_err());
    assert_eq!(post_typed(&mut lab, 0, 1, 7, 4, 0x0403_0201), HvStatus::SUCCESS);
    assert_eq!(signal(&mut lab, 0, 2, 8), HvStatus::OBJECT_IN_USE);
    assert_eq!(*host.0.lock().unwrap(), [(7, vec![1, 2, 3, 4]), (8, vec![])]);
}

/// B11.024, B11.028: flags that the guest clears with locked instructions while others set them are never lost.
#[test]
fn no_flag_is_lost_between_guest_and_hypervisor() {
    let mut lab = lab(1, 0);
    lab.set_interrupts(0, false);
    let port = lab
        .partition
        .create_guest_port(PortKind::Event { base_flag: 0, flag_count: 32 }, VpIndex(0), sint(SINT))
        .unwrap();
    let word = Lab::event_flags_page(0) + 256 * u64::from(SINT);
    let (space, patience) = (&lab.space, Patience::new());
    // A busy host gets through few in that time.
    const LONG_ENOUGH: Duration = Duration::from_millis(300);
    let (sent, taken) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let (began, mut sent) = (Instant::now(), 0u32);
            while sent < 20_000 && began.elapsed() < LONG_ENOUGH {
                assert_eq!(port.signal_event(3), HvStatus::SUCCESS);
                sent += 1;
                // Wait until the other side has taken it.
                while space.read_value::<4>(ViewId(0), word, Rights::READ).unwrap() & 8 != 0 {
                    patience.go_on();
                    std::thread::yield_now();
                }
            }
            assert_eq!(port.signal_event(31), HvStatus::SUCCESS);
            sent
        });
        let mut taken = 0;
        loop {
            patience.go_on();
            let seen = space.read_value::<4>(ViewId(0), word, Rights::READ).unwrap();
            let swapped = space.compare_exchange::<4>(ViewId(0), word, seen, 0, Rights::WRITE).unwrap();
            if swapped == seen {
                taken += u32::from(seen & 8 != 0);
                if seen >> 31 != 0 {
                    return (sender.join().unwrap(), taken);
                }
            }
            if seen == 0 {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(taken, sent);
}

/// B11.044: an interrupt that is in service ends by the rule under which it was delivered, whatever the source says meanwhile.
#[test]
fn changing_auto_eoi_leaves_what_is_in_flight() {
    const AUTO_EOI: u64 = 1 << 17;
    // Delivered without: turning it on ends nothing.
    let mut without = lab(1, 0);
    assert!(without.partition.set_sint(0, sint(SINT)));
    assert_eq!(without.interrupts(0), [VECTOR]);
    without.write_msr(0, msr::SINT8, u64::from(VECTOR) | AUTO_EOI).unwrap();
    assert!(without.partition.set_sint(0, sint(SINT)));
    assert!(without.interrupts(0).is_empty(), "the explicit EOI is still to come");
    without.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!(without.interrupts(0), [VECTOR]);
    assert!(without.partition.set_sint(0, sint(SINT)));
    assert_eq!(without.interrupts(0), [VECTOR], "and now none is needed");
    // Delivered with: turning it off leaves nothing to end.
    let mut with = lab(1, AUTO_EOI);
    assert!(with.partition.set_sint(0, sint(SINT)));
    assert_eq!(with.interrupts(0), [VECTOR]);
    with.write_msr(0, msr::SINT8, VECTOR.into()).unwrap();
    assert!(with.partition.set_sint(0, sint(SINT)));
    assert_eq!(with.interrupts(0), [VECTOR]);
    assert!(with.partition.set_sint(0, sint(SINT)));
    assert!(with.interrupts(0).is_empty());
}

/// B11.045: one EOM looks at the queues of all sources, and does nothing when there is nothing in them.
#[test]
fn an_eom_looks_at_all_queues() {
    let mut lab = lab(1, 1 << 17);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert!(lab.interrupts(0).is_empty());
    lab.write_msr(0, msr::SINT3, 1 << 17 | 0xA3).unwrap();
    let port = lab.partition.create_guest_port(PortKind::Message, VpIndex(0), sint(3)).unwrap();
    for word in [1u32, 2] {
        assert_eq!(post(&mut lab, 0, CONNECTION, word), HvStatus::SUCCESS);
        assert_eq!(port.post_message(MessageType(1), &(word + 0x10).to_le_bytes()), HvStatus::SUCCESS);
    }
    assert_eq!(lab.interrupts(0), [VECTOR, 0xA3]);
    lab.free_slot(0, SINT);
    lab.free_slot(0, 3);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!((lab.slot(0, SINT).3, lab.slot(0, 3).3), (2, 0x12));
    assert_eq!(lab.interrupts(0), [VECTOR, 0xA3]);
}

/// B11.012: a message has the payload that its size says; what an older and longer one left behind it in the slot is none of it.
#[test]
fn a_short_message_follows_a_long_one() {
    let mut lab = lab(1, 0);
    let port = lab.partition.create_guest_port(PortKind::Message, VpIndex(0), sint(SINT)).unwrap();
    assert_eq!(port.post_message(MessageType(1), &[0xEE; 240]), HvStatus::SUCCESS);
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(port.post_message(MessageType(2), &[1, 2, 3, 4]), HvStatus::SUCCESS);
    assert_eq!(lab.slot(0, SINT), (2, 4, false, 0x0403_0201));
    let behind = lab.read_u32(Lab::message_page(0) + 256 * u64::from(SINT) + 20);
    assert!([0, 0xEEEE_EEEE].contains(&behind), "{behind:#x}");
}

/// B11.001, B11.015: messages and events interrupt as fixed interrupts do: when flags and priorities let them.
#[test]
fn priorities_hold_back_what_is_delivered() {
    let mut lab = lab(1, 0);
    lab.write_msr(0, msr::TPR, 0xB0).unwrap();
    assert_eq!(post(&mut lab, 0, CONNECTION, 1), HvStatus::SUCCESS);
    assert_eq!(lab.slot(0, SINT).3, 1, "the message is there");
    assert!(lab.interrupts(0).is_empty(), "the interrupt is not above the priority");
    lab.write_msr(0, msr::TPR, 0xA0).unwrap();
    assert!(!lab.pass(0).iter().any(|deed| matches!(deed, Deed::Injected(_))), "interrupts are off");
    assert_eq!(lab.interrupts(0), [VECTOR]);
    assert_eq!(signal(&mut lab, 0, 0x20, 0), HvStatus::SUCCESS);
    assert!(lab.interrupts(0).is_empty(), "0xB0 is in service");
    lab.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!(lab.interrupts(0), [VECTOR]);
}

/// B11.013: a software-disabled local APIC loses the interrupt, and the message is delivered all the same.
#[test]
fn a_disabled_local_apic_loses_the_interrupt() {
    let mut lab = lab(1, 0);
    lab.write_msr(0, 0x1B, 0xFEE0_0D00).unwrap();
    lab.write_msr(0, 0x80F, 0xFF).unwrap();
    assert_eq!(post(&mut lab, 0, CONNECTION, 1), HvStatus::SUCCESS);
    assert_eq!(lab.slot(0, SINT).3, 1);
    lab.write_msr(0, 0x80F, 0x1FF).unwrap();
    assert!(lab.interrupts(0).is_empty());
}

/// B11.049, B11.020: pages lie in memory that every VP sees. A VP that takes its messages in the order of TLFS 11.4.1, while another posts as fast as it can, loses none.
#[test]
fn no_message_is_lost_under_load() {
    const MESSAGES: u32 = 500;
    let mut lab = lab(1, 0);
    let port = lab.partition.create_guest_port(PortKind::Message, VpIndex(0), sint(SINT)).unwrap();
    let patience = Patience::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for word in 0..MESSAGES {
                while port.post_message(MessageType(1), &word.to_le_bytes()) != HvStatus::SUCCESS {
                    patience.go_on();
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < MESSAGES {
            if lab.interrupts(0).is_empty() {
                patience.go_on();
                std::thread::yield_now();
                continue;
            }
            let (kind, _, _, word) = lab.slot(0, SINT);
            assert_eq!((kind, word), (1, expected), "in order, and none missing");
            lab.free_slot(0, SINT);
            lab.write_msr(0, msr::EOI, 0).unwrap();
            expected += 1;
        }
    });
    assert_eq!(lab.slot(0, SINT).0, 0);
}

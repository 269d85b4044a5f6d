// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports, connections and the buffers of messages (TLFS 11.3, 11.6, 11.10.6, 11.10.7).

use tlfs::hypercall::CallCode;
use tlfs::msr;
use tlfs::synic::{MessageType, PortId};
use tlfs::vp::VpIndex;

use super::*;
use crate::{GuestTarget, Port, PortError, PortKind, PortOwner};

const SINT: u8 = 4;
const VECTOR: u8 = 0x71;

/// A lab with SynICs enabled and SINT 4 of each VP on vector 0x71.
fn lab(vp_count: u32) -> Lab {
    let mut lab = Lab::new(vp_count);
    for vp in 0..vp_count as usize {
        lab.enable_synic(vp);
        lab.write_msr(vp, msr::SINT4, VECTOR.into()).unwrap();
    }
    lab
}

fn message_port(lab: &Lab, vp: VpIndex) -> Arc<Port> {
    lab.partition.create_guest_port(PortKind::Message, vp, sint(SINT)).unwrap()
}

fn post(port: &Port, word: u32) -> HvStatus {
    port.post_message(MessageType(1), &word.to_le_bytes())
}

/// Everything that is delivered at a SINT of a VP, by word, freeing the slot each time.
fn drain(lab: &mut Lab, vp: usize) -> Vec<u32> {
    let mut words = Vec::new();
    while lab.slot(vp, SINT).0 != 0 {
        words.push(lab.slot(vp, SINT).3);
        lab.free_slot(vp, SINT);
        lab.write_msr(vp, msr::EOM, 0).unwrap();
    }
    words
}

/// B11.007: breaking a connection drops nothing; deleting the port frees what is queued, and leaves what is in the slot. Messages of other ports
/// stay queued in their order.
#[test]
fn deleting_a_port_frees_what_is_queued() {
    let mut lab = lab(1);
    let (port, other) = (message_port(&lab, VpIndex(0)), message_port(&lab, VpIndex(0)));
    lab.partition.connect(1, &port).unwrap();
    for word in 0..4 {
        assert_eq!((post(&port, word), post(&other, 0x100 + word)), (HvStatus::SUCCESS, HvStatus::SUCCESS));
    }
    assert!(lab.partition.disconnect(1));
    assert_eq!(lab.slot(0, SINT).3, 0);
    lab.free_slot(0, SINT);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(lab.slot(0, SINT).3, 0x100, "the connection is gone, the messages are not");
    lab.partition.delete_port(&port);
    assert_eq!(drain(&mut lab, 0), [0x100, 0x101, 0x102, 0x103]);
    assert_eq!(post(&port, 9), HvStatus::INVALID_PORT_ID);
}

/// B11.006: a reset VP has empty queues, and the buffers of what was in them are free.
#[test]
fn a_reset_empties_the_queues() {
    let mut lab = lab(1);
    let port = message_port(&lab, VpIndex(0));
    for word in 0..17 {
        assert_eq!(post(&port, word), HvStatus::SUCCESS);
    }
    assert_eq!(post(&port, 17), HvStatus::INSUFFICIENT_BUFFERS);
    lab.partition.reset();
    lab.vps[0].reset();
    lab.start(0);
    lab.enable_synic(0);
    assert_eq!(lab.read_msr(0, msr::SINT4), Ok(0x1_0000));
    assert!(drain(&mut lab, 0).is_empty());
    for word in 0..17 {
        assert_eq!(post(&port, word), HvStatus::SUCCESS, "{word}");
    }
}

/// B11.008: what is posted to one VP arrives in the order in which it was posted, also from two threads as far as each goes.
#[test]
fn messages_keep_their_order() {
    let mut lab = lab(1);
    let (one, two) = (message_port(&lab, VpIndex(0)), message_port(&lab, VpIndex(0)));
    std::thread::scope(|scope| {
        for (port, base) in [(&one, 0), (&two, 0x100)] {
            scope.spawn(move || {
                (0..8).for_each(|word| assert_eq!(post(port, base + word), HvStatus::SUCCESS))
            });
        }
    });
    let words = drain(&mut lab, 0);
    assert_eq!(words.len(), 16);
    for base in [0, 0x100] {
        let own: Vec<u32> = words.iter().copied().filter(|word| word & 0x100 == base).collect();
        assert_eq!(own, (base..base + 8).collect::<Vec<_>>());
    }
}

/// B11.019: which VP a message for any VP goes to is settled when it is queued: switching its SynIC off afterwards does not send it elsewhere.
#[test]
fn any_vp_is_chosen_when_the_message_is_queued() {
    let mut lab = lab(2);
    let port = message_port(&lab, VpIndex::ANY);
    assert_eq!((post(&port, 1), post(&port, 2)), (HvStatus::SUCCESS, HvStatus::SUCCESS));
    lab.write_msr(0, msr::SCONTROL, 0).unwrap();
    assert_eq!(post(&port, 3), HvStatus::SUCCESS);
    assert_eq!(drain(&mut lab, 1), [3], "VP 0 is no target any more");
    lab.write_msr(0, msr::SCONTROL, 1).unwrap();
    assert_eq!(drain(&mut lab, 0), [1, 2]);
    lab.write_msr(0, msr::SIMP, 0).unwrap();
    lab.write_msr(1, msr::SIMP, 0).unwrap();
    assert_eq!(post(&port, 4), HvStatus::INVALID_SYNIC_STATE);
}

/// B11.055, B11.018: ids of ports have 24 bits, are the port's alone while it exists, and are what its messages say they come from.
#[test]
fn port_ids_are_unique_and_have_24_bits() {
    let mut lab = lab(1);
    let owner = || PortOwner::Guest(GuestTarget { vp: VpIndex(0), vtl: Vtl::VTL0, sint: sint(SINT) });
    let create = |id| lab.partition.create_port_with_id(id, PortKind::Message, owner());
    let port = create(0xFF_FFFF).unwrap();
    for id in [0, 1 << 24, 0xFF_FFFF, u32::MAX] {
        let error = create(id).err().unwrap();
        assert_eq!((error, error.status()), (PortError::PortId(id), HvStatus::INVALID_PORT_ID));
    }
    let second = create(2).unwrap();
    let ids: Vec<u32> = (0..3).map(|_| message_port(&lab, VpIndex(0)).id().into_bits()).collect();
    assert_eq!(ids, [1, 3, 4]);
    lab.partition.delete_port(&second);
    assert_eq!(lab.partition.port(PortId::from_bits(2)).map(|port| port.id()), None);
    assert_eq!(message_port(&lab, VpIndex(0)).id().into_bits(), 5, "not an old one at once");
    assert_eq!(post(&port, 7), HvStatus::SUCCESS);
    let header = Lab::message_page(0) + 256 * u64::from(SINT);
    assert_eq!((lab.read_u32(header + 8), lab.read_u32(header + 12)), (0xFF_FFFF, 0));
    assert_eq!(drain(&mut lab, 0), [7]);
}

/// B11.056, B11.030: a connection is a number of 24 bits that leads to one port, in this partition or another.
#[test]
fn a_connection_leads_to_a_port_of_another_partition() {
    let (mut receiver, mut sender) = (lab(1), Lab::new(1));
    sender.enable_hypercalls(0x5000);
    let event = PortKind::Event { base_flag: 8, flag_count: 4 };
    let port = receiver.partition.create_guest_port(event, VpIndex(0), sint(SINT)).unwrap();
    sender.partition.connect(0xFF_FFFF, &port).unwrap();
    for id in [1 << 24, 0xFF_FFFF] {
        let error = sender.partition.connect(id, &port).err().unwrap();
        assert_eq!((error, error.status()), (PortError::ConnectionId(id), HvStatus::INVALID_CONNECTION_ID));
    }
    let signal = |lab: &mut Lab| lab.call(0, Lab::fast(CallCode::SIGNAL_EVENT), 0xFF_FFFF | 1 << 32, 0);
    assert_eq!(signal(&mut sender), HvStatus::SUCCESS);
    assert_eq!(receiver.read_u32(Lab::event_flags_page(0) + 256 * u64::from(SINT)), 1 << 9);
    assert_eq!(receiver.interrupts(0), [VECTOR]);
    assert!(sender.interrupts(0).is_empty());
    // A partition that is gone receives nothing (TLFS 11.11.2).
    drop(receiver);
    assert_eq!(signal(&mut sender), HvStatus::INVALID_PORT_ID);
}

/// B11.029: a signal takes no resources, however often it comes and whether or not anyone takes the flag.
#[test]
fn signalling_needs_no_resources() {
    let lab = lab(1);
    let event = PortKind::Event { base_flag: 0, flag_count: 2048 };
    let port = lab.partition.create_guest_port(event, VpIndex(0), sint(SINT)).unwrap();
    for count in 0..100_000u32 {
        assert_eq!(port.signal_event((count % 2048) as u16), HvStatus::SUCCESS);
    }
    assert_eq!(port.signal_event(2048), HvStatus::INVALID_PARAMETER);
}

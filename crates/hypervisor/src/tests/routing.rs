// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which VPs an interrupt message reaches, and whether it was lost on them.

use x86::apic::DeliveryMode;

use super::*;
use crate::local_apic::{Destination, InterruptMessage};

fn message(delivery_mode: DeliveryMode, destination: Destination) -> InterruptMessage {
    InterruptMessage { destination, delivery_mode, vector: 0x40, level_triggered: false }
}

/// The VPs at which a vector is requested.
fn reached(lab: &Lab, vector: u8) -> Vec<u32> {
    let requested = |vp: &u32| lab.partition.vp(*vp).state().vtl(Vtl::VTL0).apic.requested().contains(vector);
    (0..lab.partition.vp_count()).filter(requested).collect()
}

/// An interrupt that merges with one that is pending is lost; it is not as long as one VP takes it.
#[test]
fn who_sends_learns_whether_it_was_lost() {
    let mut lab = Lab::new(3);
    let fixed = |destination| message(DeliveryMode::Fixed, destination);
    assert!(lab.partition.deliver(fixed(Destination::Physical(1))));
    assert!(!lab.partition.deliver(fixed(Destination::Physical(1))));
    assert!(lab.partition.deliver(fixed(Destination::All)), "the other two had none");
    assert!(!lab.partition.deliver(fixed(Destination::All)));
    assert!(
        lab.partition.deliver(fixed(Destination::Physical(7))),
        "whom it does not reach it is not lost on"
    );
    assert_eq!(lab.interrupts(1), [0x40]);
    assert!(lab.partition.deliver(fixed(Destination::Physical(1))), "the last one is in service");
    for _ in 0..2 {
        assert!(lab.partition.deliver(message(DeliveryMode::Nmi, Destination::Physical(1))));
    }
    // A vector means nothing to an NMI.
    assert!(lab.pass(1).contains(&Deed::Injected(Event::Nmi)));
    let mut lab = Lab::new(2);
    let lowest = message(DeliveryMode::LowestPriority, Destination::All);
    lab.write_msr(0, msr::TPR, 0x80).unwrap();
    assert!(lab.partition.deliver(lowest));
    assert_eq!(reached(&lab, 0x40), [1]);
    assert!(!lab.partition.deliver(lowest), "VP 1 is still the one");
    lab.write_msr(1, msr::TPR, 0x90).unwrap();
    assert!(lab.partition.deliver(lowest));
    assert_eq!(reached(&lab, 0x40), [0, 1]);
    assert!(lab.partition.deliver(message(DeliveryMode::LowestPriority, Destination::Physical(9))));
}

#[test]
fn shorthands_know_who_sends() {
    for (destination, expected) in [
        (Destination::SelfOnly, vec![1]),
        (Destination::AllButSelf, vec![0, 2]),
        (Destination::All, vec![0, 1, 2]),
        (Destination::Physical(2), vec![2]),
        (Destination::Physical(3), vec![]),
    ] {
        for mode in [DeliveryMode::Fixed, DeliveryMode::LowestPriority] {
            let lab = Lab::new(3);
            lab.partition.route(Some(1), Vtl::VTL0, message(mode, destination));
            let expected =
                if mode == DeliveryMode::Fixed { &expected[..] } else { &expected[..expected.len().min(1)] };
            assert_eq!(reached(&lab, 0x40), expected, "{destination:?} {mode:?}");
        }
    }
    let lab = Lab::new(2);
    lab.partition.deliver(message(DeliveryMode::Fixed, Destination::SelfOnly));
    assert!(reached(&lab, 0x40).is_empty(), "a device has no self");
}

/// In xAPIC mode an id has eight bits, and all that share them are meant.
#[test]
fn ids_of_many_vps_go_round() {
    let mut lab = Lab::configured(PartitionConfig { vp_count: 258, x2apic: true, ..Default::default() });
    lab.partition.deliver(message(DeliveryMode::Fixed, Destination::Physical(1)));
    assert_eq!(reached(&lab, 0x40), [1, 257]);
    lab.write_msr(257, 0x1B, 0xFEE0_0C00).unwrap();
    let second =
        InterruptMessage { vector: 0x41, ..message(DeliveryMode::Fixed, Destination::Physical(257)) };
    lab.partition.deliver(second);
    assert_eq!(reached(&lab, 0x41), [257]);
}

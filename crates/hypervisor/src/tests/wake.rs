// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who wakes whom when an interrupt goes to many VPs that sleep.

use std::sync::Mutex;

use x86::apic::DeliveryMode;

use super::*;
use crate::local_apic::InterruptMessage;

/// A lab whose VPs sleep, each with a waker that notes its index.
fn sleeping(vp_count: u32, wakes_at_once: u32) -> (Lab, Arc<Mutex<Vec<u32>>>) {
    let mut lab = Lab::configured(PartitionConfig { vp_count, wakes_at_once, ..Default::default() });
    let woken = Arc::new(Mutex::new(Vec::new()));
    for vp in 0..vp_count {
        let woken = Arc::clone(&woken);
        lab.partition.vp(vp).set_waker(Box::new(move || woken.lock().unwrap().push(vp)));
        lab.engine.push(vp, ExitReason::Halt);
        assert!(matches!(lab.vps[vp as usize].run(None), VpExit::Idle { .. }));
    }
    (lab, woken)
}

fn to_all(lab: &Lab, vector: u8) {
    lab.partition.deliver(InterruptMessage::from_device(DeliveryMode::Fixed, vector, 0xFF, false, false));
}

fn taken(woken: &Mutex<Vec<u32>>) -> Vec<u32> {
    std::mem::take(&mut woken.lock().unwrap())
}

/// The sender wakes two; each of these wakes two of those that are left before it runs, until none is.
#[test]
fn each_that_wakes_wakes_two_more() {
    let (mut lab, woken) = sleeping(8, 2);
    to_all(&lab, 0x40);
    assert_eq!(taken(&woken), [0, 1]);
    assert_eq!((lab.interrupts(1), taken(&woken)), (vec![0x40], vec![2, 3]));
    // One that wakes by itself need not be woken, and wakes others all the same.
    assert_eq!((lab.interrupts(5), taken(&woken)), (vec![0x40], vec![4, 6]));
    assert_eq!((lab.interrupts(0), taken(&woken)), (vec![0x40], vec![7]));
    for vp in [2, 3, 4, 6, 7] {
        assert_eq!((lab.interrupts(vp), taken(&woken)), (vec![0x40], vec![]), "VP {vp}");
    }
}

#[test]
fn a_sender_may_wake_all_itself() {
    let (mut lab, woken) = sleeping(5, u32::MAX);
    to_all(&lab, 0x40);
    assert_eq!(taken(&woken), [0, 1, 2, 3, 4]);
    assert_eq!((lab.interrupts(2), taken(&woken)), (vec![0x40], vec![]));
    to_all(&lab, 0x41);
    assert_eq!(taken(&woken), [0, 1, 3, 4], "VP 2 is awake");
}

/// An interrupt of lowest priority goes to one VP, and wakes it alone; so does one that a device sends to one.
#[test]
fn only_those_that_are_meant_are_woken() {
    let (lab, woken) = sleeping(4, 2);
    let message = |mode, destination| InterruptMessage::from_device(mode, 0x40, destination, false, false);
    assert!(lab.partition.deliver(message(DeliveryMode::Fixed, 3)));
    assert_eq!(taken(&woken), [3]);
    lab.partition.vp(0).state().vtl(Vtl::VTL0).apic.set_tpr(0x20);
    assert!(lab.partition.deliver(message(DeliveryMode::LowestPriority, 0xFF)));
    assert_eq!(taken(&woken), [1]);
    assert!(!lab.partition.deliver(message(DeliveryMode::Fixed, 3)), "it has that one already");
}

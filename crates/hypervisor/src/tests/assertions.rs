// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual interrupts that the host program asserts as the partition's parent (TLFS 10.3, 10.5.1).

use engine::ExitReason;
use engine::SegmentName;
use tlfs::interrupt::{InterruptControl, InterruptType, InterruptVector};
use tlfs::msr;

use super::*;

const NONE: u32 = InterruptVector::NONE.0;

fn control(kind: InterruptType) -> InterruptControl {
    InterruptControl::new().with_interrupt_type(kind)
}

fn level(kind: InterruptType) -> InterruptControl {
    control(kind).with_level_triggered(true)
}

fn assert(lab: &Lab, control: InterruptControl, destination: u64, vector: u32) -> HvStatus {
    lab.partition.assert_virtual_interrupt(control, destination, InterruptVector(vector), Vtl::VTL0)
}

fn requested(lab: &Lab, vp: u32, vector: u8) -> bool {
    lab.partition.vp(vp).state().vtl(Vtl::VTL0).apic.requested().contains(vector)
}

const OK: HvStatus = HvStatus::SUCCESS;

/// B10.017, B10.021, B10.016: an edge is latched and cannot be taken back; a level can, until it is acknowledged.
#[test]
fn a_level_is_withdrawn_and_an_edge_is_not() {
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::TPR, 0xFF).unwrap();
    assert_eq!(assert(&lab, control(InterruptType::FIXED), 0, 0x40), OK);
    assert_eq!(assert(&lab, control(InterruptType::FIXED), 0, NONE), OK);
    assert!(requested(&lab, 0, 0x40));
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, 0x50), OK);
    assert!(requested(&lab, 0, 0x50));
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, NONE), OK);
    assert!(!requested(&lab, 0, 0x50));
    lab.write_msr(0, msr::TPR, 0).unwrap();
    assert_eq!(lab.interrupts(0), [0x40]);
    assert!(lab.interrupts(0).is_empty());
}

/// B10.017: so it is with lowest priority.
#[test]
fn an_edge_of_lowest_priority_is_latched_too() {
    let mut lab = Lab::new(1);
    assert_eq!(assert(&lab, control(InterruptType::LOWEST_PRIORITY), 0, 0x40), OK);
    assert_eq!(assert(&lab, control(InterruptType::LOWEST_PRIORITY), 0, NONE), OK);
    assert_eq!(assert(&lab, level(InterruptType::LOWEST_PRIORITY), 0, NONE), OK);
    assert_eq!(lab.interrupts(0), [0x40]);
}

/// What was acknowledged is over: the same vector of a device that comes after it is not the parent's to take back.
#[test]
fn a_parent_withdraws_only_what_is_its_own() {
    use crate::local_apic::InterruptMessage;
    let mut lab = Lab::new(1);
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, 0x50), OK);
    assert_eq!(lab.interrupts(0), [0x50]);
    let device = InterruptMessage::from_device(x86::apic::DeliveryMode::Fixed, 0x50, 0, false, true);
    assert!(lab.partition.deliver(device));
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, NONE), OK);
    lab.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!(lab.interrupts(0), [0x50]);
}

/// B10.036: before it is acknowledged a second level supersedes the first; afterwards it is a new one.
#[test]
fn a_second_level_supersedes_the_first() {
    let mut lab = Lab::new(1);
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, 0x60), OK);
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, 0x50), OK);
    // Another type is another assertion.
    assert_eq!(assert(&lab, level(InterruptType::LOWEST_PRIORITY), 0, 0x48), OK);
    assert_eq!(lab.interrupts(0), [0x50], "and not 0x60");
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, 0x70), OK);
    assert_eq!(lab.interrupts(0), [0x70], "0x50 is in service");
    lab.write_msr(0, msr::EOI, 0).unwrap();
    // What was acknowledged is not taken back.
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, NONE), OK);
    lab.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!(lab.interrupts(0), [0x48]);
}

/// B10.018: an external interrupt goes to VP 0 alone, whatever its priority and with its local APIC off, and no second one comes before the first is cleared.
#[test]
fn an_external_interrupt_is_cleared_before_the_next() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, 0x1B, 0xFEE0_0D00).unwrap();
    lab.write_msr(0, 0x80F, 0xFF).unwrap();
    lab.write_msr(0, 0x808, 0xFF).unwrap();
    let ext_int = control(InterruptType::EXT_INT);
    assert_eq!(lab.partition.clear_virtual_interrupt(Vtl::VTL0), HvStatus::NOT_ACKNOWLEDGED);
    assert_eq!(assert(&lab, ext_int, 0, 0x08), OK);
    assert!(lab.pass(0).is_empty(), "interrupts are off");
    // Not acknowledged yet: another vector, or none at all.
    assert_eq!(assert(&lab, ext_int, 0, NONE), OK);
    assert!(lab.interrupts(0).is_empty());
    assert_eq!(assert(&lab, ext_int, 0, 0x09), OK);
    assert_eq!(assert(&lab, ext_int, 0, 0x0A), OK);
    assert_eq!((lab.interrupts(1), lab.interrupts(0)), (vec![], vec![0x0A]));
    assert!(lab.interrupts(0).is_empty());
    assert_eq!(assert(&lab, ext_int, 0, 0x0B), HvStatus::ACKNOWLEDGED);
    assert_eq!(assert(&lab, ext_int, 0, NONE), HvStatus::ACKNOWLEDGED);
    assert_eq!(lab.partition.clear_virtual_interrupt(Vtl::VTL0), OK);
    assert_eq!(lab.partition.clear_virtual_interrupt(Vtl::VTL0), HvStatus::NOT_ACKNOWLEDGED);
    assert_eq!(assert(&lab, ext_int, 0, 0x0B), OK);
    assert_eq!(lab.interrupts(0), [0x0B]);
    assert_eq!(lab.partition.vp(0).state().vtl(Vtl::VTL0).apic.serving(), None);
}

/// B10.018: an external interrupt wakes a VP that is halted.
#[test]
fn an_external_interrupt_wakes_from_hlt() {
    let mut lab = Lab::new(1);
    lab.set_interrupts(0, true);
    lab.engine.push(0, ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    assert_eq!(assert(&lab, control(InterruptType::EXT_INT), 0, 0x30), OK);
    assert_eq!(lab.interrupts(0), [0x30]);
}

/// B10.016, B10.019: NMI, INIT and start-up have their effect, each once.
#[test]
fn other_types_have_their_effect() {
    let mut lab = Lab::new(2);
    assert_eq!(assert(&lab, control(InterruptType::NMI), 1, 0), OK);
    assert!(lab.pass(1).contains(&Deed::Injected(Event::Nmi)));
    assert_eq!(assert(&lab, control(InterruptType::SIPI), 1, 0x12), OK);
    lab.pass(1);
    assert_ne!(lab.vps[1].registers().segment(SegmentName::Cs).base, 0x1_2000, "it does not wait for one");
    assert_eq!(assert(&lab, control(InterruptType::INIT), 1, 0), OK);
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None });
    assert_eq!(assert(&lab, control(InterruptType::SIPI), 1, NONE), OK);
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None }, "no vector, no start-up");
    assert_eq!(assert(&lab, control(InterruptType::SIPI), 1, 0x12), OK);
    lab.pass(1);
    assert_eq!(lab.vps[1].registers().segment(SegmentName::Cs).base, 0x1_2000);
}

/// B10.020: a level of lowest priority is the one VP's that has it, wherever it went before.
#[test]
fn lowest_priority_levels_move() {
    let mut lab = Lab::new(2);
    for vp in 0..2 {
        // Logical id, flat: bit n is VP n.
        let deeds = lab.play(vp, page_write(0xD0, 1 << (24 + vp)));
        assert_eq!(deeds, [Deed::Resumed(Resume::Complete(0))]);
    }
    let both = level(InterruptType::LOWEST_PRIORITY).with_logical_dest_mode(true);
    lab.write_msr(0, msr::TPR, 0x20).unwrap();
    assert_eq!(assert(&lab, both, 0b11, 0x80), OK);
    assert_eq!((requested(&lab, 0, 0x80), requested(&lab, 1, 0x80)), (false, true));
    lab.write_msr(1, msr::TPR, 0x30).unwrap();
    assert_eq!(assert(&lab, both, 0b11, 0x81), OK);
    assert_eq!(
        (requested(&lab, 0, 0x81), requested(&lab, 1, 0x81), requested(&lab, 1, 0x80)),
        (true, false, false)
    );
    assert_eq!(assert(&lab, both, 0b11, NONE), OK);
    assert_eq!((lab.interrupts(0), lab.interrupts(1)), (vec![], vec![]));
}

/// B10.037: a logical destination is everyone whose logical id matches, flat, in clusters, or in the clusters of x2APIC mode.
#[test]
fn logical_destinations_reach_their_sets() {
    let mut lab = Lab::new(3);
    let fixed = control(InterruptType::FIXED).with_logical_dest_mode(true);
    let reached = |lab: &mut Lab| [0, 1, 2].map(|vp| !lab.interrupts(vp).is_empty());
    let end = |lab: &mut Lab| (0..3).for_each(|vp| lab.write_msr(vp, msr::EOI, 0).unwrap());
    // Flat.
    (0..3).for_each(|vp| drop(lab.play(vp, page_write(0xD0, 1 << (24 + vp)))));
    assert_eq!(assert(&lab, fixed, 0b101, 0x40), OK);
    assert_eq!(reached(&mut lab), [true, false, true]);
    end(&mut lab);
    assert_eq!(assert(&lab, fixed, 0b1000, 0x40), HvStatus::INVALID_VP_INDEX);
    // Clusters 1, 1, 2.
    for (vp, id) in [(0, 0x11), (1, 0x12), (2, 0x21)] {
        lab.play(vp, page_write(0xE0, 0));
        lab.play(vp, page_write(0xD0, id << 24));
    }
    assert_eq!(assert(&lab, fixed, 0x13, 0x40), OK);
    assert_eq!(reached(&mut lab), [true, true, false]);
    end(&mut lab);
    assert_eq!(assert(&lab, fixed, 0xF1, 0x40), OK);
    assert_eq!(reached(&mut lab), [true, false, true]);
    end(&mut lab);
    // x2APIC: cluster 0, bit n is APIC id n.
    for vp in 0..3 {
        let base = lab.read_msr(vp, 0x1B).unwrap();
        lab.write_msr(vp, 0x1B, base | 0x400).unwrap();
    }
    assert_eq!(assert(&lab, fixed, 0b110, 0x40), OK);
    assert_eq!(reached(&mut lab), [false, true, true]);
    assert_eq!(assert(&lab, fixed, 0x1_0001, 0x40), HvStatus::INVALID_VP_INDEX);
}

/// B10.022, B10.031, B10.032, B10.033, B10.037: what the call refuses, and that it does nothing then.
#[test]
fn what_makes_no_sense_is_refused() {
    let mut lab = Lab::new(2);
    let fixed = control(InterruptType::FIXED);
    let invalid = HvStatus::INVALID_PARAMETER;
    for kind in [3, 8, 0xFFFF_FFFF] {
        assert_eq!(assert(&lab, control(InterruptType(kind)), 0, 0x40), invalid, "type {kind}");
    }
    for kind in [InterruptType::NMI, InterruptType::INIT, InterruptType::SMI] {
        for vector in [1, 0x40, NONE] {
            assert_eq!(assert(&lab, control(kind), 0, vector), invalid, "{kind:?} {vector:#x}");
        }
    }
    assert_eq!(assert(&lab, control(InterruptType::SMI), 0, 0), HvStatus::OPERATION_DENIED);
    for bit in [34, 63] {
        let reserved = InterruptControl::from_bits(1 << bit);
        assert_eq!(assert(&lab, reserved, 0, 0x40), invalid);
    }
    for vector in [256, 0xFFFF_FFFE] {
        assert_eq!(assert(&lab, fixed, 0, vector), invalid, "{vector:#x}");
    }
    assert_eq!(assert(&lab, fixed, 2, 0x40), HvStatus::INVALID_VP_INDEX);
    assert_eq!(assert(&lab, fixed, 1 << 32, 0x40), invalid);
    assert_eq!(assert(&lab, control(InterruptType::EXT_INT), 1, 0x40), invalid);
    let elsewhere = |control, vector| lab.partition.assert_virtual_interrupt(control, 0, vector, Vtl(1));
    for control in [fixed, control(InterruptType::EXT_INT)] {
        assert_eq!(elsewhere(control, InterruptVector(0x40)), HvStatus::INVALID_VTL_STATE);
    }
    assert_eq!(lab.partition.clear_virtual_interrupt(Vtl(1)), HvStatus::INVALID_VTL_STATE);
    for vp in 0..2 {
        assert!(lab.interrupts(vp).is_empty());
    }
    assert_eq!((assert(&lab, fixed, 0, 0), assert(&lab, fixed, 0, 255)), (OK, OK));
    assert_eq!(lab.interrupts(0), [255], "vectors below 16 are none that an APIC accepts");
}

/// B10.017: once the vector is requested as an edge, too, it is latched.
#[test]
fn an_edge_latches_what_was_a_level() {
    let mut lab = Lab::new(1);
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, 0x40), OK);
    assert_eq!(assert(&lab, control(InterruptType::FIXED), 0, 0x40), OK);
    assert_eq!(assert(&lab, level(InterruptType::FIXED), 0, NONE), OK);
    assert_eq!(lab.interrupts(0), [0x40]);
}

/// Whoever sleeps is woken for what is asserted, and a reset withdraws it.
#[test]
fn assertions_wake_and_a_reset_withdraws_them() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let mut lab = Lab::new(1);
    let wakes = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&wakes);
    lab.partition.vp(0).set_waker(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    lab.engine.push(0, ExitReason::Halt);
    for (count, kind) in (1..).zip([InterruptType::FIXED, InterruptType::EXT_INT]) {
        assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None }, "interrupts are off");
        assert_eq!(assert(&lab, level(kind), 0, 0x40), OK);
        assert_eq!(wakes.load(Ordering::SeqCst), count, "{kind:?}");
    }
    lab.vps[0].reset();
    lab.start(0);
    assert!(lab.interrupts(0).is_empty());
    assert_eq!(lab.partition.clear_virtual_interrupt(Vtl::VTL0), HvStatus::NOT_ACKNOWLEDGED);
}

/// B10.038: only the parent asserts interrupts: the guest that calls is refused, whatever it asks for, and nothing comes of it.
#[test]
fn a_guest_asserts_nothing() {
    use tlfs::hypercall::CallCode;
    const INPUT_PAGE: u64 = 0x8000;
    let mut lab = Lab::new(1);
    lab.enable_hypercalls(0x5000);
    // A fixed interrupt, vector 0x40, to APIC id 0 of its own partition; and one that makes no sense.
    for partition in [u64::MAX, 1, 0] {
        for (offset, value) in [(0, partition), (8, 0), (16, 0), (24, 0x40)] {
            lab.space.write_value::<8>(ViewId(0), INPUT_PAGE + offset, value, memory::Rights::WRITE).unwrap();
        }
        let control = InputValue::new().with_call_code(CallCode::ASSERT_VIRTUAL_INTERRUPT);
        assert_eq!(lab.call(0, control, INPUT_PAGE, 0), HvStatus::ACCESS_DENIED, "{partition:#x}");
    }
    assert!(lab.interrupts(0).is_empty());
}

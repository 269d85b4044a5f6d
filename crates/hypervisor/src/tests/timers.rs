// SPDX-License-Identifier: MIT OR Apache-2.0
//! Synthetic timers and the local APIC's timer, from the register to the interrupt (TLFS 12).

use engine::ExitReason;
use tlfs::msr;

use super::*;
use crate::VpExit;

const ENABLE: u64 = 1;
const PERIODIC: u64 = 2;
const AUTO_ENABLE: u64 = 8;
const DIRECT: u64 = 1 << 12;
const VECTOR: u8 = 0xF3;

const fn direct(bits: u64) -> u64 {
    DIRECT | (VECTOR as u64) << 4 | bits
}

const fn on_sint(sint: u64, bits: u64) -> u64 {
    sint << 16 | bits
}

fn timer_slot(lab: &Lab, sint: u8) -> (u32, u64, u64) {
    let payload = Lab::message_page(0) + 256 * u64::from(sint) + 16;
    let word = |offset| {
        u64::from(lab.read_u32(payload + offset)) | u64::from(lab.read_u32(payload + offset + 4)) << 32
    };
    (lab.read_u32(payload), word(8), word(16))
}

/// B12.010, B12.012, B12.018, B12.020, B12.027: a direct timer raises its vector at its time, SynIC or not, and is then disabled.
#[test]
fn a_direct_timer_raises_its_vector() {
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::STIMER0_CONFIG, direct(AUTO_ENABLE)).unwrap();
    lab.write_msr(0, msr::STIMER0_COUNT, 1000).unwrap();
    assert_eq!(lab.read_msr(0, msr::STIMER0_CONFIG), Ok(direct(AUTO_ENABLE | ENABLE)));
    lab.advance(999);
    assert!(lab.interrupts(0).is_empty(), "B12.006: not before its time");
    lab.advance(1);
    assert_eq!(lab.interrupts(0), [VECTOR]);
    assert_eq!(lab.read_msr(0, msr::STIMER0_CONFIG), Ok(direct(AUTO_ENABLE)));
    assert_eq!(lab.read_msr(0, msr::STIMER0_COUNT), Ok(1000));
    assert_eq!(lab.vps[0].statistics().unwrap().direct_timers(), 1);
}

/// B12.022: a time that is past expires at once.
#[test]
fn a_time_in_the_past_expires_at_once() {
    let mut lab = Lab::new(1);
    lab.advance(5000);
    lab.write_msr(0, msr::STIMER1_COUNT, 1).unwrap();
    lab.write_msr(0, msr::STIMER1_CONFIG, direct(ENABLE)).unwrap();
    assert_eq!(lab.interrupts(0), [VECTOR]);
}

/// B12.006, B11.009, B13.001, B13.008: the message of a timer says which, when it was due and when it was delivered.
#[test]
fn a_message_timer_fills_the_slot_of_its_source() {
    let mut lab = Lab::new(1);
    lab.enable_synic(0);
    lab.write_msr(0, msr::SINT3, 0xF2).unwrap();
    lab.write_msr(0, msr::STIMER2_COUNT, 300).unwrap();
    lab.write_msr(0, msr::STIMER2_CONFIG, on_sint(3, ENABLE)).unwrap();
    lab.advance(310);
    assert_eq!(lab.interrupts(0), [0xF2]);
    assert_eq!(lab.slot(0, 3), (0x8000_0010, 24, false, 2));
    assert_eq!(timer_slot(&lab, 3), (2, 300, 310));
    assert_eq!(lab.read_u32(Lab::message_page(0) + 3 * 256 + 8), 0, "the sender is nobody");
}

/// B12.016, B11.003, B11.053: while a timer's message waits for the slot no second one is made; it comes after EOM with the time of its delivery.
#[test]
fn a_timer_whose_message_waits_sends_no_second() {
    let mut lab = Lab::new(1);
    lab.enable_synic(0);
    lab.write_msr(0, msr::SINT2, 0xF1).unwrap();
    lab.write_u32(Lab::message_page(0) + 2 * 256, 1);
    lab.write_msr(0, msr::STIMER0_COUNT, 10_000).unwrap();
    lab.write_msr(0, msr::STIMER0_CONFIG, on_sint(2, ENABLE | PERIODIC)).unwrap();
    for _ in 0..5 {
        lab.advance(10_000);
        assert!(lab.interrupts(0).is_empty());
    }
    assert_eq!((lab.slot(0, 2).0, lab.slot(0, 2).2), (1, true));
    lab.free_slot(0, 2);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(timer_slot(&lab, 2), (0, 10_000, 50_000));
    assert_eq!(lab.interrupts(0), [0xF1]);
    lab.write_msr(0, msr::EOI, 0).unwrap();
    lab.free_slot(0, 2);
    lab.advance(10_000);
    assert_eq!(lab.interrupts(0), [0xF1], "it goes on");
    assert_eq!(lab.slot(0, 2).0, 0x8000_0010);
    lab.write_msr(0, msr::STIMER0_CONFIG, 0).unwrap();
    lab.free_slot(0, 2);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(lab.slot(0, 2).0, 0, "no other one was queued");
}

/// B12.021, B12.028: a periodic timer goes on, tick for tick.
#[test]
fn a_periodic_timer_loses_no_tick() {
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::STIMER3_COUNT, 10_000).unwrap();
    lab.write_msr(0, msr::STIMER3_CONFIG, direct(ENABLE | PERIODIC)).unwrap();
    for _ in 0..100 {
        lab.advance(10_000);
        assert_eq!(lab.interrupts(0), [VECTOR]);
        lab.write_msr(0, msr::EOI, 0).unwrap();
    }
    lab.write_msr(0, msr::STIMER3_COUNT, 0).unwrap();
    assert_eq!(lab.read_msr(0, msr::STIMER3_CONFIG), Ok(direct(PERIODIC)), "B12.026");
    lab.advance(100_000);
    assert!(lab.interrupts(0).is_empty());
}

/// B12.015, B12.017, B12.024: registers of each VP are its own, start at zero, and refuse reserved bits.
#[test]
fn timer_registers_are_each_vps_own() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, msr::STIMER0_COUNT, 5).unwrap();
    assert_eq!((lab.read_msr(1, msr::STIMER0_COUNT), lab.read_msr(1, msr::STIMER3_CONFIG)), (Ok(0), Ok(0)));
    assert_eq!(lab.write_msr(0, msr::STIMER0_CONFIG, 1 << 20), Err(Gp));
    let mut plain = Lab::with(1, Enlightenments::ALL.without(crate::Enlightenment::UseDirectSyntheticTimers));
    assert_eq!(plain.write_msr(0, msr::STIMER0_CONFIG, direct(0)), Err(Gp), "B12.011");
}

/// A halted VP sleeps until its next timer, and wakes for it.
#[test]
fn a_halted_vp_sleeps_until_its_timer() {
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::STIMER0_COUNT, 1000).unwrap();
    lab.write_msr(0, msr::STIMER0_CONFIG, direct(ENABLE)).unwrap();
    lab.set_interrupts(0, true);
    lab.engine.push(0, ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: Some(1000 * TICKS) });
    assert_eq!(lab.vps[0].run(Some(500 * TICKS)), VpExit::Idle { until: Some(500 * TICKS) });
    lab.advance(500);
    assert_eq!(lab.vps[0].run(Some(500 * TICKS)), VpExit::Deadline);
    lab.advance(500);
    assert!(lab.pass(0).contains(&Deed::Injected(Event::Interrupt(VECTOR))));
}

/// The local APIC's timer comes through the same deadline.
#[test]
fn the_local_apic_timer_fires() {
    let mut lab = Lab::new(1);
    lab.play(0, page_write(0x320, 0x55));
    lab.play(0, page_write(0x3E0, 0b1011));
    lab.play(0, page_write(0x380, 200_000));
    // 200 000 ticks of 200 MHz are a millisecond.
    lab.advance(9_999);
    assert!(lab.interrupts(0).is_empty());
    lab.advance(1);
    assert_eq!(lab.interrupts(0), [0x55]);
    assert_eq!(lab.answer(0, page_write(0x80, 0x100)).map(drop), Ok(()));
    let narrow = |kind| {
        ExitReason::Memory(engine::MemoryAccess {
            gpa: 0xFEE0_0030,
            gva: None,
            size: 1,
            kind,
            cause: engine::MemoryExitCause::Unmapped,
            page_walk: false,
            user: false,
        })
    };
    assert_eq!(lab.answer(0, narrow(engine::MemoryAccessKind::Read)), Ok(0x15));
    assert_eq!(lab.answer(0, narrow(engine::MemoryAccessKind::Write(1))), Err(Gp), "B10.004");
}

/// B12.001: four synthetic timers and the local APIC's, all due at the same time, in whatever order.
#[test]
fn all_timers_of_a_vp_run_at_once() {
    let mut lab = Lab::new(1);
    for index in 0..4 {
        let vector = 0x60 + 0x10 * u64::from(index);
        lab.write_msr(0, msr::STIMER0_COUNT + 2 * index, 10_000).unwrap();
        lab.write_msr(0, msr::STIMER0_CONFIG + 2 * index, DIRECT | vector << 4 | ENABLE).unwrap();
    }
    lab.write_msr(0, 0x1B, 0xFEE0_0D00).unwrap();
    lab.write_msr(0, 0x832, 0xA0).unwrap();
    lab.write_msr(0, 0x83E, 0b1011).unwrap();
    lab.write_msr(0, 0x838, 200_000).unwrap();
    lab.advance(9_999);
    assert!(lab.interrupts(0).is_empty());
    lab.advance(1);
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.extend(lab.interrupts(0));
        lab.write_msr(0, msr::EOI, 0).unwrap();
    }
    taken.sort_unstable();
    assert_eq!(taken, [0x60, 0x70, 0x80, 0x90, 0xA0]);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Explicit suspension, and time while VPs are suspended or halted (TLFS 12.1.2, 12.1.4, 12.6).

use tlfs::msr;

use super::*;

const PERIODIC: u64 = 1 << 12 | 0xF3 << 4 | 0b11;
const LAZY: u64 = 0b100;

/// B12.005: reference time runs while one VP is not suspended, and stands while all are.
#[test]
fn time_stands_while_all_are_suspended() {
    let mut lab = Lab::new(2);
    let time = |lab: &Lab| lab.partition.reference_time().at(lab.partition.clock().now());
    lab.partition.set_explicit_suspend(0, true);
    lab.advance(1000);
    assert_eq!(time(&lab), 1000);
    lab.partition.set_explicit_suspend(1, true);
    lab.partition.set_explicit_suspend(1, true);
    lab.advance(1000);
    assert_eq!(time(&lab), 1000);
    lab.partition.set_explicit_suspend(0, false);
    lab.advance(1000);
    assert_eq!(time(&lab), 2000);
    assert_eq!(lab.read_msr(0, msr::TIME_REF_COUNT), Ok(2000));
    assert!(lab.partition.is_explicitly_suspended(1) && !lab.partition.is_explicitly_suspended(0));
}

/// B12.005: whoever was suspended and goes on counts no more, however often; to suspend one twice is to suspend it.
#[test]
fn time_stands_for_those_that_are_suspended_now() {
    let lab = Lab::new(3);
    let passes = || {
        let before = lab.partition.clock().now();
        lab.advance(10);
        lab.partition.clock().now() != before
    };
    let suspend = |vp, on| lab.partition.set_explicit_suspend(vp, on);
    for _ in 0..4 {
        suspend(0, true);
        suspend(0, true);
        assert!(passes());
        suspend(0, false);
        suspend(0, false);
        assert!(passes());
    }
    suspend(0, true);
    suspend(1, true);
    assert!(passes());
    suspend(2, true);
    assert!(!passes());
    suspend(1, false);
    assert!(passes());
    suspend(1, true);
    assert!(!passes());
}

/// A suspended VP executes nothing, and finds all that has come for it when it goes on.
#[test]
fn a_suspended_vp_executes_nothing() {
    let mut lab = Lab::new(2);
    lab.set_interrupts(0, true);
    lab.partition.set_explicit_suspend(0, true);
    lab.engine.push(0, engine::ExitReason::Cpuid { leaf: 0, subleaf: 0 });
    lab.partition.vp(0).state().vtl(Vtl::VTL0).request(0x40, false, false);
    lab.partition.vp(0).notify();
    for _ in 0..3 {
        assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    }
    assert!(lab.engine.take_deeds(0).is_empty());
    lab.partition.set_explicit_suspend(0, false);
    let deeds = lab.pass(0);
    assert_eq!(deeds[0], Deed::Injected(Event::Interrupt(0x40)));
    assert!(deeds.contains(&Deed::Resumed(Resume::Advance)));
}

/// The times at which a timer of VP 0 interrupts from now on, looking every 10 microseconds for `time`.
fn signals(lab: &mut Lab, time: u64) -> Vec<u64> {
    let mut times = Vec::new();
    for _ in 0..time / 100 {
        if !lab.interrupts(0).is_empty() {
            times.push(lab.partition.reference_time().at(lab.partition.clock().now()));
            lab.write_msr(0, msr::EOI, 0).unwrap();
        }
        lab.advance(100);
    }
    times
}

/// B12.007: a timer whose VP was away for five periods makes up for them with shorter ones, and is then on its schedule.
#[test]
fn a_suspended_vp_catches_up() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, msr::STIMER0_COUNT, 10_000).unwrap();
    lab.write_msr(0, msr::STIMER0_CONFIG, PERIODIC).unwrap();
    lab.partition.set_explicit_suspend(0, true);
    lab.advance(55_000);
    lab.partition.set_explicit_suspend(0, false);
    let times = signals(&mut lab, 95_100);
    // 14 periods have passed at 150 000: 5 late ones, and those that came due meanwhile.
    assert_eq!(times.len(), 15, "{times:?}");
    assert_eq!((times[0], times[1]), (55_000, 60_000));
    assert_eq!(times[12..], [130_000, 140_000, 150_000]);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5000), "{times:?}");
}

/// B12.008: a lazy one gives one late signal, and none when the next is due soon; there is no burst.
#[test]
fn a_lazy_timer_of_a_suspended_vp_gives_one_signal() {
    for (away, expected) in [(34_000, vec![34_000, 40_000, 50_000]), (39_000, vec![40_000, 50_000])] {
        let mut lab = Lab::new(2);
        lab.write_msr(0, msr::STIMER0_COUNT, 10_000).unwrap();
        lab.write_msr(0, msr::STIMER0_CONFIG, PERIODIC | LAZY).unwrap();
        lab.partition.set_explicit_suspend(0, true);
        lab.advance(away);
        lab.partition.set_explicit_suspend(0, false);
        assert_eq!(signals(&mut lab, 50_100 - away), expected, "away until {away}");
    }
}

const UNHALTED_VECTOR: u64 = 0x77;
const UNHALTED: u64 = 1 << 8 | UNHALTED_VECTOR;

/// B12.030, B12.031: the timer counts time in which the VP is not halted, suspended or waiting for its start, over as many stretches as it takes.
#[test]
fn only_unhalted_time_counts() {
    let mut lab = Lab::new(2);
    for number in [msr::STIME_UNHALTED_TIMER_CONFIG, msr::STIME_UNHALTED_TIMER_COUNT] {
        assert_eq!((lab.read_msr(0, number), lab.read_msr(1, number)), (Ok(0), Ok(0)));
    }
    lab.write_msr(0, msr::STIME_UNHALTED_TIMER_COUNT, 10_000).unwrap();
    lab.write_msr(0, msr::STIME_UNHALTED_TIMER_CONFIG, UNHALTED).unwrap();
    assert_eq!(lab.read_msr(0, msr::STIME_UNHALTED_TIMER_CONFIG), Ok(UNHALTED));
    lab.advance(4000);
    assert!(lab.interrupts(0).is_empty());
    // Halted: no deadline either, for nothing can come of it.
    lab.engine.push(0, engine::ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    lab.advance(50_000);
    lab.partition.pulse_nmi();
    lab.pass(0);
    lab.partition.set_explicit_suspend(0, true);
    lab.advance(50_000);
    lab.partition.set_explicit_suspend(0, false);
    lab.advance(5_999);
    assert!(lab.interrupts(0).is_empty());
    lab.advance(1);
    assert_eq!(lab.interrupts(0), [UNHALTED_VECTOR as u8]);
    lab.write_msr(0, msr::EOI, 0).unwrap();
    lab.advance(10_000);
    assert_eq!(lab.interrupts(0), [UNHALTED_VECTOR as u8], "and again");
    lab.write_msr(0, msr::STIME_UNHALTED_TIMER_CONFIG, 0).unwrap();
    lab.write_msr(0, msr::EOI, 0).unwrap();
    lab.advance(100_000);
    assert!(lab.interrupts(0).is_empty());
}

/// B12.032, B12.033: the assist page tells that it has expired until the guest takes that back; vector 2 is an NMI, and others below 16 are none.
#[test]
fn the_unhalted_timer_tells_and_may_be_an_nmi() {
    const PAGE: u64 = 0x2_0000;
    const EXPIRED: u64 = PAGE + 56;
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::VP_ASSIST_PAGE, PAGE | 1).unwrap();
    lab.write_msr(0, msr::STIME_UNHALTED_TIMER_COUNT, 1000).unwrap();
    assert_eq!(lab.write_msr(0, msr::STIME_UNHALTED_TIMER_CONFIG, 1 << 8 | 15), Err(Gp));
    assert_eq!(lab.write_msr(0, msr::STIME_UNHALTED_TIMER_CONFIG, 1 << 9), Err(Gp));
    lab.write_msr(0, msr::STIME_UNHALTED_TIMER_CONFIG, 1 << 8 | 2).unwrap();
    assert_eq!(lab.read_u32(EXPIRED), 0);
    for _ in 0..2 {
        lab.advance(1000);
        assert!(lab.pass(0).contains(&Deed::Injected(Event::Nmi)));
        assert_eq!(lab.read_u32(EXPIRED), 1);
        lab.write_u32(EXPIRED, 0);
    }
}

/// A VP that is reset inhibits no flush any more: whoever waits for it hears of that, and the next flush finds nobody to look for.
#[test]
fn a_reset_ends_the_inhibition_of_flushes() {
    use std::sync::atomic::{AtomicU32, Ordering};
    use tlfs::register::InterceptSuspendRegister;

    let mut lab = Lab::new(2);
    lab.enable_hypercalls(0x5000);
    let inhibited = InterceptSuspendRegister::new().with_tlb_flush_inhibit(true);
    lab.partition.set_intercept_suspend(0, inhibited);
    let woken = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&woken);
    lab.partition.vp(1).set_waker(Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let control = Lab::fast(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE).into_bits();
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    // Of all address spaces, on all processors.
    lab.engine.push_with(1, exit, move |state| {
        state.gprs[Gpr::Rcx as usize] = control;
        (state.gprs[Gpr::Rdx as usize], state.gprs[Gpr::R8 as usize]) = (0, 3);
    });
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None });
    lab.vps[0].reset();
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert_eq!(lab.partition.flush_inhibits().load(Ordering::SeqCst), 0);
    lab.engine.push(1, exit);
    lab.pass(1);
    assert_eq!(lab.vps[1].registers().gpr(Gpr::Rax), 0);
    // What is inhibited afterwards is counted from zero.
    lab.partition.set_intercept_suspend(0, inhibited);
    lab.vps.iter_mut().for_each(Vp::reset);
    assert_eq!(lab.partition.flush_inhibits().load(Ordering::SeqCst), 0);
}

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

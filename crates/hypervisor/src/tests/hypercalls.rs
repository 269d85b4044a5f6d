// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls from the exit to their effect: legality, flushes, interrupts (TLFS 3, 9.4, 10.5).

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{ExitReason, SegmentName};
use tlfs::hypercall::CallCode;

use super::*;
use crate::Enlightenment;

const INPUT: u64 = 0x8000;
const ALL_PROCESSORS: u64 = 1;
const ALL_SPACES: u64 = 2;
const NON_GLOBAL: u64 = 4;
const EXTENDED: u64 = 8;

fn lab(vp_count: u32) -> Lab {
    let mut lab = Lab::new(vp_count);
    lab.enable_hypercalls(0x5000);
    lab
}

fn put(lab: &Lab, words: &[u64]) {
    for (index, &word) in words.iter().enumerate() {
        lab.space.write_value::<8>(ViewId(0), INPUT + 8 * index as u64, word, Rights::WRITE).unwrap();
    }
}

fn simple(code: CallCode) -> InputValue {
    InputValue::new().with_call_code(code)
}

fn flush_space(lab: &mut Lab, space: u64, flags: u64, mask: u64) -> HvStatus {
    put(lab, &[space, flags, mask]);
    lab.call(0, simple(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE), INPUT, 0)
}

fn flush_list(lab: &mut Lab, flags: u64, mask: u64, ranges: &[u64]) -> HvStatus {
    put(lab, &[&[0x1000, flags, mask], ranges].concat());
    let control = simple(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST).with_rep_count(ranges.len() as u16);
    lab.call(0, control, INPUT, 0)
}

/// What a VP forgets before it runs on.
fn flushed(lab: &mut Lab, vp: usize) -> Vec<String> {
    let deeds = lab.pass(vp);
    let scope = |deed| if let Deed::Flushed(scope) = deed { Some(scope) } else { None };
    deeds.into_iter().filter_map(scope).collect()
}

/// B03.018, B03.019, B03.075: #UD outside ring 0, in real mode, and without the page.
#[test]
fn calls_are_legal_only_in_ring_0_of_protected_mode() {
    let invalid_opcode = [Deed::Resumed(Resume::Inject(Event::INVALID_OPCODE))];
    let call = |lab: &mut Lab, prepare: fn(&mut VpState)| lab.call_with(0, prepare).1;
    let ring_3 = |state: &mut VpState| state.segments[SegmentName::Ss as usize].attributes.set_dpl(3);
    let real_mode = |state: &mut VpState| state.control.cr0 &= !1;
    assert_eq!(call(&mut lab(1), ring_3), invalid_opcode);
    assert_eq!(call(&mut lab(1), real_mode), invalid_opcode);
    assert_eq!(call(&mut Lab::new(1), |_| {}), invalid_opcode);
    assert_eq!(call(&mut lab(1), |_| {}), [Deed::Resumed(Resume::Advance)]);
}

/// B03.062, B14.007: unknown codes, and the call that cannot fail.
#[test]
fn unknown_codes_are_refused() {
    let mut lab = lab(1);
    for code in [0x0016, 0x7FFF, 0xFFFF, 0x0040, 0x8003] {
        assert_eq!(lab.call(0, simple(CallCode(code)), 0, 0), HvStatus::INVALID_HYPERCALL_CODE);
    }
    let wait = lab.call(0, Lab::fast(CallCode::NOTIFY_LONG_SPIN_WAIT), 0xFFFF_FFFF, 0);
    assert_eq!(wait, HvStatus::SUCCESS);
    assert_eq!(lab.vps[0].statistics().unwrap().hypercalls(CallCode::NOTIFY_LONG_SPIN_WAIT), 1);
}

/// B03.027: a parameter page that is not there goes to the host with the call undone; after a change it is made again.
#[test]
fn a_missing_parameter_page_is_an_intercept() {
    let mut lab = lab(1);
    let prepare = |state: &mut VpState| {
        state.gprs[Gpr::Rcx as usize] = 0x2;
        state.gprs[Gpr::Rdx as usize] = 0x4000_0000;
    };
    lab.engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), prepare);
    let rip = lab.vps[0].registers().rip();
    let exit = lab.vps[0].run(None);
    assert!(matches!(exit, VpExit::Parameter(access) if access.gpa == 0x4000_0000), "{exit:?}");
    lab.vps[0].retry();
    assert_eq!(lab.vps[0].registers().rip(), rip);
}

/// A host that has no memory there may have the call made all the same: it reads ones, and what it writes is lost. That is for one call only.
#[test]
fn a_call_may_be_made_on_an_open_bus() {
    const HOLE: u64 = 0x4000_0000;
    let mut lab = lab(1);
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    let mut call = |code: CallCode, input: u64, output: u64, again: bool| {
        let prepare = move |state: &mut VpState| {
            let control = InputValue::new().with_call_code(code);
            state.gprs[Gpr::Rcx as usize] = control.into_bits();
            (state.gprs[Gpr::Rdx as usize], state.gprs[Gpr::R8 as usize]) = (input, output);
        };
        lab.engine.push_with(0, exit, prepare);
        let left = lab.vps[0].run(None);
        assert!(matches!(left, VpExit::Parameter(access) if access.gpa == HOLE), "{left:?}");
        if again {
            lab.vps[0].call_on_open_bus();
            lab.engine.push(0, exit);
            let deeds = lab.pass(0);
            assert!(deeds.ends_with(&[Deed::Resumed(Resume::Advance)]), "{deeds:?}");
        } else {
            lab.vps[0].retry();
        }
        ResultValue::from_bits(lab.vps[0].registers().gpr(Gpr::Rax)).status()
    };
    // Ones are no page tables' address, and zeros are one.
    let switch = CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE;
    assert_eq!(call(switch, HOLE, 0, true), HvStatus::INVALID_PARAMETER);
    call(switch, HOLE, 0, false);
    assert_eq!(call(CallCode::EXT_QUERY_CAPABILITIES, 0, HOLE, true), HvStatus::SUCCESS);
    assert!(lab.space.resolve(ViewId(0), HOLE >> 12).is_none());
}

/// The host is asked once for a call that has to wait for another VP on the way.
#[test]
fn a_call_on_an_open_bus_may_wait() {
    const HOLE: u64 = 0x4000_0000;
    let mut lab = lab(2);
    // RIP of the other VP.
    put(&lab, &[u64::MAX, 1, 0x0002_0010]);
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    lab.engine.push_with(0, exit, |state| {
        let control = simple(CallCode::GET_VP_REGISTERS).with_rep_count(1);
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        (state.gprs[Gpr::Rdx as usize], state.gprs[Gpr::R8 as usize]) = (INPUT, HOLE);
    });
    assert!(matches!(lab.vps[0].run(None), VpExit::Parameter(_)));
    lab.vps[0].call_on_open_bus();
    lab.engine.push(0, exit);
    assert!(matches!(lab.vps[0].run(None), VpExit::Idle { .. }), "it waits for the other VP");
    lab.pass(1);
    lab.engine.push(0, exit);
    lab.pass(0);
    let result = ResultValue::from_bits(lab.vps[0].registers().gpr(Gpr::Rax));
    assert_eq!((result.status(), result.reps_complete()), (HvStatus::SUCCESS, 1));
}

/// B09.021, B09.028, B09.022: the VPs in the mask forget before they run on, and no others; what all-flags make useless is not looked at.
#[test]
fn a_flush_reaches_the_vps_it_names() {
    let mut lab = lab(3);
    assert_eq!(flush_space(&mut lab, 0x7000, ALL_SPACES, 0b110), HvStatus::SUCCESS);
    assert_eq!(
        [flushed(&mut lab, 0).len(), flushed(&mut lab, 1).len(), flushed(&mut lab, 2).len()],
        [0, 1, 1]
    );
    assert_eq!(flush_space(&mut lab, u64::MAX, ALL_SPACES | ALL_PROCESSORS, 0), HvStatus::SUCCESS);
    assert_eq!([flushed(&mut lab, 1), flushed(&mut lab, 2)], [["All"], ["All"]]);
}

/// The caller's own flush is done before its next instruction.
#[test]
fn a_flush_of_the_caller_comes_before_its_next_instruction() {
    let mut lab = lab(2);
    put(&lab, &[0, ALL_SPACES | NON_GLOBAL, 1]);
    let (result, deeds) = lab.call_with(0, |state| {
        state.gprs[Gpr::Rcx as usize] = 2;
        state.gprs[Gpr::Rdx as usize] = INPUT;
    });
    assert_eq!(result.status(), HvStatus::SUCCESS);
    assert_eq!(deeds, [Deed::Resumed(Resume::Advance), Deed::Flushed("NonGlobal".into())]);
}

/// B09.024, B09.025, B09.026, B09.032, B09.033: what the flush calls refuse.
#[test]
fn flushes_refuse_what_they_must() {
    let mut lab = lab(2);
    let invalid = HvStatus::INVALID_PARAMETER;
    assert_eq!(flush_space(&mut lab, 0x1000, 0, 0), invalid, "no processor");
    assert_eq!(flush_space(&mut lab, 0x1000, 1 << 4, 1), invalid);
    assert_eq!(flush_space(&mut lab, 0x1000, EXTENDED, 1), invalid);
    assert_eq!(flush_space(&mut lab, 1 << 63, 0, 1), invalid);
    assert_eq!(flush_list(&mut lab, NON_GLOBAL, 1, &[0x1000]), invalid);
    assert_eq!(flush_list(&mut lab, 0, 0, &[0x1000]), invalid);
    assert_eq!(flush_space(&mut lab, 0x1FFF, 0, 2), HvStatus::SUCCESS);
    let mut without = Lab::with(
        1,
        Enlightenments::ALL.without(Enlightenment::UseHypercallForRemoteFlushAndLocalFlushEntire),
    );
    without.enable_hypercalls(0x5000);
    assert_eq!(flush_space(&mut without, 0x1000, 0, 1), HvStatus::INVALID_HYPERCALL_CODE);
}

/// B09.031, B09.035, B09.037: the low bits count further pages, what is no address is skipped, large pages count as such.
#[test]
fn a_list_flush_names_pages() {
    let mut lab = lab(2);
    let list = [0xFFFF_8000_0000_1002, 0x0800_0000_0000_0000, 0x7000];
    assert_eq!(flush_list(&mut lab, 0, 2, &list), HvStatus::SUCCESS);
    let gva = 0xFFFF_8000_0000_1000u64;
    assert_eq!(flushed(&mut lab, 1), [format!("Pages([({gva}, 3), ({}, 1)])", 0x7000)]);
    // Two pages of 2 MiB from 4 MiB on; one of 1 GiB.
    let list = [0x40_0000 | 0x800 | 1, 0x4000_0000 | 0x1000 | 0x800];
    assert_eq!(flush_list(&mut lab, EXTENDED, 2, &list), HvStatus::SUCCESS);
    assert_eq!(
        flushed(&mut lab, 1),
        [format!("Pages([({}, 1024), ({}, {})])", 0x40_0000, 0x4000_0000, 1 << 18)]
    );
    // Small pages in the same form.
    assert_eq!(flush_list(&mut lab, EXTENDED, 2, &[0x7000_5002]), HvStatus::SUCCESS);
    assert_eq!(flushed(&mut lab, 1), [format!("Pages([({}, 3)])", 0x7000_5000)]);
    // More than is remembered one by one.
    let list: Vec<u64> = (0..40).map(|page| page << 12).collect();
    assert_eq!(flush_list(&mut lab, 0, 2, &list), HvStatus::SUCCESS);
    assert_eq!(flushed(&mut lab, 1), ["All"]);
}

/// Flushes that come before the VP runs again are carried out together, each page once; more than 32 runs are everything.
#[test]
fn flushes_add_up_until_the_vp_runs() {
    let mut lab = lab(2);
    let flush = |lab: &mut Lab, pages: std::ops::Range<u64>| {
        let list: Vec<u64> = pages.map(|page| page << 12).collect();
        assert_eq!(flush_list(lab, 0, 2, &list), HvStatus::SUCCESS);
    };
    let named = |pages: std::ops::Range<u64>| {
        let runs: Vec<String> = pages.map(|page| format!("({}, 1)", page << 12)).collect();
        format!("Pages([{}])", runs.join(", "))
    };
    flush(&mut lab, 1..3);
    flush(&mut lab, 3..4);
    assert_eq!(flushed(&mut lab, 1), [named(1..4)]);
    assert!(flushed(&mut lab, 1).is_empty(), "once");
    flush(&mut lab, 1..21);
    flush(&mut lab, 21..33);
    assert_eq!(flushed(&mut lab, 1), [named(1..33)]);
    flush(&mut lab, 1..33);
    flush(&mut lab, 33..34);
    assert_eq!(flushed(&mut lab, 1), ["All"]);
    // One address space without its global translations, and a page.
    assert_eq!(flush_space(&mut lab, 0x1000, NON_GLOBAL, 2), HvStatus::SUCCESS);
    flush(&mut lab, 1..2);
    assert_eq!(flushed(&mut lab, 1), ["NonGlobal".to_owned(), named(1..2)]);
    assert_eq!(flush_space(&mut lab, 0x1000, 0, 2), HvStatus::SUCCESS);
    flush(&mut lab, 1..2);
    assert_eq!(flushed(&mut lab, 1), ["All"], "which is all of that space, and more");
}

/// B03.009 to B03.011, B03.054: a long list gives way to interrupts with RIP on the call and the progress in RCX, and is then made again.
#[test]
fn a_long_list_gives_way_to_interrupts() {
    let mut lab = lab(2);
    put(&lab, &[&[0x1000, 0, 2][..], &[0x7000; 300]].concat());
    let control = simple(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST).with_rep_count(300);
    let rip = lab.vps[0].registers().rip();
    lab.partition.vp(0).state().vtl(Vtl::VTL0).request(0x50, false, false);
    let (_, deeds) = lab.call_with(0, move |state| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = INPUT;
        state.rflags = 0x202;
    });
    assert_eq!(deeds, [Deed::Resumed(Resume::Retry), Deed::Injected(Event::Interrupt(0x50))]);
    // The port access at the end of the script is three bytes long.
    assert_eq!(lab.vps[0].registers().rip(), rip + 3);
    let progress = InputValue::from_bits(lab.vps[0].registers().gpr(Gpr::Rcx));
    assert_eq!(progress, control.with_rep_start_index(256));
    let (result, _) = lab.call_with(0, |_| {});
    assert_eq!((result.status(), result.reps_complete()), (HvStatus::SUCCESS, 300));
}

/// B09.030, B07.022, B07.023: sparse sets name VPs by bank.
#[test]
fn a_flush_takes_a_sparse_set() {
    let mut lab = lab(70);
    put(&lab, &[0, ALL_SPACES, 0, 0b10, 1 << 3]);
    let control = simple(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX).with_variable_header_size(1);
    assert_eq!(lab.call(0, control, INPUT, 0), HvStatus::SUCCESS);
    assert_eq!([flushed(&mut lab, 67).len(), flushed(&mut lab, 3).len()], [1, 0]);
    put(&lab, &[0, ALL_SPACES, 1, 0]);
    let control = simple(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX);
    assert_eq!(lab.call(0, control, INPUT, 0), HvStatus::SUCCESS);
    assert_eq!([flushed(&mut lab, 67).len(), flushed(&mut lab, 3).len()], [1, 1]);
}

/// B10.039, B10.041, B10.042, B10.040: fixed interrupts to the named VPs, the caller too.
#[test]
fn cluster_interrupts_reach_their_vps() {
    let mut lab = lab(66);
    let ipi = |lab: &mut Lab, vector: u64, mask: u64| {
        lab.call(0, Lab::fast(CallCode::SEND_SYNTHETIC_CLUSTER_IPI), vector, mask)
    };
    assert_eq!(ipi(&mut lab, 0xF0, 0b101), HvStatus::SUCCESS);
    assert_eq!([lab.interrupts(0), lab.interrupts(1), lab.interrupts(2)], [vec![0xF0], vec![], vec![0xF0]]);
    assert_eq!(ipi(&mut lab, 0x0F, 1), HvStatus::INVALID_PARAMETER);
    assert_eq!(ipi(&mut lab, 0x100, 1), HvStatus::INVALID_PARAMETER);
    assert_eq!(ipi(&mut lab, 1 << 40 | 0x40, 1), HvStatus::INVALID_PARAMETER, "reserved");
    assert_eq!(ipi(&mut lab, 0x11 << 32 | 0x40, 1), HvStatus::ACCESS_DENIED, "VTL 1");
    assert_eq!(ipi(&mut lab, 0x10 << 32 | 0x40, 2), HvStatus::SUCCESS, "VTL 0 by name");
    assert_eq!(lab.interrupts(1), [0x40]);
    let mut without = Lab::with(1, Enlightenments::ALL.without(Enlightenment::UseSyntheticClusterIpi));
    without.enable_hypercalls(0x5000);
    assert_eq!(ipi(&mut without, 0x40, 1), HvStatus::INVALID_HYPERCALL_CODE);
    put(&lab, &[0x41, 0, 0b11, 1 << 5, 1 << 1]);
    let control = simple(CallCode::SEND_SYNTHETIC_CLUSTER_IPI_EX).with_variable_header_size(2);
    assert_eq!(lab.call(0, control, INPUT, 0), HvStatus::SUCCESS);
    assert_eq!([lab.interrupts(5), lab.interrupts(65), lab.interrupts(1)], [vec![0x41], vec![0x41], vec![]]);
}

/// B09.021 with threads: a call does not return while its target still runs what it ran before.
#[test]
fn a_flush_waits_for_a_target_in_guest_code() {
    let mut lab = lab(2);
    put(&lab, &[0, ALL_SPACES, 0b10]);
    let inside = Arc::new(Barrier::new(2));
    let (leave, returned) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (barrier, go) = (Arc::clone(&inside), Arc::clone(&leave));
    lab.engine.push_with(1, ExitReason::Port(END), move |_| {
        barrier.wait();
        while !go.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    });
    lab.engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), |state| {
        state.gprs[Gpr::Rcx as usize] = 2;
        state.gprs[Gpr::Rdx as usize] = INPUT;
    });
    lab.engine.push(0, ExitReason::Port(END));
    let (caller, target) = lab.vps.split_at_mut(1);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(target[0].run(None), VpExit::Port(END)));
        inside.wait();
        scope.spawn(|| {
            assert_eq!(caller[0].run(None), VpExit::Port(END));
            returned.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!returned.load(Ordering::SeqCst), "the target is still in guest code");
        leave.store(true, Ordering::SeqCst);
    });
}

/// B09.021 with threads: both flush each other at once, and neither
/// waits for ever.
#[test]
fn two_vps_that_flush_each_other_both_get_on() {
    const ROUNDS: usize = 500;
    let mut lab = lab(2);
    put(&lab, &[0, ALL_SPACES | ALL_PROCESSORS, 0]);
    for vp in 0..2 {
        for _ in 0..ROUNDS {
            lab.engine.push_with(vp, ExitReason::Hypercall(HypercallInstruction::Vmcall), |state| {
                state.gprs[Gpr::Rcx as usize] = 2;
                state.gprs[Gpr::Rdx as usize] = INPUT;
            });
        }
        lab.engine.push(vp, ExitReason::Port(END));
    }
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for vp in &mut lab.vps {
            let failed = &failed;
            scope.spawn(move || {
                if vp.run(None) != VpExit::Port(END) {
                    failed.store(true, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::SeqCst));
    for vp in 0..2 {
        let flushes = lab.engine.take_deeds(vp).into_iter().filter(|deed| matches!(deed, Deed::Flushed(_)));
        // Flushes that meet before they are carried out are one.
        assert!(flushes.count() >= ROUNDS, "each call flushes its caller");
        assert_eq!(lab.vps[vp as usize].statistics().unwrap().hypercalls(CallCode(2)), ROUNDS as u64);
    }
}

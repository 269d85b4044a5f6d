// SPDX-License-Identifier: MIT OR Apache-2.0
//! The border: what a stub leaves of the guest in the host's registers, which must be nothing that counts.

use std::arch::asm;

use super::super::{Border, Outcome, StubCache, X87Site};
use super::super::{Extensions, HostFrame};
use super::forms::stub_forms;
use super::native::code_page;
use super::random::Random;

/// Host state that the calling convention wants kept or in a fixed state.
#[derive(Debug, PartialEq, Eq)]
struct HostState {
    mxcsr_control: u32,
    fcw: u16,
    /// Full tag word: all ones if the x87 stack is empty.
    ftw: u16,
    /// DF, TF and AC of RFLAGS.
    flags: u64,
}

fn host_state() -> HostState {
    let mut mxcsr = 0_u32;
    let mut environment = [0_u32; 7];
    let flags: u64;
    // SAFETY: stores into locals that are big enough. FNSTENV masks x87 exceptions, and FLDENV loads the same
    // environment again.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack));
        asm!("fnstenv [{0}]", "fldenv [{0}]", in(reg) &raw mut environment, options(nostack));
        asm!("pushfq", "pop {}", out(reg) flags);
    }
    HostState {
        mxcsr_control: mxcsr & !0x3F,
        fcw: environment[0] as u16,
        ftw: environment[2] as u16,
        flags: flags & 0x4_0500,
    }
}

/// Upper halves of the YMM registers: zero, or SSE code of the host's runs slowly from here on.
fn upper_halves() -> [u128; 16] {
    let mut halves = [0_u128; 16];
    // SAFETY: the caller knows that the host has AVX; sixteen stores of 16 bytes into an array of that size.
    unsafe {
        asm!(
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vextractf128 [{halves} + 16 * \\n], ymm\\n, 1",
            ".endr",
            halves = in(reg) &raw mut halves,
            options(nostack)
        );
    }
    halves
}

fn set_host_controls(mxcsr: u32, fcw: u16) {
    // SAFETY: no exception is pending in x87 when its masks are loaded, all stay masked in MXCSR, and the caller puts
    // the usual controls back.
    unsafe {
        asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack));
        asm!("fnclex", "fldcw [{}]", in(reg) &raw const fcw, options(nostack));
    }
}

#[test]
fn every_stub_restores_the_hosts_controls() {
    // The native page is not used, but its holder is the only one to trap.
    let _page = code_page();
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let mut trapped = 0;
    for form in stub_forms() {
        let mut random = Random::new(form.code as u64);
        for round in 0..4 {
            let stub = cache.compile(&form.instance(&mut random).instruction).expect("compiles");
            let mut frame: HostFrame = random.frame();
            if round == 3 {
                frame.vector.set_mxcsr(0xE000).expect("no reserved bit");
            }
            // Flush-to-zero, round up; 53-bit precision, round down. One round in a host that unmasks x87 exceptions.
            let fcw = if round == 2 { 0x0640 } else { 0x067F };
            set_host_controls(0xDF80, fcw);
            let before = host_state();
            let outcome = stub.run(&mut frame, X87Site::default);
            let after = host_state();
            if matches!(stub.border(), Border::Avx | Border::AvxWithMxcsr) {
                assert_eq!(upper_halves(), [0; 16], "{:?}", form.code);
            }
            set_host_controls(0x1F80, 0x037F);
            assert_eq!(before, after, "{:?}: {outcome:?}", form.code);
            assert_eq!((after.fcw, after.ftw, after.flags), (fcw, 0xFFFF, 0), "{:?}", form.code);
            trapped += u32::from(outcome == Outcome::SimdException);
        }
    }
    assert!(trapped > 20, "only {trapped} stubs left through their trap exit");
}

/// Guest TF and AC, and DF, do not reach the host's RFLAGS through an instruction that reads flags.
#[test]
fn flags_that_are_not_status_stay_outside() {
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    // fcmovb st, st(1): reads CF.
    let stub = cache.compile(&super::forms::decode(&[0xDA, 0xC1], 64)).expect("compiles");
    assert_eq!(stub.flags_read(), 1);
    let mut frame = HostFrame::new();
    let all = 0x4_0D41;
    frame.rflags = all;
    assert_eq!(stub.run(&mut frame, X87Site::default), Outcome::Done);
    assert_eq!(host_state().flags, 0);
    assert_eq!(frame.rflags, all);
}

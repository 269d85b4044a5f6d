// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87, SSE and their state as the system sees it: errors, saving, restoring, XCR0 (Intel SDM 1 8, 10, 13).

use crate::lab::{self, XSAVE, code, holds, kernel_state, run, trapped, user_state};
use core::arch::asm;
use support::page::Page;
use support::trap::{Fault, State, vector::*};
use support::{cpu, guarded, skip};

const TOPIC: &str = "floating";
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_OSXMMEXCPT: u64 = 1 << 10;

static AREA: Page = Page::new();

code! {
    // 1 / 0 with that exception unmasked: the next waiting instruction reports it.
    divide_by_zero: "lea rbx, [rip + 9f]", "fninit", "push 0x37B", "fldcw [rsp]", "fld1", "fldz", "fdivp", "nop", "9: fld1", "int3";
    waits: "lea rbx, [rip + 9f]", "fninit", "push 0x37B", "fldcw [rsp]", "fld1", "fldz", "fdivp", "nop", "9: .byte 0x9B", "int3";
    does_not_wait: "lea rbx, [rip + 9f]", "fninit", "push 0x37B", "fldcw [rsp]", "fld1", "fldz", "fdivp", "fnstsw ax", "fnclex", "int3",
        "9: nop";
    masked: "lea rbx, [rip + 9f]", "fninit", "fld1", "fldz", "fdivp", "fnstsw ax", "fwait", "int3", "9: nop";
    underflow_of_stack: "fninit", "fadd st(0), st(1)", "fnstsw ax", "int3";
    sse_divide: "lea rbx, [rip + 9f]", "push 0x1D80", "ldmxcsr [rsp]", "mov eax, 1", "cvtsi2sd xmm0, eax", "xorps xmm1, xmm1",
        "9: divsd xmm0, xmm1", "int3";
    sse_masked: "lea rbx, [rip + 9f]", "push 0x1F80", "ldmxcsr [rsp]", "mov eax, 1", "cvtsi2sd xmm0, eax", "xorps xmm1, xmm1",
        "divsd xmm0, xmm1", "stmxcsr [rsp]", "pop rax", "int3", "9: nop";
    load_mxcsr: "lea rbx, [rip + 9f]", "push rdi", "9: ldmxcsr [rsp]", "int3";
    movaps: "lea rbx, [rip + 9f]", "9: movaps xmm0, [rdi]", "int3";
    movups: "lea rbx, [rip + 9f]", "movups xmm0, [rdi]", "int3", "9: nop";
    paddd: "lea rbx, [rip + 9f]", "9: paddd xmm0, [rdi]", "int3";
    fxsave: "lea rbx, [rip + 9f]", "9: fxsave64 [rdi]", "int3";
    fxrstor: "lea rbx, [rip + 9f]", "9: fxrstor64 [rdi]", "int3";
    // Fills the state, saves it, destroys it, restores it, looks.
    round_trip: "fninit", "fld1", "fldpi", "mov rax, 0x1122334455667788", "movq xmm0, rax", "movq xmm15, rax", "fxsave64 [rdi]",
        "fninit", "xorps xmm0, xmm0", "xorps xmm15, xmm15", "fxrstor64 [rdi]", "movq rax, xmm0", "movq rcx, xmm15", "fnstsw [rsp - 16]", "movzx edx, word ptr [rsp - 16]",
        "fxch st(1)", "fistp qword ptr [rsp - 8]", "mov rsi, [rsp - 8]", "int3";
    xgetbv: "lea rbx, [rip + 9f]", "xor ecx, ecx", "9: xgetbv", "int3";
    xsetbv: "lea rbx, [rip + 9f]", "xor ecx, ecx", "xor edx, edx", "mov eax, 3", "9: xsetbv", "int3";
    xsave_round_trip: "fninit", "fld1", "mov rax, 0x8877665544332211", "movq xmm3, rax", "mov eax, 3", "xor edx, edx",
        "xsave64 [rdi]", "fninit", "xorps xmm3, xmm3", "mov eax, 3", "xor edx, edx", "xrstor64 [rdi]", "movq rax, xmm3",
        "fistp qword ptr [rsp - 8]", "mov rsi, [rsp - 8]", "int3";
    // Restores with nothing in XSTATE_BV: the state becomes the initial one.
    xrstor_initial: "mov rax, 0x7777", "movq xmm3, rax", "fld1", "mov eax, 3", "xor edx, edx", "xrstor64 [rdi]", "movq rax, xmm3",
        "fnstsw [rsp - 16]", "movzx ecx, word ptr [rsp - 16]", "fnstcw [rsp - 8]", "mov si, [rsp - 8]", "int3";
    xrstor: "lea rbx, [rip + 9f]", "mov eax, 3", "xor edx, edx", "9: xrstor64 [rdi]", "int3";
    xsave: "lea rbx, [rip + 9f]", "mov eax, 3", "xor edx, edx", "9: xsave64 [rdi]", "int3";
    mmx: "fninit", "mov rax, 0x0102030405060708", "movq mm0, rax", "fnstenv [rsp - 64]", "mov cx, [rsp - 56]", "emms",
        "fnstenv [rsp - 64]", "mov dx, [rsp - 56]", "int3";
}

fn at_area(code: extern "C" fn(), offset: u64) -> State {
    let mut state = user_state(code);
    state.frame.rdi = lab::user(AREA.address()) + offset;
    state
}

/// The traps keep the x87 state of what they interrupt, so errors that wait there must not stay.
fn clear() {
    // SAFETY: the initial states.
    unsafe { asm!("fninit", "ldmxcsr [{}]", in(reg) &0x1F80_u32) };
}

pub(crate) fn check() {
    errors();
    simd_errors();
    alignment();
    saving();
    if XSAVE.yes() {
        extended();
    } else {
        skip!(TOPIC, "XSAVE: not offered by CPUID");
    }
    clear();
}

fn errors() {
    let end = run(user_state(divide_by_zero));
    clear();
    trapped(TOPIC, "x87 error with CR0.NE, at the next instruction", &end, MATH, 0);
    let end = run(kernel_state(waits));
    clear();
    trapped(TOPIC, "x87 error with CR0.NE, at FWAIT", &end, MATH, 0);
    let end = run(user_state(does_not_wait));
    clear();
    let right = end.fault().vector == BREAKPOINT && end.frame.rax & 0x8084 == 0x8084;
    holds!(TOPIC, right, "FNSTSW and FNCLEX do not wait", "{} {:#x}", end.fault(), end.frame.rax);
    let end = run(user_state(masked));
    clear();
    let right = end.fault().vector == BREAKPOINT && end.frame.rax & 0x84 == 4;
    holds!(TOPIC, right, "x87 error that is masked", "{} {:#x}", end.fault(), end.frame.rax);
    let end = run(user_state(underflow_of_stack));
    clear();
    let right = end.frame.rax & 0x241 == 0x41;
    holds!(TOPIC, right, "x87 stack underflow sets IE and SF, not C1", "{:#x}", end.frame.rax);
    let end = run(user_state(mmx));
    clear();
    let tags = (end.frame.rcx as u16, end.frame.rdx as u16);
    holds!(
        TOPIC,
        tags == (0, 0xFFFF) || tags.0 & 3 != 3 && tags.1 == 0xFFFF,
        "MMX fills the tags, EMMS empties them",
        "{tags:x?}"
    );
}

fn simd_errors() {
    let cr4 = cpu::cr4();
    let end = run(user_state(sse_divide));
    clear();
    trapped(TOPIC, "SIMD error", &end, SIMD, 0);
    // SAFETY: errors stay masked in compiled code.
    unsafe { cpu::set_cr4(cr4 & !CR4_OSXMMEXCPT) };
    let end = run(user_state(sse_divide));
    clear();
    // SAFETY: the value from before.
    unsafe { cpu::set_cr4(cr4) };
    trapped(TOPIC, "SIMD error without CR4.OSXMMEXCPT", &end, INVALID_OPCODE, 0);
    let end = run(user_state(sse_masked));
    clear();
    let right = end.fault().vector == BREAKPOINT && end.frame.rax & 0x3F == 4;
    holds!(TOPIC, right, "SIMD error that is masked sets its flag", "{} {:#x}", end.fault(), end.frame.rax);
    let mut state = user_state(load_mxcsr);
    state.frame.rdi = 1 << 16 | 0x1F80;
    let end = run(state);
    clear();
    trapped(TOPIC, "MXCSR: a reserved bit", &end, GENERAL_PROTECTION, 0);
}

fn alignment() {
    trapped(TOPIC, "MOVAPS of what is not aligned", &run(at_area(movaps, 8)), GENERAL_PROTECTION, 0);
    trapped(TOPIC, "PADDD of what is not aligned", &run(at_area(paddd, 4)), GENERAL_PROTECTION, 0);
    let end = run(at_area(movups, 1));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "MOVUPS of what is not aligned", "{}", end.fault());
    trapped(TOPIC, "FXSAVE to what is not aligned", &run(at_area(fxsave, 8)), GENERAL_PROTECTION, 0);
    trapped(TOPIC, "FXRSTOR from what is not aligned", &run(at_area(fxrstor, 8)), GENERAL_PROTECTION, 0);
}

fn saving() {
    AREA.fill(0);
    let end = run(at_area(round_trip, 0));
    clear();
    let frame = end.frame;
    let right = frame.rax == 0x1122_3344_5566_7788
        && frame.rcx == frame.rax
        && frame.rsi == 1
        && frame.rdx & 0x3800 == 0x3000;
    holds!(
        TOPIC,
        right,
        "FXSAVE and FXRSTOR",
        "{} {:#x} {:#x} {} {:#x}",
        end.fault(),
        frame.rax,
        frame.rcx,
        frame.rsi,
        frame.rdx
    );
    let saved = (AREA.read::<u16>(0), AREA.read::<u8>(4), AREA.read::<u32>(24));
    holds!(TOPIC, saved == (0x37F, 0xC0, 0x1F80), "FXSAVE: control word, abridged tags, MXCSR", "{saved:x?}");
    holds!(
        TOPIC,
        AREA.read::<u64>(160) == 0x1122_3344_5566_7788 && AREA.read::<u64>(400) == 0x1122_3344_5566_7788,
        "FXSAVE: XMM0 and XMM15"
    );
    let pi = (AREA.read::<u64>(32), AREA.read::<u16>(40));
    holds!(TOPIC, pi == (0xC90F_DAA2_2168_C235, 0x4000), "FXSAVE: ST0", "{pi:x?}");
    AREA.write(24, 0xFFFF_0000_u32);
    trapped(TOPIC, "FXRSTOR: a reserved bit of MXCSR", &run(at_area(fxrstor, 0)), GENERAL_PROTECTION, 0);
}

fn set_xcr0(index: u32, value: u64) -> Option<Fault> {
    // SAFETY: a fault is caught; x87 and SSE stay enabled.
    unsafe { guarded!("xsetbv"; in("ecx") index, in("eax") value as u32, in("edx") (value >> 32) as u32) }
}

fn extended() {
    let is_general = |fault: Option<Fault>| {
        fault.is_some_and(|fault| fault.vector == GENERAL_PROTECTION && fault.error == 0)
    };
    let cr4 = cpu::cr4();
    // SAFETY: the bit only adds instructions.
    unsafe { cpu::set_cr4(cr4 & !CR4_OSXSAVE) };
    trapped(TOPIC, "XGETBV without CR4.OSXSAVE", &run(user_state(xgetbv)), INVALID_OPCODE, 0);
    trapped(TOPIC, "XSAVE without CR4.OSXSAVE", &run(at_area(xsave, 0)), INVALID_OPCODE, 0);
    holds!(TOPIC, cpu::cpuid(1, 0).ecx & 1 << 27 == 0, "CPUID shows CR4.OSXSAVE clear");
    // SAFETY: as above.
    unsafe { cpu::set_cr4(cr4 | CR4_OSXSAVE) };
    holds!(TOPIC, cpu::cpuid(1, 0).ecx & 1 << 27 != 0, "CPUID shows CR4.OSXSAVE set");
    trapped(TOPIC, "XSETBV at CPL 3", &run(user_state(xsetbv)), GENERAL_PROTECTION, 0);
    let fault = set_xcr0(0, 2);
    holds!(TOPIC, is_general(fault), "XCR0 without x87", "{fault:x?}");
    let fault = set_xcr0(0, 5);
    holds!(TOPIC, is_general(fault), "XCR0 with AVX and without SSE", "{fault:x?}");
    let fault = set_xcr0(0, 1 << 62 | 3);
    holds!(TOPIC, is_general(fault), "XCR0 with what does not exist", "{fault:x?}");
    let fault = set_xcr0(1, 3);
    holds!(TOPIC, is_general(fault), "XCR1 does not exist", "{fault:x?}");
    let fault = set_xcr0(0, 3);
    holds!(TOPIC, fault.is_none(), "XCR0 with x87 and SSE", "{fault:x?}");
    let end = run(user_state(xgetbv));
    holds!(
        TOPIC,
        (end.frame.rax, end.frame.rdx) == (3, 0),
        "XGETBV at CPL 3",
        "{} {:#x}",
        end.fault(),
        end.frame.rax
    );
    let size = cpu::cpuid(0xD, 0).ebx;
    holds!(TOPIC, size == 576, "CPUID tells the size for XCR0", "{size}");
    AREA.fill(0);
    let end = run(at_area(xsave_round_trip, 0));
    clear();
    let right = end.frame.rax == 0x8877_6655_4433_2211 && end.frame.rsi == 1;
    holds!(TOPIC, right, "XSAVE and XRSTOR", "{} {:#x} {}", end.fault(), end.frame.rax, end.frame.rsi);
    holds!(
        TOPIC,
        AREA.read::<u64>(512) & 3 == 3,
        "XSAVE says in XSTATE_BV what it saved",
        "{:#x}",
        AREA.read::<u64>(512)
    );
    AREA.write(512, 0_u64);
    let end = run(at_area(xrstor_initial, 0));
    clear();
    let initial = (end.frame.rax, end.frame.rcx & 0x3800, end.frame.rsi & 0xFFFF);
    holds!(
        TOPIC,
        initial == (0, 0, 0x37F),
        "XRSTOR of what is not in XSTATE_BV gives the initial state",
        "{initial:x?}"
    );
    AREA.write(512, 1_u64 << 62);
    trapped(
        TOPIC,
        "XRSTOR: XSTATE_BV with what XCR0 has not",
        &run(at_area(xrstor, 0)),
        GENERAL_PROTECTION,
        0,
    );
    AREA.write(512, 0_u64);
    AREA.write(528, 1_u64);
    trapped(TOPIC, "XRSTOR: a reserved byte of the header", &run(at_area(xrstor, 0)), GENERAL_PROTECTION, 0);
    AREA.fill(0);
    trapped(TOPIC, "XRSTOR from what is not aligned", &run(at_area(xrstor, 16)), GENERAL_PROTECTION, 0);
    trapped(TOPIC, "XSAVE to what is not aligned", &run(at_area(xsave, 32)), GENERAL_PROTECTION, 0);
    // SAFETY: the value from before.
    unsafe { cpu::set_cr4(cr4) };
}

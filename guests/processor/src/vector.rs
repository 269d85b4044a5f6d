// SPDX-License-Identifier: MIT OR Apache-2.0
//! AVX as the system sees it: when it is there, what its state is, how that is saved, and what masked accesses touch (Intel SDM 1 13, 14; SDM 2 2.4).

use crate::lab::{
    self, AVX, AVX2, BMI1, XGETBV1, XSAVE, XSAVEC, XSAVEOPT, XSAVES, code, holds, kernel_state, run, trapped,
    user_state,
};
use core::arch::asm;
use support::page::{self, Page, Size, bits};
use support::trap::{Fault, State, vector::*};
use support::{cpu, guarded, skip};

const TOPIC: &str = "vector";
const CR4_OSXSAVE: u64 = 1 << 18;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
/// x87, SSE and AVX.
const ALL: u64 = 7;
/// Offsets in an XSAVE area.
const XSTATE_BV: usize = 512;
const XCOMP_BV: usize = 520;
const YMM_HIGH: usize = 576;
/// XCOMP_BV of the compacted form.
const COMPACTED: u64 = 1 << 63;

static AREA: Page = Page::new();
static TARGET: Page = Page::new();
/// Where a page is mapped and its neighbour is not.
const EDGE: u64 = lab::WINDOW + (1 << 37) * 4;

code! {
    add: "lea rbx, [rip + 9f]", "9: vpaddd xmm0, xmm1, xmm2", "int3";
    add_with_66: "lea rbx, [rip + 9f]", "9: .byte 0x66", "vpaddd xmm0, xmm1, xmm2", "int3";
    add_with_lock: "lea rbx, [rip + 9f]", "9: .byte 0xF0", "vpaddd xmm0, xmm1, xmm2", "int3";
    and_not: "mov eax, 0xF0", "mov ecx, 0xFF", "andn edx, eax, ecx", "int3";
    clear_upper: "lea rbx, [rip + 9f]", "9: vzeroupper", "int3";
    aligned: "lea rbx, [rip + 9f]", "9: vmovaps ymm0, [rdi]", "int3";
    unaligned: "lea rbx, [rip + 9f]", "vmovups ymm0, [rdi]", "vpaddd ymm0, ymm0, [rdi + 1]", "int3", "9: nop";
    // Upper halves: kept by instructions without VEX, cleared by those with it. Each is looked at in RAX, RCX, RDX.
    upper_halves: "vpcmpeqd xmm1, xmm1, xmm1", "vinsertf128 ymm0, ymm1, xmm1, 1", "vmovaps ymm2, ymm0", "vmovaps ymm3, ymm0",
        "paddd xmm0, xmm1", "vpaddd xmm2, xmm2, xmm1",
        "vextractf128 xmm4, ymm0, 1", "movq rax, xmm4", "vextractf128 xmm4, ymm2, 1", "movq rcx, xmm4",
        "vzeroupper", "vextractf128 xmm4, ymm3, 1", "movq rdx, xmm4", "movq rsi, xmm3", "int3";
    exception: "lea rbx, [rip + 9f]", "vpcmpeqd xmm1, xmm1, xmm1", "vinsertf128 ymm0, ymm1, xmm1, 1", "push 0x1D80", "vldmxcsr [rsp]", "mov eax, 1",
        "vcvtsi2sd xmm1, xmm1, eax", "vxorps xmm2, xmm2, xmm2", "9: vdivpd ymm0, ymm1, ymm2", "int3";
    xgetbv: "xor ecx, ecx", "xgetbv", "int3";
    // XINUSE with the upper halves in use, and without.
    in_use: "vpcmpeqd xmm1, xmm1, xmm1", "vinsertf128 ymm9, ymm1, xmm1, 1", "mov ecx, 1", "xgetbv", "mov esi, eax", "vzeroupper", "xgetbv", "int3";
    save: "lea rbx, [rip + 9f]", "mov eax, 7", "xor edx, edx", "9: xsave64 [rdi]", "int3";
    round_trip: "mov rax, 0x1122334455667788", "vmovq xmm1, rax", "vinsertf128 ymm11, ymm1, xmm1, 1", "vmovaps ymm0, ymm11", "mov eax, 7", "xor edx, edx",
        "xsave64 [rdi]", "vzeroall", "mov eax, 4", "xor edx, edx", "xrstor64 [rdi]", "vextractf128 xmm1, ymm11, 1", "movq rcx, xmm1", "movq rsi, xmm11", "int3";
    // The state after it is initial, so the bit in memory is cleared and what lies there stays.
    optimised: "vzeroall", "mov eax, 4", "xor edx, edx", "xsaveopt64 [rdi]", "int3";
    compact: "mov rax, 0x1122334455667788", "vmovq xmm1, rax", "vinsertf128 ymm11, ymm1, xmm1, 1", "mov eax, 7", "xor edx, edx",
        "xsavec64 [rdi]", "vzeroall", "mov eax, 7", "xor edx, edx", "xrstor64 [rdi]", "vextractf128 xmm1, ymm11, 1", "movq rcx, xmm1", "movq rsi, xmm11", "int3";
    compact_supervisor: "mov rax, 0x1122334455667788", "vmovq xmm1, rax", "vinsertf128 ymm11, ymm1, xmm1, 1", "mov eax, 7", "xor edx, edx",
        "xsaves64 [rdi]", "vzeroall", "mov eax, 7", "xor edx, edx", "xrstors64 [rdi]", "vextractf128 xmm1, ymm11, 1", "movq rcx, xmm1", "movq rsi, xmm11", "int3";
    restore: "lea rbx, [rip + 9f]", "mov eax, 7", "xor edx, edx", "9: xrstor64 [rdi]", "int3";
    restore_supervisor: "lea rbx, [rip + 9f]", "mov eax, 7", "xor edx, edx", "9: xrstors64 [rdi]", "int3";
    save_supervisor: "lea rbx, [rip + 9f]", "mov eax, 7", "xor edx, edx", "9: xsaves64 [rdi]", "int3";
    // The mask in ESI: bit n selects element n.
    masked_load: "lea rbx, [rip + 9f]", "vmovd xmm1, esi", "vpbroadcastd ymm1, xmm1", "vpsllvd ymm1, ymm1, [r8]", "9: vmaskmovps ymm0, ymm1, [rdi]",
        "vmovups [r9], ymm0", "int3";
    masked_store: "lea rbx, [rip + 9f]", "vmovd xmm1, esi", "vpbroadcastd ymm1, xmm1", "vpsllvd ymm1, ymm1, [r8]", "vpcmpeqd ymm0, ymm0, ymm0",
        "9: vpmaskmovd [rdi], ymm1, ymm0", "int3";
    // Indices at [R10]. The mask is kept in YMM2, what is loaded in YMM0.
    gather: "lea rbx, [rip + 9f]", "vmovd xmm1, esi", "vpbroadcastd ymm1, xmm1", "vpsllvd ymm2, ymm1, [r8]", "vmovdqu ymm3, [r10]", "vpxor ymm0, ymm0, ymm0",
        "9: vpgatherdd ymm0, [rdi + ymm3 * 4], ymm2", "vmovdqu [r9], ymm0", "vmovdqu [r9 + 32], ymm2", "int3";
    store_gathered: "vmovdqu [r9], ymm0", "vmovdqu [r9 + 32], ymm2", "int3";
}

fn at_area(code: extern "C" fn(), offset: u64) -> State {
    let mut state = user_state(code);
    state.frame.rdi = lab::user(AREA.address()) + offset;
    state
}

fn set_xcr0(value: u64) -> Option<Fault> {
    // SAFETY: a fault is caught; x87 and SSE stay enabled.
    unsafe { guarded!("xsetbv"; in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32) }
}

/// Runs code with AVX enabled or not.
fn with_xcr0(value: u64, state: State) -> State {
    set_xcr0(value);
    let end = run(state);
    set_xcr0(ALL);
    end
}

pub(crate) fn check() {
    if !(XSAVE.yes() && AVX.yes()) {
        return skip!(TOPIC, "AVX: not offered by CPUID");
    }
    let cr4 = cpu::cr4();
    // SAFETY: the bit only adds instructions.
    unsafe { cpu::set_cr4(cr4 | CR4_OSXSAVE) };
    let fault = set_xcr0(ALL);
    holds!(TOPIC, fault.is_none(), "XCR0 with AVX", "{fault:x?}");
    availability(cr4);
    values();
    saving();
    if AVX2.yes() {
        masks();
    } else {
        skip!(TOPIC, "masked accesses: AVX2 is not offered by CPUID");
    }
    set_xcr0(3);
    // SAFETY: the value from before; the initial states.
    unsafe {
        cpu::set_cr4(cr4);
        asm!("fninit", "ldmxcsr [{}]", in(reg) &0x1F80_u32);
    }
}

fn availability(cr4: u64) {
    // SAFETY: the bit only takes instructions away.
    unsafe { cpu::set_cr4(cr4 & !CR4_OSXSAVE) };
    trapped(TOPIC, "AVX without CR4.OSXSAVE", &run(user_state(add)), INVALID_OPCODE, 0);
    // SAFETY: as before.
    unsafe { cpu::set_cr4(cr4 | CR4_OSXSAVE) };
    trapped(TOPIC, "AVX without XCR0.AVX", &with_xcr0(3, user_state(add)), INVALID_OPCODE, 0);
    trapped(TOPIC, "AVX with x87 alone in XCR0", &with_xcr0(1, user_state(add)), INVALID_OPCODE, 0);
    trapped(TOPIC, "VZEROUPPER without XCR0.AVX", &with_xcr0(3, user_state(clear_upper)), INVALID_OPCODE, 0);
    let end = run(user_state(add));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "AVX with XCR0.AVX", "{}", end.fault());
    let switched = |code, bits| {
        let mut state = user_state(code);
        state.cr0 = cpu::cr0() | bits;
        state
    };
    trapped(TOPIC, "AVX with CR0.TS", &run(switched(add, CR0_TS)), NO_MATH, 0);
    trapped(
        TOPIC,
        "AVX with CR0.TS, without XCR0.AVX",
        &with_xcr0(3, switched(add, CR0_TS)),
        INVALID_OPCODE,
        0,
    );
    let end = run(switched(add, CR0_EM));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "AVX does not look at CR0.EM", "{}", end.fault());
    trapped(TOPIC, "66 before VEX", &run(user_state(add_with_66)), INVALID_OPCODE, 0);
    trapped(TOPIC, "LOCK before VEX", &run(user_state(add_with_lock)), INVALID_OPCODE, 0);
    if BMI1.yes() {
        let end = with_xcr0(1, switched(and_not, CR0_TS));
        let right = end.fault().vector == BREAKPOINT && end.frame.rdx == 0x0F;
        holds!(TOPIC, right, "ANDN needs no state", "{} {:#x}", end.fault(), end.frame.rdx);
    } else {
        skip!(TOPIC, "ANDN: BMI1 is not offered by CPUID");
    }
    let end = run(user_state(xgetbv));
    holds!(TOPIC, (end.frame.rax, end.frame.rdx) == (ALL, 0), "XGETBV tells AVX", "{:#x}", end.frame.rax);
    let sizes = cpu::cpuid(0xD, 0);
    holds!(
        TOPIC,
        sizes.ebx == 832 && sizes.ecx >= 832,
        "CPUID tells the size with AVX",
        "{} {}",
        sizes.ebx,
        sizes.ecx
    );
    let part = cpu::cpuid(0xD, 2);
    let right = (part.eax, part.ebx, part.ecx & 1) == (256, 576, 0);
    holds!(TOPIC, right, "CPUID tells where AVX state lies", "{} {}", part.eax, part.ebx);
    set_xcr0(3);
    let size = cpu::cpuid(0xD, 0).ebx;
    set_xcr0(ALL);
    holds!(TOPIC, size == 576, "CPUID tells the size without AVX", "{size}");
}

fn values() {
    let end = run(user_state(upper_halves));
    let (kept, cleared, zeroed) = (end.frame.rax, end.frame.rcx, end.frame.rdx);
    holds!(TOPIC, kept == u64::MAX, "PADDD keeps the upper half", "{kept:#x}");
    holds!(TOPIC, cleared == 0, "VPADDD of XMM clears the upper half", "{cleared:#x}");
    let right = zeroed == 0 && end.frame.rsi == u64::MAX;
    holds!(TOPIC, right, "VZEROUPPER clears upper halves alone", "{zeroed:#x} {:#x}", end.frame.rsi);
    let end = run(user_state(exception));
    trapped(TOPIC, "SIMD error in an AVX instruction", &end, SIMD, 0);
    // SAFETY: the initial state.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &0x1F80_u32) };
    trapped(TOPIC, "VMOVAPS of what is not aligned", &run(at_area(aligned, 16)), GENERAL_PROTECTION, 0);
    let end = run(at_area(unaligned, 1));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "other operands need not be aligned", "{}", end.fault());
}

fn round(code: extern "C" fn(), user: bool) -> (bool, u64, u64) {
    AREA.fill(0);
    let mut state = if user { user_state(code) } else { kernel_state(code) };
    state.frame.rdi = if user { lab::user(AREA.address()) } else { AREA.address() };
    let end = run(state);
    let right = end.fault().vector == BREAKPOINT
        && end.frame.rcx == 0x1122_3344_5566_7788
        && AREA.read::<u64>(YMM_HIGH + 16 * 11) == 0x1122_3344_5566_7788;
    (right, end.frame.rcx, end.frame.rsi)
}

fn saving() {
    // XRSTOR of AVX alone gives the upper halves back, and XMM stays as it was cleared.
    let (right, upper, lower) = round(round_trip, true);
    holds!(TOPIC, right && lower == 0, "XSAVE, XRSTOR of AVX alone", "{upper:#x} {lower:#x}");
    let in_memory = AREA.read::<u64>(XSTATE_BV) & 6;
    holds!(TOPIC, in_memory == 6, "XSAVE says that AVX is in use", "{in_memory:#x}");
    if XSAVEOPT.yes() {
        AREA.fill(0x55);
        AREA.write(XSTATE_BV, 7_u64);
        run(at_area(optimised, 0));
        let found = (AREA.read::<u64>(XSTATE_BV), AREA.read::<u64>(YMM_HIGH));
        holds!(
            TOPIC,
            found == (3, 0x5555_5555_5555_5555),
            "XSAVEOPT leaves out what is initial",
            "{found:x?}"
        );
    } else {
        skip!(TOPIC, "XSAVEOPT: not offered by CPUID");
    }
    if XGETBV1.yes() {
        let end = run(user_state(in_use));
        let (with, without) = (end.frame.rsi & 4, end.frame.rax & 4);
        holds!(
            TOPIC,
            (with, without) == (4, 0),
            "XGETBV tells whether AVX state is in use",
            "{with} {without}"
        );
    } else {
        skip!(TOPIC, "XGETBV with ECX = 1: not offered by CPUID");
    }
    if XSAVEC.yes() {
        let (right, upper, lower) = round(compact, true);
        holds!(TOPIC, right, "XSAVEC and XRSTOR", "{upper:#x} {lower:#x}");
        let format = AREA.read::<u64>(XCOMP_BV);
        holds!(TOPIC, format == COMPACTED | ALL, "XSAVEC says its format", "{format:#x}");
        let size = cpu::cpuid(0xD, 1).ebx;
        holds!(TOPIC, size == 832, "CPUID tells the size of the compacted form", "{size}");
        compacted_headers();
    } else {
        skip!(TOPIC, "XSAVEC: not offered by CPUID");
    }
    if XSAVES.yes() {
        let (right, upper, lower) = round(compact_supervisor, false);
        holds!(TOPIC, right && lower == 0x1122_3344_5566_7788, "XSAVES and XRSTORS", "{upper:#x} {lower:#x}");
        trapped(TOPIC, "XSAVES at CPL 3", &run(at_area(save_supervisor, 0)), GENERAL_PROTECTION, 0);
        trapped(TOPIC, "XRSTORS at CPL 3", &run(at_area(restore_supervisor, 0)), GENERAL_PROTECTION, 0);
        AREA.fill(0);
        let mut state = kernel_state(restore_supervisor);
        state.frame.rdi = AREA.address();
        trapped(TOPIC, "XRSTORS takes the compacted form alone", &run(state), GENERAL_PROTECTION, 0);
    } else {
        skip!(TOPIC, "XSAVES: not offered by CPUID");
    }
    AREA.fill(0);
    AREA.write(XSTATE_BV, 4_u64);
    trapped(
        TOPIC,
        "XRSTOR of AVX without XCR0.AVX",
        &with_xcr0(3, at_area(restore, 0)),
        GENERAL_PROTECTION,
        0,
    );
    // The end of the area lies on a page that is not there.
    map_edge();
    let mut state = user_state(save);
    state.frame.rdi = EDGE + page::SIZE - 640;
    let end = run(state);
    trapped(TOPIC, "XSAVE needs the AVX part too", &end, PAGE_FAULT, 6);
    let mut state = user_state(save);
    state.frame.rdi = EDGE + page::SIZE - 640;
    let end = with_xcr0(3, state);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "and without AVX does not", "{}", end.fault());
}

fn compacted_headers() {
    let headers: [(&str, u64, u64); 3] = [
        ("XRSTOR: XCOMP_BV with what XCR0 has not", 0, COMPACTED | 1 << 62),
        ("XRSTOR: XSTATE_BV with what XCOMP_BV has not", 4, COMPACTED | 3),
        ("XRSTOR: XCOMP_BV without its format", 0, 3),
    ];
    for (what, state, format) in headers {
        AREA.fill(0);
        AREA.write(XSTATE_BV, state);
        AREA.write(XCOMP_BV, format);
        trapped(TOPIC, what, &run(at_area(restore, 0)), GENERAL_PROTECTION, 0);
    }
    AREA.fill(0);
    AREA.write(XCOMP_BV, COMPACTED | ALL);
    AREA.write(528, 1_u64);
    trapped(
        TOPIC,
        "XRSTOR: a reserved byte of a compacted header",
        &run(at_area(restore, 0)),
        GENERAL_PROTECTION,
        0,
    );
}

/// Maps the target at the edge, open to CPL 3, and nothing behind it.
fn map_edge() {
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(EDGE, TARGET.address(), Size::Small, bits::PRESENT | bits::WRITE | bits::USER) };
    page::flush();
}

/// Code with a mask for elements at an address, whose results go to the area.
fn masked(code: extern "C" fn(), address: u64, mask: u64) -> State {
    // Element n's bit n goes to bit 31 of its lane.
    for element in 0..8_usize {
        AREA.write(1024 + 4 * element, 31 - element as u32);
    }
    let mut state = at_area(code, 0);
    state.frame.rdi = address;
    state.frame.rsi = mask;
    state.frame.r8 = lab::user(AREA.address()) + 1024;
    state.frame.r9 = lab::user(AREA.address());
    state.frame.r10 = lab::user(AREA.address()) + 1056;
    state
}

fn elements(offset: usize) -> [u32; 8] {
    core::array::from_fn(|element| AREA.read::<u32>(offset + 4 * element))
}

fn masks() {
    map_edge();
    for element in 0..8_usize {
        TARGET.write(4096 - 32 + 4 * element, element as u32 + 1);
    }
    // Four elements in the page, four behind it.
    let across = EDGE + page::SIZE - 16;
    let end = run(masked(masked_load, across, 0x0A));
    let loaded = elements(0);
    let right = end.fault().vector == BREAKPOINT && loaded == [0, 6, 0, 8, 0, 0, 0, 0];
    holds!(TOPIC, right, "a masked load touches what it selects alone", "{} {loaded:x?}", end.fault());
    let end = run(masked(masked_load, across, 0x20));
    let right = end.fault().cr2 == EDGE + page::SIZE + 4;
    trapped(TOPIC, "a masked load of what is not there", &end, PAGE_FAULT, 4);
    holds!(TOPIC, right, "its address is the element's", "{:#x}", end.fault().cr2);
    let end = run(masked(masked_load, 1 << 62, 0));
    holds!(
        TOPIC,
        end.fault().vector == BREAKPOINT,
        "a masked load of nothing faults nowhere",
        "{}",
        end.fault()
    );
    let end = run(masked(masked_store, across, 0x05));
    let stored: [u32; 4] = core::array::from_fn(|element| TARGET.read::<u32>(4080 + 4 * element));
    let right = end.fault().vector == BREAKPOINT && stored == [u32::MAX, 6, u32::MAX, 8];
    holds!(TOPIC, right, "a masked store touches what it selects alone", "{} {stored:x?}", end.fault());
    let end = run(masked(masked_store, across, 0x12));
    trapped(TOPIC, "a masked store to what is not there", &end, PAGE_FAULT, 6);
    holds!(TOPIC, TARGET.read::<u32>(4084) == 6, "stores nothing", "{:#x}", TARGET.read::<u32>(4084));
    // Of the selected elements one is not there: those before it are loaded and out of the mask. (Compiled code uses lower halves.)
    TARGET.write(0, [10_u32, 11, 12, 13]);
    for (element, index) in [1_u32, 0, 3, 0, 2, 3, 1024, 0].into_iter().enumerate() {
        AREA.write(1056 + 4 * element, index);
    }
    let end = run(masked(gather, EDGE, 0xF5));
    trapped(TOPIC, "a gather from what is not there", &end, PAGE_FAULT, 4);
    run(masked(store_gathered, EDGE, 0));
    let (loaded, mask) = (elements(0), elements(32));
    let right =
        loaded[4..] == [12, 13, 0, 0] && mask[4..6] == [0; 2] && mask[6] >> 31 == 1 && mask[7] >> 31 == 1;
    holds!(TOPIC, right, "a gather keeps what it has loaded before a fault", "{loaded:x?} {mask:x?}");
    AREA.write(1056 + 24, 1_u32);
    let end = run(masked(gather, EDGE, 0xF5));
    let (loaded, mask) = (elements(0), elements(32));
    let right =
        end.fault().vector == BREAKPOINT && loaded == [11, 0, 13, 0, 12, 13, 11, 10] && mask == [0; 8];
    holds!(TOPIC, right, "a gather", "{} {loaded:x?} {mask:x?}", end.fault());
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control registers and MSRs refuse what they must (Intel SDM 3A 2.5, 4.1, 5.8), and CR4's opt-ins and opt-outs work.

use crate::lab::{self, FSGSBASE, RDPID, RDTSCP, UMIP, code, holds, kernel_state, run, trapped, user_state};
use core::arch::asm;
use support::trap::{self, Fault, State, vector::*};
use support::{cpu, guarded, segments, skip};

const TOPIC: &str = "control";
const EFER: u32 = 0xC000_0080;
const FS_BASE: u32 = 0xC000_0100;
const GS_BASE: u32 = 0xC000_0101;
const KERNEL_GS_BASE: u32 = 0xC000_0102;
const TSC_AUX: u32 = 0xC000_0103;
const PAT: u32 = 0x277;
const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR4_TSD: u64 = 1 << 2;
const CR4_UMIP: u64 = 1 << 11;
const CR4_FSGSBASE: u64 = 1 << 16;
const NOT_CANONICAL: u64 = 1 << 63;

code! {
    rdtsc: "lea rbx, [rip + 9f]", "9: rdtsc", "int3";
    rdtscp: "lea rbx, [rip + 9f]", "9: .byte 0x0F, 0x01, 0xF9", "int3";
    sgdt: "lea rbx, [rip + 9f]", "9: sgdt [rsp - 32]", "int3";
    sidt: "lea rbx, [rip + 9f]", "9: sidt [rsp - 32]", "int3";
    sldt: "lea rbx, [rip + 9f]", "9: sldt eax", "int3";
    str: "lea rbx, [rip + 9f]", "9: str eax", "int3";
    smsw: "lea rbx, [rip + 9f]", "9: smsw eax", "int3";
    x87: "lea rbx, [rip + 9f]", "9: fld1", "int3";
    sse: "lea rbx, [rip + 9f]", "9: movaps xmm0, xmm1", "int3";
    wait: "lea rbx, [rip + 9f]", "9: .byte 0x9B", "int3";
    rdfsbase: "lea rbx, [rip + 9f]", "9: rdfsbase rax", "int3";
    wrfsbase: "lea rbx, [rip + 9f]", "9: wrfsbase rdi", "rdfsbase rax", "int3";
    wrfsbase32: "lea rbx, [rip + 9f]", "9: wrfsbase edi", "rdfsbase rax", "int3";
    through_fs: "wrfsbase rdi", "mov rax, fs:[8]", "int3";
    port_byte: "lea rbx, [rip + 9f]", "mov edx, 0x80", "9: in al, dx", "int3";
    port_word: "lea rbx, [rip + 9f]", "mov edx, 0x80", "9: in ax, dx", "int3";
    cr1: "lea rbx, [rip + 9f]", "9: .byte 0x0F, 0x20, 0xC8", "int3";
    rdpmc: "lea rbx, [rip + 9f]", "xor ecx, ecx", "9: rdpmc", "int3";
}

fn is_general(fault: Option<Fault>) -> bool {
    fault.is_some_and(|fault| fault.vector == GENERAL_PROTECTION && fault.error == 0)
}

fn set_cr0(value: u64) -> Option<Fault> {
    // SAFETY: a fault is caught; what is not refused suits the program.
    unsafe { guarded!("mov cr0, {value}"; value = in(reg) value) }
}

fn set_cr4(value: u64) -> Option<Fault> {
    // SAFETY: a fault is caught; what is not refused suits the program.
    unsafe { guarded!("mov cr4, {value}"; value = in(reg) value) }
}

pub(crate) fn check() {
    refusals();
    model_specific();
    time_stamp();
    mathematics();
    descriptor_tables();
    bases();
    ports();
}

fn refusals() {
    let (cr0, cr4) = (cpu::cr0(), cpu::cr4());
    let cases: [(&str, u64); 4] = [
        ("CR0: paging without protection", cr0 & !1),
        ("CR0: NW without CD", (cr0 | 1 << 29) & !(1 << 30)),
        ("CR0: upper half", cr0 | 1 << 32),
        ("CR0: paging off in 64-bit mode", cr0 & !(1 << 31)),
    ];
    for (what, value) in cases {
        // If they are not refused the program ends here, and TCG is not known to refuse them.
        if lab::is_tcg() && value & 0x8000_0001 != 0x8000_0001 {
            skip!(TOPIC, "{what}: not tried under TCG, which may not survive it");
        } else {
            let fault = set_cr0(value);
            set_cr0(cr0);
            holds!(TOPIC, is_general(fault), what, "{fault:x?}");
        }
    }
    set_cr0(cr0 & !(1 << 4));
    holds!(TOPIC, cpu::cr0() & 1 << 4 != 0, "CR0.ET is always 1", "{:#x}", cpu::cr0());
    for (what, value) in [
        ("CR4: PAE off in long mode", cr4 & !(1 << 5)),
        ("CR4: upper half", cr4 | 1 << 40),
        ("CR4: bit 15", cr4 | 1 << 15),
    ] {
        if lab::is_tcg() {
            skip!(TOPIC, "{what}: not tried under TCG, which does not survive all of them");
            continue;
        }
        let fault = set_cr4(value);
        holds!(TOPIC, is_general(fault), what, "{fault:x?}");
    }
    set_cr4(cr4);
    trapped(TOPIC, "CR1 does not exist", &run(kernel_state(cr1)), INVALID_OPCODE, 0);
    // SAFETY: a fault is caught.
    let fault = unsafe { guarded!("mov cr8, {value}"; value = in(reg) 16_u64) };
    holds!(TOPIC, is_general(fault), "CR8: more than 4 bits", "{fault:x?}");
    // SAFETY: LMSW can set PE, which is set, and change TS, which is put back.
    unsafe {
        asm!("lmsw {:x}", in(reg) 8_u16);
        let after = cpu::cr0();
        cpu::set_cr0(cr0);
        holds!(
            TOPIC,
            after & 1 == 1 && after & CR0_TS != 0,
            "LMSW sets TS and cannot clear PE",
            "{after:#x}"
        );
        cpu::set_cr0(cr0 | CR0_TS);
        asm!("clts");
        holds!(TOPIC, cpu::cr0() & CR0_TS == 0, "CLTS");
        let mut word = 0xFFFF_FFFF_FFFF_FFFF_u64;
        asm!("smsw {:r}", inout(reg) word);
        holds!(TOPIC, word as u16 == cpu::cr0() as u16, "SMSW", "{word:#x}");
        cpu::set_cr0(cr0);
    }
}

fn model_specific() {
    let refused = |what: &str, number: u32, value: u64| {
        let kept = trap::rdmsr(number);
        let fault = trap::wrmsr(number, value).err();
        holds!(TOPIC, is_general(fault), what, "{fault:x?}");
        if let Ok(kept) = kept {
            // What was not refused is put back.
            let _ = trap::wrmsr(number, kept);
        }
    };
    let efer = cpu::rdmsr(EFER);
    refused("EFER: a reserved bit", EFER, efer | 1 << 3);
    if lab::is_tcg() {
        skip!(TOPIC, "EFER: LME while paging is on: not tried under TCG, which may not survive it");
    } else {
        refused("EFER: LME while paging is on", EFER, efer & !(1 << 8));
    }
    refused("FS base that is not canonical", FS_BASE, NOT_CANONICAL);
    refused("GS base that is not canonical", GS_BASE, NOT_CANONICAL);
    refused("kernel GS base that is not canonical", KERNEL_GS_BASE, NOT_CANONICAL);
    refused("PAT: a type that does not exist", PAT, 0x0007_0406_0007_0402);
    let fault = trap::rdmsr(0x0BAD_0000).err();
    holds!(TOPIC, is_general(fault), "RDMSR of what does not exist", "{fault:x?}");
    let fault = trap::wrmsr(0x0BAD_0000, 0).err();
    holds!(TOPIC, is_general(fault), "WRMSR of what does not exist", "{fault:x?}");
    holds!(TOPIC, efer & 0x500 == 0x500, "EFER shows LME and LMA", "{efer:#x}");
    let (low, high): (u64, u64);
    // SAFETY: reads EFER; only ECX names it.
    unsafe {
        asm!("rdmsr", in("rcx") 0xFFFF_FFFF_C000_0080_u64, inout("rax") u64::MAX => low, inout("rdx") u64::MAX => high)
    };
    holds!(
        TOPIC,
        low == efer && high == 0,
        "RDMSR looks at ECX only and clears the upper halves",
        "{low:#x} {high:#x}"
    );
    trapped(TOPIC, "RDPMC at CPL 3 without CR4.PCE", &run(user_state(rdpmc)), GENERAL_PROTECTION, 0);
}

fn time_stamp() {
    let cr4 = cpu::cr4();
    let first = cpu::rdtsc();
    let second = cpu::rdtsc();
    holds!(TOPIC, second >= first, "RDTSC never runs backwards", "{first} {second}");
    let end = run(user_state(rdtsc));
    holds!(
        TOPIC,
        end.fault().vector == BREAKPOINT && end.frame.rax >> 32 == 0,
        "RDTSC at CPL 3",
        "{}",
        end.fault()
    );
    set_cr4(cr4 | CR4_TSD);
    trapped(TOPIC, "RDTSC at CPL 3 with CR4.TSD", &run(user_state(rdtsc)), GENERAL_PROTECTION, 0);
    let end = run(kernel_state(rdtsc));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "RDTSC at CPL 0 with CR4.TSD", "{}", end.fault());
    if RDTSCP.yes() {
        trapped(TOPIC, "RDTSCP at CPL 3 with CR4.TSD", &run(user_state(rdtscp)), GENERAL_PROTECTION, 0);
        set_cr4(cr4);
        let kept = cpu::rdmsr(TSC_AUX);
        // SAFETY: nothing else uses TSC_AUX.
        unsafe { cpu::wrmsr(TSC_AUX, 0x89AB_CDEF) };
        let mut state = user_state(rdtscp);
        state.frame.rcx = u64::MAX;
        let end = run(state);
        holds!(TOPIC, end.frame.rcx == 0x89AB_CDEF, "RDTSCP gives TSC_AUX in ECX", "{:#x}", end.frame.rcx);
        if RDPID.yes() {
            let value: u64;
            // SAFETY: RDPID reads TSC_AUX.
            unsafe { asm!(".byte 0xF3, 0x0F, 0xC7, 0xF8", out("rax") value) };
            holds!(TOPIC, value == 0x89AB_CDEF, "RDPID gives TSC_AUX", "{value:#x}");
        } else {
            skip!(TOPIC, "RDPID: not offered by CPUID");
        }
        // SAFETY: the value from before.
        unsafe { cpu::wrmsr(TSC_AUX, kept) };
    } else {
        skip!(TOPIC, "RDTSCP: not offered by CPUID");
    }
    set_cr4(cr4);
}

fn mathematics() {
    let cr0 = cpu::cr0();
    // While TS or EM is set the program must not touch such registers; the traps take care of themselves.
    let with = |bits: u64, mut state: State| {
        state.cr0 = cr0 & !(CR0_MP | CR0_EM | CR0_TS) | bits;
        run(state)
    };
    trapped(TOPIC, "x87 with CR0.TS", &with(CR0_TS, user_state(x87)), NO_MATH, 0);
    trapped(TOPIC, "SSE with CR0.TS", &with(CR0_TS, user_state(sse)), NO_MATH, 0);
    trapped(TOPIC, "x87 with CR0.EM", &with(CR0_EM, user_state(x87)), NO_MATH, 0);
    trapped(TOPIC, "SSE with CR0.EM", &with(CR0_EM, user_state(sse)), INVALID_OPCODE, 0);
    trapped(TOPIC, "WAIT with CR0.TS and CR0.MP", &with(CR0_TS | CR0_MP, user_state(wait)), NO_MATH, 0);
    let end = with(CR0_TS, user_state(wait));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "WAIT with CR0.TS alone", "{}", end.fault());
    let end = with(CR0_EM, user_state(wait));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "WAIT with CR0.EM alone", "{}", end.fault());
}

fn descriptor_tables() {
    let cr4 = cpu::cr4();
    let instructions: [(&str, extern "C" fn()); 5] = [
        ("SGDT at CPL 3", sgdt),
        ("SIDT at CPL 3", sidt),
        ("SLDT at CPL 3", sldt),
        ("STR at CPL 3", str),
        ("SMSW at CPL 3", smsw),
    ];
    for (what, code) in instructions {
        let end = run(user_state(code));
        holds!(TOPIC, end.fault().vector == BREAKPOINT, what, "{}", end.fault());
    }
    if !UMIP.yes() {
        return skip!(TOPIC, "UMIP: not offered by CPUID");
    }
    set_cr4(cr4 | CR4_UMIP);
    for (what, code) in instructions {
        trapped(TOPIC, what, &run(user_state(code)), GENERAL_PROTECTION, 0);
        let end = run(kernel_state(code));
        holds!(TOPIC, end.fault().vector == BREAKPOINT, "UMIP does not concern CPL 0", "{}", end.fault());
    }
    set_cr4(cr4);
}

fn bases() {
    let cr4 = cpu::cr4();
    // SAFETY: nothing uses GS.
    unsafe {
        cpu::wrmsr(GS_BASE, 0x1111);
        cpu::wrmsr(KERNEL_GS_BASE, 0x2222);
        asm!("swapgs");
        let bases = (cpu::rdmsr(GS_BASE), cpu::rdmsr(KERNEL_GS_BASE));
        holds!(TOPIC, bases == (0x2222, 0x1111), "SWAPGS", "{bases:x?}");
    }
    if !FSGSBASE.yes() {
        return skip!(TOPIC, "FSGSBASE: not offered by CPUID");
    }
    set_cr4(cr4 & !CR4_FSGSBASE);
    trapped(TOPIC, "RDFSBASE without CR4.FSGSBASE", &run(user_state(rdfsbase)), INVALID_OPCODE, 0);
    set_cr4(cr4 | CR4_FSGSBASE);
    let with = |code, rdi: u64| {
        let mut state = user_state(code);
        state.frame.rdi = rdi;
        run(state)
    };
    let end = with(wrfsbase, 0x7F12_3456_789A);
    holds!(
        TOPIC,
        end.frame.rax == 0x7F12_3456_789A,
        "WRFSBASE and RDFSBASE at CPL 3",
        "{} {:#x}",
        end.fault(),
        end.frame.rax
    );
    let base = cpu::rdmsr(FS_BASE);
    holds!(TOPIC, base == 0x7F12_3456_789A, "WRFSBASE is the MSR", "{base:#x}");
    let end = with(wrfsbase32, 0xFFFF_FFFF_8765_4321);
    holds!(TOPIC, end.frame.rax == 0x8765_4321, "WRFSBASE of 32 bits", "{:#x}", end.frame.rax);
    trapped(
        TOPIC,
        "WRFSBASE of what is not canonical",
        &with(wrfsbase, NOT_CANONICAL),
        GENERAL_PROTECTION,
        0,
    );
    static DATA: support::page::Page = support::page::Page::new();
    DATA.write(8, 0x55AA_u64);
    let end = with(through_fs, lab::user(DATA.address()));
    holds!(TOPIC, end.frame.rax == 0x55AA, "access through FS", "{} {:#x}", end.fault(), end.frame.rax);
    set_cr4(cr4);
}

fn ports() {
    trapped(TOPIC, "port that is closed to CPL 3", &run(user_state(port_byte)), GENERAL_PROTECTION, 0);
    segments::open_port(0x80, true);
    let end = run(user_state(port_byte));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "port that is open to CPL 3", "{}", end.fault());
    trapped(TOPIC, "a word needs both ports", &run(user_state(port_word)), GENERAL_PROTECTION, 0);
    segments::open_port(0x81, true);
    let end = run(user_state(port_word));
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "a word with both ports", "{}", end.fault());
    segments::open_port(0x80, false);
    segments::open_port(0x81, false);
    let mut state = user_state(port_word);
    state.frame.rflags |= 3 << 12;
    let end = run(state);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "IOPL 3 opens all ports", "{}", end.fault());
}

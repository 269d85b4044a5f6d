// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ways into CPL 0 and back: SYSCALL, SYSENTER, INT n, IRET; and what happens when delivering an exception fails.

use crate::lab::{self, SEP, SYSCALL, code, holds, kernel_state, run, trapped, user_state, user32_state};
use support::segments::{self, InterruptStack, KERNEL_CODE, USER_CODE, USER_CODE_32, USER_DATA};
use support::trap::{self, GateKind, vector::*};
use support::{cpu, skip};

const TOPIC: &str = "syscalls";
const EFER: u32 = 0xC000_0080;
const STAR: u32 = 0xC000_0081;
const LSTAR: u32 = 0xC000_0082;
const CSTAR: u32 = 0xC000_0083;
const SFMASK: u32 = 0xC000_0084;
const IF: u64 = 1 << 9;
const TF: u64 = 1 << 8;
const DF: u64 = 1 << 10;
const IOPL: u64 = 3 << 12;
const NT: u64 = 1 << 14;
const RF: u64 = 1 << 16;
const STATUS: u64 = 0x8D5;

/// A vector whose gate the topic sets as it likes.
const VECTOR: u8 = 0x90;

code! {
    call: "lea rbx, [rip + 9f]", "std", "stc", "syscall", "9: int3", "ud2";
    call32: ".code32", "syscall", "int3", ".code64";
    sysenter: "lea rbx, [rip + 9f]", "9: sysenter", "int3";
    system_return: "lea rbx, [rip + 9f]", "9: sysretq", "int3";
    stop: "int3";
    back: "cld", "sysretq";
    back32: ".byte 0x0F, 0x07";
    exit64: "mov rdx, rbx", "add rdx, 2", "mov rcx, rdi", ".byte 0x48, 0x0F, 0x35";
    exit32: "mov edx, ebx", "add edx, 2", "mov ecx, edi", ".byte 0x0F, 0x35";
    soft: "lea rbx, [rip + 9f]", "int 0x90", "9: int3";
    inside: "mov rax, [rsp]", "mov rcx, [rsp + 8]", "mov rdx, [rsp + 16]", "mov rsi, [rsp + 24]", "mov rdi, [rsp + 32]", "int3";
    return_at_once: "iretq";
    iret_there: "lea rbx, [rip + 9f]", "push rsi", "push rsp", "push rdx", "push rcx", "push rdi", "9: iretq", "int3";
    iret_with_nt: "lea rbx, [rip + 9f]", "push rsi", "push rsp", "push rdx", "push rcx", "push rdi", "push 0x4002", "popfq", "9: iretq",
        "int3";
    undefined: "lea rbx, [rip + 9f]", "9: ud2";
    page_fault: "lea rbx, [rip + 9f]", "mov rdi, 0x4000000000", "9: mov rax, [rdi]";
    general: "lea rbx, [rip + 9f]", "mov rdi, 0x4000000000000000", "9: mov rax, [rdi]";
}

fn is_intel() -> bool {
    cpu::cpuid(0, 0).ebx == u32::from_le_bytes(*b"Genu")
}

pub(crate) fn check() {
    if SYSCALL.yes() {
        // SAFETY: SCE only adds instructions; the MSRs are used by them alone.
        unsafe {
            let efer = cpu::rdmsr(EFER);
            cpu::wrmsr(EFER, efer & !1);
            trapped(
                TOPIC,
                "SYSCALL without EFER.SCE",
                &{
                    let mut end = run(user_state(call));
                    end.frame.rip += 2;
                    end
                },
                INVALID_OPCODE,
                0,
            );
            cpu::wrmsr(EFER, efer | 1);
            cpu::wrmsr(STAR, u64::from(USER_CODE_32) << 48 | u64::from(KERNEL_CODE) << 32);
            cpu::wrmsr(SFMASK, IF | TF | DF);
            syscall();
            cpu::wrmsr(EFER, efer);
        }
    } else {
        skip!(TOPIC, "SYSCALL: not offered by CPUID");
    }
    if SEP.yes() {
        fast_entry();
    } else {
        skip!(TOPIC, "SYSENTER: not offered by CPUID");
    }
    software_interrupts();
    returns();
    double_faults();
}

unsafe fn set_target(code: extern "C" fn()) {
    // SAFETY: SYSCALL goes to code of this topic.
    unsafe {
        cpu::wrmsr(LSTAR, lab::at(code));
        cpu::wrmsr(CSTAR, lab::at(code));
    }
}

unsafe fn syscall() {
    // SAFETY: as above.
    unsafe { set_target(stop) };
    let before = user_state(call);
    let end = run(before);
    let frame = end.frame;
    let target = lab::at(stop) + 1;
    holds!(
        TOPIC,
        frame.rip == target && end.fault().vector == BREAKPOINT,
        "SYSCALL goes to LSTAR",
        "{} at {:#x}",
        end.fault(),
        frame.rip
    );
    holds!(
        TOPIC,
        (frame.cs, frame.ss) == (0x08, 0x10),
        "SYSCALL: CS and SS",
        "{:#x} {:#x}",
        frame.cs,
        frame.ss
    );
    holds!(TOPIC, frame.rcx == frame.rbx, "SYSCALL: RCX is the return address", "{:#x}", frame.rcx);
    holds!(TOPIC, frame.rsp == before.frame.rsp, "SYSCALL: RSP stays", "{:#x}", frame.rsp);
    let flags = frame.r11 & !STATUS;
    holds!(TOPIC, flags == DF | 2 && frame.r11 & 1 == 1, "SYSCALL: R11 is RFLAGS", "{:#x}", frame.r11);
    holds!(TOPIC, frame.rflags & DF == 0 && frame.rflags & 1 == 1, "SYSCALL: SFMASK", "{:#x}", frame.rflags);
    // SAFETY: as above.
    unsafe { set_target(back) };
    let end = run(user_state(call));
    let frame = end.frame;
    holds!(TOPIC, frame.rip == frame.rbx + 1, "SYSRET goes to RCX", "{} at {:#x}", end.fault(), frame.rip);
    let segments = (frame.cs, frame.ss);
    holds!(
        TOPIC,
        segments == (u64::from(USER_CODE), u64::from(USER_DATA)),
        "SYSRET: CS and SS",
        "{segments:x?}"
    );
    holds!(TOPIC, frame.rflags & (DF | 1) == DF | 1, "SYSRET: RFLAGS from R11", "{:#x}", frame.rflags);
    let mut state = user_state(call);
    state.frame.rflags |= RF;
    let end = run(state);
    holds!(TOPIC, end.frame.rflags & RF == 0, "SYSRET clears RF", "{:#x}", end.frame.rflags);
    // SAFETY: as above.
    unsafe { set_target(back32) };
    let frame = run(user_state(call)).frame;
    let segments = (frame.cs, frame.ss);
    holds!(
        TOPIC,
        segments == (u64::from(USER_CODE_32), u64::from(USER_DATA)),
        "SYSRET to compatibility mode",
        "{segments:x?}"
    );
    trapped(TOPIC, "SYSRET at CPL 3", &run(user_state(system_return)), GENERAL_PROTECTION, 0);
    // SAFETY: as above.
    unsafe { set_target(stop) };
    let end = run(user32_state(call32));
    let fault = end.fault();
    if is_intel() {
        holds!(TOPIC, fault.vector == INVALID_OPCODE, "SYSCALL in compatibility mode (Intel)", "{fault}");
    } else {
        let right = fault.vector == BREAKPOINT
            && end.frame.cs == 0x08
            && end.frame.rcx == lab::user(lab::at(call32)) + 2;
        holds!(
            TOPIC,
            right,
            "SYSCALL in compatibility mode goes to CSTAR (AMD)",
            "{fault} cs {:#x} rcx {:#x}",
            end.frame.cs,
            end.frame.rcx
        );
    }
    let fault = trap::wrmsr(LSTAR, 1 << 63).err();
    holds!(
        TOPIC,
        fault.is_some_and(|fault| fault.vector == GENERAL_PROTECTION),
        "LSTAR takes canonical addresses only",
        "{fault:x?}"
    );
}

fn fast_entry() {
    if !is_intel() {
        return trapped(TOPIC, "SYSENTER in long mode (AMD)", &run(user_state(sysenter)), INVALID_OPCODE, 0);
    }
    let enter = |cs: u64, target: extern "C" fn()| {
        // SAFETY: SYSENTER goes to code of this topic, on the stack for CPL 0.
        unsafe {
            cpu::wrmsr(0x174, cs);
            cpu::wrmsr(0x175, lab::kernel_stack());
            cpu::wrmsr(0x176, lab::at(target));
        }
        let mut state = user_state(sysenter);
        state.frame.rdi = state.frame.rsp;
        state.frame.rflags |= IF;
        run(state)
    };
    let end = enter(8, stop);
    let right = end.fault().vector == BREAKPOINT
        && end.frame.rip == lab::at(stop) + 1
        && end.frame.rsp == lab::kernel_stack();
    holds!(TOPIC, right, "SYSENTER: target and stack", "{} rsp {:#x}", end.fault(), end.frame.rsp);
    holds!(
        TOPIC,
        (end.frame.cs, end.frame.ss) == (8, 16),
        "SYSENTER: CS and SS",
        "{:#x} {:#x}",
        end.frame.cs,
        end.frame.ss
    );
    holds!(TOPIC, end.frame.rflags & IF == 0, "SYSENTER clears IF", "{:#x}", end.frame.rflags);
    let end = enter(8, exit64);
    let segments = (end.frame.cs, end.frame.ss);
    holds!(
        TOPIC,
        segments == (0x2B, 0x33) && end.frame.rip == end.frame.rbx + 3,
        "SYSEXIT to 64-bit mode",
        "{} {segments:x?}",
        end.fault()
    );
    let end = enter(8, exit32);
    let segments = (end.frame.cs, end.frame.ss);
    holds!(
        TOPIC,
        segments == (0x1B, 0x23) && end.frame.rip == end.frame.rbx + 3,
        "SYSEXIT to compatibility mode",
        "{} {segments:x?}",
        end.fault()
    );
    let end = enter(0, stop);
    trapped(TOPIC, "SYSENTER with a null CS", &end, GENERAL_PROTECTION, 0);
}

fn set_gate(target: extern "C" fn(), kind: GateKind, privilege: u8) {
    // SAFETY: the vector is this topic's, and the code ends in a trap or an IRETQ.
    unsafe { trap::set_gate(VECTOR, lab::at(target), InterruptStack::None, kind, privilege) };
}

fn software_interrupts() {
    for (kind, keeps_if) in [(GateKind::Interrupt, false), (GateKind::Trap, true)] {
        set_gate(inside, kind, 3);
        let mut state = user_state(soft);
        state.frame.rflags |= IF | NT | RF;
        let before = state.frame;
        let end = run(state).frame;
        let top = segments::kernel_stack();
        holds!(
            TOPIC,
            end.rsp == top - 40 && end.ss == 0 && end.cs == 8,
            "INT from CPL 3: new stack, SS null",
            "rsp {:#x} ss {:#x}",
            end.rsp,
            end.ss
        );
        let pushed = [end.rax, end.rcx, end.rsi, end.rdi];
        let expected = [end.rbx, before.cs, before.rsp, before.ss];
        holds!(TOPIC, pushed == expected, "INT from CPL 3: what it pushes", "{pushed:x?}, not {expected:x?}");
        holds!(
            TOPIC,
            end.rdx & (IF | NT | RF) == IF | NT,
            "INT pushes RFLAGS, RF clear after an instruction",
            "{:#x}",
            end.rdx
        );
        holds!(TOPIC, end.rflags & (TF | NT | RF) == 0, "a gate clears TF, NT, RF", "{:#x}", end.rflags);
        holds!(
            TOPIC,
            (end.rflags & IF != 0) == keeps_if,
            "an interrupt gate clears IF, a trap gate does not",
            "{kind:?} {:#x}",
            end.rflags
        );
    }
    set_gate(inside, GateKind::Interrupt, 3);
    for skew in [0, 3, 8] {
        let mut state = kernel_state(soft);
        state.frame.rsp -= skew;
        let start = state.frame.rsp;
        let end = run(state).frame;
        holds!(
            TOPIC,
            end.rsp == (start & !15) - 40 && end.rsi == start,
            "INT at CPL 0 aligns the stack",
            "rsp {:#x} from {start:#x}",
            end.rsp
        );
        holds!(TOPIC, end.rdi == 0x10, "INT at CPL 0 pushes SS as well", "{:#x}", end.rdi);
    }
    set_gate(return_at_once, GateKind::Interrupt, 3);
    let before = user_state(soft);
    let end = run(before).frame;
    let back = end.rip == end.rbx + 1
        && (end.cs, end.ss, end.rsp) == (before.frame.cs, before.frame.ss, before.frame.rsp);
    holds!(TOPIC, back, "IRETQ to CPL 3", "{:#x}:{:#x}", end.cs, end.rip);
    let error = u32::from(VECTOR) * 8 + 2;
    set_gate(inside, GateKind::Interrupt, 0);
    let mut end = run(user_state(soft));
    end.frame.rip += 2;
    trapped(TOPIC, "INT through a gate of more privilege", &end, GENERAL_PROTECTION, error);
    set_gate(inside, GateKind::Interrupt, 3);
    trap::set_gate_present(VECTOR, false);
    let mut end = run(user_state(soft));
    end.frame.rip += 2;
    trapped(TOPIC, "INT through a gate that is not present", &end, NOT_PRESENT, error);
    trap::set_gate_to_default(VECTOR);
}

fn returns() {
    // RDI is RIP, RCX is CS, RDX is RFLAGS, RSI is SS; RSP stays about where it is.
    let iret = |code, user: bool, cs: u64, ss: u64, flags: u64, rip: u64| {
        let mut state = if user { user_state(code) } else { kernel_state(code) };
        (state.frame.rdi, state.frame.rcx, state.frame.rdx, state.frame.rsi) = (rip, cs, flags, ss);
        run(state)
    };
    let target = lab::user(lab::at(stop));
    let end = iret(iret_there, false, u64::from(USER_CODE), u64::from(USER_DATA), 2 | IF | IOPL, target);
    let right = end.frame.rip == target + 1
        && end.frame.cs == u64::from(USER_CODE)
        && end.frame.rflags & (IF | IOPL) == IF | IOPL;
    holds!(TOPIC, right, "IRETQ to CPL 3 sets IF and IOPL", "{} {:#x}", end.fault(), end.frame.rflags);
    let end = iret(iret_there, true, u64::from(USER_CODE), u64::from(USER_DATA), 2 | IF | IOPL, target);
    let right = end.frame.rip == target + 1 && end.frame.rflags & (IF | IOPL) == 0;
    holds!(TOPIC, right, "IRETQ at CPL 3 leaves IF and IOPL", "{} {:#x}", end.fault(), end.frame.rflags);
    let end = iret(iret_there, false, u64::from(USER_CODE_32), u64::from(USER_DATA), 2, target);
    holds!(
        TOPIC,
        end.frame.cs == u64::from(USER_CODE_32) && end.frame.rip == target + 1,
        "IRETQ to compatibility mode",
        "{}",
        end.fault()
    );
    let end = iret(iret_there, false, u64::from(KERNEL_CODE), 0, 2, lab::at(stop));
    holds!(
        TOPIC,
        end.frame.ss == 0 && end.frame.rip == lab::at(stop) + 1,
        "IRETQ to CPL 0 with SS null",
        "{}",
        end.fault()
    );
    let end = iret(iret_there, false, u64::from(USER_CODE), 0, 2, target);
    trapped(TOPIC, "IRETQ to CPL 3 with SS null", &end, GENERAL_PROTECTION, 0);
    let end = iret(iret_there, false, 0, 0x10, 2, target);
    trapped(TOPIC, "IRETQ with CS null", &end, GENERAL_PROTECTION, 0);
    let end = iret(iret_there, true, u64::from(KERNEL_CODE), 0x10, 2, target);
    trapped(TOPIC, "IRETQ to more privilege", &end, GENERAL_PROTECTION, 8);
    let end = iret(iret_there, false, u64::from(USER_DATA), u64::from(USER_DATA), 2, target);
    trapped(TOPIC, "IRETQ to data", &end, GENERAL_PROTECTION, u32::from(USER_DATA & !3));
    let end = iret(iret_with_nt, false, u64::from(KERNEL_CODE), 0x10, 2, lab::at(stop));
    trapped(TOPIC, "IRETQ with NT in 64-bit mode", &end, GENERAL_PROTECTION, 0);
}

fn double_faults() {
    let without = |vector: u8, code| {
        trap::set_gate_present(vector, false);
        let end = run(user_state(code));
        trap::set_gate_present(vector, true);
        end
    };
    trapped(TOPIC, "#PF without a gate is a double fault", &without(PAGE_FAULT, page_fault), DOUBLE_FAULT, 0);
    trapped(
        TOPIC,
        "#GP without a gate is a double fault",
        &without(GENERAL_PROTECTION, general),
        DOUBLE_FAULT,
        0,
    );
    let error = u32::from(INVALID_OPCODE) * 8 + 3;
    trapped(
        TOPIC,
        "#UD without a gate is #NP from outside",
        &without(INVALID_OPCODE, undefined),
        NOT_PRESENT,
        error,
    );
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions at both ends of the privilege scale and in compatibility mode: vector, error code, CR2, and where RIP stands.

use crate::lab::{self, code, kernel_state, run, trapped, user_state, user32_state};
use support::segments::{self, USER_CODE_32};
use support::trap::{State, vector::*};

const TOPIC: &str = "exceptions";

/// Nothing is ever mapped here.
const NOWHERE: u64 = 0x40_0000_0000;
const NOT_CANONICAL: u64 = 0x8000_0000_0000_0000;

code! {
    divide: "lea rbx, [rip + 9f]", "xor ecx, ecx", "9: div ecx", "ud2";
    divide_overflow: "lea rbx, [rip + 9f]", "mov eax, 0x80000000", "cdq", "mov ecx, -1", "9: idiv ecx", "ud2";
    divide_high: "lea rbx, [rip + 9f]", "mov edx, 5", "mov ecx, 5", "9: div ecx", "ud2";
    breakpoint: "lea rbx, [rip + 9f]", "int3", "9: ud2";
    breakpoint_long: "lea rbx, [rip + 9f]", ".byte 0xCD, 3", "9: ud2";
    icebp: "lea rbx, [rip + 9f]", ".byte 0xF1", "9: ud2";
    ud2: "lea rbx, [rip + 9f]", "9: ud2";
    ud1: "lea rbx, [rip + 9f]", "9: .byte 0x0F, 0xB9, 0xC0", "ud2";
    lock_register: "lea rbx, [rip + 9f]", "9: .byte 0xF0, 0x01, 0xC0", "int3";
    lock_mov: "lea rbx, [rip + 9f]", "9: .byte 0xF0, 0x89, 0x00", "int3";
    into64: "lea rbx, [rip + 9f]", "9: .byte 0xCE", "int3";
    push_es64: "lea rbx, [rip + 9f]", "9: .byte 0x06", "int3";
    daa64: "lea rbx, [rip + 9f]", "9: .byte 0x27", "int3";
    far_direct64: "lea rbx, [rip + 9f]", "9: .byte 0x9A, 0, 0, 0, 0, 8, 0", "int3";
    read: "lea rbx, [rip + 9f]", "9: mov rax, [rdi]", "int3";
    write: "lea rbx, [rip + 9f]", "9: mov [rdi], rax", "int3";
    read_modify_write: "lea rbx, [rip + 9f]", "9: inc qword ptr [rdi]", "int3";
    locked: "lea rbx, [rip + 9f]", "9: lock xadd [rdi], rax", "int3";
    push_there: "lea rbx, [rip + 9f]", "mov rsp, rdi", "9: push rax", "int3";
    stack_read: "lea rbx, [rip + 9f]", "mov rbp, rdi", "9: mov rax, [rbp]", "int3";
    jump_there: "lea rbx, [rdi]", "jmp rdi";
    jump_wild: "lea rbx, [rip + 9f]", "9: jmp rdi", "int3";
    return_wild: "lea rbx, [rip + 9f]", "push rdi", "9: ret", "int3";
    call_there: "lea rbx, [rdi]", "call rdi";
    sixteen_bytes: "lea rbx, [rip + 9f]", "9: .fill 15, 1, 0x66", "nop", "int3";
    fifteen_bytes: "lea rbx, [rip + 9f]", ".fill 14, 1, 0x66", "nop", "int3", "9: nop";
    halt: "lea rbx, [rip + 9f]", "9: hlt", "int3";
    int_general: "lea rbx, [rip + 9f]", "9: int 13", "int3";
    int_eighty: "lea rbx, [rip + 9f]", "int 0x80", "9: ud2";
    read_cr0: "lea rbx, [rip + 9f]", "9: mov rax, cr0", "int3";
    write_dr7: "lea rbx, [rip + 9f]", "9: mov dr7, rax", "int3";
    read_msr: "lea rbx, [rip + 9f]", "mov ecx, 0x10", "9: rdmsr", "int3";
    load_idt: "lea rbx, [rip + 9f]", "9: lidt [rsp]", "int3";
    invalidate: "lea rbx, [rip + 9f]", "9: invlpg [rsp]", "int3";
    write_back: "lea rbx, [rip + 9f]", "9: wbinvd", "int3";
    clear_ts: "lea rbx, [rip + 9f]", "9: clts", "int3";
    swap_gs: "lea rbx, [rip + 9f]", "9: swapgs", "int3";
    port_in: "lea rbx, [rip + 9f]", "9: in al, 0x80", "int3";
    clear_interrupts: "lea rbx, [rip + 9f]", "9: cli", "int3";

    divide32: ".code32", ".byte 0xBB; .long 9f", "xor ecx, ecx", "9: div ecx", "ud2", ".code64";
    overflow32: ".code32", ".byte 0xBB; .long 9f", "mov al, 0x7F", "add al, 1", "into", "9: ud2", ".code64";
    no_overflow32: ".code32", ".byte 0xBB; .long 9f", "xor eax, eax", "into", "int3", "9: ud2", ".code64";
    bound32: ".code32", ".byte 0xBB; .long 9f", "push 20", "push 10", "mov eax, 21", "9: bound eax, [esp]", "ud2", ".code64";
    in_bounds32: ".code32", ".byte 0xBB; .long 9f", "push 20", "push 10", "mov eax, 20", "bound eax, [esp]", "int3", "9: ud2",
        ".code64";
    adjust_by_zero32: ".code32", ".byte 0xBB; .long 9f", "9: .byte 0xD4, 0", "int3", ".code64";
    breakpoint32: ".code32", ".byte 0xBB; .long 9f", "int3", "9: ud2", ".code64";
    ud2_32: ".code32", ".byte 0xBB; .long 9f", "9: ud2", ".code64";
    read32: ".code32", ".byte 0xBB; .long 9f", "9: mov eax, [edi]", "int3", ".code64";
    write32: ".code32", ".byte 0xBB; .long 9f", "9: mov [edi], eax", "int3", ".code64";
    halt32: ".code32", ".byte 0xBB; .long 9f", "9: hlt", ".code64";
    wrap32: ".code32", ".byte 0xBB; .long 9f", "mov edi, 0xFFFFF000", "9: mov eax, [edi + 0x7FFFF000]", "int3", ".code64";
    // Compatibility mode and back: a far return into 64-bit code, whose addresses are below 4 GiB.
    up_from_32: ".code32", "push 0x2B", ".byte 0xB8; .long 8f", "add eax, 0x80000000", "push eax", "retf", ".code64",
        "8: lea rbx, [rip + 9f]", "mov r15, 0x123456789", "int3", "9: ud2";
}

/// What is expected: name, code, vector, error code.
type Case = (&'static str, extern "C" fn(), u8, u32);

const EVERYWHERE: &[Case] = &[
    ("division by zero", divide, DIVIDE, 0),
    ("most negative number by -1", divide_overflow, DIVIDE, 0),
    ("quotient too large", divide_high, DIVIDE, 0),
    ("INT3 stands behind itself", breakpoint, BREAKPOINT, 0),
    ("INT 3 stands behind itself", breakpoint_long, BREAKPOINT, 0),
    ("INT1 stands behind itself", icebp, DEBUG, 0),
    ("UD2", ud2, INVALID_OPCODE, 0),
    ("UD1", ud1, INVALID_OPCODE, 0),
    ("LOCK on a register", lock_register, INVALID_OPCODE, 0),
    ("LOCK on MOV", lock_mov, INVALID_OPCODE, 0),
    ("INTO in 64-bit mode", into64, INVALID_OPCODE, 0),
    ("PUSH ES in 64-bit mode", push_es64, INVALID_OPCODE, 0),
    ("DAA in 64-bit mode", daa64, INVALID_OPCODE, 0),
    ("far CALL with an immediate in 64-bit mode", far_direct64, INVALID_OPCODE, 0),
    ("16 bytes of instruction", sixteen_bytes, GENERAL_PROTECTION, 0),
    ("15 bytes of instruction are allowed", fifteen_bytes, BREAKPOINT, 0),
    ("INT 0x80 stands behind itself", int_eighty, 0x80, 0),
];

const USER_ONLY: &[Case] = &[
    ("HLT", halt, GENERAL_PROTECTION, 0),
    ("INT 13 through a gate of CPL 0", int_general, GENERAL_PROTECTION, 13 * 8 + 2),
    ("MOV from CR0", read_cr0, GENERAL_PROTECTION, 0),
    ("MOV to DR7", write_dr7, GENERAL_PROTECTION, 0),
    ("RDMSR", read_msr, GENERAL_PROTECTION, 0),
    ("LIDT", load_idt, GENERAL_PROTECTION, 0),
    ("INVLPG", invalidate, GENERAL_PROTECTION, 0),
    ("WBINVD", write_back, GENERAL_PROTECTION, 0),
    ("CLTS", clear_ts, GENERAL_PROTECTION, 0),
    ("SWAPGS", swap_gs, GENERAL_PROTECTION, 0),
    ("IN without IOPL or permission", port_in, GENERAL_PROTECTION, 0),
    ("CLI without IOPL", clear_interrupts, GENERAL_PROTECTION, 0),
];

const COMPATIBILITY: &[Case] = &[
    ("compatibility mode: division by zero", divide32, DIVIDE, 0),
    ("compatibility mode: INTO with OF", overflow32, OVERFLOW, 0),
    ("compatibility mode: INTO without OF", no_overflow32, BREAKPOINT, 0),
    ("compatibility mode: BOUND outside", bound32, BOUND, 0),
    ("compatibility mode: BOUND inside", in_bounds32, BREAKPOINT, 0),
    ("compatibility mode: AAM 0", adjust_by_zero32, DIVIDE, 0),
    ("compatibility mode: INT3", breakpoint32, BREAKPOINT, 0),
    ("compatibility mode: UD2", ud2_32, INVALID_OPCODE, 0),
    ("compatibility mode: HLT", halt32, GENERAL_PROTECTION, 0),
];

pub(crate) fn check() {
    for &(what, code, vector, error) in EVERYWHERE {
        trapped(TOPIC, what, &run(kernel_state(code)), vector, error);
        trapped(TOPIC, what, &run(user_state(code)), vector, error);
    }
    for &(what, code, vector, error) in USER_ONLY {
        trapped(TOPIC, what, &run(user_state(code)), vector, error);
    }
    for &(what, code, vector, error) in COMPATIBILITY {
        judge32(what, run(user32_state(code)), vector, error);
    }
    addresses();
    compatibility();
}

/// 32-bit code knows its address at CPL 0 only.
fn judge32(what: &str, mut state: State, vector: u8, error: u32) {
    state.frame.rbx = lab::user(state.frame.rbx);
    // INTO that does nothing and BOUND that is content end at the INT3 behind them, one byte before the label.
    trapped(TOPIC, what, &state, vector, error);
    lab::holds!(
        TOPIC,
        state.frame.cs == u64::from(USER_CODE_32),
        "compatibility mode: CS in the frame",
        "{:#x}",
        state.frame.cs
    );
}

fn with_rdi(mut state: State, rdi: u64) -> State {
    state.frame.rdi = rdi;
    run(state)
}

fn addresses() {
    let cases: [(&str, extern "C" fn(), u32); 5] = [
        ("read", read, 0),
        ("write", write, 2),
        ("read-modify-write", read_modify_write, 2),
        ("LOCK XADD", locked, 2),
        ("PUSH", push_there, 2),
    ];
    for (what, code, error) in cases {
        let below = if what == "PUSH" { 8 } else { 0 };
        for (state, more) in [(kernel_state(code), 0), (user_state(code), 4)] {
            let state = with_rdi(state, NOWHERE + 0x123 + below);
            trapped(TOPIC, what, &state, PAGE_FAULT, error | more);
            lab::holds!(TOPIC, state.cr2 == NOWHERE + 0x123, "CR2 holds the address", "{:#x}", state.cr2);
        }
    }
    for state in [kernel_state(read), user_state(read)] {
        trapped(
            TOPIC,
            "read from an address that is not canonical",
            &with_rdi(state, NOT_CANONICAL),
            GENERAL_PROTECTION,
            0,
        );
    }
    for code in [push_there, stack_read] {
        for state in [kernel_state(code), user_state(code)] {
            trapped(
                TOPIC,
                "stack access at an address that is not canonical",
                &with_rdi(state, NOT_CANONICAL),
                STACK,
                0,
            );
        }
    }
    for state in [kernel_state(jump_wild), user_state(jump_wild)] {
        let what = "jump to an address that is not canonical";
        trapped(TOPIC, what, &with_rdi(state, NOT_CANONICAL), GENERAL_PROTECTION, 0);
    }
    for state in [kernel_state(return_wild), user_state(return_wild)] {
        let what = "return to an address that is not canonical";
        trapped(TOPIC, what, &with_rdi(state, NOT_CANONICAL), GENERAL_PROTECTION, 0);
    }
    for (state, more) in [(kernel_state(jump_there), 0), (user_state(jump_there), 4)] {
        let state = with_rdi(state, NOWHERE);
        let fetch = if lab::NX.yes() { 16 } else { 0 };
        trapped(TOPIC, "jump to nowhere faults at the target", &state, PAGE_FAULT, more | fetch);
        lab::holds!(TOPIC, state.cr2 == NOWHERE, "CR2 holds the target", "{:#x}", state.cr2);
    }
    let before = user_state(call_there);
    let state = with_rdi(before, NOWHERE);
    let pushed = before.frame.rsp - 8;
    lab::holds!(
        TOPIC,
        state.frame.rsp == pushed,
        "a call to nowhere has pushed its return address",
        "rsp {:#x}",
        state.frame.rsp
    );
    // An access over a page's end faults at the first byte of the page that is missing.
    let edge = lab::USER + (16 << 20) - 3;
    let state = with_rdi(user_state(read), edge);
    trapped(TOPIC, "read over the end of what is mapped for CPL 3", &state, PAGE_FAULT, 4 | 1);
    lab::holds!(
        TOPIC,
        state.cr2 == edge + 3,
        "CR2 holds the first address that is missing",
        "{:#x}",
        state.cr2
    );
}

fn compatibility() {
    for (what, code, error) in [
        ("compatibility mode: read", read32 as extern "C" fn(), 4),
        ("compatibility mode: write", write32, 6),
    ] {
        let state = with_rdi(user32_state(code), 0xC000_0000);
        judge32(what, state, PAGE_FAULT, error | 1);
        lab::holds!(TOPIC, state.cr2 == 0xC000_0000, "compatibility mode: CR2", "{:#x}", state.cr2);
    }
    let state = run(user32_state(wrap32));
    judge32("compatibility mode: addresses wrap at 4 GiB", state, PAGE_FAULT, 5);
    lab::holds!(
        TOPIC,
        state.cr2 == 0x7FFF_E000,
        "compatibility mode: CR2 after the wrap",
        "{:#x}",
        state.cr2
    );
    let state = run(user32_state(up_from_32));
    trapped(TOPIC, "far return from compatibility to 64-bit mode", &state, BREAKPOINT, 0);
    lab::holds!(
        TOPIC,
        state.frame.r15 == 0x1_2345_6789 && state.frame.cs == u64::from(segments::USER_CODE),
        "64-bit registers after it"
    );
}

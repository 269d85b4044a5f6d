// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFLAGS: who may change what, single steps, alignment checks (Intel SDM 1 3.4.3, 3A 2.3, 3B 18.3.1.4).

use crate::lab::{self, code, holds, kernel_state, run, trapped, user_state, user32_state};
use support::cpu;
use support::page::Page;
use support::trap::{State, vector::*};

const TOPIC: &str = "flags";
const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const IOPL: u64 = 3 << 12;
const NT: u64 = 1 << 14;
const RF: u64 = 1 << 16;
const VM: u64 = 1 << 17;
const AC: u64 = 1 << 18;
const ID: u64 = 1 << 21;
const DR6_BS: u64 = 1 << 14;

static MEMORY: Page = Page::new();

code! {
    set_flags: "push rdi", "popfq", "pushfq", "pop rax", "push 2", "popfq", "int3";
    set_flags32: ".code32", "push edi", "popfd", "pushfd", "pop eax", "push 2", "popfd", "int3", ".code64";
    set_flags16: "push di", "popfw", "pushfq", "pop rax", "push 2", "popfq", "int3";
    clear_if: "lea rbx, [rip + 9f]", "cli", "int3", "9: nop";
    set_if: "lea rbx, [rip + 9f]", "sti", "nop", "int3", "9: nop";
    step: "nop", "lea rbx, [rip + 9f]", "nop", "9: nop", "int3";
    one_nop: "lea rbx, [rip + 9f]", "9: nop", "int3";
    step_by_popf: "lea rbx, [rip + 9f]", "push 0x102", "popfq", "nop", "9: nop", "int3";
    step_over_mov_ss: "lea rbx, [rip + 9f]", "mov eax, 0x23", "push 0x102", "popfq", "mov ss, eax", "nop", "9: nop", "int3";
    step_rep: "lea rbx, [rip + 9f]", "mov ecx, 3", "push 0x102", "popfq", "9: rep stosb", "int3";
    step_into_int: "lea rbx, [rip + 9f]", "push 0x102", "popfq", "int 0x80", "9: nop", "int3";
    step_a_jump: "lea rbx, [rip + 9f]", "push 0x102", "popfq", "jmp 9f", "int3", "9: nop", "int3";
    step_iret: "lea rbx, [rip + 8f]", "push rsi", "push rsp", "push 0x102", "push rcx", "push rbx", "iretq", "8: nop", "9: int3";
    misaligned: "lea rbx, [rip + 9f]", "9: mov rax, [rdi]", "int3";
    misaligned_word: "lea rbx, [rip + 9f]", "9: mov ax, [rdi]", "int3";
    misaligned_sse: "lea rbx, [rip + 9f]", "9: movups xmm0, [rdi]", "int3";
    undefined: "ud2";
    push_immediate_flags: "pushfq", "pop rax", "int3";
}

pub(crate) fn check() {
    who_may();
    single_steps();
    alignment();
}

fn with_rdi(mut state: State, rdi: u64) -> State {
    state.frame.rdi = rdi;
    run(state)
}

fn who_may() {
    let everything = !(TF | IF);
    let end = with_rdi(kernel_state(set_flags), everything & 0xFFFF_FFFF);
    let expected = 0x8D5 | 2 | 1 << 10 | IOPL | NT | AC | ID;
    let read = end.frame.rax;
    // VIF and VIP are left out: only processors with VME keep them.
    holds!(
        TOPIC,
        read & !(3 << 19) == expected,
        "POPF at CPL 0 sets all but RF, VM and reserved bits",
        "{read:#x}, not {expected:#x}"
    );
    holds!(TOPIC, read & (RF | VM) == 0, "PUSHF shows RF and VM as 0", "{read:#x}");
    let end = with_rdi(user_state(set_flags), (everything & 0xFFFF_FFFF) | IF);
    let read = end.frame.rax;
    holds!(
        TOPIC,
        read & (IF | IOPL) == 0 && read & (AC | ID | NT) == AC | ID | NT,
        "POPF at CPL 3 leaves IF and IOPL",
        "{read:#x}"
    );
    let mut state = user_state(set_flags);
    state.frame.rflags |= IOPL | IF;
    let read = with_rdi(state, 2).frame.rax;
    holds!(TOPIC, read & (IF | IOPL) == IOPL, "POPF at CPL 3 with IOPL 3 changes IF, not IOPL", "{read:#x}");
    let read = with_rdi(user32_state(set_flags32), AC | 0xD5).frame.rax;
    holds!(TOPIC, read & (AC | 0xD5) == AC | 0xD5, "POPF of 32 bits", "{read:#x}");
    let mut state = kernel_state(set_flags16);
    state.frame.rflags |= AC;
    let read = with_rdi(state, 0xD5).frame.rax;
    holds!(TOPIC, read & (AC | 0xD5) == AC | 0xD5, "POPF of 16 bits leaves the upper half", "{read:#x}");
    let mut state = user_state(clear_if);
    state.frame.rflags |= IOPL | IF;
    let end = run(state);
    trapped(TOPIC, "CLI at CPL 3 with IOPL 3", &end, BREAKPOINT, 0);
    holds!(TOPIC, end.frame.rflags & IF == 0, "and it clears IF");
    let mut state = user_state(set_if);
    state.frame.rflags |= IOPL;
    let end = run(state);
    holds!(
        TOPIC,
        end.frame.rflags & IF != 0 && end.fault().vector == BREAKPOINT,
        "STI at CPL 3 with IOPL 3",
        "{}",
        end.fault()
    );
    let end = run(user_state(undefined));
    holds!(TOPIC, end.frame.rflags & RF != 0, "a fault saves RF set", "{:#x}", end.frame.rflags);
    let mut state = user_state(push_immediate_flags);
    state.frame.rflags |= NT | ID;
    let read = run(state).frame.rax;
    holds!(TOPIC, read & 0x28 == 0 && read & 2 == 2, "bits 3 and 5 read as 0, bit 1 as 1", "{read:#x}");
}

fn dr6() -> u64 {
    let value: u64;
    // SAFETY: reads DR6.
    unsafe { core::arch::asm!("mov {}, dr6", out(reg) value) };
    value
}

fn clear_dr6() {
    // SAFETY: the value after reset.
    unsafe { core::arch::asm!("mov dr6, {}", in(reg) 0xFFFF_0FF0_u64) };
}

fn single_steps() {
    clear_dr6();
    let mut state = user_state(step);
    state.frame.rflags |= TF;
    let first = state.frame.rip + 1;
    let end = run(state);
    let right = end.fault().vector == DEBUG && end.frame.rip == first;
    holds!(TOPIC, right, "TF traps after one instruction", "{} at {:#x}", end.fault(), end.frame.rip);
    holds!(TOPIC, end.frame.rflags & TF != 0, "TF is still set in the frame");
    holds!(TOPIC, dr6() & DR6_BS != 0, "DR6 tells of the single step", "{:#x}", dr6());
    // Three steps more lead to the INT3.
    let mut state = end;
    for _ in 0..3 {
        state = run(state);
    }
    let right = state.fault().vector == DEBUG && state.frame.rip == state.frame.rbx + 1;
    holds!(TOPIC, right, "one instruction after the other", "{} at {:#x}", state.fault(), state.frame.rip);
    for state in [user_state(step_by_popf), kernel_state(step_by_popf)] {
        trapped(
            TOPIC,
            "POPF that sets TF: the next instruction is the first to be stepped",
            &run(state),
            DEBUG,
            0,
        );
    }
    let mut state = user_state(one_nop);
    state.frame.rflags |= TF;
    run(state);
    trapped(TOPIC, "MOV SS keeps the single step off", &run(user_state(step_over_mov_ss)), DEBUG, 0);
    let end = with_rdi(user_state(step_rep), lab::user(MEMORY.address()));
    trapped(TOPIC, "a string instruction is stepped by iterations", &end, DEBUG, 0);
    holds!(TOPIC, end.frame.rcx == 2, "and has done one", "{}", end.frame.rcx);
    let end = run(user_state(step_into_int));
    holds!(TOPIC, end.frame.rflags & TF != 0, "INT saves TF set");
    trapped(TOPIC, "INT is not stepped", &end, 0x80, 0);
    trapped(TOPIC, "a jump is stepped at its target", &run(user_state(step_a_jump)), DEBUG, 0);
    let mut state = kernel_state(step_iret);
    (state.frame.rsi, state.frame.rcx) = (0x10, 8);
    let end = run(state);
    let right = end.fault().vector == DEBUG && end.frame.rip == end.frame.rbx + 1;
    holds!(
        TOPIC,
        right,
        "IRETQ that sets TF: the instruction it returns to is stepped",
        "{} at {:#x}",
        end.fault(),
        end.frame.rip
    );
    clear_dr6();
}

fn alignment() {
    let cr0 = cpu::cr0();
    // SAFETY: AM concerns CPL 3 with AC only.
    unsafe { cpu::set_cr0(cr0 | 1 << 18) };
    let access = |code, user: bool, offset| {
        let mut state = if user { user_state(code) } else { kernel_state(code) };
        state.frame.rflags |= AC;
        with_rdi(state, lab::user(MEMORY.address()) + offset)
    };
    trapped(TOPIC, "alignment check at CPL 3", &access(misaligned, true, 1), ALIGNMENT, 0);
    trapped(TOPIC, "alignment check of a word", &access(misaligned_word, true, 1), ALIGNMENT, 0);
    let end = access(misaligned, true, 8);
    holds!(
        TOPIC,
        end.fault().vector == BREAKPOINT,
        "aligned access with alignment checks",
        "{}",
        end.fault()
    );
    let end = access(misaligned, false, 1);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "no alignment checks at CPL 0", "{}", end.fault());
    // SAFETY: the value from before.
    unsafe { cpu::set_cr0(cr0) };
    let end = access(misaligned, true, 1);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "no alignment checks without CR0.AM", "{}", end.fault());
    let end = access(misaligned_sse, true, 1);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "MOVUPS takes any address", "{}", end.fault());
}

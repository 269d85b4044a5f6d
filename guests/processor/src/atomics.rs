// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locked and read-modify-write instructions: what they need of memory, and that a fault leaves everything as it was.

use crate::lab::{self, CX16, WINDOW, code, holds, kernel_state, run, trapped, user_state};
use support::page::{self, Page, Size, bits};
use support::skip;
use support::trap::{State, vector::*};

const TOPIC: &str = "atomics";
const BASE: u64 = WINDOW + (7 << 36);
const ZF: u64 = 1 << 6;
static DATA: Page = Page::new();

code! {
    cmpxchg16b: "lea rbx, [rip + 9f]", "push rbx", "mov rbx, rsi", "9: lock cmpxchg16b [rdi]", "mov rsi, rbx", "pop rbx", "int3";
    cmpxchg8b: "lea rbx, [rip + 9f]", "push rbx", "mov ebx, esi", "lock cmpxchg8b [rdi]", "pop rbx", "9: int3";
    cmpxchg: "lea rbx, [rip + 9f]", "9: lock cmpxchg [rdi], rcx", "int3";
    xadd: "lea rbx, [rip + 9f]", "9: lock xadd [rdi], rcx", "int3";
    xchg: "lea rbx, [rip + 9f]", "9: xchg [rdi], rcx", "int3";
    inc: "lea rbx, [rip + 9f]", "9: lock inc qword ptr [rdi]", "int3";
    or_unlocked: "lea rbx, [rip + 9f]", "9: or [rdi], rcx", "int3";
    bit_far: "lea rbx, [rip + 9f]", "9: lock bts [rdi], rcx", "int3";
    bit_near: "lea rbx, [rip + 9f]", "9: lock btc qword ptr [rdi], 5", "int3";
    push_memory: "lea rbx, [rip + 9f]", "9: push [rdi]", "int3";
    pop_memory: "lea rbx, [rip + 9f]", "push rcx", "9: pop [rdi]", "int3";
    call_memory: "lea rbx, [rip + 9f]", "9: call [rdi]", "int3";
    lock_cmp: "lea rbx, [rip + 9f]", "9: .byte 0xF0, 0x48, 0x39, 0x0F", "int3";
    lock_bt: "lea rbx, [rip + 9f]", "9: .byte 0xF0, 0x48, 0x0F, 0xA3, 0x0F", "int3";
    enter: "lea rbx, [rip + 9f]", "mov rsp, rdi", "mov rbp, 0x77", "9: enter 16, 0", "int3";
}

fn at(code: extern "C" fn(), offset: u64) -> State {
    let mut state = user_state(code);
    state.frame.rdi = BASE + offset;
    state.frame.rcx = 0x1111;
    state
}

pub(crate) fn check() {
    // SAFETY: the window belongs to the topics.
    unsafe {
        page::map(BASE, DATA.address(), Size::Small, bits::PRESENT | bits::WRITE | bits::USER);
        page::map(BASE + page::SIZE, 0, Size::Small, 0);
        page::map(BASE + 2 * page::SIZE, DATA.address(), Size::Small, bits::PRESENT | bits::USER);
    }
    sixteen_bytes();
    compare_and_exchange();
    bit_strings();
    over_the_edge();
    read_only();
    faulting_order();
    prefixes();
}

fn sixteen_bytes() {
    if !CX16.yes() {
        return skip!(TOPIC, "CMPXCHG16B: not offered by CPUID");
    }
    let exchange = |offset, rax: u64, rdx: u64| {
        let mut state = at(cmpxchg16b, offset);
        (state.frame.rax, state.frame.rdx, state.frame.rcx, state.frame.rsi) = (rax, rdx, 0xC0C0, 0xB0B0);
        run(state)
    };
    let set = |low: u64, high: u64| {
        DATA.write(0, low);
        DATA.write(8, high);
    };
    set(1, 2);
    let end = exchange(0, 1, 2);
    let now = (DATA.read::<u64>(0), DATA.read::<u64>(8));
    holds!(
        TOPIC,
        end.frame.rflags & ZF != 0 && now == (0xB0B0, 0xC0C0),
        "CMPXCHG16B that is equal",
        "{} {now:x?}",
        end.fault()
    );
    set(1, 3);
    let end = exchange(0, 1, 2);
    let now = (DATA.read::<u64>(0), DATA.read::<u64>(8));
    let loaded = (end.frame.rax, end.frame.rdx);
    let right = end.frame.rflags & ZF == 0 && now == (1, 3) && loaded == (1, 3);
    holds!(TOPIC, right, "CMPXCHG16B that is not equal", "{} {now:x?} {loaded:x?}", end.fault());
    let mut end = exchange(8, 1, 2);
    end.frame.rbx = end.frame.rip;
    trapped(TOPIC, "CMPXCHG16B wants 16-byte alignment", &end, GENERAL_PROTECTION, 0);
    let mut end = exchange(2 * page::SIZE, 9, 9);
    end.frame.rbx = end.frame.rip;
    trapped(TOPIC, "CMPXCHG16B that is not equal still wants to write", &end, PAGE_FAULT, 7);
    holds!(
        TOPIC,
        (end.frame.rax, end.frame.rdx) == (9, 9),
        "and has loaded nothing",
        "{:x} {:x}",
        end.frame.rax,
        end.frame.rdx
    );
}

fn compare_and_exchange() {
    DATA.write(0, 0x1_0000_0005_u64);
    let mut state = at(cmpxchg8b, 0);
    (state.frame.rax, state.frame.rdx, state.frame.rcx, state.frame.rsi) = (u64::MAX, u64::MAX, 3, 4);
    let end = run(state);
    let loaded = (end.frame.rax, end.frame.rdx);
    holds!(
        TOPIC,
        loaded == (5, 1) && end.frame.rflags & ZF == 0,
        "CMPXCHG8B that is not equal clears the upper halves",
        "{loaded:x?}"
    );
    (state.frame.rax, state.frame.rdx) = (0xFFFF_FFFF_0000_0005, 0xFFFF_FFFF_0000_0001);
    let end = run(state);
    let right = end.frame.rflags & ZF != 0
        && DATA.read::<u64>(0) == 0x3_0000_0004
        && end.frame.rax == state.frame.rax;
    holds!(
        TOPIC,
        right,
        "CMPXCHG8B that is equal leaves EDX:EAX alone",
        "{:#x} {:#x}",
        end.frame.rax,
        DATA.read::<u64>(0)
    );
    DATA.write(0, 7_u64);
    let mut state = at(cmpxchg, 0);
    state.frame.rax = 7;
    let end = run(state);
    holds!(TOPIC, DATA.read::<u64>(0) == 0x1111 && end.frame.rflags & ZF != 0, "CMPXCHG that is equal");
    let end = run(at(xadd, 0));
    holds!(TOPIC, DATA.read::<u64>(0) == 0x2222 && end.frame.rcx == 0x1111, "XADD", "{:#x}", end.frame.rcx);
    let end = run(at(xchg, 0));
    holds!(TOPIC, DATA.read::<u64>(0) == 0x1111 && end.frame.rcx == 0x2222, "XCHG", "{:#x}", end.frame.rcx);
}

fn bit_strings() {
    DATA.fill(0);
    let mut state = at(bit_far, 1024);
    state.frame.rcx = 64 * 10 + 3;
    run(state);
    holds!(
        TOPIC,
        DATA.read::<u64>(1024 + 80) == 8,
        "BTS with a bit number reaches far up",
        "{:#x}",
        DATA.read::<u64>(1024 + 80)
    );
    state.frame.rcx = (-1_i64) as u64;
    run(state);
    holds!(TOPIC, DATA.read::<u64>(1016) == 1 << 63, "and far down", "{:#x}", DATA.read::<u64>(1016));
    let end = run(at(bit_near, 1024));
    holds!(
        TOPIC,
        DATA.read::<u64>(1024) == 32 && end.frame.rflags & 1 == 0,
        "BTC gives the old bit and flips it"
    );
    let mut state = at(bit_far, page::SIZE - 8);
    state.frame.rcx = 64;
    let end = run(state);
    trapped(TOPIC, "BTS with a bit number in a missing page", &end, PAGE_FAULT, 6);
    holds!(TOPIC, end.cr2 == BASE + page::SIZE, "CR2 is where the bit is", "{:#x}", end.cr2);
}

fn over_the_edge() {
    // Misaligned, over two lines, and over a page's end.
    DATA.fill(0);
    run(at(inc, 60));
    holds!(TOPIC, DATA.read::<u32>(60) == 1, "LOCK INC over two cache lines");
    DATA.write(page::SIZE as usize - 8, 0x5555_5555_5555_5555_u64);
    let offset = page::SIZE - 4;
    for (code, what) in [
        (inc as extern "C" fn(), "LOCK INC into a missing page"),
        (xadd, "LOCK XADD into a missing page"),
        (xchg, "XCHG into a missing page"),
    ] {
        let end = run(at(code, offset));
        trapped(TOPIC, what, &end, PAGE_FAULT, 6);
        let right = end.cr2 == BASE + page::SIZE
            && end.frame.rcx == 0x1111
            && DATA.read::<u64>(page::SIZE as usize - 8) == 0x5555_5555_5555_5555;
        holds!(TOPIC, right, "and nothing has changed", "cr2 {:#x} rcx {:#x}", end.cr2, end.frame.rcx);
    }
}

fn read_only() {
    DATA.write(0, 0x40_u64);
    let there = 2 * page::SIZE;
    for (code, what) in [
        (inc as extern "C" fn(), "LOCK INC of a page that is not writable"),
        (xadd, "LOCK XADD of a page that is not writable"),
        (xchg, "XCHG with a page that is not writable"),
        (or_unlocked, "OR to a page that is not writable"),
        (cmpxchg, "CMPXCHG that is not equal, with a page that is not writable"),
        (bit_near, "LOCK BTC of a page that is not writable"),
        (pop_memory, "POP to a page that is not writable"),
    ] {
        let before = at(code, there);
        let end = run(before);
        trapped(TOPIC, what, &end, PAGE_FAULT, 7);
        let stack = if core::ptr::fn_addr_eq(code, pop_memory as extern "C" fn()) { 8 } else { 0 };
        let right = DATA.read::<u64>(0) == 0x40
            && end.frame.rcx == before.frame.rcx
            && end.frame.rax == before.frame.rax
            && end.frame.rsp == before.frame.rsp - stack
            && end.frame.rflags & 0x8D5 == before.frame.rflags & 0x8D5;
        holds!(TOPIC, right, "and neither memory nor registers nor flags have changed", "{:x?}", end.frame);
    }
}

fn faulting_order() {
    let before = at(push_memory, page::SIZE);
    let end = run(before);
    trapped(TOPIC, "PUSH of memory that is missing", &end, PAGE_FAULT, 4);
    holds!(TOPIC, end.frame.rsp == before.frame.rsp, "leaves RSP", "{:#x}", end.frame.rsp);
    let before = at(call_memory, page::SIZE);
    let end = run(before);
    trapped(TOPIC, "CALL through memory that is missing", &end, PAGE_FAULT, 4);
    holds!(TOPIC, end.frame.rsp == before.frame.rsp, "leaves RSP too", "{:#x}", end.frame.rsp);
    let end = run(at(enter, page::SIZE + 8));
    trapped(TOPIC, "ENTER on a stack that is missing", &end, PAGE_FAULT, 6);
    let right = end.frame.rsp == BASE + page::SIZE + 8 && end.frame.rbp == 0x77;
    holds!(TOPIC, right, "leaves RSP and RBP", "{:#x} {:#x}", end.frame.rsp, end.frame.rbp);
}

fn prefixes() {
    for (what, code) in [("LOCK CMP", lock_cmp as extern "C" fn()), ("LOCK BT", lock_bt)] {
        let mut state = kernel_state(code);
        state.frame.rdi = lab::user(DATA.address());
        trapped(TOPIC, what, &run(state), INVALID_OPCODE, 0);
    }
}

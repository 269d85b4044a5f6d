// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code that changes: by itself, through another mapping, by a string instruction, and by a new mapping. A processor sees its own
//! stores at the next jump at the latest (Intel SDM 3A 9.1.3), and in fact at once when the linear address is the same.

use crate::lab::{self, WINDOW, code, holds, run, trapped, user_state};
use support::page::{self, Page, Size, bits};
use support::trap::{State, vector::*};

const TOPIC: &str = "selfmod";
const BASE: u64 = WINDOW + (9 << 36);
const FULL: u64 = bits::PRESENT | bits::WRITE | bits::USER;
const PLACES: usize = 4;

static CODE: [Page; PLACES] = [const { Page::new() }; PLACES];

code! {
    // The immediate of the MOV at 8 is changed by the instruction before it.
    next_instruction: "lea rbx, [rip + 8f]", "mov dword ptr [rbx + 1], 0x22222222", "8: mov eax, 0x11111111", "int3";
    after_a_jump: "lea rbx, [rip + 8f]", "mov dword ptr [rbx + 1], 0x33333333", "jmp 8f", "8: mov eax, 0x11111111", "int3";
    // Counts by changing its own increment: 1 + 2 + ... + 100.
    loop_of_it: "lea rbx, [rip + 8f]", "xor eax, eax", "mov ecx, 100", "7: mov dword ptr [rbx + 1], ecx", "jmp 8f",
        "8: mov edx, 0x11111111", "add eax, edx", "dec ecx", "jnz 7b", "int3";
    // Fills itself with NOPs from 8 to 9, by a string instruction.
    filled: "lea rdi, [rip + 8f]", "mov ecx, 4", "mov al, 0x90", "rep stosb", "jmp 8f", "8: .byte 0xF4, 0xF4, 0xF4, 0xF4",
        "mov eax, 0x44444444", "int3";
    // Stores its own opcode: MOV EAX becomes MOV ECX.
    opcode: "lea rbx, [rip + 8f]", "xor ecx, ecx", "mov byte ptr [rbx], 0xB9", "8: mov eax, 0x55555555", "int3";
    // Writes through RDI, another address of the same memory, then does something that serialises.
    through_another: "lea rbx, [rip + 8f]", "mov r8d, 0x66666666", "mov [rdi + 1], r8d", "xor eax, eax", "push rbx", "cpuid",
        "pop rbx", "8: mov eax, 0x11111111", "int3";
    caller: "call rdi", "mov r9d, eax", "mov dword ptr [rdi + 1], 0x77777777", "call rdi", "int3";
    called: "mov eax, 0x11111111", "ret";
}

/// Copies code to the beginning of a page of the window, mapped at `BASE` and a second time one GiB above.
fn copy(code: extern "C" fn(), place: usize) -> State {
    let page = &CODE[place];
    let from = lab::at(code);
    for offset in 0..128 {
        // SAFETY: the program's own text is readable.
        page.write(offset, unsafe { ((from + offset as u64) as *const u8).read_volatile() });
    }
    let address = BASE + place as u64 * page::SIZE;
    for address in [address, address + (1 << 30)] {
        // SAFETY: the window belongs to the topics.
        unsafe { page::map(address, page.address(), Size::Small, FULL) };
    }
    let mut state = user_state(code);
    state.frame.rip = address;
    state
}

pub(crate) fn check() {
    let cases: [(&str, extern "C" fn(), u64); 5] = [
        ("a store to the next instruction", next_instruction, 0x2222_2222),
        ("a store to the target of the next jump", after_a_jump, 0x3333_3333),
        ("a loop that changes itself", loop_of_it, 5050),
        ("a string instruction over the code behind it", filled, 0x4444_4444),
        ("a store to the next opcode", opcode, 0),
    ];
    for (what, code, eax) in cases {
        // Twice: the second time the processor may have the code ready.
        for _ in 0..2 {
            let mut end = run(copy(code, 0));
            end.frame.rbx = end.frame.rip;
            trapped(TOPIC, what, &end, BREAKPOINT, 0);
            let result = if core::ptr::fn_addr_eq(code, opcode as extern "C" fn()) {
                end.frame.rcx ^ 0x5555_5555
            } else {
                end.frame.rax
            };
            holds!(TOPIC, result == eax, "and it counts", "{result:#x}, not {eax:#x}");
        }
    }
    other_mapping();
    called_code();
    new_mapping();
    over_a_page();
}

fn other_mapping() {
    let mut state = copy(through_another, 1);
    // The label 8 stands this far into the code: LEA, MOV, MOV, XOR, PUSH, CPUID, POP.
    let offset = 7 + 6 + 4 + 2 + 1 + 2 + 1;
    state.frame.rdi = state.frame.rip + (1 << 30) + offset;
    let first = run(state);
    let right = first.frame.rax == 0x6666_6666 && first.frame.rbx == state.frame.rip + offset;
    holds!(
        TOPIC,
        right,
        "a store through another address, and CPUID",
        "{} {:#x}",
        first.fault(),
        first.frame.rax
    );
}

fn called_code() {
    let target = copy(called, 2).frame.rip;
    let mut state = copy(caller, 3);
    state.frame.rdi = target;
    let end = run(state);
    let results = (end.frame.r9, end.frame.rax);
    holds!(
        TOPIC,
        results == (0x1111_1111, 0x7777_7777),
        "code of another page, changed between two calls",
        "{results:x?}"
    );
}

fn new_mapping() {
    let first = copy(called, 0);
    let second = copy(called, 1);
    CODE[0].write(5, 0xCC_u8);
    CODE[1].write(5, 0xCC_u8);
    CODE[1].write(1, 0x8888_8888_u32.to_le_bytes()[0]);
    let before = run(first).frame.rax;
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(first.frame.rip, CODE[1].address(), Size::Small, FULL) };
    let after = run(first).frame.rax;
    let there = run(second).frame.rax;
    let right = before == 0x1111_1111 && after == 0x1111_1188 && there == after;
    holds!(
        TOPIC,
        right,
        "other code under the same address, after INVLPG",
        "{before:#x} {after:#x} {there:#x}"
    );
}

fn over_a_page() {
    // An instruction over the edge of two pages, whose second half changes: MOV EAX, imm32 at 4094, INT3 behind.
    for (place, page) in CODE.iter().enumerate().take(2) {
        // SAFETY: the window belongs to the topics.
        unsafe { page::map(BASE + place as u64 * page::SIZE, page.address(), Size::Small, FULL) };
    }
    let edge = page::SIZE as usize;
    CODE[0].write(edge - 2, 0xB8_u8);
    CODE[0].write(edge - 1, 0x01_u8);
    for (offset, byte) in [0_u8, 0, 0, 0xCC].into_iter().enumerate() {
        CODE[1].write(offset, byte);
    }
    let mut state = user_state(called);
    state.frame.rip = BASE + page::SIZE - 2;
    let first = run(state).frame.rax;
    CODE[1].write(1, 0x99_u8);
    let second = run(state).frame.rax;
    holds!(
        TOPIC,
        (first, second) == (1, 0x0099_0001),
        "an instruction over two pages, the second one changed",
        "{first:#x} {second:#x}"
    );
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(BASE + page::SIZE, 0, Size::Small, 0) };
    let end = run(state);
    let fault = end.fault();
    let fetch = if lab::NX.yes() { 16 } else { 0 };
    let right = fault.vector == PAGE_FAULT
        && fault.error == 4 | fetch
        && fault.cr2 == BASE + page::SIZE
        && fault.rip == state.frame.rip;
    holds!(TOPIC, right, "an instruction whose second half is missing", "{fault} at {:#x}", fault.rip);
}

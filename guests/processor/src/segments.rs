// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading segment registers, what compatibility mode makes of limits and rights, tables and gates (Intel SDM 3A 3.4, 5).

use crate::lab::{self, code, holds, user_state, user32_state};
use core::arch::asm;
use support::page::{self, Page, Size, bits};
use support::segments::{self as tables, FIRST_SPARE, KERNEL_DATA, set_descriptor};
use support::trap::{Fault, State, name, vector::*};
use support::{cpu, guarded, skip};

const TOPIC: &str = "segments";
const SPARE: u16 = FIRST_SPARE;
/// Two entries, for 16-byte descriptors.
const SPARE_PAIR: u16 = FIRST_SPARE + 8;

/// A descriptor: base, limit, access byte (P, DPL, S, type), flags (G, D/B, L, AVL).
fn descriptor(base: u32, limit: u32, access: u8, flags: u8) -> u64 {
    let (base, limit) = (u64::from(base), u64::from(limit));
    (limit & 0xFFFF)
        | (base & 0xFF_FFFF) << 16
        | u64::from(access) << 40
        | (limit >> 16 & 0xF) << 48
        | u64::from(flags & 0xF) << 52
        | (base >> 24) << 56
}

fn flat(access: u8) -> u64 {
    descriptor(0, 0xF_FFFF, access, 0xC)
}

code! {
    load_ds: "lea rbx, [rip + 9f]", "9: mov ds, edi", "int3";
    load_ss: "lea rbx, [rip + 9f]", "9: mov ss, edi", "int3";
    read32: ".code32", "9: mov eax, [edi]", "int3", ".code64";
    write32: ".code32", "9: mov [edi], eax", "int3", ".code64";
    read_stack32: ".code32", "mov ebp, edi", "9: mov eax, [ebp]", "int3", ".code64";
    push32: ".code32", "mov esp, edi", "push eax", "int3", ".code64";
    read_code32: ".code32", "mov eax, cs:[edi]", "int3", ".code64";
    write_code32: ".code32", "mov cs:[edi], eax", "int3", ".code64";
    through_gate: "lea rbx, [rip + 9f]", ".byte 0xFF, 0x1F", "9: int3";
    jump_gate: "lea rbx, [rip + 9f]", "9: .byte 0xFF, 0x2F", "int3";
    far_call: "lea rbx, [rip + 9f]", "8: .byte 0xFF, 0x1F", "9: int3";
    gate_target: "mov rax, [rsp]", "mov rcx, [rsp + 8]", "mov rdx, [rsp + 16]", "mov rsi, [rsp + 24]", "int3";
    gate_return: ".byte 0x48, 0xCB";
    far_return_up: "lea rbx, [rip + 9f]", "push 8", "push rdi", "9: .byte 0x48, 0xCB", "int3";
}

/// `None` when nothing is expected to fault, else vector and error code.
type Expected = Option<(u8, u32)>;

fn judge(what: &str, fault: Option<Fault>, expected: Expected) {
    let right = match (fault, expected) {
        (None, None) => true,
        (Some(fault), Some((vector, error))) => fault.vector == vector && fault.error == error,
        _ => false,
    };
    let (vector, error) = expected.unwrap_or((BREAKPOINT, 0));
    match fault {
        Some(fault) => holds!(TOPIC, right, what, "{fault}; expected {}({error:#x})", name(vector)),
        None => holds!(TOPIC, right, what, "no fault; expected {}({error:#x})", name(vector)),
    }
}

fn judge_state(what: &str, state: &State, expected: Expected) {
    let fault = Some(state.fault()).filter(|fault| fault.vector != BREAKPOINT);
    judge(what, fault, expected);
}

pub(crate) fn check() {
    loads();
    loads_of_ss();
    loads_at_cpl3();
    rights_and_limits_as_told();
    system_registers();
    compatibility();
    gates();
}

/// Loads DS at CPL 0 and puts it back.
fn into_ds(selector: u16) -> Option<Fault> {
    // SAFETY: DS means nothing in 64-bit mode, and is put back.
    unsafe {
        let fault = guarded!("mov ds, {selector:x}"; selector = in(reg) selector);
        asm!("mov ds, {:x}", in(reg) KERNEL_DATA);
        fault
    }
}

fn loads() {
    load_ldt(0);
    let sel = u32::from(SPARE);
    let cases: [(&str, u8, u16, Expected); 8] = [
        ("DS: writable data", 0x92, SPARE, None),
        ("DS: readable code", 0x9A, SPARE, None),
        ("DS: execute-only code", 0x98, SPARE, Some((GENERAL_PROTECTION, sel))),
        ("DS: a system segment", 0x89, SPARE, Some((GENERAL_PROTECTION, sel))),
        ("DS: not present", 0x12, SPARE, Some((NOT_PRESENT, sel))),
        ("DS: not present and not readable", 0x18, SPARE, Some((GENERAL_PROTECTION, sel))),
        ("DS: requested privilege above the segment's", 0x92, SPARE | 3, Some((GENERAL_PROTECTION, sel))),
        ("DS: conforming code at any privilege", 0x9E, SPARE | 3, None),
    ];
    for (what, access, selector, expected) in cases {
        set_descriptor(SPARE, flat(access));
        judge(what, into_ds(selector), expected);
    }
    judge("DS: null", into_ds(0), None);
    judge("DS: null with privilege 3", into_ds(3), None);
    judge("DS: beyond the GDT", into_ds(0xFFF8), Some((GENERAL_PROTECTION, 0xFFF8)));
    judge("DS: in an LDT that is null", into_ds(0x0F), Some((GENERAL_PROTECTION, 0x0C)));
    set_descriptor(SPARE, flat(0x92));
    into_ds(SPARE);
    let access = tables::descriptor(SPARE) >> 40 & 0xFF;
    holds!(TOPIC, access == 0x93, "a load sets the accessed bit", "{access:#x}");
    set_descriptor(SPARE, descriptor(0x1234_5678, 0xF_FFFF, 0x92, 0xC));
    // SAFETY: nothing uses FS.
    unsafe { asm!("mov fs, {:x}", in(reg) SPARE) };
    let base = cpu::rdmsr(0xC000_0100);
    holds!(TOPIC, base == 0x1234_5678, "FS takes its base from the descriptor", "{base:#x}");
}

fn into_ss(selector: u16) -> Option<Fault> {
    // SAFETY: SS means nothing in 64-bit mode but its privilege, and is put back.
    unsafe {
        let fault = guarded!("mov ss, {selector:x}"; selector = in(reg) selector);
        asm!("mov ss, {:x}", in(reg) KERNEL_DATA);
        fault
    }
}

fn loads_of_ss() {
    let sel = u32::from(SPARE);
    let cases: [(&str, u8, u16, Expected); 6] = [
        ("SS: writable data", 0x92, SPARE, None),
        ("SS: data that is not writable", 0x90, SPARE, Some((GENERAL_PROTECTION, sel))),
        ("SS: code", 0x9A, SPARE, Some((GENERAL_PROTECTION, sel))),
        ("SS: not present", 0x12, SPARE, Some((STACK, sel))),
        ("SS: requested privilege 3 at CPL 0", 0x92, SPARE | 3, Some((GENERAL_PROTECTION, sel))),
        ("SS: segment of privilege 3 at CPL 0", 0xF2, SPARE, Some((GENERAL_PROTECTION, sel))),
    ];
    for (what, access, selector, expected) in cases {
        set_descriptor(SPARE, flat(access));
        judge(what, into_ss(selector), expected);
    }
    judge("SS: null is allowed at CPL 0 in 64-bit mode", into_ss(0), None);
    judge("SS: null with privilege 3 at CPL 0", into_ss(3), Some((GENERAL_PROTECTION, 0)));
}

fn loads_at_cpl3() {
    let sel = u32::from(SPARE);
    let load = |code, selector: u16| {
        let mut state = user_state(code);
        state.frame.rdi = u64::from(selector);
        lab::run(state)
    };
    set_descriptor(SPARE, flat(0x92));
    judge_state("CPL 3, DS: data of privilege 0", &load(load_ds, SPARE), Some((GENERAL_PROTECTION, sel)));
    set_descriptor(SPARE, flat(0xF2));
    judge_state("CPL 3, DS: data of privilege 3", &load(load_ds, SPARE), None);
    judge_state("CPL 3, SS: requested privilege 0", &load(load_ss, SPARE), Some((GENERAL_PROTECTION, sel)));
    judge_state("CPL 3, SS: data of privilege 3", &load(load_ss, SPARE | 3), None);
    judge_state("CPL 3, SS: null", &load(load_ss, 0), Some((GENERAL_PROTECTION, 0)));
    judge_state("CPL 3, SS: null with privilege 3", &load(load_ss, 3), Some((GENERAL_PROTECTION, 0)));
}

/// Executes LAR, LSL, VERR or VERW and gives the result and ZF.
macro_rules! ask {
    ($instruction:literal, $selector:expr) => {{
        let mut value = 0xDEAD_u64;
        let zero: u8;
        // SAFETY: the instructions only look.
        unsafe {
            asm!("/* {value} */", $instruction, "setz {zero}", value = inout(reg) value, selector = in(reg) u64::from($selector), zero = out(reg_byte) zero);
        }
        (value, zero != 0)
    }};
}

fn rights_and_limits_as_told() {
    set_descriptor(SPARE, descriptor(0, 0x12345, 0xF2, 0xC));
    let told = ask!("lar {value:e}, {selector:e}", SPARE);
    // Bits 19:16 are undefined.
    holds!(TOPIC, told.0 & 0xFFF0_FF00 == 0x00C0_F200 && told.1, "LAR of data", "{told:x?}");
    let told = ask!("lsl {value:e}, {selector:e}", SPARE);
    holds!(TOPIC, told == (0x1234_5FFF, true), "LSL with granularity", "{told:x?}");
    holds!(TOPIC, !ask!("lar {value:e}, {selector:e}", 0_u16).1, "LAR of null");
    holds!(TOPIC, !ask!("lsl {value:e}, {selector:e}", 0xFFF8_u16).1, "LSL beyond the GDT");
    holds!(TOPIC, ask!("verw {selector:x}", SPARE).1, "VERW of writable data");
    set_descriptor(SPARE, flat(0xF0));
    holds!(
        TOPIC,
        ask!("verr {selector:x}", SPARE).1 && !ask!("verw {selector:x}", SPARE).1,
        "VERR and VERW of data that is not writable"
    );
    set_descriptor(SPARE, flat(0xF8));
    holds!(TOPIC, !ask!("verr {selector:x}", SPARE).1, "VERR of execute-only code");
    set_descriptor(SPARE, flat(0x92));
    holds!(TOPIC, !ask!("verr {selector:x}", SPARE | 3).1, "VERR with a privilege that does not suffice");
}

static LDT: Page = Page::new();

fn set_pair(low: u64, high: u64) {
    set_descriptor(SPARE_PAIR, low);
    set_descriptor(SPARE_PAIR + 8, high);
}

fn load_task(selector: u16) -> Option<Fault> {
    // SAFETY: all of the selectors that are tried are refused.
    unsafe { guarded!("ltr {selector:x}"; selector = in(reg) selector) }
}

fn load_ldt(selector: u16) -> Option<Fault> {
    // SAFETY: nothing uses the LDT.
    unsafe { guarded!("lldt {selector:x}"; selector = in(reg) selector) }
}

fn system_registers() {
    let own: u16;
    // SAFETY: reads the task register.
    unsafe { asm!("str {:x}", out(reg) own) };
    judge("LTR: a task that is busy", load_task(own), Some((GENERAL_PROTECTION, u32::from(own))));
    if lab::is_tcg() {
        skip!(TOPIC, "LTR: null: TCG takes it and then cannot take an exception");
    } else {
        judge("LTR: null", load_task(0), Some((GENERAL_PROTECTION, 0)));
    }
    judge("LTR: not a task", load_task(KERNEL_DATA), Some((GENERAL_PROTECTION, u32::from(KERNEL_DATA))));
    judge("LLDT: null", load_ldt(0), None);
    judge("LLDT: not an LDT", load_ldt(KERNEL_DATA), Some((GENERAL_PROTECTION, u32::from(KERNEL_DATA))));
    let base = LDT.address() as u32;
    set_pair(descriptor(base, 0xF, 0x02, 0), 0);
    judge("LLDT: not present", load_ldt(SPARE_PAIR), Some((NOT_PRESENT, u32::from(SPARE_PAIR))));
    set_pair(descriptor(base, 0xF, 0x82, 0), 0);
    LDT.write(8, flat(0x92));
    judge("LLDT: an LDT", load_ldt(SPARE_PAIR), None);
    judge("DS: in the LDT", into_ds(0x0C), None);
    judge("DS: beyond the LDT", into_ds(0x14), Some((GENERAL_PROTECTION, 0x14)));
    tables_in_pages();
    load_ldt(0);
}

/// Reading a descriptor is an access of the system's own, whoever loads it (Intel SDM 3A 4.6.1).
fn tables_in_pages() {
    const SELECTOR: u16 = 0x0C;
    let base = lab::user(LDT.address()) as u32;
    let cr4 = cpu::cr4();
    set_pair(descriptor(base, 0xF, 0x82, 0), 0);
    load_ldt(SPARE_PAIR);
    LDT.write(8, flat(0xF3));
    let load = |flags| {
        let mut state = user_state(load_ds);
        state.frame.rdi = u64::from(SELECTOR | 3);
        state.frame.rflags |= flags;
        lab::run(state)
    };
    judge_state("DS at CPL 3: in an LDT in a user page", &load(0), None);
    if lab::SMAP.yes() {
        // SAFETY: the program touches no user page meanwhile.
        unsafe { cpu::set_cr4(cr4 | 1 << 21) };
        let end = load(1 << 18);
        // SAFETY: the value from before.
        unsafe { cpu::set_cr4(cr4) };
        judge_state("DS at CPL 3: in an LDT in a user page with SMAP", &end, Some((PAGE_FAULT, 1)));
    } else {
        skip!(TOPIC, "SMAP: not offered by CPUID");
    }
    // A descriptor that was not accessed yet has to be written; a page that is not there has to be read first.
    set_pair(descriptor(0x7FFF_F000, 0xF, 0x82, 0), 0);
    load_ldt(SPARE_PAIR);
    let entry = page::entry(0x7FFF_F000, Size::Small);
    // SAFETY: no memory of the program lies there; the entry is put back.
    unsafe {
        let kept = entry.read_volatile();
        LDT.write(8, flat(0xF2));
        entry.write_volatile(LDT.address() | bits::PRESENT);
        page::invalidate(0x7FFF_F000);
        let end = load(0);
        judge_state(
            "DS at CPL 3: setting the accessed bit in a page that is not writable",
            &end,
            Some((PAGE_FAULT, 3)),
        );
        LDT.write(8, flat(0xF3));
        judge_state("DS at CPL 3: the bit is set already", &load(0), None);
        entry.write_volatile(0);
        page::invalidate(0x7FFF_F000);
        let end = load(0);
        judge_state("DS at CPL 3: the LDT's page is missing", &end, Some((PAGE_FAULT, 0)));
        holds!(TOPIC, end.cr2 == 0x7FFF_F008, "CR2 is the descriptor's address", "{:#x}", end.cr2);
        entry.write_volatile(kept);
        page::invalidate(0x7FFF_F000);
    }
}

/// Runs 32-bit code at CPL 3 with EDI and a data segment.
fn run32(code: extern "C" fn(), edi: u32, ds: u64) -> State {
    set_descriptor(SPARE, ds);
    let mut state = user32_state(code);
    state.ds = u32::from(SPARE | 3);
    state.frame.rdi = u64::from(edi);
    lab::run(state)
}

fn compatibility() {
    let base = lab::user(LDT.address()) as u32;
    let general = Some((GENERAL_PROTECTION, 0));
    let up = |access| descriptor(base, 0xFF, access, 4);
    judge_state("limit: the last bytes", &run32(read32, 0xFC, up(0xF2)), None);
    judge_state("limit: one byte too far", &run32(read32, 0xFD, up(0xF2)), general);
    judge_state("limit: writes too", &run32(write32, 0xFD, up(0xF2)), general);
    judge_state("rights: write to data that is not writable", &run32(write32, 0, up(0xF0)), general);
    // Expand-down: everything above the limit.
    let down = descriptor(base, 0xFF, 0xF6, 4);
    judge_state("expand-down: above the limit", &run32(read32, 0x100, down), None);
    judge_state("expand-down: at the limit", &run32(read32, 0xFF, down), general);
    let down16 = descriptor(base, 0xFF, 0xF6, 0);
    judge_state("expand-down, 16 bits: beyond 64 KiB", &run32(read32, 0xFFFD, down16), general);
    let mut state = user32_state(read32);
    state.ds = 0;
    state.frame.rdi = base.into();
    judge_state("access through a null segment", &lab::run(state), general);
    stack_segment(base);
    // Code: readable through CS, never writable.
    let mut state = user32_state(read_code32);
    state.frame.rdi = base.into();
    judge_state("read through CS", &lab::run(state), None);
    let mut state = user32_state(write_code32);
    state.frame.rdi = base.into();
    judge_state("write through CS", &lab::run(state), general);
    set_descriptor(SPARE, flat(0xF8));
    let mut state = user32_state(read_code32);
    state.frame.cs = u64::from(SPARE | 3);
    state.frame.rdi = base.into();
    judge_state("read through an execute-only CS", &lab::run(state), general);
    // A code segment that ends right behind the INT3 of `read32`, or before it.
    let code = (lab::user(lab::at(read32))) as u32;
    for (limit, expected) in [(2, None), (1, general)] {
        set_descriptor(SPARE, descriptor(code, limit, 0xFA, 4));
        let mut state = user32_state(read32);
        state.frame.cs = u64::from(SPARE | 3);
        state.frame.rip = 0;
        state.frame.rdi = base.into();
        judge_state("limit of the code segment", &lab::run(state), expected);
    }
}

fn stack_segment(base: u32) {
    let stack = |code, edi: u32, descriptor| {
        set_descriptor(SPARE, descriptor);
        let mut state = user32_state(code);
        state.frame.ss = u64::from(SPARE | 3);
        state.frame.rdi = u64::from(edi);
        lab::run(state)
    };
    let up = descriptor(base, 0xFF, 0xF2, 4);
    judge_state("stack limit: the last bytes", &stack(read_stack32, 0xFC, up), None);
    judge_state("stack limit: one byte too far", &stack(read_stack32, 0xFD, up), Some((STACK, 0)));
    judge_state("stack limit: PUSH", &stack(push32, 0x104, up), Some((STACK, 0)));
    let end = stack(push32, 0x10, up);
    holds!(
        TOPIC,
        end.frame.vector == u64::from(BREAKPOINT) && end.frame.rsp == 0xC,
        "PUSH with a 32-bit stack",
        "{:#x}",
        end.frame.rsp
    );
    // Without B the stack pointer is SP: PUSH at 0 wraps to 0xFFFC and leaves the upper half of ESP alone.
    let small = descriptor(base, 0xFFFF, 0xF2, 0);
    let end = stack(push32, 0x5_0000, small);
    holds!(
        TOPIC,
        end.frame.rsp == 0x5_FFFC,
        "PUSH with a 16-bit stack wraps within SP",
        "{} rsp {:#x}",
        end.fault(),
        end.frame.rsp
    );
}

static FAR_POINTER: Page = Page::new();

fn set_far_pointer(offset: u32, selector: u16) -> u64 {
    FAR_POINTER.write(0, offset);
    FAR_POINTER.write(4, selector);
    lab::user(FAR_POINTER.address())
}

fn set_call_gate(target: u64, selector: u16, access: u8) {
    let low = (target & 0xFFFF)
        | u64::from(selector) << 16
        | u64::from(access) << 40
        | (target >> 16 & 0xFFFF) << 48;
    set_pair(low, target >> 32);
}

fn gates() {
    let gate = |code, target, selector, access| {
        set_call_gate(lab::at(target), selector, access);
        let mut state = user_state(code);
        state.frame.rdi = set_far_pointer(0, SPARE_PAIR | 3);
        let before = state.frame;
        (before, lab::run(state))
    };
    let (before, end) = gate(through_gate, gate_target, tables::KERNEL_CODE, 0xEC);
    let top = tables::kernel_stack();
    let right = end.frame.vector == u64::from(BREAKPOINT)
        && end.frame.cs == u64::from(tables::KERNEL_CODE)
        && end.frame.rsp == top - 32;
    holds!(
        TOPIC,
        right,
        "call gate to CPL 0: new stack",
        "{} cs {:#x} rsp {:#x}, top {top:#x}",
        end.fault(),
        end.frame.cs,
        end.frame.rsp
    );
    holds!(TOPIC, end.frame.ss == 0, "call gate to CPL 0: SS is null", "{:#x}", end.frame.ss);
    let pushed = [end.frame.rax, end.frame.rcx, end.frame.rdx, end.frame.rsi];
    let expected = [end.frame.rbx, before.cs, before.rsp, before.ss];
    holds!(TOPIC, pushed == expected, "call gate to CPL 0: what it pushes", "{pushed:x?}, not {expected:x?}");
    let (before, end) = gate(through_gate, gate_return, tables::KERNEL_CODE, 0xEC);
    let back = (end.frame.cs, end.frame.ss, end.frame.rsp) == (before.cs, before.ss, before.rsp)
        && end.frame.rip == end.frame.rbx + 1;
    holds!(
        TOPIC,
        back,
        "far return to CPL 3",
        "{} {:#x}:{:#x} {:#x}:{:#x}",
        end.fault(),
        end.frame.cs,
        end.frame.rip,
        end.frame.ss,
        end.frame.rsp
    );
    let sel = u32::from(SPARE_PAIR);
    let (_, end) = gate(through_gate, gate_target, tables::KERNEL_CODE, 0x8C);
    judge_state("call gate of privilege 0 from CPL 3", &end, Some((GENERAL_PROTECTION, sel)));
    let (_, end) = gate(through_gate, gate_target, tables::KERNEL_CODE, 0x6C);
    judge_state("call gate that is not present", &end, Some((NOT_PRESENT, sel)));
    let (_, end) = gate(through_gate, gate_target, KERNEL_DATA, 0xEC);
    judge_state("call gate to data", &end, Some((GENERAL_PROTECTION, u32::from(KERNEL_DATA))));
    let (_, end) = gate(through_gate, gate_target, tables::KERNEL_CODE_32, 0xEC);
    judge_state(
        "call gate to 32-bit code",
        &end,
        Some((GENERAL_PROTECTION, u32::from(tables::KERNEL_CODE_32))),
    );
    let (_, end) = gate(jump_gate, gate_target, tables::KERNEL_CODE, 0xEC);
    judge_state(
        "jump through a gate to more privilege",
        &end,
        Some((GENERAL_PROTECTION, u32::from(tables::KERNEL_CODE))),
    );
    let call = |selector: u16| {
        let mut state = user_state(far_call);
        state.frame.rdi = set_far_pointer(0, selector);
        lab::run(state)
    };
    judge_state(
        "far call to code of privilege 0",
        &call(tables::KERNEL_CODE),
        Some((GENERAL_PROTECTION, u32::from(tables::KERNEL_CODE))),
    );
    judge_state("far call to null", &call(0), Some((GENERAL_PROTECTION, 0)));
    judge_state(
        "far call to data",
        &call(tables::USER_DATA),
        Some((GENERAL_PROTECTION, u32::from(tables::USER_DATA & !3))),
    );
    let end = lab::run(user_state(far_return_up));
    judge_state("far return to more privilege", &end, Some((GENERAL_PROTECTION, 8)));
}

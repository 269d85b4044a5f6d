// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debug registers (Intel SDM 3B 18.2, 18.3).

use crate::lab::{self, code, holds, kernel_state, run, user_state};
use core::arch::asm;
use support::page::Page;
use support::trap::{Fault, State, vector::*};
use support::{cpu, guarded};

const TOPIC: &str = "debug";
const RF: u64 = 1 << 16;
const CR4_DE: u64 = 1 << 3;
const DR6_RESET: u64 = 0xFFFF_0FF0;
const DR7_RESET: u64 = 0x400;

static MEMORY: Page = Page::new();

code! {
    three_nops: "lea rbx, [rip + 9f]", "nop", "9: nop", "nop", "int3";
    write_byte: "mov byte ptr [rdi], 1", "9: nop", "int3";
    write_quad: "mov qword ptr [rdi], 1", "nop", "int3";
    read_quad: "mov rax, [rdi]", "nop", "int3";
    fill: "mov ecx, 8", "xor eax, eax", "rep stosb", "int3";
    two_writes: "mov byte ptr [rdi], 1", "mov byte ptr [rdi + 8], 1", "int3";
    shadowed: "lea rbx, [rip + 9f]", "mov eax, 0x10", "mov ss, eax", "9: nop", "nop", "int3";
    write_port: "mov edx, 0x80", "out dx, al", "nop", "int3";
    debug_access: "lea rbx, [rip + 9f]", "9: mov rax, dr0", "int3";
    icebp: ".byte 0xF1", "nop", "int3";
}

macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reads a debug register while DR7.GD is clear.
        unsafe { asm!(concat!("mov {}, ", $name), out(reg) value) };
        value
    }};
}

macro_rules! write_register {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: a fault is caught, and breakpoints lie on code and data of this topic only.
        unsafe { guarded!(concat!("mov ", $name, ", {value}"); value = in(reg) value) }
    }};
}

fn dr0() -> u64 {
    read_register!("dr0")
}

fn dr6() -> u64 {
    read_register!("dr6")
}

fn dr7() -> u64 {
    read_register!("dr7")
}

fn set_dr0(value: u64) -> Option<Fault> {
    write_register!("dr0", value)
}

fn set_dr1(value: u64) -> Option<Fault> {
    write_register!("dr1", value)
}

fn set_dr6(value: u64) -> Option<Fault> {
    write_register!("dr6", value)
}

fn set_dr7(value: u64) -> Option<Fault> {
    write_register!("dr7", value)
}

/// When a breakpoint matches, and how many bytes it covers (as DR7 has them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Execute = 0,
    Write1 = 1,
    Write8 = 1 | 2 << 2,
    Port1 = 2,
    Access1 = 3,
    Access4 = 3 | 3 << 2,
}

/// Runs a state with a breakpoint in DR0, and gives the end and what DR6 says.
fn with_breakpoint(state: State, address: u64, on: On) -> (State, u64) {
    set_dr6(DR6_RESET);
    set_dr0(address);
    set_dr7(DR7_RESET | 2 | (on as u64) << 16);
    let end = run(state);
    set_dr7(DR7_RESET);
    (end, dr6() & 0xF)
}

fn at_memory(code: extern "C" fn(), offset: u64) -> State {
    let mut state = user_state(code);
    state.frame.rdi = lab::user(MEMORY.address()) + offset;
    state
}

pub(crate) fn check() {
    registers();
    execution();
    data();
    ports();
    general_detect();
    set_dr0(0);
    set_dr7(DR7_RESET);
    set_dr6(DR6_RESET);
}

fn registers() {
    set_dr0(0x1234_5678_9ABC_DEF0);
    holds!(TOPIC, dr0() == 0x1234_5678_9ABC_DEF0, "DR0 keeps 64 bits", "{:#x}", dr0());
    set_dr6(0);
    holds!(TOPIC, dr6() & 0xFFFF_1FF0 == 0xFFFF_0FF0, "reserved bits of DR6", "{:#x}", dr6());
    set_dr7(0);
    holds!(TOPIC, dr7() == DR7_RESET, "bit 10 of DR7 reads as 1", "{:#x}", dr7());
    let is_general = |fault: Option<Fault>| {
        fault.is_some_and(|fault| fault.vector == GENERAL_PROTECTION && fault.error == 0)
    };
    let fault = set_dr7(1 << 32);
    holds!(TOPIC, is_general(fault), "upper half of DR7", "{fault:x?}");
    set_dr7(DR7_RESET);
    let fault = set_dr6(1 << 32);
    holds!(TOPIC, is_general(fault), "upper half of DR6", "{fault:x?}");
    let cr4 = cpu::cr4();
    // SAFETY: DE concerns debug registers only.
    unsafe {
        cpu::set_cr4(cr4 & !CR4_DE);
        let mut value = 0_u64;
        let fault = guarded!("mov {value}, dr4"; value = inout(reg) value);
        holds!(
            TOPIC,
            fault.is_none() && value == dr6(),
            "DR4 is DR6 without CR4.DE",
            "{fault:x?} {value:#x}"
        );
        cpu::set_cr4(cr4 | CR4_DE);
        let fault = guarded!("mov {value}, dr5"; value = inout(reg) value);
        let undefined = fault.is_some_and(|fault| fault.vector == INVALID_OPCODE);
        holds!(TOPIC, undefined, "DR5 is undefined with CR4.DE", "{fault:x?} {value:#x}");
        cpu::set_cr4(cr4);
    }
}

fn execution() {
    let address = lab::user(lab::at(three_nops)) + 8;
    let state = user_state(three_nops);
    let (end, status) = with_breakpoint(state, address, On::Execute);
    let right = end.fault().vector == DEBUG && end.frame.rip == end.frame.rbx && end.frame.rbx == address;
    holds!(
        TOPIC,
        right,
        "a breakpoint on an instruction traps before it",
        "{} at {:#x}, not {address:#x}",
        end.fault(),
        end.frame.rip
    );
    holds!(TOPIC, status == 1, "DR6 names it", "{status:#x}");
    // The one fault that does not save RF set (Intel SDM 3B 18.3.1.1): its handler is to set it.
    holds!(TOPIC, end.frame.rflags & RF == 0, "the frame has RF clear", "{:#x}", end.frame.rflags);
    let mut again = end;
    again.frame.rflags |= RF;
    let (end, status) = with_breakpoint(again, address, On::Execute);
    let right = end.fault().vector == BREAKPOINT && status == 0;
    holds!(TOPIC, right, "RF goes on behind it", "{} at {:#x} {status:#x}", end.fault(), end.frame.rip);
    let (end, _) = with_breakpoint(state, address + 1, On::Write1);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "fetching is neither read nor write", "{}", end.fault());
    set_dr6(DR6_RESET);
    set_dr0(address);
    set_dr7(DR7_RESET);
    let end = run(state);
    holds!(TOPIC, end.fault().vector == BREAKPOINT, "a breakpoint that is not enabled", "{}", end.fault());
    let (end, _) = with_breakpoint(kernel_state(shadowed), lab::at(shadowed) + 14, On::Execute);
    let right = end.fault().vector == BREAKPOINT && lab::at(shadowed) + 14 == end.frame.rbx;
    holds!(
        TOPIC,
        right,
        "MOV SS keeps the breakpoint behind it off",
        "{} at {:#x}, rbx {:#x}",
        end.fault(),
        end.frame.rip,
        end.frame.rbx
    );
}

fn data() {
    let memory = lab::user(MEMORY.address());
    let (end, status) = with_breakpoint(at_memory(write_byte, 0), memory, On::Write1);
    let behind = lab::user(lab::at(write_byte)) + 3;
    let right = end.fault().vector == DEBUG && end.frame.rip == behind && status == 1;
    holds!(
        TOPIC,
        right,
        "a write traps behind itself",
        "{} at {:#x}, not {behind:#x}, {status:#x}",
        end.fault(),
        end.frame.rip
    );
    holds!(TOPIC, MEMORY.read::<u8>(0) == 1, "and is done");
    let cases: [(&str, extern "C" fn(), u64, u64, On, bool); 8] = [
        ("a read does not match a write", read_quad, 0, 0, On::Write1, false),
        ("a read matches an access", read_quad, 0, 0, On::Access1, true),
        ("a write matches an access", write_quad, 0, 0, On::Access1, true),
        ("a wide write over a narrow breakpoint", write_quad, 0, 7, On::Write1, true),
        ("a wide write beside a breakpoint", write_quad, 0, 8, On::Write1, false),
        ("a narrow write in a wide breakpoint", write_byte, 5, 0, On::Write8, true),
        ("4 bytes: inside", write_byte, 3, 0, On::Access4, true),
        ("4 bytes: behind", write_byte, 4, 0, On::Access4, false),
    ];
    for (what, code, offset, breakpoint, on, matches) in cases {
        let (end, status) = with_breakpoint(at_memory(code, offset), memory + breakpoint, on);
        let expected = if matches { DEBUG } else { BREAKPOINT };
        holds!(
            TOPIC,
            end.fault().vector == expected && (status == 1) == matches,
            what,
            "{} {status:#x}",
            end.fault()
        );
    }
    let (end, _) = with_breakpoint(at_memory(fill, 0), memory + 3, On::Write1);
    let right = end.fault().vector == DEBUG && end.frame.rcx <= 4;
    holds!(
        TOPIC,
        right,
        "a string instruction traps after the iteration, or soon",
        "{} rcx {}",
        end.fault(),
        end.frame.rcx
    );
    set_dr1(memory + 8);
    set_dr6(DR6_RESET);
    set_dr7(DR7_RESET | 8 | 1 << 20);
    let end = run(at_memory(two_writes, 0));
    set_dr7(DR7_RESET);
    let status = dr6() & 0xF;
    holds!(
        TOPIC,
        end.fault().vector == DEBUG && status == 2,
        "DR1 is named as DR1",
        "{} {status:#x}",
        end.fault()
    );
    set_dr6(DR6_RESET);
    let end = run(user_state(icebp));
    let right = end.fault().vector == DEBUG && dr6() & 0x400F == 0;
    holds!(TOPIC, right, "INT1 stands behind itself", "{} {:#x}", end.fault(), dr6());
}

fn ports() {
    let cr4 = cpu::cr4();
    // SAFETY: DE concerns debug registers only.
    unsafe { cpu::set_cr4(cr4 | CR4_DE) };
    let (end, status) = with_breakpoint(kernel_state(write_port), 0x80, On::Port1);
    // SAFETY: the value from before.
    unsafe { cpu::set_cr4(cr4) };
    let behind = lab::at(write_port) + 6;
    let right = end.fault().vector == DEBUG && status == 1 && end.frame.rip == behind;
    holds!(TOPIC, right, "a breakpoint on a port", "{} at {:#x} {status:#x}", end.fault(), end.frame.rip);
}

fn general_detect() {
    set_dr6(DR6_RESET);
    set_dr7(DR7_RESET | 1 << 13);
    let end = run(kernel_state(debug_access));
    // The trap has cleared GD, or the next line would not come through.
    let status = dr6();
    let right = end.fault().vector == DEBUG && end.frame.rip == end.frame.rbx && status & 1 << 13 != 0;
    holds!(TOPIC, right, "DR7.GD guards the debug registers", "{} {status:#x}", end.fault());
    holds!(TOPIC, dr7() & 1 << 13 == 0, "the trap clears DR7.GD", "{:#x}", dr7());
}

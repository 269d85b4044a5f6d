// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether two outcomes are the same, as far as the architecture defines them.

use std::fmt::Write;

use iced_x86::{Instruction, Register};

use crate::state::{End, Mode, Outcome, State, VectorArea, rflags};
use crate::undefined::{Undefined, undefined};

/// Bits of a page fault's error code.
const PRESENT: u32 = 1;
const USER: u32 = 4;
/// First address that is the kernel's. Of those Linux says to programs that the page is present, whatever it is.
const KERNEL_HALF: u64 = 0x7FFF_FFFF_F000;

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// What a sequence of instructions leaves undefined, worked out by those who make it: nothing that is compared may depend on it.
#[must_use]
pub fn undefined_of(instruction: &Instruction, before: &State) -> Undefined {
    if instruction.is_invalid() { Undefined::default() } else { undefined(instruction, before) }
}

/// Says in what `guest` differs from `host`; nothing if they agree.
#[must_use]
pub fn difference(mode: Mode, undefined: &Undefined, host: &Outcome, guest: &Outcome) -> String {
    let mut text = String::new();
    let (host_end, guest_end) = (normal(mode, undefined, host.end), normal(mode, undefined, guest.end));
    if host_end != guest_end {
        let _ = writeln!(text, "  end: host {host_end:x?}, guest {guest_end:x?}");
    }
    // What becomes of the upper halves in compatibility mode is undefined.
    let wide = mode != Mode::User32 && host.state.selectors[1] != crate::state::selector::CODE_32;
    for (index, name) in NAMES.iter().enumerate() {
        let mut mask = if wide { u64::MAX } else { 0xFFFF_FFFF };
        if let Some(register) = undefined.register
            && register.full_register() == Register::RAX + index as u32
        {
            mask &= match register.size() {
                2 => !0xFFFF,
                _ => 0,
            };
        }
        line(&mut text, name, mask, host.state.gprs[index], guest.state.gprs[index]);
    }
    line(&mut text, "rip", u64::MAX, host.state.rip, guest.state.rip);
    let mask = !undefined.flags;
    line(&mut text, "rflags", mask, host.state.rflags, guest.state.rflags);
    line(&mut text, "fs base", u64::MAX, host.state.fs_base, guest.state.fs_base);
    let names = ["es", "cs", "ss", "ds", "fs", "gs"];
    for (index, name) in names.iter().enumerate() {
        // CS and SS are the mode's.
        let mask = if mode == Mode::Kernel64 && matches!(index, 1 | 2) { 0 } else { 0xFFFF };
        // A null selector has no RPL once the host's kernel has returned to the program.
        let value = |selector: u16| u64::from(if selector < 4 { 0 } else { selector });
        line(&mut text, name, mask, value(host.state.selectors[index]), value(guest.state.selectors[index]));
    }
    line(&mut text, "gs base", u64::MAX, host.state.gs_base, guest.state.gs_base);
    if let (Some(host), Some(guest)) = (&host.state.vector, &guest.state.vector) {
        vectors(&mut text, host, guest);
    }
    text
}

/// Compares XSAVE areas but for the opcode and addresses of the last x87 instruction, which AMD's processors save only beside a pending exception.
fn vectors(text: &mut String, host: &VectorArea, guest: &VectorArea) {
    let parts = [("fcw", 0..2), ("fsw", 2..4), ("ftw", 4..5), ("mxcsr", 24..28)];
    let registers = (0..8)
        .map(|index| ("st/mm", 32 + 16 * index..42 + 16 * index))
        .chain((0..16).map(|index| ("xmm", 160 + 16 * index..176 + 16 * index)))
        .chain((0..16).map(|index| ("upper half of ymm", 576 + 16 * index..592 + 16 * index)));
    for (name, range) in parts.into_iter().chain(registers) {
        let (host, guest) = (&host.0[range.clone()], &guest.0[range.clone()]);
        if host != guest {
            let _ = writeln!(text, "  {name} at {range:?}: host {host:02x?}, guest {guest:02x?}");
        }
    }
}

fn line(text: &mut String, name: &str, mask: u64, host: u64, guest: u64) {
    if (host ^ guest) & mask != 0 {
        let _ = writeln!(text, "  {name}: host {host:#x}, guest {guest:#x}, of {mask:#x}");
    }
}

/// An end without what the modes cannot agree on.
fn normal(mode: Mode, undefined: &Undefined, end: End) -> End {
    let End::Exception { vector: 14, mut error_code, mut address } = end else { return end };

    if mode == Mode::Kernel64 {
        error_code &= !USER;
    }
    if address >= KERNEL_HALF {
        error_code &= !PRESENT;
    }
    if undefined.order {
        // Two parts may lie in two pages that are wrong in different ways.
        address = 0;
        error_code &= !PRESENT;
    }
    End::Exception { vector: 14, error_code, address }
}

/// Registers in words, for reports.
#[must_use]
pub fn describe(state: &State) -> String {
    let mut text = String::new();
    for (index, name) in NAMES.iter().enumerate() {
        let _ = write!(text, "{name}={:x} ", state.gprs[index]);
    }
    let names = [
        (rflags::CF, "CF"),
        (rflags::PF, "PF"),
        (rflags::AF, "AF"),
        (rflags::ZF, "ZF"),
        (rflags::SF, "SF"),
        (rflags::OF, "OF"),
        (rflags::DF, "DF"),
        (rflags::TF, "TF"),
        (rflags::AC, "AC"),
    ];
    let _ = write!(text, "rip={:x} rflags={:x}", state.rip, state.rflags);
    for (bit, name) in names {
        if state.rflags & bit != 0 {
            let _ = write!(text, " {name}");
        }
    }
    let _ = write!(text, " fs={:x} gs={:x}", state.fs_base, state.gs_base);
    text
}

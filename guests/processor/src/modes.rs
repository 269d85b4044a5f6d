// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real mode, 16-bit and 32-bit protected mode, as guests pass through them: a journey from 64-bit mode down and back, and code
//! of 16 and 32 bits at CPL 0 under long mode (Intel SDM 3A 9.9, 21).

use crate::lab::{self, code, holds, run};
use core::arch::global_asm;
use support::segments::{KERNEL_CODE_16, KERNEL_CODE_32, KERNEL_DATA, KERNEL_DATA_16};
use support::trap::{State, vector::*};

const TOPIC: &str = "modes";

global_asm!(include_str!("modes.s"));

unsafe extern "C" {
    static modes_journey: u8;
    static modes_journey_end: u8;
}

/// Where the journey is copied to, and where its record is; modes.s has the same numbers.
const JOURNEY: u64 = 0x7000;
const RECORD: u64 = 0x6000;

/// Code for CPL 0 under long mode, of 32 and 16 bits; the latter is run below 64 KiB.
const LOW_CODE: u64 = 0x7C00;

code! {
    kernel32: ".code32", "mov ecx, 0x12345678", "mov eax, cr0", "mov ebx, eax", "push 0x11223344", "pop edx", "inc esp", ".byte 0x48",
        "int3", ".code64";
    kernel16: ".code16", "mov cx, 0x1234", "mov eax, 0x89ABCDEF", "push ax", "pop bx", "mov dx, 0xFFFF", "inc dx", "int3", ".code64";
    call16: ".code16", "mov sp, 0x6F00", "push 0x1234", "mov bp, sp", "mov cx, [bp]", "int3", ".code64";
}

pub(crate) fn check() {
    under_long_mode();
    journey();
}

fn under_long_mode() {
    let mut state = State::kernel(lab::at(kernel32), lab::kernel_stack());
    state.frame.cs = u64::from(KERNEL_CODE_32);
    // INC ESP and DEC EAX: 0x44 and 0x48 are prefixes in 64-bit mode only.
    let end = run(state);
    let frame = end.frame;
    let right = end.fault().vector == BREAKPOINT && frame.rcx == 0x1234_5678 && frame.rdx == 0x1122_3344;
    holds!(
        TOPIC,
        right,
        "32-bit code at CPL 0 in compatibility mode",
        "{} {:#x} {:#x}",
        end.fault(),
        frame.rcx,
        frame.rdx
    );
    let right = frame.rsp == lab::kernel_stack() + 1 && frame.rax == (frame.rbx - 1) & 0xFFFF_FFFF;
    holds!(
        TOPIC,
        right,
        "0x48 is DEC EAX there, not a prefix",
        "{:#x} {:#x} {:#x}",
        frame.rsp,
        frame.rax,
        frame.rbx
    );
    for (code, what) in [
        (kernel16 as extern "C" fn(), "16-bit code at CPL 0 in compatibility mode"),
        (call16, "a 16-bit stack"),
    ] {
        // SAFETY: the page at 0x7000 is this topic's; 64 bytes of the program's own text are readable.
        unsafe { core::ptr::copy_nonoverlapping(lab::at(code) as *const u8, LOW_CODE as *mut u8, 64) };
        let mut state = State::kernel(LOW_CODE, 0x6F00);
        state.frame.cs = u64::from(KERNEL_CODE_16);
        state.frame.ss = u64::from(KERNEL_DATA_16);
        state.ds = u32::from(KERNEL_DATA_16);
        state.es = u32::from(KERNEL_DATA);
        state.frame.rcx = 0xAAAA_BBBB_CCCC_DDDD;
        let end = run(state);
        let frame = end.frame;
        // Writes to 16-bit registers leave the rest; compatibility mode keeps what is above 32 bits, or not: it is undefined.
        let low = (frame.rcx as u32, frame.rbx as u16, frame.rdx as u16, frame.rax as u32);
        let right = match what {
            "a 16-bit stack" => low.0 as u16 == 0x1234,
            _ => low.0 == 0xCCCC_1234 && low.1 == 0xCDEF && low.2 == 0 && low.3 == 0x89AB_CDEF,
        };
        holds!(TOPIC, end.fault().vector == BREAKPOINT && right, what, "{} {low:x?}", end.fault());
    }
}

fn journey() {
    let length = &raw const modes_journey_end as u64 - &raw const modes_journey as u64;
    assert!(length <= 0x800, "the journey does not fit below 0x7800");
    // SAFETY: the pages from 0x2000 to 0x7FFF belong to nobody once the loader has handed over; the journey comes back as a C function does.
    let record: [u32; 19] = unsafe {
        core::ptr::write_bytes(RECORD as *mut u8, 0, 0x1000);
        core::ptr::copy_nonoverlapping(&raw const modes_journey, JOURNEY as *mut u8, length as usize);
        let journey: extern "C" fn() = core::mem::transmute::<u64, extern "C" fn()>(JOURNEY);
        journey();
        core::array::from_fn(|index| ((RECORD + 4 * index as u64) as *const u32).read_volatile())
    };
    holds!(TOPIC, record[13] == 0x600D_F00D, "to real mode and back", "{record:x?}");
    holds!(TOPIC, record[11] == 55, "16-bit protected mode", "{}", record[11]);
    holds!(TOPIC, record[0] & 0x8000_0001 == 0, "CR0 in real mode", "{:#x}", record[0]);
    holds!(
        TOPIC,
        (record[1], record[2]) == (0x60, 0),
        "real mode: INT through the vector table",
        "{:x} {:x}",
        record[1],
        record[2]
    );
    holds!(TOPIC, record[3] & 0x203 == 3, "real mode: the flags that INT pushes", "{:#x}", record[3]);
    holds!(
        TOPIC,
        (record[4], record[5]) == (0x100, 0),
        "real mode: division by zero stands at the instruction",
        "{:x} {:x}",
        record[4],
        record[5]
    );
    holds!(TOPIC, record[6] == 0xCAFE_1234, "real mode: segment times 16", "{:#x}", record[6]);
    holds!(
        TOPIC,
        record[7] == 0x1BAD_B002,
        "real mode: a limit of 4 GiB that protected mode has left",
        "{:#x}",
        record[7]
    );
    holds!(TOPIC, record[8] == 13, "real mode: #GP beyond 64 KiB", "{:#x}", record[8]);
    holds!(TOPIC, record[9] == 0x1BAD_B002, "real mode: 0xFFFF:0x10 is 1 MiB", "{:#x}", record[9]);
    holds!(
        TOPIC,
        record[10] & 0x24_0202 == 0x24_0202,
        "real mode: POPF and PUSHF of 32 bits",
        "{:#x}",
        record[10]
    );
    holds!(TOPIC, record[12] == 0xFFFE, "real mode: SP wraps", "{:#x}", record[12]);
    let sentinels = [record[14], record[15], record[16]];
    holds!(TOPIC, sentinels[0] == 0x600D_F00D, "32-bit paging: a 4 MiB page", "{:#x}", sentinels[0]);
    holds!(TOPIC, sentinels[1] == 0x600D_F00D, "32-bit paging: a 4 KiB page", "{:#x}", sentinels[1]);
    holds!(TOPIC, sentinels[2] == 0x600D_F00D, "PAE paging: a 2 MiB page", "{:#x}", sentinels[2]);
    let fault = (record[17], record[18]);
    holds!(TOPIC, fault == (0xC0_0ABC, 2), "32-bit mode: a page fault through a 32-bit gate", "{fault:x?}");
}

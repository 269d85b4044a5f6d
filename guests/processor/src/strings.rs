// SPDX-License-Identifier: MIT OR Apache-2.0
//! Repeated string instructions across a page that faults: everything before is done, the registers say where to go on, and
//! going on ends as if nothing had happened (Intel SDM 1 7.3.9.3).

use crate::lab::{self, WINDOW, code, holds, kernel_state, run, trapped, user_state};
use support::page::{self, Page, Size, bits};
use support::trap::{State, vector::*};

const TOPIC: &str = "strings";
const BASE: u64 = WINDOW + (3 << 37);
const DF: u64 = 1 << 10;
const FULL: u64 = bits::PRESENT | bits::WRITE | bits::USER;

static SOURCE: [Page; 2] = [const { Page::new() }; 2];
static TARGET: [Page; 2] = [const { Page::new() }; 2];

/// The source's and the target's two pages, one after the other.
const FROM: u64 = BASE;
const TO: u64 = BASE + (1 << 20);
const EDGE: u64 = page::SIZE;

code! {
    movsb: "lea rbx, [rip + 9f]", "9: rep movsb", "int3";
    movsq: "lea rbx, [rip + 9f]", "9: rep movsq", "int3";
    stosb: "lea rbx, [rip + 9f]", "9: rep stosb", "int3";
    stosd: "lea rbx, [rip + 9f]", "9: rep stosd", "int3";
    lodsb: "lea rbx, [rip + 9f]", "9: rep lodsb", "int3";
    cmpsb: "lea rbx, [rip + 9f]", "9: repe cmpsb", "int3";
    scasb: "lea rbx, [rip + 9f]", "9: repne scasb", "int3";
    movsb_32: "lea rbx, [rip + 9f]", "9: .byte 0x67, 0xF3, 0xA4", "int3";
    outsb: "lea rbx, [rip + 9f]", "mov edx, 0x80", "9: rep outsb", "int3";
    insb: "lea rbx, [rip + 9f]", "mov edx, 0x80", "9: rep insb", "int3";
    nothing: "lea rbx, [rip + 9f]", "xor ecx, ecx", "rep movsb", "int3", "9: nop";
}

fn map(address: u64, page: &Page, present: bool) {
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(address, page.address(), Size::Small, if present { FULL } else { 0 }) };
}

/// Maps both ranges, but for one page that is missing.
fn prepare(missing: u64) {
    for (base, pages) in [(FROM, &SOURCE), (TO, &TARGET)] {
        for (index, page) in pages.iter().enumerate() {
            let address = base + index as u64 * EDGE;
            map(address, page, address != missing);
        }
    }
    for (index, page) in SOURCE.iter().enumerate() {
        for offset in 0..page::SIZE as usize {
            page.write(offset, (offset as u8).wrapping_mul(7).wrapping_add(index as u8 + 1));
        }
    }
    TARGET.iter().for_each(|page| page.fill(0));
}

fn state(code: extern "C" fn(), rsi: u64, rdi: u64, rcx: u64) -> State {
    let mut state = user_state(code);
    (state.frame.rsi, state.frame.rdi, state.frame.rcx) = (rsi, rdi, rcx);
    state
}

/// Where the registers stand: RSI, RDI, RCX.
fn place(state: &State) -> (u64, u64, u64) {
    (state.frame.rsi, state.frame.rdi, state.frame.rcx)
}

/// A case: code, start, the missing page, then the place at the fault and the error code.
struct Case {
    what: &'static str,
    code: extern "C" fn(),
    start: (u64, u64, u64),
    backwards: bool,
    missing: u64,
    fault: (u64, u64, u64),
    cr2: u64,
    error: u32,
    end: (u64, u64, u64),
}

pub(crate) fn check() {
    let cases = [
        Case {
            what: "REP MOVSB into a missing page",
            code: movsb,
            start: (FROM + EDGE - 200, TO + EDGE - 100, 300),
            backwards: false,
            missing: TO + EDGE,
            fault: (FROM + EDGE - 100, TO + EDGE, 200),
            cr2: TO + EDGE,
            error: 6,
            end: (FROM + EDGE + 100, TO + EDGE + 200, 0),
        },
        Case {
            what: "REP MOVSB out of a missing page",
            code: movsb,
            start: (FROM + EDGE - 50, TO + 16, 100),
            backwards: false,
            missing: FROM + EDGE,
            fault: (FROM + EDGE, TO + 66, 50),
            cr2: FROM + EDGE,
            error: 4,
            end: (FROM + EDGE + 50, TO + 116, 0),
        },
        Case {
            what: "REP MOVSB downwards into a missing page",
            code: movsb,
            start: (FROM + EDGE + 99, TO + EDGE + 99, 300),
            backwards: true,
            missing: TO,
            fault: (FROM + EDGE - 1, TO + EDGE - 1, 200),
            cr2: TO + EDGE - 1,
            error: 6,
            end: (FROM + EDGE - 201, TO + EDGE - 201, 0),
        },
        Case {
            what: "REP MOVSQ: the element over the edge is not begun",
            code: movsq,
            start: (FROM, TO + EDGE - 20, 10),
            backwards: false,
            missing: TO + EDGE,
            fault: (FROM + 16, TO + EDGE - 4, 8),
            cr2: TO + EDGE,
            error: 6,
            end: (FROM + 80, TO + EDGE + 60, 0),
        },
        Case {
            what: "REP STOSB into a missing page",
            code: stosb,
            start: (1, TO + EDGE - 1000, 2000),
            backwards: false,
            missing: TO + EDGE,
            fault: (1, TO + EDGE, 1000),
            cr2: TO + EDGE,
            error: 6,
            end: (1, TO + EDGE + 1000, 0),
        },
        Case {
            what: "REP STOSD: the element over the edge is not begun",
            code: stosd,
            start: (1, TO + EDGE - 10, 5),
            backwards: false,
            missing: TO + EDGE,
            fault: (1, TO + EDGE - 2, 3),
            cr2: TO + EDGE,
            error: 6,
            end: (1, TO + EDGE + 10, 0),
        },
        Case {
            what: "REP LODSB out of a missing page",
            code: lodsb,
            start: (FROM + EDGE - 5, 1, 10),
            backwards: false,
            missing: FROM + EDGE,
            fault: (FROM + EDGE, 1, 5),
            cr2: FROM + EDGE,
            error: 4,
            end: (FROM + EDGE + 5, 1, 0),
        },
        Case {
            what: "REPNE SCASB into a missing page",
            code: scasb,
            start: (1, FROM + EDGE - 5, 10),
            backwards: false,
            missing: FROM + EDGE,
            fault: (1, FROM + EDGE, 5),
            cr2: FROM + EDGE,
            error: 4,
            end: (1, FROM + EDGE + 5, 0),
        },
    ];
    cases.iter().for_each(one);
    compares();
    small_addresses();
    ports();
    prepare(TO + EDGE);
    let end = run(state(nothing, 0x1000, 0x2000, 5));
    trapped(TOPIC, "a count of 0 touches nothing", &end, BREAKPOINT, 0);
    holds!(TOPIC, place(&end) == (0x1000, 0x2000, 0), "and moves no register", "{:x?}", place(&end));
}

fn one(case: &Case) {
    prepare(case.missing);
    let (rsi, rdi, rcx) = case.start;
    let mut start = state(case.code, rsi, rdi, rcx);
    // AL is in no byte of the source, for SCAS; it is what STOS stores.
    start.frame.rax = 0xA5A5_A500;
    start.frame.rflags |= u64::from(case.backwards) * DF;
    let fault = run(start);
    trapped(TOPIC, case.what, &fault, PAGE_FAULT, case.error);
    let at = place(&fault);
    holds!(
        TOPIC,
        at == case.fault && fault.cr2 == case.cr2,
        "registers at the fault",
        "{at:x?} cr2 {:x}, not {:x?} {:x}",
        fault.cr2,
        case.fault,
        case.cr2
    );
    let page = if case.missing == TO {
        &TARGET[0]
    } else if case.missing == TO + EDGE {
        &TARGET[1]
    } else {
        &SOURCE[1]
    };
    map(case.missing, page, true);
    let end = run(fault);
    let at = place(&end);
    let right = end.fault().vector == BREAKPOINT && at == case.end;
    holds!(TOPIC, right, "and going on ends right", "{} {at:x?}, not {:x?}", end.fault(), case.end);
    if core::ptr::fn_addr_eq(case.code, movsb as extern "C" fn())
        || core::ptr::fn_addr_eq(case.code, movsq as extern "C" fn())
    {
        let size = if core::ptr::fn_addr_eq(case.code, movsq as extern "C" fn()) { 8 } else { 1 };
        let (from, to) = if case.backwards { (case.end.0 + 1, case.end.1 + 1) } else { (rsi, rdi) };
        let same =
            (0..rcx * size).all(|index| byte(&SOURCE, FROM, from + index) == byte(&TARGET, TO, to + index));
        let around = byte(&TARGET, TO, to - 1) == 0 && byte(&TARGET, TO, to + rcx * size) == 0;
        holds!(TOPIC, same && around, "every byte was copied, and no other");
    }
}

fn byte(pages: &[Page; 2], base: u64, address: u64) -> u8 {
    let offset = address - base;
    pages[(offset / EDGE) as usize].read((offset % EDGE) as usize)
}

fn compares() {
    prepare(0);
    for page in 0..2 {
        for offset in 0..page::SIZE as usize {
            TARGET[page].write(offset, SOURCE[page].read::<u8>(offset));
        }
    }
    TARGET[1].write(10, !SOURCE[1].read::<u8>(10));
    let end = run(state(cmpsb, FROM + EDGE - 20, TO + EDGE - 20, 100));
    let right = place(&end) == (FROM + EDGE + 11, TO + EDGE + 11, 69) && end.frame.rflags & 1 << 6 == 0;
    holds!(
        TOPIC,
        right,
        "REPE CMPSB stops behind the first difference",
        "{:x?} {:#x}",
        place(&end),
        end.frame.rflags
    );
    map(TO + EDGE, &TARGET[1], false);
    let end = run(state(cmpsb, FROM + EDGE - 20, TO + EDGE - 20, 100));
    let right = end.fault().vector == PAGE_FAULT && place(&end) == (FROM + EDGE, TO + EDGE, 80);
    holds!(TOPIC, right, "REPE CMPSB into a missing page", "{} {:x?}", end.fault(), place(&end));
}

fn small_addresses() {
    // With the address-size prefix ESI, EDI and ECX count, and the upper halves become 0.
    let (from, to) = (lab::user(SOURCE[0].address()), lab::user(TARGET[0].address()));
    TARGET[0].fill(0);
    let end =
        run(state(movsb_32, from | 0xDEAD_0000_0000_0000, to | 0xBEEF_0000_0000_0000, 0xFFFF_0000_0000_0010));
    let right = place(&end) == (from + 16, to + 16, 0)
        && TARGET[0].read::<u8>(15) == SOURCE[0].read::<u8>(15)
        && TARGET[0].read::<u8>(16) == 0;
    holds!(TOPIC, right, "REP MOVSB with 32-bit addresses", "{} {:x?}", end.fault(), place(&end));
}

fn ports() {
    // Port 0x80 takes anything; what it gives is its own affair.
    for (what, code, missing, start, fault, error) in [
        (
            "REP OUTSB out of a missing page",
            outsb as extern "C" fn(),
            FROM + EDGE,
            (FROM + EDGE - 3, 1, 8),
            (FROM + EDGE, 1, 5),
            0,
        ),
        ("REP INSB into a missing page", insb, TO + EDGE, (1, TO + EDGE - 3, 8), (1, TO + EDGE, 5), 2),
    ] {
        prepare(missing);
        let mut state = kernel_state(code);
        (state.frame.rsi, state.frame.rdi, state.frame.rcx) = start;
        let end = run(state);
        trapped(TOPIC, what, &end, PAGE_FAULT, error);
        holds!(
            TOPIC,
            place(&end) == fault && end.cr2 == missing,
            "registers at the fault",
            "{:x?} {:x}",
            place(&end),
            end.cr2
        );
        map(missing, if missing == FROM + EDGE { &SOURCE[1] } else { &TARGET[1] }, true);
        let end = run(end);
        let done =
            (start.0 + if start.0 == 1 { 0 } else { 8 }, start.1 + if start.1 == 1 { 0 } else { 8 }, 0);
        let right = end.fault().vector == BREAKPOINT && place(&end) == done;
        holds!(TOPIC, right, "and going on ends right", "{} {:x?}, not {done:x?}", end.fault(), place(&end));
    }
    for (what, count) in
        [("REP OUTSB at CPL 3 without permission", 1), ("even when it is to output nothing", 0)]
    {
        let end = run(state(outsb, lab::user(SOURCE[0].address()), 0, count));
        trapped(TOPIC, what, &end, GENERAL_PROTECTION, 0);
    }
}

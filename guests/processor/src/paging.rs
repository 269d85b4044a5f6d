// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accessed and dirty bits, reserved bits, and what else page walks owe (Intel SDM 3A 4.7, 4.8).

use crate::lab::{self, WINDOW, code, holds, kernel_state, user_state};
use support::page::{self, Page, Size, bits};
use support::trap::{self, State, vector::*};
use support::{cpu, skip};

const TOPIC: &str = "paging";
const BASE: u64 = WINDOW + (1 << 37) * 2;
static TARGET: Page = Page::new();

code! {
    read: "mov rax, [rdi]", "int3";
    write: "mov [rdi], rax", "int3";
    compare_and_fail: "mov rax, 1", "mov rcx, 2", "lock cmpxchg [rdi], rcx", "int3";
    add_nothing: "add qword ptr [rdi], 0", "int3";
    prefetch: "prefetcht0 [rdi]", "int3";
    read_over_edge: "mov rax, [rdi - 4]", "int3";
    write_over_edge: "mov [rdi - 4], rax", "int3";
}

fn access(code: extern "C" fn(), address: u64, user: bool) -> State {
    let mut state = if user { user_state(code) } else { kernel_state(code) };
    state.frame.rdi = address;
    lab::run(state)
}

/// Maps the target afresh with the flags, no accessed or dirty bit in leaf or directory.
fn fresh(flags: u64) -> (*mut u64, *mut u64) {
    // SAFETY: the window belongs to the topics.
    unsafe {
        page::map(BASE, TARGET.address(), Size::Small, flags);
        let leaf = page::entry(BASE, Size::Small);
        let upper = page::entry(BASE, Size::Large);
        upper.write_volatile(upper.read_volatile() & !(bits::ACCESSED | bits::DIRTY));
        page::flush();
        (leaf, upper)
    }
}

fn used(entry: *mut u64) -> u64 {
    // SAFETY: an entry of the window.
    unsafe { entry.read_volatile() & (bits::ACCESSED | bits::DIRTY) }
}

const FULL: u64 = bits::PRESENT | bits::WRITE | bits::USER;

pub(crate) fn check() {
    accessed_and_dirty();
    reserved_bits();
    edges();
    write_with_side_effects();
}

fn accessed_and_dirty() {
    let (leaf, upper) = fresh(FULL);
    access(read, BASE, false);
    holds!(TOPIC, used(leaf) == bits::ACCESSED, "a read sets A and not D", "{:#x}", used(leaf));
    holds!(TOPIC, used(upper) == bits::ACCESSED, "and A in the directory", "{:#x}", used(upper));
    access(write, BASE, false);
    holds!(TOPIC, used(leaf) == bits::ACCESSED | bits::DIRTY, "a write after it sets D", "{:#x}", used(leaf));
    holds!(TOPIC, used(upper) & bits::DIRTY == 0, "a directory entry has no D", "{:#x}", used(upper));
    let (leaf, _) = fresh(FULL);
    access(write, BASE, true);
    holds!(
        TOPIC,
        used(leaf) == bits::ACCESSED | bits::DIRTY,
        "a write sets A and D at once",
        "{:#x}",
        used(leaf)
    );
    // SAFETY: an entry of the window.
    unsafe { leaf.write_volatile(leaf.read_volatile() & !(bits::ACCESSED | bits::DIRTY)) };
    page::invalidate(BASE);
    access(write, BASE, false);
    holds!(
        TOPIC,
        used(leaf) == bits::ACCESSED | bits::DIRTY,
        "they are set again after they were cleared and INVLPG",
        "{:#x}",
        used(leaf)
    );
    let (leaf, _) = fresh(bits::PRESENT | bits::USER);
    let end = access(write, BASE, true);
    holds!(
        TOPIC,
        end.frame.vector == u64::from(PAGE_FAULT) && used(leaf) & bits::DIRTY == 0,
        "a write that faults sets no D",
        "{:#x}",
        used(leaf)
    );
    let (leaf, _) = fresh(FULL);
    TARGET.write(0, 7_u64);
    let end = access(compare_and_fail, BASE, false);
    holds!(
        TOPIC,
        end.frame.rax == 7 && used(leaf) & bits::DIRTY != 0,
        "LOCK CMPXCHG that fails writes, so D is set",
        "{:#x}",
        used(leaf)
    );
    let (leaf, _) = fresh(FULL);
    access(add_nothing, BASE, false);
    holds!(TOPIC, used(leaf) & bits::DIRTY != 0, "ADD of 0 writes, so D is set", "{:#x}", used(leaf));
    let large = BASE + (1 << 35);
    for (size, what) in [(Size::Large, "a 2 MiB page has A and D"), (Size::Huge, "a 1 GiB page has A and D")]
    {
        if size == Size::Huge && !lab::HUGE.yes() {
            skip!(TOPIC, "{what}: not offered by CPUID");
            continue;
        }
        let address = large + (1 << 31) * size as u64;
        let physical = TARGET.address() & !(size.bytes() - 1);
        // SAFETY: the window belongs to the topics.
        unsafe { page::map(address, physical, size, FULL) };
        let leaf = page::entry(address, size);
        access(read, address + TARGET.address() % size.bytes(), false);
        let after_read = used(leaf);
        access(write, address + TARGET.address() % size.bytes(), false);
        let right = after_read == bits::ACCESSED && used(leaf) == bits::ACCESSED | bits::DIRTY;
        holds!(TOPIC, right, what, "{after_read:#x}, {:#x}", used(leaf));
    }
}

fn reserved_bits() {
    let physical_bits = cpu::cpuid(0x8000_0008, 0).eax & 0xFF;
    let beyond = if physical_bits < 52 { 1 << physical_bits } else { 0 };
    if beyond == 0 {
        skip!(TOPIC, "an address beyond the processor's: it has all 52 bits");
    } else {
        let (leaf, _) = fresh(FULL);
        // SAFETY: an entry of the window.
        unsafe { leaf.write_volatile(leaf.read_volatile() | beyond) };
        page::invalidate(BASE);
        for (user, error) in [(false, 9), (true, 13)] {
            let fault = access(read, BASE, user).fault();
            holds!(
                TOPIC,
                fault.vector == PAGE_FAULT && fault.error == error,
                "an address beyond the processor's is a reserved bit",
                "{fault}"
            );
        }
        let fault = access(write, BASE, true).fault();
        holds!(TOPIC, fault.vector == PAGE_FAULT && fault.error == 15, "for writes as well", "{fault}");
    }
    let large = BASE + (1 << 34);
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(large, 1 << 13, Size::Large, FULL) };
    let fault = access(read, large, false).fault();
    holds!(
        TOPIC,
        fault.vector == PAGE_FAULT && fault.error == 9,
        "bit 13 of a 2 MiB entry is reserved",
        "{fault}"
    );
    if lab::HUGE.yes() {
        let huge = BASE + (1 << 36);
        // SAFETY: the window belongs to the topics.
        unsafe { page::map(huge, 1 << 20, Size::Huge, FULL) };
        let fault = access(read, huge, false).fault();
        holds!(
            TOPIC,
            fault.vector == PAGE_FAULT && fault.error == 9,
            "bit 20 of a 1 GiB entry is reserved",
            "{fault}"
        );
    }
    if lab::NX.yes() {
        let (leaf, _) = fresh(FULL);
        // SAFETY: an entry of the window; EFER.NXE is set again below.
        unsafe {
            leaf.write_volatile(leaf.read_volatile() | bits::NO_EXECUTE);
            let efer = cpu::rdmsr(0xC000_0080);
            cpu::wrmsr(0xC000_0080, efer & !(1 << 11));
            page::flush();
            let fault = access(read, BASE, false).fault();
            cpu::wrmsr(0xC000_0080, efer);
            page::flush();
            holds!(
                TOPIC,
                fault.vector == PAGE_FAULT && fault.error == 9,
                "without EFER.NXE bit 63 is reserved",
                "{fault}"
            );
        }
    }
}

fn edges() {
    // Two pages, the second one missing.
    fresh(FULL);
    let edge = BASE + page::SIZE;
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(edge, 0, Size::Small, 0) };
    TARGET.write(4088, 0x1111_1111_1111_1111_u64);
    let fault = access(read_over_edge, edge, false).fault();
    holds!(
        TOPIC,
        fault.vector == PAGE_FAULT && fault.cr2 == edge && fault.error == 0,
        "a read into a missing page faults there",
        "{fault}"
    );
    let fault = access(write_over_edge, edge, false).fault();
    holds!(
        TOPIC,
        fault.vector == PAGE_FAULT && fault.cr2 == edge && fault.error == 2,
        "a write into a missing page faults there",
        "{fault}"
    );
    holds!(
        TOPIC,
        TARGET.read::<u64>(4088) == 0x1111_1111_1111_1111,
        "and has written nothing to the page before it"
    );
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(edge, TARGET.address(), Size::Small, FULL) };
    let mut state = kernel_state(write_over_edge);
    state.frame.rdi = edge;
    state.frame.rax = 0x8877_6655_4433_2211;
    lab::run(state);
    let halves = (TARGET.read::<u32>(4092), TARGET.read::<u32>(0));
    holds!(
        TOPIC,
        halves == (0x4433_2211, 0x8877_6655),
        "a write over an edge follows two translations",
        "{halves:x?}"
    );
    let end = access(read_over_edge, edge, true);
    holds!(TOPIC, end.frame.rax == 0x8877_6655_4433_2211, "so does a read", "{:#x}", end.frame.rax);
}

fn write_with_side_effects() {
    fresh(FULL);
    let end = access(prefetch, 0x7FFF_FFFF_F000, true);
    holds!(
        TOPIC,
        end.frame.vector == u64::from(BREAKPOINT),
        "PREFETCH of what is not mapped does nothing",
        "{}",
        end.fault()
    );
    // What is not present may be anything else: bits of it never matter, and no INVLPG is owed when it becomes present.
    let leaf = page::entry(BASE, Size::Small);
    // SAFETY: an entry of the window.
    unsafe {
        leaf.write_volatile(!1);
        page::invalidate(BASE);
    }
    let fault = trap::read64(BASE);
    holds!(
        TOPIC,
        fault.is_err_and(|fault| fault.error == 0),
        "an entry that is not present has no reserved bits",
        "{fault:x?}"
    );
    // SAFETY: an entry of the window.
    unsafe { leaf.write_volatile(TARGET.address() | FULL) };
    let value = trap::read64(BASE);
    holds!(TOPIC, value == Ok(TARGET.read(0)), "an entry that becomes present counts at once", "{value:x?}");
}

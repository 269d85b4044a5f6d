// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the virtual MMU does by itself (TLFS 9.1): architectural flushes, and what may be left out of the architecture.

use super::{NEW, OLD, WINDOW};
use crate::lab::Guest;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use support::page::{self, Size, bits};
use support::{boot, check, cpu, skip, trap};

/// An address for a large page, and two large pages of memory that the program does not use.
const LARGE_WINDOW: u64 = 7 << 30;
const LARGE_OLD: u64 = 32 << 20;
const LARGE_NEW: u64 = 34 << 20;
pub(super) const MAPPED: u64 = bits::PRESENT | bits::WRITE;

const CR0_CACHE_DISABLE: u64 = 1 << 30;
const CR3_WRITE_THROUGH_AND_CACHE_DISABLE: u64 = 0b11 << 3;
const CR4_PAGE_SIZE_EXTENSIONS: u64 = 1 << 4;
const CR4_PAGE_GLOBAL_ENABLE: u64 = 1 << 7;
const IA32_PAT: u32 = 0x277;

pub(super) fn check(guest: &Guest) {
    stale();
    flushes();
    large_page();
    leeway();
    pat(guest);
}

/// Maps the window to the old page, has it read, and changes the entry without telling the processor.
pub(super) fn change_mapping(flags: u64) -> bool {
    OLD.write(0, 0x01D_u64);
    NEW.write(0, 0x2E2_u64);
    // SAFETY: an address that the program does not use otherwise.
    unsafe { page::map(WINDOW, OLD.address(), Size::Small, MAPPED | flags) };
    let before = trap::read64(WINDOW) == Ok(0x01D);
    // SAFETY: as above.
    unsafe { page::entry(WINDOW, Size::Small).write_volatile(NEW.address() | MAPPED | flags) };
    before
}

fn stale() {
    let before = change_mapping(0);
    let unflushed = trap::read64(WINDOW);
    page::invalidate(WINDOW);
    let flushed = trap::read64(WINDOW);
    check!(
        "B09.001",
        before && matches!(unflushed, Ok(0x01D | 0x2E2)) && flushed == Ok(0x2E2),
        "before the flush either mapping, {unflushed:x?}; after it the new one, {flushed:x?}"
    );
}

fn flushes() {
    let takes_effect = |flags, flush: fn()| {
        let before = change_mapping(flags);
        flush();
        before && trap::read64(WINDOW) == Ok(0x2E2)
    };
    let toggle = |bit: u64| {
        let cr4 = cpu::cr4();
        // SAFETY: neither bit matters to the program: it has no global pages but those of these checks, and 4-level paging has large ones anyway.
        unsafe {
            cpu::set_cr4(cr4 ^ bit);
            cpu::set_cr4(cr4);
        }
    };
    check!("B09.007", takes_effect(0, || page::invalidate(WINDOW)), "INVLPG");
    check!("B09.007", takes_effect(0, page::flush), "MOV to CR3");
    let global = takes_effect(bits::GLOBAL, || {
        let cr4 = cpu::cr4();
        // SAFETY: as above.
        unsafe {
            cpu::set_cr4(cr4 ^ CR4_PAGE_GLOBAL_ENABLE);
            cpu::set_cr4(cr4);
        }
    });
    check!("B09.007", global, "a change of CR4.PGE, for a global page too");
    let before = change_mapping(0);
    toggle(CR4_PAGE_SIZE_EXTENSIONS);
    check!("B09.007", before && trap::read64(WINDOW) == Ok(0x2E2), "a change of CR4.PSE");
}

/// Whether there is memory for the large pages.
pub(super) fn has_large_pages() -> bool {
    boot::memory_end() >= LARGE_NEW + Size::Large.bytes()
}

/// INVLPG of one address in a large, global page.
fn large_page() {
    const INSIDE: u64 = 0x12_3000;
    if !has_large_pages() {
        return skip!("B09.008", "no memory at {LARGE_NEW:#x}");
    }
    for (address, value) in [(LARGE_OLD, 0x3333_u64), (LARGE_NEW, 0x4444)] {
        // SAFETY: memory that the program does not use, identity-mapped; what is read back tells whether it worked.
        let _ = unsafe { trap::write64(address + INSIDE, value) };
    }
    let cr4 = cpu::cr4();
    // SAFETY: global pages are pages all the same.
    unsafe { cpu::set_cr4(cr4 | CR4_PAGE_GLOBAL_ENABLE) };
    // SAFETY: an address that the program does not use otherwise.
    unsafe { page::map(LARGE_WINDOW, LARGE_OLD, Size::Large, MAPPED | bits::GLOBAL) };
    let before = trap::read64(LARGE_WINDOW + INSIDE);
    // SAFETY: as above.
    unsafe {
        let entry = page::entry(LARGE_WINDOW, Size::Large);
        entry.write_volatile(LARGE_NEW | MAPPED | bits::GLOBAL | bits::LARGE);
    }
    page::invalidate(LARGE_WINDOW + 0x5000);
    let after = trap::read64(LARGE_WINDOW + INSIDE);
    // SAFETY: as it was.
    unsafe { cpu::set_cr4(cr4) };
    check!("B09.008", (before, after) == (Ok(0x3333), Ok(0x4444)), "INVLPG drops all of a large global page");
}

/// What a hypervisor may support or not: either way the program goes on.
fn leeway() {
    let works = || {
        OLD.write(0, 0x7777_u64);
        // SAFETY: an address that the program does not use otherwise.
        unsafe { page::map(WINDOW, OLD.address(), Size::Small, MAPPED) };
        trap::read64(WINDOW) == Ok(0x7777)
    };
    let cr3 = cpu::cr3();
    // SAFETY: the same tables, accessed with another memory type.
    unsafe { cpu::set_cr3(cr3 | CR3_WRITE_THROUGH_AND_CACHE_DISABLE) };
    let (shown, worked) = (cpu::cr3(), works());
    // SAFETY: as it was.
    unsafe { cpu::set_cr3(cr3) };
    let fits = shown & !CR3_WRITE_THROUGH_AND_CACHE_DISABLE == cr3;
    check!("B09.002", fits && worked, "CR3 with PWT and PCD reads {shown:#x}, and memory is as before");

    let mapped = works();
    // SAFETY: the entry of a table that only these checks use.
    let worked = unsafe {
        let above = page::entry(WINDOW, Size::Large);
        let entry = above.read_volatile();
        above.write_volatile(entry | CR3_WRITE_THROUGH_AND_CACHE_DISABLE);
        page::flush();
        let worked = trap::read64(WINDOW) == Ok(0x7777);
        above.write_volatile(entry);
        page::flush();
        worked
    };
    check!("B09.003", mapped && worked, "PWT and PCD above the last level change nothing");

    let cr0 = cpu::cr0();
    // SAFETY: caching changes no contents.
    unsafe { cpu::set_cr0(cr0 | CR0_CACHE_DISABLE) };
    let (shown, worked) = (cpu::cr0(), works());
    // SAFETY: as it was.
    unsafe { cpu::set_cr0(cr0) };
    let fits = shown & !CR0_CACHE_DISABLE == cr0 & !CR0_CACHE_DISABLE;
    check!("B09.004", fits && worked, "CR0 with CD reads {shown:#x}, and memory is as before");

    let kept = (0..16u64).all(|value| {
        OLD.write(8, value);
        // SAFETY: under a hypervisor nothing is lost by it (TLFS 9.1.1), which is what is checked.
        unsafe { asm!("invd", options(nostack)) };
        OLD.read::<u64>(8) == value
    });
    check!("B09.006", kept, "INVD loses nothing");
}

static OTHER_PAT: AtomicU64 = AtomicU64::new(0);

/// Each processor has a PAT of its own.
fn pat(guest: &Guest) {
    let Ok(before) = trap::rdmsr(IA32_PAT) else { return skip!("B09.005", "no PAT") };
    if guest.processors == 1 {
        return skip!("B09.005", "one processor only");
    }
    // Entry 7, which no page of the program uses: write-protected here.
    let own = before & (u64::MAX >> 8) | 5 << 56;
    let written = trap::wrmsr(IA32_PAT, own);
    guest.have(1, || OTHER_PAT.store(trap::rdmsr(IA32_PAT).unwrap_or(0), Ordering::Relaxed));
    let read = trap::rdmsr(IA32_PAT);
    let restored = trap::wrmsr(IA32_PAT, before);
    check!(
        "B09.005",
        (written, read, restored) == (Ok(()), Ok(own), Ok(())) && OTHER_PAT.load(Ordering::Relaxed) == before,
        "a processor's PAT is its own"
    );
}

/// The page that a flush by hypercall of one address has to drop whole: true if what lies elsewhere in it is new, too.
pub(super) fn large_page_is_dropped(flush: impl FnOnce(u64) -> bool) -> bool {
    const INSIDE: u64 = 0x4_5000;
    for (address, value) in [(LARGE_OLD, 0x5555_u64), (LARGE_NEW, 0x6666)] {
        // SAFETY: memory that the program does not use, identity-mapped.
        if unsafe { trap::write64(address + INSIDE, value) }.is_err() {
            return false;
        }
    }
    // SAFETY: an address that the program does not use otherwise.
    unsafe { page::map(LARGE_WINDOW, LARGE_OLD, Size::Large, MAPPED) };
    let before = trap::read64(LARGE_WINDOW + INSIDE) == Ok(0x5555);
    // SAFETY: as above.
    unsafe { page::entry(LARGE_WINDOW, Size::Large).write_volatile(LARGE_NEW | MAPPED | bits::LARGE) };
    before && flush(LARGE_WINDOW + 0x1000) && trap::read64(LARGE_WINDOW + INSIDE) == Ok(0x6666)
}

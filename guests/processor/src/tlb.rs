// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must be forgotten, and when (Intel SDM 3A 4.10). That something is still remembered can never be asked for.

use crate::lab::{self, WINDOW, holds};
use core::arch::asm;
use support::page::{self, Page, Size, bits};
use support::trap::{self, Fault, vector::*};
use support::{cpu, guarded, skip};

const TOPIC: &str = "tlb";
const BASE: u64 = WINDOW + (1 << 38);
const FULL: u64 = bits::PRESENT | bits::WRITE;
const CR4_PGE: u64 = 1 << 7;
const CR4_PCIDE: u64 = 1 << 17;

static OLD: Page = Page::new();
static NEW: Page = Page::new();

/// Lets the processor remember a mapping, changes the entry, does what must make it forget, and looks.
fn forgets(flags: u64, by: impl FnOnce()) -> bool {
    OLD.write(0, 1_u64);
    NEW.write(0, 2_u64);
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(BASE, OLD.address(), Size::Small, FULL | flags) };
    let before = trap::read64(BASE);
    // SAFETY: an entry of the window.
    unsafe { page::entry(BASE, Size::Small).write_volatile(NEW.address() | FULL | flags) };
    by();
    before == Ok(1) && trap::read64(BASE) == Ok(2)
}

pub(crate) fn check() {
    let cr4 = cpu::cr4();
    holds!(TOPIC, forgets(0, || page::invalidate(BASE)), "INVLPG");
    holds!(TOPIC, forgets(0, || page::invalidate(BASE + 0xFFF)), "INVLPG at the page's last byte");
    holds!(TOPIC, forgets(0, page::flush), "MOV to CR3");
    // SAFETY: the program has no global pages of its own.
    unsafe {
        cpu::set_cr4(cr4 | CR4_PGE);
        holds!(TOPIC, forgets(bits::GLOBAL, || page::invalidate(BASE)), "INVLPG of a global page");
        holds!(TOPIC, forgets(bits::GLOBAL, || cpu::set_cr4(cr4)), "clearing CR4.PGE, for global pages too");
        holds!(TOPIC, forgets(bits::GLOBAL, || cpu::set_cr4(cr4 | CR4_PGE)), "setting CR4.PGE");
        cpu::set_cr4(cr4);
    }
    large_pages();
    more_rights();
    upper_levels();
    let wild = || {
        // SAFETY: INVLPG of an address that is not canonical does nothing.
        unsafe { asm!("invlpg [{}]", in(reg) 0x8000_0000_0000_0000_u64) };
    };
    wild();
    holds!(TOPIC, true, "INVLPG of an address that is not canonical does nothing");
    cr3_rules();
    if lab::PCID.yes() {
        process_contexts(cr4);
    } else {
        skip!(TOPIC, "PCID: not offered by CPUID");
    }
}

fn large_pages() {
    let base = BASE + (1 << 32);
    let physical = OLD.address() & !(Size::Large.bytes() - 1);
    let address = base + OLD.address() % Size::Large.bytes();
    // SAFETY: the window belongs to the topics.
    unsafe {
        page::map(base, physical, Size::Large, FULL);
        let before = trap::read64(address);
        page::entry(base, Size::Large).write_volatile(0);
        // Any address inside counts.
        page::invalidate(base + 0x1F_F123);
        let after = trap::read64(address);
        holds!(
            TOPIC,
            before == Ok(1) && after.is_err(),
            "INVLPG anywhere in a 2 MiB page",
            "{before:x?} {after:x?}"
        );
    }
}

fn more_rights() {
    // SAFETY: the window belongs to the topics.
    unsafe {
        page::map(BASE, OLD.address(), Size::Small, bits::PRESENT);
        let before = trap::write64(BASE, 5);
        page::entry(BASE, Size::Small).write_volatile(OLD.address() | FULL);
        // One spurious fault is allowed, and makes the processor forget.
        let first = trap::write64(BASE, 6);
        let second = trap::write64(BASE, 6);
        let right = before.is_err() && (first.is_ok() || second.is_ok()) && OLD.read::<u64>(0) == 6;
        holds!(
            TOPIC,
            right,
            "more rights without INVLPG count after one fault at the latest",
            "{before:x?} {first:x?} {second:x?}"
        );
        page::map(BASE, OLD.address(), Size::Small, FULL);
        let first = trap::write64(BASE, 7);
        page::entry(BASE, Size::Small).write_volatile(OLD.address() | bits::PRESENT);
        page::invalidate(BASE);
        let second = trap::write64(BASE, 8);
        let right = first.is_ok() && second.is_err() && OLD.read::<u64>(0) == 7;
        holds!(TOPIC, right, "fewer rights count after INVLPG", "{first:x?} {second:x?}");
    }
}

fn upper_levels() {
    // SAFETY: the window belongs to the topics.
    unsafe {
        page::map(BASE, OLD.address(), Size::Small, FULL);
        let before = trap::read64(BASE);
        let upper = page::entry(BASE, Size::Large);
        let kept = upper.read_volatile();
        upper.write_volatile(0);
        page::invalidate(BASE);
        let without = trap::read64(BASE);
        upper.write_volatile(kept);
        let again = trap::read64(BASE);
        let right = before.is_ok() && without.is_err() && again.is_ok();
        holds!(
            TOPIC,
            right,
            "INVLPG forgets the upper levels as well",
            "{before:x?} {without:x?} {again:x?}"
        );
    }
}

fn set_cr3(value: u64) -> Option<Fault> {
    // SAFETY: a fault is caught; the values that do not fault name the tables in force.
    unsafe { guarded!("mov cr3, {value}"; value = in(reg) value) }
}

fn set_cr4(value: u64) -> Option<Fault> {
    // SAFETY: a fault is caught; the values that do not fault suit the program.
    unsafe { guarded!("mov cr4, {value}"; value = in(reg) value) }
}

fn is_general(fault: Option<Fault>) -> bool {
    fault.is_some_and(|fault| fault.vector == GENERAL_PROTECTION && fault.error == 0)
}

fn cr3_rules() {
    let cr3 = cpu::cr3();
    if lab::is_tcg() {
        return skip!(TOPIC, "reserved bits of CR3: TCG takes them as an address and is lost");
    }
    let physical_bits = cpu::cpuid(0x8000_0008, 0).eax & 0xFF;
    if physical_bits < 52 {
        let fault = set_cr3(cr3 | 1 << physical_bits);
        holds!(TOPIC, is_general(fault), "CR3 with an address beyond the processor's", "{fault:x?}");
        set_cr3(cr3);
    }
    let fault = set_cr3(cr3 | 1 << 63);
    holds!(TOPIC, is_general(fault), "CR3 with bit 63 while CR4.PCIDE is clear", "{fault:x?}");
    set_cr3(cr3);
}

fn invpcid(kind: u64, context: u64, address: u64) -> Option<Fault> {
    let descriptor = [context, address];
    // SAFETY: only forgets translations; a fault is caught.
    unsafe {
        guarded!("invpcid {kind}, [{descriptor}]"; kind = in(reg) kind, descriptor = in(reg) &descriptor)
    }
}

fn process_contexts(cr4: u64) {
    let cr3 = cpu::cr3();
    set_cr3(cr3 | 1 << 3);
    let fault = set_cr4(cr4 | CR4_PCIDE);
    // Without PCIDE bit 3 is cache control; with it, a part of the context.
    holds!(TOPIC, is_general(fault), "CR4.PCIDE cannot be set while CR3 names a context", "{fault:x?}");
    set_cr4(cr4);
    set_cr3(cr3);
    if set_cr4(cr4 | CR4_PCIDE).is_some() {
        return holds!(TOPIC, false, "CR4.PCIDE can be set");
    }
    set_cr3(cr3 | 1);
    let read = cpu::cr3();
    holds!(TOPIC, read == cr3 | 1, "CR3 keeps the context", "{read:#x}");
    holds!(TOPIC, forgets(0, || page::invalidate(BASE)), "INVLPG in a context");
    holds!(
        TOPIC,
        forgets(0, || {
            set_cr3(cr3 | 1);
        }),
        "MOV to CR3 of the same context"
    );
    set_cr3(cr3 | 1 << 63 | 1);
    let read = cpu::cr3();
    holds!(TOPIC, read == cr3 | 1, "bit 63 of CR3 reads as 0", "{read:#x}");
    let other = forgets(0, || {
        set_cr3(cr3 | 2);
        set_cr3(cr3 | 1);
    });
    holds!(TOPIC, other, "back to a context without bit 63");
    if lab::INVPCID.yes() {
        holds!(
            TOPIC,
            forgets(0, || {
                invpcid(0, 1, BASE);
            }),
            "INVPCID of one address"
        );
        holds!(
            TOPIC,
            forgets(0, || {
                invpcid(1, 1, 0);
            }),
            "INVPCID of one context"
        );
        holds!(
            TOPIC,
            forgets(0, || {
                invpcid(2, 0, 0);
            }),
            "INVPCID of everything"
        );
        holds!(
            TOPIC,
            forgets(0, || {
                invpcid(3, 0, 0);
            }),
            "INVPCID of everything but global pages"
        );
        set_cr4(cr4 | CR4_PCIDE | CR4_PGE);
        holds!(
            TOPIC,
            forgets(bits::GLOBAL, || {
                invpcid(2, 0, 0);
            }),
            "INVPCID of everything, global pages too"
        );
        set_cr4(cr4 | CR4_PCIDE);
        let fault = invpcid(4, 0, 0);
        holds!(TOPIC, is_general(fault), "INVPCID of a kind that does not exist", "{fault:x?}");
        let fault = invpcid(0, 1 << 12, 0);
        holds!(TOPIC, is_general(fault), "INVPCID with reserved bits", "{fault:x?}");
        let fault = invpcid(0, 1, 1 << 63);
        holds!(TOPIC, is_general(fault), "INVPCID of an address that is not canonical", "{fault:x?}");
        // A context that is not the one in force.
        let away = forgets(0, || {
            set_cr3(cr3 | 1 << 63 | 2);
            invpcid(1, 1, 0);
            set_cr3(cr3 | 1 << 63 | 1);
        });
        holds!(TOPIC, away, "INVPCID of a context that is not in force");
    } else {
        skip!(TOPIC, "INVPCID: not offered by CPUID");
    }
    set_cr3(cr3);
    set_cr4(cr4);
}

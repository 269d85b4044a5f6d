// SPDX-License-Identifier: MIT OR Apache-2.0
//! More than one processor: starting them, atomic counting, memory order, interrupts and changes of code and pages from one to
//! another. Runs late, for the processors that it starts stay.

use crate::lab::{WINDOW, holds};
use crate::poke;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use support::page::{self, Page, Size, bits};
use support::{apic, cpu, processors, segments, skip, trap};

const TOPIC: &str = "processors";
const BASE: u64 = WINDOW + (5 << 37);
const ROUNDS: u64 = 20_000;
const LETTERS: u32 = 2000;
const VECTOR: u8 = 0x61;

static COUNTER: AtomicU64 = AtomicU64::new(0);
static UNLOCKED: AtomicU64 = AtomicU64::new(0);
static INDICES: AtomicU32 = AtomicU32::new(0);

pub(crate) fn check() {
    if !apic::is_present() {
        return skip!(TOPIC, "local APIC: not offered by CPUID");
    }
    apic::enable();
    let count = processors::count();
    if count == 1 {
        return skip!(TOPIC, "there is one processor only");
    }
    let started = processors::start();
    holds!(TOPIC, started == count, "all processors start", "{started} of {count}");
    if started < 2 {
        return;
    }
    everywhere(started, || {
        INDICES.fetch_or(1 << segments::processor_index(), Ordering::Relaxed);
    });
    let indices = INDICES.load(Ordering::Relaxed);
    holds!(TOPIC, indices == (1 << started) - 2, "each has its own task register", "{indices:#b}");
    counting(started);
    order();
    interrupts();
    pages();
    code();
    poke::check(OTHER_ID.load(Ordering::Relaxed));
}

/// Runs a function on all processors but this one, and waits.
fn everywhere(started: usize, work: fn()) {
    (1..started).for_each(|index| processors::give(index, work));
    wait(|| (1..started).all(processors::is_idle));
}

/// Waits until something is so, but not for ever.
fn wait(done: impl Fn() -> bool) -> bool {
    (0..50_000_000).any(|_| {
        cpu::pause();
        done()
    })
}

fn count_up() {
    for _ in 0..ROUNDS {
        COUNTER.fetch_add(1, Ordering::Relaxed);
        // Without LOCK counts may get lost, but never more than were counted.
        UNLOCKED.store(UNLOCKED.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

fn counting(started: usize) {
    (1..started).for_each(|index| processors::give(index, count_up));
    count_up();
    wait(|| (1..started).all(processors::is_idle));
    let (counted, expected) = (COUNTER.load(Ordering::Relaxed), started as u64 * ROUNDS);
    holds!(TOPIC, counted == expected, "LOCK XADD counts exactly", "{counted}, not {expected}");
    let unlocked = UNLOCKED.load(Ordering::Relaxed);
    holds!(
        TOPIC,
        unlocked > 0 && unlocked <= expected,
        "without LOCK it counts no more",
        "{unlocked} of {expected}"
    );
}

static DATA: AtomicU32 = AtomicU32::new(0);
static FLAG: AtomicU32 = AtomicU32::new(0);
static OUT_OF_ORDER: AtomicU32 = AtomicU32::new(0);

fn write_letters() {
    for letter in 1..=LETTERS {
        DATA.store(letter, Ordering::Relaxed);
        // Plain stores: this architecture keeps their order by itself.
        FLAG.store(letter, Ordering::Release);
    }
}

fn order() {
    processors::give(1, write_letters);
    wait(|| {
        let flag = FLAG.load(Ordering::Acquire);
        let data = DATA.load(Ordering::Relaxed);
        OUT_OF_ORDER.fetch_add(u32::from(data < flag), Ordering::Relaxed);
        flag == LETTERS
    });
    let wrong = OUT_OF_ORDER.load(Ordering::Relaxed);
    holds!(
        TOPIC,
        FLAG.load(Ordering::Relaxed) == LETTERS && wrong == 0,
        "stores are seen in order",
        "{wrong} times not"
    );
    wait(|| processors::is_idle(1));
}

static ARRIVED: AtomicU32 = AtomicU32::new(0);
static OTHER_ID: AtomicU32 = AtomicU32::new(0);

fn interrupts() {
    trap::set_handler(
        VECTOR,
        Some(|_| {
            ARRIVED.fetch_or(1 << segments::processor_index(), Ordering::Relaxed);
            apic::end_of_interrupt();
        }),
    );
    everywhere(2, || OTHER_ID.store(apic::id(), Ordering::Relaxed));
    let other = OTHER_ID.load(Ordering::Relaxed);
    holds!(TOPIC, other != apic::id(), "the other one has another APIC ID", "{other}");
    apic::send(other, apic::FIXED | u32::from(VECTOR));
    let came = wait(|| ARRIVED.load(Ordering::Relaxed) != 0);
    let arrived = ARRIVED.load(Ordering::Relaxed);
    holds!(TOPIC, came && arrived == 2, "an interrupt to the other one arrives there", "{arrived:#b}");
    trap::set_handler(VECTOR, None);
}

static FIRST: Page = Page::new();
static SECOND: Page = Page::new();
static READING: AtomicBool = AtomicBool::new(false);
static SEEN: AtomicU64 = AtomicU64::new(0);

fn read_on() {
    while READING.load(Ordering::Acquire) {
        // SAFETY: mapped by `pages` before and while this runs.
        SEEN.store(unsafe { (BASE as *const u64).read_volatile() }, Ordering::Release);
    }
}

/// The classic: change the entry, tell the other one, and after its answer it uses the new page only.
fn pages() {
    FIRST.write(0, 1_u64);
    SECOND.write(0, 2_u64);
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(BASE, FIRST.address(), Size::Small, bits::PRESENT | bits::WRITE) };
    READING.store(true, Ordering::Release);
    ARRIVED.store(0, Ordering::Relaxed);
    trap::set_handler(
        VECTOR,
        Some(|_| {
            page::invalidate(BASE);
            ARRIVED.store(1, Ordering::Release);
            apic::end_of_interrupt();
        }),
    );
    processors::give(1, || {
        cpu::enable_interrupts();
        read_on();
        cpu::disable_interrupts();
    });
    let before = wait(|| SEEN.load(Ordering::Acquire) == 1);
    // SAFETY: an entry of the window.
    unsafe { page::entry(BASE, Size::Small).write_volatile(SECOND.address() | bits::PRESENT | bits::WRITE) };
    apic::send(OTHER_ID.load(Ordering::Relaxed), apic::FIXED | u32::from(VECTOR));
    let told = wait(|| ARRIVED.load(Ordering::Acquire) == 1);
    let after = wait(|| SEEN.load(Ordering::Acquire) == 2);
    READING.store(false, Ordering::Release);
    wait(|| processors::is_idle(1));
    trap::set_handler(VECTOR, None);
    let seen = SEEN.load(Ordering::Relaxed);
    holds!(
        TOPIC,
        before && told && after && seen == 2,
        "a page that another processor changed, after INVLPG",
        "{seen}"
    );
}

static CODE: Page = Page::new();
static READY: AtomicBool = AtomicBool::new(false);
static RESULTS: AtomicU64 = AtomicU64::new(0);

fn call_twice() {
    // SAFETY: the page holds MOV EAX, imm32 and RET.
    let function = unsafe { core::mem::transmute::<u64, extern "C" fn() -> u32>(CODE.address()) };
    let first = function();
    READY.store(true, Ordering::Release);
    while READY.load(Ordering::Acquire) {
        cpu::pause();
    }
    // Cross-modified code needs a serialising instruction (Intel SDM 3A 9.1.3).
    cpu::cpuid(0, 0);
    RESULTS.store(u64::from(function()) << 32 | u64::from(first), Ordering::Release);
}

fn code() {
    for (offset, byte) in [0xB8_u8, 0x11, 0, 0, 0, 0xC3].into_iter().enumerate() {
        CODE.write(offset, byte);
    }
    processors::give(1, call_twice);
    wait(|| READY.load(Ordering::Acquire));
    // SAFETY: nobody runs the page now; the store is a plain one.
    unsafe { asm!("mov byte ptr [{}], 0x22", in(reg) CODE.address() + 1) };
    READY.store(false, Ordering::Release);
    wait(|| processors::is_idle(1));
    let results = RESULTS.load(Ordering::Acquire);
    holds!(
        TOPIC,
        results == 0x22_0000_0011,
        "code that another processor changed, after CPUID",
        "{results:#x}"
    );
}

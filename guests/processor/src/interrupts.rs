// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts of the processor to itself: shadows, priorities, halting, NMIs (Intel SDM 3A 6.7, 6.8, 11).

use crate::lab::{self, code, holds, kernel_state, run};
use core::sync::atomic::{AtomicU32, Ordering};
use support::trap::{self, Frame};
use support::{apic, cpu, skip};

const TOPIC: &str = "interrupts";
const IF: u64 = 1 << 9;
const LOW: u8 = 0x41;
const HIGH: u8 = 0x91;

code! {
    sti_shadow: "lea rbx, [rip + 9f]", "sti", "nop", "9: nop", "int3";
    sti_twice: "lea rbx, [rip + 9f]", "sti", "sti", "9: nop", "nop", "int3";
    sti_cli: "lea rbx, [rip + 9f]", "sti", "cli", "9: int3", "nop";
    popf: "lea rbx, [rip + 9f]", "push 0x202", "popfq", "9: nop", "int3";
    sti_halt: "lea rbx, [rip + 9f]", "sti", "hlt", "9: nop", "int3";
    lower_priority: "lea rbx, [rip + 9f]", "xor eax, eax", "mov cr8, rax", "9: nop", "nop", "int3";
    nops: "nop", "nop", "nop", "int3";
}

fn send(vector: u8) {
    apic::send(0, apic::FIXED | apic::TO_SELF | u32::from(vector));
}

/// Interrupts that are captured by a run must be ended afterwards.
fn run_and_end(state: trap::State) -> trap::State {
    let end = run(state);
    if end.frame.vector >= 32 {
        apic::end_of_interrupt();
    }
    end
}

pub(crate) fn check() {
    if !apic::is_present() {
        return skip!(TOPIC, "local APIC: not offered by CPUID");
    }
    apic::enable();
    shadows();
    priorities();
    modes();
    halting();
    non_maskable();
}

fn shadows() {
    let cases: [(&str, extern "C" fn()); 4] = [
        ("STI lets one instruction pass", sti_shadow),
        ("STI after STI has no second shadow", sti_twice),
        ("POPF lets nothing pass", popf),
        ("STI and HLT: the interrupt is not lost", sti_halt),
    ];
    for (what, code) in cases {
        send(LOW);
        let end = run_and_end(kernel_state(code));
        let right = end.frame.vector == u64::from(LOW) && end.frame.rip == end.frame.rbx;
        holds!(
            TOPIC,
            right,
            what,
            "vector {:#x} at {:#x}, not {:#x}",
            end.frame.vector,
            end.frame.rip,
            end.frame.rbx
        );
    }
    send(LOW);
    let end = run_and_end(kernel_state(sti_cli));
    holds!(TOPIC, end.frame.vector == 3, "STI and CLI let nothing in", "vector {:#x}", end.frame.vector);
    holds!(TOPIC, apic::is_requested(LOW), "and the request stays");
    let end = run_and_end(kernel_state(popf));
    holds!(
        TOPIC,
        end.frame.vector == u64::from(LOW) && !apic::is_requested(LOW),
        "until it is let in",
        "vector {:#x}",
        end.frame.vector
    );
}

fn priorities() {
    let mut open = kernel_state(nops);
    open.frame.rflags |= IF;
    send(LOW);
    send(HIGH);
    let first = run(open).frame.vector;
    let serving = apic::is_in_service(HIGH);
    holds!(
        TOPIC,
        first == u64::from(HIGH) && serving,
        "the higher vector comes first, and is in service",
        "{first:#x} {serving}"
    );
    let second = run(open).frame.vector;
    holds!(TOPIC, second == 3, "the lower one waits for its end", "{second:#x}");
    apic::end_of_interrupt();
    let third = run_and_end(open).frame.vector;
    holds!(TOPIC, third == u64::from(LOW), "and comes then", "{third:#x}");
    send(LOW);
    let first = run(open).frame.vector;
    send(HIGH);
    let second = run(open).frame.vector;
    apic::end_of_interrupt();
    let left = (apic::is_in_service(HIGH), apic::is_in_service(LOW));
    apic::end_of_interrupt();
    let right = (first, second) == (u64::from(LOW), u64::from(HIGH)) && left == (false, true);
    holds!(
        TOPIC,
        right,
        "a higher one interrupts a lower one, and ends first",
        "{first:#x} {second:#x} {left:?}"
    );
    // SAFETY: CR8 is put back to 0.
    unsafe {
        cpu::set_cr8(4);
        let tpr = apic::read(apic::register::TPR);
        holds!(TOPIC, tpr == 0x40, "CR8 is the upper half of the TPR", "{tpr:#x}");
        send(LOW);
        let masked = run_and_end(open).frame.vector;
        send(HIGH);
        let higher = run_and_end(open).frame.vector;
        let right = masked == 3 && higher == u64::from(HIGH);
        holds!(TOPIC, right, "the TPR masks its class and those below", "{masked:#x} {higher:#x}");
        let mut state = kernel_state(lower_priority);
        state.frame.rflags |= IF;
        let end = run_and_end(state);
        let right = end.frame.vector == u64::from(LOW) && end.frame.rip == end.frame.rbx;
        holds!(
            TOPIC,
            right,
            "MOV to CR8 lets it in at once",
            "{:#x} at {:#x}",
            end.frame.vector,
            end.frame.rip
        );
        cpu::set_cr8(0);
    }
    send(LOW);
    send(LOW);
    let first = run_and_end(open).frame.vector;
    let second = run_and_end(open).frame.vector;
    holds!(
        TOPIC,
        (first, second) == (u64::from(LOW), 3),
        "two requests of a vector are one",
        "{first:#x} {second:#x}"
    );
}

fn modes() {
    // An interrupt finds CPL 3 as it finds CPL 0.
    let mut state = lab::user_state(nops);
    state.frame.rflags |= IF;
    send(LOW);
    let end = run_and_end(state);
    let right = end.frame.vector == u64::from(LOW)
        && end.frame.rip == state.frame.rip
        && end.frame.cs == state.frame.cs;
    holds!(
        TOPIC,
        right,
        "an interrupt at CPL 3, before its first instruction",
        "{:#x} at {:#x}",
        end.frame.vector,
        end.frame.rip
    );
    holds!(TOPIC, end.frame.rflags & 1 << 16 == 0, "an interrupt between instructions saves RF clear");
}

static ARRIVED: AtomicU32 = AtomicU32::new(0);

fn halting() {
    trap::set_handler(
        LOW,
        Some(|_| {
            ARRIVED.fetch_add(1, Ordering::Relaxed);
            apic::end_of_interrupt();
        }),
    );
    apic::write(apic::register::TIMER_DIVIDE, 0xB);
    apic::write(apic::register::LVT_TIMER, u32::from(LOW));
    apic::write(apic::register::TIMER_INITIAL, 100_000);
    // Wakes by the timer, or never.
    cpu::wait_for_interrupt();
    let arrived = ARRIVED.load(Ordering::Relaxed);
    holds!(TOPIC, arrived == 1, "the APIC timer ends HLT", "{arrived}");
    holds!(TOPIC, apic::read(apic::register::TIMER_CURRENT) == 0, "and has run out");
    apic::write(apic::register::LVT_TIMER, 1 << 16);
    trap::set_handler(LOW, None);
}

static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicU32 = AtomicU32::new(0);

fn on_nmi(_: &mut Frame) {
    let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
    DEEPEST.fetch_max(depth, Ordering::Relaxed);
    // The first one sends two more: one is kept until the return, the other one is the same.
    if TAKEN.fetch_add(1, Ordering::Relaxed) == 0 {
        apic::send(apic::id(), apic::NMI);
        apic::send(apic::id(), apic::NMI);
        for _ in 0..1000 {
            cpu::pause();
        }
    }
    DEPTH.fetch_sub(1, Ordering::Relaxed);
}

fn non_maskable() {
    trap::set_handler(trap::vector::NMI, Some(on_nmi));
    apic::send(apic::id(), apic::NMI);
    for _ in 0..100_000 {
        cpu::pause();
    }
    trap::set_handler(trap::vector::NMI, None);
    let (taken, deepest) = (TAKEN.load(Ordering::Relaxed), DEEPEST.load(Ordering::Relaxed));
    holds!(TOPIC, taken >= 1, "an NMI comes through with interrupts off", "{taken}");
    holds!(TOPIC, deepest == 1, "no NMI comes inside another", "{deepest} deep");
    holds!(TOPIC, taken == 2, "one is kept until IRET, not two", "{taken} taken");
}

/// A topic of its own, and the last one: not every processor comes back from x2APIC mode.
pub(crate) fn x2apic() {
    if !apic::has_x2apic() {
        return skip!(TOPIC, "x2APIC: not offered by CPUID");
    }
    apic::enable();
    let id = apic::id();
    apic::enable_x2apic();
    holds!(TOPIC, apic::id() == id, "x2APIC: the same ID", "{} {id}", apic::id());
    let mut open = kernel_state(nops);
    open.frame.rflags |= IF;
    send(HIGH);
    let end = run(open);
    let serving = apic::is_in_service(HIGH);
    apic::end_of_interrupt();
    let right = end.frame.vector == u64::from(HIGH) && serving && !apic::is_in_service(HIGH);
    holds!(TOPIC, right, "x2APIC: an interrupt to itself, and its end", "{:#x}", end.frame.vector);
    let _ = trap::wrmsr(0x83F, u64::from(LOW));
    let end = run_and_end(open);
    holds!(TOPIC, end.frame.vector == u64::from(LOW), "x2APIC: SELF IPI", "{:#x}", end.frame.vector);
    let fault = trap::rdmsr(0x831).err();
    holds!(
        TOPIC,
        fault.is_some_and(|fault| fault.vector == 13),
        "x2APIC: there is no upper half of the ICR",
        "{fault:x?}"
    );
    let fault = trap::wrmsr(0x80B, 1).err();
    holds!(TOPIC, fault.is_some_and(|fault| fault.vector == 13), "x2APIC: EOI takes 0 only", "{fault:x?}");
    let base = cpu::rdmsr(0x1B);
    let fault = trap::wrmsr(0x1B, base & !(1 << 10)).err();
    holds!(
        TOPIC,
        fault.is_some_and(|fault| fault.vector == 13),
        "x2APIC: no way back to xAPIC but off",
        "{fault:x?}"
    );
}

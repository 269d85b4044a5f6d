// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC, by its memory page or, where the processor has it and the program asks for it, by MSRs (x2APIC).

use crate::cpu;
use core::sync::atomic::{AtomicBool, Ordering};

const APIC_BASE: u32 = 0x1B;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const X2APIC_MSRS: u32 = 0x800;

/// Register offsets in the memory page; the MSR is 0x800 + offset / 16 (Intel SDM 3A 11.4.1, 11.12.1).
pub mod register {
    /// Identification.
    pub const ID: u32 = 0x20;
    /// Version.
    pub const VERSION: u32 = 0x30;
    /// Task priority.
    pub const TPR: u32 = 0x80;
    /// End of interrupt.
    pub const EOI: u32 = 0xB0;
    /// Spurious interrupt vector and software enable.
    pub const SPURIOUS: u32 = 0xF0;
    /// The first of eight in-service registers.
    pub const ISR: u32 = 0x100;
    /// The first of eight interrupt request registers.
    pub const IRR: u32 = 0x200;
    /// Interrupt command, low half.
    pub const ICR_LOW: u32 = 0x300;
    /// Interrupt command, high half.
    pub const ICR_HIGH: u32 = 0x310;
    /// Timer vector and mode.
    pub const LVT_TIMER: u32 = 0x320;
    /// Timer initial count.
    pub const TIMER_INITIAL: u32 = 0x380;
    /// Timer current count.
    pub const TIMER_CURRENT: u32 = 0x390;
    /// Timer divider.
    pub const TIMER_DIVIDE: u32 = 0x3E0;
}

/// Delivery mode: an interrupt with the vector.
pub const FIXED: u32 = 0 << 8;
/// Delivery mode: non-maskable interrupt.
pub const NMI: u32 = 4 << 8;
/// Delivery mode: INIT, with the level asserted.
pub const INIT: u32 = 5 << 8 | 1 << 14;
/// Delivery mode: start-up, at the page that the vector names.
pub const STARTUP: u32 = 6 << 8 | 1 << 14;
/// Destination: this processor.
pub const TO_SELF: u32 = 1 << 18;
/// Destination: every other processor.
pub const TO_OTHERS: u32 = 3 << 18;

/// The vector on which spurious interrupts arrive.
pub const SPURIOUS_VECTOR: u8 = 0xFF;

static X2APIC: AtomicBool = AtomicBool::new(false);

/// Tells whether the processor has a local APIC.
pub fn is_present() -> bool {
    cpu::cpuid(1, 0).edx & 1 << 9 != 0
}

/// Tells whether the processor has the MSR mode.
pub fn has_x2apic() -> bool {
    cpu::cpuid(1, 0).ecx & 1 << 21 != 0
}

fn base() -> u64 {
    cpu::rdmsr(APIC_BASE) & 0x000F_FFFF_FFFF_F000
}

/// Enables this processor's local APIC.
pub fn enable() {
    // SAFETY: turns the APIC on where it is.
    unsafe { cpu::wrmsr(APIC_BASE, cpu::rdmsr(APIC_BASE) | BASE_ENABLE) };
    X2APIC.store(cpu::rdmsr(APIC_BASE) & BASE_X2APIC != 0, Ordering::Relaxed);
    crate::trap::set_handler(SPURIOUS_VECTOR, Some(|_| {}));
    write(register::SPURIOUS, 1 << 8 | u32::from(SPURIOUS_VECTOR));
    write(register::TPR, 0);
}

/// Enables the MSR mode on this processor; all processors must be in the same mode.
pub fn enable_x2apic() {
    // SAFETY: from the enabled state, the only one from which this is allowed.
    unsafe { cpu::wrmsr(APIC_BASE, cpu::rdmsr(APIC_BASE) | BASE_ENABLE | BASE_X2APIC) };
    X2APIC.store(true, Ordering::Relaxed);
    write(register::SPURIOUS, 1 << 8 | u32::from(SPURIOUS_VECTOR));
    write(register::TPR, 0);
}

/// Reads a register.
pub fn read(register: u32) -> u32 {
    if X2APIC.load(Ordering::Relaxed) {
        cpu::rdmsr(X2APIC_MSRS + register / 16) as u32
    } else {
        // SAFETY: the APIC's page, identity-mapped.
        unsafe { ((base() + u64::from(register)) as *const u32).read_volatile() }
    }
}

/// Writes a register.
pub fn write(register: u32, value: u32) {
    // SAFETY: the APIC's page, identity-mapped, or its MSR; an interrupt that it causes has a gate.
    unsafe {
        if X2APIC.load(Ordering::Relaxed) {
            cpu::wrmsr(X2APIC_MSRS + register / 16, u64::from(value));
        } else {
            ((base() + u64::from(register)) as *mut u32).write_volatile(value);
        }
    }
}

/// This processor's APIC ID.
pub fn id() -> u32 {
    let id = read(register::ID);
    if X2APIC.load(Ordering::Relaxed) { id } else { id >> 24 }
}

/// Ends the interrupt in service.
pub fn end_of_interrupt() {
    write(register::EOI, 0);
}

/// Sends an interrupt command; a destination given by APIC ID counts when the command has no shorthand.
pub fn send(destination: u32, command: u32) {
    if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: an interrupt that it causes has a gate.
        unsafe {
            cpu::wrmsr(
                X2APIC_MSRS + register::ICR_LOW / 16,
                u64::from(destination) << 32 | u64::from(command),
            )
        };
        return;
    }
    write(register::ICR_HIGH, destination << 24);
    write(register::ICR_LOW, command);
    while read(register::ICR_LOW) & 1 << 12 != 0 {
        cpu::pause();
    }
}

/// Tells whether a vector is requested and not yet served.
pub fn is_requested(vector: u8) -> bool {
    read(register::IRR + u32::from(vector / 32) * 0x10) & 1 << (vector % 32) != 0
}

/// Tells whether a vector is being served.
pub fn is_in_service(vector: u8) -> bool {
    read(register::ISR + u32::from(vector / 32) * 0x10) & 1 << (vector % 32) != 0
}

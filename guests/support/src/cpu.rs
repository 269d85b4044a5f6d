// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that the language has no words for. Those that may fault here are for callers that know they do not;
//! [`crate::trap`] has the ones that report the fault.

use core::arch::asm;
pub use core::arch::x86_64::CpuidResult;

/// Executes CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// Reads the time-stamp counter, not before earlier loads have been done.
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDTSC is allowed here (CPL 0) and changes two registers only.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, nomem, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Reads a model-specific register that is known to exist.
pub fn rdmsr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MSR has no effect on memory that the program uses; a missing one ends in a reported exception.
    unsafe {
        asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register that is known to exist.
///
/// # Safety
/// The value must not take from the program what it stands on (long mode, its pages).
pub unsafe fn wrmsr(number: u32, value: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!("wrmsr", in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

macro_rules! port {
    ($input:ident, $output:ident, $type:ty, $register:tt, $bits:literal) => {
        #[doc = concat!("Reads ", $bits, " bits from an I/O port.")]
        pub fn $input(port: u16) -> $type {
            let value: $type;
            // SAFETY: no device of ours changes program memory on a port read.
            unsafe { asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value, options(nostack, preserves_flags)) };
            value
        }
        #[doc = concat!("Writes ", $bits, " bits to an I/O port.")]
        pub fn $output(port: u16, value: $type) {
            // SAFETY: no device of ours changes program memory on a port write.
            unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nostack, preserves_flags)) };
        }
    };
}
port!(in8, out8, u8, "al", "8");
port!(in16, out16, u16, "ax", "16");
port!(in32, out32, u32, "eax", "32");

macro_rules! control_register {
    ($read:ident, $write:ident, $register:literal) => {
        #[doc = concat!("Reads ", $register, ".")]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading a control register changes nothing.
            unsafe { asm!(concat!("mov {}, ", $register), out(reg) value, options(nostack, preserves_flags)) };
            value
        }
        #[doc = concat!("Writes ", $register, ".")]
        ///
        /// # Safety
        /// The program must still be able to run with the value: paging on, its pages mapped, SSE usable.
        pub unsafe fn $write(value: u64) {
            // SAFETY: as the caller promises.
            unsafe { asm!(concat!("mov ", $register, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}
control_register!(cr0, set_cr0, "cr0");
control_register!(cr2, set_cr2, "cr2");
control_register!(cr3, set_cr3, "cr3");
control_register!(cr4, set_cr4, "cr4");
control_register!(cr8, set_cr8, "cr8");

/// Reads RFLAGS.
pub fn rflags() -> u64 {
    let value: u64;
    // SAFETY: pushes and pops one word.
    unsafe { asm!("pushfq", "pop {}", out(reg) value, options(preserves_flags)) };
    value
}

/// Lets interrupts in.
pub fn enable_interrupts() {
    // SAFETY: every vector has a gate after start-up.
    unsafe { asm!("sti", options(nostack)) };
}

/// Keeps interrupts out.
pub fn disable_interrupts() {
    // SAFETY: always allowed at CPL 0.
    unsafe { asm!("cli", options(nostack)) };
}

/// Lets those interrupts in that are pending, and no more.
pub fn let_interrupts_in() {
    // SAFETY: every vector has a gate. The first NOP is in the shadow of STI; PAUSE there would extend it under QEMU's TCG.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// Lets interrupts in and halts until one comes, without a gap between the two; leaves them off again.
pub fn wait_for_interrupt() {
    // SAFETY: the shadow of STI covers HLT; every vector has a gate.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Tells a spinning loop's processor that it spins.
pub fn pause() {
    core::hint::spin_loop();
}

/// Stops this processor for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: nothing comes after; an NMI falls back into the loop.
        unsafe { asm!("cli", "hlt", options(nostack)) };
    }
}

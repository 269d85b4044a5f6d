// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console: the first serial port. Output polls the line status register; input may announce itself by an interrupt.

use crate::cpu;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

const PORT: u16 = 0x3F8;
const LINE_STATUS: u16 = PORT + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
const DATA_READY: u8 = 1 << 0;

static BUSY: AtomicBool = AtomicBool::new(false);

/// Sets the port to 115200 baud, 8 data bits, no parity, its interrupts off.
pub(crate) fn initialise() {
    cpu::out8(PORT + 1, 0);
    cpu::out8(PORT + 3, 0x80);
    cpu::out8(PORT, 1);
    cpu::out8(PORT + 1, 0);
    cpu::out8(PORT + 3, 0x03);
    cpu::out8(PORT + 2, 0x07);
}

/// The next byte that has come in, if there is one.
pub fn read() -> Option<u8> {
    (cpu::in8(LINE_STATUS) & DATA_READY != 0).then(|| cpu::in8(PORT))
}

/// Has each byte that comes in raise `vector` on the first processor, by way of the I/O APIC; the older interrupt controllers are
/// masked. The handler ends the interrupt, and [`read`] takes the bytes until there is none.
pub fn interrupt_on_input(vector: u8) {
    /// The pair of registers by which all others are reached, at the place where every PC has them.
    const IO_APIC: u64 = 0xFEC0_0000;
    /// The first register of the redirection entry of ISA interrupt 4.
    const ENTRY: u32 = 0x10 + 2 * 4;
    let write = |register: u32, value: u32| {
        // SAFETY: the I/O APIC's page is identity-mapped and nothing else is there.
        unsafe {
            (IO_APIC as *mut u32).write_volatile(register);
            ((IO_APIC + 0x10) as *mut u32).write_volatile(value);
        }
    };
    cpu::out8(0x21, 0xFF);
    cpu::out8(0xA1, 0xFF);
    // Fixed, to physical destination 0, edge-triggered, not masked.
    write(ENTRY + 1, 0);
    write(ENTRY, u32::from(vector));
    // OUT2 lets interrupts leave the port; then received data raises them.
    cpu::out8(PORT + 4, 0x0B);
    cpu::out8(PORT + 1, 0x01);
}

struct Port;

impl Port {
    fn write_byte(&mut self, byte: u8) {
        while cpu::in8(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {
            cpu::pause();
        }
        cpu::out8(PORT, byte);
    }
}

impl fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.write_byte(b'\r');
            }
            self.write_byte(byte);
        }
        Ok(())
    }
}

/// Writes to the console; one call's text is not mixed with that of another processor.
pub fn write(arguments: fmt::Arguments<'_>) {
    // A trap that reports while its own processor holds the port must not wait for ever: after a while it just writes.
    let mut patience = 1_000_000;
    while BUSY.swap(true, Ordering::Acquire) && patience > 0 {
        patience -= 1;
        cpu::pause();
    }
    // A port that cannot fail and a format that is ours: nothing to report, and nowhere to.
    let _ = fmt::Write::write_fmt(&mut Port, arguments);
    BUSY.store(false, Ordering::Release);
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::serial::write(format_args!($($argument)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::serial::write(format_args!("{}\n", format_args!($($argument)*))) };
}

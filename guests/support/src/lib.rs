// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every guest program needs: the way from a multiboot loader into 64-bit mode, a console on the first serial port, traps
//! that can be expected, the local APIC, more processors, checks with totals, and the Hyper-V interface as a guest uses it.
//!
//! A guest program names its main function with [`entry!`] and returns an [`exit::Code`] from it. It runs with the first 4 GiB
//! identity-mapped, interrupts off. It knows nothing of the programs that run it, and no crate of the host knows it.
#![no_std]

pub mod apic;
pub mod boot;
pub mod check;
pub mod cpu;
pub mod exit;
pub mod hyperv;
pub mod memory;
pub mod page;
pub mod processors;
pub mod segments;
pub mod serial;
pub mod trap;

/// Names the main function of a guest program: `support::entry!(main)`, with `fn main() -> exit::Code`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn guest_main() -> $crate::exit::Code {
            $main()
        }
    };
}

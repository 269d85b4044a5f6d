// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tour.
#![no_std]
#![no_main]
use support::{exit::Code, println};
support::entry!(main);
fn main() -> Code {
    println!("hello {:?} {}", support::boot::command_line(), support::boot::memory_end());
    println!("{:?} {:?}", support::trap::rdmsr(0x4000_0000), support::trap::rdmsr(0x10));
    support::apic::enable();
    println!("{}", support::processors::start());
    Code::Pass
}

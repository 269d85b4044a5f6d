// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of a processor's privileged behaviour, from the manuals: it judges software processors, and is itself judged by running
//! it on others. What a processor does not offer is skipped with the reason; so is what QEMU's TCG is known to do wrong.
//!
//! Exit codes: 0 if every check passed, 1 if one failed. A topic's name on the command line runs that topic alone.
#![no_std]
#![no_main]

mod atomics;
mod control;
mod debug;
mod exceptions;
mod flags;
mod floating;
mod interrupts;
mod lab;
mod modes;
mod paging;
mod poke;
mod processors;
mod rights;
mod segments;
mod selfmod;
mod strings;
mod syscalls;
mod tcg;
mod tlb;
mod vector;

use support::exit::Code;
use support::{boot, check, println};

support::entry!(main);

/// A topic's name and its checks.
type Topic = (&'static str, fn());

const TOPICS: [Topic; 18] = [
    ("exceptions", exceptions::check),
    ("rights", rights::check),
    ("paging", paging::check),
    ("tlb", tlb::check),
    ("segments", segments::check),
    ("syscalls", syscalls::check),
    ("flags", flags::check),
    ("debug", debug::check),
    ("control", control::check),
    ("interrupts", interrupts::check),
    ("strings", strings::check),
    ("selfmod", selfmod::check),
    ("atomics", atomics::check),
    ("floating", floating::check),
    ("vector", vector::check),
    ("modes", modes::check),
    ("processors", processors::check),
    ("x2apic", interrupts::x2apic),
];

fn main() -> Code {
    println!("Checks of the processor's privileged behaviour");
    println!("==============================================");
    lab::prepare();
    let chosen = TOPICS.iter().any(|(name, _)| boot::has_argument(name));
    for (name, check) in TOPICS {
        if !chosen || boot::has_argument(name) {
            println!();
            check();
        }
    }
    check::finish()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the Hyper-V interface, one module for each chapter of the specification. Every check carries the ids of the behaviours
//! that it shows, and `cargo xtask conformance` counts them. What is not offered is skipped with the reason, so the same file runs
//! on any engine and under any hypervisor that says `Hv#1`. Chapter 6 has no module: intercepts show to
//! a parent only, and a host program's tests play that (`crates/hypervisor/tests/intercepted_guest.rs`).
//!
//! Exit codes: 0 if every check passed, 1 if one failed, 4 if there is no Microsoft hypervisor interface. A chapter's name on the
//! command line runs that chapter alone.
#![no_std]
#![no_main]

mod communication;
mod discovery;
mod execution;
mod hypercalls;
mod interrupts;
mod lab;
mod memory;
mod messages;
mod mmu;
mod partition;
mod processors;
mod scheduler;
mod timers;

use lab::Guest;
use support::exit::Code;
use support::hyperv::{self, Found};
use support::{boot, check, println};

support::entry!(main);

/// A chapter's name and its checks.
type Chapter = (&'static str, fn(&Guest));

/// Chapters 2 to 14, but for 6.
const CHAPTERS: [Chapter; 12] = [
    ("discovery", discovery::check),
    ("hypercalls", hypercalls::check),
    ("partition", partition::check),
    ("memory", memory::check),
    ("processors", processors::check),
    ("execution", execution::check),
    ("mmu", mmu::check),
    ("interrupts", interrupts::check),
    ("communication", communication::check),
    ("timers", timers::check),
    ("messages", messages::check),
    ("scheduler", scheduler::check),
];

fn main() -> Code {
    println!("Checks of the Hyper-V interface");
    println!("===============================");
    let Found::Microsoft(interface) = hyperv::discover() else {
        println!("There is no Microsoft hypervisor here. (Exit code 4.)");
        return Code::NoMicrosoftHypervisor;
    };
    let guest = Guest::prepare(interface);
    println!("{} processor(s)", guest.processors);
    let chosen = CHAPTERS.iter().any(|(name, _)| boot::has_argument(name));
    for (name, check) in CHAPTERS {
        if !chosen || boot::has_argument(name) {
            println!("\n{name}");
            check(&guest);
        }
    }
    check::finish()
}

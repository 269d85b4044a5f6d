// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tour: a guest that discovers the Hyper-V interface, uses everything that it is offered, and tells what it finds, line by
//! line. It asks CPUID before it touches anything, so it also runs where only a part is offered, or nothing at all.
//!
//! Exit codes: 0 if all that is offered worked, 1 if something did not, 4 if there is no Microsoft hypervisor interface.
//! `nonce=WORD` on the command line comes back inside a SynIC message.
#![no_std]
#![no_main]

mod arrivals;
mod discovery;
mod hypercalls;
mod report;
mod synic;
mod time;
mod timers;

use report::Report;
use support::exit::Code;
use support::hyperv::{self, Found, Interface};
use support::println;

support::entry!(main);

fn main() -> Code {
    println!("A tour of the Hyper-V interface, told by a guest that uses it");
    println!("=============================================================");
    match hyperv::discover() {
        Found::NoHypervisor => {
            println!();
            println!(
                "CPUID leaf 1 says that there is no hypervisor: this is, or looks like, a bare machine."
            );
            absent()
        }
        Found::Other { vendor, interface } => {
            println!();
            println!(
                "CPUID leaf 1 says that there is a hypervisor. In leaf 0x40000000 it calls itself \"{}\".",
                vendor.as_str()
            );
            println!(
                "Its interface signature in leaf 0x40000001 is {interface:#010x}, not \"Hv#1\" (0x31237648)."
            );
            absent()
        }
        Found::Microsoft(interface) => visit(&interface),
    }
}

fn absent() -> Code {
    println!("The tour finds no Microsoft hypervisor here, so there is nothing to show. (Exit code 4.)");
    Code::NoMicrosoftHypervisor
}

fn visit(interface: &Interface) -> Code {
    let mut report = Report::default();
    discovery::visit(&mut report, interface);
    let calls = hypercalls::enable(&mut report, interface);
    time::visit(&mut report, interface);
    arrivals::prepare(&mut report, interface);
    synic::visit(&mut report, interface, calls);
    timers::visit(&mut report, interface);
    if calls {
        hypercalls::visit(&mut report, interface);
    }
    hypercalls::disable(&mut report, calls);
    report.finish()
}

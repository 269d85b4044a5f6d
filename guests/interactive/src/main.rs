// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interface at a prompt: each command does one thing that a guest can do, and shows the answer decoded.
//!
//! Names and layouts are those of the crate `tlfs`. What the hypervisor refuses is shown, and ends nothing. The program ends with the
//! code that `exit` is given, with 0 at the end of input, and with 4 where there is no Microsoft hypervisor interface.
#![no_std]
#![no_main]

mod arrivals;
mod calls;
mod line;
mod registers;
mod show;
mod words;

use support::exit::{self, Code};
use support::hyperv::{self, Found, Interface};
use support::{print, println};
use words::Words;

support::entry!(main);

const HELP: &str = "\
cpuid LEAF [SUBLEAF]            what CPUID says
rdmsr MSR                       read an MSR, by number or name
wrmsr MSR VALUE                 write it
call CALL [fast] [VALUE ...]    a hypercall; values are 64-bit words of input
call CALL reps N [VALUE ...]    the same with a list of N elements behind its header
post CONNECTION TEXT            post a message; connection 0x10 leads back here
signal CONNECTION [FLAG]        signal an event; connection 0x20 leads back here
timer MILLISECONDS [TIMER]      set a synthetic timer, 0 to 3, to expire once
time                            reference time, by MSR and by page
exit [CODE]                     leave; so does the end of input
Numbers are decimal, or hexadecimal after 0x. Names are those of the specification, such as
SINT2, HV_X64_MSR_VP_INDEX, FlushVirtualAddressSpace.";

fn main() -> Code {
    let Found::Microsoft(interface) = hyperv::discover() else {
        println!("There is no Microsoft hypervisor interface here.");
        return Code::NoMicrosoftHypervisor;
    };
    println!("A guest of \"{}\", at a prompt. `help` lists the commands.", interface.vendor.as_str());
    arrivals::prepare(&interface);
    calls::prepare(&interface);
    arrivals::connect(&interface);
    let mut line = line::Line::new();
    loop {
        match line.read("> ") {
            Some(text) => obey(&interface, Words(text)),
            None => return Code::Pass,
        }
        arrivals::show_soon(&interface);
    }
}

fn obey(interface: &Interface, mut words: Words<'_>) {
    let Some(command) = words.next() else { return };
    let outcome = match command {
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        "cpuid" => registers::cpuid(words),
        "rdmsr" => registers::rdmsr(interface, words),
        "wrmsr" => registers::wrmsr(interface, words),
        "call" => calls::call(words),
        "post" => calls::post(words),
        "signal" => calls::signal(words),
        "timer" => arrivals::timer(words),
        "time" => arrivals::time(interface),
        "exit" => words.number_or(0).map(|code| exit::leave(code as u32)),
        _ => Err("there is no such command; `help` lists those there are"),
    };
    if let Err(why) = outcome {
        print!("{command}: {why}\n");
    }
}

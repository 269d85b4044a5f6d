// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tries every synthetic MSR and every hypercall, and tells what came of it. It judges nothing: whoever gave it its privileges
//! compares. Output:
//!
//! ```text
//! offer 0x<privilege mask> 0x<features, EDX of leaf 0x40000003>
//! msr 0x<number> <ok or fault: read> <ok or fault: write>      only those of which one is ok
//! call 0x<code> 0x<status>                                     only those that are known
//! done
//! ```
#![no_std]
#![no_main]

use support::exit::Code;
use support::hyperv::{arrivals, hypercall};
use support::page::Page;
use support::trap::{self, Fault};
use support::{apic, cpu, println};
use tlfs::HvStatus;
use tlfs::cpuid;
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::msr;

support::entry!(main);

/// An interrupt that ends the sleep of GUEST_IDLE.
const WAKE: u8 = 0x60;
/// The caller's own partition.
const PARTITION_ID_SELF: u64 = u64::MAX;
const GUEST_OS_ID: u64 = 0xFF01_0000_0000_0002;

static OUTPUT: Page = Page::new();

fn main() -> Code {
    let offer = cpu::cpuid(cpuid::FEATURES, 0);
    println!("offer {:#x} {:#x}", u64::from(offer.ebx) << 32 | u64::from(offer.eax), offer.edx);
    apic::enable();
    arrivals::expect(WAKE);
    for number in (0x4000_0000..0x4000_0200).chain(0x4000_1000..0x4000_1100) {
        try_msr(number);
    }
    let named = hypercall::identify(GUEST_OS_ID).and_then(|()| hypercall::enable());
    if named.is_ok_and(|page| page.enable()) {
        for code in (0x0001..0x0100).chain(0x8001..0x8010) {
            try_call(CallCode(code));
        }
    }
    println!("done");
    Code::Pass
}

/// Reads the register, and writes back what was read, or zero where that means nothing.
fn try_msr(number: u32) {
    if number == msr::GUEST_IDLE {
        apic::send(0, apic::FIXED | apic::TO_SELF | u32::from(WAKE));
    }
    let read = trap::rdmsr(number);
    let value = match number {
        // What these are told, they do.
        msr::RESET | msr::CRASH_CTL | msr::ICR | msr::EOI | msr::EOM => 0,
        _ => read.unwrap_or(0),
    };
    let written = trap::wrmsr(number, value);
    if number == msr::GUEST_IDLE {
        arrivals::wait_a_moment();
    }
    if read.is_ok() || written.is_ok() {
        println!("msr {number:#010x} {} {}", word(read.map(drop)), word(written));
    }
}

fn word(outcome: Result<(), Fault>) -> &'static str {
    if outcome.is_ok() { "ok" } else { "fault" }
}

/// Calls that are the parent's: only their parameters tell whose partition they are for.
const FOR_PARENTS: [CallCode; 3] = [CallCode(0x0052), CallCode(0x0094), CallCode(0x00AC)];

/// Makes the call with parameters that no call takes, so that nothing happens: at addresses that are not aligned; one that is the
/// parent's, for the caller's own partition. It is made as a simple call and, where that is not its form, with a list of one.
fn try_call(code: CallCode) {
    let control = InputValue::new().with_call_code(code);
    let misplaced = u64::from(!FOR_PARENTS.contains(&code));
    hypercall::input().fill(0);
    hypercall::input().write(0, PARTITION_ID_SELF);
    let make = |control| {
        hypercall::call(control, hypercall::input().address() + misplaced, OUTPUT.address() + misplaced)
            .status()
    };
    let mut status = make(control);
    if status == HvStatus::INVALID_HYPERCALL_INPUT {
        status = make(control.with_rep_count(1));
    }
    if status != HvStatus::INVALID_HYPERCALL_CODE {
        println!("call {:#06x} {:#06x}", code.0, status.into_bits());
    }
}

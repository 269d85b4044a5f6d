// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times what a guest asks of the hypervisor: a hypercall that does nothing, a message until its interrupt, and the reference time by MSR and by
//! page. The guest's own TSC, which is the host's, is the clock. Each figure is the mean of the middle half of many single times, less what an empty time
//! shows: it depends neither on what else the host does now and then, nor on the steps of the host's TSC, which may be 10 ns.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use support::exit::Code;
use support::hyperv::test_device::{self, Command};
use support::hyperv::{Found, discover, hypercall, synic, time};
use support::{apic, cpu, println, trap};
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::msr;
use tlfs::synic::{ConnectionId, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MessageType, PostMessageInput};

support::entry!(main);

const TIMES: usize = 4000;
const SINT: u8 = 2;
const VECTOR: u8 = 0x60;
const CONNECTION: u8 = 0x10;
/// Any number without bit 31.
const MESSAGE_TYPE: MessageType = MessageType(0x71);
/// A call that nobody serves: it goes the whole way there and back, and does nothing.
const NO_CALL: InputValue = InputValue::new().with_call_code(CallCode(0x0FFF)).with_fast(true);

static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Ticks that `TIMES` times usually take together; `once` gives the tick at which what it did was over.
fn usually(mut once: impl FnMut() -> u64) -> u64 {
    let mut times = [0_u64; TIMES];
    for time in &mut times {
        // A read of reference time within 100 ns of another waits until it can give a greater one (TLFS 12.1.2): let those pass first.
        for _ in 0..16 {
            cpu::rdtsc();
        }
        let begun = cpu::rdtsc();
        *time = once().wrapping_sub(begun);
    }
    times.sort_unstable();
    2 * times[TIMES / 4..TIMES * 3 / 4].iter().sum::<u64>()
}

fn main() -> Code {
    let Found::Microsoft(_) = discover() else {
        println!("no Microsoft hypervisor");
        return Code::NoMicrosoftHypervisor;
    };
    match measure() {
        Ok(()) => Code::Pass,
        Err(fault) => {
            println!("not offered: {fault:?}");
            Code::Fail
        }
    }
}

fn measure() -> Result<(), trap::Fault> {
    hypercall::identify(0x8100_0000_0000_0000)?;
    hypercall::enable()?;
    let frequency = trap::rdmsr(msr::TSC_FREQUENCY)?;
    let empty = usually(cpu::rdtsc);
    let show = |what: &str, ticks: u64, aim: u64| {
        let ns =
            u128::from(ticks.saturating_sub(empty)) * 1_000_000_000 / (TIMES as u128 * u128::from(frequency));
        println!("{what:<44} {ns:>7} ns  (aim {aim})");
    };
    let call = usually(|| {
        hypercall::call(NO_CALL, 0, 0);
        cpu::rdtsc()
    });
    show("a hypercall that does nothing, and back", call, 100);

    apic::enable();
    synic::enable()?;
    synic::set_sint(SINT, VECTOR, false)?;
    trap::set_handler(
        VECTOR,
        Some(|_| {
            ARRIVED.store(cpu::rdtsc(), Ordering::Relaxed);
            apic::end_of_interrupt();
        }),
    );
    let index = trap::rdmsr(msr::VP_INDEX)? as u8;
    test_device::command(Command::CreateMessageConnection, index, SINT, CONNECTION);
    hypercall::input().write(
        0,
        PostMessageInput {
            connection_id: ConnectionId::from_bits(u32::from(CONNECTION)),
            reserved_z: 0,
            message_type: MESSAGE_TYPE,
            payload_size: 8,
            payload: [0; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
        },
    );
    let mut lost = 0;
    cpu::enable_interrupts();
    let message = usually(|| {
        ARRIVED.store(0, Ordering::Relaxed);
        hypercall::simple(CallCode::POST_MESSAGE);
        // It comes with the end of the call, at the latest.
        let arrived = ARRIVED.load(Ordering::Relaxed);
        lost += u32::from(arrived == 0 || !matches!(synic::take_message(SINT), Ok(Some(_))));
        arrived
    });
    cpu::disable_interrupts();
    show("a message posted, until its interrupt", message, 1000);
    if lost != 0 {
        println!("{lost} messages did not arrive");
    }
    time::counter()?;
    let counter = usually(|| {
        cpu::rdmsr(msr::TIME_REF_COUNT);
        cpu::rdtsc()
    });
    show("reference time by MSR (TIME_REF_COUNT)", counter, 60);
    time::enable_page()?;
    let page = usually(|| {
        let _ = time::by_page();
        cpu::rdtsc()
    });
    show("reference time by page", page, 60);
    Ok(())
}

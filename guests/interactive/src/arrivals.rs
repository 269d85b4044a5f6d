// SPDX-License-Identifier: MIT OR Apache-2.0
//! What comes to the guest: keys, messages, events, timers.

use crate::words::{Outcome, Words};
use core::str;
use core::sync::atomic::{AtomicBool, Ordering};
use support::hyperv::test_device::{self, Command};
use support::hyperv::timer::Timer;
use support::hyperv::{Interface, synic, time};
use support::trap::{self, Frame};
use support::{apic, cpu, println, serial};
use tlfs::msr::{self, StimerConfig};
use tlfs::synic::{Message, MessageType};
use tlfs::timer::TimerMessagePayload;
use zerocopy::FromBytes;

const KEY_VECTOR: u8 = 0x40;
const SYNIC_VECTOR: u8 = 0x50;
const MESSAGE_SINT: u8 = 2;
const EVENT_SINT: u8 = 3;
const TIMER_SINT: u8 = 4;
const MESSAGE_CONNECTION: u8 = 0x10;
const EVENT_CONNECTION: u8 = 0x20;
/// Reference time in a millisecond.
const MILLISECOND: u64 = 10_000;
/// How long a command waits for what it brings about.
const PATIENCE: u64 = 20 * MILLISECOND;

static ARRIVED: AtomicBool = AtomicBool::new(false);
static SYNIC: AtomicBool = AtomicBool::new(false);

/// Makes ready for interrupts, and enables the SynIC if the guest may.
pub(crate) fn prepare(interface: &Interface) {
    apic::enable();
    trap::set_handler(KEY_VECTOR, Some(|_: &mut Frame| apic::end_of_interrupt()));
    trap::set_handler(
        SYNIC_VECTOR,
        Some(|_: &mut Frame| {
            ARRIVED.store(true, Ordering::Relaxed);
            apic::end_of_interrupt();
        }),
    );
    serial::interrupt_on_input(KEY_VECTOR);
    if !interface.privileges.access_synic_regs() {
        return;
    }
    let set = [MESSAGE_SINT, EVENT_SINT, TIMER_SINT];
    let enabled = synic::enable()
        .and_then(|()| set.iter().try_for_each(|sint| synic::set_sint(*sint, SYNIC_VECTOR, false)));
    match enabled {
        Ok(()) => SYNIC.store(true, Ordering::Relaxed),
        Err(fault) => println!("The SynIC is refused: {fault}"),
    }
}

/// Makes the connections that lead back here, where there is a device that makes connections.
pub(crate) fn connect(interface: &Interface) {
    if !has_synic() || !crate::calls::is_enabled() || !interface.privileges.access_vp_index() {
        return;
    }
    let own = trap::rdmsr(msr::VP_INDEX).ok().and_then(|index| u8::try_from(index).ok());
    let Some(own) = own.filter(|_| test_device::is_present()) else { return };
    test_device::command(Command::CreateMessageConnection, own, MESSAGE_SINT, MESSAGE_CONNECTION);
    test_device::command(Command::CreateEventConnection, own, EVENT_SINT, EVENT_CONNECTION);
}

fn has_synic() -> bool {
    SYNIC.load(Ordering::Relaxed)
}

/// Whether something has come that has not been shown.
pub(crate) fn any() -> bool {
    ARRIVED.load(Ordering::Relaxed)
}

/// Waits a moment for what the last command brings about, and shows it.
pub(crate) fn show_soon(interface: &Interface) {
    if !has_synic() || !interface.privileges.access_partition_reference_counter() {
        return;
    }
    let began = time::counter().unwrap_or(0);
    cpu::enable_interrupts();
    // A message that was posted is there already; the wait is for a host that takes its time.
    while !any() && time::counter().is_ok_and(|now| now - began < PATIENCE / 20) {
        cpu::pause();
    }
    cpu::disable_interrupts();
    show();
}

/// Shows what has come.
pub(crate) fn show() {
    if !ARRIVED.swap(false, Ordering::Relaxed) {
        return;
    }
    for sint in [MESSAGE_SINT, EVENT_SINT, TIMER_SINT] {
        while let Ok(Some(message)) = synic::take_message(sint) {
            self::message(sint, &message);
        }
        for flag in (0..u16::from(u8::MAX)).filter(|flag| synic::take_event(sint, *flag)) {
            println!("an event at SINT {sint}: flag {flag:#x}");
        }
    }
}

fn message(sint: u8, message: &Message) {
    let (kind, payload) = (message.header.message_type, synic::payload(message));
    let name = kind.name().unwrap_or("a guest's own type");
    println!("a message at SINT {sint}: type {:#x} ({name}), {} bytes", kind.0, payload.len());
    if kind == MessageType::TIMER_EXPIRED
        && let Ok((timer, _)) = TimerMessagePayload::read_from_prefix(payload)
    {
        let late = timer.delivery_time.saturating_sub(timer.expiration_time);
        println!(
            "  timer {} was due at {} and delivered at {}, {}.{} us later",
            timer.timer_index,
            timer.expiration_time,
            timer.delivery_time,
            late / 10,
            late % 10
        );
    } else if let Ok(text) = str::from_utf8(payload)
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    {
        println!("  \"{text}\"");
    }
}

pub(crate) fn timer(mut words: Words<'_>) -> Outcome {
    let (milliseconds, number) = (words.number()?, words.number_or(0)?);
    let number = u8::try_from(number).ok().filter(|number| *number < 4).ok_or("timers are 0 to 3")?;
    if !has_synic() {
        return Err("there is no SynIC to bring its message");
    }
    let started = time::counter().and_then(|now| {
        let due = now.saturating_add(milliseconds.saturating_mul(MILLISECOND));
        Timer(number).start(StimerConfig::new().with_sintx(TIMER_SINT), due).map(|()| (now, due))
    });
    match started {
        Ok((now, due)) => println!("it is {now}, and timer {number} is due at {due} (100 ns)"),
        Err(fault) => println!("refused: {fault}"),
    }
    Ok(())
}

pub(crate) fn time(interface: &Interface) -> Outcome {
    match time::counter() {
        Ok(now) => println!("reference time by MSR:   {now} (100 ns)"),
        Err(fault) => println!("reference time by MSR is refused: {fault}"),
    }
    if interface.privileges.access_partition_reference_tsc() {
        match time::enable_page() {
            Ok(()) => {
                let parameters = time::parameters();
                match time::by_page() {
                    Some(now) => println!("reference time by page:  {now} (100 ns)"),
                    None => println!("the page is of no use now"),
                }
                println!(
                    "  sequence {:#x}, scale {:#x}, offset {}",
                    parameters.sequence, parameters.scale, parameters.offset
                );
            }
            Err(fault) => println!("the reference TSC page is refused: {fault}"),
        }
    }
    println!("time-stamp counter:      {}", cpu::rdtsc());
    Ok(())
}

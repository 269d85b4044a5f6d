// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages and events through connections that lead back to this guest. The test device makes them: message connection 0x10 + VP and event
//! connection 0x20 + VP, which sets the flag with its own number.

use super::sources::vp_index;
use crate::lab::{Guest, vector};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};
use support::hyperv::test_device::{self, Command};
use support::hyperv::{arrivals, hypercall, synic};
use support::{check, cpu, processors, segments, skip, trap};
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::msr::{self, Sint};
use tlfs::synic::{ConnectionId, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, Message, MessageType, PostMessageInput};

const MESSAGE_SINT: u8 = 8;
const EVENT_SINT: u8 = 9;
const MESSAGE_CONNECTION: u8 = 0x10;
const EVENT_CONNECTION: u8 = 0x20;
const MESSAGE_TYPE: u32 = 0x1234;
/// What a call without output has in R8: nothing that it could write to.
const GARBAGE: u64 = 0xDEAD_BEEF_0BAD_F00D;

fn post_any(connection: u32, message_type: u32, size: u32, word: u32) -> HvStatus {
    let mut payload = [0; MESSAGE_MAX_PAYLOAD_BYTE_COUNT];
    payload[..4].copy_from_slice(&word.to_le_bytes());
    payload[8..].fill(0xEE);
    let message_type = MessageType(message_type);
    let connection_id = ConnectionId::from_bits(connection);
    let input = PostMessageInput { connection_id, reserved_z: 0, message_type, payload_size: size, payload };
    hypercall::input().write(0, input);
    let control = InputValue::new().with_call_code(CallCode::POST_MESSAGE);
    hypercall::call(control, hypercall::input().address(), GARBAGE).status()
}

fn signal_any(connection: u32, flag: u16) -> HvStatus {
    let parameter = u64::from(connection) | u64::from(flag) << 32;
    hypercall::fast(CallCode::SIGNAL_EVENT, parameter, GARBAGE).status()
}

/// What a processor is to send, and what became of it.
static TARGET: AtomicUsize = AtomicUsize::new(0);
static WORD: AtomicU32 = AtomicU32::new(0);
static STATUS: AtomicU16 = AtomicU16::new(0);

fn connection_to(first: u8, processor: usize) -> u32 {
    u32::from(first + vp_index(processor))
}

fn send() {
    let connection = connection_to(MESSAGE_CONNECTION, TARGET.load(Ordering::Relaxed));
    let status = post_any(connection, MESSAGE_TYPE, 8, WORD.load(Ordering::Relaxed));
    STATUS.store(status.0, Ordering::Relaxed);
}

fn signal() {
    let connection = connection_to(EVENT_CONNECTION, TARGET.load(Ordering::Relaxed));
    STATUS.store(signal_any(connection, 0).0, Ordering::Relaxed);
}

fn end_of_message() {
    STATUS.store(trap::wrmsr(msr::EOM, 0).is_err().into(), Ordering::Relaxed);
}

fn set_up() {
    let on = synic::enable()
        .and_then(|()| synic::set_sint(MESSAGE_SINT, vector::SYNIC, true))
        .and_then(|()| synic::set_sint(EVENT_SINT, vector::EVENT, true));
    let processor = segments::processor_index();
    let vp = vp_index(processor);
    test_device::command(Command::CreateMessageConnection, vp, MESSAGE_SINT, MESSAGE_CONNECTION + vp);
    test_device::command(Command::CreateEventConnection, vp, EVENT_SINT, EVENT_CONNECTION + vp);
    STATUS.fetch_or(on.is_err().into(), Ordering::Relaxed);
}

fn tear_down() {
    let vp = vp_index(segments::processor_index());
    test_device::command(Command::DestroyMessageConnection, vp, MESSAGE_SINT, MESSAGE_CONNECTION + vp);
    test_device::command(Command::DestroyEventConnection, vp, EVENT_SINT, EVENT_CONNECTION + vp);
    let off = synic::mask_sint(MESSAGE_SINT)
        .and_then(|()| synic::mask_sint(EVENT_SINT))
        .and_then(|()| synic::disable());
    STATUS.fetch_or(off.is_err().into(), Ordering::Relaxed);
}

/// Has one processor do something to another; gives the status, and how many interrupts came of it at the other.
fn from_to(guest: &Guest, (from, to): (usize, usize), act: fn(), at: u8, expected: u32) -> (HvStatus, u32) {
    TARGET.store(to, Ordering::Relaxed);
    let before = arrivals::count_on(to, at);
    guest.on(from, act);
    let status = HvStatus(STATUS.load(Ordering::Relaxed));
    if expected != 0 {
        arrivals::wait(|| arrivals::count_on(to, at) - before >= expected);
    }
    guest.on(to, arrivals::let_in);
    (status, arrivals::count_on(to, at) - before)
}

/// Type, payload size, MessagePending and first word of what is in a processor's slot.
fn slot(processor: usize) -> (u32, u8, bool, u32) {
    let message = synic::slot(processor, MESSAGE_SINT);
    let word = u32::from_le_bytes([0, 1, 2, 3].map(|index| message.payload[index]));
    let header = message.header;
    (header.message_type.0, header.payload_size, header.flags.message_pending(), word)
}

fn free(processor: usize) {
    synic::set_slot(processor, MESSAGE_SINT, MessageType::NONE);
}

pub(super) fn check(guest: &Guest) {
    let privileges = guest.interface.privileges;
    if !privileges.post_messages() || !privileges.signal_events() || !guest.has_calls() {
        return skip!("B11.011", "messages and events are not offered");
    }
    check!(
        "B11.056",
        signal_any(0x1234, 0) == HvStatus::INVALID_CONNECTION_ID,
        "there is no connection 0x1234"
    );
    if !test_device::is_present() {
        return skip!("B11.011", "no test device at port 0x3000 to make connections");
    }
    arrivals::expect_unended(vector::SYNIC);
    arrivals::expect_unended(vector::EVENT);
    STATUS.store(0, Ordering::Relaxed);
    guest.on_all(set_up);
    check!("B11.056", STATUS.load(Ordering::Relaxed) == 0, "all processors are connected");

    let last = guest.processors - 1;
    for way in [(0, 0), (0, last), (last, 0), (last, last)] {
        messages(guest, way);
        events(guest, way);
    }
    refusals();
    quiet_sources(guest);
    switched_off();
    buffers();
    load(guest);
    STATUS.store(0, Ordering::Relaxed);
    guest.on_all(tear_down);
    let gone = signal_any(connection_to(EVENT_CONNECTION, 0), 0) == HvStatus::INVALID_CONNECTION_ID;
    check!("B11.056", gone && STATUS.load(Ordering::Relaxed) == 0, "and none is any more");
}

/// A message, a second one behind it, and its turn.
fn messages(guest: &Guest, way: (usize, usize)) {
    let (from, to) = way;
    let word = 0x100 * from as u32 + to as u32;
    WORD.store(word, Ordering::Relaxed);
    let (status, interrupts) = from_to(guest, way, send, vector::SYNIC, 1);
    let found = slot(to);
    check!(
        "B11.009, B11.013, B11.049",
        status.is_success() && interrupts == 1 && found == (MESSAGE_TYPE, 8, false, word),
        "processor {from} posts to {to}: {status:?}, {interrupts} interrupt(s), {found:x?}"
    );
    WORD.store(word + 1, Ordering::Relaxed);
    let (status, interrupts) = from_to(guest, way, send, vector::SYNIC, 0);
    let found = slot(to);
    check!(
        "B11.011, B11.014, B11.053",
        status.is_success() && interrupts == 0 && found == (MESSAGE_TYPE, 8, true, word),
        "the next one waits, and the slot says so: {status:?}, {interrupts} interrupt(s), {found:x?}"
    );
    free(to);
    TARGET.store(to, Ordering::Relaxed);
    let before = arrivals::count_on(to, vector::SYNIC);
    guest.on(to, end_of_message);
    let came = arrivals::wait(|| slot(to).0 != 0 && arrivals::count_on(to, vector::SYNIC) != before);
    guest.on(to, arrivals::let_in);
    let (interrupts, found) = (arrivals::count_on(to, vector::SYNIC) - before, slot(to));
    check!(
        "B11.016, B11.053",
        came && interrupts == 1 && found == (MESSAGE_TYPE, 8, false, word + 1),
        "and comes after EOM: {interrupts} interrupt(s), {found:x?}"
    );
    free(to);
}

/// A signal, and the same again.
fn events(guest: &Guest, way: (usize, usize)) {
    let (from, to) = way;
    let flag = connection_to(EVENT_CONNECTION, to) as u16;
    let (status, interrupts) = from_to(guest, way, signal, vector::EVENT, 1);
    check!(
        "B11.025",
        status.is_success() && interrupts == 1,
        "processor {from} signals {to}: {status:?}, {interrupts} interrupt(s)"
    );
    let (status, interrupts) = from_to(guest, way, signal, vector::EVENT, 0);
    check!(
        "B11.025",
        status.is_success() && interrupts == 0,
        "a flag that is set interrupts no more: {status:?}, {interrupts} interrupt(s)"
    );
    let taken = (synic::take_event_of(to, EVENT_SINT, flag), synic::take_event_of(to, EVENT_SINT, flag));
    check!("B11.054, B11.063", taken == (true, false), "it is flag {flag}");
}

fn refusals() {
    let (messages, events) = (connection_to(MESSAGE_CONNECTION, 0), connection_to(EVENT_CONNECTION, 0));
    let invalid = HvStatus::INVALID_PARAMETER;
    check!("B11.060", post_any(messages, 0, 8, 0) == invalid, "a message has a type");
    let reserved = post_any(messages, MessageType::TIMER_EXPIRED.0, 8, 0);
    check!("B11.052, B11.060", reserved == invalid, "and not one of the hypervisor's");
    check!("B11.060", post_any(messages, MESSAGE_TYPE, 241, 0) == invalid, "nor more than 240 bytes");
    check!("B11.063", signal_any(events, 1) == invalid, "the port has one flag");
    let crossed = (post_any(events, MESSAGE_TYPE, 8, 0), signal_any(messages, 0));
    let no_port = HvStatus::INVALID_PORT_ID;
    check!(
        "B11.061, B11.064",
        crossed == (no_port, no_port),
        "a port is for messages or for events: {crossed:?}"
    );
    let long = signal_any(events | 1 << 24, 0);
    check!("B11.056", long == HvStatus::INVALID_CONNECTION_ID, "a connection has 24 bits");
    check!("B11.011", slot(0).0 == 0, "what is refused is not delivered");
}

fn post_to_boot_processor() {
    TARGET.store(0, Ordering::Relaxed);
    send();
}

/// A source that is polled, and one that is masked.
fn quiet_sources(guest: &Guest) {
    let source = Sint::new().with_vector(vector::SYNIC);
    let before = arrivals::count(vector::SYNIC) + arrivals::count(vector::EVENT);
    let polled = synic::set_source(MESSAGE_SINT, source.with_polling(true));
    WORD.store(0x5555, Ordering::Relaxed);
    // Interrupts are off, and this processor does nothing but look.
    let last = guest.processors - 1;
    if last == 0 {
        post_to_boot_processor();
    } else {
        processors::give(last, post_to_boot_processor);
    }
    let mut patience = 100_000_000_u32;
    while slot(0).0 == 0 && patience > 0 {
        patience -= 1;
        core::hint::spin_loop();
    }
    while last != 0 && !processors::is_idle(last) {
        cpu::pause();
    }
    check!("B11.042", polled.is_ok() && slot(0).3 == 0x5555, "a processor that spins sees the message");
    free(0);
    arrivals::let_in();
    let masked = synic::set_source(MESSAGE_SINT, source.with_masked(true))
        .and_then(|()| synic::set_source(EVENT_SINT, source.with_masked(true)));
    let messages = connection_to(MESSAGE_CONNECTION, 0);
    let sent = [1, 2].map(|word| post_any(messages, MESSAGE_TYPE, 8, word).is_success());
    let first = slot(0).3;
    free(0);
    end_of_message();
    check!(
        "B11.046",
        masked.is_ok() && sent == [true; 2] && (first, slot(0).3) == (1, 2),
        "EOM drains a masked source"
    );
    free(0);
    let refused = signal_any(connection_to(EVENT_CONNECTION, 0), 0);
    check!("B11.026", refused == HvStatus::INVALID_SYNIC_STATE, "which takes no events: {refused:?}");
    arrivals::let_in();
    let after = arrivals::count(vector::SYNIC) + arrivals::count(vector::EVENT);
    check!("B11.013, B11.042", after == before, "and neither interrupts");
    let restored = synic::set_source(MESSAGE_SINT, source.with_auto_eoi(true))
        .and_then(|()| synic::set_source(EVENT_SINT, source.with_vector(vector::EVENT).with_auto_eoi(true)));
    check!("B11.042", restored.is_ok(), "both are as before");
}

/// Without SynIC or page there is no target.
fn switched_off() {
    for (number, name) in [(msr::SCONTROL, "SCONTROL"), (msr::SIMP, "SIMP"), (msr::SIEFP, "SIEFP")] {
        let value = trap::rdmsr(number).unwrap_or(0);
        let off = trap::wrmsr(number, value & !1);
        let message = post_any(connection_to(MESSAGE_CONNECTION, 0), MESSAGE_TYPE, 8, 0);
        let event = signal_any(connection_to(EVENT_CONNECTION, 0), 0);
        let on = trap::wrmsr(number, value);
        let invalid = HvStatus::INVALID_SYNIC_STATE;
        let refused = match number {
            msr::SIMP => message == invalid && event.is_success(),
            msr::SIEFP => message.is_success() && event == invalid,
            _ => message == invalid && event == invalid,
        };
        check!(
            "B11.010, B11.027",
            off.is_ok() && on.is_ok() && refused,
            "without {name}: message {message:?}, event {event:?}"
        );
        let flag = connection_to(EVENT_CONNECTION, 0) as u16;
        synic::take_event_of(0, EVENT_SINT, flag);
        free(0);
        arrivals::let_in();
    }
}

/// Sixteen messages wait besides the one in the slot; signals never fail for want of anything.
fn buffers() {
    let messages = connection_to(MESSAGE_CONNECTION, 0);
    let posted = (0..17).all(|word| post_any(messages, MESSAGE_TYPE, 8, word).is_success());
    let full = post_any(messages, MESSAGE_TYPE, 8, 17);
    check!(
        "B11.002",
        posted && full == HvStatus::INSUFFICIENT_BUFFERS,
        "17 messages are taken, one of them into the slot; the next is refused: {full:?}"
    );
    let in_order = (0..17).all(|word| {
        let found = slot(0).3 == word;
        free(0);
        end_of_message();
        found
    });
    check!("B11.008", in_order && slot(0).0 == 0, "they come in their order, and no more");
    arrivals::let_in();
    let events = connection_to(EVENT_CONNECTION, 0);
    check!("B11.029", (0..10_000).all(|_| signal_any(events, 0).is_success()), "10 000 signals, one flag");
    arrivals::let_in();
    check!("B11.025", synic::take_event_of(0, EVENT_SINT, events as u16), "which is set");
}

const MESSAGES: u32 = 200;

fn post_many() {
    let connection = connection_to(MESSAGE_CONNECTION, 0);
    for word in 0..MESSAGES {
        while post_any(connection, MESSAGE_TYPE, 8, word) == HvStatus::INSUFFICIENT_BUFFERS {
            cpu::pause();
        }
    }
}

/// One processor posts as fast as it can, another takes messages as recommended.
fn load(guest: &Guest) {
    if guest.processors == 1 {
        return skip!("B11.020", "one processor only");
    }
    let slot_taken = || -> Option<Message> { synic::take_message(MESSAGE_SINT).ok().flatten() };
    processors::give(guest.processors - 1, post_many);
    let mut in_order = true;
    for word in 0..MESSAGES {
        in_order &= arrivals::wait(|| slot(0).0 != 0) && slot(0).3 == word;
        in_order &= slot_taken().is_some();
        if !in_order {
            break;
        }
    }
    // Whatever is left goes, so that the other can finish.
    while !processors::is_idle(guest.processors - 1) {
        let _ = slot_taken();
    }
    check!("B11.020, B11.008", in_order && slot(0).0 == 0, "{MESSAGES} messages under load: none is lost");
}

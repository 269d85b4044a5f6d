// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SynIC: a message and an event that the guest sends to itself.

use crate::arrivals;
use crate::hypercalls::Status;
use crate::report::Report;
use support::hyperv::test_device::{self, Command};
use support::hyperv::{Interface, hypercall, synic};
use support::{boot, println, trap};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::msr;
use tlfs::synic::{ConnectionId, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, Message, MessageType, PostMessageInput};

const MESSAGE_SINT: u8 = 2;
const EVENT_SINT: u8 = 3;
const MESSAGE_CONNECTION: u8 = 0x10;
const EVENT_CONNECTION: u8 = 0x20;
/// Any number without bit 31.
const MESSAGE_TYPE: MessageType = MessageType(0x71);

pub(crate) fn visit(report: &mut Report, interface: &Interface, calls: bool) {
    report.section("The synthetic interrupt controller (SynIC)");
    if !interface.privileges.access_synic_regs() {
        return report.absent("SynIC", "AccessSynicRegs");
    }
    let Some(version) = report.expect("SynIC", synic::enable().and_then(|()| trap::rdmsr(msr::SVERSION)))
    else {
        return;
    };
    report.outcome(
        version & 0xFFFF_FFFF == msr::SVERSION_VALUE,
        "SynIC",
        format_args!("version {version}, enabled, with both pages"),
    );
    let set = synic::set_sint(MESSAGE_SINT, arrivals::MESSAGE, false)
        .and_then(|()| synic::set_sint(EVENT_SINT, arrivals::EVENT, false));
    if report.expect("interrupt sources", set).is_none() {
        return;
    }
    report.fact(
        "interrupt sources",
        format_args!(
            "{MESSAGE_SINT} for messages at vector {:#x}, {EVENT_SINT} for events at {:#x}",
            arrivals::MESSAGE,
            arrivals::EVENT
        ),
    );
    let Some(index) = arrivals::own_index() else {
        return report.absent("message and event", "AccessVpIndex, so nobody to address");
    };
    if !calls {
        return report.absent("message and event", "hypercalls");
    }
    if !test_device::is_present() {
        return report
            .absent("message and event", "a connection (the test device at port 0x3000 makes them)");
    }
    if interface.privileges.post_messages() {
        message(report, index);
    } else {
        report.absent("message to itself", "PostMessages");
    }
    if interface.privileges.signal_events() {
        event(report, index);
    } else {
        report.absent("event to itself", "SignalEvents");
    }
}

fn message(report: &mut Report, index: u8) {
    let nonce = boot::argument("nonce");
    let text = nonce.unwrap_or("greetings from myself");
    let text = &text.as_bytes()[..text.len().min(MESSAGE_MAX_PAYLOAD_BYTE_COUNT)];
    test_device::command(Command::CreateMessageConnection, index, MESSAGE_SINT, MESSAGE_CONNECTION);
    let before = arrivals::count(arrivals::MESSAGE);
    let result = post(text);
    let worked = result.status() == HvStatus::SUCCESS;
    report.outcome(worked, "post a message (0x5C)", format_args!("{}, {} bytes", Status(result), text.len()));
    arrivals::wait(|| arrivals::count(arrivals::MESSAGE) != before);
    let interrupts = arrivals::count(arrivals::MESSAGE) - before;
    let received = report.expect("the message's slot", synic::take_message(MESSAGE_SINT)).flatten();
    match received {
        Some(message) => {
            let same = message.header.message_type == MESSAGE_TYPE
                && synic::payload(&message) == text
                && interrupts == 1;
            report.outcome(
                same,
                "the message arrives",
                format_args!(
                    "type {:#x}, \"{}\", {interrupts} interrupt(s)",
                    message.header.message_type.0,
                    Text(&message)
                ),
            );
            if nonce.is_some() {
                println!("nonce echoed: {}", Text(&message));
            }
        }
        None => {
            report.outcome(
                false,
                "the message arrives",
                format_args!("the slot stayed empty, {interrupts} interrupt(s)"),
            );
        }
    }
    test_device::command(Command::DestroyMessageConnection, index, MESSAGE_SINT, MESSAGE_CONNECTION);
    let gone = post(text);
    let refused = gone.status() == HvStatus::INVALID_CONNECTION_ID;
    report.outcome(refused, "without a connection", format_args!("{}, as it should be", Status(gone)));
}

fn post(text: &[u8]) -> tlfs::hypercall::ResultValue {
    let mut input = PostMessageInput {
        connection_id: ConnectionId::from_bits(u32::from(MESSAGE_CONNECTION)),
        reserved_z: 0,
        message_type: MESSAGE_TYPE,
        payload_size: text.len() as u32,
        payload: [0; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
    };
    input.payload[..text.len()].copy_from_slice(text);
    hypercall::input().write(0, input);
    hypercall::simple(CallCode::POST_MESSAGE)
}

/// A message's payload as text.
struct Text<'a>(&'a Message);

impl core::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(core::str::from_utf8(synic::payload(self.0)).unwrap_or("(not text)"))
    }
}

fn event(report: &mut Report, index: u8) {
    test_device::command(Command::CreateEventConnection, index, EVENT_SINT, EVENT_CONNECTION);
    let before = arrivals::count(arrivals::EVENT);
    let signal = || hypercall::fast(CallCode::SIGNAL_EVENT, u64::from(EVENT_CONNECTION), 0);
    let first = signal();
    arrivals::wait(|| arrivals::count(arrivals::EVENT) != before);
    let interrupts = arrivals::count(arrivals::EVENT) - before;
    let worked = first.status() == HvStatus::SUCCESS && interrupts == 1;
    report.outcome(
        worked,
        "signal an event (0x5D)",
        format_args!("{}, {interrupts} interrupt(s)", Status(first)),
    );
    // A flag that is set already is not an event any more: no second interrupt.
    let again = signal();
    arrivals::wait_a_moment();
    let interrupts = arrivals::count(arrivals::EVENT) - before - interrupts;
    let flag = synic::take_event(EVENT_SINT, u16::from(EVENT_CONNECTION));
    let worked = again.status() == HvStatus::SUCCESS && interrupts == 0 && flag;
    report.outcome(
        worked,
        "signal it again",
        format_args!("{}, {interrupts} interrupts more: the flag was set already", Status(again)),
    );
    test_device::command(Command::DestroyEventConnection, index, EVENT_SINT, EVENT_CONNECTION);
}

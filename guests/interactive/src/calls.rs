// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls.

use crate::show;
use crate::words::{self, Outcome, Words};
use core::sync::atomic::{AtomicBool, Ordering};
use support::hyperv::{Interface, hypercall};
use support::page::Page;
use support::println;
use tlfs::hypercall::{self as calls, CALLS, CallClass, CallCode, InputValue};
use tlfs::msr::OpenSourceGuestOsId;
use tlfs::synic::{ConnectionId, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MessageType, PostMessageInput};

static OUTPUT: Page = Page::new();
static ENABLED: AtomicBool = AtomicBool::new(false);
/// The type of messages that are posted: any number without bit 31.
const MESSAGE_TYPE: MessageType = MessageType(0x71);
/// 64-bit words of input that a line can give.
const MOST_WORDS: usize = 32;

/// Enables the hypercall page, if the guest may.
pub(crate) fn prepare(interface: &Interface) {
    if !interface.privileges.access_hypercall_msrs() {
        return;
    }
    let identity = OpenSourceGuestOsId::new().with_open_source(true).with_os_type(0x7F).with_version(1);
    let enabled = hypercall::identify(identity.into_bits()).and_then(|()| hypercall::enable());
    match enabled {
        Ok(page) => ENABLED.store(page.enable(), Ordering::Relaxed),
        Err(fault) => println!("The hypercall page is refused: {fault}"),
    }
}

/// Whether calls can be made.
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

fn ready() -> Outcome {
    if is_enabled() { Ok(()) } else { Err("there is no hypercall page: the guest may not enable one") }
}

pub(crate) fn call(mut words: Words<'_>) -> Outcome {
    ready()?;
    let word = words.next().ok_or("which call? Write its number or name")?;
    let named = CALLS.iter().find(|call| words::means(word, call.name, "HvCall")).map(|call| call.code);
    let code = match named {
        Some(code) => code,
        None => {
            let number = words::number(word).map_err(|_| "there is no call of that name")?;
            CallCode(u16::try_from(number).map_err(|_| "a call's number has 16 bits")?)
        }
    };
    let info = calls::info(code);
    if info.is_some_and(|info| info.class == CallClass::CodePage) {
        return Err("that is no call by number: it has its own place in the hypercall page");
    }
    let fast = words.take("fast");
    let reps = if words.take("reps") { Some(words.number()?) } else { None };
    let reps = reps.map(u16::try_from).transpose().map_err(|_| "a list has at most 4095 elements")?;
    let mut input = [0; MOST_WORDS];
    let mut count = 0;
    while let Some(word) = words.next() {
        *input.get_mut(count).ok_or("that is more input than a line can give")? = words::number(word)?;
        count += 1;
    }
    println!("{}: {}", info.map_or("unnamed call", |info| info.name), info.map_or("", |info| info.about));
    let is_rep = reps.is_some();
    let control = InputValue::new().with_call_code(code).with_fast(fast).with_rep_count(reps.unwrap_or(0));
    OUTPUT.fill(0);
    let result = if fast {
        hypercall::call(control, input[0], input[1])
    } else {
        hypercall::input().fill(0);
        for (index, word) in input[..count].iter().enumerate() {
            hypercall::input().write(8 * index, *word);
        }
        hypercall::call(control, hypercall::input().address(), OUTPUT.address())
    };
    show::result(result, is_rep);
    let Some(parameters) = calls::parameters(code).filter(|_| result.status().is_success() && !fast) else {
        return Ok(());
    };
    if let Some(layout) = parameters.output {
        show::structure(layout, |offset| OUTPUT.read(offset));
    }
    for index in 0..usize::from(result.reps_complete()) {
        let bytes = parameters.output_element;
        for offset in (index * bytes..(index + 1) * bytes).step_by(8).filter(|offset| offset + 8 <= 4096) {
            println!("  {offset:>4}  {:#x}", OUTPUT.read::<u64>(offset));
        }
    }
    Ok(())
}

pub(crate) fn post(mut words: Words<'_>) -> Outcome {
    ready()?;
    let connection = connection(&mut words)?;
    let text = words.0.trim().as_bytes();
    let text = &text[..text.len().min(MESSAGE_MAX_PAYLOAD_BYTE_COUNT)];
    let mut payload = [0; MESSAGE_MAX_PAYLOAD_BYTE_COUNT];
    payload[..text.len()].copy_from_slice(text);
    let message = PostMessageInput {
        connection_id: connection,
        reserved_z: 0,
        message_type: MESSAGE_TYPE,
        payload_size: text.len() as u32,
        payload,
    };
    hypercall::input().write(0, message);
    show::result(hypercall::simple(CallCode::POST_MESSAGE), false);
    Ok(())
}

pub(crate) fn signal(mut words: Words<'_>) -> Outcome {
    ready()?;
    let connection = connection(&mut words)?;
    let flag = u16::try_from(words.number_or(0)?).map_err(|_| "an event flag's number has 16 bits")?;
    let input = u64::from(connection.into_bits()) | u64::from(flag) << 32;
    show::result(hypercall::fast(CallCode::SIGNAL_EVENT, input, 0), false);
    Ok(())
}

fn connection(words: &mut Words<'_>) -> Result<ConnectionId, &'static str> {
    u32::try_from(words.number()?)
        .map(ConnectionId::from_bits)
        .map_err(|_| "a connection's number has 32 bits")
}

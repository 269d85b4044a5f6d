// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic interrupt controller of one virtual processor: message page, event flags page, 16 interrupt sources (TLFS 11).

use crate::page::Page;
use crate::segments::{self, MAX_PROCESSORS};
use crate::trap::{self, Fault};
use core::arch::asm;
use core::mem::offset_of;
use tlfs::msr::{self, OverlayPage, Scontrol, Sint};
use tlfs::synic::{EVENT_FLAGS_COUNT, EventFlags, Message, MessageFlags, MessageHeader, MessageType};

static MESSAGES: [Page; MAX_PROCESSORS] = [const { Page::new() }; MAX_PROCESSORS];
static EVENTS: [Page; MAX_PROCESSORS] = [const { Page::new() }; MAX_PROCESSORS];

/// The bytes that a message carries.
pub fn payload(message: &Message) -> &[u8] {
    &message.payload[..usize::from(message.header.payload_size).min(message.payload.len())]
}

/// Enables this processor's SynIC and both of its pages.
pub fn enable() -> Result<(), Fault> {
    let index = segments::processor_index();
    for (number, page) in [(msr::SIMP, &MESSAGES[index]), (msr::SIEFP, &EVENTS[index])] {
        let kept = OverlayPage::from_bits(trap::rdmsr(number)?);
        trap::wrmsr(number, kept.with_enable(true).with_gpa_page_number(page.number()).into_bits())?;
    }
    let control = Scontrol::from_bits(trap::rdmsr(msr::SCONTROL)?);
    trap::wrmsr(msr::SCONTROL, control.with_enable(true).into_bits())
}

/// Disables this processor's SynIC and both of its pages.
pub fn disable() -> Result<(), Fault> {
    for number in [msr::SCONTROL, msr::SIMP, msr::SIEFP] {
        trap::wrmsr(number, trap::rdmsr(number)? & !1)?;
    }
    Ok(())
}

/// Sets an interrupt source to a vector, unmasked.
pub fn set_sint(sint: u8, vector: u8, auto_eoi: bool) -> Result<(), Fault> {
    let source = Sint::from_bits(trap::rdmsr(msr::sint(sint))?);
    let source = source.with_vector(vector).with_masked(false).with_auto_eoi(auto_eoi).with_polling(false);
    trap::wrmsr(msr::sint(sint), source.into_bits())
}

/// Sets an interrupt source to anything.
pub fn set_source(sint: u8, source: Sint) -> Result<(), Fault> {
    trap::wrmsr(msr::sint(sint), source.into_bits())
}

/// Masks an interrupt source.
pub fn mask_sint(sint: u8) -> Result<(), Fault> {
    let source = Sint::from_bits(trap::rdmsr(msr::sint(sint))?);
    trap::wrmsr(msr::sint(sint), source.with_masked(true).into_bits())
}

/// What is in the slot of a source of a processor, which stays there.
///
/// # Panics
/// If there cannot be such a processor.
pub fn slot(processor: usize, sint: u8) -> Message {
    MESSAGES[processor].read(usize::from(sint) * size_of::<Message>())
}

/// Puts something into the slot of a source of a processor, as its type, or frees it with [`MessageType::NONE`]. Nobody is told.
///
/// # Panics
/// If there cannot be such a processor.
pub fn set_slot(processor: usize, sint: u8, message_type: MessageType) {
    let slot = usize::from(sint) * size_of::<Message>();
    MESSAGES[processor].write(slot + offset_of!(MessageHeader, message_type), message_type);
}

/// Takes the message out of a source's slot, if there is one, and asks for the next one if more are waiting (TLFS 11.4).
pub fn take_message(sint: u8) -> Result<Option<Message>, Fault> {
    let page = &MESSAGES[segments::processor_index()];
    let slot = usize::from(sint) * size_of::<Message>();
    if page.read::<MessageType>(slot) == MessageType::NONE {
        return Ok(None);
    }
    let message: Message = page.read(slot);
    page.write(slot + offset_of!(MessageHeader, message_type), MessageType::NONE);
    // The hypervisor may set the flag until the slot is seen to be free, so it must be read after that.
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    let flags: MessageFlags = page.read(slot + offset_of!(MessageHeader, flags));
    if flags.message_pending() {
        trap::wrmsr(msr::EOM, 0)?;
    }
    Ok(Some(message))
}

/// Clears an event flag of a source and tells whether it was set. Flags are 0 to 2047.
pub fn take_event(sint: u8, flag: u16) -> bool {
    take_event_of(segments::processor_index(), sint, flag)
}

/// The same for any processor.
///
/// # Panics
/// If there cannot be such a processor.
pub fn take_event_of(processor: usize, sint: u8, flag: u16) -> bool {
    let page = EVENTS[processor].address() + u64::from(sint) * size_of::<EventFlags>() as u64;
    let was_set: u8;
    // SAFETY: the page is this program's and no reference to it exists; the hypervisor sets flags at the same time, hence LOCK.
    unsafe {
        asm!("lock btr dword ptr [{page}], {flag:e}", "setc {was}", page = in(reg) page,
            flag = in(reg) u32::from(flag) % EVENT_FLAGS_COUNT as u32, was = out(reg_byte) was_set, options(nostack));
    }
    was_set != 0
}

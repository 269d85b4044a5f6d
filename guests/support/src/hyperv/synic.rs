// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic interrupt controller of one virtual processor: message page, event flags page, 16 interrupt sources (TLFS 11).

use crate::page::Page;
use crate::segments::{self, MAX_PROCESSORS};
use crate::trap::{self, Fault};
use core::arch::asm;
use tlfs::msr::{self, OverlayPage, Scontrol, Sint};

static MESSAGES: [Page; MAX_PROCESSORS] = [const { Page::new() }; MAX_PROCESSORS];
static EVENTS: [Page; MAX_PROCESSORS] = [const { Page::new() }; MAX_PROCESSORS];

const SLOT_SIZE: usize = 256;
/// The most bytes that a message carries (TLFS 11.10.4).
pub const MAX_PAYLOAD: usize = 240;

/// A message taken out of its slot (TLFS 11.10.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What it is; the sender's choice unless bit 31 is set.
    pub kind: u32,
    /// Port or partition that it comes from; 0 for a timer's.
    pub sender: u64,
    size: usize,
    payload: [u8; MAX_PAYLOAD],
}

impl Message {
    /// What it carries.
    pub fn payload(&self) -> &[u8] {
        &self.payload[..self.size]
    }

    /// 64 bits of what it carries, at an offset in bytes; 0 behind its end.
    pub fn u64_at(&self, offset: usize) -> u64 {
        self.payload()
            .get(offset..offset + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes)
    }
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

/// Masks an interrupt source.
pub fn mask_sint(sint: u8) -> Result<(), Fault> {
    let source = Sint::from_bits(trap::rdmsr(msr::sint(sint))?);
    trap::wrmsr(msr::sint(sint), source.with_masked(true).into_bits())
}

/// Takes the message out of a source's slot, if there is one, and asks for the next one if more are waiting (TLFS 11.4).
pub fn take_message(sint: u8) -> Result<Option<Message>, Fault> {
    let page = &MESSAGES[segments::processor_index()];
    let slot = usize::from(sint) * SLOT_SIZE;
    let kind: u32 = page.read(slot);
    if kind == 0 {
        return Ok(None);
    }
    let mut message = Message {
        kind,
        sender: page.read(slot + 8),
        size: usize::from(page.read::<u8>(slot + 4)).min(MAX_PAYLOAD),
        payload: [0; MAX_PAYLOAD],
    };
    for index in 0..message.size {
        message.payload[index] = page.read(slot + 16 + index);
    }
    page.write(slot, 0_u32);
    // The hypervisor may set the flag until the slot is seen to be free, so it must be read after that.
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    let flags: u8 = page.read(slot + 5);
    if flags & 1 != 0 {
        trap::wrmsr(msr::EOM, 0)?;
    }
    Ok(Some(message))
}

/// Clears an event flag of a source and tells whether it was set. Flags are 0 to 2047.
pub fn take_event(sint: u8, flag: u16) -> bool {
    let page = EVENTS[segments::processor_index()].address() + u64::from(sint) * SLOT_SIZE as u64;
    let was_set: u8;
    // SAFETY: the page is this program's and no reference to it exists; the hypervisor sets flags at the same time, hence LOCK.
    unsafe {
        asm!("lock btr dword ptr [{page}], {flag:e}", "setc {was}", page = in(reg) page,
            flag = in(reg) u32::from(flag & 0x7FF), was = out(reg_byte) was_set, options(nostack));
    }
    was_set != 0
}

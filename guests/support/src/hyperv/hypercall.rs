// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls, through the hypercall page (TLFS 3).

use crate::page::Page;
use crate::trap::{self, Fault};
use core::arch::asm;
use tlfs::hypercall::{CallCode, InputValue, ResultValue};
use tlfs::msr;

static CALL_PAGE: Page = Page::new();
/// Input parameters of one processor's calls.
static INPUT: Page = Page::new();

/// Tells the hypervisor who the guest is; any non-zero number will do (TLFS 2.6).
pub fn identify(guest_os_id: u64) -> Result<(), Fault> {
    trap::wrmsr(msr::GUEST_OS_ID, guest_os_id)
}

/// Enables the hypercall page; gives what the MSR then reads.
pub fn enable() -> Result<msr::Hypercall, Fault> {
    let kept = msr::Hypercall::from_bits(trap::rdmsr(msr::HYPERCALL)?);
    let place = kept.with_enable(true).with_gpa_page_number(CALL_PAGE.number());
    trap::wrmsr(msr::HYPERCALL, place.into_bits())?;
    trap::rdmsr(msr::HYPERCALL).map(msr::Hypercall::from_bits)
}

/// Disables the hypercall page.
pub fn disable() -> Result<(), Fault> {
    trap::wrmsr(msr::HYPERCALL, 0)
}

/// The page that the hypervisor filled.
pub fn call_page() -> &'static Page {
    &CALL_PAGE
}

/// The page for input parameters; its contents are the caller's until the call returns.
pub fn input() -> &'static Page {
    &INPUT
}

/// Makes a call with what it takes in RDX and R8. The page must be enabled.
#[inline]
pub fn call(control: InputValue, rdx: u64, r8: u64) -> ResultValue {
    let result: u64;
    // SAFETY: the enabled page holds code that returns; TLFS 3.9 names what it may change.
    unsafe {
        asm!(
            "call {page}",
            page = in(reg) CALL_PAGE.address(),
            inout("rcx") control.into_bits() => _,
            inout("rdx") rdx => _,
            inout("r8") r8 => _,
            out("rax") result,
            out("r9") _, out("r10") _, out("r11") _,
        );
    }
    ResultValue::from_bits(result)
}

/// A simple call with its input in [`input`] and no output.
pub fn simple(code: CallCode) -> ResultValue {
    call(InputValue::new().with_call_code(code), INPUT.address(), 0)
}

/// A simple call with up to 16 bytes of input, in registers.
pub fn fast(code: CallCode, first: u64, second: u64) -> ResultValue {
    call(InputValue::new().with_call_code(code).with_fast(true), first, second)
}

/// A rep call with its header and list in [`input`] and no output.
pub fn rep(code: CallCode, count: u16) -> ResultValue {
    call(InputValue::new().with_call_code(code).with_rep_count(count), INPUT.address(), 0)
}

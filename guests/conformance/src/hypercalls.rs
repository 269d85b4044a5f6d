// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hypercall interface (TLFS 3).

use crate::lab::{Guest, read_faults, write_faults};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::hyperv::hypercall;
use support::page::Page;
use support::{check, cpu, processors, skip, trap};
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, InputValue, ResultValue};
use tlfs::msr;

pub(crate) fn check(guest: &Guest) {
    if !guest.has_calls() {
        return skip!("B03.062", "hypercalls are not offered");
    }
    check!(
        "B03.073",
        [msr::GUEST_OS_ID, msr::HYPERCALL, msr::VP_INDEX].into_iter().all(|number| !read_faults(number)),
        "the MSRs that Hv#1 implies are there"
    );
    control();
    parameters(guest);
    concurrently(guest);
    page(guest);
}

/// Where a PC has neither memory nor a device, as far as one can know.
const NOWHERE: u64 = 0xE800_0000;

fn status(control: InputValue) -> HvStatus {
    hypercall::call(control, hypercall::input().address(), 0).status()
}

fn control() {
    for code in [0x0016, 0x7FFF] {
        let status = status(InputValue::new().with_call_code(CallCode(code)));
        check!("B03.062", status == HvStatus::INVALID_HYPERCALL_CODE, "code {code:#x}: {status:?}");
    }
    let spin = InputValue::new().with_call_code(CallCode::NOTIFY_LONG_SPIN_WAIT).with_fast(true);
    let refused = |control| status(control) == HvStatus::INVALID_HYPERCALL_INPUT;
    for bit in [27, 28, 29, 30, 44, 45, 46, 47, 60, 61, 62, 63] {
        let control = InputValue::from_bits(spin.into_bits() | 1 << bit);
        check!("B03.030", refused(control), "bit {bit} of the control word must be zero");
    }
    check!("B03.031", refused(spin.with_rep_count(1)), "a simple call with a list");
    let flush = InputValue::new().with_call_code(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST);
    check!("B03.031", refused(flush), "a rep call without one");
    check!(
        "B03.032",
        refused(flush.with_rep_count(2).with_rep_start_index(2)),
        "a start index as high as the count"
    );
    check!("B03.039", refused(spin.with_variable_header_size(1)), "a variable header where none belongs");
    let done = hypercall::fast(CallCode::NOTIFY_LONG_SPIN_WAIT, 1, 0);
    check!(
        "B03.049",
        done == ResultValue::of(HvStatus::SUCCESS),
        "a simple call completes no reps: {done:?}"
    );
}

static OUTPUT: Page = Page::new();
static SCRIBBLING: AtomicBool = AtomicBool::new(false);
static SCRIBBLES: AtomicU64 = AtomicU64::new(0);

/// Writes to the parameters of calls, as fast as it can.
fn scribble() {
    let mut value = 0x9E37_79B9_7F4A_7C15_u64;
    while SCRIBBLING.load(Ordering::Acquire) {
        for offset in (0..64).step_by(8) {
            // Now and then what is right: another VP's index, a register's name, a mask.
            let word = if value >> 61 == 0 { value & 3 } else { value };
            hypercall::input().write(offset, word);
            OUTPUT.write(offset, word);
            value = value.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        }
        SCRIBBLES.fetch_add(1, Ordering::Release);
    }
}

/// Calls whose parameters another processor changes meanwhile.
fn concurrently(guest: &Guest) {
    const FEWEST: u32 = 3000;
    const MOST: u32 = 5_000_000;
    const SCRIBBLES_AT_LEAST: u64 = 300;
    const REPS: u16 = 5;
    if guest.processors == 1 {
        return skip!("B03.017", "one processor only");
    }
    let (input, output) = (hypercall::input().address(), OUTPUT.address());
    SCRIBBLING.store(true, Ordering::Release);
    processors::give(1, scribble);
    let (mut sound, mut calls) = (true, 0);
    let scribbles = || SCRIBBLES.load(Ordering::Acquire);
    // The other processor may take a while to begin.
    while calls < FEWEST || (scribbles() < SCRIBBLES_AT_LEAST && calls < MOST) {
        let code = [
            CallCode::FLUSH_VIRTUAL_ADDRESS_LIST,
            CallCode::GET_VP_REGISTERS,
            CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE,
        ][calls as usize % 3];
        let reps = if code == CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE { 0 } else { REPS };
        let control = InputValue::new().with_call_code(code).with_rep_count(reps);
        sound &= hypercall::call(control, input, output).reps_complete() <= reps;
        calls += 1;
    }
    SCRIBBLING.store(false, Ordering::Release);
    while !processors::is_idle(1) {
        cpu::pause();
    }
    // What came to nobody but this guest leaves the next call as it should be.
    let flush = InputValue::new().with_call_code(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE);
    for (offset, word) in [(0, 0_u64), (8, 0b11), (16, 0)] {
        hypercall::input().write(offset, word);
    }
    let after = hypercall::call(flush, input, 0);
    let allowed = guest.interface.recommendations.use_hypercall_for_remote_flush_and_local_flush_entire();
    check!(
        "B03.017",
        sound
            && scribbles() >= SCRIBBLES_AT_LEAST
            && (!allowed || after == ResultValue::of(HvStatus::SUCCESS)),
        "{calls} calls while another processor writes to their parameters, and then one that is left alone: {after:?}"
    );
}

fn parameters(guest: &Guest) {
    let spin = InputValue::new().with_call_code(CallCode::NOTIFY_LONG_SPIN_WAIT);
    let address = hypercall::input().address();
    let status = |control, input, output| hypercall::call(control, input, output).status();
    let misaligned = status(spin, address + 4, 0);
    check!("B03.021", misaligned == HvStatus::INVALID_ALIGNMENT, "input at an address that is not aligned");
    let outside = status(spin, 1 << 51, 0);
    check!("B03.025", outside == HvStatus::INVALID_ALIGNMENT, "input outside the guest-physical space");
    hypercall::input().write(0, 1_u64);
    check!(
        "B03.022",
        status(spin, address, 0xBAD3) == HvStatus::SUCCESS,
        "an output address that no output needs"
    );
    // Whoever is the parent of a guest on a plain machine answers such an intercept with a status at most.
    let unanswered = [(NOWHERE, address), (address, NOWHERE), (NOWHERE, NOWHERE)].map(|(input, output)| {
        let capabilities = InputValue::new().with_call_code(CallCode::EXT_QUERY_CAPABILITIES);
        let switch = InputValue::new().with_call_code(CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE);
        hypercall::input().write(0, u64::MAX);
        (status(switch, input, output), status(capabilities, input, output))
    });
    check!(
        "B03.027, B03.028",
        unanswered.iter().all(|(switched, _)| *switched != HvStatus::SUCCESS),
        "calls whose parameters lie where there is no memory: {unanswered:?}"
    );
    if !guest.interface.recommendations.use_hypercall_for_remote_flush_and_local_flush_entire() {
        return skip!("B03.023", "no call with input that can cross a page");
    }
    let flush = InputValue::new().with_call_code(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE);
    let crossing = status(flush, address + 0xFF0, 0);
    check!("B03.023", crossing == HvStatus::INVALID_ALIGNMENT, "input that crosses a page");
}

static SEEN: AtomicU64 = AtomicU64::new(0);

fn look_at_page() {
    SEEN.store(trap::rdmsr(msr::HYPERCALL).unwrap_or(0), Ordering::SeqCst);
}

fn page(guest: &Guest) {
    let page = hypercall::call_page();
    let place = trap::rdmsr(msr::HYPERCALL).unwrap_or(0);
    if guest.have(1, look_at_page) {
        check!(
            "B03.064",
            SEEN.load(Ordering::SeqCst) == place,
            "another VP reads the same place, {place:#x}"
        );
    } else {
        skip!("B03.064", "one processor only");
    }
    check!("B03.065", write_faults(msr::HYPERCALL, 1 << 62 | 1), "a page outside the guest-physical space");
    check!("B03.065", trap::rdmsr(msr::HYPERCALL) == Ok(place), "and the place stays what it was");
    let back = trap::wrmsr(msr::HYPERCALL, place);
    check!(
        "B03.068",
        back.is_ok() && trap::rdmsr(msr::HYPERCALL) == Ok(place),
        "what was read can be written back"
    );
    let stack: u64;
    // SAFETY: pushes and pops nothing; the call of an unknown code changes what `call` declares.
    unsafe {
        core::arch::asm!("mov {before}, rsp", "call {page}", "sub {before}, rsp",
            before = out(reg) stack, page = in(reg) page.address(),
            inout("rcx") 0x7FFF_u64 => _, inout("rdx") 0_u64 => _, inout("r8") 0_u64 => _,
            out("rax") _, out("r9") _, out("r10") _, out("r11") _);
    }
    check!("B03.072", stack == 0, "a call to the page returns with the stack as it was");
    let first: u64 = page.read(0);
    // SAFETY: if it is written, contrary to the rule, the page is not the compiler's.
    let written = unsafe { trap::write64(page.address(), 0) };
    let fault = written.is_err_and(|fault| fault.vector == trap::vector::GENERAL_PROTECTION);
    check!("B03.070", fault && page.read::<u64>(0) == first, "the page cannot be written");
    check!("B03.074", page.read::<u64>(0) == first, "its contents stay");
    let gone = hypercall::disable();
    page.write(0, 0x5A5A_u64);
    let covered = hypercall::enable().is_ok() && page.read::<u64>(0) != 0x5A5A;
    let uncovered = hypercall::disable().is_ok() && page.read::<u64>(0) == 0x5A5A;
    check!("B03.071", gone.is_ok() && covered && uncovered, "memory below the page keeps its contents");
    page.write(0, 0_u64);
    let named = hypercall::identify(0);
    let enabled = hypercall::enable();
    check!(
        "B03.067",
        named.is_ok() && enabled.is_ok_and(|page| !page.enable()),
        "Enable stays clear without an id"
    );
    check!("B03.069", guest.has_calls() && page.read::<u64>(0) == first, "enabled again, it reads as before");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code that one processor changes while another executes it, as kernels do: first a breakpoint over the first byte, then the bytes behind it, then the first
//! byte, and after each step an interrupt that the other one answers with IRET, which serialises (Intel SDM 3A 9.1.3). Every execution is one of the old
//! instruction, of the breakpoint's handler, or of the new instruction, and behind an answer it is one of what is there then.

use crate::lab::holds;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use support::page::Page;
use support::trap::{self, Frame, vector::BREAKPOINT};
use support::{apic, cpu, processors};

const TOPIC: &str = "poke";
const VECTOR: u8 = 0x62;
/// Changes at each place, there and back.
const ROUNDS: u32 = 100;
/// Executions that are looked at behind each answer.
const LOOKS: u32 = 4;

/// XOR EAX, EAX; then what changes, five bytes; then RET.
const BEFORE: [u8; 2] = [0x31, 0xC0];
const LENGTH: usize = 5;
const RET: u8 = 0xC3;
const INT3: u8 = 0xCC;
/// Two instructions of one length without a byte in common, each of which shows in EAX that it had all its bytes: MOV EAX, imm32, and SUB EAX, imm32.
const FORMS: [[u8; LENGTH]; 2] = [[0xB8, 0x11, 0x11, 0x11, 0x11], [0x2D, 0x22, 0x22, 0x22, 0x22]];
const RESULTS: [u32; 2] = [0x1111_1111, 0_u32.wrapping_sub(0x2222_2222)];
/// What the breakpoint's handler leaves in EAX.
const HANDLED: u32 = 0x3333_3333;

static CODE: Page = Page::new();
/// Where the function begins.
static FUNCTION: AtomicU64 = AtomicU64::new(0);
static RUNNING: AtomicBool = AtomicBool::new(false);
/// Executions of the first form, the second one, the handler, and of what is none of them.
static SEEN: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
/// What an execution gave that was none of them.
static WRONG: AtomicU32 = AtomicU32::new(0);
static ANSWERS: AtomicU32 = AtomicU32::new(0);

/// Executes the function as long as it is told to.
fn execute() {
    cpu::enable_interrupts();
    while RUNNING.load(Ordering::Acquire) {
        let address = FUNCTION.load(Ordering::Relaxed);
        // SAFETY: a function of a few instructions that touches EAX and flags.
        let function = unsafe { core::mem::transmute::<u64, extern "C" fn() -> u32>(address) };
        let result = function();
        let which = RESULTS.iter().chain(&[HANDLED]).position(|&right| right == result).unwrap_or(3);
        if which == 3 {
            WRONG.store(result, Ordering::Relaxed);
        }
        SEEN[which].fetch_add(1, Ordering::Release);
    }
    cpu::disable_interrupts();
}

/// Stands in for the instruction that is being changed.
fn breakpoint(frame: &mut Frame) {
    let changed = FUNCTION.load(Ordering::Relaxed) + BEFORE.len() as u64;
    // Another breakpoint is nobody's, and shows as a wrong result.
    frame.rax = if frame.rip == changed + 1 { u64::from(HANDLED) } else { frame.rip };
    frame.rip = changed + LENGTH as u64;
}

fn counts() -> [u32; 4] {
    core::array::from_fn(|which| SEEN[which].load(Ordering::Acquire))
}

/// Waits for so many executions, but not for ever.
fn executions(number: u32) -> bool {
    let all = || counts().iter().sum::<u32>();
    let before = all();
    (0..50_000_000).any(|_| {
        cpu::pause();
        all().wrapping_sub(before) >= number
    })
}

/// Has the other processor, of this APIC ID, answer; whether from then on it executes `which` alone.
fn settle(other: u32, which: usize) -> bool {
    let before = ANSWERS.load(Ordering::Acquire);
    apic::send(other, apic::FIXED | u32::from(VECTOR));
    let answered = (0..50_000_000).any(|_| {
        cpu::pause();
        ANSWERS.load(Ordering::Acquire) != before
    });
    // What was under way when it answered may have been what was there before.
    let begun = executions(2);
    let first = counts();
    let looked = executions(LOOKS);
    let then = counts();
    let others = (0..SEEN.len()).all(|index| index == which || first[index] == then[index]);
    answered && begun && looked && others
}

/// Changes the instruction at `offset` of the page to this form, and tells after which steps something else was executed than was there.
fn change(other: u32, offset: usize, form: usize) -> [bool; 3] {
    let bytes = FORMS[form];
    CODE.write(offset, INT3);
    let covered = settle(other, 2);
    (1..LENGTH).for_each(|index| CODE.write(offset + index, bytes[index]));
    let behind = settle(other, 2);
    CODE.write(offset, bytes[0]);
    [covered, behind, settle(other, form)]
}

/// `other` is the APIC ID of processor 1, which is idle.
pub(crate) fn check(other: u32) {
    trap::set_handler(BREAKPOINT, Some(breakpoint));
    trap::set_handler(
        VECTOR,
        Some(|_| {
            ANSWERS.fetch_add(1, Ordering::Release);
            apic::end_of_interrupt();
        }),
    );
    for (what, offset) in [("inside a line", 0x100), ("over the edge of two lines", 0x200 - 2)] {
        at(other, what, offset);
    }
    trap::set_handler(VECTOR, None);
    trap::set_handler(BREAKPOINT, None);
}

fn at(other: u32, what: &str, offset: usize) {
    let begin = offset - BEFORE.len();
    for (index, byte) in BEFORE.into_iter().chain(FORMS[0]).chain([RET]).enumerate() {
        CODE.write(begin + index, byte);
    }
    FUNCTION.store(CODE.address() + begin as u64, Ordering::Relaxed);
    SEEN.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    RUNNING.store(true, Ordering::Release);
    processors::give(1, execute);
    let mut right = [executions(LOOKS); 3];
    for round in 1..=ROUNDS {
        let steps = change(other, offset, round as usize % 2);
        for (all, step) in right.iter_mut().zip(steps) {
            *all &= step;
        }
        if steps.contains(&false) {
            break;
        }
    }
    RUNNING.store(false, Ordering::Release);
    while !processors::is_idle(1) {
        cpu::pause();
    }
    let seen = counts();
    let wrong = WRONG.load(Ordering::Relaxed);
    holds!(
        TOPIC,
        seen[3] == 0,
        "no instruction is old in part and new in part",
        "{what}: {} are, and the last one gave {wrong:#x}",
        seen[3]
    );
    holds!(
        TOPIC,
        right == [true; 3] && seen[..3].iter().all(|&count| count >= ROUNDS),
        "behind an answer what is there is executed",
        "{what}, after INT3, the other bytes, the first byte: {right:?}; old, new and handled: {:?}",
        &seen[..3]
    );
}

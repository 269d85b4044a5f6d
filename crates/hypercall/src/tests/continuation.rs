// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rep calls that fail, give way or wait in the middle, and start again.

use super::*;
use crate::call::Stop;
use crate::caller::Register;
use crate::sandbox::{Step, output_element_byte};
use std::vec::Vec;

const MODES: [CallerMode; 2] = [CallerMode::Bits64, CallerMode::Bits32];
/// Elements that one execution handles at most.
const BUDGET: u16 = 256;

/// Header of 24 bytes, then elements 0, 1, 2 ... of 8 bytes, at 0x1000.
fn machine(mode: CallerMode) -> Machine {
    let mut machine = Machine::new(mode);
    machine.memory.map(0x1000, false);
    machine.memory.map(0x3000, true);
    for index in 0..509 {
        machine.memory.bytes(0x1018 + 8 * index, 8).copy_from_slice(&index.to_le_bytes());
    }
    machine
}

fn elements(recorder: &Recorder) -> Vec<u64> {
    let bytes: Vec<u8> = recorder.seen.iter().flat_map(|seen| seen.elements.iter().copied()).collect();
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

/// B03.005, B03.006, B03.047: in rising order, from the start index on, and the count is of the whole list.
#[test]
fn start_index_and_absolute_count() {
    for mode in MODES {
        let mut machine = machine(mode);
        let outcome = machine.call(rep(0xF010, 5, 10), 0x1000, 0xBAD1);
        assert_eq!(outcome, complete_reps(HvStatus::SUCCESS, 10));
        assert_eq!(machine.registers.result(), 10 << 32);
        assert_eq!(elements(&machine.recorder), [5, 6, 7, 8, 9]);
    }
}

/// B03.007: an error in the middle gives its status and the elements before it, with their outputs.
#[test]
fn partial_completion() {
    for mode in MODES {
        let mut machine = machine(mode);
        machine.recorder.script.push_back(Step::Stop(3, Stop::Failed(HvStatus::INVALID_PARAMETER)));
        let outcome = machine.call(rep(0xF012, 2, 8), 0x1000, 0x3000);
        assert_eq!(outcome, complete_reps(HvStatus::INVALID_PARAMETER, 5));
        assert_eq!(machine.registers.result(), 5 << 32 | 5);
        let mut expected = [0xEE; 128];
        for element in 2..5 {
            let input = machine.memory.bytes(0x1010 + 4 * element, 4).to_vec();
            for byte in 0..16 {
                expected[16 * element as usize + byte] = output_element_byte(&input, byte);
            }
        }
        assert_eq!(machine.memory.bytes(0x3000, 128), expected);
    }
    // The first element fails: what was complete before stays complete.
    let mut machine = machine(CallerMode::Bits64);
    machine.recorder.script.push_back(Step::Stop(0, Stop::Failed(HvStatus::INVALID_PARAMETER)));
    assert_eq!(machine.call(rep(0xF010, 4, 8), 0x1000, 0), complete_reps(HvStatus::INVALID_PARAMETER, 4));
}

/// B03.003: elements that were not processed leave nothing in the output, in registers neither.
#[test]
fn partial_completion_in_registers() {
    let mut machine = Machine::new(CallerMode::Bits64);
    machine.registers.set_control(rep(0xF012, 0, 3).with_fast(true).into_bits());
    let before = machine.registers.clone();
    machine.recorder.script.push_back(Step::Stop(1, Stop::Failed(HvStatus::INVALID_PARAMETER)));
    assert_eq!(machine.execute(), complete_reps(HvStatus::INVALID_PARAMETER, 1));
    // 16 bytes of header and 12 of list: the output starts in XMM1.
    assert_ne!(machine.registers.xmm[1], before.xmm[1]);
    assert_eq!(machine.registers.xmm[2..], before.xmm[2..]);
    assert_eq!(machine.registers.xmm[0], before.xmm[0]);
}

/// B03.009, B03.010, B03.011, B03.054: a long list gives way; only the start index changes; executed again and again
/// it does every element once.
#[test]
fn a_long_list_gives_way() {
    for mode in MODES {
        let mut machine = machine(mode);
        machine.registers.set_control(rep(0xF010, 0, 509).into_bits());
        machine.registers.set_parameters(0x1000, 0xBAD1);
        let before = machine.registers.clone();
        assert_eq!(machine.execute(), Outcome::Continue);
        assert_eq!(machine.registers.control(), rep(0xF010, BUDGET, 509).into_bits());
        let mut expected = before.clone();
        let changed = if mode == CallerMode::Bits64 { Register::Rcx } else { Register::Rdx };
        expected.general[changed as usize] = machine.registers.general[changed as usize];
        assert_eq!(machine.registers, expected, "only the start index changes");
        assert_eq!(machine.execute(), complete_reps(HvStatus::SUCCESS, 509));
        assert_eq!(elements(&machine.recorder), (0..509).collect::<Vec<_>>());
    }
}

/// B03.008, B03.014: a handler gives way where it likes, after what it has done.
#[test]
fn a_handler_gives_way() {
    for mode in MODES {
        let mut machine = machine(mode);
        machine.recorder.script.extend([Step::Stop(2, Stop::Continue), Step::Stop(1, Stop::Continue)]);
        assert_eq!(machine.call(rep(0xF010, 1, 6), 0x1000, 0), Outcome::Continue);
        assert_eq!(machine.registers.control(), rep(0xF010, 3, 6).into_bits());
        assert_eq!(machine.execute(), Outcome::Continue);
        assert_eq!(machine.registers.control(), rep(0xF010, 4, 6).into_bits());
        assert_eq!(machine.execute(), complete_reps(HvStatus::SUCCESS, 6));
    }
}

/// A handler that gives way after the last element has finished the list: a start index behind it would be refused.
#[test]
fn giving_way_after_the_last_element() {
    for stop in [Stop::Continue, Stop::Wait(77)] {
        let mut machine = machine(CallerMode::Bits64);
        machine.recorder.script.push_back(Step::Stop(5, stop));
        assert_eq!(machine.call(rep(0xF010, 0, 5), 0x1000, 0), complete_reps(HvStatus::SUCCESS, 5));
    }
}

/// A call that waits leaves everything as it was, and is executed again as a whole.
#[test]
fn waiting() {
    for mode in MODES {
        for control in [control(0xF003), rep(0xF012, 1, 6), control(0xF001).with_fast(true)] {
            let mut machine = machine(mode);
            machine.recorder.script.push_back(Step::Stop(0, Stop::Wait(77)));
            machine.registers.set_control(control.into_bits());
            machine.registers.set_parameters(0x1000, 0x3000);
            let (registers, pages) = (machine.registers.clone(), machine.memory.pages.clone());
            assert_eq!(machine.execute(), Outcome::Wait(77));
            assert_eq!(machine.registers, registers);
            assert_eq!(machine.memory.pages, pages);
            assert_eq!(machine.execute(), complete_reps(HvStatus::SUCCESS, control.rep_count()));
        }
    }
}

/// What is done is done: a wait in the middle of a list first accounts for the elements before it.
#[test]
fn waiting_in_the_middle() {
    let mut machine = machine(CallerMode::Bits64);
    machine.recorder.script.extend([Step::Stop(2, Stop::Wait(77)), Step::Stop(0, Stop::Wait(77))]);
    assert_eq!(machine.call(rep(0xF010, 0, 5), 0x1000, 0), Outcome::Continue);
    assert_eq!(machine.registers.control(), rep(0xF010, 2, 5).into_bits());
    assert_eq!(machine.execute(), Outcome::Wait(77));
    assert_eq!(machine.registers.control(), rep(0xF010, 2, 5).into_bits());
    assert_eq!(machine.execute(), complete_reps(HvStatus::SUCCESS, 5));

    // The same in the second of several parts: 32 elements were done by the first.
    let mut machine = self::machine(CallerMode::Bits64);
    machine.recorder.script.extend([Step::Succeed, Step::Stop(0, Stop::Wait(77))]);
    assert_eq!(machine.call(rep(0xF010, 0, 100), 0x1000, 0), Outcome::Continue);
    assert_eq!(machine.registers.control(), rep(0xF010, 32, 100).into_bits());
}

/// B03.012: a simple call that has more to do is executed again unchanged.
#[test]
fn a_simple_call_continues() {
    let mut machine = machine(CallerMode::Bits64);
    machine.recorder.script.push_back(Step::Stop(0, Stop::Continue));
    machine.registers.set_control(control(0xF001).into_bits());
    machine.registers.set_parameters(0x1000, 0);
    let before = machine.registers.clone();
    assert_eq!(machine.execute(), Outcome::Continue);
    assert_eq!(machine.registers, before);
    assert_eq!(machine.execute(), complete(HvStatus::SUCCESS));
}

/// B03.041: behind a variable header the list is still found, also from the middle.
#[test]
fn list_behind_a_variable_header() {
    let mut machine = machine(CallerMode::Bits64);
    // Header of 32 bytes and two units: the list starts at 48, where element 3 of the other layout was.
    let outcome = machine.call(rep(0xF015, 1, 3).with_variable_header_size(2), 0x1000, 0);
    assert_eq!(outcome, complete_reps(HvStatus::SUCCESS, 3));
    assert_eq!(machine.recorder.seen[0].words, [1, 2]);
    assert_eq!(elements(&machine.recorder), [4, 5]);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters in memory: pointers, pages and intercepts.

use super::*;
use crate::call::Stop;
use crate::sandbox::Step;
use std::vec;

/// A machine with an input page at 0x1000 and an output page at 0x3000; 0x2000 and 0x4000 are not there.
fn machine() -> Machine {
    let mut machine = Machine::new(CallerMode::Bits64);
    machine.memory.map(0x1000, true);
    machine.memory.map(0x3000, true);
    machine
}

const INVALID_ALIGNMENT: HvStatus = HvStatus::INVALID_ALIGNMENT;

/// B03.001, B03.021: both pointers are 8-byte aligned.
#[test]
fn alignment() {
    for offset in 0..16 {
        let expected = complete(if offset % 8 == 0 { HvStatus::SUCCESS } else { INVALID_ALIGNMENT });
        assert_eq!(machine().call(control(0xF003), 0x1000 + offset, 0x3000), expected, "input {offset}");
        assert_eq!(machine().call(control(0xF003), 0x1000, 0x3000 + offset), expected, "output {offset}");
    }
}

/// B03.022: the pointer of a direction that is not used is never looked at.
#[test]
fn unused_directions() {
    for junk in [0, 0xBAD1, 0x2000, 0x0FFF_FFFF_FFFF_FFF8, u64::MAX] {
        assert_eq!(machine().call(control(0xF000), junk, junk), complete(HvStatus::SUCCESS));
        assert_eq!(machine().call(control(0xF001), 0x1000, junk), complete(HvStatus::SUCCESS));
        assert_eq!(machine().call(control(0xF002), junk, 0x3000), complete(HvStatus::SUCCESS));
        assert_eq!(machine().call(rep(0xF010, 0, 3), 0x1000, junk), complete_reps(HvStatus::SUCCESS, 3));
    }
}

/// B03.023: neither area crosses a page. The whole list counts, also what was done before.
#[test]
fn page_crossing() {
    let status = |control, first, second| match machine().call(control, first, second) {
        Outcome::Complete(result) => result.status(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(control(0xF003), 0x1FF0, 0x3FF0), HvStatus::SUCCESS);
    assert_eq!(status(control(0xF003), 0x1FF8, 0x3FF0), INVALID_ALIGNMENT);
    assert_eq!(status(control(0xF003), 0x1FF0, 0x3FF8), INVALID_ALIGNMENT);
    // 4 bytes of input at the very end.
    assert_eq!(status(control(0xF005), 0x1FF8, 0x3FF8), HvStatus::SUCCESS);
    // A page of output.
    assert_eq!(status(control(0xF008), 0x1000, 0x3000), HvStatus::SUCCESS);
    assert_eq!(status(control(0xF008), 0x1000, 0x3008), INVALID_ALIGNMENT);
    // 24 bytes of header and 509 elements fill a page.
    let nearly = rep(0xF010, 508, 509);
    assert_eq!(status(nearly, 0x1000, 0), HvStatus::SUCCESS);
    assert_eq!(status(nearly, 0x1008, 0), INVALID_ALIGNMENT);
    assert_eq!(status(rep(0xF010, 509, 510), 0x1000, 0), INVALID_ALIGNMENT);
    assert_eq!(status(rep(0xF010, 0, 4095), 0x1000, 0), INVALID_ALIGNMENT);
    // 256 output elements of 16 bytes fill a page.
    assert_eq!(status(rep(0xF012, 255, 256), 0x1000, 0x3000), HvStatus::SUCCESS);
    assert_eq!(status(rep(0xF012, 256, 257), 0x1000, 0x3000), INVALID_ALIGNMENT);
    // A variable header counts too: 32 + 8 * 64 + 8 * 444 = 4096.
    let variable = |count| rep(0xF015, count - 1, count).with_variable_header_size(64);
    assert_eq!(status(variable(444), 0x1000, 0), HvStatus::SUCCESS);
    assert_eq!(status(variable(445), 0x1000, 0), INVALID_ALIGNMENT);
}

/// B03.025: outside the guest-physical address space, not just unmapped.
#[test]
fn outside_the_address_space() {
    for width in [32u8, 40, 52] {
        let mut inside = machine();
        inside.offered.physical_address_width = width;
        let last = (1u64 << width) - 16;
        let intercept = |gpa, write| Outcome::Intercept(TestIntercept { gpa, write });
        assert_eq!(inside.call(control(0xF003), last, 0x3000), intercept(last, false));
        assert_eq!(inside.call(control(0xF003), 0x1000, last), intercept(last, true));
        assert_eq!(inside.call(control(0xF003), 1 << width, 0x3000), complete(INVALID_ALIGNMENT));
        assert_eq!(inside.call(control(0xF003), 0x1000, 1 << width), complete(INVALID_ALIGNMENT));
        assert_eq!(inside.call(control(0xF003), 1 << 63, 0x3000), complete(INVALID_ALIGNMENT));
    }
}

/// B03.027: an input page that is not there is an intercept; the same call succeeds once it is.
#[test]
fn input_intercept() {
    let mut machine = machine();
    machine.memory.pages.remove(&1);
    machine.registers.set_control(control(0xF003).into_bits());
    machine.registers.set_parameters(0x1000, 0x3000);
    let before = machine.registers.clone();
    assert_eq!(machine.execute(), Outcome::Intercept(TestIntercept { gpa: 0x1000, write: false }));
    assert_eq!(machine.registers, before);
    assert!(machine.recorder.seen.is_empty());
    machine.memory.map(0x1000, false);
    assert_eq!(machine.execute(), complete(HvStatus::SUCCESS));
}

/// B03.028, B03.029: an output page that cannot be written is an intercept before the call acts, and is held while it
/// does.
#[test]
fn output_intercept_comes_before_the_action() {
    for control in [control(0xF003), rep(0xF012, 1, 3)] {
        let mut machine = machine();
        machine.memory.map(0x3000, false);
        machine.registers.set_control(control.into_bits());
        machine.registers.set_parameters(0x1000, 0x3000);
        let before = machine.registers.clone();
        assert_eq!(machine.execute(), Outcome::Intercept(TestIntercept { gpa: 0x3000, write: true }));
        assert_eq!(machine.registers, before);
        assert!(machine.recorder.seen.is_empty());
    }
    let mut machine = machine();
    assert_eq!(machine.call(rep(0xF012, 2, 3), 0x1000, 0x3000), complete_reps(HvStatus::SUCCESS, 3));
    assert_eq!(machine.memory.locked, 0x3000..0x3030);
}

/// B03.060: a call that fails writes no output here.
#[test]
fn failed_calls_leave_outputs_alone() {
    let mut machine = machine();
    machine.recorder.script.push_back(Step::Stop(0, Stop::Failed(HvStatus::INVALID_PARAMETER)));
    assert_eq!(machine.call(control(0xF003), 0x1000, 0x3000), complete(HvStatus::INVALID_PARAMETER));
    assert_eq!(machine.memory.bytes(0x3000, 16), [0xEE; 16]);
}

/// B03.024, B03.026: areas that overlap are safe; the input was taken before the output is written.
#[test]
fn overlapping_areas() {
    let mut machine = machine();
    assert_eq!(machine.call(control(0xF003), 0x1000, 0x1008), complete(HvStatus::SUCCESS));
    assert_eq!(machine.recorder.seen[0].input, vec![0xEE; 16]);
    assert_eq!(machine.memory.bytes(0x1000, 8), [0xEE; 8]);
    assert_eq!(machine.memory.bytes(0x1018, 8), [0xEE; 8]);
}

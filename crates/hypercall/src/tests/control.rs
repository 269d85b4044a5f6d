// SPDX-License-Identifier: MIT OR Apache-2.0
//! Legality of the call, the control word, privileges, and which of several errors wins.

use super::*;
use tlfs::privilege::Privilege;
use x86::control::{Cr0, Efer};
use x86::segment::SegmentAttributes;

const MODES: [CallerMode; 2] = [CallerMode::Bits64, CallerMode::Bits32];

/// B03.018, B03.019: #UD above CPL 0 and in real mode. B03.037: 64-bit only with both EFER.LMA and CS.L.
#[test]
fn caller_modes() {
    let protected = Cr0::new().with_pe(true);
    let long = Efer::new().with_lma(true);
    let code64 = SegmentAttributes::new().with_long(true);
    let code32 = SegmentAttributes::new().with_default_32(true);
    assert_eq!(CallerMode::of(protected, long, code64, 0), CallerMode::Bits64);
    assert_eq!(CallerMode::of(protected, long, code32, 0), CallerMode::Bits32);
    assert_eq!(CallerMode::of(protected, Efer::new(), code32, 0), CallerMode::Bits32);
    assert_eq!(CallerMode::of(protected, Efer::new(), code64, 0), CallerMode::Bits32);
    for cpl in 1..=3 {
        assert_eq!(CallerMode::of(protected, long, code64, cpl), CallerMode::Illegal);
    }
    assert_eq!(CallerMode::of(Cr0::new(), Efer::new(), code32, 0), CallerMode::Illegal);

    let mut machine = Machine::new(CallerMode::Illegal);
    let before = machine.registers.clone();
    assert_eq!(machine.execute(), Outcome::InvalidOpcode);
    assert_eq!(machine.registers, before);
}

/// B03.062: unknown codes, whatever else is wrong.
#[test]
fn unknown_codes() {
    for mode in MODES {
        for code in [0x0000, 0x0016, 0x7FFF, 0x8000, 0xFFFF] {
            let mut machine = Machine::new(mode);
            machine.offered.privileges = PrivilegeMask::NONE;
            let outcome = machine.call(control(code), 0xBAD1, 0xBAD2);
            assert_eq!(outcome, complete(HvStatus::INVALID_HYPERCALL_CODE), "{code:#x}");
            assert_eq!(machine.registers.result(), 2);
        }
    }
}

/// B03.030: each reserved bit alone. B03.033: so is the nested bit, as nobody here is below a hypervisor of its own.
#[test]
fn reserved_bits() {
    for mode in MODES {
        for bit in [27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63] {
            for legal in [control(0xF000), control(0xF000).with_fast(true), rep(0xF010, 0, 1)] {
                let mut machine = Machine::new(mode);
                let illegal = InputValue::from_bits(legal.into_bits() | 1 << bit);
                let outcome = machine.call(illegal, 0, 0);
                assert_eq!(outcome, complete(HvStatus::INVALID_HYPERCALL_INPUT), "bit {bit}");
                assert!(machine.recorder.seen.is_empty());
            }
        }
    }
}

/// B03.031, B03.032: count and start index.
#[test]
fn rep_fields() {
    let cases = [
        (rep(0xF000, 0, 1), HvStatus::INVALID_HYPERCALL_INPUT),
        (rep(0xF000, 1, 0), HvStatus::INVALID_HYPERCALL_INPUT),
        (rep(0xF000, 0, 0), HvStatus::SUCCESS),
        (rep(0xF011, 0, 0), HvStatus::INVALID_HYPERCALL_INPUT),
        (rep(0xF011, 1, 0), HvStatus::INVALID_HYPERCALL_INPUT),
        (rep(0xF011, 2, 2), HvStatus::INVALID_HYPERCALL_INPUT),
        (rep(0xF011, 0xFFF, 2), HvStatus::INVALID_HYPERCALL_INPUT),
    ];
    for (control, status) in cases {
        for fast in [false, true] {
            let outcome = Machine::new(CallerMode::Bits64).call(control.with_fast(fast), 0, 0);
            assert_eq!(outcome, complete(status), "{control:?}");
        }
    }
}

/// B03.039: a variable header where none belongs. B03.040: none where one may be. And one that is too long.
#[test]
fn variable_header_size() {
    let call = |code, words| {
        let mut machine = Machine::new(CallerMode::Bits64);
        machine.memory.map(0x1000, false);
        let rep_count = u16::from(shape(code).element.is_some());
        let control = control(code).with_variable_header_size(words).with_rep_count(rep_count);
        machine.call(control, 0x1000, 0)
    };
    for shape in SHAPES.iter().filter(|shape| shape.output == 0) {
        let reps = u16::from(shape.element.is_some());
        let code = shape.code.into_bits();
        assert_eq!(call(code, 0), complete_reps(HvStatus::SUCCESS, reps), "{shape:?}");
        let longest = shape.words.unwrap_or(0) as u16;
        if longest > 0 {
            assert_eq!(call(code, longest), complete_reps(HvStatus::SUCCESS, reps), "{shape:?}");
        }
        for words in [longest + 1, 0x3FF] {
            assert_eq!(call(code, words), complete(HvStatus::INVALID_HYPERCALL_INPUT), "{shape:?}");
        }
    }
}

/// B03.061: without one of its privileges a call is ACCESS_DENIED, whatever else is wrong, and tells nothing more.
#[test]
fn privileges_come_first() {
    for shape in SHAPES {
        let reps = u16::from(shape.element.is_some());
        for &privilege in Privilege::ALL {
            let mask = PrivilegeMask::of(&[privilege]);
            if !shape.privileges.holds(mask) {
                continue;
            }
            for wrong in [0, 1 << 27, 1 << 31, 1 << 60, 0x3FF << 17, 5 << 48] {
                for fast in [false, true] {
                    let mut machine = Machine::new(CallerMode::Bits64);
                    machine.offered.privileges = PrivilegeMask::from_bits(!mask.into_bits());
                    machine.offered.xmm_fast_input = false;
                    let word = rep(shape.code.into_bits(), 0, reps).with_fast(fast).into_bits() | wrong;
                    let outcome = machine.call(InputValue::from_bits(word), 0xBAD1, 0xBAD2);
                    assert_eq!(outcome, complete(HvStatus::ACCESS_DENIED), "{shape:?} without {privilege:?}");
                    assert!(machine.recorder.seen.is_empty());
                }
            }
        }
        // Exactly the privileges that are needed are enough to get further.
        let mut machine = Machine::new(CallerMode::Bits64);
        machine.offered.privileges = shape.privileges;
        let outcome = machine.call(rep(shape.code.into_bits(), 0, reps), 0, 0);
        assert_ne!(outcome, complete(HvStatus::ACCESS_DENIED), "{shape:?}");
    }
}

/// B03.046, B03.048, B03.049, B03.053: status in the low bits, no reps for a simple call, EDX:EAX for 32-bit callers.
#[test]
fn result_of_a_failed_simple_call() {
    use crate::call::Stop;
    use crate::sandbox::Step;
    for mode in MODES {
        let mut machine = Machine::new(mode);
        machine.recorder.script.push_back(Step::Stop(0, Stop::Failed(HvStatus::INVALID_CONNECTION_ID)));
        let outcome = machine.call(control(0xF001).with_fast(true), 7, 0);
        assert_eq!(outcome, complete(HvStatus::INVALID_CONNECTION_ID));
        assert_eq!(machine.registers.result(), 0x12);
    }
}

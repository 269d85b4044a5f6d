// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host as a machine does what the architecture says.

use engine_soft::SoftEngine;
use engine_soft::model::{Model, ModelName};

use super::Native;
use crate::emulated::Emulated;
use crate::layout::{CODE, DATA, PAGE};
use crate::state::{End, Machine, Mode, Outcome, State, VectorArea};

fn state() -> State {
    let mut gprs = [0; 16];
    for (index, gpr) in gprs.iter_mut().enumerate() {
        *gpr = 0x1111_1111_1111_1111u64.wrapping_mul(index as u64);
    }
    State { gprs, rip: CODE, rflags: 0x202, fs_base: 0, gs_base: 0, selectors: [0; 6], vector: None }
}

fn run(code: &[u8], mode: Mode, state: &State) -> Outcome {
    let engine = SoftEngine::new(Model::named(ModelName::Host).unwrap());
    let mut native = Native::new(&Emulated::new(&engine).unwrap()).unwrap();
    native.write_code(state.rip, code);
    native.run(mode, state)
}

const END: End = End::Exception { vector: 13, error_code: 0, address: 0 };

#[test]
fn registers_go_in_and_come_out() {
    let before = State { fs_base: 0x1234_5678, gs_base: 0xFFFF_8000_0000_0000, rflags: 0xED7, ..state() };
    // add rax, rbp
    let outcome = run(&[0x48, 0x01, 0xE8], Mode::User64, &before);
    assert_eq!(outcome.end, END);
    assert_eq!(outcome.state.rip, CODE + 3);
    let mut gprs = before.gprs;
    gprs[0] = before.gprs[5];
    assert_eq!(outcome.state.gprs, gprs);
    // Parity of 55; no carry; RF, because HLT raises a fault.
    assert_eq!(outcome.state.rflags, 0x1_0606);
    assert_eq!((outcome.state.fs_base, outcome.state.gs_base), (0x1234_5678, 0xFFFF_8000_0000_0000));
}

#[test]
fn faults_tell_vector_error_code_and_address() {
    let mut before = state();
    before.gprs[0] = DATA;
    // mov [rax], ecx to a page that is not mapped
    let outcome = run(&[0x89, 0x08], Mode::User64, &before);
    assert_eq!(outcome.end, End::Exception { vector: 14, error_code: 6, address: DATA });
    assert_eq!(outcome.state.rip, CODE);
    before.gprs[0] = DATA + 4 * PAGE - 2;
    let outcome = run(&[0x8B, 0x08], Mode::User64, &before);
    assert_eq!(outcome.end, END);
    before.gprs[0] = DATA + 3 * PAGE - 2;
    let outcome = run(&[0x89, 0x08], Mode::User64, &before);
    assert_eq!(outcome.end, End::Exception { vector: 14, error_code: 7, address: DATA + 3 * PAGE });
    before.gprs[0] = 0x8000_0000_0000;
    let outcome = run(&[0x89, 0x08], Mode::User64, &before);
    assert_eq!(outcome.end, END);
    assert_eq!(outcome.state.rip, CODE);
    // div by zero, int3, ud2
    before.gprs[1] = 0;
    for (code, vector, length) in [(&[0xF7, 0xF1][..], 0, 0), (&[0xCC], 3, 1), (&[0x0F, 0x0B], 6, 0)] {
        let outcome = run(code, Mode::User64, &before);
        assert_eq!(outcome.end, End::Exception { vector, error_code: 0, address: 0 });
        assert_eq!(outcome.state.rip, CODE + length);
    }
    // jmp to a data page
    before.gprs[0] = DATA + PAGE;
    let outcome = run(&[0xFF, 0xE0], Mode::User64, &before);
    assert_eq!(outcome.end, End::Exception { vector: 14, error_code: 0x15, address: DATA + PAGE });
    assert_eq!(outcome.state.rip, DATA + PAGE);
}

#[test]
fn compatibility_mode() {
    let mut before = state();
    before.gprs[0] = 0x95;
    before.rflags = 0x213;
    // daa; inc edx (which is a REX prefix in 64-bit mode)
    let outcome = run(&[0x27, 0x42], Mode::User32, &before);
    assert_eq!(outcome.end, END);
    assert_eq!(outcome.state.rip, CODE + 2);
    assert_eq!(outcome.state.gprs[0] as u32, 0xFB);
    assert_eq!(outcome.state.gprs[2] as u32, 0x2222_2223);
}

#[test]
fn vector_state_goes_in_and_comes_out() {
    let mut before = State { vector: Some(Box::new(VectorArea::initial())), ..state() };
    let area = &mut before.vector.as_mut().unwrap().0;
    area[160..176].copy_from_slice(&7u128.to_le_bytes());
    area[176..192].copy_from_slice(&5u128.to_le_bytes());
    // paddq xmm0, xmm1
    let outcome = run(&[0x66, 0x0F, 0xD4, 0xC1], Mode::User64, &before);
    assert_eq!(outcome.end, END);
    let after = outcome.state.vector.unwrap();
    assert_eq!(after.0[160..176], 12u128.to_le_bytes());
    assert_eq!(after.0[176..192], 5u128.to_le_bytes());
}

#[test]
fn a_run_without_end_is_ended() {
    // jmp to itself
    assert_eq!(run(&[0xEB, 0xFE], Mode::User64, &state()).end, End::TimedOut);
}

#[test]
fn single_steps() {
    let before = State { rflags: 0x302, ..state() };
    // nop
    let outcome = run(&[0x90, 0x90], Mode::User64, &before);
    assert_eq!(outcome.end, End::Exception { vector: 1, error_code: 0, address: 0 });
    assert_eq!(outcome.state.rip, CODE + 1);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters in registers, spelled out for single calls (the matrix has them all).

use super::*;
use crate::caller::Register;
use crate::sandbox::output_byte;

fn output(range: std::ops::Range<usize>) -> u128 {
    range.rev().fold(0, |value, index| value << 8 | u128::from(output_byte(index)))
}

/// B03.051: 20 bytes of input leave XMM1 to XMM5 for 80 bytes of output.
#[test]
fn twenty_bytes_in_eighty_out() {
    let mut machine = Machine::new(CallerMode::Bits64);
    machine.registers.xmm[0] = 0x5555_6666;
    let before = machine.registers.clone();
    assert_eq!(
        machine.call(control(0xF004).with_fast(true), 0x2222_1111, 0x4444_3333),
        complete(HvStatus::SUCCESS)
    );
    let mut input = [0; 20];
    for (chunk, word) in input.chunks_mut(4).zip([0x2222_1111u32, 0, 0x4444_3333, 0, 0x5555_6666]) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    assert_eq!(machine.recorder.seen[0].input, input);
    assert_eq!(machine.registers.xmm[0], before.xmm[0]);
    for index in 0..5 {
        assert_eq!(machine.registers.xmm[index + 1], output(16 * index..16 * index + 16));
    }
}

/// B03.052: without input the output starts in RDX; R8 is not touched by 8 bytes.
#[test]
fn output_from_rdx_on() {
    let mut machine = Machine::new(CallerMode::Bits64);
    assert_eq!(machine.call(control(0xF002).with_fast(true), 1, 2), complete(HvStatus::SUCCESS));
    assert_eq!(u128::from(machine.registers.general[Register::Rdx as usize]), output(0..8));
    assert_eq!(machine.registers.general[Register::R8 as usize], 2);
}

/// B03.036: EBX:ECX and EDI:ESI are two words, high halves first, whatever lies above 32 bits.
#[test]
fn thirty_two_bit_halves() {
    let mut machine = Machine::new(CallerMode::Bits32);
    let values = [(Register::Rdx, 0), (Register::Rax, 0x1_F001)];
    for (register, value) in values {
        machine.registers.general[register as usize] = 0x7777_0000_0000_0000 | value;
    }
    machine.registers.general[Register::Rbx as usize] = 0x8888_8888_1234_5678;
    machine.registers.general[Register::Rcx as usize] = 0x9999_9999_9ABC_DEF0;
    assert_eq!(machine.execute(), complete(HvStatus::SUCCESS));
    assert_eq!(machine.recorder.seen[0].input, 0x1234_5678_9ABC_DEF0u64.to_le_bytes());
}

/// B03.042, B03.043: 17 bytes of input need their CPUID bit, 16 do not; output needs its own.
#[test]
fn offered_forms() {
    let call = |code, xmm_fast_input, xmm_fast_output| {
        let mut machine = Machine::new(CallerMode::Bits64);
        machine.offered = Offered { xmm_fast_input, xmm_fast_output, ..ALL };
        let reps = u16::from(shape(code).element.is_some());
        machine.call(rep(code, 0, reps).with_fast(true), 0, 0)
    };
    assert_eq!(call(0xF001, false, false), complete(HvStatus::SUCCESS));
    assert_eq!(call(0xF006, false, true), Outcome::InvalidOpcode);
    assert_eq!(call(0xF006, true, false), complete(HvStatus::SUCCESS));
    assert_eq!(call(0xF003, true, false), Outcome::InvalidOpcode);
    assert_eq!(call(0xF003, false, true), complete(HvStatus::SUCCESS));
    assert_eq!(call(0xF010, false, false), Outcome::InvalidOpcode);
    // B03.045: no form is large enough.
    assert_eq!(call(0xF007, true, true), complete(HvStatus::INVALID_HYPERCALL_INPUT));
    assert_eq!(call(0xF007, false, false), complete(HvStatus::INVALID_HYPERCALL_INPUT));
}

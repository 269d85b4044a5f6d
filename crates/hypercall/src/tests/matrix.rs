// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every shape of call, in memory and in registers, from 32- and 64-bit callers, with every kind of start index and
//! variable header. The expectation is laid out here byte by byte from the specification's text.

use super::*;
use crate::caller::Register;
use crate::sandbox::{output_byte, output_element_byte};
use std::ops::Range;
use std::vec::Vec;

const INPUT_PAGE: u64 = 0x10_0000;
const OUTPUT_PAGE: u64 = 0x20_0000;

struct Case {
    shape: &'static Shape,
    mode: CallerMode,
    words: usize,
    start: usize,
    count: usize,
}

impl Case {
    fn control(&self) -> InputValue {
        InputValue::new()
            .with_call_code(self.shape.code)
            .with_variable_header_size(self.words as u16)
            .with_rep_count(self.count as u16)
            .with_rep_start_index(self.start as u16)
    }

    fn list_start(&self) -> usize {
        self.shape.input + 8 * self.words
    }

    fn input_length(&self) -> usize {
        self.list_start() + self.count * self.shape.element.unwrap_or(0)
    }

    fn output_length(&self) -> usize {
        if self.shape.element.is_some() { self.count * self.shape.output } else { self.shape.output }
    }

    fn input(&self) -> Vec<u8> {
        (0..self.input_length()).map(|index| (index * 7 + index / 251 + 3) as u8).collect()
    }

    /// The output area after the call, from the position that was written first.
    fn output(&self) -> (usize, Vec<u8>) {
        let Some(element) = self.shape.element else {
            return (0, (0..self.shape.output).map(output_byte).collect());
        };
        let input = self.input();
        let elements = input[self.list_start()..].chunks_exact(element).skip(self.start);
        let outputs = elements
            .flat_map(|element| (0..self.shape.output).map(|index| output_element_byte(element, index)));
        (self.start * self.shape.output, outputs.collect())
    }

    fn check_seen(&self, recorder: &Recorder) {
        let input = self.input();
        let mut elements = Vec::new();
        assert!(!recorder.seen.is_empty(), "{self:?}: nobody was called");
        for seen in &recorder.seen {
            assert_eq!(seen.code, self.shape.code, "{self:?}");
            assert_eq!(seen.input, &input[..self.shape.input], "{self:?}");
            let words: Vec<u8> = seen.words.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(words, &input[self.shape.input..self.list_start()], "{self:?}");
            elements.extend_from_slice(&seen.elements);
        }
        let expected = &input[self.list_start() + self.start * self.shape.element.unwrap_or(0)..];
        assert_eq!(elements, expected, "{self:?}: elements");
    }

    fn expected_result(&self) -> TestOutcome {
        complete_reps(HvStatus::SUCCESS, self.count as u16)
    }

    /// Only the registers of the result may differ from `before`.
    fn check_registers(&self, before: &TestRegisters, machine: &Machine) {
        let mut expected = before.clone();
        let after = &machine.registers;
        expected.general[Register::Rax as usize] = after.general[Register::Rax as usize];
        if self.mode == CallerMode::Bits32 {
            expected.general[Register::Rdx as usize] = after.general[Register::Rdx as usize];
        }
        assert_eq!(*after, expected, "{self:?}: registers that no call changes");
        let result = ResultValue::new().with_reps_complete(self.count as u16);
        assert_eq!(after.result(), result.into_bits(), "{self:?}: result");
    }

    /// Control, input and output in the registers of each mode, parameters in memory.
    fn by_memory(&self) {
        let mut machine = Machine::new(self.mode);
        machine.memory.map(INPUT_PAGE, false);
        machine.memory.map(OUTPUT_PAGE, true);
        // The areas end with their pages, and the pages behind them are not there.
        let at_end = |page: u64, length: usize| page + 4096 - length.next_multiple_of(8) as u64;
        let first = at_end(INPUT_PAGE, self.input_length());
        let second = at_end(OUTPUT_PAGE, self.output_length());
        let (first, second) = (
            if self.input_length() == 0 { 0xBAD3 } else { first },
            if self.output_length() == 0 { 0xBAD7 } else { second },
        );
        if self.input_length() != 0 {
            machine.memory.bytes(first, self.input_length()).copy_from_slice(&self.input());
        }
        machine.memory.may_read = Some(first..first + self.input_length() as u64);
        let mut expected_pages = machine.memory.pages.clone();
        machine.registers.set_control(self.control().into_bits());
        machine.registers.set_parameters(first, second);
        let before = machine.registers.clone();

        assert_eq!(machine.execute(), self.expected_result(), "{self:?}");
        self.check_seen(&machine.recorder);
        self.check_registers(&before, &machine);
        let (offset, output) = self.output();
        if !output.is_empty() {
            let from = (second & 0xFFF) as usize + offset;
            let page = expected_pages.get_mut(&(OUTPUT_PAGE >> 12)).unwrap();
            page.bytes[from..from + output.len()].copy_from_slice(&output);
        }
        assert_eq!(machine.memory.pages, expected_pages, "{self:?}: memory");
    }

    /// Parameters in registers.
    fn by_registers(&self, offered: Offered) {
        let mut machine = Machine::new(self.mode);
        machine.offered = offered;
        machine.registers.set_control(self.control().with_fast(true).into_bits());
        let input = self.input();
        let output_start = input.len().div_ceil(16) * 16;
        let fits = output_start + self.output_length() <= 112;
        if fits {
            machine.registers.set_block(&input);
        }
        let before = machine.registers.clone();
        let outcome = machine.execute();

        if !fits {
            // Longer than all registers.
            assert_eq!(outcome, complete(HvStatus::INVALID_HYPERCALL_INPUT), "{self:?}");
            assert!(machine.recorder.seen.is_empty());
            return;
        }
        let has_output = self.output_length() > 0;
        if (input.len() > 16 && !offered.xmm_fast_input)
            || (has_output && (self.mode == CallerMode::Bits32 || !offered.xmm_fast_output))
        {
            // XMM registers need their CPUID bits.
            assert_eq!(outcome, Outcome::InvalidOpcode, "{self:?}");
            assert_eq!(machine.registers, before);
            assert!(machine.recorder.seen.is_empty());
            return;
        }
        assert_eq!(outcome, self.expected_result(), "{self:?}");
        self.check_seen(&machine.recorder);
        let mut expected = before.clone();
        let (offset, output) = self.output();
        if !output.is_empty() {
            let mut block = before.block();
            let range: Range<usize> = output_start + offset..output_start + offset + output.len();
            block[range].copy_from_slice(&output);
            expected.set_block(&block);
        }
        // What is not output stays.
        self.check_registers(&expected, &machine);
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shape, mode, words, start, count } = self;
        write!(formatter, "{:?} {mode:?} words {words} elements {start}..{count}", shape.code)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES {
        for mode in [CallerMode::Bits64, CallerMode::Bits32] {
            for words in [Some(0), Some(1), Some(3), shape.words].into_iter().flatten() {
                if words > shape.words.unwrap_or(0) {
                    continue;
                }
                let Some(element) = shape.element else {
                    cases.push(Case { shape, mode, words, start: 0, count: 0 });
                    continue;
                };
                // As many as a page takes, or as one execution handles.
                let room = (4096 - shape.input - 8 * words) / element;
                let longest = room.min(4096 / shape.output.max(1)).min(256);
                for count in [1, 2, 5, 12, 31, 32, 33, 70, longest] {
                    for start in [0, 1, count / 2, count - 1] {
                        if count <= longest && start < count {
                            cases.push(Case { shape, mode, words, start, count });
                        }
                    }
                }
            }
        }
    }
    cases
}

/// B03.004, B03.034, B03.035: the same effect by each convention; control, input and output in the registers of each mode.
#[test]
fn every_shape_by_memory() {
    let cases = cases();
    assert!(cases.len() > 500);
    cases.iter().for_each(Case::by_memory);
}

/// B03.036, B03.042, B03.043, B03.044, B03.045, B03.050, B03.051, B03.052, B03.055: input in registers, in order; each form only with
/// its CPUID bit; output behind the input; what is not output stays.
#[test]
fn every_shape_by_registers() {
    for (xmm_fast_input, xmm_fast_output) in [(true, true), (true, false), (false, true), (false, false)] {
        for case in cases() {
            case.by_registers(Offered { xmm_fast_input, xmm_fast_output, ..ALL });
        }
    }
}

/// The matrix is worth its name only if the calls it makes are of all kinds.
#[test]
fn the_shapes_cover_the_conventions() {
    let any = |test: fn(&Shape) -> bool| SHAPES.iter().any(test);
    for (rep, variable, input, output) in
        (0..16).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0))
    {
        let found = SHAPES.iter().any(|shape| {
            shape.element.is_some() == rep
                && shape.words.is_some() == variable
                && (shape.input > 0) == input
                && (shape.output > 0) == output
        });
        assert!(found, "rep {rep} variable {variable} input {input} output {output}");
    }
    assert!(any(|shape| shape.input > 112));
    assert!(any(|shape| shape.input % 8 != 0));
    assert!(any(|shape| shape.privileges != PrivilegeMask::NONE));
}

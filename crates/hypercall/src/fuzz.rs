// SPDX-License-Identifier: MIT OR Apache-2.0
//! The body of the fuzz target: any bytes become a caller, its memory and a call; the call must keep the rules that
//! hold for every call, and be refused exactly when the specification says so.

use crate::call::Stop;
use crate::caller::{CallerMode, Offered, Register};
use crate::dispatch::Outcome;
use crate::processor_set::ProcessorSet;
use crate::role::dispatch;
use crate::sandbox::{Recorder, SHAPES, Shape, Step, TestIntercept, TestMemory, TestRegisters, TestRole};
use std::vec::Vec;
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::privilege::PrivilegeMask;
use tlfs::vp::{SetFormat, VpSet};

/// Pages of the caller: readable and writable, readable, and (not mapped) everything else.
const WRITABLE: u64 = 0x1000;
const READABLE: u64 = 0x3000;
const MISSING: u64 = 0x5000;

/// Takes values off the input; zeros follow its end.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn u8(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }

    /// A pointer: mostly into one of the pages, now and then anything.
    fn pointer(&mut self) -> u64 {
        let selector = self.u8();
        let page = match selector & 7 {
            0..=2 => WRITABLE,
            3 | 4 => READABLE,
            5 => MISSING,
            _ => return self.u64(),
        };
        let offset = u64::from(self.u16() & 0xFFF);
        page + if selector & 0x80 == 0 { offset & !7 } else { offset }
    }

    fn step(&mut self) -> Step {
        let kind = self.u8();
        let processed = usize::from(self.u8());
        match kind & 7 {
            0..=4 => Step::Succeed,
            5 => Step::Stop(processed, Stop::Failed(HvStatus::INVALID_PARAMETER)),
            6 => Step::Stop(processed, Stop::Continue),
            _ => Step::Stop(processed, Stop::Wait(u32::from(kind))),
        }
    }
}

/// Makes one call of `data`. Panics if a rule is broken.
pub fn parse(data: &[u8]) {
    let mut source = Source(data);
    processor_set(data);

    let flags = source.u8();
    let mode = match flags & 7 {
        0..=3 => CallerMode::Bits64,
        4..=6 => CallerMode::Bits32,
        _ => CallerMode::Illegal,
    };
    let offered = Offered {
        privileges: PrivilegeMask::from_bits(if flags & 0x80 == 0 { u64::MAX } else { source.u64() }),
        xmm_fast_input: flags & 0x08 == 0,
        xmm_fast_output: flags & 0x10 == 0,
        physical_address_width: 40,
    };
    let selector = usize::from(source.u8());
    let code =
        SHAPES.get(selector % (SHAPES.len() + 1)).map_or_else(|| CallCode(source.u16()), |shape| shape.code);
    let (words, count, start) = (source.u16(), source.u16(), source.u16());
    let control = InputValue::new()
        .with_call_code(code)
        .with_fast(flags & 0x20 != 0)
        .with_variable_header_size(words & 0x3FF)
        .with_rep_count(count & 0xFFF)
        .with_rep_start_index(start & 0xFFF);
    let noise = if flags & 0x40 == 0 { 0 } else { source.u64() };
    let control = InputValue::from_bits(control.into_bits() ^ noise);

    let mut call = Call {
        registers: TestRegisters::new(mode),
        memory: TestMemory::default(),
        recorder: Recorder::default(),
        offered,
        shape: SHAPES.iter().find(|shape| shape.code == control.call_code()),
    };
    let (first, second) = (source.pointer(), source.pointer());
    call.registers.set_control(control.into_bits());
    call.registers.set_parameters(first, second);
    call.recorder.script.extend([source.step(), source.step(), source.step()]);
    call.memory.map(WRITABLE, true);
    call.memory.map(READABLE, false);
    for page in [WRITABLE, READABLE] {
        let length = source.0.len().min(4096);
        call.memory.bytes(page, length).copy_from_slice(&source.0[..length]);
    }
    // The script is three steps long, so a call that is not refused for ever ends in a few executions.
    for _ in 0..24 {
        if call.execute(first, second) {
            return;
        }
    }
    panic!("a call without end: {control:?}");
}

struct Call {
    registers: TestRegisters,
    memory: TestMemory,
    recorder: Recorder,
    offered: Offered,
    shape: Option<&'static Shape>,
}

impl Call {
    /// Executes once and checks what became of it. True when there is nothing to execute again.
    fn execute(&mut self, first: u64, second: u64) -> bool {
        let registers = self.registers.clone();
        let pages = self.memory.pages.clone();
        let seen = self.recorder.seen.len();
        let control = InputValue::from_bits(registers.control());
        let refusal = self.refusal(control, first, second);
        let input_length = self.shape.map_or(0, |shape| input_length(shape, control)) as u64;
        self.memory.may_read = Some(first..first.saturating_add(input_length));

        let outcome = dispatch::<TestRole, _, _, _>(
            &mut self.recorder,
            &self.offered,
            &mut self.registers,
            &mut self.memory,
        );

        let calls = self.recorder.seen.len() - seen;
        let same_memory = self.memory.pages == pages;
        match refusal {
            Some(Refused::Status(status)) => {
                let Outcome::Complete(result) = outcome else { panic!("{outcome:?} instead of {status:?}") };
                assert_eq!((result.status(), result.reps_complete()), (status, 0));
            }
            Some(Refused::InvalidOpcode) => assert_eq!(outcome, Outcome::InvalidOpcode),
            Some(Refused::Intercept(intercept)) => assert_eq!(outcome, Outcome::Intercept(intercept)),
            None => assert!(calls > 0, "{outcome:?} for a good call {control:?}"),
        }
        assert!(refusal.is_none() || (calls == 0 && same_memory));

        let mut expected = registers;
        match outcome {
            Outcome::Complete(result) => {
                assert_eq!(self.registers.result(), result.into_bits());
                assert!(result.reps_complete() <= control.rep_count());
                if result.status().is_success() {
                    assert_eq!(result.reps_complete(), control.rep_count());
                }
                let result_registers: &[Register] = match self.registers.mode {
                    CallerMode::Bits32 => &[Register::Rax, Register::Rdx],
                    _ => &[Register::Rax],
                };
                for register in result_registers {
                    expected.general[*register as usize] = self.registers.general[*register as usize];
                }
            }
            Outcome::Continue => {
                let next = InputValue::from_bits(self.registers.control()).rep_start_index();
                if self.shape.is_some_and(|shape| shape.element.is_some()) {
                    assert!(next >= control.rep_start_index() && next < control.rep_count());
                }
                let continued = control.with_rep_start_index(next).into_bits();
                assert_eq!(self.registers.control(), continued, "only the index changes");
                let register =
                    if self.registers.mode == CallerMode::Bits32 { Register::Rdx } else { Register::Rcx };
                expected.general[register as usize] = self.registers.general[register as usize];
            }
            Outcome::Wait(_) | Outcome::Intercept(_) | Outcome::InvalidOpcode => assert!(same_memory),
        }
        self.check_outputs(control, input_length as usize, expected);
        match outcome {
            Outcome::Complete(_) | Outcome::InvalidOpcode => true,
            Outcome::Intercept(intercept) => {
                // Resolved, as the parent would, if the page can exist.
                self.memory.map(intercept.gpa, true);
                false
            }
            Outcome::Continue | Outcome::Wait(_) => false,
        }
    }

    /// Registers change only where a fast call's output is; memory, only where its locked output is.
    fn check_outputs(&mut self, control: InputValue, input_length: usize, mut expected: TestRegisters) {
        let output = self.shape.map_or(0, |shape| output_length(shape, control));
        if control.fast() && self.registers.mode == CallerMode::Bits64 && output > 0 {
            let start = input_length.next_multiple_of(16);
            let mut block = expected.block();
            if start + output <= block.len() {
                block[start..start + output].copy_from_slice(&self.registers.block()[start..start + output]);
                expected.set_block(&block);
            }
        }
        assert_eq!(self.registers, expected);
    }

    /// Why the call must be refused before anybody is called, in the order in which reasons win here.
    fn refusal(&self, control: InputValue, first: u64, second: u64) -> Option<Refused> {
        let mode = self.registers.mode;
        if mode == CallerMode::Illegal {
            return Some(Refused::InvalidOpcode);
        }
        let Some(shape) = self.shape else {
            return Some(Refused::Status(HvStatus::INVALID_HYPERCALL_CODE));
        };
        if shape.privileges.into_bits() & !self.offered.privileges.into_bits() != 0 {
            return Some(Refused::Status(HvStatus::ACCESS_DENIED));
        }
        let word = control.into_bits();
        let words = (word >> 17 & 0x3FF) as usize;
        let (count, start) = (word >> 32 & 0xFFF, word >> 48 & 0xFFF);
        let reps_are_good = if shape.element.is_some() { start < count } else { start == 0 && count == 0 };
        if word & 0xF000_F000_F800_0000 != 0 || words > shape.words.unwrap_or(0) || !reps_are_good {
            return Some(Refused::Status(HvStatus::INVALID_HYPERCALL_INPUT));
        }
        let (input, output) = (input_length(shape, control), output_length(shape, control));
        if control.fast() {
            let chunks = input.div_ceil(16) + output.div_ceil(16);
            if chunks > 7 {
                return Some(Refused::Status(HvStatus::INVALID_HYPERCALL_INPUT));
            }
            let needs_output = output > 0 && (mode == CallerMode::Bits32 || !self.offered.xmm_fast_output);
            if needs_output || (input > 16 && !self.offered.xmm_fast_input) {
                return Some(Refused::InvalidOpcode);
            }
            return None;
        }
        for (gpa, length) in [(first, input), (second, output)] {
            let last = u128::from(gpa) + length.max(1) as u128 - 1;
            if length > 0 && (gpa % 8 != 0 || last >= 1 << 40 || last >> 12 != u128::from(gpa >> 12)) {
                return Some(Refused::Status(HvStatus::INVALID_ALIGNMENT));
            }
        }
        let page = |gpa: u64| self.memory.pages.get(&(gpa >> 12));
        let header = shape.input + 8 * words;
        if header > 0 && page(first).is_none() {
            // A variable header alone is read where it stands.
            return Some(Refused::Intercept(TestIntercept { gpa: first, write: false }));
        }
        if output > 0 && page(second).is_none_or(|page| !page.writable) {
            return Some(Refused::Intercept(TestIntercept { gpa: second, write: true }));
        }
        if input > 0 && page(first).is_none() {
            let element = shape.element.unwrap_or(0) as u64;
            return Some(Refused::Intercept(TestIntercept { gpa: first + start * element, write: false }));
        }
        None
    }
}

#[derive(Clone, Copy, Debug)]
enum Refused {
    Status(HvStatus),
    InvalidOpcode,
    Intercept(TestIntercept),
}

fn input_length(shape: &Shape, control: InputValue) -> usize {
    let list = shape.element.map_or(0, |element| element * usize::from(control.rep_count()));
    shape.input + 8 * usize::from(control.variable_header_size()) + list
}

fn output_length(shape: &Shape, control: InputValue) -> usize {
    shape.output * shape.element.map_or(1, |_| usize::from(control.rep_count()))
}

/// Any set of processors can be walked, in order, and contains what it lists.
fn processor_set(data: &[u8]) {
    let mut source = Source(data);
    let header = VpSet { format: SetFormat(u64::from(source.u8() & 3)), valid_banks_mask: source.u64() };
    let bound = u32::from(source.u16());
    let banks: Vec<u64> =
        source.0.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let enough = header.bank_count() as usize;
    // A set with exactly as many banks as it names, if there are enough, is what mostly comes.
    let banks = banks.get(..enough).unwrap_or(&banks);
    let Ok(set) = ProcessorSet::new(header, banks) else {
        return;
    };
    let mut next = 0;
    for vp_index in set.iter(bound) {
        assert!(vp_index >= next && vp_index < bound && set.contains(vp_index));
        next = vp_index + 1;
    }
}

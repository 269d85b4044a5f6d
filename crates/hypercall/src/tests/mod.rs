// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the calling conventions. `matrix` makes every shape of call in every form; the others look at one rule each.

mod continuation;
mod control;
mod fuzz;
mod guest;
mod matrix;
mod memory;
mod processor_set;
mod registers;

use crate::caller::{CallerMode, Offered};
use crate::dispatch::Outcome;
use crate::role::dispatch;
use crate::sandbox::{Recorder, SHAPES, Shape, TestIntercept, TestMemory, TestRegisters, TestRole};
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, InputValue, ResultValue};
use tlfs::privilege::PrivilegeMask;

type TestOutcome = Outcome<u32, TestIntercept>;

/// Everything is offered and every privilege held.
const ALL: Offered = Offered {
    privileges: PrivilegeMask::from_bits(u64::MAX),
    xmm_fast_input: true,
    xmm_fast_output: true,
    physical_address_width: 40,
};

/// One caller with its memory.
struct Machine {
    registers: TestRegisters,
    memory: TestMemory,
    recorder: Recorder,
    offered: Offered,
}

impl Machine {
    fn new(mode: CallerMode) -> Self {
        Self {
            registers: TestRegisters::new(mode),
            memory: TestMemory::default(),
            recorder: Recorder::default(),
            offered: ALL,
        }
    }

    /// Executes the instruction once.
    fn execute(&mut self) -> TestOutcome {
        dispatch::<TestRole, _, _, _>(
            &mut self.recorder,
            &self.offered,
            &mut self.registers,
            &mut self.memory,
        )
    }

    /// Sets control word and parameters, and executes.
    fn call(&mut self, control: InputValue, first: u64, second: u64) -> TestOutcome {
        self.registers.set_control(control.into_bits());
        self.registers.set_parameters(first, second);
        self.execute()
    }
}

fn shape(code: u16) -> &'static Shape {
    SHAPES.iter().find(|shape| shape.code == CallCode(code)).expect("a test call")
}

fn control(code: u16) -> InputValue {
    InputValue::new().with_call_code(CallCode(code))
}

fn rep(code: u16, start: u16, count: u16) -> InputValue {
    control(code).with_rep_start_index(start).with_rep_count(count)
}

fn complete(status: HvStatus) -> TestOutcome {
    Outcome::Complete(ResultValue::of(status))
}

fn complete_reps(status: HvStatus, reps: u16) -> TestOutcome {
    Outcome::Complete(ResultValue::of(status).with_reps_complete(reps))
}

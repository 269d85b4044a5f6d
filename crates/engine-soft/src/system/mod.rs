// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system half: slow instructions, the delivery of events, and debugging.
//!
//! The rest of the crate calls in here at these points only:
//! * [`slow_instruction`] when an instruction is decoded;
//! * [`deliver`] between two instructions, for injected events and for exceptions that instructions raise;
//! * [`before_step`] and [`after_step`] around each instruction while the processor steps ([`Cpu::must_step`]): when RFLAGS.TF is set, DR7 enables a
//!   breakpoint, an interrupt shadow is in force, or completed accesses wait.

use engine::{Event, ExitReason};
use iced_x86::Instruction;

use crate::cpu::Cpu;
use crate::stop::{Next, Raised, Stop};

/// A slow instruction. See the crate's documentation for the rules.
pub type SlowInstruction = fn(&mut Cpu, &Instruction) -> Result<Next, Stop>;

/// The function that executes an instruction, if it is one of this half's.
#[must_use]
pub fn slow_instruction(_instruction: &Instruction) -> Option<SlowInstruction> {
    None
}

/// Delivers an event through the IDT. An exception raised on the way is combined with it (#DF, triple fault).
///
/// `cpu.rip` is the RIP to push (for a software interrupt that of the instruction, whose length the event knows).
/// Sets `cpu.events.nmi_blocked` for an NMI, CR2 or DR6 from the parameter, and ends an interrupt shadow.
///
/// # Errors
/// The exit that the delivery needs, or [`ExitReason::TripleFault`]; nothing is changed then, and the caller keeps the event.
pub fn deliver(_cpu: &mut Cpu, _event: Event) -> Result<(), ExitReason> {
    Err(ExitReason::Unsupported("the delivery of events"))
}

/// Before an instruction, while the processor steps: an instruction breakpoint, unless RFLAGS.RF is set.
///
/// # Errors
/// #DB, a fault.
pub fn before_step(_cpu: &mut Cpu) -> Result<(), Raised> {
    Ok(())
}

/// After an instruction was executed, while the processor steps: the single-step trap if `trap_flag` (RFLAGS.TF before the instruction), data
/// breakpoints that were met; clears RFLAGS.RF. The interrupt shadow is the caller's.
#[must_use]
pub fn after_step(_cpu: &mut Cpu, _trap_flag: bool) -> Option<Raised> {
    None
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87, MMX, SSE, AVX, AES, SHA, BMI and other data instructions, executed by the host processor.
//!
//! Guest and host are the same architecture, so these instructions are not implemented one by one. Each is
//! compiled into a *stub*: a few host instructions which load the registers that it uses from a [`HostFrame`],
//! run it with its memory operand replaced by the frame's bounce buffer, and store what it wrote.
//!
//! How an interpreter uses it:
//!
//! 1. [`place`] says who executes an instruction: a stub, one of the functions on [`VectorState`] (control
//!    and save instructions, whose results must not show host addresses), or the interpreter.
//! 2. [`StubCache::compile`] gives the [`Stub`], once per decoded instruction.
//! 3. At each execution: [`Availability::check`] (`#UD`, `#NM`), copy the memory operand into
//!    [`HostFrame::bounce`] if the stub reads it, [`Stub::run`], and on [`Outcome::Done`] copy it out if the stub
//!    writes it; on [`Outcome::DoneWithoutStore`] do not. A copy in should be one host store as wide as the operand, or the stub's load waits for
//!    several stores to leave the store buffer.
//!
//! The border is strict. Guest MXCSR, x87 state and vector registers are in host registers only inside a stub. On
//! return the host's MXCSR and x87 control word are back, the x87 stack is empty, DF is 0, and upper halves of
//! YMM registers are 0. Host TF and AC are never set from guest flags. FIP, FDP and FOP are the guest's.
//!
//! Pending unmasked x87 exceptions are found before an instruction runs, so x87 never traps on the host.
//! Unmasked SIMD exceptions do trap: see [`simd_exception`](self) in the module of that name.

mod code_memory;
mod compile;
mod emitter;
mod extensions;
mod frame;
mod fxsave;
mod placement;
mod quick_x87;
mod requirement;
mod simd_exception;
mod stub;
mod vector_state;
mod x87_control;
mod xsave;

#[cfg(test)]
mod tests;

pub use code_memory::CodeMemoryError;
pub use compile::{CompileError, StubCache, StubCacheError};
pub use extensions::Extensions;
pub use frame::{Bounce, HostFrame, STATUS_FLAGS};
pub use fxsave::PointerWidth;
pub use placement::{Border, ElementInstruction, Placement, StateInstruction, place};
pub use requirement::{Availability, Requirement, Unavailable};
pub use stub::{MemoryOperand, Outcome, RegisterSet, Stub, X87Site};
pub use vector_state::{InvalidMxcsr, VectorState};
pub use x87_control::Environment;
pub use xsave::{AVX, RestoreForm, SSE, SaveForm, X87, XrstorError};

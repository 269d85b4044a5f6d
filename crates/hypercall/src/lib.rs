// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling conventions of hypercalls (TLFS chapter 3): from registers and guest pages to typed calls and back.
//!
//! A call is a type. Its code, its required privileges, its input header, variable header, list elements and outputs are
//! constants of that type ([`Call`], [`SimpleCall`], [`RepCall`]), and one parser serves them all: it checks the control
//! word, finds the parameters in memory or in registers, and writes results, outputs and continuations. What is behind
//! it ([`HandleSimple`], [`HandleRep`]) sees plain Rust arguments. What a kind of partition may call is a list of such
//! types, a [`Role`]; a call cannot be in a list without its privilege check.
//!
//! A handler's method is told what the guest meant, and says what became of it:
//!
//! ```
//! use hypercall::{HandleSimple, Handler, Stop, calls::SignalEvent};
//! use tlfs::{HvStatus, synic::SignalEventInput};
//!
//! struct Partition {
//!     flags: [bool; 16],
//! }
//!
//! impl Handler for Partition {
//!     type Condition = ();
//! }
//!
//! impl HandleSimple<SignalEvent> for Partition {
//!     fn handle(&mut self, input: &SignalEventInput) -> Result<(), Stop<()>> {
//!         let flag = self.flags.get_mut(usize::from(input.flag_number)).ok_or(HvStatus::INVALID_PARAMETER)?;
//!         *flag = true;
//!         Ok(())
//!     }
//! }
//! ```
//!
//! How to add a call is told in `docs/adding-a-hypercall.md`.
//!
//! This crate knows no engine, no memory and no partition: registers and guest memory come in as the small traits
//! [`Registers`] and [`GuestMemory`]. It allocates nothing.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "fuzz"))]
extern crate std;

mod call;
mod caller;
pub mod calls;
mod dispatch;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod parameters;
mod processor_set;
mod role;

#[cfg(any(test, feature = "fuzz"))]
mod sandbox;
#[cfg(test)]
mod tests;

pub use call::{
    Arguments, Call, HandleRep, HandleSimple, Handler, NoVariableHeader, RepCall, RepStop, SimpleCall, Stop,
    VariableHeader, Words,
};
pub use caller::{CallerMode, GuestMemory, Offered, Register, Registers};
pub use dispatch::{Invocation, Outcome};
pub use parameters::control_word;
pub use processor_set::{HasProcessorSet, ProcessorSet, ProcessorSetBanks};
pub use role::{CallDescription, Guest, Role, dispatch};
// For the macro that declares roles.
#[doc(hidden)]
pub use tlfs::hypercall::CallCode;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling conventions of hypercalls (TLFS chapter 3): from registers and guest pages to typed calls and back.
//!
//! A call is a type. Its code, its required privileges, its input header, variable header, list elements and outputs are
//! constants of that type ([`Call`], [`SimpleCall`], [`RepCall`]), and one parser serves them all: it checks the control
//! word, finds the parameters in memory or in registers, and writes results, outputs and continuations. What is behind
//! it ([`HandleSimple`], [`HandleRep`]) sees plain Rust arguments. What a kind of partition may call is a list of such
//! types, a [`Role`]; a call cannot be in a list without its privilege check.
//!
//! # Adding a hypercall
//!
//! 1. The layouts of its parameters go to `tlfs`, with `zerocopy` derives and offset assertions.
//! 2. A unit struct in [`calls`] names its code, privileges, parameters and shape.
//! 3. Its name goes into the list of each role that may call it.
//! 4. Whoever handles the role implements [`HandleSimple`] or [`HandleRep`] for it; until then nothing compiles.
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
pub use processor_set::{HasProcessorSet, ProcessorSet, ProcessorSetBanks};
pub use role::{CallDescription, Guest, Role, dispatch};

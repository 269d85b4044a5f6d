// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handlers of operations.
//!
//! Handlers chain by tail position. What keeps the compiler making jumps of these calls: a handler passes no address of a local to
//! another function and owns nothing with a destructor. Fast handlers call nothing at all; everything else stands in slow handlers, which return
//! to the run loop instead of chaining.

mod alu;
mod binary;
mod bits;
mod branch;
mod decimal;
mod exchange;
mod flag;
mod gather;
mod host;
mod masked_move;
mod masked_store;
mod moves;
mod multiply;
mod path;
mod register;
mod shift;
mod special;
mod stack;
mod string;

pub(crate) use binary::*;
pub(crate) use bits::*;
pub(crate) use branch::*;
pub(crate) use decimal::*;
pub(crate) use exchange::*;
pub(crate) use flag::*;
pub(crate) use gather::gather;
pub(crate) use host::run_stub;
pub(crate) use masked_move::masked_move;
pub(crate) use masked_store::masked_store;
pub(crate) use moves::*;
pub(crate) use multiply::*;
pub(crate) use path::{Body, fast, slow};
pub(crate) use shift::*;
pub(crate) use special::*;
pub(crate) use stack::*;
pub(crate) use string::*;

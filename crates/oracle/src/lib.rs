// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host as an oracle for the software processor.
//!
//! Guest and host are the same architecture, so the host's own processor is the best judge of the software processor: this crate runs random user-mode
//! instructions on both, from the same state, and compares every register, flag, byte of memory and exception. `docs/oracle.md` says
//! what this proves and how to run it.
//!
//! * [`layout`]: the pages that both machines have at the same addresses.
//! * [`state`]: what goes into a run and comes out; [`state::Machine`] is what both machines are.
//! * [`native`]: the host. The only unsafe code.
//! * [`emulated`]: the software processor, through the contract of the `engine` crate.
//! * [`forms`]: which instruction forms there are, and why some are not run.
//! * [`generate`]: random encodings and states, seeded.
//! * [`undefined`]: what the manuals leave undefined.
//! * [`compare`], [`check`]: comparing, and the books.
//!
//! For development only: no part of the product uses it.

pub mod campaign;
pub mod check;
pub mod compare;
pub mod emulated;
pub mod forms;
pub mod generate;
pub mod layout;
pub mod native;
pub mod planted;
pub mod random;
pub mod state;
pub mod undefined;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers of a VP as HvCallGetVpRegisters and HvCallSetVpRegisters name and carry them (TLFS 7.8, 7.9).

mod events;
mod names;
mod values;

pub use events::*;
pub use names::*;
pub use values::*;

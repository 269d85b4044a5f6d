// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saved Hyper-V virtual machines: reads .vmrs files and .bin with .vsv files on any system, and writes .vmrs files.
//!
//! [`SavedState::open`] takes any of them. From bottom to top: a [`Source`] is read by position, a [`Container`] finds named values in it, [`Memory`] and
//! [`PartitionState`] say what those mean, [`SavedState`] puts them together as Microsoft's own reader shows them, [`images`] and
//! [`export`] make use of it. [`write`](mod@write) goes the other way.
//!
//! Files are taken as hostile: every field is checked, nothing is allocated that the file does not justify, and there are no
//! panics. Nothing is read or decoded before it is asked for, and files are never written to but by [`apply_pending_log`].
//!
//! This crate knows nothing of hypervisors; of the other rooms it uses the page walker alone.
//!
//! ```
//! use saved_state::{Register, SavedState, write};
//! # fn main() -> Result<(), saved_state::Error> {
//! let mut machine = write::Machine::default();
//! machine.vp().set(Register::RIP, 0xFFF0);
//! machine.memory(0, vec![0x90; 0x10000]);
//! let file = write::vmrs(&machine, &write::Options::default());
//!
//! let saved = SavedState::from_source(Box::new(file))?;
//! assert_eq!(saved.register(0, Register::RIP)?.low64(), 0xFFF0);
//! let mut bytes = [0; 4];
//! saved.memory().read_exact(0xFFF0, &mut bytes)?;
//! assert_eq!(bytes, [0x90; 4]);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod container;
mod error;
pub mod export;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod guest_os;
pub mod images;
pub mod memory;
pub mod paging;
mod partition;
mod source;
mod state;
pub mod write;

pub use container::{Container, Format, Key, Kind, Value, apply_pending_log};
pub use error::{Error, Mismatch, Problem, Result};
pub use guest_os::GuestOsId;
pub use memory::Memory;
pub use paging::{PagingMode, Translation};
pub use partition::{PartitionState, Register, RegisterValue, Vendor};
pub use source::{FileSource, Source};
pub use state::{Architecture, CrashInfo, SavedState};

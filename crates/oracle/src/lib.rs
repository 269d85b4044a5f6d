// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host as an oracle for the software processor.

pub mod layout;
pub mod native;
pub mod state;

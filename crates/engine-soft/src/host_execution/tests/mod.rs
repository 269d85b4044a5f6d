// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host is the oracle: each instruction form runs natively, with its own registers and addressing, and as a stub.
//! Everything that it can change is compared.

mod border;
mod code;
mod exceptions;
mod forms;
mod native;
mod random;
mod save_areas;
mod second_opinion;
mod stubs;
mod x87;

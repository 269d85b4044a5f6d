// SPDX-License-Identifier: MIT OR Apache-2.0
//! The built command, from outside: what it prints, and with which status it ends. One binary, so that all of it is linked once.
#![forbid(unsafe_code)]

mod bad_input;
mod conformance;
mod debian;
mod endings;
mod guest;
mod machine_check;
mod processor;
mod profile;
mod signals;
mod terminal;
mod tiny_vmm;
mod tour;
mod viridian;
mod virtual_time;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest-visible interface of the Hyper-V hypervisor, as data: the numbers, bits and memory layouts of the Top Level
//! Functional Specification (TLFS) version 6, split by topic as the specification is.
//!
//! This crate knows no behaviour: what a bit does is the business of those who serve it. It stands on the ground floor,
//! imports no other room, allocates nothing and needs no standard library.
//!
//! - A value a guest chooses freely is an *open enumeration*: a number with named constants, `name`
//!   and a list `ALL`. Unknown values are kept, never rejected here.
//! - A register or flag word is a *bit field* with accessors and a list `FIELDS`. Reserved bits are kept.
//! - A block of memory is a `#[repr(C)]` structure without padding, whose size and offsets are asserted at compile time
//!   and listed in `LAYOUT`, and which `zerocopy` turns into bytes and back.
//!
//! Names are the specification's, in Rust case. Where its text contradicts itself or the interface in use, the item says
//! which reading it follows.
#![no_std]
#![forbid(unsafe_code)]
// The checked setters of every bit field are generated with a unit error: the value does not fit its field.
#![allow(clippy::result_unit_err)]

mod declare;

pub mod address;
pub mod cpuid;
pub mod extended;
pub mod hypercall;
pub mod intercept;
pub mod interrupt;
pub mod msr;
pub mod nested;
pub mod partition;
pub mod privilege;
pub mod register;
pub mod root;
mod status;
pub mod synic;
pub mod timer;
pub mod tlb;
pub mod vp;
pub mod vsm;

pub use declare::{Field, Layout, Member, Named};
pub use status::HvStatus;

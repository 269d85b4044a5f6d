// SPDX-License-Identifier: MIT OR Apache-2.0
//! The software processor: a complete x86-64 processor that needs no virtualization hardware.
//!
//! It knows guest memory through `memory` and the contract in `engine`. It may not know what a partition, a
//! hypercall or a device is.

pub mod host_execution;

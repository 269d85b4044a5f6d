// SPDX-License-Identifier: MIT OR Apache-2.0
//! The x86-64 architecture as data: registers, descriptors, exceptions, MSR and CPUID numbers, the local APIC's
//! registers, and [the one page walker](paging).
//!
//! Sources are Intel's Software Developer's Manual (SDM) and AMD's Architecture Programmer's Manual (APM). Names are the
//! manuals'. This crate knows nothing of Hyper-V, of guests' memory or of how a processor is run.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod apic;
pub mod control;
pub mod cpuid;
pub mod exception;
pub mod idt;
pub mod machine_check;
pub mod memory_type;
pub mod msr;
pub mod paging;
pub mod segment;
pub mod speculation;
pub mod tss;

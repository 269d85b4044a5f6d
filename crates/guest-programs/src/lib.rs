// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our own guest programs, as bytes: 64-bit ELF files that are multiboot images as well.
//!
//! Their sources are the workspace `guests/`; the build script of this crate builds them with the host's own compiler and linker.
//! The crate may not know anything about who loads and runs them.
#![forbid(unsafe_code)]

/// A guest program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestProgram {
    /// Its name, also the name of its file under `guests/`.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub purpose: &'static str,
    /// The file.
    pub image: &'static [u8],
}

/// The tour: discovers the Hyper-V interface, uses what is offered, and prints what it finds.
pub const TOUR: &[u8] = include_bytes!(env!("GUEST_PROGRAM_TOUR"));

/// The interface at a prompt: each command does what a guest can do, and shows the answer decoded.
pub const INTERACTIVE: &[u8] = include_bytes!(env!("GUEST_PROGRAM_INTERACTIVE"));

/// Checks of the processor's privileged behaviour; needs no hypervisor interface.
pub const PROCESSOR: &[u8] = include_bytes!(env!("GUEST_PROGRAM_PROCESSOR"));

/// Checks of the interface, chapter by chapter of the specification; each names the behaviours that it shows.
pub const CONFORMANCE: &[u8] = include_bytes!(env!("GUEST_PROGRAM_CONFORMANCE"));

/// Tries every synthetic MSR and hypercall, and tells what came of it.
pub const PRIVILEGES: &[u8] = include_bytes!(env!("GUEST_PROGRAM_PRIVILEGES"));

/// All of them.
pub const ALL: &[GuestProgram] = &[
    GuestProgram {
        name: "tour",
        purpose: "a tour of the Hyper-V interface, printed by a real guest",
        image: TOUR,
    },
    GuestProgram { name: "interactive", purpose: "the Hyper-V interface at a prompt", image: INTERACTIVE },
    GuestProgram {
        name: "processor",
        purpose: "checks of the processor's privileged behaviour",
        image: PROCESSOR,
    },
    GuestProgram {
        name: "conformance",
        purpose: "checks of the Hyper-V interface, chapter by chapter of the specification",
        image: CONFORMANCE,
    },
    GuestProgram {
        name: "privileges",
        purpose: "tries every synthetic MSR and hypercall, and tells what came of it",
        image: PRIVILEGES,
    },
];

/// The exit codes of guest programs, as they write them to the debug-exit port 0xF4 (QEMU's `isa-debug-exit` makes
/// `2 * code + 1` of them).
pub mod exit_code {
    /// All that was tried worked.
    pub const PASS: u32 = 0;
    /// Something that was tried did not work; a line of output said what.
    pub const FAIL: u32 = 1;
    /// The guest program itself is wrong: it panicked.
    pub const PANIC: u32 = 2;
    /// An exception that the guest program did not expect.
    pub const UNEXPECTED_EXCEPTION: u32 = 3;
    /// The guest program finds no Microsoft hypervisor interface.
    pub const NO_MICROSOFT_HYPERVISOR: u32 = 4;
    /// What the guest program needs is not offered, so it tried nothing.
    pub const SKIP: u32 = 38;
}

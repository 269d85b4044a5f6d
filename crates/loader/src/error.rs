// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a file cannot be loaded.

use crate::elf::ElfError;

/// Why a guest cannot be loaded. Each message is one sentence, without the file's name, which the caller knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is no kernel of the kind that was asked for.
    #[error("the file is not {expected}")]
    Foreign {
        /// What it should have been.
        expected: &'static str,
    },
    /// The file ends before its own headers say it does.
    #[error("the file has {have} bytes where its header announces at least {needed}, so it is cut short")]
    CutShort {
        /// Bytes that are there.
        have: u64,
        /// Bytes that should be.
        needed: u64,
    },
    /// The kernel is older than the 64-bit boot protocol.
    #[error(
        "the kernel's boot protocol is {}.{:02}, and 2.12 (Linux 3.8) is the oldest that can be started in 64-bit mode",
        version >> 8,
        version & 0xFF
    )]
    OldProtocol {
        /// Major version in bits 8-15, minor version in bits 0-7.
        version: u16,
    },
    /// The kernel has no 64-bit entry point.
    #[error("the kernel is for 32-bit processors, and only 64-bit kernels can be started")]
    Not64Bit,
    /// A field of the file's header contradicts the rest.
    #[error("the {field} in the file's header makes no sense ({value:#x})")]
    BadField {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The ELF structure is damaged or foreign.
    #[error("the file cannot be loaded: {0}")]
    Elf(#[from] ElfError),
    /// An ELF file for another processor, or not a program.
    #[error("the ELF file is not a program for {processor} (machine {machine}, type {file_type})")]
    ForeignElf {
        /// The processors that would do.
        processor: &'static str,
        /// `e_machine`.
        machine: u16,
        /// `e_type`.
        file_type: u16,
    },
    /// A part of the file asks for an address where the guest has no memory, or that is taken.
    #[error("the file wants {length:#x} bytes at guest-physical address {gpa:#x}, which {problem}")]
    BadPlace {
        /// The address.
        gpa: u64,
        /// The size.
        length: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The guest's memory does not hold the kernel and its files.
    #[error(
        "the guest's {} MiB of memory have no place for {what}, which needs at least {} MiB: give it more with --memory",
        have.div_ceil(1 << 20),
        needed.div_ceil(1 << 20)
    )]
    TooLittleMemory {
        /// What does not fit.
        what: &'static str,
        /// Bytes of memory needed, at least.
        needed: u64,
        /// Bytes of usable memory that the guest has.
        have: u64,
    },
    /// The command line does not fit.
    #[error("the kernel's command line has {length} bytes, and this kernel takes at most {limit}")]
    LongCommandLine {
        /// Its size in bytes.
        length: u64,
        /// The most the kernel takes.
        limit: u64,
    },
    /// The command line has a NUL within.
    #[error("a command line cannot hold a NUL character")]
    NulInCommandLine,
    /// The texts and tables for a multiboot program do not fit.
    #[error(
        "the command line, the modules' texts and the memory map take {length} bytes, and there is room for {limit}"
    )]
    LongInformation {
        /// Their size in bytes.
        length: u64,
        /// The room there is.
        limit: u64,
    },
    /// More ranges than the guest's table has room for.
    #[error(
        "the guest's memory map has {ranges} ranges, and at most {limit} can be told to this kind of kernel"
    )]
    LongMemoryMap {
        /// Ranges in the map.
        ranges: usize,
        /// The most that fit.
        limit: usize,
    },
    /// A multiboot header demands something that is not offered.
    #[error("the multiboot header demands what is not offered here (flags {flags:#x})")]
    UnofferedFeature {
        /// The flags that are not offered.
        flags: u32,
    },
}

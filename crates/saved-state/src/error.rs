// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a saved state, and with what is asked of one.

use std::io;
use std::path::PathBuf;

use crate::paging::PagingMode;

/// Why a saved state could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, created or renamed.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes at an offset could not be read.
    #[error("cannot read {size} bytes at offset {offset:#x} of the file: {source}")]
    Read {
        /// Offset in the file.
        offset: u64,
        /// Number of bytes.
        size: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Output could not be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// No known container has this signature.
    #[error(
        "no saved state: the file begins with {signature:#010x}; .vmrs files begin with 0x01282014, .bin and .vsv files with 0x02182003"
    )]
    UnknownSignature {
        /// The first four bytes, little-endian.
        signature: u32,
    },
    /// A structure of the file contradicts itself or the format.
    #[error("damaged file: {what} at offset {offset:#x}: {problem}")]
    Damaged {
        /// The structure.
        what: &'static str,
        /// Where it is in the file.
        offset: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A version of the format that nobody has described.
    #[error("{what} has version {version:#x}, which this reader does not know")]
    UnknownVersion {
        /// What has the version.
        what: &'static str,
        /// The version.
        version: u64,
    },
    /// A key that every saved state has is missing.
    #[error("the file has no key {key}: it is not the saved state of a virtual machine, or it is encrypted")]
    MissingKey {
        /// Path of the key.
        key: String,
    },
    /// A key's value has another type or size than it must have.
    #[error("key {key} is not {expected}")]
    BadValue {
        /// Path of the key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The other half of a .bin and .vsv pair is missing or is the same half.
    #[error("{} holds {half}, and {wanted} was not found beside it", path.display())]
    OtherHalf {
        /// The file that was given.
        path: PathBuf,
        /// What it holds.
        half: &'static str,
        /// What is missing.
        wanted: &'static str,
    },
    /// The two files of a pair are not of one save.
    #[error("the memory and the processors are of different saves: {0}")]
    NotOnePair(Mismatch),
    /// The saved memory blocks do not describe a memory.
    #[error("memory block {index}: {problem}")]
    BadMemoryBlock {
        /// Its number in its key.
        index: u32,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A block of saved memory cannot be decoded.
    #[error("saved memory block {block} is damaged: {problem}")]
    BadRamBlock {
        /// Number of the block; each covers 1 MiB of saved memory.
        block: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A block of saved memory is not in the file.
    #[error("saved memory block {block} is missing from the file")]
    MissingRamBlock {
        /// Number of the block.
        block: u64,
    },
    /// The saved processors contradict themselves.
    #[error("partition state at offset {offset:#x}: {problem}")]
    BadPartitionState {
        /// Offset in the value of the key.
        offset: usize,
        /// What is wrong.
        problem: Problem,
    },
    /// There is no such virtual processor.
    #[error("there is no virtual processor {index}; this saved state has {count}")]
    NoVp {
        /// The index that was asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// There is no such virtual trust level on the processor.
    #[error("virtual trust level {vtl} is not enabled on virtual processor {vp}")]
    NoVtl {
        /// The processor.
        vp: u32,
        /// The level that was asked for.
        vtl: u8,
    },
    /// A register that the saved state does not hold.
    #[error(
        "register {register} of virtual processor {vp} is not in the saved state for virtual trust level {vtl}"
    )]
    NoRegister {
        /// The processor.
        vp: u32,
        /// The level.
        vtl: u8,
        /// Name of the register.
        register: &'static str,
    },
    /// A paging mode that does not fit the processor.
    #[error("paging mode {mode} does not fit {architecture}")]
    WrongPagingMode {
        /// The mode that was asked for.
        mode: PagingMode,
        /// Architecture of the processor.
        architecture: &'static str,
    },
    /// An operation that is not there for this processor.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A guest-virtual address leads nowhere.
    #[error("guest-virtual address {gva:#x} is not mapped: {problem}")]
    NotMapped {
        /// The address.
        gva: u64,
        /// Bytes from the address on that are not mapped either, at least 1.
        unmapped: u64,
        /// Why.
        problem: Problem,
    },
    /// A guest-physical address that is no saved memory.
    #[error("guest-physical address {gpa:#x} is not saved memory")]
    NotMemory {
        /// The address.
        gpa: u64,
    },
    /// A limit against hostile files was met.
    #[error("{what} is {size} and may be {limit} at most")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
}

/// In what the two files of a pair differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The memory has more than the other file describes.
    #[error("memory block {0} is saved, and the machine had no such memory")]
    ExtraBlock(u64),
    /// The files have different versions.
    #[error("one has version {0:#x}, the other one {1:#x}")]
    Versions(u32, u32),
}

/// What is wrong with a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It reaches beyond the end of what holds it.
    #[error("it reaches beyond the end")]
    OutOfBounds,
    /// It has another signature.
    #[error("its signature is wrong")]
    Signature,
    /// Its CRC-32 does not match.
    #[error("its checksum is wrong")]
    Checksum,
    /// Both copies of it are damaged.
    #[error("both copies are damaged")]
    BothCopies,
    /// A size cannot be.
    #[error("its size cannot be right")]
    Size,
    /// A type nobody has described.
    #[error("its type is unknown")]
    Type,
    /// It overlaps another one.
    #[error("it overlaps another one")]
    Overlap,
    /// A name is not UTF-8, empty, or not terminated.
    #[error("its name is not valid")]
    Name,
    /// A chain leads back to itself.
    #[error("its chain leads back to itself")]
    Loop,
    /// A structure ends early.
    #[error("it ends early")]
    Truncated,
    /// A token of compressed memory that cannot be.
    #[error("its token {0:#x} cannot be")]
    Token(u32),
    /// Compressed bytes that do not decompress to what they must.
    #[error("its compressed bytes cannot be decompressed")]
    Compression,
    /// More was found than fits.
    #[error("it holds more than fits")]
    TooMuch,
    /// A version nobody has described.
    #[error("its version {0} is unknown")]
    Version(u32),
    /// A processor twice, or more of them than the indices say.
    #[error("virtual processor {0} is there twice or not at all")]
    Vp(u32),
    /// A page-table entry forbids the access.
    #[error("a page-table entry is not present or has reserved bits set")]
    PageFault,
    /// A page table is not in saved memory.
    #[error("its page table at {0:#x} is not in saved memory")]
    PageTable(u64),
    /// The address is not canonical, or has too many bits for the paging mode.
    #[error("the address is not canonical")]
    NotCanonical,
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The headers of an ELF64 core (System V ABI, chapters 4 and 5; x86-64 supplement).

/// A program header that shows memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Where debuggers find it.
    pub(super) address: u64,
    pub(super) gpa: u64,
    pub(super) bytes: u64,
    /// Where its content begins, counted from the end of the headers.
    pub(super) content: u64,
}

const ELF_HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
/// The headers' size is a multiple of this, so that content lies in the file as it lies in pages.
const ALIGNMENT: u64 = 4096;

const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const READ_WRITE_EXECUTE: u32 = 7;

/// Everything before the content. There are at most 65534 loads.
pub(super) fn headers(notes: &[u8], loads: &[Load]) -> Vec<u8> {
    let programs = loads.len() as u64 + 1;
    let notes_at = ELF_HEADER_BYTES + programs * PROGRAM_HEADER_BYTES;
    let content_at = (notes_at + notes.len() as u64).next_multiple_of(ALIGNMENT);
    let mut file = Vec::with_capacity(content_at as usize);
    // 64-bit, little-endian, version 1, System V.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&ET_CORE.to_le_bytes());
    file.extend_from_slice(&EM_X86_64.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    // No entry point, program headers right behind, no section headers.
    for word in [0, ELF_HEADER_BYTES, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [ELF_HEADER_BYTES, PROGRAM_HEADER_BYTES, programs, 0, 0, 0] {
        file.extend_from_slice(&u16::try_from(half).unwrap_or(u16::MAX).to_le_bytes());
    }
    program(&mut file, PT_NOTE, 0, [notes_at, 0, 0, notes.len() as u64, 0, 4]);
    for load in loads {
        let words = [content_at + load.content, load.address, load.gpa, load.bytes, load.bytes, 0];
        program(&mut file, PT_LOAD, READ_WRITE_EXECUTE, words);
    }
    file.extend_from_slice(notes);
    file.resize(content_at as usize, 0);
    file
}

/// Offset, virtual and physical address, size in the file and in memory, alignment.
fn program(file: &mut Vec<u8>, kind: u32, flags: u32, words: [u64; 6]) {
    file.extend_from_slice(&kind.to_le_bytes());
    file.extend_from_slice(&flags.to_le_bytes());
    for word in words {
        file.extend_from_slice(&word.to_le_bytes());
    }
}

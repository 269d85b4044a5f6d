// SPDX-License-Identifier: MIT OR Apache-2.0
//! The little that loaders need of ELF files (System V ABI, chapters 4 and 5): header, program headers and a
//! section by its name, for 32 and 64 bits, little-endian.

use crate::fields::{range, u16_at, u32_at, u64_at};

/// Word size of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Bits32,
    Bits64,
}

/// What is wrong with an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The four magic bytes are absent.
    #[error("it is not an ELF file")]
    NotElf,
    /// Class or byte order is not one that x86 processors use.
    #[error("it is an ELF file for another processor (class {class}, byte order {order})")]
    Foreign {
        /// `EI_CLASS`.
        class: u8,
        /// `EI_DATA`.
        order: u8,
    },
    /// The file ends before a structure or a segment that it announces.
    #[error("its ELF {part} lies beyond the end of the file, so the file is cut short or damaged")]
    Truncated {
        /// What is missing.
        part: &'static str,
    },
    /// A size in the headers makes no sense.
    #[error("its ELF {part} is malformed")]
    Malformed {
        /// What is wrong.
        part: &'static str,
    },
}

/// `e_machine` of 32-bit x86.
pub(crate) const MACHINE_386: u16 = 3;
/// `e_machine` of 64-bit x86.
pub(crate) const MACHINE_X86_64: u16 = 62;
/// `e_type` of a program with fixed addresses.
pub(crate) const TYPE_EXECUTABLE: u16 = 2;

/// An ELF file whose header has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
    pub(crate) class: Class,
    /// `e_type`.
    pub(crate) file_type: u16,
    /// `e_machine`.
    pub(crate) machine: u16,
    /// `e_entry`.
    pub(crate) entry: u64,
}

/// One loadable segment (`PT_LOAD`); its bytes lie within the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadSegment<'a> {
    /// `p_paddr`.
    pub(crate) physical_address: u64,
    /// The segment's first bytes.
    pub(crate) content: &'a [u8],
    /// `p_memsz`: at least the content's length; what exceeds it is zero.
    pub(crate) memory_size: u64,
}

/// Whether `bytes` start as an ELF file does.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

impl<'a> Elf<'a> {
    /// Checks the file header.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        const HEADER: ElfError = ElfError::Truncated { part: "header" };
        if !is_elf(bytes) {
            return Err(ElfError::NotElf);
        }
        let &[.., class, order] = bytes.get(..6).ok_or(HEADER)? else { return Err(HEADER) };
        let class = match (class, order) {
            (1, 1) => Class::Bits32,
            (2, 1) => Class::Bits64,
            _ => return Err(ElfError::Foreign { class, order }),
        };
        let header_size = if class == Class::Bits32 { 52 } else { 64 };
        if bytes.len() < header_size {
            return Err(HEADER);
        }
        let elf = Self { bytes, class, file_type: 0, machine: 0, entry: 0 };
        Ok(Self {
            file_type: u16_at(bytes, 16).ok_or(HEADER)?,
            machine: u16_at(bytes, 18).ok_or(HEADER)?,
            entry: elf.word(24).ok_or(HEADER)?,
            ..elf
        })
    }

    /// The `PT_LOAD` segments that take memory, in the file's order.
    pub(crate) fn load_segments(&self) -> Result<Vec<LoadSegment<'a>>, ElfError> {
        const LOAD: u32 = 1;
        const HEADERS: ElfError = ElfError::Truncated { part: "program header table" };
        let (table, size_field, count_field, needed) = match self.class {
            Class::Bits32 => (self.word(28), 42, 44, 32),
            Class::Bits64 => (self.word(32), 54, 56, 56),
        };
        let entry_size = u16_at(self.bytes, size_field).ok_or(HEADERS)?;
        let count = u16_at(self.bytes, count_field).ok_or(HEADERS)?;
        if count > 0 && entry_size < needed {
            return Err(ElfError::Malformed { part: "program header size" });
        }
        let table = range(self.bytes, table.ok_or(HEADERS)?, u64::from(entry_size) * u64::from(count));
        let mut segments = Vec::new();
        for header in table.ok_or(HEADERS)?.chunks_exact(usize::from(entry_size).max(1)) {
            let segment = self.program_header(header).ok_or(HEADERS)?;
            if segment.kind != LOAD || segment.memory_size == 0 {
                continue;
            }
            if segment.memory_size < segment.file_size {
                return Err(ElfError::Malformed { part: "segment, which has more bytes than memory," });
            }
            segments.push(LoadSegment {
                physical_address: segment.physical_address,
                content: range(self.bytes, segment.offset, segment.file_size)
                    .ok_or(ElfError::Truncated { part: "segment" })?,
                memory_size: segment.memory_size,
            });
        }
        Ok(segments)
    }

    /// The content of the section called `name`, if the (64-bit) file has it whole.
    pub(crate) fn section(&self, name: &str) -> Option<&'a [u8]> {
        if self.class != Class::Bits64 {
            return None;
        }
        let entry_size = u64::from(u16_at(self.bytes, 58)?).max(64);
        let count = u64::from(u16_at(self.bytes, 60)?);
        let table = range(self.bytes, u64_at(self.bytes, 40)?, entry_size.checked_mul(count)?)?;
        let headers = || table.chunks_exact(entry_size as usize);
        let content = |header: &[u8]| range(self.bytes, u64_at(header, 24)?, u64_at(header, 32)?);
        let names = content(headers().nth(usize::from(u16_at(self.bytes, 62)?))?)?;
        let is_named = |header: &&[u8]| {
            let start = u32_at(header, 0).and_then(|offset| names.get(offset as usize..));
            start.and_then(|rest| rest.split(|&byte| byte == 0).next()) == Some(name.as_bytes())
        };
        content(headers().find(is_named)?)
    }

    fn program_header(&self, header: &[u8]) -> Option<ProgramHeader> {
        let kind = u32_at(header, 0)?;
        match self.class {
            Class::Bits32 => {
                let field = |offset| u32_at(header, offset).map(u64::from);
                Some(ProgramHeader {
                    kind,
                    offset: field(4)?,
                    physical_address: field(12)?,
                    file_size: field(16)?,
                    memory_size: field(20)?,
                })
            }
            Class::Bits64 => {
                let field = |offset| u64_at(header, offset);
                Some(ProgramHeader {
                    kind,
                    offset: field(8)?,
                    physical_address: field(24)?,
                    file_size: field(32)?,
                    memory_size: field(40)?,
                })
            }
        }
    }

    /// The address-sized field at `offset`.
    fn word(&self, offset: u64) -> Option<u64> {
        match self.class {
            Class::Bits32 => u32_at(self.bytes, offset).map(u64::from),
            Class::Bits64 => u64_at(self.bytes, offset),
        }
    }
}

/// What is used of a program header, as it stands in the file.
struct ProgramHeader {
    kind: u32,
    offset: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
}

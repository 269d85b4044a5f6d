// SPDX-License-Identifier: MIT OR Apache-2.0
//! The multiboot header of a program (Multiboot 0.6.96, 3.1).

use crate::LoadError;
use crate::fields::u32_at;

/// The header lies within that many bytes of the file's start, on a multiple of four.
const SEARCHED: u64 = 8192;
const MAGIC: u32 = 0x1BAD_B002;

/// Flag 0: modules on page boundaries. Flag 1: memory sizes in the information structure. Both are always given.
const ALWAYS_GIVEN: u32 = 0b11;
/// A loader must refuse a program with an unknown flag among these.
const MANDATORY: u32 = 0xFFFF;
/// Flag 16: the header has address fields, and they take precedence over ELF headers.
const HAS_ADDRESSES: u32 = 1 << 16;

/// A header that was found and whose demands can be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where in the file it is.
    pub(super) offset: u64,
    pub(super) addresses: Option<AddressFields>,
}

/// The address fields, all physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressFields {
    /// `header_addr`: of the header itself.
    pub(super) header: u32,
    /// `load_addr`: of the first byte loaded.
    pub(super) load_start: u32,
    /// `load_end_addr`: after the last byte loaded; 0 for the whole file.
    pub(super) load_end: u32,
    /// `bss_end_addr`: after the last byte cleared; 0 for none.
    pub(super) bss_end: u32,
    /// `entry_addr`.
    pub(super) entry: u32,
}

impl Header {
    /// Finds the header of `file`.
    pub(super) fn find(file: &[u8]) -> Result<Self, LoadError> {
        let is_header = |&offset: &u64| {
            let field = |index: u64| u32_at(file, offset + index * 4);
            match (field(0), field(1), field(2)) {
                (Some(MAGIC), Some(flags), Some(checksum)) => {
                    MAGIC.wrapping_add(flags).wrapping_add(checksum) == 0
                }
                _ => false,
            }
        };
        let last = SEARCHED.min(file.len() as u64).saturating_sub(11);
        let expected = "a multiboot program (it has no multiboot header in its first 8 KiB)";
        let offset = (0..last).step_by(4).find(is_header).ok_or(LoadError::Foreign { expected })?;
        let field = |index: u64| {
            let end = offset + index * 4 + 4;
            u32_at(file, end - 4).ok_or(LoadError::CutShort { have: file.len() as u64, needed: end })
        };
        let flags = field(1)?;
        let unoffered = flags & MANDATORY & !ALWAYS_GIVEN;
        if unoffered != 0 {
            return Err(LoadError::UnofferedFeature { flags: unoffered });
        }
        let addresses = if flags & HAS_ADDRESSES == 0 {
            None
        } else {
            Some(AddressFields {
                header: field(3)?,
                load_start: field(4)?,
                load_end: field(5)?,
                bss_end: field(6)?,
                entry: field(7)?,
            })
        };
        Ok(Self { offset, addresses })
    }
}

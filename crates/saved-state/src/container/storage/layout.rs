// SPDX-License-Identifier: MIT OR Apache-2.0
//! Structures of HyperVStorage, byte for byte. All are packed and little-endian; the reader and the writer share them.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First four bytes of the file, and of the second header copy.
pub(crate) const FILE_SIGNATURE: u32 = 0x0128_2014;
/// Offsets of the two header copies.
pub(crate) const HEADER_OFFSETS: [u64; 2] = [0, 0x1000];
/// The format this reader was checked with.
pub(crate) const FORMAT_4_0: u32 = 0x0400;
/// From this format on the checksum of object entries is known.
pub(crate) const FORMAT_3_1: u32 = 0x0301;
/// First format with UTF-8 names, of which tables are laid out as here.
pub(crate) const FORMAT_2_0: u32 = 0x0200;
/// Tables and file objects are multiples of this many bytes.
pub(crate) const ALIGNMENT: u64 = 0x1000;

/// Offset of the first object table, which is [`ALIGNMENT`] bytes long.
pub(crate) const FIRST_OBJECT_TABLE: u64 = 0x2000;
pub(crate) const OBJECT_TABLE_SIGNATURE: u32 = 0x0111_0001;
pub(crate) const LOG_SIGNATURE: u32 = 0x0111_0003;
pub(crate) const KEY_TABLE_SIGNATURE: u16 = 2;

/// Values of at least this many bytes are file objects of their own.
pub(crate) const FILE_OBJECT_THRESHOLD: usize = 2048;

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FileHeader {
    pub(crate) signature: U32,
    pub(crate) crc: U32,
    pub(crate) sequence: U16,
    pub(crate) format_version: U32,
    pub(crate) data_version: U32,
    pub(crate) flags: U32,
    pub(crate) alignment: U32,
    pub(crate) log_offset: U64,
    pub(crate) log_size: U64,
    pub(crate) log_header_size: U32,
}

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ObjectTableHeader {
    pub(crate) signature: U32,
    pub(crate) count: U32,
}

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ObjectEntry {
    pub(crate) kind: u8,
    pub(crate) crc: U32,
    pub(crate) offset: U64,
    pub(crate) size: U32,
    pub(crate) flags: u8,
}

/// Kinds of objects ([`ObjectEntry::kind`]).
pub(crate) mod object {
    pub(crate) const EMPTY: u8 = 0;
    pub(crate) const NEXT_TABLE: u8 = 1;
    pub(crate) const KEY_TABLE: u8 = 2;
    pub(crate) const FILE: u8 = 3;
    /// Flag of objects that a reader must understand.
    pub(crate) const REQUIRED: u8 = 1;
}

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct KeyTableHeader {
    pub(crate) signature: U16,
    /// From 1 on.
    pub(crate) index: U16,
    pub(crate) sequence: U16,
    pub(crate) crc: U32,
}

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct KeyHeader {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Bytes to the next key of the table, this header included.
    pub(crate) size: U32,
    pub(crate) parent_table: U16,
    /// Offset of the parent from the start of its table.
    pub(crate) parent_offset: U32,
    pub(crate) crc: U32,
    pub(crate) sequence: U32,
    /// With the NUL.
    pub(crate) name_size: u8,
}

/// Kinds of keys ([`KeyHeader::kind`]).
pub(crate) mod key {
    pub(crate) const FREE: u8 = 1;
    pub(crate) const INT: u8 = 3;
    pub(crate) const UINT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const STRING: u8 = 6;
    pub(crate) const ARRAY: u8 = 7;
    pub(crate) const BOOL: u8 = 8;
    pub(crate) const NODE: u8 = 9;
    /// Flag: the value is in a file object.
    pub(crate) const IN_FILE_OBJECT: u8 = 1;
}

/// What a key with [`key::IN_FILE_OBJECT`] holds in place of its value.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FileObjectReference {
    pub(crate) size: U32,
    pub(crate) offset: U64,
}

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct LogHeader {
    pub(crate) signature: U32,
    pub(crate) crc: U32,
    /// Entries that were not yet copied to their destinations.
    pub(crate) pending: U32,
    pub(crate) unknown: u8,
    pub(crate) capacity: U32,
    pub(crate) change_tracking: u8,
    pub(crate) change_tracking_offset: U64,
    pub(crate) change_tracking_size: U32,
    pub(crate) change_tracking_used: U32,
}

#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct LogEntry {
    pub(crate) destination: U64,
    pub(crate) size: U32,
    /// Offset of the data from the start of the log.
    pub(crate) data_offset: U64,
    pub(crate) crc: U32,
    pub(crate) data_crc: U32,
}

const _: () = {
    assert!(size_of::<FileHeader>() == 46);
    assert!(size_of::<ObjectTableHeader>() == 8);
    assert!(size_of::<ObjectEntry>() == 18);
    assert!(size_of::<KeyTableHeader>() == 10);
    assert!(size_of::<KeyHeader>() == 21);
    assert!(size_of::<LogHeader>() == 34);
    assert!(size_of::<LogEntry>() == 28);
};

/// A structure with a checksum of itself.
pub(crate) trait Checked: IntoBytes + Immutable + Clone {
    /// The checksum it holds.
    fn crc_mut(&mut self) -> &mut U32;

    /// The checksum it should hold if `rest` follows it: CRC-32 with its own field as zero.
    fn checksum(&self, rest: &[u8]) -> u32 {
        let mut blank = self.clone();
        *blank.crc_mut() = U32::ZERO;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(blank.as_bytes());
        hasher.update(rest);
        hasher.finalize()
    }

    /// Whether the checksum matches.
    fn is_sound(&self, rest: &[u8]) -> bool {
        let mut copy = self.clone();
        copy.crc_mut().get() == self.checksum(rest)
    }

    /// Puts the right checksum in.
    fn sealed(mut self, rest: &[u8]) -> Self {
        let checksum = self.checksum(rest);
        *self.crc_mut() = U32::new(checksum);
        self
    }
}

macro_rules! checked {
    ($($structure:ty),*) => {$(
        impl Checked for $structure {
            fn crc_mut(&mut self) -> &mut U32 {
                &mut self.crc
            }
        }
    )*};
}
checked!(FileHeader, ObjectEntry, KeyTableHeader, KeyHeader, LogHeader, LogEntry);

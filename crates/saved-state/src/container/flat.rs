// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flat table of .bin and .vsv files: a header page, an index of fixed capacity, a table of names, values.

use zerocopy::FromBytes;

use super::index::{Index, Kind, NewEntry, ROOT};
use super::read;
use crate::error::{Error, Problem, Result};
use crate::source::Source;
use layout::{Header, IndexEntry};

/// Structures of the flat table, byte for byte. All are packed and little-endian; the reader and the writer share them.
pub(crate) mod layout {
    use zerocopy::little_endian::{U16, U32, U64};
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    /// First four bytes of the file.
    pub(crate) const SIGNATURE: u32 = 0x0218_2003;
    /// The version this reader was checked with.
    pub(crate) const VERSION_5_0: u32 = 0x0500;
    /// The saved states of version 1.0 and before have another layout.
    pub(crate) const FIRST_VERSION: u32 = 0x0200;
    /// Alignment of index, names and large values.
    pub(crate) const ALIGNMENT: u64 = 0x1000;

    #[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) signature: U32,
        pub(crate) version: U32,
        pub(crate) one: U32,
        pub(crate) capacity: U32,
        pub(crate) index_offset: U64,
        pub(crate) names_offset: U64,
        pub(crate) names_allocated: U32,
        pub(crate) names_used: U32,
    }

    #[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
    #[repr(C)]
    pub(crate) struct IndexEntry {
        /// Offset in the table of names.
        pub(crate) name_offset: U32,
        /// With the NUL.
        pub(crate) name_size: U16,
        pub(crate) state: u8,
        pub(crate) kind: u8,
        pub(crate) allocated: U32,
        pub(crate) size: U32,
        /// Offset of the value in the file; or, if nothing is allocated, the value itself.
        pub(crate) value: U64,
    }

    /// [`IndexEntry::state`] of entries that count.
    pub(crate) const IN_USE: u8 = 1;
    pub(crate) const ARRAY: u8 = 1;
    pub(crate) const INT: u8 = 2;
    pub(crate) const BOOL: u8 = 3;
    pub(crate) const STRING: u8 = 5;

    const _: () = {
        assert!(size_of::<Header>() == 40);
        assert!(size_of::<IndexEntry>() == 24);
    };
}

/// Most keys: a save of more than 12 TiB.
const MOST_KEYS: u64 = 1 << 24;
/// Longest table of names.
const MOST_NAMES: u64 = 1 << 30;

/// Reads the keys; gives them, the version of the file, and where the last of what it describes ends.
pub(super) fn open(source: &dyn Source) -> Result<(Index, u32, u64)> {
    let header: Header = read::structure(source, 0, "file header")?;
    let version = header.version.get();
    if !(layout::FIRST_VERSION..=layout::VERSION_5_0).contains(&version) {
        return Err(Error::UnknownVersion { what: "the flat table", version: version.into() });
    }
    let capacity = u64::from(header.capacity.get());
    read::check_limit("the number of keys", capacity, MOST_KEYS)?;
    read::check_limit("the table of names", header.names_used.get().into(), MOST_NAMES)?;
    let index_offset = header.index_offset.get();
    let names_offset = header.names_offset.get();
    if header.names_used.get() > header.names_allocated.get() {
        return Err(Error::Damaged { what: "table of names", offset: names_offset, problem: Problem::Size });
    }
    let slots = read::bytes(source, index_offset, capacity * size_of::<IndexEntry>() as u64, "index")?;
    let names = read::bytes(source, names_offset, header.names_used.get().into(), "table of names")?;
    let mut index = Index::default();
    let mut file_end = names_offset.saturating_add(header.names_allocated.get().into());
    for (slot, bytes) in slots.chunks_exact(size_of::<IndexEntry>()).enumerate() {
        let slot = slot as u64;
        let offset = index_offset + slot * size_of::<IndexEntry>() as u64;
        let damaged = |problem| Error::Damaged { what: "index entry", offset, problem };
        let entry = IndexEntry::read_from_bytes(bytes).map_err(|_| damaged(Problem::Truncated))?;
        if entry.state != layout::IN_USE {
            continue;
        }
        let name = name(&names, &entry).ok_or_else(|| damaged(Problem::Name))?;
        let (kind, least) = match entry.kind {
            layout::ARRAY => (Kind::Array, 0),
            layout::INT => (Kind::Int, 8),
            layout::BOOL => (Kind::Bool, 4),
            layout::STRING => (Kind::String, 0),
            other => (Kind::Unknown(other), 0),
        };
        let size = entry.size.get();
        let in_place = entry.allocated.get() == 0;
        let room = if in_place { 8 } else { entry.allocated.get() };
        if size < least || size > room {
            return Err(damaged(Problem::Size));
        }
        let value = if in_place { offset + 16 } else { entry.value.get() };
        read::check_bounds(source, value, size.into(), "value of a key")?;
        if !in_place {
            file_end = file_end.max(value.saturating_add(room.into()));
        }
        let sequence = u32::try_from(slot).unwrap_or(u32::MAX);
        index.push(&NewEntry { id: slot + 1, parent: ROOT, name, kind, offset: value, size, sequence });
    }
    index.finish();
    Ok((index, version, file_end))
}

/// The name of an entry, without the slashes that begin or end some of them.
fn name<'a>(names: &'a [u8], entry: &IndexEntry) -> Option<&'a str> {
    let start = entry.name_offset.get() as usize;
    let (&nul, name) = names.get(start..)?.get(..entry.name_size.get().into())?.split_last()?;
    let name = std::str::from_utf8(name).ok()?.trim_matches('/');
    (nul == 0 && !name.is_empty()).then_some(name)
}

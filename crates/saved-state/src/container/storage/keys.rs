// SPDX-License-Identifier: MIT OR Apache-2.0
//! Key tables: from objects to an index of named values.

use zerocopy::FromBytes;

use super::layout::{Checked, FileObjectReference, KEY_TABLE_SIGNATURE, KeyHeader, KeyTableHeader, key};
use super::objects::{Extent, Objects};
use crate::container::index::{Index, Kind, NewEntry};
use crate::container::read;
use crate::error::{Error, Problem, Result};
use crate::source::Source;

/// Longest key table. Real ones are one page.
const MOST_TABLE: u64 = 1 << 16;
/// Most keys: a save of more than 12 TiB.
const MOST_KEYS: u64 = 1 << 24;
/// Size word before text and arrays.
const LENGTH: usize = 4;

/// Reads all keys.
pub(super) fn read(source: &dyn Source, objects: &Objects) -> Result<Index> {
    let mut index = Index::default();
    for (number, table) in current_tables(source, objects)? {
        read_table(source, number, table, objects, &mut index)?;
        read::check_limit("the number of keys", index.len() as u64, MOST_KEYS)?;
    }
    index.finish();
    Ok(index)
}

/// Of the tables with one number the one that was written last.
fn current_tables(source: &dyn Source, objects: &Objects) -> Result<Vec<(u16, Extent)>> {
    let mut tables = Vec::with_capacity(objects.key_tables.len());
    for &table in &objects.key_tables {
        let damaged = |problem| Error::Damaged { what: "key table", offset: table.offset, problem };
        let header: KeyTableHeader = read::structure(source, table.offset, "key table")?;
        if header.signature.get() != KEY_TABLE_SIGNATURE {
            return Err(damaged(Problem::Signature));
        }
        if !header.is_sound(&[]) {
            return Err(damaged(Problem::Checksum));
        }
        if header.index.get() == 0 {
            return Err(damaged(Problem::Name));
        }
        read::check_limit("a key table", table.size.into(), MOST_TABLE)?;
        tables.push((header.index.get(), header.sequence.get(), table));
    }
    tables.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    tables.dedup_by_key(|table| table.0);
    Ok(tables.into_iter().map(|(number, _, table)| (number, table)).collect())
}

fn read_table(
    source: &dyn Source,
    number: u16,
    table: Extent,
    objects: &Objects,
    index: &mut Index,
) -> Result<()> {
    let bytes = read::bytes(source, table.offset, table.size.into(), "key table")?;
    let mut position = size_of::<KeyTableHeader>();
    while position < bytes.len() {
        let damaged =
            |problem| Error::Damaged { what: "key", offset: table.offset + position as u64, problem };
        let rest = &bytes[position..];
        // What is too short for a key is slack.
        let Ok((header, _)) = KeyHeader::read_from_prefix(rest) else { break };
        let size = header.size.get() as usize;
        if size < size_of::<KeyHeader>() || size > rest.len() {
            return Err(damaged(Problem::Size));
        }
        if header.kind != key::FREE {
            let stored = Stored { header: &header, rest: &rest[size_of::<KeyHeader>()..size] };
            let name = stored.name().ok_or_else(|| damaged(Problem::Name))?;
            let data = stored.data_size().ok_or_else(|| damaged(Problem::Size))?;
            let covered = usize::from(header.name_size) + data;
            let covered = stored.rest.get(..covered).ok_or_else(|| damaged(Problem::Size))?;
            if !header.is_sound(covered) {
                return Err(damaged(Problem::Checksum));
            }
            let data_position = position + size_of::<KeyHeader>() + usize::from(header.name_size);
            let data_offset = table.offset + data_position as u64;
            let (offset, size) = stored.value(data_offset, objects).ok_or_else(|| damaged(Problem::Size))?;
            read::check_bounds(source, offset, size.into(), "value of a key")?;
            index.push(&NewEntry {
                id: u64::from(number) << 32 | position as u64,
                parent: u64::from(header.parent_table.get()) << 32 | u64::from(header.parent_offset.get()),
                name,
                kind: kind(header.kind),
                offset,
                size,
                sequence: header.sequence.get(),
            });
        }
        position += size;
    }
    Ok(())
}

/// A key as it lies in its table.
struct Stored<'a> {
    header: &'a KeyHeader,
    /// Name, value and slack.
    rest: &'a [u8],
}

impl<'a> Stored<'a> {
    fn name(&self) -> Option<&'a str> {
        let (&nul, name) = self.rest.get(..self.header.name_size.into())?.split_last()?;
        let name = std::str::from_utf8(name).ok()?;
        (nul == 0 && !name.is_empty()).then_some(name)
    }

    fn data(&self) -> &'a [u8] {
        self.rest.get(self.header.name_size.into()..).unwrap_or_default()
    }

    fn is_in_file_object(&self) -> bool {
        self.header.flags & key::IN_FILE_OBJECT != 0
    }

    /// Bytes after the name that belong to the value. `None` if the length word is not there.
    fn data_size(&self) -> Option<usize> {
        if self.is_in_file_object() {
            return Some(size_of::<FileObjectReference>());
        }
        Some(match self.header.kind {
            key::INT | key::UINT | key::DOUBLE => 8,
            key::BOOL => 4,
            key::NODE => 12,
            key::STRING | key::ARRAY => {
                let length = self.data().first_chunk::<LENGTH>()?;
                LENGTH.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?
            }
            // The slack cannot be told from the value.
            _ => self.data().len(),
        })
    }

    /// Where the value itself is, and its size. `None` if that cannot be.
    fn value(&self, data_offset: u64, objects: &Objects) -> Option<(u64, u32)> {
        if self.is_in_file_object() {
            let (reference, _) = FileObjectReference::read_from_prefix(self.data()).ok()?;
            let (offset, size) = (reference.offset.get(), reference.size.get());
            let long_enough = match self.header.kind {
                key::INT | key::UINT | key::DOUBLE => size >= 8,
                key::BOOL => size >= 4,
                _ => true,
            };
            return (long_enough && objects.has_file(offset, size)).then_some((offset, size));
        }
        let size = u32::try_from(self.data_size()?).ok()?;
        Some(match self.header.kind {
            key::STRING | key::ARRAY => (data_offset + LENGTH as u64, size - LENGTH as u32),
            _ => (data_offset, size),
        })
    }
}

fn kind(number: u8) -> Kind {
    match number {
        key::INT => Kind::Int,
        key::UINT => Kind::UInt,
        key::DOUBLE => Kind::Double,
        key::STRING => Kind::String,
        key::ARRAY => Kind::Array,
        key::BOOL => Kind::Bool,
        key::NODE => Kind::Node,
        other => Kind::Unknown(other),
    }
}

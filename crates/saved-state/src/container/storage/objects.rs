// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chain of object tables: where key tables and file objects are.

use zerocopy::FromBytes;

use super::layout::{
    ALIGNMENT, Checked, FIRST_OBJECT_TABLE, FORMAT_3_1, OBJECT_TABLE_SIGNATURE, ObjectEntry,
    ObjectTableHeader, object,
};
use crate::container::read;
use crate::error::{Error, Problem, Result};
use crate::source::Source;

/// Longest object table. Real ones have a few pages.
const MOST_TABLE: u64 = 16 << 20;
/// Longest chain of tables in bytes: objects of a save of more than 64 TiB.
const MOST_TABLES: u64 = 1 << 30;

/// Where something is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) size: u32,
}

impl Extent {
    fn end(self) -> u64 {
        // Checked to lie in the file when it was read.
        self.offset + u64::from(self.size)
    }
}

/// The objects that keys need, each kind sorted by offset and without overlaps.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) key_tables: Vec<Extent>,
    pub(super) files: Vec<Extent>,
}

impl Objects {
    /// Where the last one ends.
    pub(super) fn end(&self) -> u64 {
        [&self.key_tables, &self.files]
            .into_iter()
            .filter_map(|kind| kind.last())
            .map(|last| last.end())
            .max()
            .unwrap_or(0)
    }

    /// Whether a file object begins at `offset` and has at least `size` bytes.
    pub(super) fn has_file(&self, offset: u64, size: u32) -> bool {
        let found = self.files.binary_search_by_key(&offset, |file| file.offset);
        found.is_ok_and(|index| self.files[index].size >= size)
    }
}

pub(super) fn read(source: &dyn Source, format_version: u32) -> Result<Objects> {
    let mut objects = Objects::default();
    let mut tables = Vec::new();
    let mut total = 0;
    let mut next = Some(Extent { offset: FIRST_OBJECT_TABLE, size: ALIGNMENT as u32 });
    while let Some(table) = next {
        if tables.contains(&table.offset) {
            return Err(damaged(table.offset, Problem::Loop));
        }
        tables.push(table.offset);
        total += u64::from(table.size);
        read::check_limit("an object table", table.size.into(), MOST_TABLE)?;
        read::check_limit("the chain of object tables", total, MOST_TABLES)?;
        next = read_table(source, table, format_version, &mut objects)?;
    }
    for kind in [&mut objects.key_tables, &mut objects.files] {
        kind.sort_unstable();
        if let Some(pair) = kind.windows(2).find(|pair| pair[0].end() > pair[1].offset) {
            return Err(Error::Damaged { what: "object", offset: pair[1].offset, problem: Problem::Overlap });
        }
    }
    Ok(objects)
}

/// Takes in one table; gives the next one.
fn read_table(
    source: &dyn Source,
    table: Extent,
    format_version: u32,
    objects: &mut Objects,
) -> Result<Option<Extent>> {
    let bytes = read::bytes(source, table.offset, table.size.into(), "object table")?;
    let (header, slots) =
        ObjectTableHeader::read_from_prefix(&bytes).map_err(|_| damaged(table.offset, Problem::Truncated))?;
    if header.signature.get() != OBJECT_TABLE_SIGNATURE {
        return Err(damaged(table.offset, Problem::Signature));
    }
    let slots = slots.chunks_exact(size_of::<ObjectEntry>());
    let count = header.count.get() as usize;
    if count > slots.len() {
        return Err(damaged(table.offset, Problem::Size));
    }
    let mut next = None;
    for (slot, bytes) in slots.take(count).enumerate() {
        let offset = table.offset + (size_of::<ObjectTableHeader>() + slot * size_of::<ObjectEntry>()) as u64;
        let entry = ObjectEntry::read_from_bytes(bytes).map_err(|_| damaged(offset, Problem::Truncated))?;
        if entry.kind == object::EMPTY {
            continue;
        }
        // Formats before 3.1 have a checksum of something else there.
        if format_version >= FORMAT_3_1 && !entry.is_sound(&[]) {
            return Err(Error::Damaged { what: "object entry", offset, problem: Problem::Checksum });
        }
        let extent = Extent { offset: entry.offset.get(), size: entry.size.get() };
        let list = match entry.kind {
            object::NEXT_TABLE if next.is_some() => return Err(damaged(offset, Problem::Overlap)),
            object::NEXT_TABLE => {
                next = Some(extent);
                continue;
            }
            object::KEY_TABLE => &mut objects.key_tables,
            object::FILE => &mut objects.files,
            // Free space, logs, change tracking, and whatever is added one day.
            _ => continue,
        };
        // The last object's padding need not be in the file.
        if extent.offset > source.len() || extent.offset.checked_add(extent.size.into()).is_none() {
            return Err(Error::Damaged { what: "object", offset, problem: Problem::OutOfBounds });
        }
        list.push(extent);
    }
    Ok(next)
}

fn damaged(offset: u64, problem: Problem) -> Error {
    Error::Damaged { what: "object table", offset, problem }
}

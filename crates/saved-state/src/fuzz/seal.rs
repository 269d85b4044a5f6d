// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the structures of a container, damaged or not, and makes their checksums right.

use zerocopy::{FromBytes, IntoBytes};

use crate::container::flat_layout::{Header as FlatHeader, IndexEntry, SIGNATURE as FLAT_SIGNATURE};
use crate::container::storage::layout::{
    Checked, FILE_SIGNATURE, FIRST_OBJECT_TABLE, FileHeader, HEADER_OFFSETS, KeyHeader, KeyTableHeader,
    LogEntry, LogHeader, ObjectEntry, ObjectTableHeader, key, object,
};
use crate::memory::PAGE_SIZE;

/// Most tables, entries and keys that are looked for, whatever leads where.
const MOST: usize = 512;
/// Most words of a key's value that count as fields.
const MOST_WORDS: usize = 16;

/// A number in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) at: usize,
    /// Bytes: 1, 2, 4 or 8.
    pub(super) width: usize,
}

/// A structure of HyperVStorage that has a checksum.
#[derive(Clone, Copy, Debug)]
enum Structure {
    FileHeader,
    LogHeader,
    LogEntry,
    ObjectEntry,
    KeyTable,
    /// With the number of bytes behind it, name and value, that its checksum covers.
    Key(usize),
}

impl Structure {
    /// Widths of its fields.
    fn widths(self) -> &'static [usize] {
        match self {
            Self::FileHeader => &[4, 4, 2, 4, 4, 4, 4, 8, 8, 4],
            Self::LogHeader => &[4, 4, 4, 1, 4, 1, 8, 4, 4],
            Self::LogEntry => &[8, 4, 8, 4, 4],
            Self::ObjectEntry => &[1, 4, 8, 4, 1],
            Self::KeyTable => &[2, 2, 2, 4],
            Self::Key(_) => &[1, 1, 4, 2, 4, 4, 4, 1],
        }
    }

    fn seal(self, file: &mut [u8], at: usize) {
        match self {
            Self::FileHeader => seal_at::<FileHeader>(file, at, 0),
            Self::LogHeader => seal_at::<LogHeader>(file, at, 0),
            Self::LogEntry => seal_at::<LogEntry>(file, at, 0),
            Self::ObjectEntry => seal_at::<ObjectEntry>(file, at, 0),
            Self::KeyTable => seal_at::<KeyTableHeader>(file, at, 0),
            Self::Key(covered) => seal_at::<KeyHeader>(file, at, covered),
        };
    }
}

/// The numbers of a good file that say where other things are or what they mean.
pub(super) fn fields(file: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut add = |start: usize, widths: &[usize]| {
        widths.iter().fold(start, |at, &width| {
            fields.push(Field { at, width });
            at + width
        });
    };
    if file.starts_with(&FLAT_SIGNATURE.to_le_bytes()) {
        add(0, &[4, 4, 4, 4, 8, 8, 4, 4]);
        let Some(header) = read::<FlatHeader>(file, 0) else { return fields };
        for slot in 0..MOST {
            let at = header.index_offset.get() as usize + slot * size_of::<IndexEntry>();
            if read::<IndexEntry>(file, at).is_some_and(|entry| entry.state != 0) {
                add(at, &[4, 2, 1, 1, 4, 4, 8]);
            }
        }
        return fields;
    }
    for (structure, at) in heads(file).into_iter().chain(tables(file)) {
        add(at, structure.widths());
        if let (Structure::Key(covered), Some(header)) = (structure, read::<KeyHeader>(file, at)) {
            let name = usize::from(header.name_size);
            let words = (covered.saturating_sub(name) / 4).min(MOST_WORDS);
            add(at + size_of::<KeyHeader>() + name, &[4; MOST_WORDS][..words]);
        }
    }
    fields
}

/// Makes every checksum right, as far as the structures can be found; what is in the replay log is one of them.
pub(super) fn seal(file: &mut [u8]) {
    // The other container has no checksums.
    if !HEADER_OFFSETS.iter().any(|&at| read::<u32>(file, at as usize) == Some(FILE_SIGNATURE.to_le())) {
        return;
    }
    let heads = heads(file);
    let entries: Vec<LogEntry> = heads
        .iter()
        .filter(|(structure, _)| matches!(structure, Structure::LogEntry))
        .filter_map(|&(_, at)| read(file, at))
        .collect();
    let log = log_offset(file);
    if entries.is_empty() {
        seal_tables(file);
    } else {
        seal_through(file, log, &entries);
    }
    for (structure, at) in heads {
        if let (Structure::LogEntry, Some(mut entry)) = (structure, read::<LogEntry>(file, at)) {
            let start = data(log, &entry);
            let held = file.get(start..start.saturating_add(entry.size.get() as usize)).unwrap_or_default();
            entry.data_crc = crc32fast::hash(held).into();
            file[at..at + size_of::<LogEntry>()].copy_from_slice(entry.as_bytes());
        }
        structure.seal(file, at);
    }
}

fn seal_tables(file: &mut [u8]) {
    for (structure, at) in tables(file) {
        structure.seal(file, at);
    }
}

/// Seals tables that are in the replay log. At the destinations of the log the file stays as it was.
fn seal_through(file: &mut [u8], log: usize, entries: &[LogEntry]) {
    let mut seen = file.to_vec();
    for entry in entries {
        move_within(&mut seen, data(log, entry), entry.destination.get() as usize, entry.size.get());
    }
    seal_tables(&mut seen);
    for entry in entries {
        move_within(&mut seen, entry.destination.get() as usize, data(log, entry), entry.size.get());
    }
    for entry in entries {
        let start = entry.destination.get() as usize;
        let end = start.saturating_add(entry.size.get() as usize);
        if let (Some(now), Some(before)) = (seen.get_mut(start..end), file.get(start..end)) {
            now.copy_from_slice(before);
        }
    }
    file.copy_from_slice(&seen);
}

/// Where the data of a log entry is.
fn data(log: usize, entry: &LogEntry) -> usize {
    log.saturating_add(entry.data_offset.get() as usize)
}

fn move_within(file: &mut [u8], from: usize, to: usize, size: u32) {
    let fits = |start: usize| start.checked_add(size as usize).is_some_and(|end| end <= file.len());
    if fits(from) && fits(to) {
        file.copy_within(from..from + size as usize, to);
    }
}

/// File headers and replay log.
fn heads(file: &[u8]) -> Vec<(Structure, usize)> {
    let copies = HEADER_OFFSETS.map(|at| at as usize).into_iter();
    let copies = copies.filter(|&at| read::<FileHeader>(file, at).is_some());
    let mut found: Vec<_> = copies.map(|at| (Structure::FileHeader, at)).collect();
    let at = log_offset(file);
    let Some(log) = read::<LogHeader>(file, at) else { return found };
    found.push((Structure::LogHeader, at));
    for entry in 0..(log.pending.get() as usize).min(PAGE_SIZE / size_of::<LogEntry>()) {
        let at = at.saturating_add(size_of::<LogHeader>() + entry * size_of::<LogEntry>());
        if read::<LogEntry>(file, at).is_some() {
            found.push((Structure::LogEntry, at));
        }
    }
    found
}

/// Where the header that will count says the log is.
fn log_offset(file: &[u8]) -> usize {
    let copy = |at| {
        let header = read::<FileHeader>(file, at as usize)?;
        (header.signature == FILE_SIGNATURE).then_some(header)
    };
    let header = match HEADER_OFFSETS.map(copy) {
        [Some(first), Some(second)] => {
            let ahead = second.sequence.get().wrapping_sub(first.sequence.get());
            Some(if (1..0x8000).contains(&ahead) { second } else { first })
        }
        [first, second] => first.or(second),
    };
    header.map_or(usize::MAX, |header| header.log_offset.get() as usize)
}

/// Entries of object tables, and keys.
fn tables(file: &[u8]) -> Vec<(Structure, usize)> {
    let mut found = Vec::new();
    let mut next = Some((FIRST_OBJECT_TABLE as usize, PAGE_SIZE));
    let mut seen = Vec::new();
    while let Some((table, size)) = next.take().filter(|place| !seen.contains(place)) {
        seen.push((table, size));
        let Some(header) = read::<ObjectTableHeader>(file, table) else { break };
        let room = size.min(file.len()).saturating_sub(size_of::<ObjectTableHeader>());
        for slot in 0..(room / size_of::<ObjectEntry>()).min(header.count.get() as usize) {
            let at = table.saturating_add(size_of::<ObjectTableHeader>() + slot * size_of::<ObjectEntry>());
            let Some(entry) = read::<ObjectEntry>(file, at) else { break };
            if entry.kind == object::EMPTY {
                continue;
            }
            if found.len() > MOST {
                return found;
            }
            found.push((Structure::ObjectEntry, at));
            let place = (entry.offset.get() as usize, entry.size.get() as usize);
            match entry.kind {
                object::NEXT_TABLE => next = Some(place),
                object::KEY_TABLE => keys(file, place, &mut found),
                _ => {}
            }
        }
    }
    found
}

fn keys(file: &[u8], (table, size): (usize, usize), found: &mut Vec<(Structure, usize)>) {
    if read::<KeyTableHeader>(file, table).is_none() {
        return;
    }
    found.push((Structure::KeyTable, table));
    let mut at = table.saturating_add(size_of::<KeyTableHeader>());
    while at < table.saturating_add(size) && found.len() <= MOST {
        let Some(header) = read::<KeyHeader>(file, at) else { break };
        let name = usize::from(header.name_size);
        let length = read::<[u8; 4]>(file, at.saturating_add(size_of::<KeyHeader>() + name));
        let data = match header.kind {
            _ if header.flags & key::IN_FILE_OBJECT != 0 => 12,
            key::INT | key::UINT | key::DOUBLE => 8,
            key::BOOL => 4,
            key::NODE => 12,
            key::STRING | key::ARRAY => 4 + length.map_or(0, u32::from_le_bytes) as usize,
            _ => (header.size.get() as usize).saturating_sub(size_of::<KeyHeader>() + name),
        };
        if header.kind != key::FREE {
            found.push((Structure::Key(name + data), at));
        }
        at += (header.size.get() as usize).max(1);
    }
}

fn read<T: FromBytes>(file: &[u8], at: usize) -> Option<T> {
    T::read_from_prefix(file.get(at..)?).ok().map(|(structure, _)| structure)
}

/// Makes the checksum of the structure at `at`, which covers `rest` bytes behind it, right.
fn seal_at<T: FromBytes + Checked>(file: &mut [u8], at: usize, rest: usize) -> Option<()> {
    let structure = read::<T>(file, at)?;
    let behind = file.get(at + size_of::<T>()..)?.get(..rest)?;
    let sealed = structure.sealed(behind);
    file[at..at + size_of::<T>()].copy_from_slice(sealed.as_bytes());
    Some(())
}

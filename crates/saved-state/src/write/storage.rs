// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes HyperVStorage. Values of file objects go out as they come; tables follow when all is known.

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::NewValue;
use crate::container::storage::layout::{
    ALIGNMENT, Checked, FILE_OBJECT_THRESHOLD, FILE_SIGNATURE, FIRST_OBJECT_TABLE, FORMAT_4_0, FileHeader,
    FileObjectReference, HEADER_OFFSETS, KEY_TABLE_SIGNATURE, KeyHeader, KeyTableHeader, LOG_SIGNATURE,
    LogEntry, LogHeader, OBJECT_TABLE_SIGNATURE, ObjectEntry, ObjectTableHeader, key, object,
};

const TABLE_SIZE: usize = ALIGNMENT as usize;
const LOG_OFFSET: u64 = FIRST_OBJECT_TABLE + ALIGNMENT;
/// Objects of the first table; its last slot leads to the next one.
const FIRST_SLOTS: usize = (TABLE_SIZE - size_of::<ObjectTableHeader>()) / size_of::<ObjectEntry>() - 1;

/// Writes a container key by key.
pub struct StorageWriter<W> {
    output: W,
    log_size: u64,
    /// Where the next object goes.
    end: u64,
    keys: Vec<PendingKey>,
    /// Nodes by path, as indices of `keys`.
    nodes: HashMap<String, usize>,
    /// Keys at the top so far.
    top: u32,
    table: u16,
    table_end: usize,
    objects: Vec<ObjectEntry>,
}

/// A key that has its place but is not written yet.
struct PendingKey {
    table: u16,
    offset: usize,
    header: KeyHeader,
    name: String,
    data: Vec<u8>,
    children: u32,
}

impl<W> std::fmt::Debug for StorageWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StorageWriter")
            .field("keys", &self.keys.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Seek> StorageWriter<W> {
    /// Begins a container with a replay log of that many pages besides its header.
    ///
    /// # Errors
    /// If `output` cannot be written.
    pub fn new(output: W, log_pages: u32) -> io::Result<Self> {
        let log_size = (u64::from(log_pages) + 1) * ALIGNMENT;
        let mut writer = Self {
            output,
            log_size,
            end: LOG_OFFSET + log_size,
            keys: Vec::new(),
            nodes: HashMap::new(),
            top: 0,
            table: 1,
            table_end: size_of::<KeyTableHeader>(),
            objects: Vec::new(),
        };
        writer.output.seek(SeekFrom::Start(writer.end))?;
        Ok(writer)
    }

    /// Adds a value; nodes on the way are made.
    ///
    /// # Errors
    /// If the output cannot be written, a name is longer than 254 bytes, or there are more keys than a file can have.
    pub fn put(&mut self, path: &str, value: &NewValue) -> io::Result<()> {
        let path = path.trim_matches('/');
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (Some(self.node(parent)?), name),
            None => (None, path),
        };
        let (kind, bytes) = match value {
            NewValue::Int(value) => (key::INT, value.to_le_bytes().to_vec()),
            NewValue::UInt(value) => (key::UINT, value.to_le_bytes().to_vec()),
            NewValue::Double(value) => (key::DOUBLE, value.to_le_bytes().to_vec()),
            NewValue::Bool(value) => (key::BOOL, u32::from(*value).to_le_bytes().to_vec()),
            NewValue::String(text) => (key::STRING, text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            NewValue::Array(bytes) => (key::ARRAY, bytes.clone()),
        };
        let has_length = matches!(kind, key::STRING | key::ARRAY);
        if has_length && bytes.len() >= FILE_OBJECT_THRESHOLD {
            let size = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            let offset = self.object(object::FILE, &bytes)?;
            let reference = FileObjectReference { size: size.into(), offset: offset.into() };
            return self
                .key(parent, name, kind, key::IN_FILE_OBJECT, reference.as_bytes().to_vec())
                .map(drop);
        }
        let mut data = Vec::new();
        if has_length {
            data.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
        data.extend_from_slice(&bytes);
        self.key(parent, name, kind, 0, data).map(drop)
    }

    /// The node with this path.
    fn node(&mut self, path: &str) -> io::Result<usize> {
        if let Some(&node) = self.nodes.get(path) {
            return Ok(node);
        }
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (Some(self.node(parent)?), name),
            None => (None, path),
        };
        let node = self.key(parent, name, key::NODE, 0, vec![0; 12])?;
        self.nodes.insert(path.into(), node);
        Ok(node)
    }

    fn key(
        &mut self,
        parent: Option<usize>,
        name: &str,
        kind: u8,
        flags: u8,
        data: Vec<u8>,
    ) -> io::Result<usize> {
        let name_size = u8::try_from(name.len() + 1).map_err(|_| io::ErrorKind::InvalidFilename)?;
        let size = size_of::<KeyHeader>() + usize::from(name_size) + data.len();
        if self.table_end + size > TABLE_SIZE {
            self.close_table();
            self.table = self.table.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
            self.table_end = size_of::<KeyTableHeader>();
        }
        let (parent_table, parent_offset, sequence) = match parent.map(|parent| &mut self.keys[parent]) {
            Some(parent) => {
                parent.children += 1;
                (parent.table, parent.offset as u32, parent.children)
            }
            None => {
                self.top += 1;
                (0, 0, self.top)
            }
        };
        let header = KeyHeader {
            kind,
            flags,
            size: (size as u32).into(),
            parent_table: parent_table.into(),
            parent_offset: parent_offset.into(),
            crc: U32::ZERO,
            sequence: sequence.into(),
            name_size,
        };
        let (table, offset) = (self.table, self.table_end);
        self.keys.push(PendingKey { table, offset, header, name: name.into(), data, children: 0 });
        self.table_end += size;
        Ok(self.keys.len() - 1)
    }

    /// Lets the last key of a table reach up to its end if what is left is too short for a free entry.
    fn close_table(&mut self) {
        let left = TABLE_SIZE - self.table_end;
        if left < size_of::<KeyHeader>()
            && let Some(last) = self.keys.last_mut()
        {
            last.header.size += U32::new(left as u32);
        }
    }

    fn object(&mut self, kind: u8, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.end;
        self.output.write_all(bytes)?;
        let size = (bytes.len() as u64).next_multiple_of(ALIGNMENT);
        self.output.write_all(&vec![0; (size - bytes.len() as u64) as usize])?;
        self.end += size;
        let size = u32::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.objects.push(entry(kind, offset, size));
        Ok(offset)
    }

    /// Writes the tables and the header.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.close_table();
        for table in self.key_tables() {
            self.object(object::KEY_TABLE, &table)?;
        }
        self.write_objects()?;
        let log = LogHeader {
            signature: LOG_SIGNATURE.into(),
            crc: U32::ZERO,
            pending: U32::ZERO,
            unknown: 0,
            capacity: ((TABLE_SIZE - size_of::<LogHeader>()) as u32 / size_of::<LogEntry>() as u32).into(),
            change_tracking: 0,
            change_tracking_offset: 0.into(),
            change_tracking_size: U32::ZERO,
            change_tracking_used: U32::ZERO,
        };
        self.write_at(LOG_OFFSET, log.sealed(&[]).as_bytes())?;
        for (offset, sequence) in HEADER_OFFSETS.into_iter().zip([2_u16, 1]) {
            let header = FileHeader {
                signature: FILE_SIGNATURE.into(),
                crc: U32::ZERO,
                sequence: sequence.into(),
                format_version: FORMAT_4_0.into(),
                data_version: U32::ZERO,
                flags: U32::ZERO,
                alignment: (ALIGNMENT as u32).into(),
                log_offset: LOG_OFFSET.into(),
                log_size: self.log_size.into(),
                log_header_size: (ALIGNMENT as u32).into(),
            };
            self.write_at(offset, header.sealed(&[]).as_bytes())?;
        }
        self.output.flush()
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.output.seek(SeekFrom::Start(offset))?;
        self.output.write_all(bytes)
    }

    /// All key tables.
    fn key_tables(&mut self) -> Vec<Vec<u8>> {
        let mut tables = Vec::new();
        let mut keys = std::mem::take(&mut self.keys).into_iter().peekable();
        while let Some(first) = keys.peek() {
            let number = first.table;
            let header = KeyTableHeader {
                signature: KEY_TABLE_SIGNATURE.into(),
                index: number.into(),
                sequence: 1.into(),
                crc: U32::ZERO,
            };
            let mut table = header.sealed(&[]).as_bytes().to_vec();
            while let Some(mut key) = keys.next_if(|key| key.table == number) {
                if key.header.kind == key::NODE {
                    key.data[8..].copy_from_slice(&(key.children + 1).to_le_bytes());
                }
                let mut rest = key.name.into_bytes();
                rest.push(0);
                rest.extend_from_slice(&key.data);
                let end = key.offset + key.header.size.get() as usize;
                table.extend_from_slice(key.header.sealed(&rest).as_bytes());
                table.extend_from_slice(&rest);
                table.resize(end, 0);
            }
            let left = TABLE_SIZE - table.len();
            if left > 0 {
                let free = KeyHeader {
                    kind: key::FREE,
                    flags: 0,
                    size: (left as u32).into(),
                    parent_table: 0.into(),
                    parent_offset: U32::ZERO,
                    crc: U32::ZERO,
                    sequence: u32::MAX.into(),
                    name_size: 0,
                };
                table.extend_from_slice(free.as_bytes());
                table.resize(TABLE_SIZE, 0);
            }
            tables.push(table);
        }
        tables
    }

    /// The first object table, and, if it is too small, one with all the rest.
    fn write_objects(&mut self) -> io::Result<()> {
        let mut objects = std::mem::take(&mut self.objects);
        let rest = objects.split_off(objects.len().min(FIRST_SLOTS));
        let mut first = objects;
        first.resize(FIRST_SLOTS, entry(object::EMPTY, 0, 0));
        let next = if rest.is_empty() {
            entry(object::EMPTY, 0, 0)
        } else {
            let table = object_table(&rest);
            let offset = self.end;
            self.write_at(offset, &table)?;
            entry(
                object::NEXT_TABLE,
                offset,
                u32::try_from(table.len()).map_err(|_| io::ErrorKind::FileTooLarge)?,
            )
        };
        first.push(next);
        let table = object_table(&first);
        self.write_at(FIRST_OBJECT_TABLE, &table)
    }
}

/// A table of whole pages, with empty slots behind the entries.
fn object_table(entries: &[ObjectEntry]) -> Vec<u8> {
    let used = size_of::<ObjectTableHeader>() + size_of_val(entries);
    let size = used.next_multiple_of(TABLE_SIZE);
    let slots = (size - size_of::<ObjectTableHeader>()) / size_of::<ObjectEntry>();
    let header = ObjectTableHeader { signature: OBJECT_TABLE_SIGNATURE.into(), count: (slots as u32).into() };
    let mut table = header.as_bytes().to_vec();
    table.extend_from_slice(entries.as_bytes());
    let empty = entry(object::EMPTY, 0, 0);
    for _ in entries.len()..slots {
        table.extend_from_slice(empty.as_bytes());
    }
    table.resize(size, 0);
    table
}

fn entry(kind: u8, offset: u64, size: u32) -> ObjectEntry {
    let flags = if kind == object::EMPTY { 0 } else { object::REQUIRED };
    ObjectEntry { kind, crc: U32::ZERO, offset: offset.into(), size: size.into(), flags }.sealed(&[])
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two containers of saved states: a tree or a table of named values.

mod flat;
mod index;
mod read;
pub(crate) mod storage;

pub(crate) use flat::layout as flat_layout;
pub use index::{Key, Kind};
pub use storage::log::apply_pending_log;

use zerocopy::little_endian::U32;

use crate::error::{Error, Result};
use crate::source::Source;
use index::Index;
use storage::Opened;
use storage::log::PendingLog;

/// Longest text that is read. Real ones are below 1 KiB.
const MOST_TEXT: u64 = 1 << 20;

/// A value of a key. Arrays are read by [`Container::read_array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Other keys.
    Node,
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    UInt(u64),
    /// A floating-point number.
    Double(f64),
    /// Text; what is no UTF-16 in it became U+FFFD.
    String(String),
    /// An array of this many bytes.
    Array(u64),
    /// Yes or no.
    Bool(bool),
    /// A value of unknown type.
    Unknown,
}

/// Which container a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HyperVStorage: .vmrs and .vmcx files.
    HyperVStorage,
    /// The flat table of .bin and .vsv files.
    Flat,
}

/// An open container. A pending replay log is seen as if it had been applied; the file stays as it is.
pub struct Container {
    source: Box<dyn Source>,
    log: PendingLog,
    index: Index,
    format: Format,
    version: u32,
    missing_bytes: u64,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container")
            .field("format", &self.format)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Container {
    /// Reads the keys of a container. The signature decides the format.
    ///
    /// # Errors
    /// [`Error::UnknownSignature`], [`Error::Damaged`], [`Error::UnknownVersion`], [`Error::TooLarge`], [`Error::Read`].
    pub fn open(source: Box<dyn Source>) -> Result<Self> {
        let signature = read::structure::<U32>(&*source, 0, "signature")?.get();
        if signature == flat::layout::SIGNATURE {
            let (index, version, end) = flat::open(&*source)?;
            let missing_bytes = end.saturating_sub(source.len());
            let log = PendingLog::default();
            return Ok(Self { source, log, index, format: Format::Flat, version, missing_bytes });
        }
        let copy = read::structure::<U32>(&*source, storage::layout::HEADER_OFFSETS[1], "signature");
        // One of the two headers may be damaged.
        if ![Some(signature), copy.ok().map(U32::get)].contains(&Some(storage::layout::FILE_SIGNATURE)) {
            return Err(Error::UnknownSignature { signature });
        }
        let Opened { log, index, format_version: version, end } = storage::open(&*source)?;
        let missing_bytes = end.saturating_sub(source.len());
        Ok(Self { source, log, index, format: Format::HyperVStorage, version, missing_bytes })
    }

    /// Which container it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Version of the container's format, as in its header.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Entries of the replay log that are not yet in their places in the file.
    pub fn pending_log_entries(&self) -> usize {
        self.log.len()
    }

    /// Bytes by which the file is shorter than what its tables describe. Every value that they name is in the file nevertheless, or it would
    /// not have been opened: what is missing is room behind values, or the unused part of the replay log, without which there are genuine files too.
    pub fn missing_bytes(&self) -> u64 {
        self.missing_bytes
    }

    /// The key with this path, such as `savedstate/VmVersion`; slashes at its ends do not matter.
    pub fn find(&self, path: &str) -> Option<Key> {
        self.index.find(path)
    }

    /// Gives every key with its path, such as `/savedstate/VmVersion`, depth first.
    pub fn walk(&self, visit: &mut dyn FnMut(&str, Key)) {
        self.index.walk(visit);
    }

    /// What a key holds.
    pub fn kind(&self, key: Key) -> Kind {
        self.index.get(key).kind
    }

    /// Number of bytes of an array; of other values, the bytes they are stored in.
    pub fn size(&self, key: Key) -> u64 {
        self.index.get(key).size.into()
    }

    /// The value of a key; of an array, its size.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::TooLarge`] for text above 1 MiB.
    pub fn value(&self, key: Key) -> Result<Value> {
        let entry = self.index.get(key);
        Ok(match entry.kind {
            Kind::Node => Value::Node,
            Kind::Int => Value::Int(i64::from_le_bytes(self.fixed(key)?)),
            Kind::UInt => Value::UInt(u64::from_le_bytes(self.fixed(key)?)),
            Kind::Double => Value::Double(f64::from_le_bytes(self.fixed(key)?)),
            Kind::Bool => Value::Bool(u32::from_le_bytes(self.fixed(key)?) != 0),
            Kind::Array => Value::Array(entry.size.into()),
            Kind::String => {
                let bytes = self.read_array(key, MOST_TEXT)?;
                let units: Vec<u16> =
                    bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
                let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
                Value::String(String::from_utf16_lossy(&units[..end]))
            }
            Kind::Unknown(_) => Value::Unknown,
        })
    }

    fn fixed<const N: usize>(&self, key: Key) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_at(self.index.get(key).offset, &mut bytes)?;
        Ok(bytes)
    }

    /// All bytes of an array (or of any stored value), of which there may be `limit` at most.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Read`].
    pub fn read_array(&self, key: Key, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_array_into(key, limit, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`read_array`](Self::read_array), into a buffer that is used again and again.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Read`].
    pub fn read_array_into(&self, key: Key, limit: u64, bytes: &mut Vec<u8>) -> Result<()> {
        let entry = self.index.get(key);
        read::check_limit("the value of a key", entry.size.into(), limit)?;
        bytes.resize(entry.size as usize, 0);
        self.read_at(entry.offset, bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let size = buffer.len() as u64;
        let read = self.log.read_through(&*self.source, offset, buffer);
        read.map_err(|source| Error::Read { offset, size, source })
    }
}

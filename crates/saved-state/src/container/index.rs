// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys of a container, in little memory: saved states have tens of thousands of them.

use std::fmt;

/// Deepest nesting of keys that is listed. Real files have about six levels.
const MOST_LEVELS: usize = 64;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Other keys.
    Node,
    /// A signed 64-bit number.
    Int,
    /// An unsigned 64-bit number.
    UInt,
    /// A 64-bit floating-point number.
    Double,
    /// UTF-16 text.
    String,
    /// Bytes.
    Array,
    /// Yes or no.
    Bool,
    /// A type of value that is not known; the number is the container's.
    Unknown(u8),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Int => f.write_str("int"),
            Self::UInt => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Array => f.write_str("array"),
            Self::Bool => f.write_str("bool"),
            Self::Unknown(kind) => write!(f, "type {kind}"),
        }
    }
}

/// One key: where it hangs and where its value is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The number by which other keys call it their parent.
    pub(crate) id: u64,
    /// [`ROOT`] for the keys at the top.
    pub(crate) parent: u64,
    /// Where the value is in the file.
    pub(crate) offset: u64,
    /// Bytes of the value.
    pub(crate) size: u32,
    /// Of two keys with one parent and name the one with the higher sequence counts.
    pub(crate) sequence: u32,
    name_offset: u32,
    name_size: u16,
    pub(crate) kind: Kind,
}

/// The parent of the keys at the top.
pub(crate) const ROOT: u64 = 0;

/// All keys, sorted by parent and name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    names: Vec<u8>,
}

/// A key that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u32);

/// A key before it is in the index.
#[derive(Debug)]
pub(crate) struct NewEntry<'a> {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    pub(crate) size: u32,
    pub(crate) sequence: u32,
}

impl Index {
    pub(crate) fn push(&mut self, new: &NewEntry<'_>) {
        let NewEntry { id, parent, name, kind, offset, size, sequence } = *new;
        // Containers bound the number and the length of names far below these widths.
        let name_offset = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let name_size = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.names.extend_from_slice(name.as_bytes());
        self.entries.push(Entry { id, parent, offset, size, sequence, name_offset, name_size, kind });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sorts the keys and drops those that a later one replaced.
    pub(crate) fn finish(&mut self) {
        let names = std::mem::take(&mut self.names);
        let key = |entry: &Entry| (entry.parent, name(&names, entry));
        self.entries.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then(b.sequence.cmp(&a.sequence)));
        self.entries.dedup_by(|later, first| key(later) == key(first));
        self.names = names;
    }

    pub(crate) fn get(&self, key: Key) -> &Entry {
        &self.entries[key.0 as usize]
    }

    /// The key with this path, such as `savedstate/VmVersion`. A container may have names that are whole paths.
    pub(crate) fn find(&self, path: &str) -> Option<Key> {
        let mut parent = ROOT;
        let mut rest = path.trim_matches('/');
        loop {
            if let Some(found) = self.child(parent, rest) {
                return Some(found);
            }
            let (first, after) = rest.split_once('/')?;
            parent = self.get(self.child(parent, first)?).id;
            rest = after;
        }
    }

    fn child(&self, parent: u64, wanted: &str) -> Option<Key> {
        let key = |entry: &Entry| (entry.parent, name(&self.names, entry));
        let found =
            self.entries.binary_search_by(|entry| key(entry).cmp(&(parent, wanted.as_bytes()))).ok()?;
        u32::try_from(found).ok().map(Key)
    }

    /// Gives every key with its path, depth first, names in order.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&str, Key)) {
        self.walk_from(ROOT, &mut String::new(), 0, visit);
    }

    fn walk_from(&self, parent: u64, path: &mut String, level: usize, visit: &mut dyn FnMut(&str, Key)) {
        let start = self.entries.partition_point(|entry| entry.parent < parent);
        let children = self.entries[start..].iter().take_while(|entry| entry.parent == parent);
        for (index, entry) in (start..).zip(children) {
            let length = path.len();
            path.push('/');
            path.push_str(&String::from_utf8_lossy(name(&self.names, entry)));
            visit(path, Key(index as u32));
            if entry.kind == Kind::Node && level < MOST_LEVELS {
                self.walk_from(entry.id, path, level + 1, visit);
            }
            path.truncate(length);
        }
    }
}

fn name<'a>(names: &'a [u8], entry: &Entry) -> &'a [u8] {
    let start = entry.name_offset as usize;
    names.get(start..start + usize::from(entry.name_size)).unwrap_or_default()
}

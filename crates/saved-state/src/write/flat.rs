// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the flat table of .bin and .vsv files.

use zerocopy::IntoBytes;

use super::NewValue;
use crate::container::flat_layout::{
    ALIGNMENT, ARRAY, BOOL, Header, IN_USE, INT, IndexEntry, SIGNATURE, STRING, VERSION_5_0,
};

/// Smallest index.
const LEAST_CAPACITY: usize = 1024;

/// A file with these keys. There are no unsigned and no floating-point numbers in it: they become signed ones and bytes.
pub(super) fn flat(keys: &[(String, NewValue)]) -> Vec<u8> {
    let mut file = vec![0; ALIGNMENT as usize];
    let mut names = Vec::new();
    let mut index = Vec::new();
    for (name, value) in keys {
        let (kind, bytes) = match value {
            NewValue::Int(value) => (INT, value.to_le_bytes().to_vec()),
            NewValue::UInt(value) => (INT, value.to_le_bytes().to_vec()),
            NewValue::Double(value) => (ARRAY, value.to_le_bytes().to_vec()),
            NewValue::Bool(value) => (BOOL, u32::from(*value).to_le_bytes().to_vec()),
            NewValue::String(text) => (STRING, text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            NewValue::Array(bytes) => (ARRAY, bytes.clone()),
        };
        let mut in_place = [0; 8];
        let (allocated, value) = match in_place.get_mut(..bytes.len()) {
            Some(target) => {
                target.copy_from_slice(&bytes);
                (0, u64::from_le_bytes(in_place))
            }
            None => {
                let offset = file.len() as u64;
                file.extend_from_slice(&bytes);
                pad(&mut file);
                ((file.len() as u64 - offset) as u32, offset)
            }
        };
        index.push(IndexEntry {
            name_offset: (names.len() as u32).into(),
            name_size: (name.len() as u16 + 1).into(),
            state: IN_USE,
            kind,
            allocated: allocated.into(),
            size: (bytes.len() as u32).into(),
            value: value.into(),
        });
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let capacity = index.len().max(LEAST_CAPACITY);
    let index_offset = file.len() as u64;
    file.extend_from_slice(index.as_bytes());
    file.resize(file.len() + (capacity - index.len()) * size_of::<IndexEntry>(), 0);
    pad(&mut file);
    let names_offset = file.len() as u64;
    file.extend_from_slice(&names);
    pad(&mut file);
    let header = Header {
        signature: SIGNATURE.into(),
        version: VERSION_5_0.into(),
        one: 1.into(),
        capacity: (capacity as u32).into(),
        index_offset: index_offset.into(),
        names_offset: names_offset.into(),
        names_allocated: ((file.len() as u64 - names_offset) as u32).into(),
        names_used: (names.len() as u32).into(),
    };
    file[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    file
}

fn pad(file: &mut Vec<u8>) {
    file.resize(file.len().next_multiple_of(ALIGNMENT as usize), 0);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the state of virtual processors.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;

use super::Machine;
use crate::partition::chunk::{
    ChunkHeader, Descriptor, ItemHeader, PROLOG_SIZE, PROLOG_VENDOR, VTL_RUNNABLE, id,
};
use crate::partition::{Register, RegisterValue};

/// Where the privilege level is, behind eight segments.
const PRIVILEGE_LEVEL: usize = 128;

/// A virtual processor to save.
#[derive(Clone, Debug)]
pub struct VpWriter {
    index: u32,
    common: BTreeMap<u32, Vec<u8>>,
    /// By level; the first is the one that runs.
    vtls: Vec<(u8, BTreeMap<u32, Vec<u8>>)>,
}

impl VpWriter {
    pub(super) fn new(index: u32) -> Self {
        Self { index, common: BTreeMap::new(), vtls: Vec::new() }
    }

    /// Sets a register of 64 bits.
    pub fn set(&mut self, register: Register, value: u64) -> &mut Self {
        self.set_value(register, RegisterValue::U64(value))
    }

    /// Sets a register. A value that is no value of that register is not written.
    pub fn set_value(&mut self, register: Register, value: RegisterValue) -> &mut Self {
        set(&mut self.common, register, value);
        self
    }

    /// Sets a register that a virtual trust level has for itself. The level that is named first is the one that ran.
    pub fn set_in_vtl(&mut self, vtl: u8, register: Register, value: RegisterValue) -> &mut Self {
        let found = self.vtls.iter().position(|(number, _)| *number == vtl);
        let found = found.unwrap_or_else(|| {
            self.vtls.push((vtl, BTreeMap::new()));
            self.vtls.len() - 1
        });
        set(&mut self.vtls[found].1, register, value);
        self
    }

    /// Sets the privilege level, 0 to 3.
    pub fn set_privilege_level(&mut self, level: u8) -> &mut Self {
        let (chunk, size) = Register::CS.place();
        self.common.entry(chunk).or_insert_with(|| vec![0; size])[PRIVILEGE_LEVEL] = level;
        self
    }

    /// Adds a chunk as it is.
    pub fn chunk(&mut self, id: u32, data: Vec<u8>) -> &mut Self {
        self.common.insert(id, data);
        self
    }
}

fn set(chunks: &mut BTreeMap<u32, Vec<u8>>, register: Register, value: RegisterValue) {
    let (chunk, size) = register.place();
    register.write(chunks.entry(chunk).or_insert_with(|| vec![0; size]), value);
}

/// The value of the partition-state key.
pub(super) fn partition_state(machine: &Machine) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut prolog = vec![0; PROLOG_SIZE];
    prolog[..4].copy_from_slice(b"PTud");
    prolog[PROLOG_VENDOR..PROLOG_VENDOR + 4].copy_from_slice(&machine.vendor.number().to_le_bytes());
    push(&mut stream, id::PROLOG, &prolog);
    push(&mut stream, id::OS_ID, &machine.os_id.to_le_bytes());
    let mut vtls: Vec<u8> = machine.vps.iter().flat_map(|vp| vp.vtls.iter().map(|(vtl, _)| *vtl)).collect();
    vtls.sort_unstable();
    vtls.dedup();
    for vtl in vtls {
        push(&mut stream, id::PARTITION_VTL, &[vtl]);
    }
    for (id, data) in &machine.chunks {
        push(&mut stream, *id, data);
    }
    let mut indices = vec![0; 4 + machine.vps.len().div_ceil(8)];
    for vp in &machine.vps {
        indices[4 + vp.index as usize / 8] |= 1 << (vp.index % 8);
    }
    push(&mut stream, id::VP_INDICES, &indices);
    for vp in &machine.vps {
        push(&mut stream, id::VP, &vp.index.to_le_bytes());
        push_all(&mut stream, &vp.common);
        let highest = vp.vtls.iter().map(|(vtl, _)| *vtl).max();
        for (place, (vtl, chunks)) in vp.vtls.iter().enumerate() {
            push(&mut stream, id::VP_VTL, &[*vtl]);
            let mut page = vec![0; VTL_RUNNABLE + 8];
            // A level above the one that ran cannot run.
            page[VTL_RUNNABLE] = u8::from(place == 0 && Some(*vtl) == highest);
            push(&mut stream, id::VTL_CONTROL_PAGE, &page);
            push_all(&mut stream, chunks);
        }
    }
    push(&mut stream, id::EPILOG, &[]);

    let mut items = Vec::new();
    let count = machine.vps.len() as u32;
    for (tag, payload) in [(b"sreV", 0x100_u32), (b"tCpV", count)] {
        items.extend_from_slice(item(tag, 4).as_bytes());
        items.extend_from_slice(&payload.to_le_bytes());
    }
    let stream_item = size_of::<Descriptor>() + items.len();
    let total = stream_item + size_of::<ItemHeader>() + stream.len();
    let descriptor = Descriptor {
        size: (size_of::<Descriptor>() as u64).into(),
        stream_item: (stream_item as u64).into(),
        total: (total as u64).into(),
    };
    let mut value = descriptor.as_bytes().to_vec();
    value.extend_from_slice(&items);
    value.extend_from_slice(item(b"tSvH", stream.len() as u32).as_bytes());
    value.extend_from_slice(&stream);
    value
}

fn item(tag: &[u8; 4], payload_size: u32) -> ItemHeader {
    let header_size = (size_of::<ItemHeader>() as u32).into();
    ItemHeader { signature: *b"METI", tag: *tag, header_size, payload_size: payload_size.into() }
}

fn push_all(stream: &mut Vec<u8>, chunks: &BTreeMap<u32, Vec<u8>>) {
    for (&id, data) in chunks {
        push(stream, id, data);
    }
}

fn push(stream: &mut Vec<u8>, id: u32, data: &[u8]) {
    let header = ChunkHeader { id: id.into(), size: (data.len() as u32).into(), padding: 0.into() };
    stream.extend_from_slice(header.as_bytes());
    stream.extend_from_slice(data);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chunk stream in which a partition's state is saved.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::Problem;

/// In front of the chunk stream.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Descriptor {
    pub(crate) size: U64,
    /// Offset of the header of the item that the stream is.
    pub(crate) stream_item: U64,
    pub(crate) total: U64,
}

/// In front of each item; of two items the stream's comes last. Some writers leave these headers zero.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ItemHeader {
    pub(crate) signature: [u8; 4],
    pub(crate) tag: [u8; 4],
    pub(crate) header_size: U32,
    pub(crate) payload_size: U32,
}

/// In front of each chunk.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ChunkHeader {
    pub(crate) id: U32,
    /// Bytes of data behind this header. Any number: nothing is aligned.
    pub(crate) size: U32,
    pub(crate) padding: U64,
}

/// Numbers of chunks.
pub(crate) mod id {
    pub(crate) const PROLOG: u32 = 0;
    pub(crate) const OS_ID: u32 = 0x2000_1000;
    pub(crate) const PARTITION_VTL: u32 = 0x2000_8000;
    pub(crate) const VP_INDICES: u32 = 0x3000_0000;
    pub(crate) const VP: u32 = 0x3000_1000;
    pub(crate) const GENERAL: u32 = 0x3000_5000;
    pub(crate) const FLOATING_POINT: u32 = 0x3000_6000;
    pub(crate) const CONTROL: u32 = 0x3000_7000;
    pub(crate) const DEBUG: u32 = 0x3000_8000;
    pub(crate) const SEGMENTS: u32 = 0x3000_9000;
    pub(crate) const TABLES: u32 = 0x3000_A000;
    pub(crate) const MSRS: u32 = 0x3000_B000;
    pub(crate) const VTL_CONTROL_PAGE: u32 = 0x3001_8000;
    pub(crate) const VP_VTL: u32 = 0x3001_A000;
    pub(crate) const NESTED_BASE: u32 = 0x3002_1000;
    pub(crate) const NESTED_VMCS: u32 = 0x3002_3000;
    pub(crate) const EPILOG: u32 = 0xF000_0000;
}

/// Bytes of the prolog's data.
pub(crate) const PROLOG_SIZE: usize = 4064;
/// Offset of the processor vendor in the prolog.
pub(crate) const PROLOG_VENDOR: usize = 8;
/// Offset of the runnable flag in the VTL control page chunk, behind the control bytes of the VP assist page.
pub(crate) const VTL_RUNNABLE: usize = 24;

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) id: u32,
    /// Offset of the data in the whole value.
    pub(super) offset: usize,
    pub(super) data: &'a [u8],
}

/// The chunks of a value, from the prolog to the epilog, which is not given.
pub(super) struct Chunks<'a> {
    value: &'a [u8],
    at: usize,
    ended: bool,
}

impl<'a> Chunks<'a> {
    /// Finds the stream in the value of the key.
    pub(super) fn new(value: &'a [u8]) -> Result<Self, (usize, Problem)> {
        let (descriptor, _) = Descriptor::read_from_prefix(value).map_err(|_| (0, Problem::Truncated))?;
        let item = usize::try_from(descriptor.stream_item.get()).map_err(|_| (8, Problem::OutOfBounds))?;
        let start = item.checked_add(size_of::<ItemHeader>());
        let start = start.filter(|&start| start <= value.len() && item >= size_of::<Descriptor>());
        Ok(Self { value, at: start.ok_or((8, Problem::OutOfBounds))?, ended: false })
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, (usize, Problem)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        // Nothing comes after an error.
        self.ended = true;
        let at = self.at;
        let Ok((header, rest)) = ChunkHeader::read_from_prefix(&self.value[at..]) else {
            return Some(Err((at, Problem::Truncated)));
        };
        let id = header.id.get();
        if id == id::EPILOG {
            return None;
        }
        let size = header.size.get() as usize;
        let Some(data) = rest.get(..size) else { return Some(Err((at, Problem::OutOfBounds))) };
        let offset = at + size_of::<ChunkHeader>();
        self.at = offset + size;
        self.ended = false;
        Some(Ok(Chunk { id, offset, data }))
    }
}

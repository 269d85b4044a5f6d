// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where saved memory was in the guest.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use super::tokens::{BLOCK_PAGES, PAGE_SIZE};
use crate::error::{Error, Problem, Result};

/// Pages of the 52-bit address space.
const MOST_PAGES: u64 = 1 << 40;
/// The only version of [`StoredBlock`] that is known.
const VERSION: u32 = 3;
const PAGE: u64 = PAGE_SIZE as u64;

/// The value of a memory-block key, byte for byte.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StoredBlock {
    version: U32,
    flags: U32,
    page_count: U64,
    first_saved_page: U64,
    first_gpa_page: U64,
    virtual_node: U32,
    padding: U32,
    ksr_id: U64,
}

const _: () = assert!(size_of::<StoredBlock>() == 48);

/// A part of the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBlock {
    /// Bit 0 hot-added, 1 SGX, 2 for VTL 2, 3 specific purpose.
    pub flags: u32,
    /// Number of pages.
    pub page_count: u64,
    /// Number of its first page among all saved pages.
    pub first_saved_page: u64,
    /// Guest-physical page number of its first page.
    pub first_gpa_page: u64,
    /// Virtual NUMA node.
    pub virtual_node: u32,
}

impl MemoryBlock {
    /// Reads the value of the key of block `index`.
    pub(crate) fn parse(index: u32, value: &[u8]) -> Result<Self> {
        let bad = |problem| Error::BadMemoryBlock { index, problem };
        let version = value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match version {
            Some(VERSION) => {}
            Some(version) => return Err(bad(Problem::Version(version))),
            None => return Err(bad(Problem::Truncated)),
        }
        let (stored, _) = StoredBlock::read_from_prefix(value).map_err(|_| bad(Problem::Truncated))?;
        let block = Self {
            flags: stored.flags.get(),
            page_count: stored.page_count.get(),
            first_saved_page: stored.first_saved_page.get(),
            first_gpa_page: stored.first_gpa_page.get(),
            virtual_node: stored.virtual_node.get(),
        };
        for first in [block.first_saved_page, block.first_gpa_page] {
            if first.checked_add(block.page_count).is_none_or(|end| end > MOST_PAGES) {
                return Err(bad(Problem::OutOfBounds));
            }
        }
        Ok(block)
    }

    /// The value of its key.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let stored = StoredBlock {
            version: VERSION.into(),
            flags: self.flags.into(),
            page_count: self.page_count.into(),
            first_saved_page: self.first_saved_page.into(),
            first_gpa_page: self.first_gpa_page.into(),
            virtual_node: self.virtual_node.into(),
            padding: U32::ZERO,
            ksr_id: U64::ZERO,
        };
        stored.as_bytes().to_vec()
    }
}

/// Consecutive pages of guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Guest-physical page number of the first page.
    pub first_page: u64,
    /// Number of pages.
    pub page_count: u64,
}

/// The memory of a guest: blocks by guest-physical address.
#[derive(Debug, Default)]
pub struct Layout {
    blocks: Vec<Placed>,
    page_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    block: MemoryBlock,
    /// Pages of the blocks before it: where it is when the memory is read without its gaps.
    pages_before: u64,
}

/// Consecutive bytes of one block of saved memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Guest-physical address of the first byte.
    pub gpa: u64,
    /// Number of the block of 256 saved pages.
    pub block: u64,
    /// Offset of the first byte in the block.
    pub offset: usize,
    /// Number of bytes, at least 1.
    pub size: usize,
}

impl Layout {
    pub(crate) fn new(mut blocks: Vec<MemoryBlock>) -> Result<Self> {
        let given = blocks.clone();
        blocks.retain(|block| block.page_count > 0);
        blocks.sort_by_key(|block| block.first_gpa_page);
        let overlap = blocks
            .windows(2)
            .find(|pair| pair[0].first_gpa_page + pair[0].page_count > pair[1].first_gpa_page);
        if let Some(pair) = overlap {
            let index = given.iter().position(|block| *block == pair[1]).unwrap_or(0) as u32;
            return Err(Error::BadMemoryBlock { index, problem: Problem::Overlap });
        }
        let mut page_count = 0;
        let place = |block: MemoryBlock| {
            let pages_before = page_count;
            page_count += block.page_count;
            Placed { block, pages_before }
        };
        let blocks = blocks.into_iter().map(place).collect();
        Ok(Self { blocks, page_count })
    }

    /// The blocks by guest-physical address.
    pub fn blocks(&self) -> impl Iterator<Item = &MemoryBlock> {
        self.blocks.iter().map(|placed| &placed.block)
    }

    /// Number of pages of the guest.
    pub fn page_count(&self) -> u64 {
        self.page_count
    }

    /// Consecutive pages, by guest-physical address; blocks that touch are one chunk.
    pub fn chunks(&self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        for MemoryBlock { first_gpa_page, page_count, .. } in self.blocks() {
            match chunks.last_mut() {
                Some(last) if last.first_page + last.page_count == *first_gpa_page => {
                    last.page_count += page_count
                }
                _ => chunks.push(Chunk { first_page: *first_gpa_page, page_count: *page_count }),
            }
        }
        chunks
    }

    /// The bytes from `gpa` on that lie together in one block, `limit` at most. `None` where no memory is.
    pub fn span(&self, gpa: u64, limit: u64) -> Option<Span> {
        let page = gpa / PAGE;
        let placed =
            self.blocks.partition_point(|placed| placed.block.first_gpa_page <= page).checked_sub(1)?;
        let MemoryBlock { first_gpa_page, first_saved_page, page_count, .. } = self.blocks[placed].block;
        let left = page_count.checked_sub(page - first_gpa_page).filter(|&left| left > 0)?;
        let saved_page = first_saved_page + (page - first_gpa_page);
        let in_block = saved_page % BLOCK_PAGES as u64;
        let together = left.min(BLOCK_PAGES as u64 - in_block) * PAGE - gpa % PAGE;
        let size = together.min(limit);
        let offset = in_block * PAGE + gpa % PAGE;
        (size > 0).then(|| Span {
            gpa,
            block: saved_page / BLOCK_PAGES as u64,
            offset: offset as usize,
            size: size as usize,
        })
    }

    /// All memory by guest-physical address.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.blocks().flat_map(move |block| {
            let end = (block.first_gpa_page + block.page_count) * PAGE;
            let first = self.span(block.first_gpa_page * PAGE, u64::MAX);
            std::iter::successors(first, move |last| {
                let next = last.gpa + last.size as u64;
                if next < end { self.span(next, end - next) } else { None }
            })
        })
    }

    /// Where `gpa` is when the memory is read without its gaps.
    pub fn raw_offset(&self, gpa: u64) -> Option<u64> {
        let page = gpa / PAGE;
        let placed =
            self.blocks.partition_point(|placed| placed.block.first_gpa_page <= page).checked_sub(1)?;
        let Placed { block, pages_before } = &self.blocks[placed];
        let in_block = page - block.first_gpa_page;
        (in_block < block.page_count).then(|| (pages_before + in_block) * PAGE + gpa % PAGE)
    }

    /// The guest-physical address that is at `offset` when the memory is read without its gaps.
    pub fn gpa_of_raw(&self, offset: u64) -> Option<u64> {
        let page = offset / PAGE;
        let placed = self.blocks.partition_point(|placed| placed.pages_before <= page).checked_sub(1)?;
        let Placed { block, pages_before } = &self.blocks[placed];
        let in_block = page - pages_before;
        (in_block < block.page_count).then(|| (block.first_gpa_page + in_block) * PAGE + offset % PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first_gpa_page: u64, page_count: u64, first_saved_page: u64) -> MemoryBlock {
        MemoryBlock { flags: 0, page_count, first_saved_page, first_gpa_page, virtual_node: 0 }
    }

    #[test]
    fn memory_with_a_gap() {
        // Not in order of address, touching at 0x300, a gap, and a block that begins inside a block of saved pages.
        let blocks = vec![block(0x10_0000, 700, 1024), block(0, 0x300, 0), block(0x300, 100, 800)];
        let layout = Layout::new(blocks).unwrap();
        let low = Chunk { first_page: 0, page_count: 0x300 + 100 };
        let high = Chunk { first_page: 0x10_0000, page_count: 700 };
        assert_eq!(layout.chunks(), [low, high]);
        assert_eq!(layout.page_count(), 0x300 + 100 + 700);
        assert_eq!(
            layout.span(0x30_0001, 10).unwrap(),
            Span { gpa: 0x30_0001, block: 3, offset: 32 * 4096 + 1, size: 10 }
        );
        assert_eq!(layout.span((0x300 + 99) * PAGE + 4095, 10).unwrap().size, 1);
        assert_eq!(layout.span((0x300 + 100) * PAGE, 10), None);
        assert_eq!(layout.span(0xFFFF_FFFF, 10), None);
        assert_eq!(layout.span(u64::MAX, 10), None);
        let total: u64 = layout.spans().map(|span| span.size as u64).sum();
        assert_eq!(total, layout.page_count() * PAGE);
        for gpa in [0, 0x123, 0x30_0001, 0x1_0000_0000, 0x1_0000_0000 + 700 * PAGE - 1] {
            let raw = layout.raw_offset(gpa).unwrap();
            assert_eq!(layout.gpa_of_raw(raw), Some(gpa));
        }
        assert_eq!(layout.raw_offset(0x1_0000_0000), Some((0x300 + 100) * PAGE));
        assert_eq!(layout.raw_offset(0xFFFF_FFFF), None);
        assert_eq!(layout.gpa_of_raw(layout.page_count() * PAGE), None);
    }

    #[test]
    fn impossible_memory_is_refused() {
        let overlap = Layout::new(vec![block(5, 1, 0), block(0, 6, 0)]);
        assert!(matches!(overlap, Err(Error::BadMemoryBlock { index: 0, problem: Problem::Overlap })));
        let mut value = block(0, 1, 0).to_bytes();
        assert_eq!(MemoryBlock::parse(0, &value).unwrap(), block(0, 1, 0));
        assert!(matches!(MemoryBlock::parse(3, &value[..47]), Err(Error::BadMemoryBlock { index: 3, .. })));
        value[15] = 0xFF;
        assert!(matches!(
            MemoryBlock::parse(0, &value),
            Err(Error::BadMemoryBlock { problem: Problem::OutOfBounds, .. })
        ));
        value[0] = 2;
        assert!(matches!(
            MemoryBlock::parse(0, &value),
            Err(Error::BadMemoryBlock { problem: Problem::Version(2), .. })
        ));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's memory, decoded as it is asked for.

mod cache;
mod census;
mod layout;
mod tokens;
pub mod xpress;

pub use census::Census;
pub use layout::{Chunk, Layout, MemoryBlock, Span};
pub use tokens::{BLOCK_PAGES, BLOCK_SIZE, Encoding, PAGE_SIZE, decode_block, encode_block};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::container::Container;
use crate::error::{Error, Problem, Result};
use cache::BlockCache;

/// Most memory blocks. Real saves have one for each virtual NUMA node and hole.
const MOST_MEMORY_BLOCKS: u32 = 1 << 16;
const PAGE: u64 = PAGE_SIZE as u64;

/// The keys under which memory is saved; `{}` stands for a number.
#[derive(Clone, Copy, Debug)]
struct Names {
    memory_block: &'static str,
    ram_block: &'static str,
}

/// Virtual machines above version 5.0, and those up to it.
const NAMES: [Names; 2] = [
    Names { memory_block: "savedstate/RamMemoryBlock{}", ram_block: "savedstate/RamBlock{}" },
    Names { memory_block: "RamMemoryBlock/{}", ram_block: "RamBlock/{}" },
];

/// The memory of a saved state. Reading is possible from many threads at once.
#[derive(Debug)]
pub struct Memory {
    layout: Layout,
    contents: Arc<Container>,
    names: Names,
    cache: Mutex<BlockCache>,
    /// Whole pages that are read in place of the saved ones, by address.
    fixes: BTreeMap<u64, Box<[u8; PAGE_SIZE]>>,
}

impl Memory {
    /// Reads the layout from one container; the contents may be in another one.
    pub(crate) fn open(layout: &Container, contents: Arc<Container>) -> Result<Self> {
        let names = NAMES.into_iter().find(|names| layout.find(&numbered(names.memory_block, 0)).is_some());
        let names = names.ok_or_else(|| Error::MissingKey { key: numbered(NAMES[0].memory_block, 0) })?;
        let mut blocks = Vec::new();
        for index in 0..MOST_MEMORY_BLOCKS {
            let Some(key) = layout.find(&numbered(names.memory_block, index.into())) else { break };
            blocks.push(MemoryBlock::parse(index, &layout.read_array(key, PAGE)?)?);
        }
        let cache = Mutex::new(BlockCache::default());
        Ok(Self { layout: Layout::new(blocks)?, contents, names, cache, fixes: BTreeMap::new() })
    }

    /// Where the memory was in the guest.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Counts the blocks that the layout describes and the file has not, and those that the file has besides.
    pub fn census(&self) -> Census {
        let prefix = self.names.ram_block.trim_end_matches("{}");
        let mut present = Vec::new();
        self.contents.walk(&mut |path, _| {
            let number = path.strip_prefix('/').and_then(|path| path.strip_prefix(prefix));
            present.extend(number.and_then(|number| number.parse::<u64>().ok()));
        });
        census::take(&self.layout, present)
    }

    /// Bytes at the end of the file of the memory that should be there and are not: [`Container::missing_bytes`].
    pub fn missing_bytes(&self) -> u64 {
        self.contents.missing_bytes()
    }

    /// Reads from guest-physical address `gpa` on, and gives the number of bytes that were read: fewer than asked for if memory ends before.
    ///
    /// # Errors
    /// [`Error::NotMemory`] if there is no memory at `gpa`; [`Error::BadRamBlock`] and [`Error::MissingRamBlock`] if the first byte
    /// cannot be read.
    pub fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let left = buffer.len() - done;
            let span = gpa.checked_add(done as u64).and_then(|gpa| self.layout.span(gpa, left as u64));
            let Some(span) = span else { break };
            let target = &mut buffer[done..done + span.size];
            match self.read_span(span, target) {
                Ok(()) => done += span.size,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if done == 0 && !buffer.is_empty() { Err(Error::NotMemory { gpa }) } else { Ok(done) }
    }

    /// Reads exactly that many bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::NotMemory`] with the first address that is none.
    pub fn read_exact(&self, gpa: u64, buffer: &mut [u8]) -> Result<()> {
        let done = self.read(gpa, buffer)?;
        if done == buffer.len() { Ok(()) } else { Err(Error::NotMemory { gpa: gpa + done as u64 }) }
    }

    /// Bytes of memory, gaps not counted.
    pub fn raw_size(&self) -> u64 {
        self.layout.page_count() * PAGE
    }

    /// Reads from `offset` on in the memory without its gaps, by guest-physical address, and gives the number of bytes that were
    /// read: fewer than asked for, or none, at the end.
    ///
    /// # Errors
    /// [`Error::BadRamBlock`], [`Error::MissingRamBlock`] if the first byte cannot be read.
    pub fn read_raw(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let gpa = offset.checked_add(done as u64).and_then(|offset| self.layout.gpa_of_raw(offset));
            let Some(gpa) = gpa else { break };
            match self.read(gpa, &mut buffer[done..]) {
                Ok(size) => done += size,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Most decoded blocks of 1 MiB that are kept; 32 if it is never set, and at least 1.
    pub fn set_cache_limit(&self, blocks: usize) {
        self.cache().set_limit(blocks);
    }

    /// Most decoded blocks of 1 MiB that are kept.
    pub fn cache_limit(&self) -> usize {
        self.cache().limit()
    }

    /// Makes every later read find `bytes` at `gpa`. The file stays as it is.
    pub(crate) fn fix(&mut self, gpa: u64, bytes: &[u8]) -> Result<()> {
        let mut at = gpa;
        let mut rest = bytes;
        let mut pages = Vec::new();
        while !rest.is_empty() {
            let (page, offset) = (at - at % PAGE, (at % PAGE) as usize);
            let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE - offset));
            let mut contents = Box::new([0; PAGE_SIZE]);
            self.read_exact(page, contents.as_mut_slice())?;
            contents[offset..offset + now.len()].copy_from_slice(now);
            pages.push((page, contents));
            at += now.len() as u64;
            rest = later;
        }
        self.fixes.extend(pages);
        Ok(())
    }

    fn read_span(&self, span: Span, target: &mut [u8]) -> Result<()> {
        // Not in the match itself: that would hold the lock while a block is decoded.
        let cached = self.cache().get(span.block);
        let block = match cached {
            Some(block) => block,
            None => {
                let mut pages = vec![0; BLOCK_SIZE];
                let block = match self.decode(span.block, &mut Vec::new(), &mut pages) {
                    Ok(size) => {
                        pages.truncate(size);
                        Ok(Arc::new(pages))
                    }
                    Err(Error::BadRamBlock { problem, .. }) => Err(problem),
                    Err(error) => return Err(error),
                };
                self.cache().insert(span.block, block.clone());
                block
            }
        };
        let end = span.offset + span.size;
        let bad = |problem| Error::BadRamBlock { block: span.block, problem };
        let block = block.map_err(bad)?;
        target.copy_from_slice(block.get(span.offset..end).ok_or_else(|| bad(Problem::Truncated))?);
        self.apply_fixes(span.gpa, target);
        Ok(())
    }

    /// Decodes the block of a span past the cache, for those who read everything once, and gives the span's bytes in it.
    pub(crate) fn decode_span<'a>(
        &self,
        span: Span,
        stored: &mut Vec<u8>,
        pages: &'a mut [u8],
    ) -> Result<&'a mut [u8]> {
        let size = self.decode(span.block, stored, pages)?;
        let end = span.offset + span.size;
        if end > size {
            return Err(Error::BadRamBlock { block: span.block, problem: Problem::Truncated });
        }
        let target = &mut pages[span.offset..end];
        self.apply_fixes(span.gpa, target);
        Ok(target)
    }

    /// Decodes a block into `pages`, which has [`BLOCK_SIZE`] bytes, and gives the number of bytes the block holds.
    fn decode(&self, block: u64, stored: &mut Vec<u8>, pages: &mut [u8]) -> Result<usize> {
        let name = numbered(self.names.ram_block, block);
        let key = self.contents.find(&name).ok_or(Error::MissingRamBlock { block })?;
        if self.contents.size(key) > tokens::MOST_STORED {
            return Err(Error::BadRamBlock { block, problem: Problem::Size });
        }
        self.contents.read_array_into(key, tokens::MOST_STORED, stored)?;
        decode_block(stored, pages).map_err(|problem| Error::BadRamBlock { block, problem })
    }

    fn apply_fixes(&self, gpa: u64, bytes: &mut [u8]) {
        let end = gpa + bytes.len() as u64;
        for (&page, contents) in self.fixes.range(gpa - gpa % PAGE..end) {
            let (from, to) = (page.max(gpa), (page + PAGE).min(end));
            let fixed = &contents[(from - page) as usize..(to - page) as usize];
            bytes[(from - gpa) as usize..(to - gpa) as usize].copy_from_slice(fixed);
        }
    }

    fn cache(&self) -> MutexGuard<'_, BlockCache> {
        // What is in the cache stays right whatever a thread that held it did.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn numbered(name: &str, number: u64) -> String {
    name.replace("{}", &number.to_string())
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The blocks of one processor.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iced_x86::Instruction;
use memory::ObjectId;

use super::{Handler, JumpCache, Op};
use crate::cpu::Mode;
use crate::host_execution::Stub;
use crate::system::SlowInstruction;

/// Operations in a chunk of the arena (512 KiB).
const CHUNK: usize = 16_384;
/// Granularity of [`CodePage::lines`], in bytes.
const LINE: u32 = 64;
/// `immediate` of the slow instruction of the transient block.
const TRANSIENT: u64 = u64::MAX;

/// A page with code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CodePlace {
    pub(crate) object: ObjectId,
    pub(crate) page: u64,
}

/// What a block is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockKey {
    pub(crate) place: CodePlace,
    pub(crate) offset: u16,
    pub(crate) mode: Mode,
}

impl std::hash::Hash for BlockKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.object.hash(state);
        state.write_u64(self.place.page << 20 | u64::from(self.offset) << 8 | u64::from(self.mode.bits()));
    }
}

/// A fast hash for keys that no guest gains anything from making collide (they cost only its own time).
#[derive(Default)]
pub(crate) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }
    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 32;
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<MixHasher>>;

struct BlockRecord {
    first: *mut Op,
    operations: usize,
    /// Bytes of the page that it was decoded from.
    start: u32,
    end: u32,
    key: BlockKey,
}

#[derive(Default)]
struct CodePage {
    blocks: Vec<BlockRecord>,
    /// Which lines of 64 bytes hold bytes that blocks were decoded from.
    lines: u64,
}

/// What is decoded beside operations.
#[derive(Clone, Copy)]
pub(crate) struct SlowEntry {
    pub(crate) function: SlowInstruction,
    pub(crate) instruction: Instruction,
}

/// The chunks that the block caches of all processors may take together. Each may take one beyond.
#[derive(Debug)]
pub(crate) struct ChunkBudget(AtomicUsize);

impl ChunkBudget {
    /// A budget of so many bytes of operations.
    pub(crate) const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes / (CHUNK * size_of::<Op>())))
    }

    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give_back(&self, chunks: usize) {
        self.0.fetch_add(chunks, Ordering::Relaxed);
    }
}

pub(crate) struct BlockCache {
    /// Leaked boxes of [`CHUNK`] operations, reached by raw pointers only.
    chunks: Vec<NonNull<Op>>,
    /// Operations used in the last chunk.
    used: usize,
    budget: Arc<ChunkBudget>,
    blocks: Map<BlockKey, *const Op>,
    pages: Map<CodePlace, CodePage>,
    slow: Vec<SlowEntry>,
    stubs: Vec<Arc<Stub>>,
    /// The block that is not kept, and what it uses.
    transient: Vec<Op>,
    transient_slow: Option<SlowEntry>,
    transient_stub: Option<Arc<Stub>>,
    pub(crate) jumps: JumpCache,
    stale: Handler,
}

// SAFETY: operations belong to this value alone; stubs are code that any thread may run.
unsafe impl Send for BlockCache {}

fn lines_of(start: u32, end: u32) -> u64 {
    let first = start / LINE;
    let last = (end.max(start + 1) - 1).min(4095) / LINE;
    (u64::MAX >> (63 - (last - first))) << first
}

impl BlockCache {
    /// An empty cache. `stale` is the handler of dropped operations.
    pub(crate) fn new(budget: Arc<ChunkBudget>, stale: Handler) -> Self {
        Self {
            chunks: Vec::new(),
            used: CHUNK,
            budget,
            blocks: Map::default(),
            pages: Map::default(),
            slow: Vec::new(),
            stubs: Vec::new(),
            transient: Vec::new(),
            transient_slow: None,
            transient_stub: None,
            jumps: JumpCache::new(),
            stale,
        }
    }

    pub(crate) fn find(&self, key: &BlockKey) -> Option<*const Op> {
        self.blocks.get(key).copied()
    }

    /// Whether an operation's block was dropped.
    pub(crate) fn is_stale(&self, op: *const Op) -> bool {
        // SAFETY: whatever leads to operations is forgotten before they are freed.
        std::ptr::fn_addr_eq(unsafe { (*op).handler() }, self.stale)
    }

    /// Whether an operation is of a block of a page. (The translation of the page that it was found by may have changed since.)
    pub(crate) fn is_of_page(&self, op: *const Op, place: &CodePlace) -> bool {
        self.pages.get(place).is_some_and(|page| {
            let holds = |block: &BlockRecord| {
                let first = block.first.cast_const();
                first <= op && op < first.wrapping_add(block.operations)
            };
            page.blocks.iter().any(holds)
        })
    }

    /// Makes room for a block of `operations`; gives whether that worked without dropping anything.
    pub(crate) fn make_room(&mut self, operations: usize) -> bool {
        if self.used + operations <= CHUNK {
            return true;
        }
        if !self.chunks.is_empty() && !self.budget.take() {
            return false;
        }
        let blank = || Op::new(self.stale, 0, 0);
        let chunk: Box<[Op]> = (0..CHUNK).map(|_| blank()).collect();
        self.chunks.push(NonNull::from(Box::leak(chunk)).cast());
        self.used = 0;
        true
    }

    /// Whether blocks were decoded from the page.
    pub(crate) fn has_page(&self, place: &CodePlace) -> bool {
        self.pages.contains_key(place)
    }

    /// Makes the page known as one with code.
    pub(crate) fn add_page(&mut self, place: CodePlace) {
        self.pages.entry(place).or_default();
    }

    /// Puts operations into the arena, for which there is room.
    pub(crate) fn insert(&mut self, operations: &mut Vec<Op>, key: BlockKey, end: u32) -> *const Op {
        let count = operations.len();
        debug_assert!(self.used + count <= CHUNK);
        let chunk = self.chunks.last().expect("room was made before");
        let first = chunk.as_ptr().wrapping_add(self.used);
        for (index, operation) in operations.drain(..).enumerate() {
            // SAFETY: `used + count` is within the chunk.
            unsafe { first.add(index).write(operation) };
        }
        self.used += count;
        self.blocks.insert(key, first);
        let page = self.pages.entry(key.place).or_default();
        let start = u32::from(key.offset);
        page.lines |= lines_of(start, end);
        page.blocks.push(BlockRecord { first, operations: count, start, end, key });
        first
    }

    /// Takes the operations of a block that holds until the next call.
    pub(crate) fn insert_transient(&mut self, operations: Vec<Op>) -> *const Op {
        self.transient = operations;
        self.transient.as_ptr()
    }

    /// Keeps what a slow instruction's operation needs; gives its `immediate`.
    pub(crate) fn add_slow(
        &mut self,
        function: SlowInstruction,
        instruction: Instruction,
        transient: bool,
    ) -> u64 {
        let entry = SlowEntry { function, instruction };
        if transient {
            self.transient_slow = Some(entry);
            return TRANSIENT;
        }
        self.slow.push(entry);
        self.slow.len() as u64 - 1
    }

    pub(crate) fn slow_entry(&self, immediate: u64) -> SlowEntry {
        match immediate {
            TRANSIENT => self.transient_slow.expect("the transient block has a slow instruction"),
            index => self.slow[index as usize],
        }
    }

    /// Keeps a stub alive as long as operations may use it; gives their `immediate`.
    pub(crate) fn add_stub(&mut self, stub: Arc<Stub>, transient: bool) -> u64 {
        let pointer = Arc::as_ptr(&stub).expose_provenance() as u64;
        if transient {
            self.transient_stub = Some(stub);
        } else {
            self.stubs.push(stub);
        }
        pointer
    }

    /// Bytes of a page were stored to: drops the blocks that were decoded from them. Gives whether the page holds no block any more.
    pub(crate) fn stored(&mut self, place: CodePlace, offset: u32, size: u32) -> bool {
        let Some(page) = self.pages.get_mut(&place) else { return true };
        if page.lines & lines_of(offset, offset + size) == 0 {
            return false;
        }
        let mut lines = 0;
        let (stale, blocks) = (self.stale, &mut self.blocks);
        page.blocks.retain(|block| {
            let keep = block.end <= offset || offset + size <= block.start;
            if keep {
                lines |= lines_of(block.start, block.end);
            } else {
                make_stale(block, stale);
                blocks.remove(&block.key);
            }
            keep
        });
        page.lines = lines;
        if page.blocks.is_empty() {
            self.pages.remove(&place);
            return true;
        }
        false
    }

    /// Drops everything. No chain may be running; links and jumps go with it.
    pub(crate) fn clear(&mut self) -> Vec<CodePlace> {
        let places = self.pages.keys().copied().collect();
        self.blocks.clear();
        self.pages.clear();
        self.slow.clear();
        self.stubs.clear();
        self.jumps.clear();
        self.free_chunks(1);
        self.used = if self.chunks.is_empty() { CHUNK } else { 0 };
        places
    }

    /// Frees all chunks but the first `keep`.
    fn free_chunks(&mut self, keep: usize) {
        self.budget.give_back(self.chunks.len().saturating_sub(1));
        for chunk in self.chunks.drain(keep.min(self.chunks.len())..) {
            let operations = std::ptr::slice_from_raw_parts_mut(chunk.as_ptr(), CHUNK);
            // SAFETY: made from such a box, and nothing leads to its operations any more.
            drop(unsafe { Box::from_raw(operations) });
        }
    }

    /// Forgets where jumps into a linear page lead.
    pub(crate) fn forget_page(&mut self, linear: u64) {
        self.jumps.forget_page(linear);
    }
}

impl Drop for BlockCache {
    fn drop(&mut self) {
        self.free_chunks(0);
    }
}

/// Which lines of 64 bytes of a page an access touches, as bits.
pub(crate) fn touched_lines(offset: u32, size: u32) -> u64 {
    lines_of(offset, offset + size)
}

fn make_stale(block: &BlockRecord, stale: Handler) {
    for index in 0..block.operations {
        // SAFETY: the record's operations stay in the arena until it is cleared, which drops the record too.
        unsafe { (*block.first.add(index)).set_handler(stale) };
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Predecoded operations, the blocks they stand in, and how blocks are found, linked and dropped.
//!
//! A block is a run of operations in one page of an object, decoded for one [`crate::cpu::Mode`]. It ends at the first instruction that always leaves the
//! straight line, at the end of the page, or when it is long enough; conditional branches that are not taken stay inside. Operations are never freed one
//! by one: a dropped block's operations get the handler `stale`, which returns to the run loop, so links to it and even a chain that runs in
//! it stay valid. When the arena is full everything is dropped at once, by the run loop, when no chain runs.

mod cache;
mod code_pages;
mod jump;
mod op;

pub(crate) use cache::{BlockCache, BlockKey, ChunkBudget, CodePlace, touched_lines};
pub(crate) use code_pages::CodePages;
pub(crate) use jump::JumpCache;
pub(crate) use op::{Handler, Leave, Op, field};

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory: what backs it, how a partition sees it, and the only ways there are to touch it.
//!
//! * A [`MemoryObject`] is a run of host pages: ours, or a host program's that we were lent.
//! * A [`Space`] is a guest-physical address space. It has one or more views ([`ViewId`]), each of which maps
//!   guest pages to pages of objects with [`Rights`] of its own, and can lay overlay pages over them that hide what
//!   they cover without destroying it.
//! * All access goes through small primitives which report a host page that faults as an error. There is never a
//!   Rust reference into guest memory: values are copied.
//! * Whoever caches what a space says ([`SpaceObserver`]) or what pages contain ([`StoreWatcher`]) is told of every
//!   change. A [`Space::batch`] returns only when nobody can use the old state any more.
//!
//! This room knows nothing of processors, partitions or devices.
//!
//! Addresses are plain `u64`: `gpa` is a guest-physical byte address, `gpn` a guest page number (`gpa >> 12`).

mod access;
mod error;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod object;
pub mod recover;
mod rights;
mod space;
mod view;

#[cfg(test)]
mod tests;

pub use access::Fault;
pub use error::{AccessError, AccessErrorCause, MemoryError};
pub use object::{MemoryObject, ObjectId, StoreWatcher};
pub use rights::Rights;
pub use space::{Batch, Space, SpaceObserver};
pub use view::{OverlayId, Resolved, ViewId};

/// Bytes in a page: the unit of mapping, rights and overlays (TLFS 1.7).
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

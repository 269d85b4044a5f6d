// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways in which memory can refuse.

use crate::{Rights, ViewId};

/// The host could not provide or accept memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The host refused to reserve address space.
    #[error("the host refused {bytes} bytes of memory for the guest: {source}; give the guest less memory")]
    Reserve {
        /// How much was asked for.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
    /// A size or address is not a whole number of pages, or is zero.
    #[error("{what} is {value:#x}, which is not a positive multiple of the page size (0x1000)")]
    Unaligned {
        /// Which value.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// A mapping reaches past the end of its object or of the guest-physical address space.
    #[error("a mapping of {pages} pages at page {first:#x} of {what} reaches past its end, page {end:#x}")]
    OutOfRange {
        /// The thing it reaches past.
        what: &'static str,
        /// First page.
        first: u64,
        /// Number of pages.
        pages: u64,
        /// The first page that is no longer in it.
        end: u64,
    },
    /// The view does not exist in this space.
    #[error("view {0:?} does not exist")]
    NoSuchView(ViewId),
}

/// Why an access to guest memory did not happen. Nothing was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("access to guest-physical address {gpa:#x} failed: {cause}")]
pub struct AccessError {
    /// First address that could not be accessed.
    pub gpa: u64,
    /// Why.
    pub cause: AccessErrorCause,
}

/// The reason in an [`AccessError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessErrorCause {
    /// No page is mapped there.
    #[error("nothing is mapped there")]
    Unmapped,
    /// A page is mapped, but without the right that was needed.
    #[error("the page has rights {have:?}, {need:?} was needed")]
    Denied {
        /// Rights the page has.
        have: Rights,
        /// Rights the access needed.
        need: Rights,
    },
    /// The host program's page behind it cannot be touched.
    #[error("the host page behind it faults")]
    HostFault,
}

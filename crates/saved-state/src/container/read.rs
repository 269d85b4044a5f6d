// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checked reads of a source.

use zerocopy::FromBytes;

use crate::error::{Error, Problem, Result};
use crate::source::Source;

/// The structure of fixed size at `offset`.
pub(crate) fn structure<T: FromBytes>(
    source: &(impl Source + ?Sized),
    offset: u64,
    what: &'static str,
) -> Result<T> {
    let bytes = bytes(source, offset, size_of::<T>() as u64, what)?;
    T::read_from_bytes(&bytes).map_err(|_| Error::Damaged { what, offset, problem: Problem::Truncated })
}

/// `size` bytes at `offset`; never more is allocated than the source has.
pub(crate) fn bytes(
    source: &(impl Source + ?Sized),
    offset: u64,
    size: u64,
    what: &'static str,
) -> Result<Vec<u8>> {
    check_bounds(source, offset, size, what)?;
    let length =
        usize::try_from(size).map_err(|_| Error::TooLarge { what, size, limit: usize::MAX as u64 })?;
    let mut bytes = vec![0; length];
    source.read_at(offset, &mut bytes).map_err(|source| Error::Read { offset, size, source })?;
    Ok(bytes)
}

/// Refuses what reaches beyond the end of the source.
pub(crate) fn check_bounds(
    source: &(impl Source + ?Sized),
    offset: u64,
    size: u64,
    what: &'static str,
) -> Result<()> {
    match offset.checked_add(size) {
        Some(end) if end <= source.len() => Ok(()),
        _ => Err(Error::Damaged { what, offset, problem: Problem::OutOfBounds }),
    }
}

/// Refuses what is larger than `limit`.
pub(crate) fn check_limit(what: &'static str, size: u64, limit: u64) -> Result<()> {
    if size <= limit { Ok(()) } else { Err(Error::TooLarge { what, size, limit }) }
}

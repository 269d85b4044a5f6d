// SPDX-License-Identifier: MIT OR Apache-2.0
//! Little-endian fields of files that may be cut short.

/// The `N` bytes at `offset`, or nothing if the file ends before.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: u64) -> Option<[u8; N]> {
    range(bytes, offset, N as u64)?.try_into().ok()
}

/// The 16-bit field at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: u64) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The 32-bit field at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: u64) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The 64-bit field at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: u64) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// `length` bytes from `offset` on, or nothing if the file ends before.
pub(crate) fn range(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    bytes.get(start..end)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds Windows images (PE files with their DOS header) in a guest's virtual memory.

use crate::error::{Error, Result};
use crate::memory::PAGE_SIZE;
use crate::paging::PagingMode;
use crate::state::SavedState;

const PAGE: u64 = PAGE_SIZE as u64;
/// Longest name of a symbol file that is read.
const MOST_NAME: usize = 260;
/// Pages that are looked at for each page of memory: page tables can map one page again and again, hostile ones endlessly.
const MOST_VISITS: u64 = 16;
/// Pages that are looked at in any case.
const LEAST_VISITS: u64 = 1 << 20;

/// An image in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Guest-virtual address of its first byte.
    pub base: u64,
    /// Size in memory, in bytes.
    pub size: u32,
    /// When it was linked: seconds since 1970, or a hash.
    pub timestamp: u32,
    /// The symbol file it names, if its debug directory can be read.
    pub symbols: Option<Symbols>,
}

/// What an image says about its symbol file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// Name, often with a path.
    pub pdb: String,
    /// The symbol file's GUID, as its bytes stand in the image.
    pub guid: [u8; 16],
    /// The symbol file's age.
    pub age: u32,
}

/// What a scan gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The images, by address.
    pub images: Vec<Image>,
    /// The scan ended before the end of the range, because it had seen far more pages than the guest has.
    pub stopped_at: Option<u64>,
}

/// The part of the address space where kernels are: the upper half.
///
/// # Errors
/// As [`SavedState::paging_mode`].
pub fn kernel_range(saved: &SavedState, vp: u32) -> Result<(u64, u64)> {
    Ok(match saved.paging_mode(vp)? {
        PagingMode::Long | PagingMode::Armv8 => (0xFFFF_8000_0000_0000, u64::MAX),
        PagingMode::Bits32 | PagingMode::Pae => (0x8000_0000, 0xFFFF_FFFF),
        PagingMode::NonPaged => (0, u64::from(u32::MAX)),
    })
}

/// Looks at the start of every mapped page from `first` to `last`, both included.
///
/// # Errors
/// [`Error::NoVp`], [`Error::NoRegister`], [`Error::Unsupported`].
pub fn scan(saved: &SavedState, vp: u32, first: u64, last: u64) -> Result<Found> {
    let mut found = Found::default();
    let mut visits = LEAST_VISITS.max(saved.memory().layout().page_count().saturating_mul(MOST_VISITS));
    let mut next = Some(first - first % PAGE);
    while let Some(at) = next.filter(|&at| at <= last) {
        if visits == 0 {
            found.stopped_at = Some(at);
            break;
        }
        visits -= 1;
        next = match image(saved, vp, at) {
            Ok(image) => {
                found.images.extend(image);
                at.checked_add(PAGE)
            }
            Err(Error::NotMapped { unmapped, .. }) => {
                // Up to the next page, and at least one.
                at.checked_add(unmapped.max(PAGE)).map(|after| after - after % PAGE)
            }
            Err(error) => return Err(error),
        };
    }
    Ok(found)
}

/// The image at a guest-virtual address, if one is there.
///
/// # Errors
/// As [`SavedState::translate`] if the address is not mapped. What cannot be read is no image.
pub fn image(saved: &SavedState, vp: u32, base: u64) -> Result<Option<Image>> {
    let page = saved.translate(vp, base)?;
    let mut start = [0; 0x40];
    if saved.memory().read_exact(page.gpa, &mut start).is_err() || !start.starts_with(b"MZ") {
        return Ok(None);
    }
    Ok(headers(saved, vp, base, &start))
}

fn headers(saved: &SavedState, vp: u32, base: u64, start: &[u8; 0x40]) -> Option<Image> {
    let read = |offset: u32, buffer: &mut [u8]| {
        let at = base.checked_add(offset.into())?;
        (saved.read_virtual(vp, at, buffer).ok()? == buffer.len()).then_some(())
    };
    let at = u32_at(start, 0x3C)?;
    // The header lies in the first page, as it does in every real image.
    if at < 4 || at >= PAGE_SIZE as u32 {
        return None;
    }
    // Signature, file header, optional header with directories.
    let mut header = [0; 24 + 240];
    read(at, &mut header)?;
    if !header.starts_with(b"PE\0\0") {
        return None;
    }
    let timestamp = u32_at(&header, 8)?;
    let optional = header.get(24..)?;
    let directories = match u16::from_le_bytes(*optional.first_chunk()?) {
        0x10B => 96,
        0x20B => 112,
        _ => return None,
    };
    let size = u32_at(optional, 56)?;
    let symbols = (|| {
        // Directory 6 is the debug directory.
        let (table, table_size) = (u32_at(optional, directories + 48)?, u32_at(optional, directories + 52)?);
        for entry in 0..(table_size / 28).min(16) {
            let mut bytes = [0; 28];
            read(table.checked_add(entry * 28)?, &mut bytes)?;
            let (kind, length, place) = (u32_at(&bytes, 12)?, u32_at(&bytes, 16)?, u32_at(&bytes, 20)?);
            // CodeView.
            if kind == 2 && length > 24 {
                let mut record = vec![0; (length as usize).min(24 + MOST_NAME)];
                read(place, &mut record)?;
                if record.starts_with(b"RSDS") {
                    let name = record[24..].split(|&byte| byte == 0).next()?;
                    let pdb = String::from_utf8_lossy(name).into_owned();
                    return Some(Symbols {
                        pdb,
                        guid: *record[4..].first_chunk()?,
                        age: u32_at(&record, 20)?,
                    });
                }
            }
        }
        None
    })();
    Some(Image { base, size, timestamp, symbols })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Putting the segments of a program where they say they belong.

use std::borrow::Cow;
use std::ops::Range;

use crate::elf::Elf;
use crate::{LoadError, MemoryMap, Segment};

/// The segments of a program, none overlapping another, each in usable memory.
pub(crate) struct Placed<'a> {
    pub(crate) segments: Vec<Segment<'a>>,
    /// First address and last-plus-one, what is to be cleared included.
    pub(crate) extent: (u64, u64),
}

impl Placed<'_> {
    /// Whether `gpa` lies in the part that comes from the file.
    pub(crate) fn contains(&self, gpa: u64) -> bool {
        self.segments
            .iter()
            .any(|part| gpa.checked_sub(part.gpa).is_some_and(|offset| offset < part.bytes.len() as u64))
    }
}

/// Takes the loadable segments of `elf` to their physical addresses, which must lie in `window`.
pub(crate) fn segments<'a>(
    elf: &Elf<'a>,
    memory: &MemoryMap,
    window: Range<u64>,
) -> Result<Placed<'a>, LoadError> {
    let mut parts = elf.load_segments()?;
    parts.sort_by_key(|part| part.physical_address);
    let mut segments = Vec::new();
    let mut end = window.start;
    for part in &parts {
        end = check(part.physical_address, part.memory_size, end, &window, memory)?;
        if !part.content.is_empty() {
            segments.push(Segment { gpa: part.physical_address, bytes: Cow::Borrowed(part.content) });
        }
    }
    let start = parts.first().map_or(window.start, |part| part.physical_address);
    Ok(Placed { segments, extent: (start, end) })
}

/// Checks that `length` bytes at `gpa` come after `taken`, lie in `window` and are memory; gives their end.
pub(crate) fn check(
    gpa: u64,
    length: u64,
    taken: u64,
    window: &Range<u64>,
    memory: &MemoryMap,
) -> Result<u64, LoadError> {
    let bad = |problem| LoadError::BadPlace { gpa, length, problem };
    let end = gpa.checked_add(length).ok_or(bad("is beyond the end of the address space"))?;
    if gpa < window.start {
        return Err(bad("is below 1 MiB"));
    }
    if end > window.end {
        return Err(bad("is not below 4 GiB"));
    }
    if gpa < taken {
        return Err(bad("another part of the file also wants"));
    }
    if !memory.holds(gpa, length) {
        let last = memory.usable().next_back().map_or(0, |range| range.end());
        if end > last {
            let (needed, have) = (end, memory.usable_bytes());
            return Err(LoadError::TooLittleMemory { what: "this program", needed, have });
        }
        return Err(bad("is not usable memory"));
    }
    Ok(end)
}

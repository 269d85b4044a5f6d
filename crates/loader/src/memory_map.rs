// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest-physical memory map that the machine tells its loaders and that these tell the guest.

/// What a range of the map is, with the numbers of ACPI's address map (ACPI 6.5, 15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RangeKind {
    /// Usable memory.
    Usable = 1,
    /// Not for the guest's own use.
    Reserved = 2,
    /// ACPI tables; usable once they have been read.
    AcpiReclaimable = 3,
    /// Memory that ACPI keeps in use.
    AcpiNonVolatile = 4,
}

/// A range of guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First address.
    pub start: u64,
    /// Size in bytes, above zero.
    pub length: u64,
    /// What it is.
    pub kind: RangeKind,
}

impl MemoryRange {
    /// The address after the last; does not overflow in a range of a [`MemoryMap`].
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// Why ranges make no map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory range of {length:#x} bytes at {start:#x} is empty, out of order, overlapping or beyond the address space"
)]
pub struct BadMemoryMap {
    /// First address of the offending range.
    pub start: u64,
    /// Its size.
    pub length: u64,
}

/// Ranges in ascending order without overlaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    ranges: Vec<MemoryRange>,
}

impl MemoryMap {
    /// Checks that `ranges` ascend, do not overlap, are not empty and end below 2^64.
    ///
    /// # Errors
    /// [`BadMemoryMap`] with the first range that does not fit.
    pub fn new(ranges: impl IntoIterator<Item = MemoryRange>) -> Result<Self, BadMemoryMap> {
        let mut map = Self::default();
        for range in ranges {
            let after = map.ranges.last().is_none_or(|last| last.end() <= range.start);
            if range.length == 0 || range.start.checked_add(range.length).is_none() || !after {
                return Err(BadMemoryMap { start: range.start, length: range.length });
            }
            map.ranges.push(range);
        }
        Ok(map)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[MemoryRange] {
        &self.ranges
    }

    /// The usable ranges, ascending.
    pub fn usable(&self) -> impl DoubleEndedIterator<Item = &MemoryRange> {
        self.ranges.iter().filter(|range| range.kind == RangeKind::Usable)
    }

    /// Bytes of usable memory.
    pub fn usable_bytes(&self) -> u64 {
        self.usable().map(|range| range.length).sum()
    }

    /// Whether one usable range holds all of the `length` bytes at `start`.
    pub fn holds(&self, start: u64, length: u64) -> bool {
        let Some(end) = start.checked_add(length) else { return false };
        self.usable().any(|range| range.start <= start && end <= range.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(start: u64, length: u64) -> MemoryRange {
        MemoryRange { start, length, kind: RangeKind::Usable }
    }

    #[test]
    fn maps_ascend_without_overlaps_or_overflow() {
        assert!(MemoryMap::new([usable(0, 0x1000), usable(0x1000, 0x1000)]).is_ok());
        for bad in [usable(0, 0), usable(0xFFF, 1), usable(u64::MAX, 1), usable(0x2000, u64::MAX)] {
            let found = MemoryMap::new([usable(0, 0x1000), bad]);
            assert_eq!(found, Err(BadMemoryMap { start: bad.start, length: bad.length }));
        }
    }

    #[test]
    fn a_map_holds_what_lies_within_one_usable_range() {
        let reserved = MemoryRange { start: 0x3000, length: 0x1000, kind: RangeKind::Reserved };
        let map = MemoryMap::new([usable(0, 0x1000), usable(0x2000, 0x1000), reserved]).expect("ascending");
        assert!(map.holds(0, 0x1000) && map.holds(0x2FFF, 1));
        assert!(!map.holds(0xFFF, 2) && !map.holds(0x1000, 1) && !map.holds(0x3000, 1));
        assert!(!map.holds(u64::MAX, 2));
        assert_eq!(map.usable_bytes(), 0x2000);
    }
}

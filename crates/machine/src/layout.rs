// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are in guest-physical memory, and why there.

use std::ops::Range;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// End of conventional memory: above it were video memory and option ROMs, and every PC kernel avoids the hole.
pub const LOW_RAM_END: u64 = 640 * KIB;
/// Where the extended BIOS data area would begin; its KiB is reserved, as guests expect of firmware.
pub const EXTENDED_BIOS_DATA: u64 = LOW_RAM_END - KIB;
/// ACPI tables fill the BIOS area from its start: guests that are not told where the RSDP is search for it here, on
/// 16-byte boundaries (ACPI 6.5, 5.2.5.1).
pub const ACPI_TABLES: u64 = 0xE_0000;
/// End of the BIOS area.
pub const ACPI_TABLES_END: u64 = MIB;
/// RAM below 4 GiB ends here at the latest. The gigabyte above it is for devices: APICs, and MMIO windows to come.
pub const RAM_BELOW_4G_END: u64 = 3 * GIB;
/// Where RAM goes on that did not fit below.
pub const RAM_ABOVE_4G: u64 = 4 * GIB;
/// The I/O APIC, where every PC has the first one (82093AA).
pub const IO_APIC: u64 = 0xFEC0_0000;
/// The local APICs after reset (Intel SDM 3A 11.4.1); each processor can move its own.
pub const LOCAL_APIC: u64 = 0xFEE0_0000;
/// Least RAM of a machine: room for the first mebibyte and something to run above it.
pub const LEAST_RAM: u64 = 2 * MIB;
/// Most RAM of a machine: what guest-physical addresses of 46 bits can hold with room to spare.
pub const MOST_RAM: u64 = 32 << 40;

/// What a range of the memory map is for: the numbers of the e820 interface (ACPI 6.5, table 15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum E820Kind {
    /// The guest's to use.
    Ram = 1,
    /// Not to be used.
    Reserved = 2,
}

/// One range of the memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// Guest-physical addresses.
    pub range: Range<u64>,
    /// What they are for.
    pub kind: E820Kind,
}

/// An amount of RAM that no machine can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a machine cannot have {0} bytes of memory; choose whole pages of 4 KiB, at least 2 MiB, at most 32 TiB"
)]
pub struct BadRamSize(pub u64);

/// The memory of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLayout {
    ram_size: u64,
}

impl MemoryLayout {
    /// The layout for `ram_size` bytes of RAM. The hole below 1 MiB is taken out of it, as on real boards.
    ///
    /// # Errors
    /// [`BadRamSize`] unless it is whole pages between [`LEAST_RAM`] and [`MOST_RAM`].
    pub fn new(ram_size: u64) -> Result<Self, BadRamSize> {
        if !(LEAST_RAM..=MOST_RAM).contains(&ram_size) || !ram_size.is_multiple_of(4 * KIB) {
            return Err(BadRamSize(ram_size));
        }
        Ok(Self { ram_size })
    }

    /// Bytes of RAM that were asked for.
    pub fn ram_size(&self) -> u64 {
        self.ram_size
    }

    /// End of the RAM below 4 GiB.
    pub fn ram_below_4g_end(&self) -> u64 {
        self.ram_size.min(RAM_BELOW_4G_END)
    }

    /// Bytes of RAM from 4 GiB.
    pub fn ram_above_4g_size(&self) -> u64 {
        self.ram_size - self.ram_below_4g_end()
    }

    /// What to map as memory, in ascending order: RAM, and the BIOS area that holds the ACPI tables. What is not in
    /// here reads as ones.
    pub fn mapped(&self) -> Vec<Range<u64>> {
        let mut ranges = vec![0..LOW_RAM_END, ACPI_TABLES..self.ram_below_4g_end()];
        if self.ram_above_4g_size() > 0 {
            ranges.push(RAM_ABOVE_4G..RAM_ABOVE_4G + self.ram_above_4g_size());
        }
        ranges
    }

    /// The memory map that a loader hands to the guest, in ascending order.
    pub fn e820(&self) -> Vec<E820Entry> {
        let entry = |range, kind| E820Entry { range, kind };
        let mut map = vec![
            entry(0..EXTENDED_BIOS_DATA, E820Kind::Ram),
            entry(EXTENDED_BIOS_DATA..LOW_RAM_END, E820Kind::Reserved),
            entry(ACPI_TABLES..ACPI_TABLES_END, E820Kind::Reserved),
            entry(MIB..self.ram_below_4g_end(), E820Kind::Ram),
        ];
        if self.ram_above_4g_size() > 0 {
            map.push(entry(RAM_ABOVE_4G..RAM_ABOVE_4G + self.ram_above_4g_size(), E820Kind::Ram));
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_ascend_and_all_ram_is_mapped(pages in LEAST_RAM / 4096..MOST_RAM / 4096) {
            let layout = MemoryLayout::new(pages * 4096).unwrap();
            let (mapped, e820) = (layout.mapped(), layout.e820());
            for pair in mapped.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for pair in e820.windows(2) {
                prop_assert!(pair[0].range.end <= pair[1].range.start);
            }
            for entry in &e820 {
                prop_assert!(!entry.range.is_empty());
                let holds = |range: &Range<u64>| range.start <= entry.range.start && entry.range.end <= range.end;
                prop_assert!(mapped.iter().any(holds), "{entry:x?}");
            }
            let total: u64 = mapped.iter().map(|range| range.end - range.start).sum();
            prop_assert_eq!(total, layout.ram_size() - (ACPI_TABLES - LOW_RAM_END));
            for apic in [IO_APIC, LOCAL_APIC] {
                prop_assert!(!mapped.iter().any(|range| range.contains(&apic)));
            }
        }
    }

    #[test]
    fn ram_beyond_3_gib_goes_on_at_4_gib() {
        let layout = MemoryLayout::new(8 * GIB).unwrap();
        assert_eq!(layout.mapped().last(), Some(&(4 * GIB..9 * GIB)));
        assert_eq!(MemoryLayout::new(3 * GIB).unwrap().mapped().len(), 2);
    }

    #[test]
    fn impossible_sizes_are_refused_with_a_sentence() {
        for size in [0, MIB, 2 * MIB + 1, MOST_RAM + 4096, u64::MAX] {
            let error = MemoryLayout::new(size).unwrap_err();
            assert!(error.to_string().contains(&size.to_string()));
        }
    }
}

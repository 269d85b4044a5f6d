// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the page tables of a processor map: runs of guest-virtual addresses that lead to runs of memory.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

use memory::{PAGE_SIZE, Rights, Space};
use x86::paging::{Access, PageTableMemory, Paging, PagingMode, PagingRegisters};

use crate::run::VIEW;

/// A run of addresses that lead to a run of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First guest-virtual address, canonical.
    pub(super) gva: u64,
    /// First guest-physical address.
    pub(super) gpa: u64,
    pub(super) bytes: u64,
}

/// The most runs that are remembered at once, 24 MiB of them: a hostile guest's tables may have hundreds of millions. Of more, the longest.
const MOST_REMEMBERED: usize = 1 << 20;

/// Collects the mappings of one or more processors.
pub(super) struct Collector<'a> {
    space: &'a Space,
    /// Tables that have been seen. One that is reached again shows the same memory again, which may go on for terabytes (KASAN's shadow of
    /// nothing), for ever (a table that maps itself), or be the part that all processors share.
    seen: HashSet<u64>,
    runs: Vec<Mapping>,
    /// [`MOST_REMEMBERED`].
    most: usize,
}

const PRESENT: u64 = 1 << 0;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

impl<'a> Collector<'a> {
    pub(super) fn new(space: &'a Space) -> Self {
        Self { space, seen: HashSet::new(), runs: Vec::new(), most: MOST_REMEMBERED }
    }

    /// The runs that were found, in any order.
    pub(super) fn finish(self) -> Vec<Mapping> {
        self.runs
    }

    /// Adds what a processor with these registers maps, of the upper half of a 64-bit address space only unless `whole`: lower halves belong to
    /// processes, and those of several processors contradict each other.
    pub(super) fn add(&mut self, registers: &PagingRegisters, whole: bool) {
        let paging = Paging::new(registers);
        match paging.mode() {
            PagingMode::None if whole => self.push(0, 0, 1 << 32),
            PagingMode::Bits32 | PagingMode::Pae if whole => self.probe(&paging),
            PagingMode::None | PagingMode::Bits32 | PagingMode::Pae => {}
            PagingMode::Level4 => self.halves(registers.cr3 & ADDRESS, 4, whole),
            PagingMode::Level5 => self.halves(registers.cr3 & ADDRESS, 5, whole),
        }
    }

    /// Takes the two halves of a 64-bit address space. The addresses of the upper one are canonical: above their width they have ones.
    fn halves(&mut self, root: u64, levels: u32, whole: bool) {
        if whole {
            self.entries(root, levels, 0, 0..256);
        }
        self.entries(root, levels, u64::MAX << (12 + 9 * levels), 256..512);
    }

    fn push(&mut self, gva: u64, gpa: u64, bytes: u64) {
        match self.runs.last_mut() {
            Some(run) if run.gva.wrapping_add(run.bytes) == gva && run.gpa + run.bytes == gpa => {
                run.bytes += bytes;
            }
            _ => {
                if self.runs.len() == self.most {
                    self.forget();
                }
                self.runs.push(Mapping { gva, gpa, bytes });
            }
        }
    }

    /// Forgets the shorter half. None of those that are kept is still growing.
    fn forget(&mut self) {
        self.runs.sort_by_key(|run| Reverse(run.bytes));
        self.runs.truncate(self.most / 2);
    }

    /// Asks for each page of 4 GiB.
    fn probe(&mut self, paging: &Paging) {
        let mut gva = 0;
        while gva < 1 << 32 {
            match paging.walk(&mut Tables(self.space), gva, Access::debugger()) {
                Ok(found) => {
                    let bytes = found.page_size.bytes();
                    self.push(gva, found.gpa, bytes);
                    gva += bytes;
                }
                Err(_) => gva += PAGE_SIZE,
            }
        }
    }

    /// Takes what entries of a table lead to; `base` is the address that its entry 0 maps.
    fn entries(&mut self, table: u64, level: u32, base: u64, indices: Range<usize>) {
        let mut bytes = [0; PAGE_SIZE as usize];
        if self.space.read(VIEW, table, &mut bytes, Rights::NONE).is_err() {
            return;
        }
        let shift = 12 + 9 * (level - 1);
        for index in indices {
            let entry = u64::from_le_bytes(bytes.as_chunks().0[index]);
            if entry & PRESENT == 0 {
                continue;
            }
            let gva = base | (index as u64) << shift;
            if level == 1 || (level <= 3 && entry & LARGE != 0) {
                let size = 1 << shift;
                self.push(gva, entry & ADDRESS & !(size - 1), size);
            } else if self.seen.insert(entry & ADDRESS) {
                self.entries(entry & ADDRESS, level - 1, gva, 0..512);
            }
        }
    }
}

/// The processor's page tables, to be looked at only.
pub(super) struct Tables<'a>(pub(super) &'a Space);

impl PageTableMemory for Tables<'_> {
    type Error = memory::AccessError;

    fn read_u32(&mut self, gpa: u64) -> Result<u32, Self::Error> {
        self.0.read_value::<4>(VIEW, gpa, Rights::NONE).map(|value| value as u32)
    }

    fn read_u64(&mut self, gpa: u64) -> Result<u64, Self::Error> {
        self.0.read_value::<8>(VIEW, gpa, Rights::NONE)
    }

    /// Never asked for by a walk that sets no flags.
    fn compare_exchange_u32(&mut self, _: u64, _: u32, _: u32) -> Result<bool, Self::Error> {
        Ok(true)
    }

    fn compare_exchange_u64(&mut self, _: u64, _: u64, _: u64) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use memory::MemoryObject;
    use x86::control::{Cr0, Cr4, Efer};

    use super::*;

    /// 4 levels: a 4 KiB page and the next, a 2 MiB page in the upper half, a table that maps itself, and one that is reached twice.
    #[test]
    fn runs_of_a_long_mode_space() {
        let space = Space::new(40);
        let object = MemoryObject::allocate(1 << 20).unwrap();
        space.batch(|batch| batch.map(VIEW, 0, 256, &object, 0, Rights::ALL)).unwrap();
        for (entry, value) in [
            (0x1000, 0x2003u64),        // PML4[0]
            (0x1008, 0x2003),           // PML4[1]: the same again
            (0x1000 + 8 * 256, 0x6003), // PML4[256]
            (0x1000 + 8 * 510, 0x1003), // PML4[510]: the table itself
            (0x2000, 0x3003),
            (0x3000, 0x4003),
            (0x4000 + 8 * 5, 0x1_0003),
            (0x4000 + 8 * 6, 0x1_1003),
            (0x4000 + 8 * 7, 0x2_0003),
            (0x6000, 0x7003),
            (0x7008, 0x20_0083),
        ] {
            space.write(VIEW, entry, &value.to_le_bytes(), Rights::NONE).unwrap();
        }
        let registers = PagingRegisters {
            cr0: Cr0::new().with_pe(true).with_pg(true),
            cr3: 0x1000,
            cr4: Cr4::new().with_pae(true),
            efer: Efer::new().with_lme(true).with_lma(true),
            ..PagingRegisters::default()
        };
        let upper = Mapping { gva: 0xFFFF_8000_0020_0000, gpa: 0x20_0000, bytes: 0x20_0000 };
        let mut collector = Collector::new(&space);
        collector.add(&registers, false);
        assert!(collector.finish().contains(&upper));
        let mut collector = Collector::new(&space);
        collector.add(&registers, true);
        collector.add(&registers, false);
        let runs = collector.finish();
        assert_eq!(runs[0], Mapping { gva: 0x5000, gpa: 0x1_0000, bytes: 0x2000 });
        assert_eq!(runs[1], Mapping { gva: 0x7000, gpa: 0x2_0000, bytes: 0x1000 });
        assert!(runs.contains(&upper));
        assert_eq!(runs.iter().filter(|run| run.gva >> 63 == 0).count(), 2, "{runs:x?}");
        for run in &runs {
            let paging = Paging::new(&registers);
            let found = paging.walk(&mut Tables(&space), run.gva, Access::debugger()).unwrap();
            assert_eq!(found.gpa, run.gpa);
        }
    }

    #[test]
    fn of_too_many_runs_the_longest_are_kept() {
        let space = Space::new(40);
        let mut collector = Collector { most: 8, ..Collector::new(&space) };
        // Run n begins at n MiB, leads to its double, and is one page long, but every 50th is three pages.
        for number in 0..200_u64 {
            for page in 0..if number % 50 == 7 { 3 } else { 1 } {
                collector.push(
                    (number << 20) + page * PAGE_SIZE,
                    (number << 21) + page * PAGE_SIZE,
                    PAGE_SIZE,
                );
            }
            assert!(collector.runs.len() <= 8);
        }
        let mut long: Vec<_> = collector
            .finish()
            .into_iter()
            .filter(|run| run.bytes > PAGE_SIZE)
            .map(|run| run.gva >> 20)
            .collect();
        long.sort_unstable();
        assert_eq!(long, [7, 57, 107, 157]);
    }

    #[test]
    fn without_paging_addresses_are_physical() {
        let space = Space::new(40);
        let mut collector = Collector::new(&space);
        collector.add(&PagingRegisters::default(), true);
        assert_eq!(collector.finish(), [Mapping { gva: 0, gpa: 0, bytes: 1 << 32 }]);
    }
}

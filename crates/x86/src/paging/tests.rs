// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walker against the oracle, a table of every combination of rights, and the cases that need a memory of their own.

use super::oracle::{self, Answer, Entries};
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

/// Memory made of single entries. Counts what is done, and may let another processor win some races.
struct TestMemory {
    entries: Entries,
    writes: usize,
    /// Before each compare-and-exchange the next of these changes is made by "another processor".
    interference: Vec<(u64, u64)>,
    /// No entry can be written.
    read_only: bool,
}

impl TestMemory {
    fn new(entries: &[(u64, u64)]) -> Self {
        Self {
            entries: entries.iter().copied().collect(),
            writes: 0,
            interference: Vec::new(),
            read_only: false,
        }
    }

    fn exchange(&mut self, gpa: u64, old: u64, new: u64) -> Result<bool, Unreachable> {
        if let Some((gpa, entry)) = self.interference.pop() {
            self.entries.insert(gpa, entry);
        }
        let entry = self.entries.get_mut(&gpa).ok_or(Unreachable)?;
        if self.read_only {
            return Err(Unreachable);
        }
        if *entry != old {
            return Ok(false);
        }
        assert_ne!(old, new, "an exchange that changes nothing");
        *entry = new;
        self.writes += 1;
        Ok(true)
    }
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Unreachable;

impl PageTableMemory for TestMemory {
    type Error = Unreachable;

    fn read_u32(&mut self, gpa: u64) -> Result<u32, Unreachable> {
        assert_eq!(gpa % 4, 0);
        let entry = self.entries.get(&gpa).ok_or(Unreachable)?;
        Ok(u32::try_from(*entry).expect("4-byte entries are 32 bits wide"))
    }

    fn read_u64(&mut self, gpa: u64) -> Result<u64, Unreachable> {
        assert_eq!(gpa % 8, 0);
        self.entries.get(&gpa).copied().ok_or(Unreachable)
    }

    fn compare_exchange_u32(&mut self, gpa: u64, old: u32, new: u32) -> Result<bool, Unreachable> {
        self.exchange(gpa, old.into(), new.into())
    }

    fn compare_exchange_u64(&mut self, gpa: u64, old: u64, new: u64) -> Result<bool, Unreachable> {
        self.exchange(gpa, old, new)
    }
}

fn long_mode() -> PagingRegisters {
    PagingRegisters {
        cr0: Cr0::new().with_pe(true).with_pg(true).with_wp(true),
        cr3: 0x1000,
        cr4: Cr4::new().with_pae(true).with_pge(true),
        efer: Efer::new().with_lme(true).with_lma(true).with_nxe(true),
        physical_address_width: 46,
        ..PagingRegisters::default()
    }
}

/// 4-level tables at 0x1000, 0x2000, 0x3000 and 0x4000 whose entries 0 lead to the 4 KiB page `leaf`.
fn tables(leaf: u64) -> TestMemory {
    TestMemory::new(&[(0x1000, 0x2027), (0x2000, 0x3027), (0x3000, 0x4027), (0x4000, leaf)])
}

const PRIVILEGES: [Privilege; 4] = [
    Privilege::User,
    Privilege::Supervisor { ac: false },
    Privilege::Supervisor { ac: true },
    Privilege::ImplicitSupervisor,
];
const KINDS: [AccessKind; 3] = [AccessKind::Read, AccessKind::Write, AccessKind::Execute];

/// What is expected for each page (its R/W, U/S, NX) under each WP, SMEP, SMAP, spelled out by rule rather than by code
/// that resembles the walker: letters name the accesses that pass. u/s/a/i = user, supervisor, with AC, implicit;
/// r/w/x the kinds.
#[test]
fn every_combination_of_rights() {
    struct Row {
        page: (bool, bool, bool),
        always: &'static str,
        without_wp: &'static str,
        without_smep: &'static str,
        without_smap: &'static str,
        without_smap_and_wp: &'static str,
        /// Passes only with WP off, but does not ask for SMAP off since AC lifts it.
        note_ac_without_wp: &'static str,
    }
    const fn row(
        page: (bool, bool, bool),
        always: &'static str,
        without_wp: &'static str,
        without_smep: &'static str,
        without_smap: &'static str,
        without_smap_and_wp: &'static str,
        note_ac_without_wp: &'static str,
    ) -> Row {
        Row { page, always, without_wp, without_smep, without_smap, without_smap_and_wp, note_ac_without_wp }
    }
    // page: (writable, user, no-execute)
    let rows = [
        row((false, false, false), "sr ar ir sx ax ix", "sw aw iw", "", "", "", ""),
        row((false, false, true), "sr ar ir", "sw aw iw", "", "", "", ""),
        row((true, false, false), "sr ar ir sw aw iw sx ax ix", "", "", "", "", ""),
        row((true, false, true), "sr ar ir sw aw iw", "", "", "", "", ""),
        row((false, true, false), "ur ux ar", "", "sx ax ix", "sr ir", "sw iw", "aw"),
        row((false, true, true), "ur ar", "", "", "sr ir", "sw iw", "aw"),
        row((true, true, false), "ur uw ux ar aw", "", "sx ax ix", "sr ir sw iw", "", ""),
        row((true, true, true), "ur uw ar aw", "", "", "sr ir sw iw", "", ""),
    ];
    let mut checked = 0;
    for row in &rows {
        let (writable, user, no_execute) = row.page;
        let leaf = 0x5001 | u64::from(writable) << 1 | u64::from(user) << 2 | u64::from(no_execute) << 63;
        for setting in 0..8 {
            let (wp, smep, smap) = (setting & 1 != 0, setting & 2 != 0, setting & 4 != 0);
            let mut registers = long_mode();
            registers.cr0.set_wp(wp);
            registers.cr4.set_smep(smep);
            registers.cr4.set_smap(smap);
            let paging = Paging::new(&registers);
            for (privilege, who) in PRIVILEGES.into_iter().zip("usai".chars()) {
                for (kind, what) in KINDS.into_iter().zip("rwx".chars()) {
                    let name: std::string::String = [who, what].iter().collect();
                    let listed = |list: &str| list.split(' ').any(|entry| entry == name);
                    let expected = listed(row.always)
                        || (!wp && (listed(row.without_wp) || listed(row.note_ac_without_wp)))
                        || (!smep && listed(row.without_smep))
                        || (!smap && listed(row.without_smap))
                        || (!smap && !wp && listed(row.without_smap_and_wp));
                    let outcome = paging.walk(&mut tables(leaf), 0x678, Access::processor(kind, privilege));
                    let context = (row.page, wp, smep, smap, &name);
                    match outcome {
                        Ok(translation) => {
                            assert!(expected, "allowed: {context:?}");
                            assert_eq!(translation.gpa, 0x5678);
                            assert_eq!(translation.dirty, kind == AccessKind::Write);
                        }
                        Err(WalkError::PageFault(code)) => {
                            assert!(!expected, "refused: {context:?}");
                            let expected_code = 1
                                | u32::from(kind == AccessKind::Write) << 1
                                | u32::from(privilege == Privilege::User) << 2
                                | u32::from(kind == AccessKind::Execute) << 4;
                            assert_eq!(code.into_bits(), expected_code, "{context:?}");
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 8 * 8 * 4 * 3);
}

#[test]
fn a_right_taken_away_at_any_level_is_gone() {
    let paging = Paging::new(&long_mode());
    for level in 0..4u64 {
        for (bit, lost) in [
            (1 << 1, PageRights { writable: false, ..PageRights::ALL }),
            (1 << 2, PageRights { user: false, ..PageRights::ALL }),
            (1 << 63, PageRights { executable: false, ..PageRights::ALL }),
        ] {
            let mut memory = tables(0x5007);
            *memory.entries.get_mut(&(0x1000 + 0x1000 * level)).unwrap() ^= bit;
            let translation = paging.walk(&mut memory, 0, Access::debugger()).unwrap();
            assert_eq!(translation.rights, lost, "level {level}");
        }
    }
}

#[test]
fn reserved_bits_are_checked_at_each_level_and_size() {
    let reserved_fault = Err(WalkError::PageFault(PageFaultErrorCode::from_bits(9)));
    for width in [36u8, 46, 52] {
        let registers = PagingRegisters { physical_address_width: width, ..long_mode() };
        let paging = Paging::new(&registers);
        for level in 0..4u64 {
            for bit in 0..64 {
                if bit == 7 && matches!(level, 1 | 2) {
                    // PS: a large page, whose reserved bits come below.
                    continue;
                }
                let mut memory = tables(0x5027);
                *memory.entries.get_mut(&(0x1000 + 0x1000 * level)).unwrap() |= 1 << bit;
                let reserved = (u32::from(width)..52).contains(&bit) || (bit == 7 && level == 0);
                let outcome = paging.walk(&mut memory, 0, Access::debugger());
                assert_eq!(outcome == reserved_fault, reserved, "width {width} level {level} bit {bit}");
            }
        }
        for (table, low, high) in [(0x2000, 13, 29), (0x3000, 13, 20)] {
            for bit in 12..31 {
                let mut memory = tables(0x5027);
                memory.entries.insert(table, 0xA7 | 1 << bit);
                let outcome = paging.walk(&mut memory, 0, Access::debugger());
                assert_eq!(
                    outcome == reserved_fault,
                    (low..=high).contains(&bit),
                    "table {table:#x} bit {bit}"
                );
            }
        }
    }
    let without_nx = PagingRegisters { efer: Efer::new().with_lma(true), ..long_mode() };
    assert_eq!(
        Paging::new(&without_nx).walk(&mut tables(1 << 63 | 0x5027), 0, Access::debugger()),
        reserved_fault
    );
    let without_1g = PagingRegisters { has_1g_pages: false, ..long_mode() };
    let mut memory = TestMemory::new(&[(0x1000, 0x2027), (0x2000, 0xA7)]);
    assert_eq!(Paging::new(&without_1g).walk(&mut memory, 0, Access::debugger()), reserved_fault);
}

#[test]
fn pse36_reaches_forty_bits() {
    let registers = |width| PagingRegisters {
        cr0: Cr0::new().with_pg(true),
        cr3: 0x1000,
        cr4: Cr4::new().with_pse(true),
        physical_address_width: width,
        ..PagingRegisters::default()
    };
    let walk = |width, entry| {
        let mut memory = TestMemory::new(&[(0x1004, entry)]);
        Paging::new(&registers(width)).walk(&mut memory, 0x0061_2345, Access::debugger())
    };
    // Bits 20:13 are address bits 39:32.
    let entry = 0x0080_00A7 | 0xAB << 13;
    let translation = walk(40, entry).unwrap();
    assert_eq!((translation.gpa, translation.page_size), (0xAB_00A1_2345, PageSize::Size4M));
    let fault = Err(WalkError::PageFault(PageFaultErrorCode::from_bits(9)));
    assert_eq!(walk(36, entry), fault);
    assert_eq!(walk(52, entry | 1 << 21), fault);
    assert_eq!(walk(36, 0x0080_00A7 | 0xF << 13).map(|translation| translation.gpa), Ok(0xF_00A1_2345));
    // Without CR4.PSE the bit is ignored, and the entry names a page table.
    let mut memory = TestMemory::new(&[(0x1004, 0x20A7), (0x2000 + 4 * 0x212, 0x5027)]);
    let without = PagingRegisters { cr4: Cr4::new(), ..registers(40) };
    assert_eq!(Paging::new(&without).walk(&mut memory, 0x0061_2345, Access::debugger()).unwrap().gpa, 0x5345);
}

#[test]
fn pae_pointer_registers() {
    let load = |value: u64| {
        let mut memory =
            TestMemory::new(&[(0x1020, 0), (0x1028, value), (0x1030, 0x3001), (0x1038, u64::MAX - 1)]);
        load_pdptes(&mut memory, 0xFFFF_0000_0000_103F, 40)
    };
    assert_eq!(load(0x2E19), Ok(Some([0, 0x2E19, 0x3001, u64::MAX - 1])));
    for bit in 0..64 {
        let reserved = matches!(bit, 1..=2 | 5..=8 | 40..);
        assert_eq!(load(0x1 | 1 << bit) == Ok(None), reserved, "bit {bit}");
    }
    assert_eq!(load_pdptes(&mut TestMemory::new(&[(0x1000, 0)]), 0x1000, 40), Err((Unreachable, 0x1008)));
}

#[test]
fn a_lost_race_starts_the_walk_again() {
    let paging = Paging::new(&long_mode());
    let write = Access::processor(AccessKind::Write, Privilege::User);
    // Another processor sets the accessed flag first: the walk goes on to set dirty alone.
    let mut memory = tables(0x5007);
    memory.interference = std::vec![(0x4000, 0x5027)];
    let translation = paging.walk(&mut memory, 0, write).unwrap();
    assert_eq!((translation.gpa, memory.entries[&0x4000], memory.writes), (0x5000, 0x5067, 1));
    // Another processor moves the page table: nothing of the old one may be used.
    let mut memory = tables(0x5007);
    memory.entries.insert(0x7000, 0x6007);
    memory.entries.insert(0x3000, 0x4007);
    memory.interference = std::vec![(0x3000, 0x7007)];
    assert_eq!(paging.walk(&mut memory, 0, write).unwrap().gpa, 0x6000);
    assert_eq!(memory.entries[&0x4000], 0x5007, "the old table is untouched");
    // Another processor takes the right away.
    let mut memory = tables(0x5007);
    memory.interference = std::vec![(0x4000, 0x5005)];
    assert_eq!(
        paging.walk(&mut memory, 0, write),
        Err(WalkError::PageFault(
            PageFaultErrorCode::new().with_present(true).with_write(true).with_user(true)
        ))
    );
    assert_eq!(memory.entries[&0x4000], 0x5005);
}

#[test]
fn accessed_flags_of_an_aborted_walk_stay() {
    // B09.043
    let mut memory = TestMemory::new(&[(0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x4007), (0x4000, 0)]);
    let paging = Paging::new(&long_mode());
    let outcome = paging.walk(&mut memory, 0, Access::processor(AccessKind::Read, Privilege::User));
    assert_eq!(outcome, Err(WalkError::PageFault(PageFaultErrorCode::new().with_user(true))));
    assert_eq!([0x1000, 0x2000, 0x3000].map(|gpa| memory.entries[&gpa] & 0x20), [0x20; 3]);
}

#[test]
fn a_structure_that_cannot_be_reached_is_named() {
    // B09.047
    let paging = Paging::new(&long_mode());
    let read = Access::processor(AccessKind::Read, Privilege::User);
    let mut memory = tables(0x5027);
    memory.entries.remove(&0x3000);
    let unreachable = |gpa, write| Err(WalkError::Memory { error: Unreachable, gpa, write });
    assert_eq!(paging.walk(&mut memory, 0, read), unreachable(0x3000, false));
    let mut memory = tables(0x5007);
    memory.read_only = true;
    assert_eq!(paging.walk(&mut memory, 0, read), unreachable(0x4000, true));
    // With the flag there already nothing is written.
    let mut memory = tables(0x5027);
    memory.read_only = true;
    assert_eq!(paging.walk(&mut memory, 0, read).map(|translation| translation.dirty), Ok(false));
}

#[test]
fn paging_off_is_the_identity() {
    // B09.042
    let paging = Paging::new(&PagingRegisters::default());
    let mut memory = TestMemory::new(&[]);
    for privilege in PRIVILEGES {
        for kind in KINDS {
            let translation =
                paging.walk(&mut memory, 0x1_8000_1234, Access::processor(kind, privilege)).unwrap();
            assert_eq!((translation.gpa, translation.rights), (0x8000_1234, PageRights::ALL));
        }
    }
}

#[test]
fn canonical_addresses() {
    for (gva, in_48, in_57) in [
        (0, true, true),
        (0x0000_7FFF_FFFF_FFFF, true, true),
        (0x0000_8000_0000_0000, false, true),
        (0xFFFF_8000_0000_0000, true, true),
        (0xFFFF_7FFF_FFFF_FFFF, false, true),
        (0x0100_0000_0000_0000, false, false),
        (0xFF00_0000_0000_0000, false, true),
        (0xFEFF_FFFF_FFFF_FFFF, false, false),
    ] {
        assert_eq!((is_canonical(gva, 48), is_canonical(gva, 57)), (in_48, in_57), "{gva:#x}");
    }
}

/// An entry: where it leads is given later, here only flags. Mostly valid, so that walks reach the end.
fn flags() -> impl Strategy<Value = u64> {
    let common = prop_oneof![8 => Just(0x07u64), 1 => Just(0x06), 2 => Just(0x05), 2 => Just(0x03)];
    let low = (common, any::<u64>()).prop_map(|(rights, noise)| rights | noise & 0xF78);
    let high = prop_oneof![
        10 => Just(0u64),
        3 => Just(1 << 63),
        1 => (12u32..63).prop_map(|bit| 1 << bit),
        1 => any::<u64>().prop_map(|noise| noise & 0x7FF0_0000_0000_0000),
    ];
    (low, high).prop_map(|(low, high)| low | high)
}

prop_compose! {
    fn registers()(
        mode in 0..5u8,
        bits in any::<[bool; 8]>(),
        above: u32,
        width in prop_oneof![Just(36u8), Just(40), Just(46), Just(52), 32..=52u8],
    ) -> PagingRegisters {
        let [wp, pse, pge, smep, smap, nxe, la57, has_1g_pages] = bits;
        PagingRegisters {
            cr0: Cr0::new().with_pe(true).with_pg(mode != 0).with_wp(wp),
            // Outside long mode what stands above 32 bits of CR3 is ignored.
            cr3: 0x1018 | if mode < 3 { u64::from(above) << 32 } else { 0 },
            cr4: Cr4::new().with_pae(mode >= 2).with_la57(mode == 4 || (mode < 3 && la57))
                .with_pse(pse).with_pge(pge).with_smep(smep).with_smap(smap),
            efer: Efer::new().with_lma(mode >= 3).with_nxe(nxe),
            pdptes: [0; 4],
            physical_address_width: width,
            has_1g_pages,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_oracle(
        mut registers in registers(),
        gva in any::<u64>(),
        flags in prop::array::uniform5(flags()),
        large in prop::option::weighted(0.4, 0..4usize),
        hole in prop::option::weighted(0.05, 0..5usize),
        kind in prop::sample::select(&KINDS[..]),
        privilege in prop::sample::select(&PRIVILEGES[..]),
        set_accessed_dirty: bool,
        check_rights in prop::bool::weighted(0.8),
    ) {
        // Table n stands at page n + 1; only the entry that `gva` selects exists, and leads to the next one.
        let wide = registers.cr4.pae();
        let shifts: &[u32] = match (wide, registers.efer.lma(), registers.cr4.la57()) {
            (false, ..) => &[22, 12],
            (true, false, _) => &[21, 12],
            (true, true, false) => &[39, 30, 21, 12],
            (true, true, true) => &[48, 39, 30, 21, 12],
        };
        if wide && !registers.efer.lma() {
            registers.pdptes = [0x1001; 4];
            registers.pdptes[(gva >> 30 & 3) as usize] ^= flags[4] >> 8 & flags[4] >> 9 & 1;
        }
        let mut entries = Entries::new();
        for (depth, shift) in shifts.iter().enumerate() {
            if hole == Some(depth) {
                continue;
            }
            let table = 0x1000 * (depth as u64 + 1);
            let mut entry = flags[depth] & !0x80 | (table + 0x1000);
            if large == Some(depth) || (depth + 1 == shifts.len() && flags[depth] & 0x80 != 0) {
                entry |= 0x80;
                if flags[depth] & 0x100 != 0 {
                    // A large page well aligned.
                    entry = entry & !(((1 << shift) - 1) & !0xFFF) | 0x1000 << (shift - 12) & 0xF_FFFF_F000;
                }
            }
            let (size, mask) = if wide { (8, 0x1FF) } else { (4, 0x3FF) };
            if !wide {
                entry &= 0xFFFF_FFFF;
            }
            entries.insert(table + (gva >> shift & mask) * size, entry);
        }
        let access = Access { kind, privilege, set_accessed_dirty, check_rights };
        let mut memory = TestMemory { entries: entries.clone(), writes: 0, interference: Vec::new(), read_only: false };
        let paging = Paging::new(&registers);
        let answer = match paging.walk(&mut memory, gva, access) {
            Ok(translation) => Answer::Translation(translation),
            Err(WalkError::PageFault(code)) => Answer::PageFault(code.into_bits()),
            Err(WalkError::Memory { gpa, .. }) => Answer::Unreachable(gpa),
        };
        let mut expected_entries = entries.clone();
        let expected = oracle::translate(&registers, &mut expected_entries, gva, access);
        prop_assert_eq!(&answer, &expected);
        prop_assert_eq!(&memory.entries, &expected_entries);
        if !set_accessed_dirty {
            prop_assert_eq!(&memory.entries, &entries);
        }
        if let (Answer::Translation(translation), true) = (&answer, check_rights) {
            prop_assert!(paging.permits(translation.rights, kind, privilege));
        }
    }
}

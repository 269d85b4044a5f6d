// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saved states of our own making: what genuine files at hand do not have.

use std::num::NonZero;
use std::{fs, io};

use saved_state::export::{Form, StreamSink, export};
use saved_state::images::{kernel_range, scan};
use saved_state::memory::{BLOCK_SIZE, Census, Chunk, Encoding};
use saved_state::write::{Machine, NewValue, Options, bin_and_vsv, vmrs};
use saved_state::{
    Architecture, Container, Error, Mismatch, PagingMode, Problem, Register, RegisterValue, SavedState,
    Value, apply_pending_log,
};

const PAE: u64 = 1 << 5;
const PSE: u64 = 1 << 4;
const LA57: u64 = 1 << 12;
const LONG: u64 = 1 << 8 | 1 << 10;
/// Present, writable.
const LEAF: u64 = 3;
const LARGE: u64 = 1 << 7;

fn open(machine: &Machine) -> SavedState {
    SavedState::from_source(Box::new(vmrs(machine, &Options::default()))).unwrap()
}

/// A machine with 16 MiB of memory of which these 64-bit (or, narrow, 32-bit) words are set.
fn machine(cr3: u64, cr4: u64, efer: u64, width: usize, entries: &[(usize, u64)]) -> Machine {
    let mut memory = vec![0; 16 << 20];
    for &(at, entry) in entries {
        memory[at..at + width].copy_from_slice(&entry.to_le_bytes()[..width]);
    }
    let mut machine = Machine::default();
    machine.memory(0, memory);
    let vp = machine.vp();
    vp.set(Register::CR3, cr3).set(Register::CR4, cr4).set(Register::EFER, efer);
    machine
}

fn translates(saved: &SavedState, gva: u64) -> Result<(u64, u64), (u64, Problem)> {
    match saved.translate(0, gva) {
        Ok(found) => Ok((found.gpa, found.page_size)),
        Err(Error::NotMapped { unmapped, problem, .. }) => Err((unmapped, problem)),
        Err(error) => panic!("{gva:#x}: {error}"),
    }
}

#[test]
fn four_levels() {
    let saved = open(&machine(
        // The low bits are a process-context identifier.
        0x1005,
        PAE,
        LONG,
        8,
        &[
            (0x1000, 0x2000 | LEAF),
            (0x1008, 0x7F00_0000 | LEAF),
            (0x1FF8, 0x2000 | LEAF),
            (0x2000, 0x3000 | LEAF),
            (0x2008, 0x40_0000_0000 | LARGE | LEAF),
            (0x3000, 0x4000 | LEAF),
            (0x3008, 0x80_0000 | LARGE | LEAF),
            (0x4000, 0x5000 | LEAF | 1 << 63),
        ],
    ));
    assert_eq!(saved.architecture(0).unwrap(), Architecture::X64);
    assert_eq!(saved.paging_mode(0).unwrap(), PagingMode::Long);
    assert_eq!(translates(&saved, 0x123), Ok((0x5123, 4096)));
    assert_eq!(translates(&saved, 0x20_0123), Ok((0x80_0123, 2 << 20)));
    assert_eq!(translates(&saved, 0x4123_4567), Ok((0x40_0123_4567, 1 << 30)));
    assert_eq!(translates(&saved, 0xFFFF_FF80_0020_0001), Ok((0x80_0001, 2 << 20)));
    // How much is missing follows from the level at which the walk ended.
    assert_eq!(translates(&saved, 0x1001), Err((0xFFF, Problem::PageFault)));
    assert_eq!(translates(&saved, 0x40_0001), Err(((2 << 20) - 1, Problem::PageFault)));
    assert_eq!(translates(&saved, 0x8000_0000), Err((1 << 30, Problem::PageFault)));
    assert_eq!(translates(&saved, 0x100_0000_0000), Err((1 << 39, Problem::PageFault)));
    assert_eq!(translates(&saved, 1 << 39), Err((1 << 39, Problem::PageTable(0x7F00_0000))));
    assert_eq!(translates(&saved, 1 << 47), Err((0xFFFF_0000_0000_0000, Problem::NotCanonical)));
    let rights = saved.translate(0, 0).unwrap().rights;
    assert!(rights.writable && !rights.user && !rights.executable);
}

#[test]
fn five_levels() {
    let saved = open(&machine(
        0x1000,
        PAE | LA57,
        LONG,
        8,
        &[
            (0x1000 + 8 * 0x10, 0x2000 | LEAF),
            (0x2000, 0x3000 | LEAF),
            (0x3000, 0x4000 | LEAF),
            (0x4000, 0x5000 | LEAF),
            (0x5000, 0x6000 | LEAF),
        ],
    ));
    let base = 0x10_u64 << 48;
    assert_eq!(translates(&saved, base + 5), Ok((0x6005, 4096)));
    assert_eq!(translates(&saved, 0), Err((1 << 48, Problem::PageFault)));
    assert_eq!(translates(&saved, base + (1 << 39)), Err((1 << 39, Problem::PageFault)));
    assert_eq!(translates(&saved, 1 << 56), Err((0xFE00_0000_0000_0000, Problem::NotCanonical)));
}

#[test]
fn physical_address_extension() {
    let saved = open(&machine(
        0x1020,
        PAE,
        0,
        8,
        &[
            (0x1020, 0x2001),
            (0x1020 + 24, 0x3001),
            (0x2000, 0x4000 | LEAF),
            (0x4000, 0x5000 | LEAF),
            (0x3000, 0x60_0000 | LARGE | LEAF),
        ],
    ));
    assert_eq!(saved.architecture(0).unwrap(), Architecture::X86);
    assert_eq!(saved.paging_mode(0).unwrap(), PagingMode::Pae);
    assert_eq!(translates(&saved, 0x10), Ok((0x5010, 4096)));
    assert_eq!(translates(&saved, 0xC000_0010), Ok((0x60_0010, 2 << 20)));
    assert_eq!(translates(&saved, 0xFFFF_FFFF_C000_0010), Ok((0x60_0010, 2 << 20)));
    assert_eq!(translates(&saved, 0x4000_0010), Err(((1 << 30) - 0x10, Problem::PageFault)));
    assert_eq!(translates(&saved, 0xC020_0000), Err((2 << 20, Problem::PageFault)));
    assert_eq!(translates(&saved, 1 << 32), Err((1, Problem::NotCanonical)));
}

#[test]
fn two_levels_with_and_without_large_pages() {
    let entries = [
        (0x1000, 0x2000 | LEAF),
        (0x2004, 0x3000 | LEAF),
        // With large pages this maps 4 MiB at 8 MiB; without, it is the table at 0x80_0000.
        (0x1004, 0x80_0000 | LARGE | LEAF),
        (0x80_0000, 0x9000 | LEAF),
    ];
    let with = open(&machine(0x1000, PSE, 0, 4, &entries));
    let without = open(&machine(0x1000, 0, 0, 4, &entries));
    for saved in [&with, &without] {
        assert_eq!(saved.paging_mode(0).unwrap(), PagingMode::Bits32);
        assert_eq!(translates(saved, 0x1010), Ok((0x3010, 4096)));
        assert_eq!(translates(saved, 0x10), Err((4096 - 0x10, Problem::PageFault)));
        assert_eq!(translates(saved, 0x80_0010), Err(((4 << 20) - 0x10, Problem::PageFault)));
    }
    assert_eq!(translates(&with, 0x40_0010), Ok((0x80_0010, 4 << 20)));
    assert_eq!(translates(&without, 0x40_0010), Ok((0x9010, 4096)));
}

#[test]
fn a_paging_mode_can_be_forced() {
    let mut saved =
        open(&machine(0x1000, PAE, LONG, 8, &[(0x1000, 0x2001), (0x2000, 0x40_0000 | LARGE | LEAF)]));
    assert!(translates(&saved, 0x123).is_err());
    saved.force_paging_mode(0, Some(PagingMode::Pae)).unwrap();
    assert_eq!(translates(&saved, 0x123), Ok((0x40_0123, 2 << 20)));
    saved.force_paging_mode(0, Some(PagingMode::NonPaged)).unwrap();
    assert_eq!(translates(&saved, 0x1_2345_6789), Ok((0x1_2345_6789, 4096)));
    let wrong = saved.force_paging_mode(0, Some(PagingMode::Armv8));
    assert!(matches!(wrong, Err(Error::WrongPagingMode { .. })));
    saved.force_paging_mode(0, None).unwrap();
    assert_eq!(saved.paging_mode(0).unwrap(), PagingMode::Long);
    assert!(matches!(saved.force_paging_mode(1, None), Err(Error::NoVp { .. })));
    saved.force_architecture(0, Some(Architecture::X86)).unwrap();
    assert_eq!(saved.architecture(0).unwrap(), Architecture::X86);
}

#[test]
fn virtual_memory_is_read_and_fixed_across_pages() {
    let entries = [
        (0x1000, 0x2000 | LEAF),
        (0x2000, 0x3000 | LEAF),
        (0x3000, 0x4000 | LEAF),
        (0x4000, 0x9000 | LEAF),
        (0x4008, 0x7000 | LEAF),
    ];
    let mut saved = open(&machine(0x1000, PAE, LONG, 8, &entries));
    let word = 0x1122_3344_5566_7788_u64.to_le_bytes();
    saved.fix_memory(0, 0xFFC, &word).unwrap();
    let mut read = [0; 16];
    assert_eq!(saved.read_virtual(0, 0xFFC, &mut read[..8]).unwrap(), 8);
    assert_eq!(read[..8], word);
    saved.memory().read_exact(0x9FFC, &mut read[..4]).unwrap();
    assert_eq!(read[..4], word[..4]);
    saved.memory().read_exact(0x7000, &mut read[..5]).unwrap();
    assert_eq!(read[..5], [word[4], word[5], word[6], word[7], 0]);
    // Reading ends where nothing is mapped; fixing there changes nothing.
    assert_eq!(saved.read_virtual(0, 0x1FF8, &mut read).unwrap(), 8);
    assert!(saved.read_virtual(0, 0x2000, &mut read).is_err());
    assert!(saved.fix_memory(0, 0x1FFC, &[0xFF; 8]).is_err());
    saved.memory().read_exact(0x7FFC, &mut read[..4]).unwrap();
    assert_eq!(read[..4], [0; 4]);
}

#[test]
fn two_trust_levels() {
    let mut machine = Machine::default();
    machine.fill(0, 1 << 20, [0; 8]);
    machine.os_id = 0x0001_040A_0000_4A61;
    let vp = machine.vp();
    vp.set(Register::RAX, 7);
    vp.set_in_vtl(1, Register::CR3, RegisterValue::U64(0x1_1000));
    vp.set_in_vtl(1, Register::EFER, RegisterValue::U64(LONG));
    vp.set_in_vtl(0, Register::CR3, RegisterValue::U64(0x2000));
    machine.vp().set(Register::CR3, 0x3000).set_in_vtl(0, Register::DR0, RegisterValue::U64(5));
    let mut saved = open(&machine);
    let cr3 = |saved: &SavedState| saved.register(0, Register::CR3).unwrap().low64();
    assert_eq!((saved.active_vtl(0).unwrap(), cr3(&saved)), (1, 0x1_1000));
    assert_eq!(saved.architecture(0).unwrap(), Architecture::X64);
    assert_eq!(saved.partition().enabled_vtls(), 3);
    saved.force_active_vtl(0, Some(0)).unwrap();
    assert_eq!((saved.active_vtl(0).unwrap(), cr3(&saved)), (0, 0x2000));
    assert_eq!(saved.architecture(0).unwrap(), Architecture::X86);
    // All levels share the general registers.
    for vtl in [0, 1] {
        assert_eq!(saved.partition().register(0, vtl, Register::RAX).unwrap(), RegisterValue::U64(7));
    }
    saved.force_active_vtl(0, None).unwrap();
    assert_eq!(saved.active_vtl(0).unwrap(), 1);
    assert!(matches!(saved.force_active_vtl(0, Some(2)), Err(Error::NoVtl { vp: 0, vtl: 2 })));
    assert!(matches!(saved.force_active_vtl(0, Some(200)), Err(Error::NoVtl { .. })));
    // What comes before the first level belongs to the one that runs.
    assert_eq!(saved.register(1, Register::CR3).unwrap(), RegisterValue::U64(0x3000));
    assert!(matches!(saved.force_active_vtl(1, Some(1)), Err(Error::NoVtl { vp: 1, vtl: 1 })));
    assert_eq!(saved.partition().enabled_vtls_of(1).unwrap(), 1);
    assert_eq!(saved.guest_os(1).to_string(), "Windows NT 10.0, build 19041");
}

#[test]
fn nested_hypervisors_are_told_but_not_looked_into() {
    let mut plain = Machine::default();
    plain.vp().set(Register::RAX, 1);
    plain.fill(0, 1 << 20, [0; 8]);
    let mut nested = plain.clone();
    nested.vp().set(Register::RAX, 2).chunk(0x3002_3000, vec![0; 100]);
    let mut saved = open(&plain);
    assert!(!saved.partition().is_nested());
    assert!(!saved.force_nested_host_mode(0, true).unwrap());
    assert!(saved.force_nested_host_mode(0, false).unwrap());
    let mut saved = open(&nested);
    assert!(saved.partition().is_nested());
    assert!(matches!(saved.force_nested_host_mode(1, true), Err(Error::Unsupported(_))));
    assert!(!saved.nested_host_mode(1).unwrap());
}

/// Memory of every encoding, above 4 GiB with a gap below, and a last block that is not full.
#[test]
fn memory_with_a_gap_in_every_encoding() {
    let low: Vec<u8> = (0..3 * BLOCK_SIZE / 2).map(|at| (at / 300 * (at % 7)) as u8).collect();
    for encoding in [Encoding::Pages, Encoding::Runs, Encoding::Raw] {
        let mut machine = Machine::default();
        machine.vp().set(Register::RAX, 1);
        machine.fill(1 << 32, (5 << 20) + 4096, *b"pattern!");
        machine.memory(0, low.clone());
        let options = Options { encoding, ..Options::default() };
        let new = SavedState::from_source(Box::new(vmrs(&machine, &options))).unwrap();
        machine.version = 0x500;
        let (bin, vsv) = bin_and_vsv(&machine, &options);
        let open = |file| std::sync::Arc::new(Container::open(Box::new(file)).unwrap());
        let old = SavedState::new(open(vsv), open(bin)).unwrap();
        for saved in [new, old] {
            let memory = saved.memory();
            memory.set_cache_limit(1);
            let high = Chunk { first_page: 1 << 20, page_count: 5 * 256 + 1 };
            assert_eq!(memory.layout().chunks(), [Chunk { first_page: 0, page_count: 384 }, high]);
            let mut read = vec![0; low.len() + 8];
            assert_eq!(memory.read(0, &mut read).unwrap(), low.len());
            assert!(read[..low.len()] == low);
            assert!(matches!(
                memory.read(0xFFFF_FFFF, &mut read),
                Err(Error::NotMemory { gpa: 0xFFFF_FFFF })
            ));
            let mut word = [0; 8];
            memory.read_exact((1 << 32) + (5 << 20) + 4088, &mut word).unwrap();
            assert_eq!(&word, b"pattern!");
            let end = (1 << 32) + (5 << 20) + 4096;
            assert!(
                matches!(memory.read_exact(end - 4, &mut word), Err(Error::NotMemory { gpa }) if gpa == end)
            );
            // Without gaps.
            assert_eq!(memory.raw_size(), low.len() as u64 + (5 << 20) + 4096);
            assert_eq!(memory.read_raw(low.len() as u64 - 4, &mut word).unwrap(), 8);
            assert_eq!(word[4..], *b"patt");
            assert_eq!(memory.read_raw(memory.raw_size() - 3, &mut word).unwrap(), 3);
            assert_eq!(memory.read_raw(memory.raw_size(), &mut word).unwrap(), 0);
        }
    }
}

/// More blocks than the first object table has room for: the rest is in a chained table of many pages.
#[test]
fn thousands_of_blocks() {
    let mut machine = Machine::default();
    machine.vp().set(Register::RAX, 1);
    machine.fill(0, 3 << 30, [0xCC; 8]);
    let file = vmrs(&machine, &Options::default());
    let saved = SavedState::from_source(Box::new(file)).unwrap();
    let mut bytes = [0; 3];
    saved.memory().read_exact((3 << 30) - 3, &mut bytes).unwrap();
    assert_eq!(bytes, [0xCC; 3]);
}

#[test]
fn one_damaged_header_copy_does_no_harm() {
    let mut machine = Machine::default();
    machine.vp().set(Register::RAX, 1);
    machine.fill(0, 1 << 20, [0; 8]);
    let file = vmrs(&machine, &Options::default());
    let damaged = |places: &[usize]| {
        let mut file = file.clone();
        places.iter().for_each(|&place| file[place] ^= 0xFF);
        SavedState::from_source(Box::new(file))
    };
    assert_eq!(damaged(&[8]).unwrap().vp_count(), 1);
    assert_eq!(damaged(&[0x1008]).unwrap().vp_count(), 1);
    assert!(matches!(damaged(&[8, 0x1008]), Err(Error::Damaged { problem: Problem::BothCopies, .. })));
    // Not even the signature is needed twice.
    assert_eq!(damaged(&[0]).unwrap().vp_count(), 1);
    assert_eq!(damaged(&[0x1000]).unwrap().vp_count(), 1);
    assert!(matches!(damaged(&[0, 0x1000]), Err(Error::UnknownSignature { .. })));
}

#[test]
fn a_log_of_our_own_is_replayed() {
    let mut machine = Machine::default();
    machine.vp().set(Register::RAX, 0x77);
    machine.memory(0, (0..1 << 20).map(|at: u32| (at >> 9) as u8).collect());
    let original = vmrs(&machine, &Options { log_pages: 4, ..Options::default() });
    let log = 0x3000;
    let mut expected = original.clone();
    let mut file = original;
    // Parts of the object table, of the first file object, and of the last page, which the file has not got yet.
    let last = file.len() - 0x1000;
    for (number, (destination, size)) in
        [(0x201A, 0xFE4), (0x8010, 0x123), (last, 0x1000)].into_iter().enumerate()
    {
        let data = 0x1000 * (number + 1);
        let contents = file[destination..destination + size].to_vec();
        for file in [&mut file, &mut expected] {
            file[log + data..log + data + size].copy_from_slice(&contents);
            let entry = log + 34 + number * 28;
            file[entry..entry + 8].copy_from_slice(&(destination as u64).to_le_bytes());
            file[entry + 8..entry + 12].copy_from_slice(&(size as u32).to_le_bytes());
            file[entry + 12..entry + 20].copy_from_slice(&(data as u64).to_le_bytes());
            file[entry + 24..entry + 28].copy_from_slice(&crc32fast::hash(&contents).to_le_bytes());
            let crc = crc32fast::hash(&file[entry..entry + 28]);
            file[entry + 20..entry + 24].copy_from_slice(&crc.to_le_bytes());
        }
        file[destination..destination + size].fill(0xAA);
    }
    file[log + 8] = 3;
    file[log + 4..log + 8].fill(0);
    let crc = crc32fast::hash(&file[log..log + 34]);
    file[log + 4..log + 8].copy_from_slice(&crc.to_le_bytes());
    file.truncate(last);

    let seen = SavedState::from_source(Box::new(file.clone())).unwrap();
    assert_eq!(seen.container().pending_log_entries(), 3);
    assert_eq!(seen.register(0, Register::RAX).unwrap(), RegisterValue::U64(0x77));
    let written = tempfile::NamedTempFile::new().unwrap();
    fs::write(written.path(), &file).unwrap();
    assert_eq!(apply_pending_log(written.path()).unwrap(), 3);
    assert!(fs::read(written.path()).unwrap() == expected);
}

/// A PE file with a debug directory, mapped by a large page; half of another one at the end of what is mapped.
#[test]
fn images_are_found() {
    let mut image = vec![0; 0x2000];
    image[..2].copy_from_slice(b"MZ");
    image[0x3C] = 0x80;
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x80, b"PE\0\0");
    put(0x80 + 8, &0x1234_5678_u32.to_le_bytes());
    put(0x98, &0x20B_u16.to_le_bytes());
    put(0x98 + 56, &0x0100_0000_u32.to_le_bytes());
    // Debug directory: one entry at 0x1000, its record at 0x1100.
    put(0x98 + 112 + 48, &0x1000_u32.to_le_bytes());
    put(0x98 + 112 + 52, &28_u32.to_le_bytes());
    put(0x1000 + 12, &2_u32.to_le_bytes());
    put(0x1000 + 16, &36_u32.to_le_bytes());
    put(0x1000 + 20, &0x1100_u32.to_le_bytes());
    put(0x1100, b"RSDS0123456789abcdef\x05\0\0\0kernel.pdb\0");
    let entries = [(0x1800, 0x2000 | LEAF), (0x2000, 0x3000 | LEAF), (0x3000, 0x20_0000 | LARGE | LEAF)];
    let mut machine = machine(0x1000, PAE, LONG, 8, &entries);
    machine.fill(32 << 20, 4096, [0; 8]);
    let mut saved = open(&machine);
    let base = 0xFFFF_8000_0012_3000;
    saved.fix_memory(0, base, &image).unwrap();
    saved.fix_memory(0, 0xFFFF_8000_001F_F000, &image[..4096]).unwrap();
    let (first, last) = kernel_range(&saved, 0).unwrap();
    let found = scan(&saved, 0, first, last).unwrap();
    assert_eq!(found.stopped_at, None);
    let [whole, half] = &found.images[..] else { panic!("{found:?}") };
    assert_eq!((whole.base, whole.size, whole.timestamp), (base, 0x0100_0000, 0x1234_5678));
    let symbols = whole.symbols.as_ref().unwrap();
    assert_eq!((symbols.pdb.as_str(), &symbols.guid, symbols.age), ("kernel.pdb", b"0123456789abcdef", 5));
    assert_eq!((half.base, &half.symbols), (0xFFFF_8000_001F_F000, &None));
}

/// A page table that leads to itself everywhere maps 256 TiB of the same page.
#[test]
fn endless_mappings_end() {
    let entries: Vec<(usize, u64)> = (0..512).map(|slot| (0x1000 + slot * 8, 0x1000 | LEAF)).collect();
    let saved = open(&machine(0x1000, PAE, LONG, 8, &entries));
    let (first, last) = kernel_range(&saved, 0).unwrap();
    let found = scan(&saved, 0, first, last).unwrap();
    assert!(found.images.is_empty() && found.stopped_at.is_some_and(|at| at > first));
}

/// What is wrong with a block is found out once, however often hostile page tables lead to it.
#[test]
fn a_damaged_block_is_decoded_once() {
    let mut machine = machine(0, 0, 0, 8, &[]);
    machine
        .memory(16 << 20, (0..1 << 20).map(|at: u32| (at.wrapping_mul(0x9E37_79B1) >> 29) as u8).collect());
    let mut file = vmrs(&machine, &Options::default());
    let container = Container::open(Box::new(file.clone())).unwrap();
    let key = container.find("savedstate/RamBlock16").unwrap();
    let stored = container.read_array(key, u64::MAX).unwrap();
    let at = file.windows(stored.len()).position(|bytes| bytes == stored).unwrap();
    // The end token becomes one that cannot be.
    file[at + stored.len() - 4..at + stored.len()].copy_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
    let saved = SavedState::from_source(Box::new(file)).unwrap();
    let begun = std::time::Instant::now();
    for page in 0..100_000 {
        let read = saved.memory().read((16 << 20) + page % 256 * 4096, &mut [0]);
        assert!(matches!(read, Err(Error::BadRamBlock { block: 16, .. })), "{read:?}");
    }
    // Decoding it takes some tenths of a millisecond.
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Memory of which the contents are not in the file: what is there is read, and an image of all is refused on any number of threads.
#[test]
fn missing_blocks_are_named() {
    let mut missing = vec![3, 0, 0, 0, 0, 0, 0, 0];
    // Pages, first saved page, first page of the guest; node, and an identity.
    for word in [512_u64, 2560, 1 << 20, 0, 0] {
        missing.extend_from_slice(&word.to_le_bytes());
    }
    let mut machine = Machine::default();
    machine.vp().set(Register::RAX, 1);
    machine.fill(0, 5 << 20, [1; 8]);
    machine.keys.push(("savedstate/RamMemoryBlock1".into(), NewValue::Array(missing)));
    let saved = open(&machine);
    let mut byte = [0];
    saved.memory().read_exact((5 << 20) - 1, &mut byte).unwrap();
    assert_eq!(byte, [1]);
    assert!(matches!(saved.memory().read(1 << 32, &mut byte), Err(Error::MissingRamBlock { block: 10 })));
    for threads in [1, 2, 7] {
        let threads = NonZero::new(threads).unwrap();
        let mut done = 0;
        let written = export(&saved, Form::Lime, threads, &mut StreamSink(io::sink()), &mut |now| done = now);
        assert!(matches!(written, Err(Error::MissingRamBlock { block: 10 })), "{written:?}");
        assert_eq!(done, 5 << 20);
    }
}

#[test]
fn unknown_chunks_and_keys_are_passed_over() {
    let mut machine = Machine::default();
    machine.chunks.push((0x2FFF_F000, vec![1; 13]));
    machine.vp().set(Register::RAX, 1).chunk(0x3FFF_0000, vec![2; 7]);
    machine.vp().set(Register::RAX, 2);
    machine.fill(0, 1 << 20, [0; 8]);
    machine.crash = [0x7E, 1, 2, 3, 4];
    machine.keys = vec![
        ("configuration/_guid_/text".into(), NewValue::String("Grüße".into())),
        ("configuration/_guid_/big".into(), NewValue::Array(vec![9; 5000])),
        ("configuration/_guid_/flag".into(), NewValue::Bool(true)),
        ("configuration/_guid_/real".into(), NewValue::Double(-0.5)),
        ("configuration/_guid_/count".into(), NewValue::UInt(u64::MAX)),
    ];
    let saved = open(&machine);
    assert_eq!(saved.register(1, Register::RAX).unwrap(), RegisterValue::U64(2));
    assert_eq!(saved.crash().unwrap().unwrap().parameters, [0x7E, 1, 2, 3, 4]);
    let container = saved.container();
    let value = |name: &str| {
        let key = container.find(&format!("/configuration/_guid_/{name}")).unwrap();
        container.value(key).unwrap()
    };
    assert_eq!(value("text"), Value::String("Grüße".into()));
    assert_eq!(value("big"), Value::Array(5000));
    assert_eq!(value("flag"), Value::Bool(true));
    assert_eq!(value("real"), Value::Double(-0.5));
    assert_eq!(value("count"), Value::UInt(u64::MAX));
    let big = container.find("configuration/_guid_/big").unwrap();
    assert_eq!(container.read_array(big, 5000).unwrap(), [9; 5000]);
    assert!(matches!(container.read_array(big, 4999), Err(Error::TooLarge { .. })));
    let mut paths = Vec::new();
    container.walk(&mut |path, key| {
        assert_eq!(container.find(path), Some(key), "{path}");
        paths.push(path.to_owned());
    });
    assert!(paths.is_sorted() && paths.contains(&"/savedstate/RamBlock0".into()), "{paths:?}");
}

#[test]
fn what_is_missing_is_named() {
    let broken = |change: &dyn Fn(&mut Machine)| {
        let mut machine = Machine::default();
        machine.vp().set(Register::RAX, 1);
        machine.fill(0, 1 << 20, [0; 8]);
        change(&mut machine);
        SavedState::from_source(Box::new(vmrs(&machine, &Options::default())))
    };
    assert!(broken(&|_| ()).is_ok());
    let empty = Machine::default();
    let without = SavedState::from_source(Box::new(vmrs(&empty, &Options::default())));
    assert!(matches!(without, Err(Error::BadPartitionState { problem: Problem::Vp(0), .. })), "{without:?}");
    assert!(matches!(
        broken(&|machine| machine.version = 0x100),
        Err(Error::UnknownVersion { version: 0x100, .. })
    ));
    // The later of two keys with one name counts.
    let other =
        |machine: &mut Machine| machine.keys.push(("savedstate/VmVersion".into(), NewValue::Int(0x800)));
    assert!(matches!(broken(&other), Err(Error::BadValue { .. })));
    let text =
        |machine: &mut Machine| machine.keys.push(("savedstate/VmVersion".into(), NewValue::Bool(true)));
    assert!(matches!(broken(&text), Err(Error::BadValue { .. })));
    let saved = broken(&|_| ()).unwrap();
    assert!(matches!(saved.register(0, Register::CR3), Err(Error::NoRegister { register: "cr3", .. })));
    for (file, message) in [
        (b"MZ\x90\0rest".to_vec(), "0x00905a4d"),
        (b"x".to_vec(), "beyond the end"),
        (vec![], "beyond the end"),
    ] {
        let error = Container::open(Box::new(file)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// The last byte of the format's description is padding in all files; that it is missing is told, and what is left is read.
#[test]
fn files_that_were_cut_short() {
    let mut machine = Machine::default();
    machine.vp().set(Register::RAX, 1);
    machine.memory(0, (0..1 << 20).map(|at: u32| (at.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect());
    let (bin, vsv) = bin_and_vsv(&machine, &Options::default());
    for file in [bin, vsv] {
        assert_eq!(Container::open(Box::new(file.clone())).unwrap().missing_bytes(), 0);
        let cut = file[..file.len() - 1].to_vec();
        assert_eq!(Container::open(Box::new(cut)).unwrap().missing_bytes(), 1);
    }
    // A key table ends the other one, and no part of that can be missing.
    let whole = vmrs(&machine, &Options::default());
    assert_eq!(open(&machine).container().missing_bytes(), 0);
    for length in (0..whole.len()).rev().step_by(997) {
        let cut = SavedState::from_source(Box::new(whole[..length].to_vec()));
        assert!(matches!(cut, Err(Error::Damaged { .. })), "{length}: {cut:?}");
    }
}

/// Halves of two saves are refused where they show that they are, and what one of them lacks is counted.
#[test]
fn halves_of_different_saves() {
    let halves = |mebibytes: u64| {
        let mut machine = Machine::default();
        machine.vp().set(Register::RAX, mebibytes);
        machine.fill(0, mebibytes << 20, [1; 8]);
        let (bin, vsv) = bin_and_vsv(&machine, &Options::default());
        [bin, vsv].map(|half| std::sync::Arc::new(Container::open(Box::new(half)).unwrap()))
    };
    let ([small_bin, small_vsv], [large_bin, large_vsv]) = (halves(3), halves(5));
    let whole = SavedState::new(small_vsv.clone(), small_bin.clone()).unwrap();
    assert_eq!(whole.memory().census(), Census::default());
    let refused = SavedState::new(small_vsv, large_bin);
    assert!(matches!(refused, Err(Error::NotOnePair(Mismatch::ExtraBlock(3)))), "{refused:?}");
    // The other way round the memory may also be incomplete.
    let census = SavedState::new(large_vsv, small_bin).unwrap().memory().census();
    assert_eq!(census, Census { missing: 2, first_missing: Some(3), first_extra: None });
}

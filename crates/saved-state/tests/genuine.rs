// SPDX-License-Identifier: MIT OR Apache-2.0
//! Genuine files of Hyper-V give what Microsoft's own reader gives for them.

mod common;

use std::fs;
use std::path::Path;

use saved_state::memory::{Chunk, PAGE_SIZE};
use saved_state::{
    Architecture, Container, Error, PagingMode, Problem, Register, RegisterValue, SavedState, Value,
    apply_pending_log,
};

/// What the two saves of one machine have in common.
fn check(saved: &SavedState) {
    assert_eq!(saved.vp_count(), 4);
    for vp in 0..4 {
        assert_eq!(saved.architecture(vp).unwrap(), Architecture::X86);
        // Although the processors never turned paging on.
        assert_eq!(saved.paging_mode(vp).unwrap(), PagingMode::Bits32);
        // The others still wait for their start-up message.
        let (ecx, cr0) = if vp == 0 { (4, 0x10) } else { (0, 0x6000_0010) };
        assert_eq!(saved.register(vp, Register::RCX).unwrap(), RegisterValue::U64(ecx));
        assert_eq!(saved.register(vp, Register::CR0).unwrap(), RegisterValue::U64(cr0));
        // What would be its page directory says "4 MiB page" while CR4.PSE is off, so it leads to a table outside of memory.
        let failure = saved.translate(vp, 0xC0FFE).unwrap_err();
        assert!(
            matches!(failure, Error::NotMapped { problem: Problem::PageTable(0xF000_E300), .. }),
            "{failure}"
        );
        assert!(saved.in_kernel_space(vp).unwrap());
        assert_eq!((saved.active_vtl(vp).unwrap(), saved.partition().enabled_vtls_of(vp).unwrap()), (0, 1));
    }
    assert!(matches!(saved.register(4, Register::RCX), Err(Error::NoVp { index: 4, count: 4 })));
    assert_eq!(saved.partition().enabled_vtls(), 1);
    assert!(!saved.partition().is_nested());
    assert_eq!(saved.crash().unwrap(), None);
    assert!(!saved.guest_os(0).is_set());

    let memory = saved.memory();
    assert_eq!(PAGE_SIZE, 4096);
    assert_eq!(memory.layout().chunks(), [Chunk { first_page: 0, page_count: 64512 }]);
    assert_eq!(memory.raw_size(), 264_241_152);
    assert_eq!(memory.layout().raw_offset(0xC0FFE), Some(0xC0FFE));
    let mut bytes = [0; 12];
    assert_eq!(memory.read(0xC0FFE, &mut bytes).unwrap(), 12);
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    assert!(words.eq([75_826_887, 1_235_222_542, 3_439_375_364]));

    // Reading to the end in steps of 1 MiB gives just that size.
    let mut step = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let read = memory.read_raw(offset, &mut step).unwrap();
        offset += read as u64;
        if read < step.len() {
            break;
        }
    }
    assert_eq!(offset, 264_241_152);
    assert!(matches!(memory.read(264_241_152, &mut step), Err(Error::NotMemory { .. })));
}

#[test]
fn vmrs() {
    let Some(folder) = common::genuine() else { return };
    let saved = SavedState::open(&folder.join("test_file.VMRS")).unwrap();
    check(&saved);
    assert_eq!(saved.version(), 0x0900);
    assert_eq!(saved.property("type").unwrap(), Some(Value::String("Normal".into())));
    assert_eq!(saved.property("savedVM/implemented_physical_address_bits").unwrap(), Some(Value::UInt(44)));
}

/// A genuine file ends with its replay log, of which nothing is pending: without its last bytes all values are there, and that it was longer is told.
#[test]
fn a_genuine_file_that_was_cut_short() {
    let Some(folder) = common::genuine() else { return };
    for name in ["test_file.VMRS", "test_file.bin", "test_file.vsv"] {
        let mut file = fs::read(folder.join(name)).unwrap();
        assert_eq!(Container::open(Box::new(file.clone())).unwrap().missing_bytes(), 0, "{name}");
        file.pop();
        assert_eq!(Container::open(Box::new(file)).unwrap().missing_bytes(), 1, "{name}");
    }
}

#[test]
fn bin_and_vsv_find_one_another() {
    let Some(folder) = common::genuine() else { return };
    let (bin, vsv) = (folder.join("test_file.bin"), folder.join("test_file.vsv"));
    for saved in [SavedState::open(&bin), SavedState::open(&vsv), SavedState::open_pair(&bin, &vsv)] {
        let saved = saved.unwrap();
        check(&saved);
        assert_eq!(saved.version(), 0x0500);
    }
    // Alone, a half says what is missing.
    let alone = tempfile::tempdir().unwrap();
    let lonely = alone.path().join("x.bin");
    fs::copy(&bin, &lonely).unwrap();
    assert!(matches!(SavedState::open(&lonely), Err(Error::OtherHalf { .. })));
    // Contents decide, not names.
    let (a, b) = (alone.path().join("y.VSV"), alone.path().join("y.Bin"));
    fs::copy(&bin, &a).unwrap();
    fs::copy(&vsv, &b).unwrap();
    check(&SavedState::open(&a).unwrap());
    check(&SavedState::open(&b).unwrap());
}

#[test]
fn a_missing_file_is_told() {
    let missing = SavedState::open(Path::new("no/such/file.vmrs")).unwrap_err();
    assert!(
        matches!(&missing, Error::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound),
        "{missing}"
    );
}

/// Both files of one machine hold the same memory but for the five pages in which two runs of its firmware differ.
#[test]
fn both_formats_hold_the_same_memory() {
    let Some(folder) = common::genuine() else { return };
    let open = |name: &str| SavedState::open(&folder.join(name)).unwrap();
    let (new, old) = (open("test_file.VMRS"), open("test_file.bin"));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut different = 0;
    for offset in (0..new.memory().raw_size()).step_by(a.len()) {
        new.memory().read_raw(offset, &mut a).unwrap();
        old.memory().read_raw(offset, &mut b).unwrap();
        different += a.chunks(PAGE_SIZE).zip(b.chunks(PAGE_SIZE)).filter(|(a, b)| a != b).count();
    }
    assert_eq!(different, 5);
}

/// The genuine file keeps the entries of its last commit. Undone and marked as pending they are a log to replay; replaying it gives the file back,
/// byte for byte. Unapplied, the file reads as if it had been replayed.
#[test]
fn a_pending_replay_log_gives_the_original_back() {
    const ENTRIES: u32 = 11;
    let Some(folder) = common::genuine() else { return };
    let original = fs::read(folder.join("test_file.VMRS")).unwrap();
    let clean = tempfile::NamedTempFile::new().unwrap();
    fs::write(clean.path(), &original).unwrap();
    assert_eq!(apply_pending_log(clean.path()).unwrap(), 0);
    assert_eq!(fs::read(clean.path()).unwrap(), original);

    let word = |file: &[u8], at: usize| u64::from_le_bytes(*file[at..].first_chunk().unwrap()) as usize;
    let log = word(&original, 26);
    let mut pending = original.clone();
    for entry in 0..ENTRIES as usize {
        let at = log + 34 + entry * 28;
        let destination = word(&original, at);
        let size = u32::from_le_bytes(*original[at + 8..].first_chunk().unwrap()) as usize;
        pending[destination..destination + size].fill(0xAA);
    }
    let seal = |file: &mut [u8], count: u32| {
        file[log + 8..log + 12].copy_from_slice(&count.to_le_bytes());
        file[log + 4..log + 8].fill(0);
        let crc = crc32fast::hash(&file[log..log + 34]);
        file[log + 4..log + 8].copy_from_slice(&crc.to_le_bytes());
    };
    seal(&mut pending, ENTRIES);
    assert_ne!(pending, original);

    let container = Container::open(Box::new(pending.clone())).unwrap();
    assert_eq!(container.pending_log_entries(), ENTRIES as usize);
    check(&SavedState::from_source(Box::new(pending.clone())).unwrap());

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &pending).unwrap();
    check(&SavedState::open(file.path()).unwrap());
    assert!(fs::read(file.path()).unwrap() == pending, "opening must not write");
    assert_eq!(apply_pending_log(file.path()).unwrap(), ENTRIES as usize);
    assert!(fs::read(file.path()).unwrap() == original);

    // A damaged log is neither shown nor applied.
    let damaged = |at: usize| {
        let mut file = pending.clone();
        file[at] ^= 1;
        file
    };
    for at in [log + 9, log + 34 + 3, log + 34 + 28 + 20] {
        let bytes = damaged(at);
        fs::write(file.path(), &bytes).unwrap();
        assert!(matches!(apply_pending_log(file.path()), Err(Error::Damaged { .. })), "{at:#x}");
        assert!(fs::read(file.path()).unwrap() == bytes);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::fields::u32_at;
use crate::image::tests::{assert_sound, segment_at};
use crate::{MemoryRange, RangeKind};

const MIB: u64 = 1 << 20;
const MAGIC: u32 = 0x1BAD_B002;

fn pc(mib: u64) -> MemoryMap {
    let range = |start, end, kind| MemoryRange { start, length: end - start, kind };
    MemoryMap::new([
        range(0, 0x9_FC00, RangeKind::Usable),
        range(0xE_0000, MIB, RangeKind::Reserved),
        range(MIB, mib * MIB, RangeKind::Usable),
    ])
    .expect("a map in order")
}

fn put(file: &mut [u8], offset: usize, words: &[u32]) {
    for (index, word) in words.iter().enumerate() {
        file[offset + index * 4..offset + index * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
}

/// An ELF32 program as the multiboot test kernels are: header at 4 MiB, entry 0x4000bc, and a second segment with
/// more memory than bytes.
fn elf32() -> Vec<u8> {
    let mut file = vec![0xCC; 0x400];
    file[..0x100].fill(0);
    file[..8].copy_from_slice(b"\x7fELF\x01\x01\x01\0");
    put(&mut file, 16, &[2 | 3 << 16, 1, 0x40_00BC, 52, 0, 0, 52 | 32 << 16, 2]);
    put(&mut file, 52, &[1, 0x100, 0x40_0000, 0x40_0000, 0x100, 0x100, 7, 4096]);
    put(&mut file, 84, &[1, 0x200, 0x40_1000, 0x40_1000, 0x200, 0x5000, 7, 4096]);
    put(&mut file, 0x100, &[MAGIC, 0, MAGIC.wrapping_neg()]);
    file
}

/// A file of any format whose header, at 0x80, has address fields: its bytes from 0x40 on go to 2 MiB.
fn addressed() -> Vec<u8> {
    let mut file = vec![0xCC; 0x400];
    let flags = 1 << 16;
    put(&mut file, 0x80, &[MAGIC, flags, MAGIC.wrapping_add(flags).wrapping_neg()]);
    put(&mut file, 0x8C, &[0x20_0040, 0x20_0000, 0x20_0300, 0x20_4000, 0x20_0100]);
    file
}

fn start<'a>(program: &'a [u8], memory: &'a MemoryMap) -> Multiboot<'a> {
    Multiboot { program, name: "tour", arguments: "nonce=word", modules: &[], memory }
}

/// The text at `gpa` in the information area.
fn text<'a>(image: &'a Image<'_>, gpa: Option<u32>) -> &'a str {
    let information = segment_at(image, INFORMATION.start);
    let rest = &information[(u64::from(gpa.expect("in the structure")) - INFORMATION.start) as usize..];
    rest.split(|&byte| byte == 0).next().and_then(|text| str::from_utf8(text).ok()).expect("a text")
}

#[test]
fn an_elf32_program_starts_in_protected_mode() {
    let (file, memory) = (elf32(), pc(64));
    let image = load(&start(&file, &memory)).expect("a good program");
    assert_sound(&image, &memory);
    assert_eq!(segment_at(&image, 0x40_0000), &file[0x100..0x200]);
    assert_eq!(segment_at(&image, 0x40_1000), &file[0x200..]);
    let entry = &image.entry;
    assert_eq!((entry.rip, entry.rax, entry.rbx), (0x40_00BC, 0x2BAD_B002, INFORMATION.start));
    assert_eq!((entry.cr0 & 0x8000_0001, entry.cr4, entry.efer, entry.rflags), (1, 0, 0, 2));
    assert_eq!((entry.code.attributes, entry.data.attributes), (0xC09B, 0xC093));
    assert_eq!((entry.code.base, entry.code.limit), (0, 0xFFFF_FFFF));

    let information = segment_at(&image, entry.rbx);
    let field = |offset| u32_at(information, offset);
    assert_eq!(field(0), Some(0b10_0100_0101), "sizes, command line, map, name; no modules");
    assert_eq!((field(4), field(8)), (Some(0x9_FC00 >> 10), Some(63 << 10)));
    assert_eq!(text(&image, field(16)), "tour nonce=word");
    assert_eq!(text(&image, field(64)), "OpenViridian");
    assert_eq!(field(44), Some(3 * 24));
    let map = u64::from(field(48).expect("in the structure")) - INFORMATION.start;
    for (index, range) in memory.ranges().iter().enumerate() {
        let word = |number: u64| u32_at(information, map + index as u64 * 24 + number * 4).map(u64::from);
        assert_eq!(word(0), Some(20));
        assert_eq!((word(1), word(2)), (Some(range.start), Some(0)));
        assert_eq!((word(3), word(4)), (Some(range.length), Some(0)));
        assert_eq!(word(5), Some(range.kind as u64));
    }
}

#[test]
fn address_fields_place_a_file_of_any_format() {
    let (file, memory) = (addressed(), pc(64));
    let image = load(&start(&file, &memory)).expect("a good program");
    assert_sound(&image, &memory);
    assert_eq!(segment_at(&image, 0x20_0000), &file[0x40..0x340]);
    assert_eq!(image.entry.rip, 0x20_0100);
    // Without an end, the rest of the file; without a bss, nothing more.
    let mut whole = file.clone();
    put(&mut whole, 0x94, &[0, 0]);
    let image = load(&start(&whole, &memory)).expect("a good program");
    assert_eq!(segment_at(&image, 0x20_0000), &whole[0x40..]);
    // They count before ELF headers.
    let mut elf = elf32();
    let flags = 1 << 16;
    put(&mut elf, 0x100, &[MAGIC, flags, MAGIC.wrapping_add(flags).wrapping_neg()]);
    put(&mut elf, 0x10C, &[0x20_0000, 0x20_0000, 0, 0, 0x20_0020]);
    assert_eq!(load(&start(&elf, &memory)).expect("a good program").entry.rip, 0x20_0020);
}

#[test]
fn modules_follow_on_pages_of_their_own() {
    let (file, memory) = (elf32(), pc(64));
    let modules = [
        Module { bytes: b"NR_CPUS=2\n", text: "environ" },
        Module { bytes: b"", text: "nothing" },
        Module { bytes: &[5; 5000], text: "third with words" },
    ];
    let image = load(&Multiboot { modules: &modules, ..start(&file, &memory) }).expect("a good program");
    assert_sound(&image, &memory);
    let information = segment_at(&image, image.entry.rbx);
    let field = |offset| u32_at(information, offset);
    assert_eq!((field(0).map(|flags| flags >> 3 & 1), field(20)), (Some(1), Some(3)));
    let table = u64::from(field(24).expect("in the structure")) - INFORMATION.start;
    // The program's cleared memory ends at 0x406000.
    for (index, gpa) in [0x40_6000, 0x40_7000, 0x40_7000].into_iter().enumerate() {
        let word = |number: u64| field(table + index as u64 * 16 + number * 4);
        let module = &modules[index];
        assert_eq!((word(0), word(1)), (Some(gpa), Some(gpa + module.bytes.len() as u32)));
        assert_eq!(text(&image, word(2)), module.text);
        if !module.bytes.is_empty() {
            assert_eq!(segment_at(&image, u64::from(gpa)), module.bytes);
        }
    }
}

#[test]
fn what_is_no_multiboot_program_is_refused_in_one_sentence() {
    let memory = pc(64);
    let refusal = |file: &[u8]| load(&start(file, &memory)).expect_err("must be refused").to_string();
    let foreign = "the file is not a multiboot program (it has no multiboot header in its first 8 KiB)";
    assert_eq!(refusal(b""), "the file is empty");
    assert_eq!(refusal(b"\x7fELF"), foreign);
    let mut file = elf32();
    put(&mut file, 0x108, &[0]);
    assert_eq!(refusal(&file), foreign, "a wrong checksum");
    let header_at = |offset: usize| {
        let mut file = vec![0; 0x4000];
        put(&mut file, offset, &[MAGIC, 0, MAGIC.wrapping_neg()]);
        refusal(&file)
    };
    assert_eq!(header_at(2), foreign, "not on a multiple of four");
    assert_eq!(header_at(8192), foreign);
    let nowhere = "the file is not a multiboot program: it has neither addresses nor ELF headers";
    assert_eq!(header_at(8180), nowhere);
    let mut file = elf32();
    put(&mut file, 0x100, &[MAGIC, 4, MAGIC.wrapping_add(4).wrapping_neg()]);
    assert_eq!(refusal(&file), "the multiboot header demands what is not offered here (flags 0x4)");
    let mut file = elf32();
    file[18] = 40;
    assert_eq!(refusal(&file), "the ELF file is not a program for x86 (machine 40, type 2)");
}

#[test]
fn places_that_cannot_be_are_refused() {
    let memory = pc(64);
    let elf = |offset: usize, value: u32| {
        let mut file = elf32();
        put(&mut file, offset, &[value]);
        load(&start(&file, &memory)).map(|_| ()).expect_err("must be refused")
    };
    let problem = |error| match error {
        LoadError::BadPlace { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert_eq!(problem(elf(64, 0x8000)), "is below 1 MiB");
    assert_eq!(problem(elf(96, 0x40_0080)), "another part of the file also wants");
    assert_eq!(problem(elf(104, u32::MAX)), "is not below 4 GiB");
    assert!(matches!(elf(104, 64 * MIB as u32), LoadError::TooLittleMemory { .. }));
    assert!(matches!(elf(24, 0x50_0000), LoadError::BadField { field: "entry point", value: 0x50_0000 }));

    let addresses = |index: usize, value: u32| {
        let mut file = addressed();
        put(&mut file, 0x8C + index * 4, &[value]);
        match load(&start(&file, &memory)).map(|_| ()) {
            Err(LoadError::BadField { field, .. }) => field,
            Err(LoadError::CutShort { .. }) => "cut short",
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(addresses(0, 0x10_0000), "header address");
    assert_eq!(addresses(0, u32::MAX), "header address");
    assert_eq!(addresses(2, 0x10_0000), "end of the load area");
    assert_eq!(addresses(2, 0x20_4000), "cut short");
    assert_eq!(addresses(3, 0x10_0000), "end of the cleared area");
    assert_eq!(addresses(4, 0x20_0300), "entry point");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (file, memory) = (elf32(), pc(5));
    let modules = [Module { bytes: &[1; MIB as usize], text: "" }];
    let refused = load(&Multiboot { modules: &modules, ..start(&file, &memory) }).map(|_| ());
    assert!(matches!(refused, Err(LoadError::TooLittleMemory { what: "this program and its modules", .. })));
    let arguments = "x".repeat(0x7_0000);
    let refused = load(&Multiboot { arguments: &arguments, ..start(&file, &memory) }).map(|_| ());
    assert!(matches!(refused, Err(LoadError::LongInformation { limit: 0x7_0000, .. })));
    let refused = load(&Multiboot { arguments: "a\0b", ..start(&file, &memory) }).map(|_| ());
    assert_eq!(refused, Err(LoadError::NulInCommandLine));
}

#[test]
fn the_loaders_own_tables_need_low_memory() {
    let high = MemoryRange { start: MIB, length: 511 * MIB, kind: RangeKind::Usable };
    let memory = MemoryMap::new([high]).expect("a map in order");
    let refused = load(&start(&elf32(), &memory)).map(|_| ());
    assert!(matches!(refused, Err(LoadError::TooLittleMemory { what: "the boot loader's tables", .. })));
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let memory = pc(64);
    for (file, whole) in [(elf32(), 0x400), (addressed(), 0x340)] {
        for length in 0..whole {
            let refused = load(&start(&file[..length], &memory));
            assert!(refused.is_err(), "{length} bytes of {whole} were loaded");
        }
        load(&start(&file[..whole], &memory)).expect("a good program");
    }
}

proptest! {
    /// Whatever stands in the headers: an image that keeps its promises, or an error.
    #[test]
    fn no_header_breaks_the_loader(
        changes in prop::collection::vec((0_usize..0x120, prop_oneof![any::<u8>(), Just(0), Just(0xFF)]), 0..12),
        has_addresses in any::<bool>(),
        module in prop::collection::vec(any::<u8>(), 0..10_000),
    ) {
        let mut file = if has_addresses { addressed() } else { elf32() };
        let header = if has_addresses { 0x80..0x8C } else { 0x100..0x10C };
        for (offset, value) in changes {
            if !header.contains(&offset) {
                file[offset] = value;
            }
        }
        let (memory, modules) = (pc(6), [Module { bytes: &module, text: "module" }]);
        if let Ok(image) = load(&Multiboot { modules: &modules, ..start(&file, &memory) }) {
            assert_sound(&image, &memory);
        }
    }
}

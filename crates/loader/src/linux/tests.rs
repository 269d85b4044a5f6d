// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::fields::{u16_at, u32_at, u64_at};
use crate::image::tests::{assert_sound, segment_at};
use crate::{ElfError, MemoryRange, RangeKind};

const MIB: u64 = 1 << 20;

/// A map such as a PC has, with `mib` MiB.
fn pc(mib: u64) -> MemoryMap {
    let range = |start, end, kind| MemoryRange { start, length: end - start, kind };
    MemoryMap::new([
        range(0, 0x9_FC00, RangeKind::Usable),
        range(0xE_0000, MIB, RangeKind::Reserved),
        range(MIB, mib * MIB, RangeKind::Usable),
    ])
    .expect("a map in order")
}

fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A bzImage with one sector of setup code and `PAYLOAD` bytes of kernel, with the header values of stock kernels.
fn bzimage() -> Vec<u8> {
    let mut file = vec![0xCC; 1024 + PAYLOAD];
    file[..1024].fill(0);
    put(&mut file, 0x1F1, &[1]);
    put(&mut file, 0x1F4, &(PAYLOAD as u32 / 16).to_le_bytes());
    put(&mut file, 0x1FE, &[0x55, 0xAA, 0xEB, 0x6A]);
    put(&mut file, 0x202, b"HdrS\x0F\x02");
    put(&mut file, 0x211, &[1]);
    put(&mut file, 0x22C, &0x7FFF_FFFF_u32.to_le_bytes());
    put(&mut file, 0x230, &0x20_0000_u32.to_le_bytes());
    put(&mut file, 0x234, &[1, 21, 0x7F, 0]);
    put(&mut file, 0x238, &2047_u32.to_le_bytes());
    put(&mut file, 0x258, &(16 * MIB).to_le_bytes());
    put(&mut file, 0x260, &(INIT_SIZE as u32).to_le_bytes());
    file
}

const PAYLOAD: usize = 0x1000;
const INIT_SIZE: u64 = 48 * MIB;

/// An ELF64 program with one segment of `memory_size` bytes at 16 MiB, all of its content `0xCC`.
fn vmlinux(memory_size: u64) -> Vec<u8> {
    let mut file = vec![0xCC; 0x300];
    file[..0x100].fill(0);
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &[2, 0, 62, 0, 1, 0, 0, 0]);
    put(&mut file, 24, &(16 * MIB).to_le_bytes());
    put(&mut file, 32, &64_u64.to_le_bytes());
    put(&mut file, 52, &[64, 0, 56, 0, 1, 0]);
    put(&mut file, 64, &[1, 0, 0, 0, 7, 0, 0, 0]);
    for (index, value) in [0x100, 0xFFFF_FFFF_8100_0000, 16 * MIB, 0x200, memory_size].into_iter().enumerate()
    {
        put(&mut file, 72 + index * 8, &value.to_le_bytes());
    }
    file
}

fn guest<'a>(kernel: &'a [u8], memory: &'a MemoryMap) -> Linux<'a> {
    Linux { kernel, initrd: None, command_line: "console=ttyS0", memory, rsdp: Some(0xE_0000) }
}

/// The sentence with which loading `kernel` into a guest of 512 MiB is refused.
fn refusal(kernel: &[u8]) -> String {
    load(&guest(kernel, &pc(512))).expect_err("this kernel must be refused").to_string()
}

fn with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = bzimage();
    put(&mut file, offset, bytes);
    file
}

#[test]
fn a_bzimage_is_entered_by_the_64_bit_protocol() {
    let (file, memory) = (bzimage(), pc(512));
    let initrd = vec![7; 5000];
    let image = load(&Linux { initrd: Some(&initrd), ..guest(&file, &memory) }).expect("a good kernel");
    assert_sound(&image, &memory);
    assert_eq!(segment_at(&image, 16 * MIB), &file[1024..]);
    let entry = &image.entry;
    assert_eq!(entry.rip, 16 * MIB + 0x200);
    assert_eq!((entry.cr0, entry.cr4, entry.efer, entry.rflags), (0x8000_0011, 0x20, 0x500, 2));
    assert_eq!((entry.code.selector, entry.data.selector), (0x10, 0x18));
    let gdt = segment_at(&image, entry.gdtr.base);
    assert_eq!(gdt.len(), usize::from(entry.gdtr.limit) + 1);
    assert_eq!(u64_at(gdt, 0x10), Some(0x00AF_9B00_0000_FFFF));
    assert_eq!(u64_at(gdt, 0x18), Some(0x00CF_9300_0000_FFFF));

    let page = segment_at(&image, entry.rsi);
    assert_eq!(page.len(), 4096);
    assert_eq!(page[0x210], 0xFF, "a loader without a number of its own");
    // All of the kernel's own header but the fields of the loader.
    assert_eq!(page[0x1F1..0x210], file[0x1F1..0x210]);
    assert_eq!(page[0x22C..0x26C], file[0x22C..0x26C]);
    assert_eq!(u64_at(page, 0x70), Some(0xE_0000), "acpi_rsdp_addr");
    let initrd_gpa = u64::from(u32_at(page, 0x218).expect("in the page"));
    assert_eq!(initrd_gpa, 512 * MIB - 0x2000, "as high as a page boundary allows");
    assert_eq!(u32_at(page, 0x21C), Some(5000));
    assert_eq!(segment_at(&image, initrd_gpa), initrd);
    let command_line = u64::from(u32_at(page, 0x228).expect("in the page"));
    assert_eq!(segment_at(&image, command_line), b"console=ttyS0\0");
    assert_eq!(page[0x1E8], 3, "e820 entries");
    for (index, range) in memory.ranges().iter().enumerate() {
        let at = 0x2D0 + index as u64 * 20;
        assert_eq!(u64_at(page, at), Some(range.start));
        assert_eq!(u64_at(page, at + 8), Some(range.length));
        assert_eq!(u32_at(page, at + 16), Some(range.kind as u32));
    }
    assert_eq!(page[0x1EF], 0, "the sentinel of a zero page that was filled in with care");
}

#[test]
fn the_first_four_gib_are_mapped_to_themselves() {
    let (file, memory) = (bzimage(), pc(512));
    let image = load(&guest(&file, &memory)).expect("a good kernel");
    let tables = segment_at(&image, image.entry.cr3);
    let table =
        |gpa: u64, index: u64| u64_at(tables, gpa - image.entry.cr3 + index * 8).expect("within the tables");
    let address = |entry: u64| entry & 0x000F_FFFF_FFFF_F000;
    let walk = |gva: u64| {
        let top = table(image.entry.cr3, gva >> 39 & 511);
        let pointers = table(address(top), gva >> 30 & 511);
        let directory = table(address(pointers), gva >> 21 & 511);
        assert_eq!([top & 3, pointers & 3, directory & 0x83], [3, 3, 0x83]);
        address(directory) + (gva & 0x1F_FFFF)
    };
    for gva in [0, 0x7000, 0x1F_FFFF, 16 * MIB, 0x3FFF_FFFF, 0x4000_0000, 0x8765_4321, 0xFFFF_FFFF] {
        assert_eq!(walk(gva), gva);
    }
    assert_eq!(table(image.entry.cr3, 1), 0);
    assert_eq!(tables.len(), 6 * 4096);
}

#[test]
fn an_elf_kernel_lies_at_its_physical_address() {
    let (file, memory) = (vmlinux(0x1000), pc(32));
    let image = load(&guest(&file, &memory)).expect("a good kernel");
    assert_sound(&image, &memory);
    assert_eq!(segment_at(&image, 16 * MIB), &file[0x100..]);
    assert_eq!(image.entry.rip, 16 * MIB);
    let page = segment_at(&image, image.entry.rsi);
    assert_eq!((u16_at(page, 0x1FE), &page[0x202..0x206]), (Some(0xAA55), &b"HdrS"[..]));
}

#[test]
fn a_relocatable_kernel_goes_up_to_where_memory_is() {
    let usable = |start, length| MemoryRange { start, length, kind: RangeKind::Usable };
    let memory = MemoryMap::new([usable(0, 18 * MIB), usable(33 * MIB, 64 * MIB)]).expect("in order");
    let file = bzimage();
    let image = load(&guest(&file, &memory)).expect("room above the gap");
    assert_sound(&image, &memory);
    assert_eq!(image.entry.rip, 34 * MIB + 0x200, "aligned as the header demands");
    let fixed = with(0x234, &[0]);
    assert!(matches!(load(&guest(&fixed, &memory)), Err(LoadError::TooLittleMemory { .. })));
}

#[test]
fn an_initrd_is_kept_clear_of_the_kernel_and_below_its_limit() {
    let memory = pc(65);
    let limit = 0x07FF_FFFF_u32;
    let file = with(0x22C, &limit.to_le_bytes());
    // Above the kernel only 1 MiB is left; between the low MiB and the kernel there is room for 15.
    for (size, gpa) in [(MIB, 64 * MIB), (MIB + 1, 15 * MIB - 0x1000), (15 * MIB, MIB)] {
        let initrd = vec![1; size as usize];
        let image = load(&Linux { initrd: Some(&initrd), ..guest(&file, &memory) }).expect("it fits");
        assert_sound(&image, &memory);
        assert_eq!(segment_at(&image, gpa).len() as u64, size);
    }
    let initrd = vec![1; 15 * MIB as usize + 1];
    let refused = load(&Linux { initrd: Some(&initrd), ..guest(&file, &memory) });
    assert!(matches!(refused, Err(LoadError::TooLittleMemory { .. })));
    // A guest of 4 GiB: the limit counts.
    let image =
        load(&Linux { initrd: Some(&[1]), ..guest(&file, &pc(4096)) }).map(|image| image.segments.len());
    assert_eq!(image, Ok(6));
    let memory = pc(4096);
    let image = load(&Linux { initrd: Some(&[1]), ..guest(&file, &memory) }).expect("it fits");
    assert_eq!(segment_at(&image, 0x07FF_F000), [1]);
}

#[test]
fn what_is_no_64_bit_kernel_is_refused_in_one_sentence() {
    assert_eq!(refusal(b""), "the file is empty");
    let foreign = "the file is not a Linux kernel (neither a bzImage nor an ELF vmlinux)";
    assert_eq!(refusal(b"#!/bin/sh\n"), foreign);
    assert_eq!(refusal(&[0; 4096]), foreign);
    assert_eq!(
        refusal(&with(0x206, &[0x0A, 0x02])),
        "the kernel's boot protocol is 2.10, and 2.12 (Linux 3.8) is the oldest that can be started in 64-bit mode"
    );
    let not_64 = "the kernel is for 32-bit processors, and only 64-bit kernels can be started";
    assert_eq!(refusal(&with(0x236, &[0x7E])), not_64);
    let mut elf = vmlinux(0x1000);
    elf[18] = 183;
    assert_eq!(refusal(&elf), "the ELF file is not a program for x86-64 (machine 183, type 2)");
    elf[4] = 1;
    elf[18] = 3;
    assert_eq!(refusal(&elf), not_64);
    elf[5] = 2;
    assert_eq!(
        refusal(&elf),
        "the file cannot be loaded: it is an ELF file for another processor (class 1, byte order 2)"
    );
}

#[test]
fn headers_that_make_no_sense_are_refused() {
    let field = |offset, bytes: &[u8]| match load(&guest(&with(offset, bytes), &pc(512))) {
        Err(LoadError::BadField { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(0x201, &[0x20]), "header size");
    assert_eq!(field(0x201, &[0xFF]), "header size");
    assert_eq!(field(0x230, &[0, 0, 0, 0]), "kernel alignment");
    assert_eq!(field(0x230, &[0, 0x30, 0, 0]), "kernel alignment");
    assert_eq!(field(0x258, &0x1000_u64.to_le_bytes()), "preferred address");
    assert_eq!(field(0x258, &0x100_0001_u64.to_le_bytes()), "preferred address");
    assert_eq!(field(0x1F4, &[0; 4]), "kernel size");
    assert_eq!(field(0x260, &[1, 0, 0, 0]), "initial memory size");
}

#[test]
fn addresses_at_the_edges_of_arithmetic_are_refused() {
    for preferred in [u64::MAX - 0xFFF, 1 << 63, (4 << 30) - 0x1000, 1 << 20 << 32] {
        let file = with(0x258, &preferred.to_le_bytes());
        assert!(
            matches!(load(&guest(&file, &pc(512))), Err(LoadError::TooLittleMemory { .. })),
            "{preferred:#x}"
        );
    }
    // Enough memory, but beyond what is mapped.
    let file = with(0x258, &((4_u64 << 30) - MIB).to_le_bytes());
    assert!(matches!(load(&guest(&file, &pc(8192))), Err(LoadError::BadPlace { .. })));
    for (offset, value) in [(88, u64::MAX), (88, 0), (104, u64::MAX), (72, u64::MAX), (96, u64::MAX), (24, 0)]
    {
        let mut file = vmlinux(0x1000);
        put(&mut file, offset, &value.to_le_bytes());
        load(&guest(&file, &pc(512))).expect_err("no such address");
    }
}

#[test]
fn a_small_guest_is_told_how_much_a_kernel_needs() {
    let sentence = |kernel: &[u8], mib| load(&guest(kernel, &pc(mib))).expect_err("too small").to_string();
    assert_eq!(
        sentence(&bzimage(), 32),
        "the guest's 32 MiB of memory have no place for this kernel, which needs at least 64 MiB: give it more with \
         --memory"
    );
    assert_eq!(
        sentence(&vmlinux(40 * MIB), 32),
        "the guest's 32 MiB of memory have no place for this program, which needs at least 56 MiB: give it more with \
         --memory"
    );
    load(&guest(&bzimage(), &pc(64))).expect("just enough");
}

#[test]
fn command_lines_and_maps_have_their_limits() {
    let (file, memory) = (bzimage(), pc(512));
    let line = |text: &str| load(&Linux { command_line: text, ..guest(&file, &memory) }).map(|_| ());
    assert_eq!(line(&"x".repeat(2047)), Ok(()));
    assert_eq!(line(&"x".repeat(2048)), Err(LoadError::LongCommandLine { length: 2048, limit: 2047 }));
    assert_eq!(line("a\0b"), Err(LoadError::NulInCommandLine));
    let endless = with(0x238, &[0xFF; 4]);
    let text = "x".repeat(0x1_0000);
    let refused = load(&Linux { command_line: &text, ..guest(&endless, &memory) });
    assert_eq!(refused.map(|_| ()), Err(LoadError::LongCommandLine { length: 0x1_0000, limit: 0xFFFF }));

    let ranges = |count: u64| {
        let high = (1..count).map(|index| (1 << 40) + index * MIB);
        let high = high.map(|start| MemoryRange { start, length: 0x1000, kind: RangeKind::Reserved });
        let low = MemoryRange { start: 0, length: 512 * MIB, kind: RangeKind::Usable };
        MemoryMap::new([low].into_iter().chain(high)).expect("in order")
    };
    load(&guest(&file, &ranges(128))).expect("as many as fit");
    let refused = load(&guest(&file, &ranges(129))).map(|_| ());
    assert_eq!(refused, Err(LoadError::LongMemoryMap { ranges: 129, limit: 128 }));
}

#[test]
fn the_loaders_own_tables_need_low_memory() {
    let high = MemoryRange { start: MIB, length: 511 * MIB, kind: RangeKind::Usable };
    let memory = MemoryMap::new([high]).expect("a map in order");
    let refused = load(&guest(&bzimage(), &memory)).map(|_| ());
    assert!(matches!(refused, Err(LoadError::TooLittleMemory { what: "the boot loader's tables", .. })));
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let memory = pc(512);
    for file in [bzimage(), vmlinux(0x1000)] {
        for length in 0..file.len() {
            let error = load(&guest(&file[..length], &memory)).expect_err("a part of a kernel");
            let expected = matches!(
                error,
                LoadError::Empty
                    | LoadError::Foreign { .. }
                    | LoadError::CutShort { .. }
                    | LoadError::Elf(ElfError::Truncated { .. })
            );
            assert!(expected, "{length}: {error}");
        }
    }
}

proptest! {
    /// Whatever stands in a header: an image that keeps its promises, or an error.
    #[test]
    fn no_header_breaks_the_loader(
        changes in prop::collection::vec((0_usize..0x300, prop_oneof![any::<u8>(), Just(0), Just(0xFF)]), 0..12),
        elf in any::<bool>(),
        mib in prop_oneof![17_u64..100, Just(512), Just(5000)],
        initrd_size in 0_usize..0x10_0000,
    ) {
        let mut file = if elf { vmlinux(0x4000) } else { bzimage() };
        for (offset, value) in changes {
            // The marks stay, so that the change is not refused for them alone.
            if !(if elf { 0..6 } else { 0x1FE..0x208 }).contains(&offset) {
                file[offset] = value;
            }
        }
        let (memory, initrd) = (pc(mib), vec![9; initrd_size]);
        if let Ok(image) = load(&Linux { initrd: Some(&initrd), ..guest(&file, &memory) }) {
            assert_sound(&image, &memory);
        }
    }

    /// Any bytes at all.
    #[test]
    fn no_file_breaks_the_loader(file in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(load(&guest(&file, &pc(64))).is_err());
    }
}

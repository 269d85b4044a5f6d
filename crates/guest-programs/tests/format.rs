// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every guest program is one file in two formats: both must describe the same bytes at the same addresses.

use guest_programs::ALL;

fn u16_at(file: &[u8], offset: usize) -> usize {
    usize::from(u16::from_le_bytes(file[offset..offset + 2].try_into().expect("2 bytes")))
}

fn u32_at(file: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(file[offset..offset + 4].try_into().expect("4 bytes"))
}

fn u64_at(file: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(file[offset..offset + 8].try_into().expect("8 bytes"))
}

struct Segment {
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
}

fn loaded_segments(file: &[u8]) -> Vec<Segment> {
    let (table, size, count) = (u64_at(file, 32) as usize, u16_at(file, 54), u16_at(file, 56));
    (0..count)
        .map(|index| table + index * size)
        .filter(|&header| u32_at(file, header) == 1)
        .map(|header| Segment {
            offset: u64_at(file, header + 8),
            address: u64_at(file, header + 24),
            in_file: u64_at(file, header + 32),
            in_memory: u64_at(file, header + 40),
        })
        .collect()
}

/// The multiboot header's offset: 4-byte aligned, in the first 8 KiB.
fn multiboot_header(file: &[u8]) -> usize {
    (0..8192 - 32).step_by(4).find(|&offset| u32_at(file, offset) == 0x1BAD_B002).expect("a multiboot header")
}

#[test]
fn elf_and_multiboot_agree() {
    for program in ALL {
        let file = program.image;
        let name = program.name;
        assert_eq!(&file[..5], b"\x7FELF\x02", "{name}: a 64-bit ELF file");
        assert_eq!((u16_at(file, 16), u16_at(file, 18)), (2, 62), "{name}: a static x86-64 executable");

        let segments = loaded_segments(file);
        let distance = segments[0].address - segments[0].offset;
        for segment in &segments {
            assert_eq!(
                segment.address - segment.offset,
                distance,
                "{name}: file offset minus address is constant"
            );
        }

        let header = multiboot_header(file);
        let [flags, checksum, header_address, load, load_end, bss_end, entry] =
            [4, 8, 12, 16, 20, 24, 28].map(|offset| u32_at(file, header + offset));
        assert_eq!(0x1BAD_B002_u32.wrapping_add(flags).wrapping_add(checksum), 0, "{name}: checksum");
        assert_eq!(flags & 1 << 16, 1 << 16, "{name}: the address fields count");
        assert_eq!(
            u64::from(header_address) - header as u64,
            distance,
            "{name}: the header is where it says"
        );
        assert_eq!(u64::from(load), segments[0].address, "{name}: load address");
        assert_eq!(u64::from(entry), u64_at(file, 24), "{name}: one entry point");
        let last = segments.last().expect("segments");
        assert!(u64::from(load_end) >= last.address + last.in_file, "{name}: all of the file is loaded");
        assert!(
            u64::from(load_end) <= file.len() as u64 + distance,
            "{name}: no more than the file is loaded"
        );
        assert_eq!(
            u64::from(bss_end).next_multiple_of(4096),
            (last.address + last.in_memory).next_multiple_of(4096),
            "{name}: memory"
        );
    }
}

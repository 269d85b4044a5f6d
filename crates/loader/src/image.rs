// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the loaders produce: bytes with their addresses, and the state in which the first processor starts.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes that go to one place in guest-physical memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Guest-physical address (GPA) of the first byte.
    pub gpa: u64,
    /// The bytes, borrowed from the file where that is possible.
    pub bytes: Cow<'a, [u8]>,
}

impl Segment<'_> {
    /// The addresses that the segment fills.
    pub fn range(&self) -> Range<u64> {
        self.gpa..self.gpa.saturating_add(self.bytes.len() as u64)
    }
}

/// Everything that must be done to memory and to the first processor before a guest can run.
///
/// The image is applied to memory that is all zeros: bytes that a program wants cleared are not listed.
/// Segments do not overlap, and each lies within one range of usable memory of the map that the loader was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// What to write.
    pub segments: Vec<Segment<'a>>,
    /// Where and how to start.
    pub entry: EntryState,
}

/// The state of the first processor at the guest's first instruction. Registers that are not named here have
/// their values after reset, except that no general register but those named may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryState {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// RFLAGS; bit 1 is always set.
    pub rflags: u64,
    /// RAX.
    pub rax: u64,
    /// RBX.
    pub rbx: u64,
    /// RSI.
    pub rsi: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3: GPA of the top page table, or 0 without paging.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// The global descriptor table; its bytes are in the image.
    pub gdtr: DescriptorTable,
    /// CS.
    pub code: SegmentRegister,
    /// DS, ES, FS, GS and SS alike.
    pub data: SegmentRegister,
    /// TR: a busy task state segment without a table behind it, as after reset.
    pub task: SegmentRegister,
}

/// Base and limit of a descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorTable {
    /// Linear address of the first descriptor.
    pub base: u64,
    /// Size in bytes, less one.
    pub limit: u16,
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRegister {
    /// The visible selector.
    pub selector: u16,
    /// Linear address of the segment's first byte.
    pub base: u64,
    /// Highest valid offset, in bytes.
    pub limit: u32,
    /// Type (bits 0-3), S (4), DPL (5-6), P (7), AVL (12), L (13), D/B (14), G (15): the second word of a descriptor
    /// from its bit 8 on, without the limit bits, as in HV_X64_SEGMENT_REGISTER (TLFS 7.9.5).
    pub attributes: u16,
}

impl SegmentRegister {
    /// The flat segment over 4 GiB with `attributes`.
    pub(crate) const fn flat(selector: u16, attributes: u16) -> Self {
        Self { selector, base: 0, limit: 0xFFFF_FFFF, attributes }
    }

    /// The task register's content after reset.
    pub(crate) const fn task() -> Self {
        Self { selector: 0, base: 0, limit: 0xFFFF, attributes: 0x008B }
    }

    /// The descriptor (Intel SDM 3A 3.4.5) that this register would have been loaded from.
    pub(crate) const fn descriptor(&self) -> u64 {
        let limit = if self.attributes & 0x8000 == 0 { self.limit } else { self.limit >> 12 } as u64;
        let attributes = (self.attributes & 0xF0FF) as u64;
        (limit & 0xFFFF)
            | (self.base & 0xFF_FFFF) << 16
            | attributes << 40
            | (limit & 0xF_0000) << 32
            | (self.base & 0xFF00_0000) << 32
    }
}

/// Flat code and data segments, 0x10 and 0x18, with a descriptor table that has them: what every boot protocol here
/// starts with.
#[derive(Clone, Debug)]
pub(crate) struct FlatSegments {
    pub(crate) table: Segment<'static>,
    pub(crate) gdtr: DescriptorTable,
    pub(crate) code: SegmentRegister,
    pub(crate) data: SegmentRegister,
}

impl FlatSegments {
    /// With the table at `gpa`.
    pub(crate) fn new(gpa: u64, code_attributes: u16) -> Self {
        let code = SegmentRegister::flat(0x10, code_attributes);
        let data = SegmentRegister::flat(0x18, DATA);
        let descriptors = [0, 0, code.descriptor(), data.descriptor()];
        let bytes: Vec<u8> = descriptors.into_iter().flat_map(u64::to_le_bytes).collect();
        let gdtr = DescriptorTable { base: gpa, limit: bytes.len() as u16 - 1 };
        Self { table: Segment { gpa, bytes: Cow::Owned(bytes) }, gdtr, code, data }
    }
}

/// Attributes of a 64-bit code segment: readable, accessed, present, L, G.
pub(crate) const CODE_64: u16 = 0xA09B;
/// Attributes of a 32-bit code segment: readable, accessed, present, D, G.
pub(crate) const CODE_32: u16 = 0xC09B;
/// Attributes of a data segment: writable, accessed, present, B, G.
const DATA: u16 = 0xC093;

/// CR0.PE: protected mode.
pub(crate) const CR0_PE: u64 = 1 << 0;
/// CR0.ET: reads as one on every x86-64 processor.
pub(crate) const CR0_ET: u64 = 1 << 4;
/// CR0.PG: paging.
pub(crate) const CR0_PG: u64 = 1 << 31;
/// CR4.PAE: page tables with 64-bit entries.
pub(crate) const CR4_PAE: u64 = 1 << 5;
/// EFER.LME and EFER.LMA: long mode enabled and active.
pub(crate) const EFER_LONG_MODE: u64 = 1 << 8 | 1 << 10;
/// RFLAGS with nothing but the bit that is always set.
pub(crate) const RFLAGS_CLEAR: u64 = 1 << 1;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::MemoryMap;

    /// What every image promises: segments that do not overlap, each in usable memory, and the entry point in one.
    pub(crate) fn assert_sound(image: &Image<'_>, memory: &MemoryMap) {
        let mut ranges: Vec<_> = image.segments.iter().map(Segment::range).collect();
        ranges.sort_by_key(|range| range.start);
        for range in &ranges {
            assert!(memory.holds(range.start, range.end - range.start), "{range:x?} is not usable memory");
        }
        for pair in ranges.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{pair:x?} overlap");
        }
        let rip = image.entry.rip;
        assert!(ranges.iter().any(|range| range.contains(&rip)), "the entry point {rip:#x} is in no segment");
    }

    /// The bytes of the segment at `gpa`.
    pub(crate) fn segment_at<'a>(image: &'a Image<'_>, gpa: u64) -> &'a [u8] {
        let segment = image.segments.iter().find(|segment| segment.gpa == gpa);
        &segment.unwrap_or_else(|| panic!("no segment at {gpa:#x}")).bytes
    }

    /// The descriptors that every x86 system programmer knows by heart.
    #[test]
    fn flat_segments_have_the_usual_descriptors() {
        assert_eq!(SegmentRegister::flat(0x10, CODE_32).descriptor(), 0x00CF_9B00_0000_FFFF);
        assert_eq!(SegmentRegister::flat(0x10, CODE_64).descriptor(), 0x00AF_9B00_0000_FFFF);
        assert_eq!(SegmentRegister::flat(0x18, DATA).descriptor(), 0x00CF_9300_0000_FFFF);
    }
}

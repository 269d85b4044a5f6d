// SPDX-License-Identifier: MIT OR Apache-2.0
//! Selectors, segment registers and descriptors (SDM 3A 3.4, 3.5, 7.2).

use bitfield_struct::bitfield;

/// A segment selector.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Selector {
    /// Requested privilege level, 0 to 3.
    #[bits(2)]
    pub rpl: u8,
    /// TI: the LDT instead of the GDT.
    pub ldt: bool,
    /// Index of the descriptor, in units of 8 bytes.
    #[bits(13)]
    pub index: u16,
}

impl Selector {
    /// Whether it is a null selector: GDT, index 0, any RPL.
    pub const fn is_null(self) -> bool {
        self.into_bits() & !3 == 0
    }

    /// Offset of the descriptor in its table, in bytes.
    pub const fn table_offset(self) -> u16 {
        self.into_bits() & !7
    }
}

/// Attributes of a segment: bits 55:40 of its descriptor without the limit bits. VMCB, Hyper-V and WHP use this form.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct SegmentAttributes {
    /// Type: for code and data see [`CODE`](Self::CODE) and its companions, for system segments [`SystemType`].
    #[bits(4)]
    pub segment_type: u8,
    /// S: code or data; clear for system segments and gates.
    pub non_system: bool,
    /// Descriptor privilege level, 0 to 3.
    #[bits(2)]
    pub dpl: u8,
    /// P.
    pub present: bool,
    #[bits(4)]
    __: u8,
    /// AVL, software's own.
    pub available: bool,
    /// L: 64-bit code.
    pub long: bool,
    /// D/B: 32-bit operands and addresses, or stack pointer.
    pub default_32: bool,
    /// G: the limit counts 4 KiB units.
    pub granularity: bool,
}

impl SegmentAttributes {
    /// Type bit: accessed.
    pub const ACCESSED: u8 = 1;
    /// Type bit of data: writable; of code: readable.
    pub const READ_WRITE: u8 = 2;
    /// Type bit of data: expands down; of code: conforming.
    pub const EXPAND_DOWN_OR_CONFORMING: u8 = 4;
    /// Type bit: code rather than data.
    pub const CODE: u8 = 8;

    /// Whether it is a code segment.
    pub const fn is_code(self) -> bool {
        self.non_system() && self.segment_type() & Self::CODE != 0
    }

    /// Whether it is a data segment.
    pub const fn is_data(self) -> bool {
        self.non_system() && self.segment_type() & Self::CODE == 0
    }

    /// Whether it is a conforming code segment.
    pub const fn is_conforming(self) -> bool {
        self.is_code() && self.segment_type() & Self::EXPAND_DOWN_OR_CONFORMING != 0
    }

    /// Whether it is a data segment that expands down.
    pub const fn is_expand_down(self) -> bool {
        self.is_data() && self.segment_type() & Self::EXPAND_DOWN_OR_CONFORMING != 0
    }

    /// Whether data can be read through it: all data segments, and readable code.
    pub const fn is_readable(self) -> bool {
        self.is_data() || (self.is_code() && self.segment_type() & Self::READ_WRITE != 0)
    }

    /// Whether data can be written through it.
    pub const fn is_writable(self) -> bool {
        self.is_data() && self.segment_type() & Self::READ_WRITE != 0
    }
}

/// Types of system descriptors (SDM 3A table 3-2). In long mode only those without 16-bit in their name exist, and the
/// 32-bit ones are 64-bit ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SystemType {
    /// 16-bit TSS, available.
    AvailableTss16 = 1,
    /// Local descriptor table.
    Ldt = 2,
    /// 16-bit TSS, busy.
    BusyTss16 = 3,
    /// 16-bit call gate.
    CallGate16 = 4,
    /// Task gate.
    TaskGate = 5,
    /// 16-bit interrupt gate.
    InterruptGate16 = 6,
    /// 16-bit trap gate.
    TrapGate16 = 7,
    /// 32-bit (long mode: 64-bit) TSS, available.
    AvailableTss = 9,
    /// 32-bit (long mode: 64-bit) TSS, busy.
    BusyTss = 11,
    /// 32-bit (long mode: 64-bit) call gate.
    CallGate = 12,
    /// 32-bit (long mode: 64-bit) interrupt gate.
    InterruptGate = 14,
    /// 32-bit (long mode: 64-bit) trap gate.
    TrapGate = 15,
}

impl SystemType {
    /// The type of a descriptor's four type bits; `None` for the reserved 0, 8, 10 and 13, and above 15.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::AvailableTss16,
            2 => Self::Ldt,
            3 => Self::BusyTss16,
            4 => Self::CallGate16,
            5 => Self::TaskGate,
            6 => Self::InterruptGate16,
            7 => Self::TrapGate16,
            9 => Self::AvailableTss,
            11 => Self::BusyTss,
            12 => Self::CallGate,
            14 => Self::InterruptGate,
            15 => Self::TrapGate,
            _ => return None,
        })
    }

    /// The four type bits.
    pub const fn into_bits(self) -> u8 {
        self as u8
    }
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Linear address of its first byte.
    pub base: u64,
    /// Highest offset in bytes, granularity already applied.
    pub limit: u32,
    /// The visible part.
    pub selector: Selector,
    /// Type and rights.
    pub attributes: SegmentAttributes,
}

impl Segment {
    /// A segment as real mode loads it: base 16 × selector, limit 64 KiB, writable data.
    pub const fn real_mode(selector: u16) -> Self {
        Self {
            base: (selector as u64) << 4,
            limit: 0xFFFF,
            selector: Selector::from_bits(selector),
            attributes: SegmentAttributes::new()
                .with_present(true)
                .with_non_system(true)
                .with_segment_type(3),
        }
    }
}

/// A descriptor of 8 bytes: a code or data segment, or a system segment outside long mode.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SegmentDescriptor {
    /// Limit 15:0.
    pub limit_low: u16,
    /// Base 23:0.
    #[bits(24)]
    pub base_low: u32,
    /// Type, S, DPL, P.
    pub access: u8,
    /// Limit 19:16.
    #[bits(4)]
    pub limit_high: u8,
    /// AVL, L, D/B, G.
    #[bits(4)]
    pub flags: u8,
    /// Base 31:24.
    pub base_high: u8,
}

impl SegmentDescriptor {
    /// The descriptor of a segment. Base bits above 31 are lost; with granularity, so are the low 12 limit bits.
    pub const fn encode(base: u64, limit: u32, attributes: SegmentAttributes) -> Self {
        let limit = if attributes.granularity() { limit >> 12 } else { limit };
        Self::new()
            .with_limit_low(limit as u16)
            .with_limit_high((limit >> 16 & 0xF) as u8)
            .with_base_low(base as u32 & 0xFF_FFFF)
            .with_base_high((base >> 24) as u8)
            .with_access(attributes.into_bits() as u8)
            .with_flags((attributes.into_bits() >> 12) as u8)
    }

    /// Base, 32 bits.
    pub const fn base(self) -> u32 {
        self.base_low() | (self.base_high() as u32) << 24
    }

    /// Highest offset in bytes, with granularity applied.
    pub const fn limit(self) -> u32 {
        let limit = self.limit_low() as u32 | (self.limit_high() as u32) << 16;
        if self.attributes().granularity() { limit << 12 | 0xFFF } else { limit }
    }

    /// Type and rights.
    pub const fn attributes(self) -> SegmentAttributes {
        SegmentAttributes::from_bits(self.access() as u16 | (self.flags() as u16) << 12)
    }

    /// The segment register that a load with `selector` makes.
    pub const fn segment(self, selector: Selector) -> Segment {
        Segment { base: self.base() as u64, limit: self.limit(), selector, attributes: self.attributes() }
    }
}

/// A descriptor of 16 bytes: LDT or TSS in long mode (SDM 3A 7.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemDescriptor {
    /// The first 8 bytes, with base 31:0.
    pub low: SegmentDescriptor,
    /// The last 8 bytes: base 63:32, then reserved bits, of which 44:40 must be zero.
    pub high: u64,
}

impl SystemDescriptor {
    /// The descriptor of a system segment.
    pub const fn encode(base: u64, limit: u32, attributes: SegmentAttributes) -> Self {
        Self { low: SegmentDescriptor::encode(base, limit, attributes), high: base >> 32 }
    }

    /// Base, 64 bits.
    pub const fn base(self) -> u64 {
        self.low.base() as u64 | self.high << 32
    }

    /// Whether the type field of the upper half, bits 44:40, is zero; a load is #GP otherwise.
    pub const fn is_well_formed(self) -> bool {
        self.high >> 40 & 0x1F == 0
    }

    /// The segment register that a load with `selector` makes.
    pub const fn segment(self, selector: Selector) -> Segment {
        Segment { base: self.base(), limit: self.low.limit(), selector, attributes: self.low.attributes() }
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Descriptors as commonly seen in kernels' tables.
    #[test]
    fn known_descriptors() {
        let code = SegmentDescriptor::from_bits(0x00AF_9B00_0000_FFFF);
        assert_eq!((code.base(), code.limit()), (0, 0xFFFF_FFFF));
        assert!(code.attributes().is_code() && code.attributes().long() && code.attributes().is_readable());
        assert!(!code.attributes().is_writable() && !code.attributes().is_conforming());
        assert_eq!(code.attributes().into_bits(), 0xA09B);

        let data = SegmentDescriptor::from_bits(0x12CF_F334_5678_FFFF);
        assert_eq!(data.base(), 0x1234_5678);
        assert_eq!(data.attributes().dpl(), 3);
        assert!(data.attributes().is_writable());

        let bytes = SegmentDescriptor::from_bits(0x0000_8B00_0000_0067);
        assert_eq!(bytes.limit(), 0x67);
        assert_eq!(SystemType::from_bits(bytes.attributes().segment_type()), Some(SystemType::BusyTss));
    }

    #[test]
    fn encode_then_decode() {
        for (limit, granularity) in [(0xF_FFFF, false), (0x67, false), (0xFFFF_FFFF, true), (0xFFF, true)] {
            let attributes = SegmentAttributes::from_bits(0x5093).with_granularity(granularity);
            let descriptor = SegmentDescriptor::encode(0x89AB_CDEF, limit, attributes);
            let segment = descriptor.segment(Selector::from_bits(0x2B));
            assert_eq!(
                segment,
                Segment { base: 0x89AB_CDEF, limit, selector: Selector::from_bits(0x2B), attributes }
            );
        }
        let system =
            SystemDescriptor::encode(0xFFFF_8000_1234_5678, 0x67, SegmentAttributes::from_bits(0x89));
        assert_eq!(system.segment(Selector::new()).base, 0xFFFF_8000_1234_5678);
        assert!(!SystemDescriptor { high: 1 << 44, ..system }.is_well_formed());
    }

    #[test]
    fn selectors() {
        assert!(Selector::from_bits(3).is_null() && !Selector::from_bits(4).is_null());
        let selector = Selector::from_bits(0x2F);
        assert_eq!(
            (selector.index(), selector.ldt(), selector.rpl(), selector.table_offset()),
            (5, true, 3, 0x28)
        );
    }

    #[test]
    fn system_types_round_trip() {
        for bits in 0..=255 {
            match SystemType::from_bits(bits) {
                Some(kind) => assert_eq!(kind.into_bits(), bits),
                None => assert!(matches!(bits, 0 | 8 | 10 | 13 | 16..)),
            }
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeded values, with the edges of number formats well represented.

use super::super::{HostFrame, STATUS_FLAGS, VectorState};

/// A xorshift64* generator: repeatable, and good enough to choose test values.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.bits() >> 16) % limit
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn single(&mut self) -> u32 {
        let edges = [
            0,
            0x8000_0000,
            1,
            0x807F_FFFF,
            0x0080_0000,
            0x3F80_0000,
            0x7F7F_FFFF,
            0x7F80_0000,
            0xFF80_0000,
            0x7FC0_0000,
            0x7F80_0001,
            0x4F00_0000,
            0xCF00_0000,
            0x3EAA_AAAB,
            0x4049_0FDB,
        ];
        match self.below(3) {
            0 => self.pick(&edges),
            1 => ((self.below(2000) as f32 - 1000.0) / 8.0).to_bits(),
            _ => self.bits() as u32,
        }
    }

    fn double(&mut self) -> u64 {
        let edges = [
            0,
            1 << 63,
            1,
            0x800F_FFFF_FFFF_FFFF,
            0x0010_0000_0000_0000,
            0x3FF0_0000_0000_0000,
            0x7FEF_FFFF_FFFF_FFFF,
            0x7FF0_0000_0000_0000,
            0xFFF0_0000_0000_0000,
            0x7FF8_0000_0000_0000,
            0x7FF0_0000_0000_0001,
            0x41E0_0000_0000_0000,
            0x43E0_0000_0000_0000,
            0x3FD5_5555_5555_5555,
            0x36A0_0000_0000_0000,
            0x47EF_FFFF_FFFF_FFFF,
        ];
        match self.below(3) {
            0 => self.pick(&edges),
            1 => ((self.below(2000) as f64 - 1000.0) / 8.0).to_bits(),
            _ => self.bits(),
        }
    }

    /// Sixteen bytes that make sense as integers, singles, or doubles.
    pub(super) fn vector(&mut self) -> u128 {
        match self.below(4) {
            0 => u128::from(self.bits()) << 64 | u128::from(self.bits()),
            1 => (0..4).fold(0, |all, _| all << 32 | u128::from(self.single())),
            2 => u128::from(self.double()) << 64 | u128::from(self.double()),
            _ => self.pick(&[0, u128::MAX, u128::MAX >> 1, 1 << 127 | 1, 0x7F80_8080_0001_FF7F_0000]),
        }
    }

    pub(super) fn integer(&mut self) -> u64 {
        match self.below(4) {
            0 => self.pick(&[0, 1, u64::MAX, 1 << 63, u64::MAX >> 1, 0x8000_0000, 0x7FFF_FFFF, 0x8000, 0x7F]),
            1 => self.below(100),
            _ => self.bits(),
        }
    }

    /// Ten bytes as an 80-bit value: normal, edge, unsupported, or an MMX value.
    pub(super) fn extended(&mut self) -> [u8; 10] {
        let (significand, exponent): (u64, u16) = match self.below(6) {
            0 => (1 << 63, 0x3FFF + self.below(8) as u16),
            1 => (self.bits() | 1 << 63, 0x3FF0 + self.below(64) as u16),
            2 => (
                self.pick(&[0, 1, 1 << 63, u64::MAX, 3 << 62, 1 << 63 | 1, 1 << 62]),
                self.pick(&[0, 1, 0x7FFE, 0x7FFF]),
            ),
            3 => (self.bits(), 0xFFFF),
            4 => (self.bits() | 1 << 63, self.below(0x8000) as u16),
            _ => (self.bits(), self.bits() as u16),
        };
        let sign = if self.one_in(2) { 0x8000 } else { 0 };
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&significand.to_le_bytes());
        bytes[8..].copy_from_slice(&(exponent | sign).to_le_bytes());
        bytes
    }

    /// A frame with all SIMD exceptions masked; x87 exceptions are mostly masked and none is pending.
    pub(super) fn frame(&mut self) -> HostFrame {
        let mut frame = HostFrame::new();
        frame.gprs = std::array::from_fn(|_| self.integer());
        frame.rflags = self.bits() & STATUS_FLAGS | 2;
        frame.bounce.0 = std::array::from_fn(|_| self.bits() as u8);
        let vector = &mut frame.vector;
        for index in 0..16 {
            vector.set_xmm(index, self.vector());
            vector.set_ymm_high(index, self.vector());
        }
        let modes = self.bits() as u32 & 0xE07F;
        vector.set_mxcsr(modes | 0x1F80).expect("no reserved bit");
        self.x87(vector);
        frame
    }

    fn x87(&mut self, vector: &mut VectorState) {
        let masks = if self.one_in(3) { self.bits() as u16 & 0x3F } else { 0x3F };
        let fcw = masks | self.bits() as u16 & 0xF00;
        let flags = self.bits() as u16 & masks & if self.one_in(2) { 0 } else { 0x7F };
        let fsw = flags | self.bits() as u16 & 0x7F00;
        let tags = if self.one_in(3) { self.bits() as u8 } else { 0xFF };
        vector.set_x87_words(fcw, fsw, tags);
        for index in 0..8 {
            vector.set_st(index, self.extended());
        }
        vector.set_x87_pointers(self.bits() as u16, self.bits(), self.bits());
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeded random choices, the same on every machine, and values that lie at edges.

/// xoshiro256** (Blackman and Vigna), seeded by splitmix64.
#[derive(Clone)]
pub struct Random([u64; 4]);

impl Random {
    /// A generator for one purpose: streams of different `stream` numbers are independent of each other.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = state;
            word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^ word >> 31
        };
        Self([next(), next(), next(), next()])
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// True with a probability of `percent` in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A value in which errors show: small numbers and their negatives, the ends of every width, single bits, runs of bits, repeated bytes, or anything.
    pub fn edge(&mut self) -> u64 {
        let width = self.pick(&[8u32, 16, 32, 64]);
        let mask = u64::MAX >> (64 - width);
        let value = match self.below(12) {
            0 => 0,
            1 => self.below(4),
            2 => self.below(4).wrapping_neg(),
            3 => mask >> 1,
            4 => (mask >> 1) + 1,
            5 => mask,
            6 => 1 << self.below(64),
            7 => (1u64 << self.below(64)).wrapping_add(self.pick(&[1, u64::MAX])),
            8 => u64::MAX >> self.below(64) << self.below(64),
            9 => self.below(256).wrapping_mul(0x0101_0101_0101_0101),
            _ => self.bits(),
        };
        match self.below(6) {
            // Garbage above a narrow value: nobody may look at it.
            0 => value & mask | self.bits() & !mask,
            1 => value & mask,
            2 if width < 64 => ((value << (64 - width)) as i64 >> (64 - width)) as u64,
            _ => value,
        }
    }
}

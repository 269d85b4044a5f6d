// SPDX-License-Identifier: MIT OR Apache-2.0
//! A set of interrupt vectors, laid out as the APIC's 256-bit registers are.

/// A set of vectors 0 to 255.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VectorSet([u32; 8]);

state::state!(VectorSet(_));

impl VectorSet {
    pub(super) fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] |= 1 << (vector & 31);
    }

    pub(super) fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] &= !(1 << (vector & 31));
    }

    pub(super) fn set(&mut self, vector: u8, member: bool) {
        if member { self.insert(vector) } else { self.remove(vector) }
    }

    /// Whether `vector` is in the set.
    #[must_use]
    pub fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 5)] >> (vector & 31) & 1 != 0
    }

    /// The highest vector in the set.
    #[must_use]
    pub fn highest(&self) -> Option<u8> {
        let index = self.0.iter().rposition(|&word| word != 0)?;
        Some((index as u8) << 5 | (31 - self.0[index].leading_zeros()) as u8)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }

    /// The 32-bit register that holds vectors `32 * index` to `32 * index + 31`.
    pub(super) fn word(&self, index: usize) -> u32 {
        self.0[index]
    }
}

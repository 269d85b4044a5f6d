// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory types, the PAT and the MTRRs (SDM 3A 11.3, 11.11, 11.12).

use bitfield_struct::bitfield;

/// How memory is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemoryType {
    /// UC.
    Uncacheable = 0,
    /// WC.
    WriteCombining = 1,
    /// WT.
    WriteThrough = 4,
    /// WP.
    WriteProtected = 5,
    /// WB.
    WriteBack = 6,
    /// UC-: uncacheable, but an MTRR may make it WC. In the PAT only.
    UncacheableMinus = 7,
}

impl MemoryType {
    /// The type of an encoding as PAT entries have it; `None` for 2, 3 and above 7.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Uncacheable,
            1 => Self::WriteCombining,
            4 => Self::WriteThrough,
            5 => Self::WriteProtected,
            6 => Self::WriteBack,
            7 => Self::UncacheableMinus,
            _ => return None,
        })
    }

    /// The type that memory has where the MTRRs say `mtrr` and the page's PAT entry says `pat` (SDM 3A table 11-7). Where that leaves a combination
    /// undefined, the stricter of the two.
    #[must_use]
    pub const fn effective(mtrr: Self, pat: Self) -> Self {
        use MemoryType as T;
        match (mtrr, pat) {
            (_, T::Uncacheable) => T::Uncacheable,
            (_, T::WriteCombining) | (T::WriteCombining, T::UncacheableMinus | T::WriteBack) => {
                T::WriteCombining
            }
            (_, T::UncacheableMinus) | (T::Uncacheable | T::UncacheableMinus | T::WriteCombining, _) => {
                T::Uncacheable
            }
            (T::WriteThrough, T::WriteBack) => T::WriteThrough,
            (T::WriteProtected, T::WriteBack) => T::WriteProtected,
            (_, pat) => pat,
        }
    }

    /// Whether MTRRs take this encoding: all but UC-.
    pub const fn is_valid_in_mtrr(bits: u8) -> bool {
        matches!(bits, 0 | 1 | 4..=6)
    }
}

/// IA32_PAT: eight memory types of a byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pat(u64);

impl Pat {
    /// The value after reset: WB, WT, UC-, UC, twice.
    pub const RESET: Self = Self(0x0007_0406_0007_0406);

    /// The register of a value; `None` if an entry is no memory type (WRMSR is then #GP).
    pub const fn from_bits(bits: u64) -> Option<Self> {
        let mut index = 0;
        while index < 8 {
            if MemoryType::from_bits((bits >> (8 * index)) as u8).is_none() {
                return None;
            }
            index += 1;
        }
        Some(Self(bits))
    }

    /// The value.
    pub const fn into_bits(self) -> u64 {
        self.0
    }

    /// Memory type of entry `index` (0 to 7, higher bits ignored), as [`Translation::pat_index`] names it.
    ///
    /// [`Translation::pat_index`]: crate::paging::Translation::pat_index
    pub const fn memory_type(self, index: u8) -> MemoryType {
        match MemoryType::from_bits((self.0 >> (8 * (index & 7))) as u8) {
            Some(memory_type) => memory_type,
            // from_bits refuses such values.
            None => MemoryType::Uncacheable,
        }
    }
}

impl Default for Pat {
    fn default() -> Self {
        Self::RESET
    }
}

/// IA32_MTRR_DEF_TYPE.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct MtrrDefType {
    /// Memory type where no MTRR says another, [`MemoryType`]'s encoding.
    pub default_type: u8,
    #[bits(2)]
    __: u8,
    /// FE: fixed-range MTRRs count.
    pub fixed_enable: bool,
    /// E: MTRRs count; without it all memory is UC.
    pub enable: bool,
    #[bits(52)]
    __: u64,
}

/// IA32_MTRRCAP.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct MtrrCap {
    /// Number of variable-range pairs.
    pub variable_count: u8,
    /// Fixed-range MTRRs exist.
    pub fixed: bool,
    __: bool,
    /// WC exists.
    pub write_combining: bool,
    /// System-management range registers exist.
    pub smrr: bool,
    #[bits(52)]
    __: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pat() {
        assert_eq!(Pat::RESET.memory_type(0), MemoryType::WriteBack);
        assert_eq!(Pat::RESET.memory_type(6), MemoryType::UncacheableMinus);
        assert!(Pat::from_bits(0x0007_0406_0007_0102).is_none());
        assert!(Pat::from_bits(0x0807_0406_0007_0106).is_none());
        assert_eq!(
            Pat::from_bits(0x0007_0406_0007_0106).map(|pat| pat.memory_type(1)),
            Some(MemoryType::WriteCombining)
        );
    }

    #[test]
    fn ranges_and_pages_together() {
        use MemoryType as T;
        for (mtrr, pat, both) in [
            (T::WriteBack, T::WriteBack, T::WriteBack),
            (T::WriteBack, T::UncacheableMinus, T::Uncacheable),
            (T::WriteBack, T::WriteThrough, T::WriteThrough),
            (T::Uncacheable, T::WriteBack, T::Uncacheable),
            (T::Uncacheable, T::WriteCombining, T::WriteCombining),
            (T::WriteCombining, T::UncacheableMinus, T::WriteCombining),
            (T::WriteCombining, T::WriteThrough, T::Uncacheable),
            (T::WriteThrough, T::WriteBack, T::WriteThrough),
            (T::WriteProtected, T::WriteBack, T::WriteProtected),
        ] {
            assert_eq!(T::effective(mtrr, pat), both, "{mtrr:?} {pat:?}");
        }
    }

    #[test]
    fn mtrr() {
        assert_eq!(
            MtrrDefType::new().with_enable(true).with_fixed_enable(true).with_default_type(6).into_bits(),
            0xC06
        );
        assert_eq!(
            MtrrCap::new().with_variable_count(8).with_fixed(true).with_write_combining(true).into_bits(),
            0x508
        );
        assert!(!MemoryType::is_valid_in_mtrr(7) && MemoryType::is_valid_in_mtrr(6));
    }
}

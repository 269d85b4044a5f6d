// SPDX-License-Identifier: MIT OR Apache-2.0
//! What may be done with a guest page.

use core::fmt;
use core::ops::{BitAnd, BitOr};

/// A set of access rights to a guest page, as TLFS 15.9 distinguishes them: the two execute rights are for code that
/// runs in kernel mode (CPL below 3) and in user mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u8);

impl Rights {
    /// No access at all.
    pub const NONE: Self = Self(0);
    /// Data may be read.
    pub const READ: Self = Self(1);
    /// Data may be written.
    pub const WRITE: Self = Self(2);
    /// Instructions may be fetched while CPL is below 3.
    pub const KERNEL_EXECUTE: Self = Self(4);
    /// Instructions may be fetched while CPL is 3.
    pub const USER_EXECUTE: Self = Self(8);
    /// Both execute rights.
    pub const EXECUTE: Self = Self(4 | 8);
    /// Read and execute: what a ROM has.
    pub const READ_EXECUTE: Self = Self(1 | 4 | 8);
    /// Everything: what RAM has.
    pub const ALL: Self = Self(15);

    /// Whether every right of `wanted` is in `self`.
    #[must_use]
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl BitAnd for Rights {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Rights {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters =
            [('r', Self::READ), ('w', Self::WRITE), ('k', Self::KERNEL_EXECUTE), ('u', Self::USER_EXECUTE)];
        for (letter, right) in letters {
            write!(f, "{}", if self.contains(right) { letter } else { '-' })?;
        }
        Ok(())
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The status flags.

/// CF, PF, AF, ZF, SF and OF in the form in which the host gives them most cheaply: LAHF's byte (SF, ZF, AF, PF, CF at their
/// places in RFLAGS) in the upper half, OF in bit 0. Most handlers compute with the host's own instructions and take all six
/// flags from it, so those that the architecture leaves undefined are the host's. Division, and stubs (BMI, LZCNT, TZCNT), leave undefined flags as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Flags(pub u16);

impl Default for Flags {
    fn default() -> Self {
        Self(0x0200)
    }
}

impl Flags {
    /// CF.
    pub const CF: u16 = 1 << 8;
    /// PF.
    pub const PF: u16 = 1 << 10;
    /// AF.
    pub const AF: u16 = 1 << 12;
    /// ZF.
    pub const ZF: u16 = 1 << 14;
    /// SF.
    pub const SF: u16 = 1 << 15;
    /// OF.
    pub const OF: u16 = 1;

    /// From the status flags in RFLAGS.
    #[inline(always)]
    #[must_use]
    pub const fn from_rflags(rflags: u64) -> Self {
        Self(((rflags & 0xD5 | 2) << 8 | rflags >> 11 & 1) as u16)
    }

    /// The status flags at their places in RFLAGS, other bits clear.
    #[inline(always)]
    #[must_use]
    pub const fn to_rflags(self) -> u64 {
        self.0 as u64 >> 8 & 0xD5 | (self.0 as u64 & 1) << 11
    }

    /// Whether all of `flag` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, flag: u16) -> bool {
        self.0 & flag == flag
    }

    /// Sets or clears a flag.
    #[inline(always)]
    pub const fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.0 |= flag;
        } else {
            self.0 &= !flag;
        }
    }

    /// A condition by its four-bit encoding (Intel SDM 2 B.1.4.7).
    #[inline(always)]
    #[must_use]
    pub const fn condition(self, code: u8) -> bool {
        let less = self.0 >> 15 != self.0 & 1;
        let met = match code >> 1 {
            0 => self.has(Self::OF),
            1 => self.has(Self::CF),
            2 => self.has(Self::ZF),
            3 => self.0 & (Self::CF | Self::ZF) != 0,
            4 => self.has(Self::SF),
            5 => self.has(Self::PF),
            6 => less,
            _ => less || self.has(Self::ZF),
        };
        met != (code & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rflags_go_through_unchanged() {
        for bits in 0..0x1000u64 {
            assert_eq!(Flags::from_rflags(bits).to_rflags(), bits & 0x8D5);
        }
    }

    #[test]
    fn conditions() {
        let flags = |bits: u64| Flags::from_rflags(bits);
        assert!(flags(0x800).condition(0) && flags(0).condition(1));
        assert!(flags(1).condition(2) && flags(0x40).condition(4) && flags(0x41).condition(6));
        assert!(flags(0x80).condition(8) && flags(4).condition(10));
        assert!(flags(0x80).condition(12) && flags(0x800).condition(12) && flags(0x880).condition(13));
        assert!(flags(0x40).condition(14) && flags(0x880).condition(15) && !flags(0x8C0).condition(15));
    }
}

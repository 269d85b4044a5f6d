// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which optional instruction-set extensions a processor offers.

use std::fmt;

use bitfield_struct::bitfield;
use iced_x86::CpuidFeature;

/// Extensions of the x86-64 instruction set whose instructions the host can execute for a guest.
///
/// What every x86-64 processor has (x87, MMX, FXSR, CMOV, SSE, SSE2) is not listed: it is always offered.
/// SSE4A is left out: EXTRQ and INSERTQ leave half of their result undefined, so runs would not repeat.
#[bitfield(u32, debug = false)]
#[derive(PartialEq, Eq)]
pub struct Extensions {
    pub sse3: bool,
    pub ssse3: bool,
    pub sse4_1: bool,
    pub sse4_2: bool,
    pub aes: bool,
    pub pclmulqdq: bool,
    pub sha: bool,
    pub gfni: bool,
    pub popcnt: bool,
    /// Without it LZCNT decodes as BSR: the interpreter's decoder must agree.
    pub lzcnt: bool,
    /// Without it TZCNT decodes as BSF: the interpreter's decoder must agree.
    pub bmi1: bool,
    pub bmi2: bool,
    pub adx: bool,
    pub movbe: bool,
    pub avx: bool,
    pub avx2: bool,
    pub fma: bool,
    pub f16c: bool,
    pub vaes: bool,
    pub vpclmulqdq: bool,
    pub avx_vnni: bool,
    #[bits(11)]
    __: u16,
}

/// By bit.
const NAMES: [&str; 21] = [
    "SSE3",
    "SSSE3",
    "SSE4.1",
    "SSE4.2",
    "AES",
    "PCLMULQDQ",
    "SHA",
    "GFNI",
    "POPCNT",
    "LZCNT",
    "BMI1",
    "BMI2",
    "ADX",
    "MOVBE",
    "AVX",
    "AVX2",
    "FMA",
    "F16C",
    "VAES",
    "VPCLMULQDQ",
    "AVX-VNNI",
];

impl fmt::Display for Extensions {
    /// Their names, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = (0..)
            .zip(NAMES)
            .filter(|(bit, _)| self.into_bits() >> bit & 1 != 0)
            .map(|(_, name)| name)
            .collect();
        match &names[..] {
            [] => write!(f, "no extension"),
            [only] => write!(f, "{only}"),
            [all @ .., last] => write!(f, "{} and {last}", all.join(", ")),
        }
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Extensions {
    /// What the processor that runs this program has.
    pub fn of_host() -> Self {
        use std::arch::is_x86_feature_detected as has;
        Self::new()
            .with_sse3(has!("sse3"))
            .with_ssse3(has!("ssse3"))
            .with_sse4_1(has!("sse4.1"))
            .with_sse4_2(has!("sse4.2"))
            .with_aes(has!("aes"))
            .with_pclmulqdq(has!("pclmulqdq"))
            .with_sha(has!("sha"))
            .with_gfni(has!("gfni"))
            .with_popcnt(has!("popcnt"))
            .with_lzcnt(has!("lzcnt"))
            .with_bmi1(has!("bmi1"))
            .with_bmi2(has!("bmi2"))
            .with_adx(has!("adx"))
            .with_movbe(has!("movbe"))
            .with_avx(has!("avx"))
            .with_avx2(has!("avx2"))
            .with_fma(has!("fma"))
            .with_f16c(has!("f16c"))
            .with_vaes(has!("vaes"))
            .with_vpclmulqdq(has!("vpclmulqdq"))
            .with_avx_vnni(has!("avxvnni"))
    }

    /// All that there are.
    pub const ALL: Self = Self::from_bits((1 << NAMES.len()) - 1);

    /// Those whose instructions work on YMM registers or are encoded like those, so that they are nothing without AVX.
    const ON_AVX: Self = Self::new()
        .with_avx2(true)
        .with_fma(true)
        .with_f16c(true)
        .with_vaes(true)
        .with_vpclmulqdq(true)
        .with_avx_vnni(true);

    /// Those of `self` that are in `other` too.
    pub const fn intersection(self, other: Self) -> Self {
        Self::from_bits(self.into_bits() & other.into_bits())
    }

    /// Those of both.
    pub const fn union(self, other: Self) -> Self {
        Self::from_bits(self.into_bits() | other.into_bits())
    }

    /// Those of `self` that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self::from_bits(self.into_bits() & !other.into_bits())
    }

    /// Whether all of `other` are in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.intersection(other).into_bits() == other.into_bits()
    }

    /// These, but without AVX nothing that builds on it.
    pub const fn consistent(self) -> Self {
        if self.avx() { self } else { self.without(Self::ON_AVX) }
    }

    /// What an instruction with decoder feature `feature` needs: nothing beyond the baseline, or one extension.
    /// `None` says that the feature is neither, so the instruction is not the host's to execute.
    pub(super) fn needed_by(feature: CpuidFeature) -> Option<Self> {
        let none = Self::new();
        Some(match feature {
            CpuidFeature::FPU
            | CpuidFeature::FPU287
            | CpuidFeature::FPU387
            | CpuidFeature::CMOV
            | CpuidFeature::MMX
            | CpuidFeature::SSE
            | CpuidFeature::SSE2 => none,
            CpuidFeature::SSE3 => none.with_sse3(true),
            CpuidFeature::SSSE3 => none.with_ssse3(true),
            CpuidFeature::SSE4_1 => none.with_sse4_1(true),
            CpuidFeature::SSE4_2 => none.with_sse4_2(true),
            CpuidFeature::AES => none.with_aes(true),
            CpuidFeature::PCLMULQDQ => none.with_pclmulqdq(true),
            CpuidFeature::SHA => none.with_sha(true),
            CpuidFeature::GFNI => none.with_gfni(true),
            CpuidFeature::POPCNT => none.with_popcnt(true),
            CpuidFeature::LZCNT => none.with_lzcnt(true),
            CpuidFeature::BMI1 => none.with_bmi1(true),
            CpuidFeature::BMI2 => none.with_bmi2(true),
            CpuidFeature::ADX => none.with_adx(true),
            CpuidFeature::MOVBE => none.with_movbe(true),
            CpuidFeature::AVX => none.with_avx(true),
            CpuidFeature::AVX2 => none.with_avx2(true),
            CpuidFeature::FMA => none.with_fma(true),
            CpuidFeature::F16C => none.with_f16c(true),
            CpuidFeature::VAES => none.with_vaes(true),
            CpuidFeature::VPCLMULQDQ => none.with_vpclmulqdq(true),
            CpuidFeature::AVX_VNNI => none.with_avx_vnni(true),
            _ => return None,
        })
    }
}

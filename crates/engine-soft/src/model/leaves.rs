// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CPUID leaves of a model.

use engine::{CpuidResult, host_tsc_frequency};

use super::{Model, Vendor};
use crate::host_execution::VectorState;

/// Sets the bits of a list.
fn bits(list: &[(u32, bool)]) -> u32 {
    list.iter().filter(|(_, on)| *on).fold(0, |all, (bit, _)| all | 1 << bit)
}

fn text(bytes: &[u8; 16]) -> CpuidResult {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    CpuidResult { eax: word(0), ebx: word(4), ecx: word(8), edx: word(12) }
}

const HIGHEST_BASIC: u32 = 0x1F;
const HIGHEST_EXTENDED: u32 = 0x8000_0008;
/// Address widths: 40 bits physical, 48 linear.
const ADDRESS_WIDTHS: u32 = 40 | 48 << 8;

pub(super) fn answer(model: &Model, leaf: u32, subleaf: u32) -> CpuidResult {
    match leaf {
        0 => {
            let name: &[u8; 12] = match model.vendor {
                Vendor::Intel => b"GenuineIntel",
                Vendor::Amd => b"AuthenticAMD",
            };
            let word = |at: usize| u32::from_le_bytes([name[at], name[at + 1], name[at + 2], name[at + 3]]);
            CpuidResult { eax: HIGHEST_BASIC, ebx: word(0), edx: word(4), ecx: word(8) }
        }
        1 => features(model),
        2 if model.vendor == Vendor::Intel => CpuidResult { eax: 0x00FF_FF01, ..Default::default() },
        4 if model.vendor == Vendor::Intel => cache(subleaf),
        6 => CpuidResult { eax: 1 << 2, ..Default::default() },
        7 if subleaf == 0 => structured_features(model),
        7 if subleaf == 1 => {
            CpuidResult { eax: bits(&[(4, model.extensions.avx_vnni())]), ..Default::default() }
        }
        0xB | 0x1F => topology(subleaf),
        0xD => xsave(model, subleaf),
        0x15 if model.vendor == Vendor::Intel => tsc_frequency(),
        0x8000_0000 => CpuidResult { eax: highest_extended(model), ..vendor_again(model) },
        0x8000_0001 => extended_features(model),
        0x8000_0002 => text(b"OpenViridian sof"),
        0x8000_0003 => text(b"tware processor\0"),
        0x8000_0004 => CpuidResult::default(),
        // 64 KiB of each first-level cache, 1 MiB of second level.
        0x8000_0005 if model.vendor == Vendor::Amd => {
            CpuidResult { eax: 0xFF40_FF40, ebx: 0xFF40_FF40, ecx: 0x4008_0140, edx: 0x4008_0140 }
        }
        0x8000_0006 => CpuidResult { ecx: 0x0400_8040, ..Default::default() },
        // Invariant TSC.
        0x8000_0007 => CpuidResult { edx: 1 << 8, ..Default::default() },
        // XSAVE always saves the x87 pointers; SSB_NO, BTC_NO.
        0x8000_0008 if model.vendor == Vendor::Amd => {
            CpuidResult { eax: ADDRESS_WIDTHS, ebx: 1 << 2 | 1 << 26 | 1 << 29, ..Default::default() }
        }
        0x8000_0008 => CpuidResult { eax: ADDRESS_WIDTHS, ..Default::default() },
        0x8000_001D if model.vendor == Vendor::Amd => cache(subleaf),
        0x8000_001E if model.vendor == Vendor::Amd => CpuidResult::default(),
        0x8000_0021 if model.vendor == Vendor::Amd => freedoms(),
        _ => CpuidResult::default(),
    }
}

fn highest_extended(model: &Model) -> u32 {
    match model.vendor {
        Vendor::Intel => HIGHEST_EXTENDED,
        Vendor::Amd => 0x8000_0021,
    }
}

fn vendor_again(model: &Model) -> CpuidResult {
    match model.vendor {
        Vendor::Intel => CpuidResult::default(),
        Vendor::Amd => CpuidResult { eax: 0, ..answer(model, 0, 0) },
    }
}

fn features(model: &Model) -> CpuidResult {
    let has = model.extensions;
    let ecx = bits(&[
        (0, has.sse3()),
        (1, has.pclmulqdq()),
        (9, has.ssse3()),
        (12, has.fma()),
        (13, true), // CMPXCHG16B
        (17, true), // PCID
        (19, has.sse4_1()),
        (20, has.sse4_2()),
        (21, true), // x2APIC
        (22, has.movbe()),
        (23, has.popcnt()),
        (25, has.aes()),
        (26, true), // XSAVE
        (28, has.avx()),
        (29, has.f16c()),
        (30, true), // RDRAND
    ]);
    let edx = bits(&[
        (0, true),  // FPU
        (1, true),  // VME
        (2, true),  // DE
        (3, true),  // PSE
        (4, true),  // TSC
        (5, true),  // MSR
        (6, true),  // PAE
        (7, true),  // MCE
        (8, true),  // CMPXCHG8B
        (9, true),  // APIC
        (11, true), // SYSENTER
        (12, true), // MTRR
        (13, true), // PGE
        (14, true), // MCA
        (15, true), // CMOV
        (16, true), // PAT
        (17, true), // PSE-36
        (19, true), // CLFLUSH
        (23, true), // MMX
        (24, true), // FXSR
        (25, true), // SSE
        (26, true), // SSE2
    ]);
    // One logical processor, CLFLUSH lines of 64 bytes, APIC id 0.
    CpuidResult { eax: model.signature(), ebx: 1 << 16 | 8 << 8, ecx, edx }
}

fn structured_features(model: &Model) -> CpuidResult {
    let has = model.extensions;
    let ebx = bits(&[
        (0, true), // FSGSBASE
        (1, true), // TSC_ADJUST
        (3, has.bmi1()),
        (5, has.avx2()),
        (7, true), // SMEP
        (8, has.bmi2()),
        (9, true),  // ERMS
        (10, true), // INVPCID
        (18, true), // RDSEED
        (19, has.adx()),
        (20, true), // SMAP
        (23, true), // CLFLUSHOPT
        (24, true), // CLWB
        (29, has.sha()),
    ]);
    let ecx = bits(&[
        (2, true), // UMIP
        (8, has.gfni()),
        (9, has.vaes()),
        (10, has.vpclmulqdq()),
        (22, true), // RDPID
    ]);
    let intel = model.vendor == Vendor::Intel;
    let edx = bits(&[
        (4, true), // FSRM
        // IA32_SPEC_CTRL and IA32_PRED_CMD, and IA32_ARCH_CAPABILITIES, which says that nothing but IBRS is needed. They are the hypervisor's to answer.
        (26, intel),
        (29, intel),
    ]);
    CpuidResult { eax: u32::from(has.avx_vnni()), ebx, ecx, edx }
}

fn extended_features(model: &Model) -> CpuidResult {
    let has = model.extensions;
    let amd = model.vendor == Vendor::Amd;
    let ecx = bits(&[
        (0, true), // LAHF in 64-bit mode
        (4, amd),  // CR8 by LOCK MOV CR0: MOV CR8 is served; the alternative is not decoded outside AMD
        (5, has.lzcnt()),
        (8, true), // PREFETCHW
        (22, amd), // topology extensions
    ]);
    let common = if amd { features(model).edx & 0x0183_F3FF } else { 0 };
    let edx = common
        | bits(&[
            (11, true), // SYSCALL
            (20, true), // NX
            (26, true), // 1 GiB pages
            (27, true), // RDTSCP
            (29, true), // long mode
        ]);
    CpuidResult { eax: if amd { model.signature() } else { 0 }, ebx: 0, ecx, edx }
}

/// What an AMD processor's software need not work around.
fn freedoms() -> CpuidResult {
    let eax = bits(&[
        (0, true),  // data breakpoints do not nest
        (2, true),  // LFENCE serializes
        (6, true),  // a null selector clears the base
        (8, true),  // Automatic IBRS
        (29, true), // SRSO_NO
        (30, true), // SRSO_USER_KERNEL_NO
    ]);
    let ecx = bits(&[
        (1, true), // TSA_SQ_NO
        (2, true), // TSA_L1_NO
    ]);
    CpuidResult { eax, ebx: 0, ecx, edx: 0 }
}

/// Deterministic cache parameters: 32 KiB of each first-level cache, 1 MiB of second level, 16 MiB of third.
fn cache(subleaf: u32) -> CpuidResult {
    let (kind, level, ways, sets) = match subleaf {
        0 => (1, 1, 8, 64),
        1 => (2, 1, 8, 64),
        2 => (3, 2, 16, 1024),
        3 => (3, 3, 16, 16_384),
        _ => return CpuidResult::default(),
    };
    CpuidResult { eax: kind | level << 5 | 1 << 8, ebx: 63 | (ways - 1) << 22, ecx: sets - 1, edx: 0 }
}

/// One thread a core, one core; whoever answers the guest puts in the rest.
fn topology(subleaf: u32) -> CpuidResult {
    let (kind, shift) = match subleaf {
        0 => (1, 0),
        1 => (2, 0),
        _ => return CpuidResult { ecx: subleaf & 0xFF, ..Default::default() },
    };
    CpuidResult { eax: shift, ebx: 1, ecx: kind << 8 | subleaf, edx: 0 }
}

fn xsave(model: &Model, subleaf: u32) -> CpuidResult {
    let components = model.state_components();
    let bytes = model.xsave_bytes() as u32;
    match subleaf {
        // EBX, here and in subleaf 1, is the size for what is enabled at the moment, which whoever answers the guest puts in.
        0 => CpuidResult { eax: components.into_bits() as u32, ebx: bytes, ecx: bytes, edx: 0 },
        // XSAVEOPT, XSAVEC, XGETBV with ECX = 1, XSAVES. There are no supervisor components for IA32_XSS.
        1 => CpuidResult { eax: 0b1111, ebx: bytes, ecx: 0, edx: 0 },
        2 if components.avx() => CpuidResult {
            eax: VectorState::AVX_BYTES as u32,
            ebx: VectorState::AVX_START as u32,
            ecx: 0,
            edx: 0,
        },
        _ => CpuidResult::default(),
    }
}

/// The TSC's frequency over a crystal of 25 MHz would lose digits, so the ratio is over 1 Hz units that fit.
fn tsc_frequency() -> CpuidResult {
    let megahertz = host_tsc_frequency() / 1_000_000;
    CpuidResult { eax: 1, ebx: megahertz as u32, ecx: 1_000_000, edx: 0 }
}

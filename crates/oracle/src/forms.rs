// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which instruction forms there are to compare: those that the processor's CPUID offers.

use engine::{CpuidResult, Engine};
use iced_x86::{Code, CpuidFeature, DecoderOptions, EncodingKind, Mnemonic, OpCodeOperandKind};

use crate::generate::host_is_amd;
use crate::state::Mode;

/// What a form works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// General registers, memory, flags, control flow.
    Integer,
    /// x87, MMX or XMM registers, which the host executes for the guest too.
    Vector,
    /// The same, with a VEX prefix: XMM and YMM registers.
    Avx,
}

/// Forms of a family that exist in a mode on a processor with the engine's features, as far as the host can judge them.
#[must_use]
pub fn forms(engine: &dyn Engine, mode: Mode, family: Family) -> Vec<Code> {
    Code::values()
        .filter(|&code| exists(code, mode) && family_of(code) == family)
        .filter(|&code| {
            is_offered(engine, code) && code.cpuid_features().iter().all(|&feature| host_has(feature))
        })
        .collect()
}

/// Whether the host's own CPUID says that a feature is there.
fn host_has(feature: CpuidFeature) -> bool {
    has(feature, |leaf, subleaf| {
        let core::arch::x86_64::CpuidResult { eax, ebx, ecx, edx } =
            core::arch::x86_64::__cpuid_count(leaf, subleaf);
        CpuidResult { eax, ebx, ecx, edx }
    })
}

fn exists(code: Code, mode: Mode) -> bool {
    let form = code.op_code();
    let vendor = match (mode.bitness(), host_is_amd()) {
        (64, true) => form.amd_decoder64(),
        (64, false) => form.intel_decoder64(),
        (_, true) => form.amd_decoder32(),
        (_, false) => form.intel_decoder32(),
    };
    let encoding = matches!(form.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    // Forms that need another decoder option are of processors that are no more.
    let options = form.decoder_option() & !DecoderOptions::FORCE_RESERVED_NOP;
    form.is_instruction() && form.is_available_in_mode(mode.bitness()) && vendor && encoding && options == 0
}

/// Which family a form belongs to.
#[must_use]
pub fn family_of(code: Code) -> Family {
    use OpCodeOperandKind as K;
    let is_vector = |kind: &K| {
        matches!(
            kind,
            K::mm_or_mem
                | K::mm_reg
                | K::mm_rm
                | K::xmm_or_mem
                | K::xmm_reg
                | K::xmm_rm
                | K::xmm_vvvv
                | K::ymm_or_mem
                | K::ymm_reg
                | K::ymm_rm
                | K::ymm_vvvv
                | K::st0
                | K::sti_opcode
        )
    };
    let state = matches!(
        code.mnemonic(),
        Mnemonic::Emms
            | Mnemonic::Ldmxcsr
            | Mnemonic::Stmxcsr
            | Mnemonic::Vldmxcsr
            | Mnemonic::Vstmxcsr
            | Mnemonic::Wait
            | Mnemonic::Vzeroall
            | Mnemonic::Vzeroupper
    );
    let features = code.cpuid_features();
    let by_feature = features.iter().any(|feature| {
        matches!(
            feature,
            CpuidFeature::FPU
                | CpuidFeature::FPU287
                | CpuidFeature::FPU387
                | CpuidFeature::FXSR
                | CpuidFeature::XSAVE
                | CpuidFeature::XSAVEC
                | CpuidFeature::XSAVEOPT
                | CpuidFeature::XSAVES
        )
    });
    if state || by_feature || code.op_code().op_kinds().iter().any(is_vector) {
        if code.encoding() == EncodingKind::VEX { Family::Avx } else { Family::Vector }
    } else {
        Family::Integer
    }
}

/// Whether CPUID offers everything that a form needs.
#[must_use]
pub fn is_offered(engine: &dyn Engine, code: Code) -> bool {
    code.cpuid_features().iter().all(|&feature| offers(engine, feature))
}

#[derive(Clone, Copy)]
enum Output {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Whether the engine's CPUID says that a feature is there.
#[must_use]
pub fn offers(engine: &dyn Engine, feature: CpuidFeature) -> bool {
    has(feature, |leaf, subleaf| engine.cpuid(leaf, subleaf))
}

fn has(feature: CpuidFeature, cpuid: impl Fn(u32, u32) -> CpuidResult) -> bool {
    use CpuidFeature as F;
    use Output::{Eax, Ebx, Ecx, Edx};
    let (leaf, subleaf, output, bit) = match feature {
        // Every x86-64 processor.
        F::INTEL8086
        | F::INTEL8086_ONLY
        | F::INTEL186
        | F::INTEL286
        | F::INTEL386
        | F::INTEL486
        | F::X64
        | F::CPUID
        | F::MULTIBYTENOP
        | F::PAUSE
        | F::FPU287
        | F::FPU387
        | F::SMM => return true,
        F::FPU => (1, 0, Edx, 0),
        F::TSC => (1, 0, Edx, 4),
        F::MSR => (1, 0, Edx, 5),
        F::CX8 => (1, 0, Edx, 8),
        F::SEP => (1, 0, Edx, 11),
        F::CMOV => (1, 0, Edx, 15),
        F::CLFSH => (1, 0, Edx, 19),
        F::MMX => (1, 0, Edx, 23),
        F::FXSR => (1, 0, Edx, 24),
        F::SSE => (1, 0, Edx, 25),
        F::SSE2 => (1, 0, Edx, 26),
        F::SSE3 => (1, 0, Ecx, 0),
        F::PCLMULQDQ => (1, 0, Ecx, 1),
        F::MONITOR => (1, 0, Ecx, 3),
        F::SSSE3 => (1, 0, Ecx, 9),
        F::CMPXCHG16B => (1, 0, Ecx, 13),
        F::SSE4_1 => (1, 0, Ecx, 19),
        F::SSE4_2 => (1, 0, Ecx, 20),
        F::FMA => (1, 0, Ecx, 12),
        F::MOVBE => (1, 0, Ecx, 22),
        F::POPCNT => (1, 0, Ecx, 23),
        F::AES => (1, 0, Ecx, 25),
        F::XSAVE => (1, 0, Ecx, 26),
        F::AVX => (1, 0, Ecx, 28),
        F::F16C => (1, 0, Ecx, 29),
        F::RDRAND => (1, 0, Ecx, 30),
        F::FSGSBASE => (7, 0, Ebx, 0),
        F::BMI1 => (7, 0, Ebx, 3),
        F::AVX2 => (7, 0, Ebx, 5),
        F::BMI2 => (7, 0, Ebx, 8),
        F::INVPCID => (7, 0, Ebx, 10),
        F::RDSEED => (7, 0, Ebx, 18),
        F::ADX => (7, 0, Ebx, 19),
        F::SMAP => (7, 0, Ebx, 20),
        F::CLFLUSHOPT => (7, 0, Ebx, 23),
        F::CLWB => (7, 0, Ebx, 24),
        F::SHA => (7, 0, Ebx, 29),
        F::RDPID => (7, 0, Ecx, 22),
        F::GFNI => (7, 0, Ecx, 8),
        F::VAES => (7, 0, Ecx, 9),
        F::VPCLMULQDQ => (7, 0, Ecx, 10),
        F::AVX_VNNI => (7, 1, Eax, 4),
        F::XSAVEOPT => (0xD, 1, Eax, 0),
        F::XSAVEC => (0xD, 1, Eax, 1),
        F::XSAVES => (0xD, 1, Eax, 3),
        F::LZCNT => (0x8000_0001, 0, Ecx, 5),
        F::PREFETCHW => (0x8000_0001, 0, Ecx, 8),
        F::SYSCALL => (0x8000_0001, 0, Edx, 11),
        F::RDTSCP => (0x8000_0001, 0, Edx, 27),
        // LAHF and SAHF in 64-bit mode have a form of their own nowhere.
        _ => return false,
    };
    let answer = cpuid(leaf, subleaf);
    let word = match output {
        Eax => answer.eax,
        Ebx => answer.ebx,
        Ecx => answer.ecx,
        Edx => answer.edx,
    };
    word >> bit & 1 != 0
}

/// Why a form is not run, if it is not.
#[must_use]
pub fn reason_not_to_run(code: Code) -> Option<&'static str> {
    use Mnemonic as M;
    let mnemonic = code.mnemonic();
    Some(match mnemonic {
        M::Syscall | M::Sysenter => "calls the host's kernel",
        M::Cpuid => "raises an exit for the hypervisor to answer",
        M::Vmcall | M::Vmmcall => "raises an exit for the hypervisor to answer",
        M::Rdtsc | M::Rdtscp | M::Rdpmc | M::Rdpid => "its result is the host's own time or processor number",
        M::Rdrand | M::Rdseed => "its result is random",
        M::Xgetbv => "its result is the host's own XCR0",
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => "Linux answers it in the processor's place (UMIP)",
        M::Monitor | M::Mwait | M::Monitorx | M::Mwaitx => "CPL 3 use is the host firmware's choice",
        M::Xsave
        | M::Xsave64
        | M::Xsavec
        | M::Xsavec64
        | M::Xsaveopt
        | M::Xsaveopt64
        | M::Xrstor
        | M::Xrstor64
        | M::Xsaves
        | M::Xsaves64
        | M::Xrstors
        | M::Xrstors64 => "the host's XCR0 has components that the guest lacks",
        M::Int1 => "virtual hosts report it with RIP before or after it, as their hypervisor likes",
        _ => return None,
    })
}

/// Whether a form goes into programs: one that keeps to itself, to its operands and to the stack.
#[must_use]
pub fn is_for_programs(code: Code) -> bool {
    use Mnemonic as M;
    let form = code.op_code();
    is_indifferent_to_cpl(code)
        && reason_not_to_run(code).is_none()
        && !form.op_kinds().iter().any(|kind| {
            use OpCodeOperandKind as K;
            matches!(
                kind,
                K::mem_offs
                    | K::seg_rSI
                    | K::es_rDI
                    | K::seg_rDI
                    | K::seg_rBX_al
                    | K::br16_1
                    | K::br32_1
                    | K::br64_1
                    | K::br16_2
                    | K::br32_4
                    | K::br64_4
            )
        })
        && !matches!(
            code.mnemonic(),
            // Control flow, RSP from elsewhere, faults that end a program at once.
            M::Jmp | M::Call | M::Ret | M::Leave | M::Enter | M::Ud0 | M::Ud1 | M::Ud2 | M::Wrfsbase | M::Wrgsbase
                // Their offsets lead anywhere.
                | M::Bt | M::Btc | M::Btr | M::Bts
                // Undefined results.
                | M::Bswap | M::Shld | M::Shrd
                | M::Cmpxchg16b
        )
}

/// Whether code cannot tell CPL 0 from CPL 3 by this form.
#[must_use]
pub fn is_indifferent_to_cpl(code: Code) -> bool {
    use Mnemonic as M;
    let form = code.op_code();
    let segments = form.op_kinds().iter().any(|kind| {
        use OpCodeOperandKind as K;
        matches!(
            kind,
            K::seg_reg | K::es | K::cs | K::ss | K::ds | K::fs | K::gs | K::cr_reg | K::dr_reg | K::tr_reg
        )
    });
    let mnemonic = code.mnemonic();
    let tells = segments || form.is_privileged() || form.may_require_cpl0() || form.is_input_output();
    let far =
        matches!(mnemonic, M::Jmp | M::Call) && form.op_kinds().first() == Some(&OpCodeOperandKind::mem);
    !tells
        && !far
        && !matches!(
            mnemonic,
            M::Int
                | M::Int1
                | M::Int3
                | M::Into
                | M::Iret
                | M::Iretd
                | M::Iretq
                | M::Retf
                | M::Lar
                | M::Lsl
                | M::Verr
                | M::Verw
                | M::Popf
                | M::Popfd
                | M::Popfq
                | M::Lfs
                | M::Lgs
                | M::Lss
                | M::Hlt
                | M::Invd
                | M::Wbinvd
                | M::Swapgs
                | M::Cli
                | M::Sti
                | M::Clac
                | M::Stac
        )
}

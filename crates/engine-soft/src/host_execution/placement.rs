// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who executes an instruction: a stub, a function on the vector state, or the interpreter.

use iced_x86::{Code, CpuidFeature, EncodingKind, Instruction, Mnemonic};

use super::extensions::Extensions;

/// Who executes an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The host, through a stub with this border.
    Stub(Border),
    /// A function of this module; the interpreter moves its memory operand.
    State(StateInstruction),
    /// The interpreter, element by element: only those that a mask selects are touched.
    Elements(ElementInstruction),
    /// The interpreter, for the reason given.
    Interpreter(&'static str),
}

/// How much state a stub moves between frame and host registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// General registers and status flags.
    General,
    /// Those and the XMM registers that the instruction names.
    Vector,
    /// As `Vector`, with the guest's MXCSR loaded while the instruction runs.
    VectorWithMxcsr,
    /// The whole FXSAVE image: every instruction that touches x87 or MMX state.
    Legacy,
    /// As `Vector`, for VEX encodings: whole YMM registers.
    Avx,
    /// As `VectorWithMxcsr`, for VEX encodings.
    AvxWithMxcsr,
}

/// Instructions that control, save or restore vector state, by the function which executes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateInstruction {
    /// FWAIT: only the check for a pending exception.
    Wait,
    /// FNINIT: [`VectorState::fninit`](super::VectorState::fninit).
    Fninit,
    /// FNCLEX: [`VectorState::fnclex`](super::VectorState::fnclex).
    Fnclex,
    /// FNSTSW to AX or memory: [`VectorState::fsw`](super::VectorState::fsw).
    Fnstsw,
    /// FNSTCW: [`VectorState::fcw`](super::VectorState::fcw).
    Fnstcw,
    /// FLDCW: [`VectorState::fldcw`](super::VectorState::fldcw).
    Fldcw,
    /// FNSTENV: [`VectorState::fnstenv`](super::VectorState::fnstenv).
    Fnstenv,
    /// FLDENV: [`VectorState::fldenv`](super::VectorState::fldenv).
    Fldenv,
    /// FNSAVE: [`VectorState::fnsave`](super::VectorState::fnsave).
    Fnsave,
    /// FRSTOR: [`VectorState::frstor`](super::VectorState::frstor).
    Frstor,
    /// FNENI, FNDISI, FNSETPM, FRSTPM: they do nothing since the 80387.
    Nothing,
    /// FXSAVE, FXSAVE64: [`VectorState::fxsave`](super::VectorState::fxsave).
    Fxsave,
    /// FXRSTOR, FXRSTOR64: [`VectorState::fxrstor`](super::VectorState::fxrstor).
    Fxrstor,
    /// LDMXCSR: [`VectorState::set_mxcsr`](super::VectorState::set_mxcsr).
    Ldmxcsr,
    /// STMXCSR: [`VectorState::mxcsr`](super::VectorState::mxcsr).
    Stmxcsr,
    /// XSAVE, XSAVEOPT, XSAVEC, XSAVES: [`VectorState::xsave`](super::VectorState::xsave).
    Xsave,
    /// XRSTOR, XRSTORS: [`VectorState::xrstor`](super::VectorState::xrstor).
    Xrstor,
    /// VZEROUPPER, VZEROALL: set registers of [`VectorState`](super::VectorState) to zero.
    Vzero,
}

/// Instructions whose operand in memory is a number of elements, of which a mask selects some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementInstruction {
    /// MASKMOVQ, MASKMOVDQU, VMASKMOVDQU: bytes, selected by [`VectorState::masked_store`](super::VectorState::masked_store).
    MaskedStore,
    /// VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ.
    MaskedMove,
    /// VGATHERDPS, VPGATHERDD and their kin.
    Gather,
}

const NOT_DATA: &str = "not a data instruction of the host's share";
const NEVER_OFFERED: &str = "its encoding is never offered to guests";
const CACHE: &str = "acts on a cache line, or hints: translate the address, or do nothing";

/// Says who executes `instruction`, whatever the processor model offers.
pub fn place(instruction: &Instruction) -> Placement {
    let (code, mnemonic) = (instruction.code(), instruction.mnemonic());
    if let Some(instruction) = state_instruction(mnemonic) {
        return Placement::State(instruction);
    }
    if let Some(instruction) = element_instruction(mnemonic)
        && code.encoding() != EncodingKind::EVEX
    {
        return Placement::Elements(instruction);
    }
    if let Some(reason) = interpreter_reason(mnemonic) {
        return Placement::Interpreter(reason);
    }
    match code.encoding() {
        EncodingKind::Legacy | EncodingKind::VEX => {}
        _ => return Placement::Interpreter(NEVER_OFFERED),
    }
    if extensions_of(code).is_none() {
        return Placement::Interpreter(NOT_DATA);
    }
    Placement::Stub(border(instruction))
}

/// The optional extensions that `code` needs, or `None` if it needs something that is not the host's to execute.
pub(super) fn extensions_of(code: Code) -> Option<Extensions> {
    let features = code.cpuid_features();
    // CMOVcc belongs with the integer instructions; FCMOVcc has an x87 feature beside CMOV.
    if matches!(features, [] | [CpuidFeature::CMOV]) {
        return None;
    }
    features.iter().try_fold(Extensions::new(), |all, &feature| {
        let needed = Extensions::needed_by(feature)?;
        Some(Extensions::from_bits(all.into_bits() | needed.into_bits()))
    })
}

fn state_instruction(mnemonic: Mnemonic) -> Option<StateInstruction> {
    Some(match mnemonic {
        Mnemonic::Wait => StateInstruction::Wait,
        Mnemonic::Fninit => StateInstruction::Fninit,
        Mnemonic::Fnclex => StateInstruction::Fnclex,
        Mnemonic::Fnstsw => StateInstruction::Fnstsw,
        Mnemonic::Fnstcw => StateInstruction::Fnstcw,
        Mnemonic::Fldcw => StateInstruction::Fldcw,
        Mnemonic::Fnstenv => StateInstruction::Fnstenv,
        Mnemonic::Fldenv => StateInstruction::Fldenv,
        Mnemonic::Fnsave => StateInstruction::Fnsave,
        Mnemonic::Frstor => StateInstruction::Frstor,
        Mnemonic::Fneni | Mnemonic::Fndisi | Mnemonic::Fnsetpm | Mnemonic::Frstpm => {
            StateInstruction::Nothing
        }
        Mnemonic::Fxsave | Mnemonic::Fxsave64 => StateInstruction::Fxsave,
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => StateInstruction::Fxrstor,
        Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => StateInstruction::Ldmxcsr,
        Mnemonic::Stmxcsr | Mnemonic::Vstmxcsr => StateInstruction::Stmxcsr,
        Mnemonic::Xsave
        | Mnemonic::Xsave64
        | Mnemonic::Xsaveopt
        | Mnemonic::Xsaveopt64
        | Mnemonic::Xsavec
        | Mnemonic::Xsavec64
        | Mnemonic::Xsaves
        | Mnemonic::Xsaves64 => StateInstruction::Xsave,
        Mnemonic::Xrstor | Mnemonic::Xrstor64 | Mnemonic::Xrstors | Mnemonic::Xrstors64 => {
            StateInstruction::Xrstor
        }
        Mnemonic::Vzeroupper | Mnemonic::Vzeroall => StateInstruction::Vzero,
        _ => return None,
    })
}

fn element_instruction(mnemonic: Mnemonic) -> Option<ElementInstruction> {
    Some(match mnemonic {
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu => ElementInstruction::MaskedStore,
        Mnemonic::Vmaskmovps | Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovd | Mnemonic::Vpmaskmovq => {
            ElementInstruction::MaskedMove
        }
        Mnemonic::Vgatherdps
        | Mnemonic::Vgatherdpd
        | Mnemonic::Vgatherqps
        | Mnemonic::Vgatherqpd
        | Mnemonic::Vpgatherdd
        | Mnemonic::Vpgatherdq
        | Mnemonic::Vpgatherqd
        | Mnemonic::Vpgatherqq => ElementInstruction::Gather,
        _ => return None,
    })
}

fn interpreter_reason(mnemonic: Mnemonic) -> Option<&'static str> {
    Some(match mnemonic {
        Mnemonic::Prefetchnta | Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1 | Mnemonic::Prefetcht2 => CACHE,
        // Real 80287 and 80387SL forms which later processors refuse; the decoder never yields them.
        Mnemonic::Fstdw | Mnemonic::Fstsg => NEVER_OFFERED,
        _ => return None,
    })
}

fn border(instruction: &Instruction) -> Border {
    let (code, mnemonic) = (instruction.code(), instruction.mnemonic());
    let features = code.cpuid_features();
    let has = |feature| features.contains(&feature);
    if code.encoding() == EncodingKind::VEX {
        return if has(CpuidFeature::BMI1) || has(CpuidFeature::BMI2) {
            Border::General
        } else if has(CpuidFeature::FMA) || has(CpuidFeature::F16C) || vex_uses_mxcsr(mnemonic) {
            Border::AvxWithMxcsr
        } else {
            Border::Avx
        };
    }
    if has(CpuidFeature::FPU)
        || has(CpuidFeature::FPU287)
        || has(CpuidFeature::FPU387)
        || touches_mmx(instruction)
    {
        Border::Legacy
    } else if is_general(mnemonic) {
        Border::General
    } else if uses_mxcsr(mnemonic) {
        Border::VectorWithMxcsr
    } else {
        Border::Vector
    }
}

/// Legacy-encoded forms without any vector register.
fn is_general(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Popcnt
            | Mnemonic::Lzcnt
            | Mnemonic::Tzcnt
            | Mnemonic::Movbe
            | Mnemonic::Adcx
            | Mnemonic::Adox
            | Mnemonic::Crc32
            | Mnemonic::Movnti
            | Mnemonic::Lfence
            | Mnemonic::Mfence
            | Mnemonic::Sfence
    )
}

/// Whether `instruction` reads or writes MMX registers, or makes the x87 unit enter or leave MMX state.
fn touches_mmx(instruction: &Instruction) -> bool {
    let names_mmx = (0..instruction.op_count()).any(|operand| instruction.op_register(operand).is_mm());
    // These two change the x87 unit's state with a memory operand too, and EMMS has no operand.
    let by_itself =
        matches!(instruction.mnemonic(), Mnemonic::Emms | Mnemonic::Cvtpi2ps | Mnemonic::Cvtpi2pd);
    names_mmx || by_itself
}

/// Instructions whose result depends on MXCSR, or which may set its flags.
fn uses_mxcsr(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Addps | M::Addpd | M::Addss | M::Addsd
            | M::Subps | M::Subpd | M::Subss | M::Subsd
            | M::Mulps | M::Mulpd | M::Mulss | M::Mulsd
            | M::Divps | M::Divpd | M::Divss | M::Divsd
            | M::Minps | M::Minpd | M::Minss | M::Minsd
            | M::Maxps | M::Maxpd | M::Maxss | M::Maxsd
            | M::Sqrtps | M::Sqrtpd | M::Sqrtss | M::Sqrtsd
            // The approximations raise nothing, but whether denormals are zeros is for the host to say.
            | M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss
            | M::Cmpps | M::Cmppd | M::Cmpss | M::Cmpsd
            | M::Comiss | M::Comisd | M::Ucomiss | M::Ucomisd
            | M::Addsubps | M::Addsubpd
            | M::Haddps | M::Haddpd | M::Hsubps | M::Hsubpd
            | M::Roundps | M::Roundpd | M::Roundss | M::Roundsd
            | M::Dpps | M::Dppd
            | M::Cvtdq2ps | M::Cvtdq2pd | M::Cvtps2dq | M::Cvttps2dq | M::Cvtpd2dq | M::Cvttpd2dq
            | M::Cvtps2pd | M::Cvtpd2ps | M::Cvtss2sd | M::Cvtsd2ss
            | M::Cvtsi2ss | M::Cvtsi2sd
            | M::Cvtss2si | M::Cvtsd2si | M::Cvttss2si | M::Cvttsd2si
    )
}

/// The same with a VEX prefix, besides FMA and F16C.
fn vex_uses_mxcsr(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Vaddps | M::Vaddpd | M::Vaddss | M::Vaddsd
            | M::Vsubps | M::Vsubpd | M::Vsubss | M::Vsubsd
            | M::Vmulps | M::Vmulpd | M::Vmulss | M::Vmulsd
            | M::Vdivps | M::Vdivpd | M::Vdivss | M::Vdivsd
            | M::Vminps | M::Vminpd | M::Vminss | M::Vminsd
            | M::Vmaxps | M::Vmaxpd | M::Vmaxss | M::Vmaxsd
            | M::Vsqrtps | M::Vsqrtpd | M::Vsqrtss | M::Vsqrtsd
            // The approximations raise nothing, but whether denormals are zeros is for the host to say.
            | M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss
            | M::Vcmpps | M::Vcmppd | M::Vcmpss | M::Vcmpsd
            | M::Vcomiss | M::Vcomisd | M::Vucomiss | M::Vucomisd
            | M::Vaddsubps | M::Vaddsubpd
            | M::Vhaddps | M::Vhaddpd | M::Vhsubps | M::Vhsubpd
            | M::Vroundps | M::Vroundpd | M::Vroundss | M::Vroundsd
            | M::Vdpps | M::Vdppd
            | M::Vcvtdq2ps | M::Vcvtdq2pd | M::Vcvtps2dq | M::Vcvttps2dq | M::Vcvtpd2dq | M::Vcvttpd2dq
            | M::Vcvtps2pd | M::Vcvtpd2ps | M::Vcvtss2sd | M::Vcvtsd2ss
            | M::Vcvtsi2ss | M::Vcvtsi2sd
            | M::Vcvtss2si | M::Vcvtsd2si | M::Vcvttss2si | M::Vcvttsd2si
    )
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! When control registers forbid an instruction group.

use iced_x86::{CpuidFeature, EncodingKind, Instruction, Mnemonic};

use x86::control::{Cr0, Cr4, Rflags, Xcr0};

use super::placement::{Border, StateInstruction};

/// What an instruction group asks of CR0, CR4, RFLAGS.VM and XCR0 (Intel SDM 3A 2.5, 14.1; 2A 2.4 for VEX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// Nothing: POPCNT, CRC32, MOVBE, MOVNTI, fences.
    None,
    /// x87 instructions other than FWAIT.
    X87,
    /// FWAIT.
    Wait,
    /// MMX instructions, those that SSE and SSSE3 added to MMX registers included.
    Mmx,
    /// Legacy-encoded instructions on XMM registers, LDMXCSR and STMXCSR.
    Sse,
    /// FXSAVE and FXRSTOR.
    Fxsave,
    /// The XSAVE and XRSTOR families. XSAVES and XRSTORS need CPL 0 besides.
    Xsave,
    /// VEX-encoded instructions on vector registers.
    Avx,
    /// VEX-encoded instructions on general registers.
    VexGeneral,
}

/// Why an instruction cannot be executed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// `#UD`.
    InvalidOpcode,
    /// `#NM`.
    DeviceNotAvailable,
}

/// What the control registers allow: the answers for all requirements, worked out once at each change of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Availability {
    /// Bit n: requirement n raises `#UD`.
    invalid: u16,
    /// Bit n: requirement n raises `#NM`, unless it raises `#UD`.
    absent: u16,
}

impl Availability {
    /// What these values of CR0, CR4, RFLAGS (only VM counts) and XCR0 allow.
    pub const fn new(cr0: Cr0, cr4: Cr4, rflags: Rflags, xcr0: Xcr0) -> Self {
        const fn set(condition: bool, requirements: &[Requirement]) -> u16 {
            let mut bits = 0;
            let mut index = 0;
            while condition && index < requirements.len() {
                bits |= requirements[index].bit();
                index += 1;
            }
            bits
        }
        use Requirement as R;
        let emulated = cr0.em();
        let switched = cr0.ts();
        let no_sse = !cr4.osfxsr();
        let no_xsave = !cr4.osxsave();
        let no_avx = !(xcr0.sse() && xcr0.avx());
        // VEX encodings are invalid in real-address and virtual-8086 mode.
        let no_vex = !cr0.pe() || rflags.vm();
        Self {
            invalid: set(emulated, &[R::Mmx, R::Sse, R::Fxsave])
                | set(no_sse, &[R::Sse])
                | set(no_xsave, &[R::Xsave, R::Avx])
                | set(no_avx, &[R::Avx])
                | set(no_vex, &[R::Avx, R::VexGeneral]),
            absent: set(switched, &[R::X87, R::Mmx, R::Sse, R::Fxsave, R::Xsave, R::Avx])
                | set(emulated, &[R::X87])
                | set(switched && cr0.mp(), &[R::Wait]),
        }
    }

    /// Checks `requirement`. `#UD` goes before `#NM`.
    ///
    /// # Errors
    ///
    /// The fault that the instruction raises.
    #[inline]
    pub const fn check(self, requirement: Requirement) -> Result<(), Unavailable> {
        if (self.invalid | self.absent) & requirement.bit() == 0 {
            Ok(())
        } else if self.invalid & requirement.bit() != 0 {
            Err(Unavailable::InvalidOpcode)
        } else {
            Err(Unavailable::DeviceNotAvailable)
        }
    }
}

impl Requirement {
    const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The requirement of an instruction that a stub executes.
    pub(super) fn of_stub(instruction: &Instruction, border: Border) -> Self {
        let is_vex = instruction.encoding() == EncodingKind::VEX;
        match border {
            Border::General if is_vex => Self::VexGeneral,
            Border::General => Self::None,
            Border::Vector | Border::VectorWithMxcsr => Self::Sse,
            Border::Avx | Border::AvxWithMxcsr => Self::Avx,
            Border::Legacy => {
                let features = instruction.cpuid_features();
                let x87 = [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387];
                if features.iter().any(|feature| x87.contains(feature)) {
                    Self::X87
                } else if names_xmm(instruction) || converts_from_xmm(instruction) {
                    Self::Sse
                } else {
                    Self::Mmx
                }
            }
        }
    }
}

impl StateInstruction {
    /// The requirement of this instruction; `is_vex` says whether it has a VEX prefix.
    pub fn requirement(self, is_vex: bool) -> Requirement {
        match self {
            Self::Wait => Requirement::Wait,
            Self::Fxsave | Self::Fxrstor => Requirement::Fxsave,
            Self::Xsave | Self::Xrstor => Requirement::Xsave,
            Self::Ldmxcsr | Self::Stmxcsr if is_vex => Requirement::Avx,
            Self::Ldmxcsr | Self::Stmxcsr => Requirement::Sse,
            Self::Vzero => Requirement::Avx,
            _ => Requirement::X87,
        }
    }

    /// Whether a pending x87 exception is delivered before this instruction (Intel SDM 1 8.6).
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Wait | Self::Fldcw | Self::Fldenv | Self::Frstor)
    }
}

fn names_xmm(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| instruction.op_register(operand).is_xmm())
}

/// Conversions of SSE's whose memory operand stands for an XMM register.
fn converts_from_xmm(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Cvtps2pi | Mnemonic::Cvttps2pi | Mnemonic::Cvtpd2pi | Mnemonic::Cvttpd2pi
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_faults_as_its_control_bits_say() {
        use Requirement as R;
        use Unavailable::{DeviceNotAvailable as Nm, InvalidOpcode as Ud};
        let (pe, mp) = (Cr0::new().with_pe(true), Cr0::new().with_mp(true));
        let (em, ts) = (Cr0::new().with_em(true), Cr0::new().with_ts(true));
        let no = Cr0::new();
        let or = |a: Cr0, b: Cr0| Cr0::from_bits(a.into_bits() | b.into_bits());
        let (bare, fxsr) = (Cr4::new(), Cr4::new().with_osfxsr(true));
        let os = fxsr.with_osxsave(true);
        let cases = [
            (R::None, or(em, ts), bare, 0, Ok(())),
            (R::X87, pe, bare, 0, Ok(())),
            (R::X87, em, bare, 0, Err(Nm)),
            (R::X87, ts, bare, 0, Err(Nm)),
            (R::Wait, ts, bare, 0, Ok(())),
            (R::Wait, or(em, mp), bare, 0, Ok(())),
            (R::Wait, or(ts, mp), bare, 0, Err(Nm)),
            (R::Mmx, no, bare, 0, Ok(())),
            (R::Mmx, ts, bare, 0, Err(Nm)),
            (R::Mmx, or(em, ts), bare, 0, Err(Ud)),
            (R::Sse, no, fxsr, 0, Ok(())),
            (R::Sse, ts, bare, 0, Err(Ud)),
            (R::Sse, em, os, 0, Err(Ud)),
            (R::Sse, ts, os, 0, Err(Nm)),
            (R::Fxsave, no, bare, 0, Ok(())),
            (R::Fxsave, ts, bare, 0, Err(Nm)),
            (R::Fxsave, em, bare, 0, Err(Ud)),
            (R::Xsave, no, os, 0, Ok(())),
            (R::Xsave, ts, bare, 0, Err(Ud)),
            (R::Xsave, ts, os, 0, Err(Nm)),
            (R::Avx, pe, os, 7, Ok(())),
            (R::Avx, no, os, 7, Err(Ud)),
            (R::Avx, pe, fxsr, 7, Err(Ud)),
            (R::Avx, pe, os, 3, Err(Ud)),
            (R::Avx, or(pe, ts), os, 7, Err(Nm)),
            (R::Avx, or(pe, ts), os, 3, Err(Ud)),
            (R::Avx, or(pe, em), os, 7, Ok(())),
            (R::VexGeneral, or(pe, ts), bare, 0, Ok(())),
            (R::VexGeneral, no, os, 7, Err(Ud)),
        ];
        for (requirement, cr0, cr4, xcr0, expected) in cases {
            let availability = Availability::new(cr0, cr4, Rflags::new(), Xcr0::from_bits(xcr0));
            let found = availability.check(requirement);
            assert_eq!(found, expected, "{requirement:?} {cr0:?} {cr4:?} XCR0 {xcr0}");
        }
        let v86 = Availability::new(pe, os, Rflags::new().with_vm(true), Xcr0::from_bits(7));
        assert_eq!(v86.check(R::Avx), Err(Ud));
        assert_eq!(v86.check(R::VexGeneral), Err(Ud));
    }

    #[test]
    fn instructions_have_the_requirement_of_their_group() {
        use crate::host_execution::{Extensions, StubCache};
        use iced_x86::{Decoder, DecoderOptions};
        let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
        let cases: [(&str, &[u8], Requirement); 13] = [
            ("mfence", &[0x0F, 0xAE, 0xF0], Requirement::None),
            ("movnti [rbx], eax", &[0x0F, 0xC3, 0x03], Requirement::None),
            ("fadd st, st(1)", &[0xD8, 0xC1], Requirement::X87),
            ("fcmovb st, st(1)", &[0xDA, 0xC1], Requirement::X87),
            ("paddb mm0, mm1", &[0x0F, 0xFC, 0xC1], Requirement::Mmx),
            ("pshufw mm0, mm1, 1", &[0x0F, 0x70, 0xC1, 1], Requirement::Mmx),
            ("emms", &[0x0F, 0x77], Requirement::Mmx),
            ("pmovmskb eax, mm0", &[0x0F, 0xD7, 0xC0], Requirement::Mmx),
            ("cvtps2pi mm0, [rbx]", &[0x0F, 0x2D, 0x03], Requirement::Sse),
            ("cvtpi2ps xmm0, [rbx]", &[0x0F, 0x2A, 0x03], Requirement::Sse),
            ("movdq2q mm0, xmm1", &[0xF2, 0x0F, 0xD6, 0xC1], Requirement::Sse),
            ("movntps [rbx], xmm0", &[0x0F, 0x2B, 0x03], Requirement::Sse),
            ("pmovmskb eax, xmm0", &[0x66, 0x0F, 0xD7, 0xC0], Requirement::Sse),
        ];
        for (text, bytes, requirement) in cases {
            let instruction = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode();
            let stub = cache.compile(&instruction).expect("the baseline compiles");
            assert_eq!(stub.requirement(), requirement, "{text}");
        }
    }
}

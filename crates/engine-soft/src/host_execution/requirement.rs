// SPDX-License-Identifier: MIT OR Apache-2.0
//! When control registers forbid an instruction group.

use iced_x86::{CpuidFeature, EncodingKind, Instruction};

use super::placement::{Border, StateInstruction};

const CR0_PE: u64 = 1 << 0;
const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXSAVE: u64 = 1 << 18;
const RFLAGS_VM: u64 = 1 << 17;
const XCR0_SSE_AND_AVX: u64 = 0b110;

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

impl Requirement {
    /// Checks the requirement. `#UD` goes before `#NM`.
    ///
    /// Whether it holds changes only with the four registers, so an interpreter may keep the answers of all
    /// requirements in a byte that it computes at each change.
    ///
    /// # Errors
    ///
    /// The fault that the instruction raises.
    pub fn check(self, cr0: u64, cr4: u64, rflags: u64, xcr0: u64) -> Result<(), Unavailable> {
        let invalid = match self {
            Self::None | Self::X87 | Self::Wait => false,
            Self::Mmx | Self::Fxsave => cr0 & CR0_EM != 0,
            Self::Sse => cr0 & CR0_EM != 0 || cr4 & CR4_OSFXSR == 0,
            Self::Xsave => cr4 & CR4_OSXSAVE == 0,
            Self::Avx => {
                !vex_allowed(cr0, rflags)
                    || cr4 & CR4_OSXSAVE == 0
                    || xcr0 & XCR0_SSE_AND_AVX != XCR0_SSE_AND_AVX
            }
            Self::VexGeneral => !vex_allowed(cr0, rflags),
        };
        if invalid {
            return Err(Unavailable::InvalidOpcode);
        }
        let absent = match self {
            Self::None | Self::VexGeneral => false,
            Self::X87 => cr0 & (CR0_EM | CR0_TS) != 0,
            Self::Wait => cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS,
            Self::Mmx | Self::Sse | Self::Fxsave | Self::Xsave | Self::Avx => cr0 & CR0_TS != 0,
        };
        if absent { Err(Unavailable::DeviceNotAvailable) } else { Ok(()) }
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
                } else if names_xmm(instruction) {
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

/// VEX encodings are invalid in real-address and virtual-8086 mode.
fn vex_allowed(cr0: u64, rflags: u64) -> bool {
    cr0 & CR0_PE != 0 && rflags & RFLAGS_VM == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const OS: u64 = CR4_OSFXSR | CR4_OSXSAVE;

    #[test]
    fn each_group_faults_as_its_control_bits_say() {
        use Requirement as R;
        use Unavailable::{DeviceNotAvailable as Nm, InvalidOpcode as Ud};
        let cases = [
            (R::None, CR0_EM | CR0_TS, 0, 0, Ok(())),
            (R::X87, CR0_PE, 0, 0, Ok(())),
            (R::X87, CR0_EM, 0, 0, Err(Nm)),
            (R::X87, CR0_TS, 0, 0, Err(Nm)),
            (R::Wait, CR0_TS, 0, 0, Ok(())),
            (R::Wait, CR0_EM | CR0_MP, 0, 0, Ok(())),
            (R::Wait, CR0_TS | CR0_MP, 0, 0, Err(Nm)),
            (R::Mmx, 0, 0, 0, Ok(())),
            (R::Mmx, CR0_TS, 0, 0, Err(Nm)),
            (R::Mmx, CR0_EM | CR0_TS, 0, 0, Err(Ud)),
            (R::Sse, 0, CR4_OSFXSR, 0, Ok(())),
            (R::Sse, CR0_TS, 0, 0, Err(Ud)),
            (R::Sse, CR0_EM, OS, 0, Err(Ud)),
            (R::Sse, CR0_TS, OS, 0, Err(Nm)),
            (R::Fxsave, 0, 0, 0, Ok(())),
            (R::Fxsave, CR0_TS, 0, 0, Err(Nm)),
            (R::Fxsave, CR0_EM, 0, 0, Err(Ud)),
            (R::Xsave, 0, OS, 0, Ok(())),
            (R::Xsave, CR0_TS, 0, 0, Err(Ud)),
            (R::Xsave, CR0_TS, OS, 0, Err(Nm)),
            (R::Avx, CR0_PE, OS, 7, Ok(())),
            (R::Avx, 0, OS, 7, Err(Ud)),
            (R::Avx, CR0_PE, CR4_OSFXSR, 7, Err(Ud)),
            (R::Avx, CR0_PE, OS, 3, Err(Ud)),
            (R::Avx, CR0_PE | CR0_TS, OS, 7, Err(Nm)),
            (R::Avx, CR0_PE | CR0_EM, OS, 7, Ok(())),
            (R::VexGeneral, CR0_PE | CR0_TS, 0, 0, Ok(())),
            (R::VexGeneral, 0, OS, 7, Err(Ud)),
        ];
        for (requirement, cr0, cr4, xcr0, expected) in cases {
            let found = requirement.check(cr0, cr4, 0, xcr0);
            assert_eq!(found, expected, "{requirement:?} cr0={cr0:#x} cr4={cr4:#x} xcr0={xcr0}");
        }
        assert_eq!(R::Avx.check(CR0_PE, OS, RFLAGS_VM, 7), Err(Ud));
        assert_eq!(R::VexGeneral.check(CR0_PE, OS, RFLAGS_VM, 7), Err(Ud));
    }
}

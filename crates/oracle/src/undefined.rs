// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the manuals leave undefined, which therefore is not compared.
//!
//! Sources: Intel SDM volume 2 and AMD APM volume 3, "Flags affected" of each instruction; a flag is masked if either of
//! them leaves it undefined.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use crate::state::State;
use crate::state::rflags::{AF, CF, OF, PF, SF, ZF};

/// What of a result is undefined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Undefined {
    /// Bits of RFLAGS.
    pub flags: u64,
    /// The destination, a general register.
    pub register: Option<Register>,
    /// The destination in memory.
    pub memory: bool,
    /// Four bytes at offset 28 of the destination in memory.
    pub mxcsr_mask: bool,
    /// The order of several accesses to the stack, and so the exact address of a page fault.
    pub order: bool,
}

const fn flags(flags: u64) -> Undefined {
    Undefined { flags, register: None, memory: false, mxcsr_mask: false, order: false }
}

/// What `instruction` leaves undefined when it is executed from `before`.
#[must_use]
pub fn undefined(instruction: &Instruction, before: &State) -> Undefined {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::And | M::Or | M::Xor | M::Test | M::Andn => {
            flags(if instruction.mnemonic() == M::Andn { AF | PF } else { AF })
        }
        M::Shl | M::Sal | M::Shr | M::Sar => shift(instruction, before),
        M::Rol | M::Ror | M::Rcl | M::Rcr => {
            // OF is defined for single-bit rotates only.
            flags(if count(instruction, 1, before) == 1 { 0 } else { OF })
        }
        M::Shld | M::Shrd => double_shift(instruction, before),
        M::Mul | M::Imul => flags(SF | ZF | AF | PF),
        M::Div | M::Idiv => flags(CF | OF | SF | ZF | AF | PF),
        M::Bsf | M::Bsr => flags(CF | OF | SF | AF | PF),
        M::Bt | M::Btc | M::Btr | M::Bts => flags(OF | SF | AF | PF),
        M::Lzcnt | M::Tzcnt => flags(OF | SF | AF | PF),
        M::Blsi | M::Blsmsk | M::Blsr | M::Bzhi => flags(AF | PF),
        M::Bextr => flags(AF | SF | PF),
        M::Daa | M::Das => flags(OF),
        M::Aaa | M::Aas => flags(OF | SF | ZF | PF),
        M::Aam | M::Aad => flags(OF | AF | CF),
        // Larger than what one access reaches.
        M::Fldenv | M::Fnstenv | M::Fnsave | M::Frstor => Undefined { order: true, ..Undefined::default() },
        // MXCSR_MASK tells which modes a processor has.
        M::Fxsave
        | M::Fxsave64
        | M::Xsave
        | M::Xsave64
        | M::Xsaveopt
        | M::Xsaveopt64
        | M::Xsavec
        | M::Xsavec64 => Undefined { order: true, mxcsr_mask: true, ..Undefined::default() },
        M::Fxrstor | M::Fxrstor64 | M::Xrstor | M::Xrstor64 => {
            Undefined { order: true, ..Undefined::default() }
        }
        M::Retf | M::Iret | M::Iretd | M::Iretq => Undefined { order: true, ..Undefined::default() },
        // The 16-bit form: "undefined" (Intel), "the result is undefined" (AMD).
        M::Bswap if instruction.code() == Code::Bswap_r16 => {
            Undefined { register: Some(instruction.op0_register()), ..Undefined::default() }
        }
        _ => Undefined::default(),
    }
}

/// The masked count of a shift, from its operand or CL.
fn count(instruction: &Instruction, operand: u32, before: &State) -> u32 {
    let raw = match instruction.op_kind(operand) {
        OpKind::Register => before.gprs[1] as u8,
        _ => instruction.immediate8(),
    };
    let mask = if operand_bits(instruction) == 64 { 63 } else { 31 };
    u32::from(raw) & mask
}

fn operand_bits(instruction: &Instruction) -> u32 {
    8 * match instruction.op0_kind() {
        OpKind::Register => instruction.op0_register().size() as u32,
        _ => instruction.memory_size().size() as u32,
    }
}

fn shift(instruction: &Instruction, before: &State) -> Undefined {
    let count = count(instruction, 1, before);
    let bits = operand_bits(instruction);
    let mut undefined = 0;
    if count != 0 {
        undefined |= AF;
    }
    if count > 1 {
        undefined |= OF;
    }
    // SAR's CF is the sign then.
    if count >= bits && instruction.mnemonic() != Mnemonic::Sar {
        undefined |= CF;
    }
    flags(undefined)
}

fn double_shift(instruction: &Instruction, before: &State) -> Undefined {
    let count = count(instruction, 2, before);
    if count > operand_bits(instruction) {
        let register = (instruction.op0_kind() == OpKind::Register).then(|| instruction.op0_register());
        return Undefined {
            flags: CF | OF | SF | ZF | AF | PF,
            register,
            memory: register.is_none(),
            ..Undefined::default()
        };
    }
    flags(match count {
        0 => 0,
        1 => AF,
        _ => AF | OF,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::RflagsBits;

    fn state(cl: u64) -> State {
        let mut gprs = [0; 16];
        gprs[1] = cl;
        State { gprs, rip: 0, rflags: 2, fs_base: 0, gs_base: 0, selectors: [0; 6], vector: None }
    }

    /// The decoder library keeps a table of its own. Where it says "undefined" for a form, so do we at least for some count, and the other way round.
    #[test]
    fn agrees_with_the_decoder_librarys_table() {
        let bits = [
            (RflagsBits::CF, CF),
            (RflagsBits::PF, PF),
            (RflagsBits::AF, AF),
            (RflagsBits::ZF, ZF),
            (RflagsBits::SF, SF),
            (RflagsBits::OF, OF),
        ];
        let mut compared = 0;
        for code in Code::values() {
            let mut instruction = Instruction::new();
            instruction.set_code(code);
            for operand in 0..instruction.op_count().min(3) {
                let kind = code.op_code().op_kind(operand);
                let immediate = match kind {
                    iced_x86::OpCodeOperandKind::imm8 => Some(3),
                    iced_x86::OpCodeOperandKind::imm8_const_1 => Some(1),
                    _ => None,
                };
                if let Some(immediate) = immediate {
                    instruction.set_op_kind(operand, OpKind::Immediate8);
                    instruction.set_immediate8(immediate);
                } else {
                    instruction.set_op_kind(operand, OpKind::Register);
                    instruction.set_op_register(operand, Register::CL);
                }
            }
            let ours = undefined(&instruction, &state(3)).flags;
            if ours == 0
                || matches!(
                    instruction.mnemonic(),
                    Mnemonic::Shl | Mnemonic::Shr | Mnemonic::Sal | Mnemonic::Shld | Mnemonic::Shrd
                )
            {
                // CF by operand size; 16-bit double shifts by count.
                continue;
            }
            compared += 1;
            let theirs = instruction.rflags_undefined();
            let theirs =
                bits.iter().filter(|(bit, _)| theirs & bit != 0).fold(0, |all, (_, flag)| all | flag);
            assert_eq!(ours, theirs, "{code:?}");
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn shifts_by_count() {
        let shl = Instruction::with2(Code::Shl_rm8_CL, Register::AL, Register::CL).unwrap();
        assert_eq!(undefined(&shl, &state(0)).flags, 0);
        assert_eq!(undefined(&shl, &state(0x20)).flags, 0);
        assert_eq!(undefined(&shl, &state(1)).flags, AF);
        assert_eq!(undefined(&shl, &state(7)).flags, AF | OF);
        assert_eq!(undefined(&shl, &state(8)).flags, AF | OF | CF);
        let sar = Instruction::with2(Code::Sar_rm8_CL, Register::AL, Register::CL).unwrap();
        assert_eq!(undefined(&sar, &state(9)).flags, AF | OF);
        let shld =
            Instruction::with3(Code::Shld_rm16_r16_CL, Register::AX, Register::DX, Register::CL).unwrap();
        assert_eq!(undefined(&shld, &state(17)).register, Some(Register::AX));
        assert_eq!(undefined(&shld, &state(16)), flags(AF | OF));
    }
}

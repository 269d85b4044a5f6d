// SPDX-License-Identifier: MIT OR Apache-2.0
//! The quick form of a stub for common x87 instructions.
//!
//! FXRSTOR and FXSAVE move all x87 and XMM state, some hundred nanoseconds for one FADD. Most x87 instructions
//! need a register or two. If all exceptions are masked and no stack fault can come, loading just these with FLD,
//! which copies 80 bits unchanged, gives the same results: the host's stack is empty, so ST(0) to ST(n) get their
//! names, and what the instruction adds to FSW is merged into the guest's.

use std::sync::Arc;

use iced_x86::{Code, IcedError, Instruction, Mnemonic, OpAccess, Register, UsedRegister};

use super::code_memory::CodeMemory;
use super::emitter::{Emitter, at};
use super::frame::{self, HostFrame};
use super::simd_exception::Entry;
use super::vector_state::{EXCEPTIONS, FCW, FSW, ST, VectorState};

const C1: u16 = 1 << 9;
const C0_TO_C3: u16 = 0x4700;
const ST7: u8 = 1 << 7;

/// What the quick form loads and how it changes the register stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuickShape {
    /// Registers which the instruction names, bit n for ST(n): none may be empty.
    named: u8,
    /// What it adds to TOP: -1 if it pushes, 1 or 2 if it pops.
    top_change: i8,
    /// Condition codes that it sets, as bits of FSW.
    conditions: u16,
    /// Whether it leaves C1 or clears it, depending on the processor: what sets or reads RFLAGS.
    may_clear_c1: bool,
}

/// A quick form that can run.
#[derive(Debug)]
pub(super) struct Quick {
    pub(super) shape: QuickShape,
    pub(super) entry: Entry,
    /// Keeps the code mapped.
    pub(super) _code: Arc<CodeMemory>,
}

impl QuickShape {
    /// The shape of an x87 `instruction` that uses `registers`, if it has a quick form.
    pub(super) fn of(instruction: &Instruction, registers: &[UsedRegister]) -> Option<Self> {
        use Mnemonic as M;
        let conditions = match instruction.mnemonic() {
            M::Fld
            | M::Fild
            | M::Fld1
            | M::Fldl2t
            | M::Fldl2e
            | M::Fldpi
            | M::Fldlg2
            | M::Fldln2
            | M::Fldz => C1,
            M::Fst | M::Fstp | M::Fist | M::Fistp | M::Fisttp | M::Fxch | M::Fchs | M::Fabs => C1,
            M::Fadd
            | M::Faddp
            | M::Fiadd
            | M::Fsub
            | M::Fsubp
            | M::Fisub
            | M::Fsubr
            | M::Fsubrp
            | M::Fisubr => C1,
            M::Fmul
            | M::Fmulp
            | M::Fimul
            | M::Fdiv
            | M::Fdivp
            | M::Fidiv
            | M::Fdivr
            | M::Fdivrp
            | M::Fidivr => C1,
            M::Fsqrt | M::Frndint | M::Fscale => C1,
            M::Fcom | M::Fcomp | M::Fcompp | M::Ficom | M::Ficomp | M::Fucom | M::Fucomp | M::Fucompp => {
                C0_TO_C3
            }
            M::Ftst | M::Fxam => C0_TO_C3,
            // Some processors clear C1 here and some leave it: see `fits`.
            M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip => 0,
            M::Fcmovb
            | M::Fcmove
            | M::Fcmovbe
            | M::Fcmovu
            | M::Fcmovnb
            | M::Fcmovne
            | M::Fcmovnbe
            | M::Fcmovnu => 0,
            _ => return None,
        };
        let top_change = instruction.fpu_stack_increment_info().increment() as i8;
        let stack = || registers.iter().filter(|used| used.register().is_st());
        // What is written and popped at once stays behind in a register that is then empty, where it can be seen.
        if stack()
            .any(|used| used.access() != OpAccess::Read && (used.register().number() as i8) < top_change)
        {
            return None;
        }
        // A push writes the new ST(0), which is not among those before it.
        let named = stack()
            .filter(|used| top_change >= 0 || used.access() == OpAccess::Read)
            .fold(0, |all, used| all | 1 << used.register().number());
        let may_clear_c1 = conditions == 0;
        Some(Self { named, top_change, conditions, may_clear_c1 })
    }

    /// Registers that are loaded: ST(0) to the highest one named.
    fn loaded(self) -> usize {
        8 - self.named.leading_zeros() as usize
    }

    /// Registers on the host's stack after the instruction.
    fn left(self) -> usize {
        self.loaded().wrapping_add_signed(-isize::from(self.top_change))
    }

    /// Emits the quick form. `body` is called where the instruction goes, with flags around it.
    pub(super) fn emit(
        self,
        body: impl FnOnce(&mut Emitter) -> Result<(), IcedError>,
    ) -> Result<Vec<u8>, IcedError> {
        let mut code = Emitter::new();
        code.memory(Code::Fnstcw_m2byte, frame::HOST_FCW)?;
        // Exception flags of the host's which the guest has not set would look like this instruction's.
        code.emit(&Instruction::with1(Code::Fnstsw_AX, Register::AX)?)?;
        code.load(Code::Movzx_r32_rm16, Register::ECX, frame::VECTOR + FSW)?;
        code.emit(&Instruction::with1(Code::Not_rm32, Register::ECX)?)?;
        code.emit(&Instruction::with2(Code::And_r32_rm32, Register::EAX, Register::ECX)?)?;
        code.emit(&Instruction::with2(Code::Test_AL_imm8, Register::AL, u32::from(EXCEPTIONS))?)?;
        code.skip_if_zero(&Instruction::with(Code::Fnclex))?;
        code.memory(Code::Fldcw_m2byte, frame::VECTOR + FCW)?;
        for index in (0..self.loaded()).rev() {
            code.memory(Code::Fld_m80fp, st_offset(index))?;
        }
        body(&mut code)?;
        code.memory(Code::Fnstsw_m2byte, frame::HOST_FSW)?;
        // ST(n) of now is ST(n + top_change) of before, where the frame still has it.
        for index in 0..self.left() {
            let before = index.wrapping_add_signed(self.top_change.into()) & 7;
            code.emit(&Instruction::with1(Code::Fstp_m80fp, at(st_offset(before)))?)?;
        }
        code.memory(Code::Fldcw_m2byte, frame::HOST_FCW)?;
        code.emit(&Instruction::with(Code::Retnq))?;
        Ok(code.finish())
    }

    /// Whether the quick form gives what hardware would, from `vector` with no exception pending.
    #[inline]
    pub(super) fn fits(self, vector: &VectorState) -> bool {
        let full = vector.ftw.rotate_right(vector.top() as u32);
        let has_room = self.top_change >= 0 || full & ST7 == 0;
        let c1_is_sure = !self.may_clear_c1 || vector.fsw & C1 == 0;
        vector.x87_exceptions_masked() && c1_is_sure && full & self.named == self.named && has_room
    }

    /// Brings what the instruction did to the stack and to FSW into the guest's state.
    #[inline]
    pub(super) fn finish(self, frame: &mut HostFrame) {
        let status = frame.host_fsw();
        let vector = &mut frame.vector;
        let top = vector.top();
        let bit = |physical: usize| 1 << (physical & 7);
        match self.top_change {
            -1 => vector.ftw |= bit(top + 7),
            1 => vector.ftw &= !bit(top),
            2 => vector.ftw &= !(bit(top) | bit(top + 1)),
            _ => {}
        }
        let new_top = top.wrapping_add_signed(self.top_change.into()) as u16 & 7;
        let kept = vector.fsw & !(0x3800 | self.conditions);
        let fsw = kept | status & (EXCEPTIONS | self.conditions) | new_top << 11;
        if self.top_change == 0 { vector.fsw = fsw } else { vector.replace_fsw(fsw) }
    }
}

fn st_offset(index: usize) -> usize {
    frame::VECTOR + ST + 16 * index
}

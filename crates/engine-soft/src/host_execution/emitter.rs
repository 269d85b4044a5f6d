// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encodes the code of a stub, with the frame's address in RDI.

use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand as Address, Register};

use super::frame;

/// Encodes instructions one after the other. None depends on its address.
pub(super) struct Emitter {
    encoder: Encoder,
    /// Bytes emitted so far.
    pub(super) position: usize,
}

impl Emitter {
    pub(super) fn new() -> Self {
        Self { encoder: Encoder::new(64), position: 0 }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.encoder.take_buffer()
    }

    pub(super) fn emit(&mut self, instruction: &Instruction) -> Result<(), IcedError> {
        self.position += self.encoder.encode(instruction, 0)?;
        Ok(())
    }

    /// Emits `skipped` and, before it, a jump over it for when ZF is set.
    pub(super) fn skip_if_zero(&mut self, skipped: &Instruction) -> Result<(), IcedError> {
        let length = Encoder::new(64).encode(skipped, 0)?;
        const JUMP_LENGTH: usize = 2;
        // Encoded as if at address 0: only the distance counts.
        let target = (JUMP_LENGTH + length) as u64;
        self.emit(&Instruction::with_branch(Code::Je_rel8_64, target)?)?;
        self.emit(skipped)
    }

    /// Emits `code` with a memory operand at `offset` of the frame.
    pub(super) fn memory(&mut self, code: Code, offset: usize) -> Result<(), IcedError> {
        self.emit(&Instruction::with1(code, at(offset))?)
    }

    pub(super) fn load(&mut self, code: Code, register: Register, offset: usize) -> Result<(), IcedError> {
        self.emit(&Instruction::with2(code, register, at(offset))?)
    }

    pub(super) fn store(&mut self, code: Code, offset: usize, register: Register) -> Result<(), IcedError> {
        self.emit(&Instruction::with2(code, at(offset), register)?)
    }

    /// Loads the flags in `mask` from the frame and clears every other flag that user code can change, DF, TF and
    /// AC among them. Uses RAX.
    pub(super) fn load_flags(&mut self, mask: u64) -> Result<(), IcedError> {
        self.load(Code::Mov_r32_rm32, Register::EAX, frame::RFLAGS)?;
        self.emit(&Instruction::with2(Code::And_EAX_imm32, Register::EAX, mask as u32)?)?;
        self.emit(&Instruction::with1(Code::Push_r64, Register::RAX)?)?;
        self.emit(&Instruction::with(Code::Popfq))
    }

    /// Stores the flags in `mask` into the frame and leaves its others. Uses RAX and RCX.
    pub(super) fn store_flags(&mut self, mask: u64) -> Result<(), IcedError> {
        let others = !(mask as u32);
        self.emit(&Instruction::with(Code::Pushfq))?;
        self.emit(&Instruction::with1(Code::Pop_r64, Register::RAX)?)?;
        self.load(Code::Mov_r32_rm32, Register::ECX, frame::RFLAGS)?;
        self.emit(&Instruction::with2(Code::And_EAX_imm32, Register::EAX, mask as u32)?)?;
        self.emit(&Instruction::with2(Code::And_rm32_imm32, Register::ECX, others)?)?;
        self.emit(&Instruction::with2(Code::Or_r32_rm32, Register::EAX, Register::ECX)?)?;
        self.store(Code::Mov_rm32_r32, frame::RFLAGS, Register::EAX)
    }
}

/// `[rdi + offset]`: a place in the frame.
pub(super) fn at(offset: usize) -> Address {
    Address::with_base_displ(Register::RDI, offset as i64)
}

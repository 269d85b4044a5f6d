// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operands of slow instructions, straight from iced's instruction.

use engine::{Gpr, SegmentName};
use iced_x86::{Instruction, OpKind, Register};
use x86::paging::AccessKind;

use super::Cpu;
use crate::stop::Stop;

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A general-purpose register, by iced's name.
    Register(Register),
    /// Memory at a linear address, segment checks done.
    Memory(u64),
}

/// The encoding of a general-purpose register of any width. AH to BH give their full register.
#[must_use]
pub fn gpr_of(register: Register) -> Gpr {
    Gpr::ALL[register.full_register().number()]
}

/// The segment register that iced names.
#[must_use]
pub fn segment_of(register: Register) -> SegmentName {
    match register {
        Register::ES => SegmentName::Es,
        Register::CS => SegmentName::Cs,
        Register::SS => SegmentName::Ss,
        Register::FS => SegmentName::Fs,
        Register::GS => SegmentName::Gs,
        _ => SegmentName::Ds,
    }
}

/// The segment register of the memory operand. In 64-bit mode the prefixes for ES, CS, SS and DS count for nothing, not even for whether a
/// non-canonical address is #SS or #GP.
pub(crate) fn memory_segment(instruction: &Instruction, is_64: bool) -> Register {
    match instruction.segment_prefix() {
        Register::ES | Register::CS | Register::SS | Register::DS if is_64 => match instruction.memory_base()
        {
            Register::RSP | Register::ESP | Register::RBP | Register::EBP => Register::SS,
            _ => Register::DS,
        },
        _ => instruction.memory_segment(),
    }
}

impl Cpu {
    /// A general-purpose register by iced's name, zero-extended.
    #[must_use]
    pub fn register(&self, register: Register) -> u64 {
        let value = self.gpr(gpr_of(register));
        match register {
            Register::AH | Register::CH | Register::DH | Register::BH => value >> 8 & 0xFF,
            _ => match register.size() {
                1 => value & 0xFF,
                2 => value & 0xFFFF,
                4 => value & 0xFFFF_FFFF,
                _ => value,
            },
        }
    }

    /// Sets a general-purpose register by iced's name; 4 bytes clear the upper half.
    pub fn set_register(&mut self, register: Register, value: u64) {
        let gpr = gpr_of(register);
        match register {
            Register::AH | Register::CH | Register::DH | Register::BH => {
                let old = self.gpr(gpr);
                self.set_gpr(gpr, old & !0xFF00 | (value & 0xFF) << 8);
            }
            _ => self.set_gpr_part(gpr, register.size(), value),
        }
    }

    /// The segment and offset of an instruction's memory operand. RIP-relative ones follow `self.next_rip`.
    #[must_use]
    pub fn effective_address(&self, instruction: &Instruction) -> (SegmentName, u64) {
        let base = instruction.memory_base();
        let index = instruction.memory_index();
        let width = match (base, index) {
            (Register::RIP, _) => 8,
            (Register::EIP, _) => 4,
            (Register::None, Register::None) => match instruction.memory_displ_size() {
                2 => 2,
                4 => 4,
                8 => 8,
                _ if self.mode().is_64() => 8,
                _ => 4,
            },
            (Register::None, index) => index.size(),
            (base, _) => base.size(),
        };
        let mut offset = instruction.memory_displacement64();
        if instruction.is_ip_rel_memory_operand() {
            // iced gives the target as seen from the address that it decoded at; blocks move, so this is relative.
            offset = offset.wrapping_sub(instruction.next_ip()).wrapping_add(self.next_rip);
        } else {
            if base != Register::None {
                offset = offset.wrapping_add(self.register(base));
            }
            if index != Register::None {
                let scaled = self.register(index).wrapping_mul(u64::from(instruction.memory_index_scale()));
                offset = offset.wrapping_add(scaled);
            }
        }
        let offset = match width {
            2 => offset & 0xFFFF,
            4 => offset & 0xFFFF_FFFF,
            _ => offset,
        };
        (segment_of(memory_segment(instruction, self.mode().is_64())), offset)
    }

    /// Where operand `index` of an instruction is; memory is checked for `size` bytes of `kind`.
    ///
    /// # Errors
    /// As [`Cpu::linear`].
    ///
    /// # Panics
    /// If the operand is neither a register nor memory.
    pub fn operand_address(
        &self,
        instruction: &Instruction,
        index: u32,
        size: usize,
        kind: AccessKind,
    ) -> Result<Operand, Stop> {
        match instruction.op_kind(index) {
            OpKind::Register => Ok(Operand::Register(instruction.op_register(index))),
            OpKind::Memory => {
                let (segment, offset) = self.effective_address(instruction);
                Ok(Operand::Memory(self.linear(segment, offset, size, kind)?))
            }
            other => panic!("operand {index} is {other:?}"),
        }
    }

    /// Reads `size` (1, 2, 4, 8) bytes of a register or memory operand.
    ///
    /// # Errors
    /// Any fault or exit of the access.
    pub fn read_operand(&mut self, instruction: &Instruction, index: u32, size: usize) -> Result<u64, Stop> {
        match self.operand_address(instruction, index, size, AccessKind::Read)? {
            Operand::Register(register) => {
                let value = self.register(register);
                Ok(if size >= 8 { value } else { value & ((1 << (8 * size)) - 1) })
            }
            Operand::Memory(linear) => self.read(linear, size, self.privilege()),
        }
    }

    /// Writes `size` (1, 2, 4, 8) bytes of a memory operand, or a whole register operand.
    ///
    /// # Errors
    /// Any fault or exit of the access.
    pub fn write_operand(
        &mut self,
        instruction: &Instruction,
        index: u32,
        size: usize,
        value: u64,
    ) -> Result<(), Stop> {
        match self.operand_address(instruction, index, size, AccessKind::Write)? {
            Operand::Register(register) => {
                self.set_register(register, value);
                Ok(())
            }
            Operand::Memory(linear) => self.write(linear, size, value, self.privilege()),
        }
    }
}

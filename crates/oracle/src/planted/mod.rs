// SPDX-License-Identifier: MIT OR Apache-2.0
//! Planted faults: does the oracle find what it is there to find?
//!
//! Each is a mistake that authors of emulators make. [`Planted`] stands between the checker and the guest: it lets the guest run, then works out from the
//! instruction, the registers and the operands what a guest with that mistake would have done, and puts that in place of the outcome, memory included. The
//! checker, the generator and the comparison know nothing of it, and the engine pays nothing: there is no switch in its code that could be left on.
//!
//! What this cannot show is whether a mistake *inside* the engine, such as a wrong handler for a shape of operands, is reached at all. That is what counting coverage
//! by form is for.

mod faults;
mod vector_faults;

use iced_x86::{Instruction, OpKind, Register};

pub use faults::FAULTS;
pub use vector_faults::VECTOR_FAULTS;

use crate::generate::{decode, memory_address, read_register};
use crate::layout::{CODE, CODE_PAGES, FILLER, PAGE};
use crate::state::{End, Machine, Mode, Outcome, State};

/// A mistake.
pub struct Fault {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// The start of the names of the forms that it concerns.
    pub forms: &'static [&'static str],
    /// Makes a right outcome wrong, or leaves it.
    pub alter: fn(&mut Altered<'_>),
}

/// A guest with a mistake.
pub struct Planted<'a> {
    guest: &'a mut dyn Machine,
    fault: &'static Fault,
    code: Vec<u8>,
}

impl<'a> Planted<'a> {
    /// Plants a fault.
    pub fn new(guest: &'a mut dyn Machine, fault: &'static Fault) -> Self {
        Self { guest, fault, code: vec![FILLER; (CODE_PAGES * PAGE) as usize] }
    }
}

impl Machine for Planted<'_> {
    fn write_code(&mut self, address: u64, bytes: &[u8]) {
        let start = (address - CODE) as usize;
        self.code[start..start + bytes.len()].copy_from_slice(bytes);
        self.guest.write_code(address, bytes);
    }

    fn write_data(&mut self, address: u64, bytes: &[u8]) {
        self.guest.write_data(address, bytes);
    }

    fn read_page(&self, index: usize, into: &mut [u8; PAGE as usize]) {
        self.guest.read_page(index, into);
    }

    fn run(&mut self, mode: Mode, state: &State) -> Outcome {
        let start = (state.rip - CODE) as usize;
        let bytes = &self.code[start..(start + 15).min(self.code.len())];
        let instruction = decode(mode, state.rip, bytes);
        let address = memory_address(&instruction, state);
        let mut memory = [0; 16];
        if let Some(address) = address {
            self.guest.read_data(address, &mut memory);
        }
        let after = self.guest.run(mode, state);
        let completed = after.state.rip != state.rip;
        if instruction.is_invalid() {
            return after;
        }
        let mut altered =
            Altered { instruction, before: state, after, completed, address, memory, machine: self.guest };
        (self.fault.alter)(&mut altered);
        altered.after
    }
}

/// What a fault sees and may change.
pub struct Altered<'a> {
    /// The instruction.
    pub instruction: Instruction,
    /// Registers before it.
    pub before: &'a State,
    /// What the guest made of it.
    pub after: Outcome,
    /// It raised no fault.
    pub completed: bool,
    address: Option<u64>,
    memory: [u8; 16],
    machine: &'a mut dyn Machine,
}

impl Altered<'_> {
    /// Bytes of an operand.
    #[must_use]
    pub fn size(&self, operand: u32) -> u32 {
        match self.instruction.op_kind(operand) {
            OpKind::Register => self.instruction.op_register(operand).size() as u32,
            OpKind::Memory => self.instruction.memory_size().size() as u32,
            _ => self.size(0),
        }
    }

    /// Bits of an operand.
    #[must_use]
    pub fn bits(&self, operand: u32) -> u32 {
        8 * self.size(operand)
    }

    /// Value of an operand before the instruction, zero-extended.
    #[must_use]
    pub fn value(&self, operand: u32) -> u64 {
        match self.instruction.op_kind(operand) {
            OpKind::Register => read_register(self.before, self.instruction.op_register(operand)),
            OpKind::Memory => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&self.memory[..8]);
                u64::from_le_bytes(bytes) & mask(self.bits(operand))
            }
            _ => self.instruction.immediate(operand) & mask(self.bits(operand)),
        }
    }

    /// Address of the operand in memory.
    #[must_use]
    pub fn address(&self) -> Option<u64> {
        self.address
    }

    /// Whether two operands are the same register.
    #[must_use]
    pub fn same_register(&self) -> bool {
        self.instruction.op0_kind() == OpKind::Register
            && self.instruction.op1_kind() == OpKind::Register
            && self.instruction.op0_register() == self.instruction.op1_register()
    }

    /// Puts a value in place of what the instruction wrote to an operand.
    pub fn set(&mut self, operand: u32, value: u64) {
        if self.instruction.op_kind(operand) == OpKind::Memory {
            if let Some(address) = self.address {
                let size = self.size(operand) as usize;
                self.machine.write_data(address, &value.to_le_bytes()[..size]);
            }
            return;
        }
        let register = self.instruction.op_register(operand);
        let slot = &mut self.after.state.gprs[register.full_register().number()];
        *slot = match (register, register.size()) {
            (Register::AH | Register::CH | Register::DH | Register::BH, _) => {
                *slot & !0xFF00 | (value & 0xFF) << 8
            }
            (_, 1) => *slot & !0xFF | value & 0xFF,
            (_, 2) => *slot & !0xFFFF | value & 0xFFFF,
            (_, 4) => value & 0xFFFF_FFFF,
            _ => value,
        };
    }

    /// Puts data in place of what is in memory.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        self.machine.write_data(address, bytes);
    }

    /// Whether a flag was set before the instruction.
    #[must_use]
    pub fn had(&self, flag: u64) -> bool {
        self.before.rflags & flag != 0
    }

    /// Sets or clears a flag.
    pub fn flag(&mut self, flag: u64, on: bool) {
        let flags = &mut self.after.state.rflags;
        *flags = if on { *flags | flag } else { *flags & !flag };
    }

    /// The exception that the instruction itself raised.
    #[must_use]
    pub fn raised(&self) -> Option<u8> {
        match self.after.end {
            End::Exception { vector, .. } if !self.completed => Some(vector),
            _ => None,
        }
    }
}

/// The low bits.
#[must_use]
pub const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

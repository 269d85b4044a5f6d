// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random tests: an encoding of a form, and states to run it from.

mod encode;
mod fill;
mod gather;
mod limits;
mod sequence;
mod vector;

pub use encode::encode;
pub use fill::fill;
pub use gather::aim_gather;
pub use sequence::{Program, program, start};
pub use vector::vector;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use crate::layout::{CODE, CODE_PAGES, PAGE};
use crate::random::Random;
use crate::state::{Mode, State};

/// An instruction at its place.
#[derive(Clone)]
pub struct Encoded {
    /// In which mode it runs.
    pub mode: Mode,
    /// Linear address of its first byte.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they mean.
    pub instruction: Instruction,
}

/// What a run starts from.
#[derive(Clone)]
pub struct Start {
    /// Registers.
    pub state: State,
    /// Bytes of data to be written first.
    pub pokes: Vec<(u64, Vec<u8>)>,
}

/// Decodes as the host does, whose vendor decides how some prefixes work.
#[must_use]
pub fn decode(mode: Mode, address: u64, bytes: &[u8]) -> Instruction {
    let vendor = if host_is_amd() { DecoderOptions::AMD } else { DecoderOptions::NONE };
    let options = DecoderOptions::FORCE_RESERVED_NOP | vendor;
    Decoder::with_ip(mode.bitness(), bytes, address, options).decode()
}

/// A general register or part of one, zero-extended.
#[must_use]
pub fn read_register(state: &State, register: Register) -> u64 {
    let whole = state.gprs[register.full_register().number()];
    match (register, register.size()) {
        (Register::AH | Register::CH | Register::DH | Register::BH, _) => whole >> 8 & 0xFF,
        (_, 1) => whole & 0xFF,
        (_, 2) => whole & 0xFFFF,
        (_, 4) => whole & 0xFFFF_FFFF,
        _ => whole,
    }
}

/// What a register adds to an address: segment registers their base.
fn register_value(state: &State, register: Register) -> Option<u64> {
    match register {
        Register::FS => Some(state.fs_base),
        Register::GS => Some(state.gs_base),
        register if register.is_segment_register() => Some(0),
        register if register.is_gpr() => Some(read_register(state, register)),
        _ => None,
    }
}

/// Linear address of the explicit operand in memory, if there is one.
#[must_use]
pub fn memory_address(instruction: &Instruction, state: &State) -> Option<u64> {
    let operand = (0..instruction.op_count()).find(|&index| instruction.op_kind(index) == OpKind::Memory)?;
    instruction.virtual_address(operand, 0, |register, _, _| register_value(state, register))
}

/// Whether the host's processor says that it is AMD's.
#[must_use]
pub fn host_is_amd() -> bool {
    core::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Auth")
}

/// A place for code: anywhere, or across a page boundary, or so close to the end that the fetch may fault.
fn place(random: &mut Random) -> u64 {
    let end = CODE + CODE_PAGES * PAGE;
    match random.below(100) {
        0..8 => CODE + PAGE - 1 - random.below(15),
        8..14 => end - 1 - random.below(15),
        _ => CODE + 16 + random.below(CODE_PAGES * PAGE - 48),
    }
}

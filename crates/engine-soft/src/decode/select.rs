// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which operation an instruction becomes.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::operands::{memory, plain};
use super::{Made, Slow, branch, integer};
use crate::cpu::{Cpu, memory_segment};
use crate::execute::{self, Repeat, StringKind};
use crate::host_execution::{CompileError, ElementInstruction, Placement, place};
use crate::model::Vendor;
use crate::stop::{Next, Stop};
use crate::system;

/// An instruction and where it stands.
pub(super) struct Context<'a> {
    pub(super) instruction: &'a Instruction,
    pub(super) encoded: &'a [u8],
    /// Offset in its page.
    pub(super) at: u16,
    /// Its number in the block, from 1.
    pub(super) count: u8,
    /// The block is to have one instruction and return to the run loop.
    pub(super) stepping: bool,
    /// The block is not kept.
    pub(super) transient: bool,
}

/// Makes the operation of an instruction.
pub(super) fn operation(cpu: &mut Cpu, context: &Context<'_>) -> Made {
    let instruction = context.instruction;
    if let Some(function) = system::slow_instruction(instruction) {
        return Made::Slow(Slow::Function(function));
    }
    if let Some(made) = branch::operation(cpu, context) {
        return made;
    }
    if let Some(made) = string(cpu, context) {
        return made;
    }
    // 0F 0D with a register is a hint for Intel's processors and nothing for AMD's.
    if instruction.mnemonic() == Mnemonic::Reservednop
        && instruction.op0_kind() == OpKind::Register
        && context.encoded.windows(2).any(|bytes| bytes == [0x0F, 0x0D])
        && cpu.vendor == Vendor::Amd
    {
        return undefined(context);
    }
    if let Some(made) = integer::operation(cpu, context) {
        return made;
    }
    match place(instruction) {
        Placement::Stub(_) => stub(cpu, context),
        Placement::Elements(_) if !cpu.stubs.offers(instruction.code()) => undefined(context),
        Placement::Elements(which) => Made::Slow(Slow::Function(match which {
            ElementInstruction::MaskedStore => execute::masked_store,
            ElementInstruction::MaskedMove => execute::masked_move,
            ElementInstruction::Gather => execute::gather,
        })),
        // The system half has these.
        Placement::State(_) => undefined(context),
        Placement::Interpreter(_) if instruction.mnemonic() == Mnemonic::Pause => {
            // A loop that waits is noticed behind a PAUSE, wherever its block began.
            Made::Last(plain(context.at, instruction.len() as u8, execute::fast::<execute::Pause>))
        }
        Placement::Interpreter(_) if is_hint(instruction.mnemonic()) => {
            Made::Operation(plain(context.at, instruction.len() as u8, execute::fast::<execute::Nop>))
        }
        Placement::Interpreter(_) => undefined(context),
    }
}

fn undefined(context: &Context<'_>) -> Made {
    Made::Leaves(plain(context.at, context.instruction.len() as u8, execute::undefined))
}

/// Instructions that only hint.
fn is_hint(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Nop
            | M::Fnop
            | M::Prefetch
            | M::Prefetchw
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Prefetchwt1
            | M::Reservednop
            | M::Endbr64
            | M::Endbr32
            | M::Cldemote
            | M::Serialize
    )
}

fn stub(cpu: &mut Cpu, context: &Context<'_>) -> Made {
    let instruction = context.instruction;
    let length = instruction.len() as u8;
    match cpu.stubs.compile(instruction) {
        Ok(stub) => {
            let mut op = plain(context.at, length, execute::run_stub);
            if stub.memory().is_some() {
                memory(cpu, instruction, &mut op);
            }
            let (opcode, modrm) = x87_opcode(context.encoded, cpu.mode().is_64());
            op.extra = opcode & 7;
            op.register = modrm;
            op.immediate = cpu.blocks.add_stub(stub, context.transient);
            Made::Operation(op)
        }
        Err(CompileError::NotOffered(_)) => undefined(context),
        Err(_) => Made::Slow(Slow::Function(cannot_compile)),
    }
}

fn cannot_compile(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    Err(cpu.unsupported("an instruction that the host cannot be made to execute"))
}

/// The first opcode byte and the ModRM byte after the prefixes, for x87 instructions.
fn x87_opcode(bytes: &[u8], is_64: bool) -> (u8, u8) {
    let is_prefix = |byte: &u8| {
        matches!(byte, 0x66 | 0x67 | 0xF0 | 0xF2 | 0xF3 | 0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 | 0x9B)
            || (is_64 && matches!(byte, 0x40..=0x4F))
    };
    let at = bytes.iter().take_while(|&byte| is_prefix(byte)).count();
    let byte = |index: usize| bytes.get(index).copied().unwrap_or(0);
    (byte(at), byte(at + 1))
}

fn string(cpu: &Cpu, context: &Context<'_>) -> Option<Made> {
    use Mnemonic as M;
    let instruction = context.instruction;
    let (kind, size) = match instruction.mnemonic() {
        M::Movsb => (StringKind::Move, 1),
        M::Movsw => (StringKind::Move, 2),
        M::Movsd if instruction.is_string_instruction() => (StringKind::Move, 4),
        M::Movsq => (StringKind::Move, 8),
        M::Stosb => (StringKind::Store, 1),
        M::Stosw => (StringKind::Store, 2),
        M::Stosd => (StringKind::Store, 4),
        M::Stosq => (StringKind::Store, 8),
        M::Lodsb => (StringKind::Load, 1),
        M::Lodsw => (StringKind::Load, 2),
        M::Lodsd => (StringKind::Load, 4),
        M::Lodsq => (StringKind::Load, 8),
        M::Cmpsb => (StringKind::Compare, 1),
        M::Cmpsw => (StringKind::Compare, 2),
        M::Cmpsd if instruction.is_string_instruction() => (StringKind::Compare, 4),
        M::Cmpsq => (StringKind::Compare, 8),
        M::Scasb => (StringKind::Scan, 1),
        M::Scasw => (StringKind::Scan, 2),
        M::Scasd => (StringKind::Scan, 4),
        M::Scasq => (StringKind::Scan, 8),
        _ => return None,
    };
    let mut op = plain(context.at, instruction.len() as u8, execute::string);
    op.register = kind as u8;
    op.base = size;
    op.extra = if instruction.has_repne_prefix() {
        Repeat::WhileNotEqual
    } else if instruction.has_rep_prefix() {
        Repeat::WhileEqual
    } else {
        Repeat::Once
    } as u8;
    let width = |kind| match kind {
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(2),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(4),
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(8),
        _ => None,
    };
    op.index = width(instruction.op0_kind()).or_else(|| width(instruction.op1_kind())).unwrap_or(8);
    let segment = match memory_segment(instruction, cpu.mode().is_64()) {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    };
    op.length_and_segment |= segment << 4;
    Some(Made::Operation(op))
}

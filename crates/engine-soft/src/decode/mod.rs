// SPDX-License-Identifier: MIT OR Apache-2.0
//! From bytes to operations.
//!
//! Instructions are decoded as if their page began at address zero, so that targets of branches and RIP-relative addresses come
//! out as offsets from the start of the page and blocks are good at any virtual address.

mod branch;
mod integer;
mod operands;
mod select;
mod shapes;

use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, FlowControl, Instruction};

use crate::block::{BlockKey, Handler, Op};
use crate::cpu::{CodeSize, Cpu};
use crate::execute;
use crate::mmu::host;
use crate::model::Vendor;

/// Most instructions in a block.
pub(crate) const MOST_INSTRUCTIONS: usize = 48;
/// Most operations that a block needs.
pub(crate) const MOST_OPERATIONS: usize = 2 * MOST_INSTRUCTIONS + 2;
/// Bytes looked at for a block.
const WINDOW: usize = 384;

/// What the decoder would read otherwise. Of the reserved NOPs, those that CET and MPX took are NOPs still: neither is offered. And in 64-bit mode AMD's
/// processors heed 66 before near branches, Intel's do not.
pub(crate) fn options(cpu: &Cpu) -> u32 {
    let vendor = match cpu.vendor {
        Vendor::Amd => DecoderOptions::AMD,
        Vendor::Intel => DecoderOptions::NONE,
    };
    DecoderOptions::FORCE_RESERVED_NOP | vendor
}

fn bitness(cpu: &Cpu) -> u32 {
    match cpu.mode().code_size() {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    }
}

/// What an instruction became.
pub(super) enum Made {
    /// An operation; the block may go on.
    Operation(Op),
    /// An operation after which the block ends.
    Last(Op),
    /// An operation that sets flags, and its handlers if a conditional branch inside the page follows.
    Fusable(Op, &'static [Handler; 16]),
    /// A conditional branch inside the page, and its condition.
    BranchInside(Op, u8),
    /// An operation that always leaves the straight line.
    Leaves(Op),
    /// As `Leaves`, with the data operation that its slow form needs.
    LeavesWithData(Op, Op),
    /// A branch that has a data operation but may be followed by others.
    Slow(Slow),
}

/// What has to be kept beside the operation.
pub(super) enum Slow {
    /// A function that executes the instruction.
    Function(crate::system::SlowInstruction),
}

/// Decodes the block at `key`, whose page is at a host address. `None` if its first instruction reaches into the next page.
pub(crate) fn block(cpu: &mut Cpu, host: u64, key: BlockKey) -> Option<*const Op> {
    let mut bytes = [0; WINDOW];
    let length = WINDOW.min(0x1000 - usize::from(key.offset));
    cpu.note_code_bytes(key.place, key.offset, length);
    // SAFETY: the page is the guest's and mapped whole; the bytes end with it.
    unsafe { host::copy_from(host + u64::from(key.offset), &mut bytes[..length]) };
    let most = if key.mode.is_stepping() { 1 } else { MOST_INSTRUCTIONS };
    let mut operations = Vec::with_capacity(MOST_OPERATIONS);
    let end = decode(cpu, &bytes[..length], key.offset, most, &mut operations, false)?;
    operations[0].begin_block();
    Some(cpu.blocks.insert(&mut operations, key, end))
}

/// Decodes the one instruction in `bytes`, which stands at `offset` in its page, into operations that hold until the next call.
pub(crate) fn single(cpu: &mut Cpu, bytes: &[u8], offset: u16) -> *const Op {
    let mut operations = Vec::with_capacity(4);
    if decode(cpu, bytes, offset, 1, &mut operations, true).is_none() {
        // More than fifteen bytes, or the rest could not be had, which the fetch has told.
        operations.push(operands::plain(offset, 0, execute::too_long));
    }
    operations[0].begin_block();
    cpu.blocks.insert_transient(operations)
}

/// Whether the bytes, fifteen or more that are no instruction, are none because it would be longer than fifteen: #GP instead of #UD.
///
/// iced does not tell the two apart. Only repeated prefixes make an instruction that long, so the same one without the repetitions tells its length.
fn is_too_long(cpu: &Cpu, bytes: &[u8]) -> bool {
    const LONGEST: usize = 15;
    const PREFIXES: [u8; 11] = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3];
    let prefixes = bytes.iter().take_while(|byte| PREFIXES.contains(byte)).count();
    let mut shorter: Vec<u8> = Vec::with_capacity(bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        // Of prefixes that are the same, the last counts.
        if index >= prefixes || !bytes[index + 1..prefixes].contains(byte) {
            shorter.push(*byte);
        }
    }
    let removed = bytes.len() - shorter.len();
    let mut decoder = Decoder::with_ip(bitness(cpu), &shorter, 0, options(cpu));
    let _ = decoder.decode();
    decoder.last_error() == DecoderError::NoMoreBytes || decoder.position() + removed > LONGEST
}

/// Whether the bytes are the beginning of an instruction, but not all of it.
pub(crate) fn needs_more(cpu: &Cpu, bytes: &[u8]) -> bool {
    let mut decoder = Decoder::with_ip(bitness(cpu), bytes, 0, options(cpu));
    let mut instruction = Instruction::default();
    decoder.decode_out(&mut instruction);
    bytes.len() < 15 && decoder.last_error() == DecoderError::NoMoreBytes
}

/// Decodes up to `most` instructions. Gives the offset in the page after the last, or `None` if the bytes end within the first.
fn decode(
    cpu: &mut Cpu,
    bytes: &[u8],
    offset: u16,
    most: usize,
    operations: &mut Vec<Op>,
    transient: bool,
) -> Option<u32> {
    let mut decoder = Decoder::with_ip(bitness(cpu), bytes, offset.into(), options(cpu));
    let mut instruction = Instruction::default();
    let mut count = 0u8;
    let mut at = offset;
    let stepping = most == 1;
    let mut fusable: Option<&'static [Handler; 16]> = None;
    while usize::from(count) < most {
        let start = decoder.position();
        decoder.decode_out(&mut instruction);
        let length = decoder.position() - start;
        if instruction.code() == Code::INVALID {
            if decoder.last_error() == DecoderError::NoMoreBytes && bytes.len() - start < 15 {
                if count == 0 {
                    return None;
                }
                break;
            }
            let too_long = is_too_long(cpu, &bytes[start..]);
            let handler = if too_long { execute::too_long } else { execute::undefined };
            operations.push(operands::plain(at, length as u8, handler));
            return Some(u32::from(at) + length as u32);
        }
        count += 1;
        let encoded = &bytes[start..start + length];
        let context = select::Context { instruction: &instruction, encoded, at, count, stepping, transient };
        let made = select::operation(cpu, &context);
        at += length as u16;
        let before = fusable.take();
        match made {
            Made::Operation(operation) => operations.push(operation),
            Made::Last(operation) => {
                operations.push(operation);
                break;
            }
            Made::Fusable(operation, handlers) => {
                operations.push(operation);
                fusable = Some(handlers);
            }
            Made::BranchInside(operation, condition) => {
                if let (Some(handlers), Some(last)) = (before, operations.last_mut()) {
                    last.set_handler(handlers[usize::from(condition)]);
                }
                operations.push(operation);
            }
            Made::Leaves(operation) => {
                operations.push(operation);
                return Some(at.into());
            }
            Made::LeavesWithData(operation, data) => {
                operations.push(operation);
                operations.push(data);
                return Some(at.into());
            }
            Made::Slow(Slow::Function(function)) => {
                let mut operation =
                    operands::plain(at - length as u16, length as u8, execute::slow_instruction);
                operation.immediate = cpu.blocks.add_slow(function, instruction, transient);
                operations.push(operation);
                if instruction.flow_control() != FlowControl::Next && !stepping {
                    break;
                }
            }
        }
    }
    operations.push(branch::end(cpu, at, count, stepping));
    Some(at.into())
}

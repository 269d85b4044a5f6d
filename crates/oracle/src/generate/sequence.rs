// SPDX-License-Identifier: MIT OR Apache-2.0
//! Short programs: several instructions with branches among them, for what single instructions cannot show: flags that are worked out late, instructions
//! that are executed together, blocks and the jumps between them.
//!
//! Some registers are kept: pointers into the data that nothing writes, a small index, and the counter of the one loop that a program may have.

use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use super::encode::encode_within;
use super::{Start, decode};
use crate::layout::{CODE, CODE_PAGES, DATA, PAGE};
use crate::random::Random;
use crate::state::{Mode, State, rflags};

/// Bases of operands in memory; and RSP, for instructions that push and pop.
pub(super) const POINTERS: [Register; 3] = [Register::R12, Register::R13, Register::R14];
/// The index of operands in memory: small.
pub(super) const INDEX: Register = Register::R15;
/// Counts down at the program's backward jump.
const COUNTER: Register = Register::R11;

/// A program at its place.
pub struct Program {
    /// Linear address of its first byte.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

enum Piece {
    Plain(Vec<u8>),
    /// Jcc, JMP or CALL to the start of another piece: opcode without the operand, for one and for four bytes of displacement. Another instruction may
    /// stand before it.
    Branch {
        before: &'static [u8],
        short: Option<u8>,
        near: &'static [u8],
        to: usize,
    },
}

/// Jcc by condition in the low four bits.
const JCC_NEAR: [[u8; 2]; 16] = {
    let mut codes = [[0x0F, 0x80]; 16];
    let mut condition = 0;
    while condition < 16 {
        codes[condition][1] = 0x80 + condition as u8;
        condition += 1;
    }
    codes
};

/// Makes a program of forms from `pool`.
pub fn program(random: &mut Random, factory: &mut InstructionInfoFactory, pool: &[Code]) -> Program {
    let count = 4 + random.below(17) as usize;
    let loop_end = random.percent(40).then(|| 2 + random.below(count as u64 - 2) as usize);
    let mut pieces = Vec::new();
    while pieces.len() < count {
        let index = pieces.len();
        if Some(index) == loop_end {
            // dec r11; jnz. Nothing jumps between them, so the loop ends.
            let to = random.below(index as u64) as usize;
            pieces.push(Piece::Branch {
                before: &[0x49, 0xFF, 0xCB],
                short: Some(0x75),
                near: &JCC_NEAR[5],
                to,
            });
        } else if random.percent(15) {
            let to = index + 1 + random.below((count - index) as u64) as usize;
            let condition = random.below(16) as usize;
            pieces.push(match random.below(10) {
                0 => Piece::Branch { before: &[], short: Some(0xEB), near: &[0xE9], to },
                1 => Piece::Branch { before: &[], short: None, near: &[0xE8], to },
                _ => Piece::Branch {
                    before: &[],
                    short: Some(0x70 + condition as u8),
                    near: &JCC_NEAR[condition],
                    to,
                },
            });
        } else if random.percent(4) {
            pieces.extend(string_instruction(random).into_iter().map(Piece::Plain));
        } else if let Some(bytes) = instruction(random, factory, pool) {
            pieces.push(Piece::Plain(bytes));
        }
    }
    assemble(random, &pieces)
}

/// An instruction that leaves the kept registers alone.
fn instruction(random: &mut Random, factory: &mut InstructionInfoFactory, pool: &[Code]) -> Option<Vec<u8>> {
    let code = random.pick(pool);
    let bytes = encode_within(random, code)?;
    let instruction = decode(Mode::User64, CODE, &bytes);
    if instruction.code() != code || !keeps_registers(factory, &instruction) {
        return None;
    }
    let mut bytes = bytes;
    if leaves_flags_undefined(&instruction) {
        // cmp rax, rcx
        bytes.extend([0x48, 0x39, 0xC8]);
    }
    Some(bytes)
}

/// Whether an instruction leaves flags undefined in a way that the guest does not share with the host. For shifts and logic it does, as it computes with the host's own
/// instructions, and then the next instruction may use them.
fn leaves_flags_undefined(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let shared = matches!(
        instruction.mnemonic(),
        M::And
            | M::Or
            | M::Xor
            | M::Test
            | M::Shl
            | M::Sal
            | M::Shr
            | M::Sar
            | M::Rol
            | M::Ror
            | M::Rcl
            | M::Rcr
    );
    instruction.rflags_undefined() != 0 && !shared
}

fn keeps_registers(factory: &mut InstructionInfoFactory, instruction: &Instruction) -> bool {
    let stack = instruction.is_stack_instruction();
    factory.info(instruction).used_registers().iter().all(|used| {
        let written = !matches!(
            used.access(),
            OpAccess::Read | OpAccess::CondRead | OpAccess::None | OpAccess::NoMemAccess
        );
        let register = used.register().full_register();
        let kept = POINTERS.contains(&register) || register == INDEX || register == COUNTER;
        let is_rsp = register == Register::RSP;
        !written || !(kept || (is_rsp && !stack))
    })
}

/// A string instruction, its registers set up.
fn string_instruction(random: &mut Random) -> Vec<Vec<u8>> {
    let displacement = random.bits() as u8;
    let repeat = random.pick(&[0xF3, 0xF3, 0xF2]);
    let opcode = random.pick(&[0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAD, 0xA6, 0xA7, 0xAE, 0xAF]);
    vec![
        // lea rsi, [r12+d]; lea rdi, [r13+d]; mov ecx, n
        vec![0x49, 0x8D, 0x74, 0x24, displacement],
        vec![0x49, 0x8D, 0x7D, random.bits() as u8],
        vec![0xB9, random.below(20) as u8, 0, 0, 0],
        if random.percent(50) { vec![repeat, 0x48, opcode] } else { vec![repeat, opcode] },
    ]
}

/// Places the pieces one behind the other and works out the branches.
fn assemble(random: &mut Random, pieces: &[Piece]) -> Program {
    let mut long = vec![false; pieces.len()];
    for (long, piece) in long.iter_mut().zip(pieces) {
        *long = matches!(piece, Piece::Branch { short: None, .. }) || random.percent(30);
    }
    loop {
        let length = |index: usize| match &pieces[index] {
            Piece::Plain(bytes) => bytes.len(),
            Piece::Branch { before, near, .. } if long[index] => before.len() + near.len() + 4,
            Piece::Branch { before, .. } => before.len() + 2,
        };
        let mut starts = vec![0];
        for index in 0..pieces.len() {
            starts.push(starts[index] + length(index));
        }
        let distance =
            |index: usize, to: usize| starts[to.min(pieces.len())] as i64 - starts[index + 1] as i64;
        let too_far = (0..pieces.len()).find(|&index| {
            matches!(&pieces[index], Piece::Branch { to, .. } if !long[index] && i8::try_from(distance(index, *to)).is_err())
        });
        if let Some(index) = too_far {
            long[index] = true;
            continue;
        }
        let mut bytes = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Plain(plain) => bytes.extend(plain),
                Piece::Branch { before, near, to, .. } if long[index] => {
                    bytes.extend(*before);
                    bytes.extend(*near);
                    bytes.extend((distance(index, *to) as i32).to_le_bytes());
                }
                Piece::Branch { before, short, to, .. } => {
                    bytes.extend(*before);
                    bytes.push(short.expect("a branch with a short form"));
                    bytes.push(distance(index, *to) as i8 as u8);
                }
            }
        }
        let room = CODE_PAGES * PAGE - bytes.len() as u64;
        let address = match random.below(4) {
            // Across the page boundary.
            0 => CODE + PAGE - random.below(bytes.len() as u64),
            _ => CODE + random.below(room),
        };
        return Program { address, bytes };
    }
}

/// A state to run a program from.
pub fn start(random: &mut Random, address: u64) -> Start {
    let mut gprs = [0; 16];
    for gpr in &mut gprs {
        *gpr = random.edge();
    }
    for register in POINTERS {
        let page = DATA + random.pick(&[1u64, 1, 2, 4, 6]) * PAGE;
        // Now and then close to the page's end.
        let offset =
            if random.percent(15) { PAGE - random.below(200) } else { 256 + random.below(PAGE - 512) };
        gprs[register.number()] = page + offset;
    }
    gprs[INDEX.number()] = random.below(32);
    gprs[COUNTER.number()] = 1 + random.below(6);
    gprs[Register::RSP.number()] = DATA + 6 * PAGE + 1024 + 8 * random.below(256);
    let flags = random.bits() & rflags::STATUS | rflags::IF | 2;
    let state =
        State { gprs, rip: address, rflags: flags, fs_base: 0, gs_base: 0, selectors: [0; 6], vector: None };
    Start { state, pokes: Vec::new() }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a form to bytes: random registers, addressing forms, immediates and prefixes.

use iced_x86::{
    Code, Encoder, EncodingKind, Instruction, Mnemonic, OpCodeInfo, OpCodeOperandKind, OpKind, Register,
};

use super::sequence::{INDEX, POINTERS};
use super::{Encoded, decode, place};
use crate::layout::{CODE, CODE_PAGES, DATA, DATA_BYTES, PAGE};
use crate::random::Random;
use crate::state::Mode;

const GPR8: [Register; 20] = {
    use Register::{
        AH, AL, BH, BL, BPL, CH, CL, DH, DIL, DL, R8L, R9L, R10L, R11L, R12L, R13L, R14L, R15L, SIL, SPL,
    };
    [AL, CL, DL, BL, AH, CH, DH, BH, SPL, BPL, SIL, DIL, R8L, R9L, R10L, R11L, R12L, R13L, R14L, R15L]
};
const SEGMENTS: [Register; 6] =
    [Register::ES, Register::CS, Register::SS, Register::DS, Register::FS, Register::GS];

/// Encodes a form with random operands; `None` if this draw cannot be encoded, or means something else.
pub fn encode(random: &mut Random, code: Code, mode: Mode) -> Option<Encoded> {
    let address = place(random);
    let form = code.op_code();
    let mut builder = Builder {
        random,
        form,
        mode,
        address,
        instruction: Instruction::new(),
        other_address_size: false,
        within: false,
    };
    builder.build(code)?;
    let Builder { random, instruction, .. } = builder;
    let mut encoder = Encoder::new(mode.bitness());
    encoder.encode(&instruction, address).ok()?;
    let mut bytes = encoder.take_buffer();
    let vex = form.encoding() == EncodingKind::VEX;
    if vex {
        change_vex(random, form, mode, &mut bytes);
    }
    let prefix = add_prefix(random, form, &mut bytes);
    let instruction = decode(mode, address, &bytes);
    // Of what is invalid only LOCK is told by the manuals to be so always, and before VEX all that it has in itself.
    let refused =
        matches!(prefix, Some(0xF0)) || vex && matches!(prefix, Some(0x66 | 0xF2 | 0xF3 | 0x40..=0x4F));
    if instruction.is_invalid() && !refused {
        return None;
    }
    // AMD's processors do not fetch what is behind these opcodes, nor behind REX and VEX together.
    let unfetched =
        matches!(form.mnemonic(), Mnemonic::Ud0 | Mnemonic::Ud1) || matches!(prefix, Some(0x40..=0x4F));
    if instruction.is_invalid() && unfetched && address + bytes.len() as u64 > CODE + CODE_PAGES * PAGE {
        return None;
    }
    let understood = instruction.is_invalid() || instruction.len() == bytes.len();
    // A branch back to itself never ends.
    let near =
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    let endless = near && instruction.near_branch_target().wrapping_sub(address) < bytes.len() as u64;
    let understood = understood && !endless;
    understood.then_some(Encoded { mode, address, bytes, instruction })
}

/// Encodes a form for a program: operands in memory lie where the program's pointers point to.
pub(super) fn encode_within(random: &mut Random, code: Code) -> Option<Vec<u8>> {
    let form = code.op_code();
    let mode = Mode::User64;
    let instruction = Instruction::new();
    let mut builder =
        Builder { random, form, mode, address: CODE, instruction, other_address_size: false, within: true };
    builder.build(code)?;
    let instruction = builder.instruction;
    let mut encoder = Encoder::new(mode.bitness());
    encoder.encode(&instruction, CODE).ok()?;
    Some(encoder.take_buffer())
}

/// Now and then other bits in the VEX prefix than the encoder's, where they count for nothing: W in some forms, and outside of 64-bit mode what would choose the
/// registers 8 to 15, in the last byte of four-operand forms too (Intel SDM 2A 2.3.5).
fn change_vex(random: &mut Random, form: &OpCodeInfo, mode: Mode, bytes: &mut Vec<u8>) {
    let Some(start) = bytes.iter().position(|&byte| matches!(byte, 0xC4 | 0xC5)) else { return };
    if !random.percent(30) || bytes.len() > start + 12 {
        return;
    }
    // The short prefix has R, vvvv, L and pp of the long one, and stands for the first map.
    if bytes[start] == 0xC5 {
        let short = bytes[start + 1];
        bytes.splice(start..start + 2, [0xC4, short & 0x80 | 0x61, short & 0x7F]);
    }
    if form.is_wig() {
        bytes[start + 2] ^= random.pick(&[0, 0x80]);
    }
    if mode == Mode::User32 {
        bytes[start + 1] ^= random.pick(&[0, 0x20]);
        // Where there is no operand in it, all of vvvv has to be ones.
        let has_vvvv = form.op_kinds().iter().any(|kind| {
            use OpCodeOperandKind as K;
            matches!(kind, K::xmm_vvvv | K::ymm_vvvv | K::r32_vvvv)
        });
        if has_vvvv {
            bytes[start + 2] ^= random.pick(&[0, 0x40]);
        }
        let has_is4 = form
            .op_kinds()
            .iter()
            .any(|kind| matches!(kind, OpCodeOperandKind::xmm_is4 | OpCodeOperandKind::ymm_is4));
        if let Some(last) = bytes.last_mut().filter(|_| has_is4) {
            *last ^= random.pick(&[0, 0x80]);
        }
    }
}

/// Now and then a prefix that the encoder would not write: without effect, or with one that the decoder tells.
fn add_prefix(random: &mut Random, form: &OpCodeInfo, bytes: &mut Vec<u8>) -> Option<u8> {
    if !random.percent(14) || bytes.len() >= 15 {
        return None;
    }
    let is_far_call = form.mnemonic() == Mnemonic::Call && form.op_kind(0) == OpCodeOperandKind::mem;
    let is_loop = matches!(form.mnemonic(), Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne);
    let prefix = match random.below(10) {
        0..4 => random.pick(&[0x26, 0x2E, 0x36, 0x3E]),
        4 => random.pick(&[0x64, 0x65]),
        5 => 0x66,
        6 => 0x67,
        7 => 0xF0,
        // AMD's processors take F2 and F3 before LOOPE and LOOPNE for a change of condition, which no manual tells.
        8 if !is_loop => random.pick(&[0xF2, 0xF3]),
        // A REX prefix that does not stand last counts for nothing. (With REX.W a far call of AMD's processors pushes 64 bits, but its pointer keeps its size.)
        _ if form.mode64() && !is_far_call => 0x40 | random.below(16) as u8,
        _ => 0x3E,
    };
    bytes.insert(0, prefix);
    Some(prefix)
}

struct Builder<'a> {
    random: &'a mut Random,
    form: &'static OpCodeInfo,
    mode: Mode,
    address: u64,
    instruction: Instruction,
    /// All operands in memory have one address size: the mode's, or the smaller one that a prefix chooses.
    other_address_size: bool,
    /// Operands in memory use a program's pointers.
    within: bool,
}

impl Builder<'_> {
    fn build(&mut self, code: Code) -> Option<()> {
        self.instruction.set_code(code);
        // A forced address size is part of some forms (LOOP).
        self.other_address_size = match (self.form.address_size(), self.mode) {
            (16, Mode::User32) => true,
            (32, Mode::User64 | Mode::Kernel64) => true,
            _ => !self.within && self.random.percent(12),
        };
        let vex = self.form.encoding() == EncodingKind::VEX;
        let kinds: Vec<_> = self.form.op_kinds().to_vec();
        for (index, &kind) in (0u32..).zip(&kinds) {
            self.operand(index, kind)?;
        }
        let memory = (0..self.instruction.op_count()).any(|index| is_memory(self.instruction.op_kind(index)));
        if memory
            && !self.within
            && self.instruction.segment_prefix() == Register::None
            && self.random.percent(12)
        {
            let segment = if self.mode == Mode::User32 {
                self.random.pick(&[Register::ES, Register::SS, Register::DS])
            } else {
                self.random.pick(&[Register::FS, Register::GS])
            };
            self.instruction.set_segment_prefix(segment);
        }
        let string = self.instruction.is_string_instruction();
        let may_repeat = self.form.can_use_rep_prefix();
        if string && may_repeat && self.random.percent(60) {
            self.instruction.set_has_rep_prefix(true);
        } else if string && self.form.can_use_repne_prefix() && self.random.percent(60) {
            self.instruction.set_has_repne_prefix(true);
        }
        if self.form.can_use_lock_prefix()
            && self.instruction.op0_kind() == OpKind::Memory
            && self.random.percent(40)
        {
            self.instruction.set_has_lock_prefix(true);
        }
        debug_assert!(!vex || !self.instruction.has_lock_prefix());
        Some(())
    }

    fn gpr(&mut self, size: u32) -> Register {
        let most = if self.mode == Mode::User32 { 8 } else { 16 };
        // The same register twice, and RSP and RBP, are where encodings and implementations have their corners.
        let earlier = self.instruction.op0_register();
        let number = match self.random.below(16) {
            0 if earlier.is_gpr() => earlier.full_register().number() as u32,
            1 => 4,
            2 => 5,
            _ => self.random.below(most) as u32,
        };
        match size {
            16 => Register::AX + number,
            32 => Register::EAX + number,
            _ => Register::RAX + number,
        }
    }

    fn gpr8(&mut self) -> Register {
        let earlier = self.instruction.op0_register();
        if earlier.is_gpr8() && self.random.percent(8) {
            return earlier;
        }
        let legacy = self.mode == Mode::User32 || self.random.percent(40);
        if legacy { GPR8[self.random.below(8) as usize] } else { self.random.pick(&GPR8) }
    }

    fn register(&mut self, index: u32, register: Register) {
        self.instruction.set_op_kind(index, OpKind::Register);
        self.instruction.set_op_register(index, register);
    }

    fn operand(&mut self, index: u32, kind: OpCodeOperandKind) -> Option<()> {
        use OpCodeOperandKind as K;
        let memory = self.random.percent(60);
        let vectors = if self.mode == Mode::User32 { 8 } else { 16 };
        match kind {
            K::mem => self.memory(index),
            K::r8_or_mem
            | K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::ymm_or_mem
                if memory =>
            {
                self.memory(index);
            }
            K::r8_or_mem | K::r8_reg | K::r8_opcode => {
                let register = self.gpr8();
                self.register(index, register);
            }
            K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
                let register = self.gpr(16);
                self.register(index, register);
            }
            K::r32_or_mem | K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode | K::r32_vvvv => {
                let register = self.gpr(32);
                self.register(index, register);
            }
            K::r64_or_mem | K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode | K::r64_vvvv => {
                let register = self.gpr(64);
                self.register(index, register);
            }
            K::mm_or_mem | K::mm_reg | K::mm_rm => {
                let register = Register::MM0 + self.random.below(8) as u32;
                self.register(index, register);
            }
            K::mem_vsib32x | K::mem_vsib64x => self.memory_vsib(index, Register::XMM0),
            K::mem_vsib32y | K::mem_vsib64y => self.memory_vsib(index, Register::YMM0),
            K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 => {
                let register = Register::YMM0 + self.random.below(vectors) as u32;
                self.register(index, register);
            }
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 => {
                let register = Register::XMM0 + self.random.below(vectors) as u32;
                self.register(index, register);
            }
            K::st0 => self.register(index, Register::ST0),
            K::sti_opcode => {
                let register = Register::ST0 + self.random.below(8) as u32;
                self.register(index, register);
            }
            K::seg_reg => {
                let register = self.random.pick(&SEGMENTS);
                self.register(index, register);
            }
            K::cr_reg => {
                let register = self.random.pick(&[
                    Register::CR0,
                    Register::CR2,
                    Register::CR3,
                    Register::CR4,
                    Register::CR8,
                ]);
                self.register(index, register);
            }
            K::dr_reg => {
                let register = Register::DR0 + self.random.below(8) as u32;
                self.register(index, register);
            }
            K::es => self.register(index, Register::ES),
            K::cs => self.register(index, Register::CS),
            K::ss => self.register(index, Register::SS),
            K::ds => self.register(index, Register::DS),
            K::fs => self.register(index, Register::FS),
            K::gs => self.register(index, Register::GS),
            K::al => self.register(index, Register::AL),
            K::cl => self.register(index, Register::CL),
            K::ax => self.register(index, Register::AX),
            K::dx => self.register(index, Register::DX),
            K::eax => self.register(index, Register::EAX),
            K::rax => self.register(index, Register::RAX),
            K::mem_offs => self.absolute(index),
            K::seg_rSI => {
                let kind = self.string_kind(OpKind::MemorySegSI, OpKind::MemorySegESI, OpKind::MemorySegRSI);
                self.instruction.set_op_kind(index, kind);
            }
            K::es_rDI => {
                let kind = self.string_kind(OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI);
                self.instruction.set_op_kind(index, kind);
            }
            K::seg_rDI => {
                let kind = self.string_kind(OpKind::MemorySegDI, OpKind::MemorySegEDI, OpKind::MemorySegRDI);
                self.instruction.set_op_kind(index, kind);
            }
            K::seg_rBX_al => {
                self.instruction.set_op_kind(index, OpKind::Memory);
                let base = match (self.mode, self.other_address_size) {
                    (Mode::User32, true) => Register::BX,
                    (Mode::User32, false) | (_, true) => Register::EBX,
                    _ => Register::RBX,
                };
                self.instruction.set_memory_base(base);
                self.instruction.set_memory_index(Register::AL);
            }
            K::imm8
            | K::imm8_const_1
            | K::imm8sex16
            | K::imm8sex32
            | K::imm8sex64
            | K::imm16
            | K::imm32
            | K::imm32sex64
            | K::imm64 => self.immediate(index, kind),
            K::br16_1 | K::br32_1 | K::br64_1 | K::br16_2 | K::br32_4 | K::br64_4 => self.branch(index, kind),
            K::farbr2_2 | K::farbr4_2 => self.far_branch(index, kind),
            _ => return None,
        }
        Some(())
    }

    fn string_kind(&mut self, bits_16: OpKind, bits_32: OpKind, bits_64: OpKind) -> OpKind {
        match (self.mode, self.other_address_size) {
            (Mode::User32, true) => bits_16,
            (Mode::User32, false) | (_, true) => bits_32,
            _ => bits_64,
        }
    }

    fn immediate(&mut self, index: u32, kind: OpCodeOperandKind) {
        use OpCodeOperandKind as K;
        let value = self.random.edge();
        // The second immediate of ENTER.
        if kind == K::imm8 && index > 0 && self.form.op_kind(index - 1) == K::imm16 {
            self.instruction.set_op_kind(index, OpKind::Immediate8_2nd);
            let levels = if self.random.percent(70) { self.random.below(4) as u8 } else { value as u8 };
            self.instruction.set_immediate8_2nd(levels);
            return;
        }
        let op_kind = match kind {
            K::imm8 | K::imm8_const_1 => OpKind::Immediate8,
            K::imm8sex16 => OpKind::Immediate8to16,
            K::imm8sex32 => OpKind::Immediate8to32,
            K::imm8sex64 => OpKind::Immediate8to64,
            K::imm16 => OpKind::Immediate16,
            K::imm32 => OpKind::Immediate32,
            K::imm32sex64 => OpKind::Immediate32to64,
            _ => OpKind::Immediate64,
        };
        self.instruction.set_op_kind(index, op_kind);
        let mnemonic = self.instruction.mnemonic();
        match op_kind {
            OpKind::Immediate8 => {
                let mut value = value as u8;
                // That vector is a system call of the host.
                if mnemonic == Mnemonic::Int && value == 0x80 {
                    value = 0x81;
                }
                self.instruction.set_immediate8(if kind == K::imm8_const_1 { 1 } else { value });
            }
            OpKind::Immediate8to16 => self.instruction.set_immediate8to16(i16::from(value as i8)),
            OpKind::Immediate8to32 => self.instruction.set_immediate8to32(i32::from(value as i8)),
            OpKind::Immediate8to64 => self.instruction.set_immediate8to64(i64::from(value as i8)),
            OpKind::Immediate16 => {
                // RET and ENTER move the stack pointer by it.
                let small = matches!(mnemonic, Mnemonic::Ret | Mnemonic::Retf | Mnemonic::Enter);
                let value = if small && self.random.percent(80) { self.random.below(64) * 4 } else { value };
                self.instruction.set_immediate16(value as u16);
            }
            OpKind::Immediate32 => self.instruction.set_immediate32(value as u32),
            OpKind::Immediate32to64 => self.instruction.set_immediate32to64(i64::from(value as i32)),
            _ => self.instruction.set_immediate64(value),
        }
    }

    /// A branch to somewhere in the code pages, mostly; a long one now and then to where no code is.
    fn branch(&mut self, index: u32, kind: OpCodeOperandKind) {
        use OpCodeOperandKind as K;
        let short = matches!(kind, K::br16_1 | K::br32_1 | K::br64_1);
        let near = (self.address + 2).wrapping_add_signed(self.random.bits() as i8 as i64 / 2 * 2 + 3);
        let target = match self.random.below(10) {
            _ if short => near,
            0 => self.random.pick(&[CODE - 1, DATA + PAGE, CODE + CODE_PAGES * PAGE, 0x5000_0000]),
            1..4 => near,
            _ => CODE + self.random.below(CODE_PAGES * PAGE),
        };
        let op_kind = match kind {
            K::br16_1 | K::br16_2 => OpKind::NearBranch16,
            K::br32_1 | K::br32_4 => OpKind::NearBranch32,
            _ => OpKind::NearBranch64,
        };
        self.instruction.set_op_kind(index, op_kind);
        match op_kind {
            OpKind::NearBranch16 => self.instruction.set_near_branch16(target as u16),
            OpKind::NearBranch32 => self.instruction.set_near_branch32(target as u32),
            _ => self.instruction.set_near_branch64(target),
        }
    }

    fn far_branch(&mut self, index: u32, kind: OpCodeOperandKind) {
        let target = CODE + self.random.below(CODE_PAGES * PAGE);
        if kind == OpCodeOperandKind::farbr2_2 {
            self.instruction.set_op_kind(index, OpKind::FarBranch16);
            self.instruction.set_far_branch16(target as u16);
        } else {
            self.instruction.set_op_kind(index, OpKind::FarBranch32);
            self.instruction.set_far_branch32(target as u32);
        }
        let selector = self.random.pick(&super::fill::SELECTORS);
        self.instruction.set_far_branch_selector(selector);
    }

    /// An address that stands in the instruction whole.
    fn absolute(&mut self, index: u32) {
        self.instruction.set_op_kind(index, OpKind::Memory);
        let narrow = self.mode == Mode::User32 || self.other_address_size;
        let target = DATA + self.random.below(DATA_BYTES);
        let target = match self.random.below(10) {
            0 if !narrow => self.random.edge(),
            _ => target,
        };
        let size = match (self.mode, self.other_address_size) {
            (Mode::User32, true) => 2,
            (Mode::User32, false) | (_, true) => 4,
            _ => 8,
        };
        self.instruction.set_memory_displacement64(target & u64::MAX >> (64 - 8 * size));
        self.instruction.set_memory_displ_size(size);
    }

    /// A 16-bit address.
    fn memory_16(&mut self) {
        use Register::{BP, BX, DI, None, SI};
        const FORMS: [(Register, Register); 8] =
            [(BX, SI), (BX, DI), (BP, SI), (BP, DI), (SI, None), (DI, None), (BP, None), (BX, None)];
        let (base, index) = self.random.pick(&FORMS);
        self.instruction.set_memory_base(base);
        self.instruction.set_memory_index(index);
        let displacement = self.random.edge() as i16;
        let size = if i16::from(displacement as i8) == displacement { 1 } else { 2 };
        self.instruction.set_memory_displ_size(size);
        self.instruction.set_memory_displacement64(u64::from(displacement as u16));
    }

    /// A base and a vector of indices, which begins with `first` of the vector registers.
    fn memory_vsib(&mut self, index: u32, first: Register) {
        self.instruction.set_op_kind(index, OpKind::Memory);
        let narrow = self.mode == Mode::User32 || self.other_address_size;
        let vectors = if self.mode == Mode::User32 { 8 } else { 16 };
        self.instruction.set_memory_index(first + self.random.below(vectors) as u32);
        self.instruction.set_memory_index_scale(1 << self.random.below(4));
        let displacement = if self.random.percent(85) {
            let register = self.gpr(if narrow { 32 } else { 64 });
            self.instruction.set_memory_base(register);
            i64::from(self.random.bits() as i8)
        } else {
            (DATA + self.random.below(DATA_BYTES)) as i64
        };
        self.instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
        let mask = if narrow { 0xFFFF_FFFF } else { u64::MAX };
        self.instruction.set_memory_displacement64(displacement as u64 & mask);
    }

    fn memory(&mut self, index: u32) {
        self.instruction.set_op_kind(index, OpKind::Memory);
        if self.within {
            self.instruction.set_memory_base(self.random.pick(&POINTERS));
            if self.random.percent(40) {
                self.instruction.set_memory_index(INDEX);
                self.instruction.set_memory_index_scale(1 << self.random.below(4));
            }
            let displacement = i64::from(self.random.bits() as i8) as u64;
            self.instruction.set_memory_displ_size(1);
            self.instruction.set_memory_displacement64(displacement);
            return;
        }
        let bits_64 = self.mode != Mode::User32;
        if !bits_64 && self.other_address_size {
            self.memory_16();
            return;
        }
        let narrow = !bits_64 || self.other_address_size;
        let displacement = match self.random.below(4) {
            0 => self.random.edge() as i32,
            _ => self.random.edge() as i8 as i32,
        };
        let shape = self.random.below(100);
        if shape < 10 && bits_64 {
            // RIP-relative.
            let target = DATA + self.random.below(DATA_BYTES);
            self.instruction.set_memory_base(if narrow { Register::EIP } else { Register::RIP });
            self.instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
            self.instruction.set_memory_displacement64(target);
            return;
        }
        let size = if narrow { 32 } else { 64 };
        let base = shape < 85;
        let with_index = !base || shape >= 50;
        if base {
            let register = self.gpr(size);
            self.instruction.set_memory_base(register);
        }
        if with_index && (base || self.random.percent(70)) {
            let register = self.gpr(size);
            // RSP cannot be one.
            if !matches!(register, Register::RSP | Register::ESP) {
                self.instruction.set_memory_index(register);
                self.instruction.set_memory_index_scale(1 << self.random.below(4));
            }
        }
        if self.instruction.memory_base() == Register::None {
            // Then the displacement has 32 bits and leads near the data.
            let target = DATA + self.random.below(DATA_BYTES);
            let target = if self.random.percent(85) { target } else { displacement as u32 as u64 };
            self.instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
            self.instruction.set_memory_displacement64(if narrow {
                target & 0xFFFF_FFFF
            } else {
                target as i32 as i64 as u64
            });
            return;
        }
        if self.random.percent(70) {
            let wide = displacement != i32::from(displacement as i8) || self.random.percent(10);
            self.instruction.set_memory_displ_size(match (wide, narrow) {
                (false, _) => 1,
                (true, true) => 4,
                (true, false) => 8,
            });
            let value = i64::from(displacement) as u64;
            self.instruction.set_memory_displacement64(if narrow { value & 0xFFFF_FFFF } else { value });
        }
    }
}

fn is_memory(kind: OpKind) -> bool {
    use OpKind as K;
    matches!(
        kind,
        K::Memory
            | K::MemorySegSI
            | K::MemorySegESI
            | K::MemorySegRSI
            | K::MemorySegDI
            | K::MemorySegEDI
            | K::MemorySegRDI
    )
}

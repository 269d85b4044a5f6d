// SPDX-License-Identifier: MIT OR Apache-2.0
//! From an instruction to a state to run it from: registers that make its addresses meet the test's pages, and values in which errors show.

use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::limits::{canonical, defined, harmless, is_bit_test, is_canonical};
use super::{Encoded, Start, memory_address, register_value};
use crate::layout::{CODE, CODE_PAGES, DATA, DATA_BYTES, PAGE};
use crate::random::Random;
use crate::state::{Mode, State, rflags, selector};

/// Selectors for far transfers and segment loads: good ones, others that Linux and the guest agree on, and the null selector.
pub(super) const SELECTORS: [u16; 8] = [0x33, 0x33, 0x23, 0x2B, 0x00, 0x10, 0x30, 0xFFF8];

const RSP: usize = 4;

/// Registers for an instruction; `None` if this draw would reach outside the test's pages.
pub fn fill(random: &mut Random, factory: &mut InstructionInfoFactory, encoded: &Encoded) -> Option<Start> {
    let instruction = &encoded.instruction;
    let mut filler = Filler {
        random,
        instruction,
        mode: encoded.mode,
        gprs: [0; 16],
        fixed: [false; 16],
        fs_base: 0,
        gs_base: 0,
        pokes: Vec::new(),
    };
    for index in 0..16 {
        filler.gprs[index] = if filler.random.percent(10) { filler.target(8) } else { filler.random.edge() };
    }
    filler.fs_base = filler.segment_base();
    filler.gs_base = filler.segment_base();
    if !instruction.is_invalid() {
        filler.stack();
        filler.string();
        filler.memory();
        filler.special();
    }
    let flags = filler.flags();
    let Filler { gprs, fs_base, gs_base, pokes, .. } = filler;
    let mut state = State {
        gprs,
        rip: encoded.address,
        rflags: flags,
        fs_base,
        gs_base,
        selectors: [0; 6],
        vector: None,
    };
    if encoded.mode == Mode::User32 {
        for gpr in &mut state.gprs {
            *gpr &= 0xFFFF_FFFF;
        }
    }
    let fits =
        instruction.is_invalid() || (harmless(factory, instruction, &state) && defined(instruction, &state));
    fits.then_some(Start { state, pokes })
}

struct Filler<'a> {
    random: &'a mut Random,
    instruction: &'a Instruction,
    mode: Mode,
    gprs: [u64; 16],
    /// Registers whose value must stay.
    fixed: [bool; 16],
    fs_base: u64,
    gs_base: u64,
    pokes: Vec<(u64, Vec<u8>)>,
}

impl Filler<'_> {
    /// An address for an operand of `size` bytes: mostly good, often across pages, sometimes bad.
    fn target(&mut self, size: u64) -> u64 {
        let size = size.max(1);
        let across =
            |random: &mut Random, page: u64| DATA + page * PAGE - random.below(size) - u64::from(size == 1);
        let within = |random: &mut Random, page: u64| DATA + page * PAGE + random.below(PAGE - size + 1);
        match self.random.below(200) {
            0..100 => {
                let page = self.random.pick(&[1, 1, 2, 4, 6]);
                within(self.random, page)
            }
            100..130 => {
                let page = self.random.pick(&[1, 2, 4, 6]);
                let unaligned = within(self.random, page);
                unaligned & !(size.next_power_of_two() - 1)
            }
            130..156 => across(self.random, 2),
            156..166 => {
                let page = self.random.pick(&[3, 4]);
                across(self.random, page)
            }
            166..176 => {
                let page = self.random.pick(&[3, 8]);
                within(self.random, page)
            }
            176..182 => {
                let page = self.random.pick(&[0, 5, 7, 9]);
                within(self.random, page)
            }
            182..192 => {
                let page = self.random.pick(&[1, 5, 6, 7, 8, 9]);
                across(self.random, page)
            }
            _ if self.mode == Mode::User32 => within(self.random, 5),
            192..195 => self.random.bits() | 1 << 47 & !(1 << 63),
            195 => 0x8000_0000_0000u64.wrapping_sub(self.random.below(2 * size)),
            196 => 0xFFFF_8000_0000_0000u64.wrapping_sub(self.random.below(2 * size)),
            197 => self.random.below(2 * size).wrapping_sub(size),
            198 => 0xFFFF_8000_0000_0000 | self.random.bits() >> 17,
            _ => (1 << 32) - 1 - self.random.below(size),
        }
    }

    fn segment_base(&mut self) -> u64 {
        canonical(match self.random.below(4) {
            0 => 0,
            1 => self.random.below(PAGE),
            2 => DATA + self.random.below(DATA_BYTES),
            _ => self.random.edge(),
        })
    }

    fn flags(&mut self) -> u64 {
        let mut flags = self.random.bits() & rflags::STATUS | rflags::IF | 2;
        if self.random.percent(30) {
            flags |= rflags::DF;
        }
        if self.random.percent(4) && self.mode != Mode::Kernel64 {
            flags |= rflags::AC;
        }
        if self.random.percent(2) {
            flags |= rflags::TF;
        }
        if self.random.percent(10) {
            flags |= rflags::ID;
        }
        flags
    }

    fn fix(&mut self, register: usize, value: u64) {
        self.gprs[register] = value;
        self.fixed[register] = true;
    }

    fn stack(&mut self) {
        if !self.instruction.is_stack_instruction() {
            return;
        }
        let mut top = self.target(8);
        if self.random.percent(70) {
            top &= !7;
        }
        self.fix(RSP, top);
        if matches!(self.instruction.mnemonic(), Mnemonic::Leave | Mnemonic::Enter) {
            let frame = self.target(8);
            self.fix(5, frame);
        }
        self.poke_stack(top);
    }

    /// What instructions that pop find.
    fn poke_stack(&mut self, top: u64) {
        let flags = self.flags();
        let target = self.code_target();
        match self.instruction.mnemonic() {
            Mnemonic::Ret => self.poke(top, &target.to_le_bytes()),
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
                let other = self.random.bits();
                let value = if self.random.percent(50) { flags } else { other };
                self.poke(top, &value.to_le_bytes());
            }
            Mnemonic::Retf | Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => {
                let size = match self.instruction.code() {
                    Code::Retfw | Code::Retfw_imm16 | Code::Iretw => 2,
                    Code::Retfd | Code::Retfd_imm16 | Code::Iretd => 4,
                    _ => 8,
                };
                // One fault at a time: their order is not defined.
                let wrong = self.random.below(10);
                let good_top = DATA + PAGE + self.random.below(2 * PAGE - 1024);
                let top = if wrong == 0 { top } else { good_top };
                self.fix(RSP, top);
                let target = if wrong == 1 { target } else { CODE + self.random.below(CODE_PAGES * PAGE) };
                let skips = self.instruction.op_count() != 0 && self.instruction.immediate16() > 256;
                let code = if matches!(wrong, 2..4) && !skips {
                    self.random.pick(&SELECTORS)
                } else {
                    self.code_selector()
                };
                let data = if wrong == 4 { self.random.pick(&[0x28u16, 0, 0x18, 0x33]) } else { 0x2B };
                let (code, data) = (u64::from(code), u64::from(data));
                let stack = self.target(8);
                let flags = flags & !rflags::TF;
                let frame: Vec<u64> = if self.instruction.mnemonic() == Mnemonic::Retf {
                    vec![target, code]
                } else {
                    vec![target, code, flags, stack, data]
                };
                let bytes: Vec<u8> =
                    frame.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect();
                self.poke(top, &bytes);
            }
            _ => {}
        }
    }

    /// The code segment that the instruction runs in.
    fn code_selector(&self) -> u16 {
        if self.mode == Mode::User32 { selector::CODE_32 } else { selector::CODE_64 }
    }

    /// Where a branch through a register or memory goes: not back to the instruction, which would never end.
    fn code_target(&mut self) -> u64 {
        loop {
            let target = self.any_code_target();
            if target.wrapping_sub(self.instruction.ip()) >= 15 {
                return target;
            }
        }
    }

    fn any_code_target(&mut self) -> u64 {
        match self.random.below(20) {
            0 => DATA + self.random.below(DATA_BYTES),
            1 => 0x8000_0000_0000 | self.random.bits() >> 20,
            2 => CODE - 1 + self.random.below(2) * (CODE_PAGES * PAGE + 1),
            _ => CODE + self.random.below(CODE_PAGES * PAGE),
        }
    }

    fn string(&mut self) {
        let instruction = self.instruction;
        if !instruction.is_string_instruction()
            && !matches!(
                instruction.mnemonic(),
                Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu
            )
        {
            return;
        }
        let size = instruction.memory_size().size() as u64;
        let source = self.target(size);
        self.fix(6, source);
        // Overlapping copies now and then.
        let destination = if self.random.percent(25) {
            source.wrapping_add(self.random.below(64)).wrapping_sub(32)
        } else {
            self.target(size)
        };
        self.fix(7, destination);
        let count = match self.random.below(20) {
            0 => self.random.edge(),
            1 => self.random.below(3000),
            2 => 0,
            _ => self.random.below(24),
        };
        self.fix(1, count);
        let equal = self.random.percent(60);
        if equal
            && matches!(
                instruction.mnemonic(),
                Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq
            )
        {
            let byte = self.gprs[0] as u8;
            self.gprs[0] = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101);
            let bytes = vec![byte; self.random.below(64) as usize];
            self.poke(destination, &bytes);
        }
        if equal
            && matches!(
                instruction.mnemonic(),
                Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq
            )
        {
            let byte = self.random.bits() as u8;
            let bytes = vec![byte; self.random.below(64) as usize];
            self.poke(destination, &bytes);
            self.poke(source, &bytes);
        }
    }

    /// Solves the operand in memory for a target, by its base, its index or the segment's base.
    fn memory(&mut self) {
        let instruction = self.instruction;
        let has_memory =
            (0..instruction.op_count()).any(|index| instruction.op_kind(index) == OpKind::Memory);
        if !has_memory {
            return;
        }
        let size = instruction.memory_size().size() as u64;
        let target = self.target(size);
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let narrow = base.size() == 4
            || index.size() == 4
            || instruction.memory_displ_size() == 4 && base == Register::None;
        let cut = |value: u64| if narrow { value & 0xFFFF_FFFF } else { value };
        let segment = instruction.memory_segment();
        let is_based = matches!(segment, Register::FS | Register::GS) && self.mode != Mode::User32;
        let number = |register: Register| register.is_gpr().then(|| register.full_register().number());
        if is_bit_test(instruction) {
            let offset = (self.random.edge() as i16 as i64 >> self.random.below(12)) as u64;
            let which = instruction.op1_register().full_register().number();
            let value = if self.random.percent(80) { offset } else { self.random.edge() };
            self.fix(which, value);
        }
        let address = |gprs: &[u64; 16], bases: (u64, u64)| {
            let state = State {
                gprs: *gprs,
                rip: 0,
                rflags: 0,
                fs_base: bases.0,
                gs_base: bases.1,
                selectors: [0; 6],
                vector: None,
            };
            // XLAT's index is AL.
            instruction.virtual_address(memory_operand(instruction), 0, |register, _, _| {
                register_value(&state, register)
            })
        };
        let by_base = number(base).filter(|&base| !self.fixed[base]);
        let by_index = number(index).filter(|&index| !self.fixed[index]);
        let want = target.wrapping_sub(match segment {
            Register::FS if is_based => self.fs_base,
            Register::GS if is_based => self.gs_base,
            _ => 0,
        });
        let displacement = instruction.memory_displacement64();
        let scale = u64::from(instruction.memory_index_scale());
        match (by_base, by_index) {
            (Some(base), _) if number(index) == Some(base) => {
                let value = cut(want.wrapping_sub(displacement)) / (1 + scale);
                self.gprs[base] = value | if narrow { self.random.bits() << 32 } else { 0 };
            }
            (Some(base), _) => {
                self.gprs[base] = 0;
                let rest = address(&self.gprs, (0, 0)).unwrap_or(0);
                self.gprs[base] =
                    cut(want.wrapping_sub(rest)) | if narrow { self.random.bits() << 32 } else { 0 };
            }
            (None, Some(index)) => {
                self.gprs[index] = 0;
                let rest = address(&self.gprs, (0, 0)).unwrap_or(0);
                let value = cut(want.wrapping_sub(rest)) / scale;
                self.gprs[index] = value | if narrow { self.random.bits() << 32 } else { 0 };
            }
            (None, None) => {}
        }
        if is_based && self.random.percent(40) {
            let now = address(&self.gprs, (0, 0)).unwrap_or(0);
            let needed = target.wrapping_sub(now);
            if is_canonical(needed) {
                match segment {
                    Register::FS => self.fs_base = needed,
                    _ => self.gs_base = needed,
                }
            }
        }
        if let Some(address) = address(&self.gprs, (self.fs_base, self.gs_base)) {
            self.poke_operand(address, size);
        }
    }

    /// What the operand in memory holds.
    fn poke_operand(&mut self, address: u64, size: u64) {
        let instruction = self.instruction;
        let value = match instruction.mnemonic() {
            Mnemonic::Jmp | Mnemonic::Call => {
                let target = self.code_target();
                let is_far = instruction.is_jmp_far_indirect() || instruction.is_call_far_indirect();
                if is_far {
                    let selector = self.random.pick(&SELECTORS);
                    let bytes = target.to_le_bytes();
                    let offset = size.saturating_sub(2) as usize;
                    let mut pointer = bytes[..offset.min(8)].to_vec();
                    pointer.extend(selector.to_le_bytes());
                    self.poke(address, &pointer);
                    return;
                }
                target
            }
            Mnemonic::Cmpxchg if self.random.percent(50) => self.gprs[0],
            Mnemonic::Cmpxchg8b if self.random.percent(20) => self.gprs[0] & 0xFFFF_FFFF,
            Mnemonic::Cmpxchg8b if self.random.percent(50) => self.gprs[0] & 0xFFFF_FFFF | self.gprs[2] << 32,
            Mnemonic::Cmpxchg16b if self.random.percent(50) => {
                let (low, high) = (self.gprs[0], self.gprs[2]);
                if self.random.percent(70) {
                    self.poke(address.wrapping_add(8), &high.to_le_bytes());
                }
                low
            }
            Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss => return,
            Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => {
                // As LDMXCSR; mostly without reserved bits, which would be #GP.
                let reserved = if self.random.percent(20) { !0xFFFF & !(1 << 17) } else { 0 };
                let mxcsr = self.random.edge() & (0xFFFF | reserved);
                self.poke(address.wrapping_add(24), &mxcsr.to_le_bytes()[..4]);
                return;
            }
            // Without the mode for misaligned operands, which not every processor has.
            Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => self.random.edge() & !(1 << 17),
            _ if self.random.percent(60) => self.random.edge(),
            _ => return,
        };
        self.poke(address, &value.to_le_bytes()[..(size as usize).min(8)]);
    }

    /// Writes as much of `bytes` as lies in the data pages.
    fn poke(&mut self, address: u64, bytes: &[u8]) {
        for (offset, &byte) in (0..).zip(bytes) {
            let at = address.wrapping_add(offset);
            if crate::layout::data_rights(at) == crate::layout::PageRights::None {
                continue;
            }
            match self.pokes.last_mut() {
                Some((start, run)) if *start + run.len() as u64 == at && *start / PAGE == at / PAGE => {
                    run.push(byte)
                }
                _ => self.pokes.push((at, vec![byte])),
            }
        }
    }

    /// Registers that an instruction uses in a way of its own.
    fn special(&mut self) {
        let instruction = self.instruction;
        match instruction.mnemonic() {
            Mnemonic::Jmp | Mnemonic::Call if instruction.op0_kind() == OpKind::Register => {
                let target = self.code_target();
                let register = instruction.op0_register().full_register().number();
                if !self.fixed[register] {
                    self.gprs[register] = target;
                }
            }
            Mnemonic::Div | Mnemonic::Idiv if self.random.percent(60) => self.dividend(),
            Mnemonic::Mov if instruction.op0_register().is_segment_register() => self.selector_operand(1),
            Mnemonic::Lar | Mnemonic::Lsl => self.selector_operand(1),
            Mnemonic::Verr | Mnemonic::Verw => self.selector_operand(0),
            Mnemonic::Loop
            | Mnemonic::Loope
            | Mnemonic::Loopne
            | Mnemonic::Jcxz
            | Mnemonic::Jecxz
            | Mnemonic::Jrcxz
                if self.random.percent(60) =>
            {
                let garbage = self.random.pick(&[0, !0xFFFF, !0xFFFF_FFFF]);
                self.gprs[1] = self.random.below(3) | garbage & self.random.bits();
            }
            Mnemonic::Wrfsbase | Mnemonic::Wrgsbase => {
                let register = instruction.op0_register().full_register().number();
                if self.random.percent(90) {
                    self.gprs[register] = canonical(self.gprs[register]);
                }
            }
            _ => {}
        }
    }

    /// A dividend whose quotient is near the edge of what fits, for the divisor that is there.
    fn dividend(&mut self) {
        let instruction = self.instruction;
        let signed = instruction.mnemonic() == Mnemonic::Idiv;
        let (size, divisor) = if instruction.op0_kind() == OpKind::Register {
            let register = instruction.op0_register();
            let state = State {
                gprs: self.gprs,
                rip: 0,
                rflags: 0,
                fs_base: 0,
                gs_base: 0,
                selectors: [0; 6],
                vector: None,
            };
            (register.size(), register_value(&state, register).unwrap_or(1))
        } else {
            let size = instruction.memory_size().size();
            let mut bytes = [0; 8];
            if let Some((_, poked)) = self.pokes.last() {
                let length = poked.len().min(size);
                bytes[..length].copy_from_slice(&poked[..length]);
            } else {
                return;
            }
            (size, u64::from_le_bytes(bytes))
        };
        let bits = 8 * size as u32;
        let shift = 64 - bits;
        let edge = i128::from(self.random.below(3)) - 1;
        let (quotient, divisor) = if signed {
            let most = if self.random.percent(50) {
                i128::from(i64::MAX >> shift)
            } else {
                i128::from(i64::MIN >> shift)
            };
            (most + edge, i128::from((divisor << shift) as i64 >> shift))
        } else {
            (i128::from(u64::MAX >> shift) + edge, i128::from(divisor << shift >> shift))
        };
        let quotient =
            if self.random.percent(50) { quotient } else { i128::from(self.random.edge() as i64 >> shift) };
        let remainder = if divisor == 0 { 0 } else { i128::from(self.random.bits() >> 1) % divisor };
        let dividend = quotient.wrapping_mul(divisor).wrapping_add(remainder) as u128;
        let mask = u64::MAX >> shift;
        if size == 1 {
            self.gprs[0] = self.gprs[0] & !0xFFFF | dividend as u64 & 0xFFFF;
        } else {
            self.gprs[0] = self.gprs[0] & !mask | dividend as u64 & mask;
            self.gprs[2] = self.gprs[2] & !mask | (dividend >> bits) as u64 & mask;
        }
    }

    fn selector_operand(&mut self, operand: u32) {
        let selector = u64::from(self.random.pick(&SELECTORS));
        match self.instruction.op_kind(operand) {
            OpKind::Register => {
                let register = self.instruction.op_register(operand).full_register().number();
                if !self.fixed[register] {
                    self.gprs[register] = self.gprs[register] & !0xFFFF | selector;
                }
            }
            _ => {
                let state = State {
                    gprs: self.gprs,
                    rip: 0,
                    rflags: 0,
                    fs_base: self.fs_base,
                    gs_base: self.gs_base,
                    selectors: [0; 6],
                    vector: None,
                };
                if let Some(address) = memory_address(self.instruction, &state) {
                    self.poke(address, &selector.to_le_bytes()[..2]);
                }
            }
        }
    }
}

fn memory_operand(instruction: &Instruction) -> u32 {
    (0..instruction.op_count()).find(|&index| instruction.op_kind(index) == OpKind::Memory).unwrap_or(0)
}

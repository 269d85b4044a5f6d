// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87 control instructions and the environment that FNSTENV, FNSAVE, FLDENV and FRSTOR move.
//!
//! They are not left to the host: its FSTENV would show host addresses, and cannot make the real-address form.
//! The waiting ones among them (FLDCW, FLDENV, FRSTOR) come after the check for a pending exception.

use super::vector_state::{EXCEPTIONS, VectorState};

/// The four forms of an x87 environment (Intel SDM 1 8.1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// 16-bit operand size in protected mode: 14 bytes.
    Protected16,
    /// 32-bit operand size in protected or 64-bit mode: 28 bytes.
    Protected32,
    /// 16-bit operand size in real-address or virtual-8086 mode: 14 bytes.
    Real16,
    /// 32-bit operand size in real-address or virtual-8086 mode: 28 bytes.
    Real32,
}

impl Environment {
    /// Bytes of the environment: 14 or 28. FNSAVE and FRSTOR move 80 more.
    pub const fn size(self) -> usize {
        match self {
            Self::Protected16 | Self::Real16 => 14,
            Self::Protected32 | Self::Real32 => 28,
        }
    }

    /// The environment's words, as 16-bit or 32-bit units of memory.
    const fn unit(self) -> usize {
        self.size() / 7
    }
}

/// Bytes that FNSAVE and FRSTOR move at most: an environment and eight registers.
const SAVE_MAX: usize = 28 + 80;
const TAG_VALID: u16 = 0;
const TAG_ZERO: u16 = 1;
const TAG_SPECIAL: u16 = 2;
const TAG_EMPTY: u16 = 3;

impl VectorState {
    /// FNINIT. The data registers keep their contents and become empty.
    pub fn fninit(&mut self) {
        self.fcw = Self::FCW_INITIAL;
        self.replace_fsw(0);
        self.ftw = 0;
        self.set_x87_pointers(0, 0, 0);
    }

    /// FNCLEX.
    pub fn fnclex(&mut self) {
        self.fsw &= 0x7F00;
    }

    /// FLDCW.
    pub fn fldcw(&mut self, value: u16) {
        self.set_x87_words(value, self.fsw, self.ftw);
    }

    /// FNSTENV: the environment's bytes, of which `form.size()` count. Then all exceptions are masked.
    ///
    /// FCS and FDS are stored as zero: the processor model says so in CPUID.(7,0):EBX bit 13.
    pub fn fnstenv(&mut self, form: Environment) -> [u8; 28] {
        let pointers = match form {
            Environment::Protected16 => [self.fip as u32, 0, self.fdp as u32, 0],
            Environment::Protected32 => {
                [self.fip as u32, u32::from(self.fop) << 16, self.fdp as u32, 0xFFFF_0000]
            }
            Environment::Real16 | Environment::Real32 => {
                let high = |address: u64| (address as u32 >> 16) << 12;
                [
                    self.fip as u32 & 0xFFFF,
                    high(self.fip) | u32::from(self.fop),
                    self.fdp as u32 & 0xFFFF,
                    high(self.fdp),
                ]
            }
        };
        let upper_ones = |value: u16| u32::from(value) | 0xFFFF_0000;
        let words = [
            upper_ones(self.fcw),
            upper_ones(self.fsw),
            upper_ones(self.full_ftw()),
            pointers[0],
            pointers[1],
            pointers[2],
            pointers[3],
        ];
        let mut bytes = [0; 28];
        let unit = form.unit();
        for (word, place) in words.iter().zip(bytes.chunks_exact_mut(unit)) {
            place.copy_from_slice(&word.to_le_bytes()[..unit]);
        }
        self.fldcw(self.fcw | EXCEPTIONS);
        bytes
    }

    /// FLDENV from `form.size()` bytes.
    ///
    /// # Panics
    ///
    /// If `bytes` is shorter.
    pub fn fldenv(&mut self, form: Environment, bytes: &[u8]) {
        let unit = form.unit();
        let words: [u32; 7] = std::array::from_fn(|index| {
            let mut word = [0; 4];
            word[..unit].copy_from_slice(&bytes[index * unit..][..unit]);
            u32::from_le_bytes(word)
        });
        let [fcw, fsw, ftw, fip, second, fdp, fourth] = words;
        let abridged = (0..8)
            .filter(|index| ftw >> (2 * index) & 3 != u32::from(TAG_EMPTY))
            .fold(0, |all, i| all | 1 << i);
        self.replace_fsw(fsw as u16);
        self.set_x87_words(fcw as u16, fsw as u16, abridged);
        match form {
            Environment::Protected16 => self.set_x87_pointers(0, fip.into(), fdp.into()),
            Environment::Protected32 => self.set_x87_pointers((second >> 16) as u16, fip.into(), fdp.into()),
            Environment::Real16 | Environment::Real32 => {
                let address = |low: u32, high: u32| u64::from(low & 0xFFFF | high >> 12 << 16);
                self.set_x87_pointers(second as u16, address(fip, second), address(fdp, fourth));
            }
        }
    }

    /// FNSAVE: the bytes, of which `form.size() + 80` count. Then FNINIT.
    pub fn fnsave(&mut self, form: Environment) -> [u8; SAVE_MAX] {
        let mut bytes = [0; SAVE_MAX];
        bytes[..28].copy_from_slice(&self.fnstenv(form));
        for (register, place) in self.st.iter().zip(bytes[form.size()..].chunks_exact_mut(10)) {
            place.copy_from_slice(&register[..10]);
        }
        self.fninit();
        bytes
    }

    /// FRSTOR from `form.size() + 80` bytes.
    ///
    /// # Panics
    ///
    /// If `bytes` is shorter.
    pub fn frstor(&mut self, form: Environment, bytes: &[u8]) {
        self.fldenv(form, bytes);
        let (registers, _) = bytes[form.size()..][..80].as_chunks::<10>();
        for (index, &value) in registers.iter().enumerate() {
            self.set_st(index, value);
        }
    }

    /// The full tag word, two bits a physical register: what is not empty is classified by its contents.
    pub fn full_ftw(&self) -> u16 {
        (0..8).fold(0, |all, physical| {
            let tag = if self.ftw >> physical & 1 == 0 {
                TAG_EMPTY
            } else {
                classify(&self.st[(physical + 8 - self.top()) % 8])
            };
            all | tag << (2 * physical)
        })
    }

    /// MASKMOVQ and MASKMOVDQU: which bytes of the source are stored, bit n for byte n, from the mask operand's
    /// sign bits. The low eight bytes are MASKMOVQ's.
    pub fn masked_store(mask: u128) -> u16 {
        mask.to_le_bytes()
            .iter()
            .enumerate()
            .fold(0, |all, (index, byte)| all | u16::from(byte >> 7) << index)
    }

    /// Enters MMX state, as MASKMOVQ does beside its store: TOP is 0 and no register is empty.
    pub fn enter_mmx(&mut self) {
        self.replace_fsw(self.fsw & !0x3800);
        self.ftw = 0xFF;
    }

    /// The 64 bits of MMX register `index`, 0 to 7.
    pub fn mmx(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.st[(index + 8 - self.top()) % 8][..8]);
        u64::from_le_bytes(bytes)
    }
}

fn classify(register: &[u8; 16]) -> u16 {
    let mut significand = [0; 8];
    significand.copy_from_slice(&register[..8]);
    let significand = u64::from_le_bytes(significand);
    let exponent = u16::from_le_bytes([register[8], register[9]]) & 0x7FFF;
    match (exponent, significand) {
        (0, 0) => TAG_ZERO,
        (0 | 0x7FFF, _) => TAG_SPECIAL,
        (_, significand) if significand >> 63 == 0 => TAG_SPECIAL,
        _ => TAG_VALID,
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a virtual processor: their numbers, names, and where they are saved.

use super::chunk::id;

/// A register by its number in the saved-state API: 0 to 65 x64, 67 to 157 ARM64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(u8);

/// The value of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterValue {
    /// 64 bits.
    U64(u64),
    /// 128 bits: XMM, x87 and ARM64 vector registers.
    U128(u128),
    /// A segment register with its hidden part.
    Segment {
        /// Base address.
        base: u64,
        /// Limit in bytes, minus one.
        limit: u32,
        /// Selector.
        selector: u16,
        /// Type, S, DPL, P in bits 7:0; AVL, L, D/B, G in bits 15:12.
        attributes: u16,
    },
    /// GDTR or IDTR.
    Table {
        /// Base address.
        base: u64,
        /// Limit in bytes, minus one.
        limit: u16,
    },
    /// The x87 control registers.
    FpControlStatus {
        /// Control word.
        control: u16,
        /// Status word.
        status: u16,
        /// One bit a register: 1 is in use.
        tag: u8,
        /// Last opcode.
        last_opcode: u16,
        /// Last instruction pointer.
        last_rip: u64,
    },
    /// MXCSR, and the last data pointer of x87.
    XmmControlStatus {
        /// Last data pointer of x87.
        last_rdp: u64,
        /// MXCSR.
        mxcsr: u32,
        /// The bits of MXCSR that exist.
        mxcsr_mask: u32,
    },
}

impl RegisterValue {
    /// The value as a number: of segments and tables the base.
    pub fn low64(self) -> u64 {
        match self {
            Self::U64(value) => value,
            Self::U128(value) => value as u64,
            Self::Segment { base, .. } | Self::Table { base, .. } => base,
            Self::FpControlStatus { control, .. } => control.into(),
            Self::XmmControlStatus { mxcsr, .. } => mxcsr.into(),
        }
    }
}

/// How a register lies in its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    U64,
    U128,
    Segment,
    Table,
    FpControlStatus,
    XmmControlStatus,
}

/// Names of the x64 registers, by number.
const X64: [&str; 66] = [
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rip",
    "rflags",
    "xmm0",
    "xmm1",
    "xmm2",
    "xmm3",
    "xmm4",
    "xmm5",
    "xmm6",
    "xmm7",
    "xmm8",
    "xmm9",
    "xmm10",
    "xmm11",
    "xmm12",
    "xmm13",
    "xmm14",
    "xmm15",
    "st0",
    "st1",
    "st2",
    "st3",
    "st4",
    "st5",
    "st6",
    "st7",
    "fpcontrol",
    "xmmcontrol",
    "cr0",
    "cr2",
    "cr3",
    "cr4",
    "cr8",
    "efer",
    "dr0",
    "dr1",
    "dr2",
    "dr3",
    "dr6",
    "dr7",
    "es",
    "cs",
    "ss",
    "ds",
    "fs",
    "gs",
    "ldtr",
    "tr",
    "idtr",
    "gdtr",
];

/// Number of the first ARM64 register.
const FIRST_ARM64: usize = 67;

/// The ARM64 registers by number, each with its chunk and its place there, counted in its own size.
const ARM64: [(&str, u32, u8); 91] = [
    ("x0", id::GENERAL, 0),
    ("x1", id::GENERAL, 1),
    ("x2", id::GENERAL, 2),
    ("x3", id::GENERAL, 3),
    ("x4", id::GENERAL, 4),
    ("x5", id::GENERAL, 5),
    ("x6", id::GENERAL, 6),
    ("x7", id::GENERAL, 7),
    ("x8", id::GENERAL, 8),
    ("x9", id::GENERAL, 9),
    ("x10", id::GENERAL, 10),
    ("x11", id::GENERAL, 11),
    ("x12", id::GENERAL, 12),
    ("x13", id::GENERAL, 13),
    ("x14", id::GENERAL, 14),
    ("x15", id::GENERAL, 15),
    ("x16", id::GENERAL, 16),
    ("x17", id::GENERAL, 17),
    ("x18", id::GENERAL, 18),
    ("x19", id::GENERAL, 19),
    ("x20", id::GENERAL, 20),
    ("x21", id::GENERAL, 21),
    ("x22", id::GENERAL, 22),
    ("x23", id::GENERAL, 23),
    ("x24", id::GENERAL, 24),
    ("x25", id::GENERAL, 25),
    ("x26", id::GENERAL, 26),
    ("x27", id::GENERAL, 27),
    ("x28", id::GENERAL, 28),
    ("fp", id::GENERAL, 29),
    ("lr", id::GENERAL, 30),
    ("pc", id::GENERAL, 31),
    ("sp_el0", id::GENERAL, 38),
    ("sp_el1", id::GENERAL, 39),
    ("cpsr", id::GENERAL, 32),
    ("q0", id::FLOATING_POINT, 0),
    ("q1", id::FLOATING_POINT, 1),
    ("q2", id::FLOATING_POINT, 2),
    ("q3", id::FLOATING_POINT, 3),
    ("q4", id::FLOATING_POINT, 4),
    ("q5", id::FLOATING_POINT, 5),
    ("q6", id::FLOATING_POINT, 6),
    ("q7", id::FLOATING_POINT, 7),
    ("q8", id::FLOATING_POINT, 8),
    ("q9", id::FLOATING_POINT, 9),
    ("q10", id::FLOATING_POINT, 10),
    ("q11", id::FLOATING_POINT, 11),
    ("q12", id::FLOATING_POINT, 12),
    ("q13", id::FLOATING_POINT, 13),
    ("q14", id::FLOATING_POINT, 14),
    ("q15", id::FLOATING_POINT, 15),
    ("q16", id::FLOATING_POINT, 16),
    ("q17", id::FLOATING_POINT, 17),
    ("q18", id::FLOATING_POINT, 18),
    ("q19", id::FLOATING_POINT, 19),
    ("q20", id::FLOATING_POINT, 20),
    ("q21", id::FLOATING_POINT, 21),
    ("q22", id::FLOATING_POINT, 22),
    ("q23", id::FLOATING_POINT, 23),
    ("q24", id::FLOATING_POINT, 24),
    ("q25", id::FLOATING_POINT, 25),
    ("q26", id::FLOATING_POINT, 26),
    ("q27", id::FLOATING_POINT, 27),
    ("q28", id::FLOATING_POINT, 28),
    ("q29", id::FLOATING_POINT, 29),
    ("q30", id::FLOATING_POINT, 30),
    ("q31", id::FLOATING_POINT, 31),
    ("fpsr", id::FLOATING_POINT, 64),
    ("fpcr", id::FLOATING_POINT, 65),
    ("esr_el1", id::GENERAL, 33),
    ("spsr_el1", id::GENERAL, 34),
    ("far_el1", id::GENERAL, 35),
    ("par_el1", id::GENERAL, 36),
    ("elr_el1", id::GENERAL, 37),
    ("ttbr0_el1", id::TABLES, 0),
    ("ttbr1_el1", id::TABLES, 1),
    ("vbar_el1", id::TABLES, 2),
    ("sctlr_el1", id::CONTROL, 2),
    ("actlr_el1", id::CONTROL, 3),
    ("tcr_el1", id::CONTROL, 4),
    ("mair_el1", id::CONTROL, 5),
    ("amair_el1", id::CONTROL, 7),
    ("tpidr_el0", id::CONTROL, 9),
    ("tpidrro_el0", id::CONTROL, 8),
    ("tpidr_el1", id::CONTROL, 6),
    ("contextidr_el1", id::CONTROL, 10),
    ("cpacr_el1", id::CONTROL, 11),
    ("csselr_el1", id::CONTROL, 12),
    ("cntkctl_el1", id::CONTROL, 13),
    ("cntv_cval_el0", id::CONTROL, 14),
    ("cntv_ctl_el0", id::CONTROL, 15),
];

/// MSRs that are saved besides the registers: name and place among the 64-bit values of their chunk.
pub(super) const MSRS: [(&str, usize); 7] = [
    ("tsc", 0),
    ("kernel_gs_base", 1),
    ("apic_base", 2),
    ("star", 7),
    ("lstar", 8),
    ("cstar", 9),
    ("sfmask", 10),
];

macro_rules! named {
    ($($name:ident = $number:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub const $name: Self = Self($number);
    )*};
}

impl Register {
    named! {
        RAX = 0; RCX = 1; RDX = 2; RBX = 3; RSP = 4; RBP = 5; RSI = 6; RDI = 7; R8 = 8; R9 = 9; R10 = 10; R11 = 11;
        R12 = 12; R13 = 13; R14 = 14; R15 = 15; RIP = 16; RFLAGS = 17; XMM0 = 18; ST0 = 34; FP_CONTROL_STATUS = 42;
        XMM_CONTROL_STATUS = 43; CR0 = 44; CR2 = 45; CR3 = 46; CR4 = 47; CR8 = 48; EFER = 49; DR0 = 50; DR7 = 55; ES = 56; CS = 57; SS = 58;
        DS = 59; FS = 60; GS = 61; LDTR = 62; TR = 63; IDTR = 64; GDTR = 65;
    }

    /// The register with this number in the saved-state API.
    pub fn from_number(number: u32) -> Option<Self> {
        let register = Self(u8::try_from(number).ok()?);
        register.definition().map(|_| register)
    }

    /// Its number in the saved-state API.
    pub fn number(self) -> u32 {
        self.0.into()
    }

    /// The register with this name, in lower case, such as `rax`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::x64().chain(Self::arm64()).find(|register| register.name() == name)
    }

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        let index = usize::from(self.0);
        X64.get(index).copied().unwrap_or_else(|| ARM64[index - FIRST_ARM64].0)
    }

    /// All x64 registers.
    pub fn x64() -> impl Iterator<Item = Self> {
        (0..X64.len() as u8).map(Self)
    }

    /// All ARM64 registers.
    pub fn arm64() -> impl Iterator<Item = Self> {
        (FIRST_ARM64 as u8..(FIRST_ARM64 + ARM64.len()) as u8).map(Self)
    }

    /// Chunk, offset there, shape.
    fn definition(self) -> Option<(u32, usize, Shape)> {
        let number = usize::from(self.0);
        Some(match number {
            0..=17 => (id::GENERAL, number * 8, Shape::U64),
            18..=33 => (id::FLOATING_POINT, (number - 18) * 16, Shape::U128),
            34..=41 => (id::FLOATING_POINT, 256 + (number - 34) * 16, Shape::U128),
            42 => (id::FLOATING_POINT, 384, Shape::FpControlStatus),
            43 => (id::FLOATING_POINT, 400, Shape::XmmControlStatus),
            44..=49 => (id::CONTROL, (number - 44) * 8, Shape::U64),
            50..=55 => (id::DEBUG, (number - 50) * 8, Shape::U64),
            56..=63 => (id::SEGMENTS, (number - 56) * 16, Shape::Segment),
            64..=65 => (id::TABLES, (number - 64) * 16, Shape::Table),
            _ => {
                let &(_, chunk, place) = ARM64.get(number.checked_sub(FIRST_ARM64)?)?;
                let is_vector = chunk == id::FLOATING_POINT && place < 32;
                let (size, shape) = if is_vector { (16, Shape::U128) } else { (8, Shape::U64) };
                (chunk, usize::from(place) * size, shape)
            }
        })
    }

    /// The chunk the register is saved in.
    pub(super) fn chunk(self) -> u32 {
        self.definition().map_or(u32::MAX, |(chunk, ..)| chunk)
    }

    /// Its value in the data of its chunk.
    pub(crate) fn read(self, data: &[u8]) -> Option<RegisterValue> {
        let (_, offset, shape) = self.definition()?;
        let data = data.get(offset..)?;
        let u16_at = |at: usize| data.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
        let u32_at = |at: usize| data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let u64_at = |at: usize| data.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        Some(match shape {
            Shape::U64 => RegisterValue::U64(u64_at(0)?),
            Shape::U128 => RegisterValue::U128(u128::from_le_bytes(*data.first_chunk()?)),
            Shape::Segment => RegisterValue::Segment {
                base: u64_at(0)?,
                limit: u32_at(8)?,
                selector: u16_at(12)?,
                attributes: u16_at(14)?,
            },
            Shape::Table => RegisterValue::Table { limit: u16_at(6)?, base: u64_at(8)? },
            Shape::FpControlStatus => RegisterValue::FpControlStatus {
                control: u16_at(0)?,
                status: u16_at(2)?,
                tag: *data.get(4)?,
                last_opcode: u16_at(6)?,
                last_rip: u64_at(8)?,
            },
            Shape::XmmControlStatus => RegisterValue::XmmControlStatus {
                last_rdp: u64_at(0)?,
                mxcsr: u32_at(8)?,
                mxcsr_mask: u32_at(12)?,
            },
        })
    }

    /// Writes a value where [`read`](Self::read) finds it. A value of another shape is not written.
    pub(crate) fn write(self, data: &mut [u8], value: RegisterValue) {
        let Some((_, offset, shape)) = self.definition() else { return };
        let mut bytes = [0; 16];
        let size = match (shape, value) {
            (Shape::U64, RegisterValue::U64(value)) => {
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                8
            }
            (Shape::U128, RegisterValue::U128(value)) => {
                bytes = value.to_le_bytes();
                16
            }
            (Shape::Segment, RegisterValue::Segment { base, limit, selector, attributes }) => {
                bytes[..8].copy_from_slice(&base.to_le_bytes());
                bytes[8..12].copy_from_slice(&limit.to_le_bytes());
                bytes[12..14].copy_from_slice(&selector.to_le_bytes());
                bytes[14..].copy_from_slice(&attributes.to_le_bytes());
                16
            }
            (Shape::Table, RegisterValue::Table { base, limit }) => {
                bytes[6..8].copy_from_slice(&limit.to_le_bytes());
                bytes[8..].copy_from_slice(&base.to_le_bytes());
                16
            }
            (
                Shape::FpControlStatus,
                RegisterValue::FpControlStatus { control, status, tag, last_opcode, last_rip },
            ) => {
                bytes[..2].copy_from_slice(&control.to_le_bytes());
                bytes[2..4].copy_from_slice(&status.to_le_bytes());
                bytes[4] = tag;
                bytes[6..8].copy_from_slice(&last_opcode.to_le_bytes());
                bytes[8..].copy_from_slice(&last_rip.to_le_bytes());
                16
            }
            (Shape::XmmControlStatus, RegisterValue::XmmControlStatus { last_rdp, mxcsr, mxcsr_mask }) => {
                bytes[..8].copy_from_slice(&last_rdp.to_le_bytes());
                bytes[8..12].copy_from_slice(&mxcsr.to_le_bytes());
                bytes[12..].copy_from_slice(&mxcsr_mask.to_le_bytes());
                16
            }
            _ => return,
        };
        if let Some(target) = data.get_mut(offset..offset + size) {
            target.copy_from_slice(&bytes[..size]);
        }
    }

    /// The chunk the register is saved in and that chunk's usual size, for the writer.
    pub(crate) fn place(self) -> (u32, usize) {
        let chunk = self.chunk();
        let is_arm64 = usize::from(self.0) >= FIRST_ARM64;
        let size = match (chunk, is_arm64) {
            (id::GENERAL, false) => 144,
            (id::GENERAL, true) => 43 * 8,
            (id::FLOATING_POINT, false) => 416,
            (id::FLOATING_POINT, true) => 528,
            (id::CONTROL, true) => 128,
            (id::SEGMENTS, _) => 144,
            (id::TABLES, _) => 32,
            // x64 control registers and debug registers.
            _ => 48,
        };
        (chunk, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_places_agree() {
        assert_eq!(Register::from_number(1), Some(Register::RCX));
        assert_eq!(Register::from_number(66), None);
        assert_eq!(Register::from_number(157).unwrap().name(), "cntv_ctl_el0");
        assert_eq!(Register::from_number(158), None);
        assert_eq!(Register::from_number(u32::MAX), None);
        for register in Register::x64().chain(Register::arm64()) {
            assert_eq!(Register::from_name(register.name()), Some(register));
            assert_eq!(Register::from_number(register.number()), Some(register));
            let (_, size) = register.place();
            let mut data = vec![0; size];
            let zero = register.read(&data).expect("the register lies in its chunk");
            let value = match zero {
                RegisterValue::U64(_) => RegisterValue::U64(0x0123_4567_89AB_CDEF),
                RegisterValue::U128(_) => RegisterValue::U128(u128::MAX / 3),
                RegisterValue::Segment { .. } => RegisterValue::Segment {
                    base: 1 << 40,
                    limit: 0xFFFF_FFFF,
                    selector: 8,
                    attributes: 0xA09B,
                },
                RegisterValue::Table { .. } => RegisterValue::Table { base: u64::MAX - 7, limit: 0x7F },
                RegisterValue::FpControlStatus { .. } => RegisterValue::FpControlStatus {
                    control: 0x37F,
                    status: 0x3800,
                    tag: 0x80,
                    last_opcode: 0x7FF,
                    last_rip: 99,
                },
                RegisterValue::XmmControlStatus { .. } => {
                    RegisterValue::XmmControlStatus { last_rdp: 5, mxcsr: 0x1F80, mxcsr_mask: 0xFFFF }
                }
            };
            register.write(&mut data, value);
            assert_eq!(register.read(&data), Some(value), "{}", register.name());
            assert_eq!(register.read(&data[..3]), None);
        }
        for (register, name) in [
            (Register::XMM0, "xmm0"),
            (Register::CR3, "cr3"),
            (Register::DR7, "dr7"),
            (Register::TR, "tr"),
            (Register::GDTR, "gdtr"),
        ] {
            assert_eq!(register.name(), name);
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes into a run and what comes out of it, on either machine.

use crate::layout::{DATA, PAGE, PageRights, data_rights};

/// Bits of RFLAGS that the machines are compared in: all that exist.
pub mod rflags {
    #![allow(missing_docs)]
    pub const CF: u64 = 1 << 0;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const RF: u64 = 1 << 16;
    pub const AC: u64 = 1 << 18;
    pub const ID: u64 = 1 << 21;
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}

/// In which mode code runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// 64-bit mode, CPL 3.
    User64,
    /// 64-bit mode, CPL 0, on the guest only: the host runs the same code at CPL 3, so this is for code that cannot tell.
    Kernel64,
    /// Compatibility mode, 32-bit code, CPL 3.
    User32,
}

impl Mode {
    /// Bits of addresses and of the decoder's mode.
    #[must_use]
    pub const fn bitness(self) -> u32 {
        match self {
            Self::User64 | Self::Kernel64 => 64,
            Self::User32 => 32,
        }
    }
}

/// The selectors that Linux gives its programs. The guest has the same.
pub mod selector {
    /// Code, 32-bit.
    pub const CODE_32: u16 = 0x23;
    /// Data and stack.
    pub const DATA: u16 = 0x2B;
    /// Code, 64-bit.
    pub const CODE_64: u16 = 0x33;
}

/// x87, MMX, SSE and AVX state, as XSAVE64 writes it in standard form: an FXSAVE64 area, the header, the upper halves of the YMM registers.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct VectorArea(pub [u8; VectorArea::BYTES]);

impl VectorArea {
    /// Bytes of the whole.
    pub const BYTES: usize = 832;
    /// Offset of XMM0.
    pub const XMM: usize = 160;
    /// Offset of XSTATE_BV.
    pub const XSTATE_BV: usize = 512;
    /// Offset of the upper half of YMM0.
    pub const YMM_HIGH: usize = 576;

    /// FCW 0x37F, MXCSR 0x1F80, everything else zero; all three components are marked as in use.
    #[must_use]
    pub fn initial() -> Self {
        let mut area = [0; Self::BYTES];
        area[Self::XSTATE_BV] = 7;
        area[..2].copy_from_slice(&0x037Fu16.to_le_bytes());
        area[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
        Self(area)
    }

    /// Masks the SIMD exceptions.
    pub fn mask_exceptions(&mut self) {
        self.0[24] |= 0x80;
        self.0[25] |= 0x1F;
    }

    /// Makes TOP zero and no x87 register empty, as MMX instructions do.
    pub fn enter_mmx(&mut self) {
        self.0[3] &= !0x38;
        self.0[4] = 0xFF;
    }

    /// Bytes 16 to 31 of a YMM register are not behind its bytes 0 to 15: the place of byte `byte` of register `register`.
    #[must_use]
    pub const fn ymm_byte(register: usize, byte: usize) -> usize {
        let half = if byte < 16 { Self::XMM } else { Self::YMM_HIGH };
        half + 16 * register + byte % 16
    }

    /// MXCSR.
    #[must_use]
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes([self.0[24], self.0[25], self.0[26], self.0[27]])
    }
}

/// The registers of a machine.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// By their encoding.
    pub gprs: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// FS base.
    pub fs_base: u64,
    /// GS base.
    pub gs_base: u64,
    /// ES, CS, SS, DS, FS, GS. Not looked at in the state that a run starts from, where the mode decides.
    pub selectors: [u16; 6],
    /// Vector state; only where a run is about it.
    pub vector: Option<Box<VectorArea>>,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With an exception, which is the way every run is to end.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code; 0 if there is none.
        error_code: u32,
        /// CR2 of a page fault; else 0.
        address: u64,
    },
    /// It did not end by itself.
    TimedOut,
    /// The engine did something that it should not do here.
    Strange(&'static str),
}

/// What came out of a run.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Registers at the end, as the handler of the exception finds them.
    pub state: State,
    /// How it ended.
    pub end: End,
}

/// Something that runs code: the host, the guest, or a guest with a planted fault.
pub trait Machine {
    /// Replaces bytes of code.
    fn write_code(&mut self, address: u64, bytes: &[u8]);
    /// Replaces bytes of data; the page may be one that user code cannot write.
    fn write_data(&mut self, address: u64, bytes: &[u8]);
    /// Copies a data page that is mapped.
    fn read_page(&self, index: usize, into: &mut [u8; PAGE as usize]);
    /// Copies bytes of data pages; those that are not mapped are zeros.
    fn read_data(&self, address: u64, into: &mut [u8]) {
        let mut page = [0; PAGE as usize];
        for (offset, byte) in (0..).zip(into) {
            let at = address.wrapping_add(offset);
            *byte = 0;
            if data_rights(at) != PageRights::None {
                self.read_page(((at - DATA) / PAGE) as usize, &mut page);
                *byte = page[(at % PAGE) as usize];
            }
        }
    }
    /// Runs from a state until an exception.
    fn run(&mut self, mode: Mode, state: &State) -> Outcome;
}

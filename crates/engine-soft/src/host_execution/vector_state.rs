// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of x87, MMX, SSE and AVX, laid out as the standard form of an XSAVE area.

use std::mem::{offset_of, size_of};

use thiserror::Error;

/// x87, MMX, XMM and YMM state (Intel SDM 1 13.4, 10.5.1). The first 512 bytes are an FXSAVE64 image, so that
/// stubs load and store it with one instruction.
///
/// Three things always hold, because every way in keeps them: MXCSR has no reserved bit set (a host FXRSTOR
/// would fault), FCW's reserved bits are as hardware has them, and FSW's ES and B say whether an unmasked
/// exception is pending.
#[repr(C, align(64))]
#[derive(Clone, PartialEq, Eq)]
pub struct VectorState {
    pub(super) fcw: u16,
    pub(super) fsw: u16,
    /// One bit a physical register, 1 if it is not empty.
    pub(super) ftw: u8,
    reserved: u8,
    pub(super) fop: u16,
    pub(super) fip: u64,
    pub(super) fdp: u64,
    pub(super) mxcsr: u32,
    /// The host's FXSAVE writes its own mask here; always 0 outside a stub.
    pub(super) host_mxcsr_mask: u32,
    /// ST(0) to ST(7), ten bytes each.
    pub(super) st: [[u8; 16]; 8],
    pub(super) xmm: [u128; 16],
    available: [u8; 96],
    header: [u8; 64],
    /// Bits 255:128 of YMM0 to YMM15.
    pub(super) ymm_high: [u128; 16],
}

/// MXCSR was given a value with reserved bits set: the processor raises `#GP(0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("MXCSR value {0:#x} has reserved bits set")]
pub struct InvalidMxcsr(pub u32);

/// Bits of FCW that hardware keeps; bit 6 reads as one.
const FCW_KEPT: u16 = 0x1F7F;
const FCW_ONE: u16 = 0x0040;
/// The six exception flags of FSW and masks of FCW, and the six of MXCSR.
pub(super) const EXCEPTIONS: u16 = 0x3F;
const FSW_ES_AND_B: u16 = 0x8080;
const MXCSR_MASKS: u32 = 0x1F80;

impl VectorState {
    /// The MXCSR_MASK that FXSAVE and XSAVE show: bits 15:0, which includes DAZ. AMD's misaligned-SSE bit 17 is
    /// not offered.
    pub const MXCSR_MASK: u32 = 0xFFFF;
    /// Offset of the upper halves of the YMM registers in an XSAVE area of standard form. They come first behind the header, so it is the same in compacted ones.
    pub const AVX_START: usize = 576;
    /// Bytes of the upper halves of the YMM registers in an XSAVE area.
    pub const AVX_BYTES: usize = 256;
    /// FCW after FNINIT, and in XSAVE's initial configuration.
    pub const FCW_INITIAL: u16 = 0x037F;
    /// MXCSR after reset, and in XSAVE's initial configuration.
    pub const MXCSR_INITIAL: u32 = 0x1F80;

    /// The initial configuration of every state component (Intel SDM 1 13.6).
    pub const fn initial() -> Self {
        Self {
            fcw: Self::FCW_INITIAL,
            fsw: 0,
            ftw: 0,
            reserved: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            mxcsr: Self::MXCSR_INITIAL,
            host_mxcsr_mask: 0,
            st: [[0; 16]; 8],
            xmm: [0; 16],
            available: [0; 96],
            header: [0; 64],
            ymm_high: [0; 16],
        }
    }

    /// The state after power-up or RESET (Intel SDM 3A 10.1.1): as [`initial`](Self::initial), but FCW is 0x40 and
    /// all x87 registers are valid zeros. INIT leaves the state as it is.
    pub const fn power_on() -> Self {
        Self { fcw: FCW_ONE, ftw: 0xFF, ..Self::initial() }
    }

    /// The x87 control word.
    pub fn fcw(&self) -> u16 {
        self.fcw
    }

    /// The x87 status word.
    pub fn fsw(&self) -> u16 {
        self.fsw
    }

    /// The abridged tag word: one bit a physical register, 1 if it is not empty.
    pub fn abridged_ftw(&self) -> u8 {
        self.ftw
    }

    /// Opcode of the last non-control x87 instruction: 11 bits.
    pub fn fop(&self) -> u16 {
        self.fop
    }

    /// Address of the last non-control x87 instruction.
    pub fn fip(&self) -> u64 {
        self.fip
    }

    /// Address of the memory operand of the last non-control x87 instruction that had one.
    pub fn fdp(&self) -> u64 {
        self.fdp
    }

    /// Sets control, status and tag words, as FXRSTOR does: reserved bits take hardware's values, and FSW's ES
    /// and B follow from flags and masks.
    pub fn set_x87_words(&mut self, fcw: u16, fsw: u16, abridged_ftw: u8) {
        self.fcw = fcw & FCW_KEPT | FCW_ONE;
        self.fsw = fsw;
        self.ftw = abridged_ftw;
        self.summarise_exceptions();
    }

    /// Sets the last instruction's opcode (11 bits are kept), address and operand address.
    pub fn set_x87_pointers(&mut self, fop: u16, fip: u64, fdp: u64) {
        self.fop = fop & 0x7FF;
        self.fip = fip;
        self.fdp = fdp;
    }

    /// ST(`index`), index 0 to 7, as the ten bytes of an 80-bit value.
    pub fn st(&self, index: usize) -> [u8; 10] {
        std::array::from_fn(|byte| self.st[index][byte])
    }

    /// Sets ST(`index`), index 0 to 7. The tag word stays.
    pub fn set_st(&mut self, index: usize, value: [u8; 10]) {
        self.st[index] = [0; 16];
        self.st[index][..10].copy_from_slice(&value);
    }

    /// XMM register `index`, 0 to 15.
    pub fn xmm(&self, index: usize) -> u128 {
        self.xmm[index]
    }

    /// Sets XMM register `index`, 0 to 15; bits above 127 of its YMM register stay.
    pub fn set_xmm(&mut self, index: usize, value: u128) {
        self.xmm[index] = value;
    }

    /// Bits 255:128 of YMM register `index`, 0 to 15.
    pub fn ymm_high(&self, index: usize) -> u128 {
        self.ymm_high[index]
    }

    /// Sets bits 255:128 of YMM register `index`, 0 to 15.
    pub fn set_ymm_high(&mut self, index: usize, value: u128) {
        self.ymm_high[index] = value;
    }

    /// YMM register `index`, 0 to 15, its first byte first.
    pub fn ymm(&self, index: usize) -> [u8; 32] {
        let mut value = [0; 32];
        value[..16].copy_from_slice(&self.xmm[index].to_le_bytes());
        value[16..].copy_from_slice(&self.ymm_high[index].to_le_bytes());
        value
    }

    /// Sets YMM register `index`, 0 to 15.
    pub fn set_ymm(&mut self, index: usize, value: [u8; 32]) {
        let half = |start: usize| u128::from_le_bytes(std::array::from_fn(|byte| value[start + byte]));
        (self.xmm[index], self.ymm_high[index]) = (half(0), half(16));
    }

    /// MXCSR: what STMXCSR stores.
    pub fn mxcsr(&self) -> u32 {
        self.mxcsr
    }

    /// Sets MXCSR: LDMXCSR.
    ///
    /// # Errors
    ///
    /// A reserved bit is set; nothing changed. The instruction raises `#GP(0)`.
    pub fn set_mxcsr(&mut self, value: u32) -> Result<(), InvalidMxcsr> {
        if value & !Self::MXCSR_MASK != 0 {
            return Err(InvalidMxcsr(value));
        }
        self.mxcsr = value;
        Ok(())
    }

    /// Whether an unmasked x87 exception waits for the next waiting x87 or MMX instruction.
    #[inline]
    pub fn x87_exception_pending(&self) -> bool {
        self.fsw & !self.fcw & EXCEPTIONS != 0
    }

    /// Whether FCW masks all six x87 exceptions.
    pub(super) fn x87_exceptions_masked(&self) -> bool {
        self.fcw & EXCEPTIONS == EXCEPTIONS
    }

    /// Whether MXCSR masks all six SIMD floating-point exceptions.
    #[inline]
    pub(super) fn simd_exceptions_masked(&self) -> bool {
        self.mxcsr & MXCSR_MASKS == MXCSR_MASKS
    }

    /// Sets FSW's ES and B from the exception flags and masks, as hardware does whenever either is loaded.
    pub(super) fn summarise_exceptions(&mut self) {
        if self.x87_exception_pending() {
            self.fsw |= FSW_ES_AND_B;
        } else {
            self.fsw &= !FSW_ES_AND_B;
        }
    }

    /// TOP: the physical register that is ST(0).
    pub(super) fn top(&self) -> usize {
        usize::from(self.fsw >> 11 & 7)
    }

    /// Replaces FSW by `fsw` with the physical registers staying where they are, so that ST(i) names others if
    /// TOP changes.
    pub(super) fn replace_fsw(&mut self, fsw: u16) {
        let old_top = self.top();
        self.fsw = fsw;
        let moved = (self.top() + 8 - old_top) % 8;
        self.st.rotate_left(moved);
    }
}

impl std::fmt::Debug for VectorState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorState")
            .field("fcw", &format_args!("{:#06x}", self.fcw))
            .field("fsw", &format_args!("{:#06x}", self.fsw))
            .field("ftw", &format_args!("{:#04x}", self.ftw))
            .field("fop", &format_args!("{:#05x}", self.fop))
            .field("fip", &format_args!("{:#x}", self.fip))
            .field("fdp", &format_args!("{:#x}", self.fdp))
            .field("mxcsr", &format_args!("{:#x}", self.mxcsr))
            .field("st", &format_args!("{:02x?}", self.st))
            .field("xmm", &format_args!("{:#034x?}", self.xmm))
            .field("ymm_high", &format_args!("{:#034x?}", self.ymm_high))
            .finish()
    }
}

pub(super) const FCW: usize = offset_of!(VectorState, fcw);
pub(super) const FSW: usize = offset_of!(VectorState, fsw);
pub(super) const ST: usize = offset_of!(VectorState, st);
pub(super) const MXCSR: usize = offset_of!(VectorState, mxcsr);
pub(super) const XMM: usize = offset_of!(VectorState, xmm);
pub(super) const YMM_HIGH: usize = offset_of!(VectorState, ymm_high);

const _: () = assert!(
    FSW == 2 && ST == 32 && MXCSR == 24 && XMM == 160 && YMM_HIGH == 576 && size_of::<VectorState>() == 832
);

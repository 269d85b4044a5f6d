// SPDX-License-Identifier: MIT OR Apache-2.0
//! The XSAVE and XRSTOR families (Intel SDM 1 13.7 to 13.12) for the components x87, SSE and AVX.
//!
//! Callers check CPL, control registers ([`Requirement::Xsave`](super::Requirement::Xsave)) and the operand's
//! 64-byte alignment (`#GP`) first.

use thiserror::Error;

use super::fxsave::{MXCSR_START, PointerWidth, ST_START, XMM_START, u32_at, xmm_count};
use super::vector_state::VectorState;

/// State component 0: x87 state, as a bit of XCR0, RFBM, XSTATE_BV and XINUSE.
pub const X87: u64 = 1 << 0;
/// State component 1: XMM registers, and MXCSR where a rule does not say otherwise.
pub const SSE: u64 = 1 << 1;
/// State component 2: upper halves of YMM registers.
pub const AVX: u64 = 1 << 2;

const HEADER_START: usize = 512;
const XSTATE_BV_START: usize = 512;
const XCOMP_BV_START: usize = 520;
const COMPACTED: u64 = 1 << 63;

/// Which instruction saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveForm {
    /// XSAVE: standard form, all requested components.
    Xsave,
    /// XSAVEOPT: standard form, components that are not in their initial configuration.
    Xsaveopt,
    /// XSAVEC: compacted form, components that are not in their initial configuration.
    Xsavec,
    /// XSAVES: as XSAVEC, with supervisor components.
    Xsaves,
}

/// Which instruction restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreForm {
    /// XRSTOR: from either form.
    Xrstor,
    /// XRSTORS: from the compacted form only.
    Xrstors,
}

/// Why a restore did not happen. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum XrstorError<E> {
    /// The header or MXCSR is not valid: `#GP(0)`.
    #[error("the XSAVE area is not valid")]
    GeneralProtection,
    /// The area could not be read.
    #[error("the XSAVE area cannot be read")]
    Memory(E),
}

impl VectorState {
    /// Components which are not in their initial configuration. MXCSR is not looked at.
    fn components_in_use(&self) -> u64 {
        let initial = Self::initial();
        let x87 = self.x87_header(PointerWidth::Offset64) != initial.x87_header(PointerWidth::Offset64)
            || self.st != initial.st;
        let bit = |in_use, component| if in_use { component } else { 0 };
        bit(x87, X87) | bit(self.xmm != initial.xmm, SSE) | bit(self.ymm_high != initial.ymm_high, AVX)
    }

    /// XINUSE as XGETBV with ECX = 1 shows it, before the AND with XCR0: SSE state counts as in use too if MXCSR
    /// is not at its initial value.
    pub fn xinuse(&self) -> u64 {
        self.components_in_use() | if self.mxcsr == Self::MXCSR_INITIAL { 0 } else { SSE }
    }

    /// Saves the components in `rfbm` (EDX:EAX and XCR0, for XSAVES and XCR0|XSS) by calls of
    /// `write(offset, bytes)` in rising order of offset, the header last. What hardware does not write is not
    /// written.
    ///
    /// `old_xstate_bv` is the value in memory at offset 512; the compacted forms do not use it.
    ///
    /// # Errors
    ///
    /// The first error of `write`. Earlier writes stay, as they may on hardware; probe the whole area first.
    pub fn xsave<E>(
        &self,
        form: SaveForm,
        rfbm: u64,
        width: PointerWidth,
        is_64_bit: bool,
        old_xstate_bv: u64,
        mut write: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let compacted = matches!(form, SaveForm::Xsavec | SaveForm::Xsaves);
        // Only the compacted forms, and XGETBV, count MXCSR as SSE state.
        let xinuse = if compacted { self.xinuse() } else { self.components_in_use() };
        let saved = if form == SaveForm::Xsave { rfbm } else { rfbm & xinuse };
        let mxcsr_saved = if compacted { saved & SSE != 0 } else { rfbm & (SSE | AVX) != 0 };
        if saved & X87 != 0 {
            write(0, &self.x87_header(width))?;
        }
        if mxcsr_saved {
            write(MXCSR_START, &self.mxcsr_and_mask())?;
        }
        if saved & X87 != 0 {
            write(ST_START, self.st.as_flattened())?;
        }
        let registers = xmm_count(is_64_bit);
        if saved & SSE != 0 {
            write(XMM_START, self.xmm.map(u128::to_le_bytes)[..registers].as_flattened())?;
        }
        if saved & AVX != 0 {
            write(VectorState::AVX_START, self.ymm_high.map(u128::to_le_bytes)[..registers].as_flattened())?;
        }
        if compacted {
            write(XSTATE_BV_START, &saved.to_le_bytes())?;
            write(XCOMP_BV_START, &(rfbm | COMPACTED).to_le_bytes())
        } else {
            write(XSTATE_BV_START, &(old_xstate_bv & !rfbm | xinuse & rfbm).to_le_bytes())
        }
    }

    /// Restores the components in `requested & enabled`, where `requested` is EDX:EAX and `enabled` is XCR0, for
    /// XRSTORS XCR0|XSS. `read(offset, bytes)` reads the area; only what hardware needs is read.
    ///
    /// # Errors
    ///
    /// See [`XrstorError`].
    pub fn xrstor<E>(
        &mut self,
        form: RestoreForm,
        requested: u64,
        enabled: u64,
        width: PointerWidth,
        is_64_bit: bool,
        mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), XrstorError<E>> {
        let mut header = [0; 64];
        read(HEADER_START, &mut header).map_err(XrstorError::Memory)?;
        let (words, _) = header.as_chunks::<8>();
        let xstate_bv = u64::from_le_bytes(words[0]);
        let xcomp_bv = u64::from_le_bytes(words[1]);
        let compacted = xcomp_bv & COMPACTED != 0;
        let reserved = if compacted { &header[16..] } else { &header[8..24] };
        let allowed = if compacted { xcomp_bv & !COMPACTED } else { enabled };
        if form == RestoreForm::Xrstors && !compacted
            || reserved.iter().any(|&byte| byte != 0)
            || allowed & !enabled != 0
            || xstate_bv & !allowed != 0
        {
            return Err(XrstorError::GeneralProtection);
        }

        let rfbm = requested & enabled;
        let loaded = rfbm & xstate_bv;
        let mxcsr_loaded = if compacted { loaded & SSE != 0 } else { rfbm & (SSE | AVX) != 0 };
        let mut legacy = [0; 512];
        let mut read_part = |part: &mut [u8], offset| read(offset, part).map_err(XrstorError::Memory);
        if loaded & X87 != 0 {
            read_part(&mut legacy[..MXCSR_START], 0)?;
            read_part(&mut legacy[ST_START..XMM_START], ST_START)?;
        }
        if mxcsr_loaded {
            read_part(&mut legacy[MXCSR_START..ST_START], MXCSR_START)?;
        }
        let registers = xmm_count(is_64_bit);
        if loaded & SSE != 0 {
            read_part(&mut legacy[XMM_START..][..16 * registers], XMM_START)?;
        }
        let mut upper = [[0; 16]; 16];
        if loaded & AVX != 0 {
            read_part(upper[..registers].as_flattened_mut(), VectorState::AVX_START)?;
        }

        let initial_mxcsr = rfbm & SSE != 0;
        if mxcsr_loaded {
            self.set_mxcsr(u32_at(&legacy, MXCSR_START)).map_err(|_| XrstorError::GeneralProtection)?;
        } else if initial_mxcsr {
            self.mxcsr = Self::MXCSR_INITIAL;
        }
        if loaded & X87 != 0 {
            self.load_x87(&legacy, width);
        } else if rfbm & X87 != 0 {
            self.set_x87_words(Self::FCW_INITIAL, 0, 0);
            self.set_x87_pointers(0, 0, 0);
            self.st = [[0; 16]; 8];
        }
        // A component that is requested but not loaded gets its initial configuration: the zeros read above.
        if rfbm & SSE != 0 {
            self.load_xmm(&legacy, is_64_bit);
        }
        if rfbm & AVX != 0 {
            for (register, bytes) in self.ymm_high.iter_mut().zip(upper).take(registers) {
                *register = u128::from_le_bytes(bytes);
            }
        }
        Ok(())
    }
}

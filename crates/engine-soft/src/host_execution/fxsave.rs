// SPDX-License-Identifier: MIT OR Apache-2.0
//! FXSAVE and FXRSTOR, and the parts of their image that XSAVE shares.

use super::vector_state::{InvalidMxcsr, VectorState};

/// How an image holds the x87 instruction and data pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerWidth {
    /// 32-bit offsets with selectors, which are stored as zero and ignored: without REX.W.
    Offset32,
    /// 64-bit offsets: with REX.W.
    Offset64,
}

/// Offsets in the image (Intel SDM 1 10.5.1, 13.4.1).
pub(super) const MXCSR_START: usize = 24;
pub(super) const ST_START: usize = 32;
pub(super) const XMM_START: usize = 160;

/// XMM registers that exist: 16 in 64-bit mode, else 8.
pub(super) const fn xmm_count(is_64_bit: bool) -> usize {
    if is_64_bit { 16 } else { 8 }
}

impl VectorState {
    /// FXSAVE: the bytes to store at the operand's address. Of the 512-byte area, hardware writes only the first
    /// 416, or 288 outside 64-bit mode: store `image[..length]` of the pair returned.
    pub fn fxsave(&self, width: PointerWidth, is_64_bit: bool) -> ([u8; 416], usize) {
        let mut image = [0; 416];
        image[..MXCSR_START].copy_from_slice(&self.x87_header(width));
        image[MXCSR_START..ST_START].copy_from_slice(&self.mxcsr_and_mask());
        image[ST_START..XMM_START].copy_from_slice(self.st.as_flattened());
        for (value, place) in self.xmm.iter().zip(image[XMM_START..].chunks_exact_mut(16)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        (image, XMM_START + 16 * xmm_count(is_64_bit))
    }

    /// FXRSTOR from the 512-byte area.
    ///
    /// # Errors
    ///
    /// Reserved bits of MXCSR are set; nothing changed. The instruction raises `#GP(0)`.
    pub fn fxrstor(
        &mut self,
        image: &[u8; 512],
        width: PointerWidth,
        is_64_bit: bool,
    ) -> Result<(), InvalidMxcsr> {
        self.set_mxcsr(u32_at(image, MXCSR_START))?;
        self.load_x87(image, width);
        self.load_xmm(image, is_64_bit);
        Ok(())
    }

    /// Bytes 0 to 23: control words and pointers.
    pub(super) fn x87_header(&self, width: PointerWidth) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[0..2].copy_from_slice(&self.fcw.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.fsw.to_le_bytes());
        bytes[4] = self.ftw;
        bytes[6..8].copy_from_slice(&self.fop.to_le_bytes());
        let kept = width.bytes();
        bytes[8..][..kept].copy_from_slice(&self.fip.to_le_bytes()[..kept]);
        bytes[16..][..kept].copy_from_slice(&self.fdp.to_le_bytes()[..kept]);
        bytes
    }

    /// Bytes 24 to 31.
    pub(super) fn mxcsr_and_mask(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.mxcsr.to_le_bytes());
        bytes[4..].copy_from_slice(&Self::MXCSR_MASK.to_le_bytes());
        bytes
    }

    /// Loads the x87 component from the legacy region.
    pub(super) fn load_x87(&mut self, image: &[u8; 512], width: PointerWidth) {
        let u16_at = |offset: usize| u16::from_le_bytes([image[offset], image[offset + 1]]);
        let pointer = |offset: usize| {
            let mut bytes = [0; 8];
            let kept = width.bytes();
            bytes[..kept].copy_from_slice(&image[offset..][..kept]);
            u64::from_le_bytes(bytes)
        };
        self.set_x87_words(u16_at(0), u16_at(2), image[4]);
        self.set_x87_pointers(u16_at(6), pointer(8), pointer(16));
        for index in 0..8 {
            let value = std::array::from_fn(|byte| image[ST_START + 16 * index + byte]);
            self.set_st(index, value);
        }
    }

    /// Loads the XMM registers from the legacy region.
    pub(super) fn load_xmm(&mut self, image: &[u8; 512], is_64_bit: bool) {
        let (values, _) = image[XMM_START..].as_chunks::<16>();
        for (register, bytes) in self.xmm.iter_mut().zip(values).take(xmm_count(is_64_bit)) {
            *register = u128::from_le_bytes(*bytes);
        }
    }
}

impl PointerWidth {
    const fn bytes(self) -> usize {
        match self {
            Self::Offset32 => 4,
            Self::Offset64 => 8,
        }
    }
}

pub(super) fn u32_at(image: &[u8; 512], offset: usize) -> u32 {
    u32::from_le_bytes([image[offset], image[offset + 1], image[offset + 2], image[offset + 3]])
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The x87, SSE and AVX registers that lie in an XSAVE area (TLFS 7.9.4; Intel SDM 1 10.5.1, 13.4).

use engine::XsaveArea;
use tlfs::HvStatus;
use tlfs::register::{FpControlStatusRegister, RegisterValue, XmmControlStatusRegister};

use super::place::Place;

const FCW: usize = 0;
const FSW: usize = 2;
const FTW: usize = 4;
const FOP: usize = 6;
const FIP: usize = 8;
const FDP: usize = 16;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const ST: usize = 32;
const XSTATE_BV: usize = 512;
const YMM_HIGH: usize = 576;

/// Bits of XSTATE_BV.
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;

/// Bits of MXCSR where the area does not say (Intel SDM 1 11.6.6).
const DEFAULT_MXCSR_MASK: u32 = 0xFFBF;

fn bytes<const N: usize>(area: &XsaveArea, offset: usize) -> [u8; N] {
    let slice = area.0.get(offset..offset + N);
    slice.map_or([0; N], |slice| slice.try_into().expect("the length asked for"))
}

fn word(area: &XsaveArea, offset: usize) -> u16 {
    u16::from_le_bytes(bytes(area, offset))
}

fn double_word(area: &XsaveArea, offset: usize) -> u32 {
    u32::from_le_bytes(bytes(area, offset))
}

fn quad_word(area: &XsaveArea, offset: usize) -> u64 {
    u64::from_le_bytes(bytes(area, offset))
}

fn put(area: &mut XsaveArea, offset: usize, value: &[u8]) {
    if let Some(place) = area.0.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

fn mxcsr_mask(area: &XsaveArea) -> u32 {
    match double_word(area, MXCSR_MASK) {
        0 => DEFAULT_MXCSR_MASK,
        mask => mask,
    }
}

pub(super) fn ymm_high(area: &XsaveArea, index: u8) -> Result<RegisterValue, HvStatus> {
    let offset = YMM_HIGH + 16 * usize::from(index);
    if area.0.len() < offset + 16 {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    Ok(u128::from_le_bytes(bytes(area, offset)).into())
}

pub(super) fn fp_mmx(area: &XsaveArea, index: u8) -> RegisterValue {
    let offset = ST + 16 * usize::from(index);
    RegisterValue { low: quad_word(area, offset), high: word(area, offset + 8).into() }
}

pub(super) fn fp_control_status(area: &XsaveArea) -> RegisterValue {
    FpControlStatusRegister {
        fp_control: word(area, FCW),
        fp_status: word(area, FSW),
        fp_tag: area.0[FTW],
        reserved: 0,
        last_fp_op: word(area, FOP),
        last_fp_rip: quad_word(area, FIP),
    }
    .into()
}

pub(super) fn xmm_control_status(area: &XsaveArea) -> RegisterValue {
    XmmControlStatusRegister {
        last_fp_rdp: quad_word(area, FDP),
        xmm_status_control: double_word(area, MXCSR),
        xmm_status_control_mask: mxcsr_mask(area),
    }
    .into()
}

/// Sets one of these registers, and marks its component as in use.
pub(super) fn set(area: &mut XsaveArea, place: Place, value: RegisterValue) -> Result<(), HvStatus> {
    let component = match place {
        Place::YmmHigh(index) => {
            let offset = YMM_HIGH + 16 * usize::from(index);
            if area.0.len() < offset + 16 {
                return Err(HvStatus::INVALID_PARAMETER);
            }
            put(area, offset, &u128::from(value).to_le_bytes());
            AVX
        }
        Place::FpMmx(index) => {
            let offset = ST + 16 * usize::from(index);
            put(area, offset, &value.low.to_le_bytes());
            put(area, offset + 8, &(value.high as u16).to_le_bytes());
            X87
        }
        Place::FpControlStatus => {
            let register = FpControlStatusRegister::from(value);
            put(area, FCW, &register.fp_control.to_le_bytes());
            put(area, FSW, &register.fp_status.to_le_bytes());
            put(area, FTW, &[register.fp_tag]);
            put(area, FOP, &register.last_fp_op.to_le_bytes());
            put(area, FIP, &register.last_fp_rip.to_le_bytes());
            X87
        }
        _ => {
            let register = XmmControlStatusRegister::from(value);
            if register.xmm_status_control & !mxcsr_mask(area) != 0 {
                return Err(HvStatus::INVALID_REGISTER_VALUE);
            }
            put(area, FDP, &register.last_fp_rdp.to_le_bytes());
            put(area, MXCSR, &register.xmm_status_control.to_le_bytes());
            // The pointer is of the x87 component, MXCSR of SSE's.
            X87 | SSE
        }
    };
    let in_use = quad_word(area, XSTATE_BV) | component;
    put(area, XSTATE_BV, &in_use.to_le_bytes());
    Ok(())
}

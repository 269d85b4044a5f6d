// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random x87, MMX, SSE and AVX state.

use crate::native::host_has_avx;
use crate::random::Random;
use crate::state::VectorArea;

/// A state as XRSTOR64 takes it. Exceptions are masked, mostly.
pub fn vector(random: &mut Random) -> Box<VectorArea> {
    let VectorArea(mut area) = VectorArea::initial();
    let control: u16 = if random.percent(80) { 0x3F } else { random.below(64) as u16 };
    let control = control | 0x40 | (random.below(16) as u16) << 8;
    // Exception flags without the summary, which FXRSTOR works out from them; conditions; top of stack.
    let sticky = if random.percent(80) { 0 } else { random.below(64) as u16 & control };
    let status = random.bits() as u16 & 0x7F00 & !0x8080 | sticky;
    area[..2].copy_from_slice(&control.to_le_bytes());
    area[2..4].copy_from_slice(&status.to_le_bytes());
    let tags = random.bits() as u8;
    area[4] = random.pick(&[0xFF, 0xFF, 0, tags]);
    let masks = if random.percent(85) { 0x1F80 } else { (random.below(64) as u32) << 7 };
    // Rounding, flush to zero, denormals are zeros, and flags.
    let modes = if random.percent(50) { 0 } else { random.bits() as u32 & 0xE07F };
    area[24..28].copy_from_slice(&(masks | modes & !0x3F | random.below(64) as u32 & 0x3F).to_le_bytes());
    for register in 0..8 {
        let value = extended(random);
        area[32 + 16 * register..42 + 16 * register].copy_from_slice(&value);
    }
    let upper = if host_has_avx() { VectorArea::YMM_HIGH..VectorArea::BYTES } else { 0..0 };
    for range in [VectorArea::XMM..416, upper] {
        for lane in area[range].chunks_mut(8) {
            lane.copy_from_slice(&lanes(random).to_le_bytes());
        }
    }
    Box::new(VectorArea(area))
}

/// Two singles, a double, or integers.
fn lanes(random: &mut Random) -> u64 {
    match random.below(3) {
        0 => u64::from(single(random)) << 32 | u64::from(single(random)),
        1 => double(random),
        _ => random.edge(),
    }
}

fn single(random: &mut Random) -> u32 {
    match random.below(6) {
        0 => random.pick(&[
            0,
            0x8000_0000,
            0x7F80_0000,
            0xFF80_0000,
            0x7FC0_0000,
            0x7F80_0001,
            1,
            0x007F_FFFF,
            0x0080_0000,
        ]),
        1 => ((random.below(512) as f32 - 256.0) / 4.0).to_bits(),
        2 => random.bits() as u32,
        _ => 0x3F80_0000 ^ random.bits() as u32 >> random.below(28),
    }
}

fn double(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.pick(&[
            0,
            1 << 63,
            0x7FF0_0000_0000_0000,
            0xFFF0_0000_0000_0000,
            0x7FF8_0000_0000_0000,
            0x7FF0_0000_0000_0001,
            1,
            0x000F_FFFF_FFFF_FFFF,
        ]),
        1 => ((random.below(512) as f64 - 256.0) / 4.0).to_bits(),
        2 => random.bits(),
        _ => 0x3FF0_0000_0000_0000 ^ random.bits() >> random.below(60),
    }
}

/// An x87 register: mostly a number, now and then a pattern that is none.
fn extended(random: &mut Random) -> [u8; 10] {
    let (exponent, significand) = match random.below(6) {
        0 => random.pick(&[
            (0, 0),
            (0x7FFF, 1 << 63),
            (0x7FFF, 3 << 62),
            (0, 1),
            (0x7FFF, 0xA000_0000_0000_0001),
        ]),
        1 => (random.bits() as u16 & 0x7FFF, random.bits()),
        _ => (0x3FFF + random.below(64) as u16 - 32, random.bits() | 1 << 63),
    };
    let sign = random.bits() as u16 & 0x8000;
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&significand.to_le_bytes());
    bytes[8..].copy_from_slice(&(exponent | sign).to_le_bytes());
    bytes
}

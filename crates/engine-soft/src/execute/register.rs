// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers by their byte offset in the frame, as operations name them.

use crate::cpu::Cpu;

/// The whole register (or address slot) that holds byte `offset`.
#[inline(always)]
pub(crate) fn whole(cpu: &Cpu, offset: u8) -> u64 {
    debug_assert!(offset < 160 && offset.is_multiple_of(8));
    // SAFETY: the frame is the first field of the processor, and registers and slots are its first 160 bytes; decode
    // makes no other offsets.
    unsafe { (&raw const cpu.frame).byte_add(offset as usize).cast::<u64>().read() }
}

#[inline(always)]
pub(crate) fn set_whole(cpu: &mut Cpu, offset: u8, value: u64) {
    debug_assert!(offset < 128 && offset.is_multiple_of(8));
    // SAFETY: as above.
    unsafe { (&raw mut cpu.frame).byte_add(offset as usize).cast::<u64>().write(value) }
}

/// A register operand of `BYTES` bytes. Bits above are zero for one byte, else whatever the register holds.
#[inline(always)]
pub(crate) fn get<const BYTES: usize>(cpu: &Cpu, offset: u8) -> u64 {
    if BYTES == 1 {
        // SAFETY: as in `whole`; an odd offset is the second byte of one of the first four registers.
        unsafe { (&raw const cpu.frame).byte_add(offset as usize).cast::<u8>().read().into() }
    } else {
        whole(cpu, offset)
    }
}

/// A register operand of `BYTES` bytes, zero-extended.
#[inline(always)]
pub(crate) fn get_zero_extended<const BYTES: usize>(cpu: &Cpu, offset: u8) -> u64 {
    truncate::<BYTES>(get::<BYTES>(cpu, offset))
}

/// Sets a register operand: 4 bytes clear the upper half, 1 and 2 leave the rest. Written as a whole, so that a later read of the
/// whole need not wait for two stores.
#[inline(always)]
pub(crate) fn set<const BYTES: usize>(cpu: &mut Cpu, offset: u8, value: u64) {
    match BYTES {
        1 => {
            let shift = 8 * u32::from(offset & 1);
            let old = whole(cpu, offset & !1);
            let new = old & !(0xFF << shift) | (value & 0xFF) << shift;
            set_whole(cpu, offset & !1, new);
        }
        2 => {
            let old = whole(cpu, offset);
            set_whole(cpu, offset, old & !0xFFFF | value & 0xFFFF);
        }
        4 => set_whole(cpu, offset, value & 0xFFFF_FFFF),
        _ => set_whole(cpu, offset, value),
    }
}

/// The low `BYTES` bytes.
#[inline(always)]
pub(crate) const fn truncate<const BYTES: usize>(value: u64) -> u64 {
    match BYTES {
        1 => value & 0xFF,
        2 => value & 0xFFFF,
        4 => value & 0xFFFF_FFFF,
        _ => value,
    }
}

/// The low `BYTES` bytes, sign-extended.
#[inline(always)]
pub(crate) const fn sign_extend<const BYTES: usize>(value: u64) -> u64 {
    match BYTES {
        1 => value as i8 as u64,
        2 => value as i16 as u64,
        4 => value as i32 as u64,
        _ => value,
    }
}

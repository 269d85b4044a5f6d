// SPDX-License-Identifier: MIT OR Apache-2.0
//! MUL, IMUL, DIV, IDIV.

use core::arch::asm;

use super::alu;
use super::moves::bodies;
use super::path::{Body, Path};
use super::register::{get, set, sign_extend, truncate, whole};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};
use crate::stop::Stop;

const RAX: u8 = 0;
const RDX: u8 = 2 * 8;

/// RDX:RAX (AX for bytes) from RAX and `b`.
macro_rules! wide {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        fn $name<const BYTES: usize>(cpu: &mut Cpu, b: u64) {
            let (mut low, high): (u64, u64);
            low = whole(cpu, RAX);
            let flags: u64;
            // SAFETY: touches only the named registers. LAHF overwrites AH, so results are moved away before.
            unsafe {
                match BYTES {
                    1 => asm!(concat!($mnemonic, " {b:l}"), "mov {f}, rax", "lahf", "seto al", "xchg {f}, rax", "xor edx, edx", b = in(reg) b, f = out(reg) flags, inout("rax") low, out("rdx") high, options(pure, nomem, nostack)),
                    2 => asm!(concat!($mnemonic, " {b:x}"), "mov {f}, rax", "lahf", "seto al", "xchg {f}, rax", b = in(reg) b, f = out(reg) flags, inout("rax") low, out("rdx") high, options(pure, nomem, nostack)),
                    4 => asm!(concat!($mnemonic, " {b:e}"), "mov {f}, rax", "lahf", "seto al", "xchg {f}, rax", b = in(reg) b, f = out(reg) flags, inout("rax") low, out("rdx") high, options(pure, nomem, nostack)),
                    _ => asm!(concat!($mnemonic, " {b}"), "mov {f}, rax", "lahf", "seto al", "xchg {f}, rax", b = in(reg) b, f = out(reg) flags, inout("rax") low, out("rdx") high, options(pure, nomem, nostack)),
                }
            }
            cpu.flags = Flags(flags as u16);
            if BYTES == 1 {
                set::<2>(cpu, RAX, low);
            } else {
                set::<BYTES>(cpu, RAX, low);
                set::<BYTES>(cpu, RDX, high);
            }
        }
    };
}

wide!(mul, "mul");
wide!(imul, "imul");

/// The dividend: AX for bytes, else RDX:RAX of the width.
#[inline(always)]
fn dividend<const BYTES: usize>(cpu: &Cpu) -> u128 {
    let (low, high) = (whole(cpu, RAX), whole(cpu, RDX));
    match BYTES {
        1 => u128::from(low & 0xFFFF),
        2 => u128::from(low & 0xFFFF | (high & 0xFFFF) << 16),
        4 => u128::from(low & 0xFFFF_FFFF | high << 32),
        _ => u128::from(low) | u128::from(high) << 64,
    }
}

#[inline(always)]
fn set_quotient<const BYTES: usize>(cpu: &mut Cpu, quotient: u64, remainder: u64) {
    if BYTES == 1 {
        set::<2>(cpu, RAX, quotient & 0xFF | (remainder & 0xFF) << 8);
    } else {
        set::<BYTES>(cpu, RAX, quotient);
        set::<BYTES>(cpu, RDX, remainder);
    }
}

/// Divides; `None` is #DE. All status flags are undefined; they stay.
#[inline(always)]
fn div<const BYTES: usize>(cpu: &mut Cpu, divisor: u64) -> Option<()> {
    let divisor = truncate::<BYTES>(divisor);
    let dividend = dividend::<BYTES>(cpu);
    if divisor == 0 || (dividend >> (8 * BYTES)) as u64 >= divisor {
        return None;
    }
    let (quotient, remainder) = match BYTES {
        8 => divide_128(dividend, divisor),
        _ => (dividend as u64 / divisor, dividend as u64 % divisor),
    };
    set_quotient::<BYTES>(cpu, quotient, remainder);
    Some(())
}

/// The host's division of 128 by 64 bits. The upper half of the dividend must be below the divisor.
#[inline(always)]
fn divide_128(dividend: u128, divisor: u64) -> (u64, u64) {
    let (quotient, remainder);
    // SAFETY: the quotient fits, as the caller has checked, so the host raises nothing.
    unsafe {
        asm!(
            "div {divisor}",
            divisor = in(reg) divisor,
            inout("rax") dividend as u64 => quotient,
            inout("rdx") (dividend >> 64) as u64 => remainder,
            options(pure, nomem, nostack),
        );
    }
    (quotient, remainder)
}

#[inline(always)]
fn idiv<const BYTES: usize>(cpu: &mut Cpu, divisor: u64) -> Option<()> {
    let divisor = sign_extend::<BYTES>(divisor) as i64;
    if divisor == 0 {
        return None;
    }
    if BYTES == 8 {
        return idiv_128(cpu, divisor);
    }
    let shift = 64 - 16 * BYTES.min(4);
    let dividend = (dividend::<BYTES>(cpu) as i64) << shift >> shift;
    // The most negative 64-bit dividend by -1 does not fit anyway.
    let quotient = dividend.checked_div(divisor)?;
    if sign_extend::<BYTES>(quotient as u64) as i64 != quotient {
        return None;
    }
    set_quotient::<BYTES>(cpu, quotient as u64, (dividend % divisor) as u64);
    Some(())
}

fn idiv_128(cpu: &mut Cpu, divisor: i64) -> Option<()> {
    let dividend = dividend::<8>(cpu) as i128;
    let (magnitude, divisor_magnitude) = (dividend.unsigned_abs(), divisor.unsigned_abs());
    if (magnitude >> 64) as u64 >= divisor_magnitude {
        return None;
    }
    let (quotient, remainder) = divide_128(magnitude, divisor_magnitude);
    let negative = (dividend < 0) != (divisor < 0);
    let most = if negative { 1 << 63 } else { (1 << 63) - 1 };
    if quotient > most {
        return None;
    }
    let quotient = if negative { quotient.wrapping_neg() } else { quotient };
    let remainder = if dividend < 0 { remainder.wrapping_neg() } else { remainder };
    set_quotient::<8>(cpu, quotient, remainder);
    Some(())
}

bodies! {
    /// MUL register
    MulReg<const BYTES>(cpu, op, P) {
        let b = get::<BYTES>(cpu, op.register);
        mul::<BYTES>(cpu, b);
        Ok(())
    }

    /// MUL memory
    MulMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let b = P::read::<BYTES>(cpu, address)?;
        mul::<BYTES>(cpu, b);
        Ok(())
    }

    /// IMUL register, one operand
    ImulReg<const BYTES>(cpu, op, P) {
        let b = get::<BYTES>(cpu, op.register);
        imul::<BYTES>(cpu, b);
        Ok(())
    }

    /// IMUL memory, one operand
    ImulMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let b = P::read::<BYTES>(cpu, address)?;
        imul::<BYTES>(cpu, b);
        Ok(())
    }

    /// IMUL register, register
    Imul2Reg<const BYTES>(cpu, op, P) {
        let mut flags = cpu.flags;
        let (a, b) = (get::<BYTES>(cpu, op.register), get::<BYTES>(cpu, op.base));
        let result = alu::imul2::<BYTES>(a, b, &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, result);
        Ok(())
    }

    /// IMUL register, memory
    Imul2Mem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let b = P::read::<BYTES>(cpu, address)?;
        let mut flags = cpu.flags;
        let result = alu::imul2::<BYTES>(get::<BYTES>(cpu, op.register), b, &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, result);
        Ok(())
    }

    /// IMUL register, register, immediate
    Imul3Reg<const BYTES>(cpu, op, P) {
        let mut flags = cpu.flags;
        let result = alu::imul2::<BYTES>(get::<BYTES>(cpu, op.base), op.immediate, &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, result);
        Ok(())
    }

    /// IMUL register, memory, immediate
    Imul3Mem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let a = P::read::<BYTES>(cpu, address)?;
        let mut flags = cpu.flags;
        let result = alu::imul2::<BYTES>(a, op.immediate, &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, result);
        Ok(())
    }

    /// DIV register
    DivReg<const BYTES>(cpu, op, P) {
        let divisor = get::<BYTES>(cpu, op.register);
        div::<BYTES>(cpu, divisor).ok_or_else(|| P::stop(Stop::DIVIDE_ERROR))
    }

    /// DIV memory
    DivMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let divisor = P::read::<BYTES>(cpu, address)?;
        div::<BYTES>(cpu, divisor).ok_or_else(|| P::stop(Stop::DIVIDE_ERROR))
    }

    /// IDIV register
    IdivReg<const BYTES>(cpu, op, P) {
        let divisor = get::<BYTES>(cpu, op.register);
        idiv::<BYTES>(cpu, divisor).ok_or_else(|| P::stop(Stop::DIVIDE_ERROR))
    }

    /// IDIV memory
    IdivMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let divisor = P::read::<BYTES>(cpu, address)?;
        idiv::<BYTES>(cpu, divisor).ok_or_else(|| P::stop(Stop::DIVIDE_ERROR))
    }
}

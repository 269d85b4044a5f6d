// SPDX-License-Identifier: MIT OR Apache-2.0
//! BT, BTS, BTR, BTC; BSF and BSR.

use std::marker::PhantomData;

use super::alu;
use super::path::{Body, Path};
use super::register::{get, set, set_whole, sign_extend};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};

/// What becomes of the bit that is tested.
pub(crate) trait BitChange {
    const STORES: bool;
    fn apply<const BYTES: usize>(a: u64, bit: u64, flags: &mut Flags) -> u64;
}

macro_rules! bit_changes {
    ($($name:ident = $function:ident, $stores:literal;)*) => {$(
        pub(crate) enum $name {}
        impl BitChange for $name {
            const STORES: bool = $stores;
            #[inline(always)]
            fn apply<const BYTES: usize>(a: u64, bit: u64, flags: &mut Flags) -> u64 {
                alu::$function::<BYTES>(a, bit, flags)
            }
        }
    )*};
}

bit_changes! {
    Bt = bt, false;
    Bts = bts, true;
    Btr = btr, true;
    Btc = btc, true;
}

/// Bit in a register (`base`), its number in a register.
pub(crate) struct BitRegReg<O, const BYTES: usize>(PhantomData<O>);
/// Bit in a register (`register`), its number immediate.
pub(crate) struct BitRegImm<O, const BYTES: usize>(PhantomData<O>);
/// Bit in memory, its number immediate.
pub(crate) struct BitMemImm<O, const BYTES: usize>(PhantomData<O>);
/// Bit in a string in memory, its number in a register.
pub(crate) struct BitMemReg<O, const BYTES: usize>(PhantomData<O>);
/// The same with LOCK.
pub(crate) struct BitLockImm<O, const BYTES: usize>(PhantomData<O>);
/// The same with LOCK.
pub(crate) struct BitLockReg<O, const BYTES: usize>(PhantomData<O>);

#[inline(always)]
fn in_register<O: BitChange, const BYTES: usize>(cpu: &mut Cpu, register: u8, bit: u64) {
    let mut flags = cpu.flags;
    let result = O::apply::<BYTES>(get::<BYTES>(cpu, register), bit, &mut flags);
    cpu.flags = flags;
    if O::STORES {
        set::<BYTES>(cpu, register, result);
    }
}

#[inline(always)]
fn in_memory<O: BitChange, P: Path, const BYTES: usize, const LOCK: bool>(
    cpu: &mut Cpu,
    address: u64,
    bit: u64,
) -> Result<(), P::Stop> {
    let before = cpu.flags;
    let mut flags = before;
    let mut change = |a| {
        flags = before;
        O::apply::<BYTES>(a, bit, &mut flags)
    };
    if !O::STORES {
        change(P::read::<BYTES>(cpu, address)?);
    } else if LOCK {
        P::update_locked::<BYTES>(cpu, address, change)?;
    } else {
        P::update::<BYTES>(cpu, address, change)?;
    }
    cpu.flags = flags;
    Ok(())
}

/// The operand of a bit string that holds bit `number`, as a displacement.
#[inline(always)]
fn displacement<const BYTES: usize>(number: u64) -> i64 {
    let bits = BYTES as i64 * 8;
    (sign_extend::<BYTES>(number) as i64).div_euclid(bits) * BYTES as i64
}

impl<O: BitChange, const BYTES: usize> Body for BitRegReg<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let bit = get::<BYTES>(cpu, op.register);
        in_register::<O, BYTES>(cpu, op.base, bit);
        Ok(())
    }
}

impl<O: BitChange, const BYTES: usize> Body for BitRegImm<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        in_register::<O, BYTES>(cpu, op.register, op.immediate);
        Ok(())
    }
}

macro_rules! in_memory_bodies {
    ($($name:ident, $lock:literal, $by_register:literal;)*) => {$(
        impl<O: BitChange, const BYTES: usize> Body for $name<O, BYTES> {
            #[inline(always)]
            fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
                if $by_register {
                    let number = get::<BYTES>(cpu, op.register);
                    let by = displacement::<BYTES>(number);
                    let address = P::address_displaced(cpu, op, by, BYTES, O::STORES)?;
                    in_memory::<O, P, BYTES, $lock>(cpu, address, number)
                } else {
                    let address = P::address(cpu, op, BYTES, O::STORES)?;
                    in_memory::<O, P, BYTES, $lock>(cpu, address, op.immediate)
                }
            }
        }
    )*};
}

in_memory_bodies! {
    BitMemImm, false, false;
    BitMemReg, false, true;
    BitLockImm, true, false;
    BitLockReg, true, true;
}

/// Which end a scan begins at.
pub(crate) trait Scan {
    fn apply<const BYTES: usize>(a: u64, b: u64, flags: &mut Flags) -> u64;
}

pub(crate) enum Bsf {}
pub(crate) enum Bsr {}

impl Scan for Bsf {
    #[inline(always)]
    fn apply<const BYTES: usize>(a: u64, b: u64, flags: &mut Flags) -> u64 {
        alu::bsf::<BYTES>(a, b, flags)
    }
}

impl Scan for Bsr {
    #[inline(always)]
    fn apply<const BYTES: usize>(a: u64, b: u64, flags: &mut Flags) -> u64 {
        alu::bsr::<BYTES>(a, b, flags)
    }
}

pub(crate) struct ScanReg<O, const BYTES: usize>(PhantomData<O>);
pub(crate) struct ScanMem<O, const BYTES: usize>(PhantomData<O>);

#[inline(always)]
fn scan<O: Scan, const BYTES: usize>(cpu: &mut Cpu, op: &Op, source: u64) {
    let mut flags = cpu.flags;
    // The host writes the register, or leaves it if the source is zero, upper bits and all.
    let result = O::apply::<BYTES>(get::<BYTES>(cpu, op.register), source, &mut flags);
    cpu.flags = flags;
    set_whole(cpu, op.register, result);
}

impl<O: Scan, const BYTES: usize> Body for ScanReg<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let source = get::<BYTES>(cpu, op.base);
        scan::<O, BYTES>(cpu, op, source);
        Ok(())
    }
}

impl<O: Scan, const BYTES: usize> Body for ScanMem<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let address = P::address(cpu, op, BYTES, false)?;
        let source = P::read::<BYTES>(cpu, address)?;
        scan::<O, BYTES>(cpu, op, source);
        Ok(())
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST; INC, DEC, NEG, NOT.

use std::marker::PhantomData;

use super::alu;
use super::path::{Body, Path};
use super::register::{get, set};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};

/// What a two-operand instruction computes.
pub(crate) trait Binary {
    /// Whether the result goes into the first operand.
    const STORES: bool;
    fn apply<const BYTES: usize>(a: u64, b: u64, flags: &mut Flags) -> u64;
}

/// What a one-operand instruction computes.
pub(crate) trait Unary {
    fn apply<const BYTES: usize>(a: u64, flags: &mut Flags) -> u64;
}

macro_rules! binary {
    ($($name:ident = $function:ident, $stores:literal;)*) => {$(
        pub(crate) enum $name {}
        impl Binary for $name {
            const STORES: bool = $stores;
            #[inline(always)]
            fn apply<const BYTES: usize>(a: u64, b: u64, flags: &mut Flags) -> u64 {
                alu::$function::<BYTES>(a, b, flags)
            }
        }
    )*};
}

binary! {
    Add = add, true;
    Or = or, true;
    Adc = adc, true;
    Sbb = sbb, true;
    And = and, true;
    Sub = sub, true;
    Xor = xor, true;
    Cmp = cmp, false;
    Test = test, false;
}

macro_rules! unary {
    ($($name:ident = $function:ident;)*) => {$(
        pub(crate) enum $name {}
        impl Unary for $name {
            #[inline(always)]
            fn apply<const BYTES: usize>(a: u64, flags: &mut Flags) -> u64 {
                alu::$function::<BYTES>(a, flags)
            }
        }
    )*};
}

unary! {
    Inc = inc;
    Dec = dec;
    Neg = neg;
}

pub(crate) enum Not {}

impl Unary for Not {
    #[inline(always)]
    fn apply<const BYTES: usize>(a: u64, _flags: &mut Flags) -> u64 {
        !a
    }
}

/// register ∘ register
pub(crate) struct RegReg<O, const BYTES: usize>(PhantomData<O>);
/// register ∘ immediate
pub(crate) struct RegImm<O, const BYTES: usize>(PhantomData<O>);
/// register ∘ memory
pub(crate) struct RegMem<O, const BYTES: usize>(PhantomData<O>);
/// memory ∘ register
pub(crate) struct MemReg<O, const BYTES: usize>(PhantomData<O>);
/// memory ∘ immediate
pub(crate) struct MemImm<O, const BYTES: usize>(PhantomData<O>);
/// LOCK memory ∘ register
pub(crate) struct LockReg<O, const BYTES: usize>(PhantomData<O>);
/// LOCK memory ∘ immediate
pub(crate) struct LockImm<O, const BYTES: usize>(PhantomData<O>);

#[inline(always)]
fn on_register<O: Binary, const BYTES: usize>(cpu: &mut Cpu, op: &Op, b: u64) {
    let mut flags = cpu.flags;
    let result = O::apply::<BYTES>(get::<BYTES>(cpu, op.register), b, &mut flags);
    cpu.flags = flags;
    if O::STORES {
        set::<BYTES>(cpu, op.register, result);
    }
}

#[inline(always)]
fn on_memory<O: Binary, P: Path, const BYTES: usize>(cpu: &mut Cpu, op: &Op, b: u64) -> Result<(), P::Stop> {
    let address = P::address(cpu, op, BYTES, O::STORES)?;
    let mut flags = cpu.flags;
    if O::STORES {
        P::update::<BYTES>(cpu, address, |a| O::apply::<BYTES>(a, b, &mut flags))?;
    } else {
        let a = P::read::<BYTES>(cpu, address)?;
        O::apply::<BYTES>(a, b, &mut flags);
    }
    cpu.flags = flags;
    Ok(())
}

#[inline(always)]
fn on_memory_locked<O: Binary, P: Path, const BYTES: usize>(
    cpu: &mut Cpu,
    op: &Op,
    b: u64,
) -> Result<(), P::Stop> {
    let address = P::address(cpu, op, BYTES, true)?;
    let before = cpu.flags;
    let mut flags = before;
    P::update_locked::<BYTES>(cpu, address, |a| {
        flags = before;
        O::apply::<BYTES>(a, b, &mut flags)
    })?;
    cpu.flags = flags;
    Ok(())
}

impl<O: Binary, const BYTES: usize> Body for RegReg<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let b = get::<BYTES>(cpu, op.base);
        on_register::<O, BYTES>(cpu, op, b);
        Ok(())
    }
}

impl<O: Binary, const BYTES: usize> Body for RegImm<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        on_register::<O, BYTES>(cpu, op, op.immediate);
        Ok(())
    }
}

impl<O: Binary, const BYTES: usize> Body for RegMem<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let address = P::address(cpu, op, BYTES, false)?;
        let b = P::read::<BYTES>(cpu, address)?;
        on_register::<O, BYTES>(cpu, op, b);
        Ok(())
    }
}

impl<O: Binary, const BYTES: usize> Body for MemReg<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let b = get::<BYTES>(cpu, op.register);
        on_memory::<O, P, BYTES>(cpu, op, b)
    }
}

impl<O: Binary, const BYTES: usize> Body for MemImm<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        on_memory::<O, P, BYTES>(cpu, op, op.immediate)
    }
}

impl<O: Binary, const BYTES: usize> Body for LockReg<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let b = get::<BYTES>(cpu, op.register);
        on_memory_locked::<O, P, BYTES>(cpu, op, b)
    }
}

impl<O: Binary, const BYTES: usize> Body for LockImm<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        on_memory_locked::<O, P, BYTES>(cpu, op, op.immediate)
    }
}

/// ∘ register
pub(crate) struct OneReg<O, const BYTES: usize>(PhantomData<O>);
/// ∘ memory
pub(crate) struct OneMem<O, const BYTES: usize>(PhantomData<O>);
/// LOCK ∘ memory
pub(crate) struct OneLock<O, const BYTES: usize>(PhantomData<O>);

impl<O: Unary, const BYTES: usize> Body for OneReg<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let mut flags = cpu.flags;
        let result = O::apply::<BYTES>(get::<BYTES>(cpu, op.register), &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, result);
        Ok(())
    }
}

impl<O: Unary, const BYTES: usize> Body for OneMem<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let address = P::address(cpu, op, BYTES, true)?;
        let mut flags = cpu.flags;
        P::update::<BYTES>(cpu, address, |a| O::apply::<BYTES>(a, &mut flags))?;
        cpu.flags = flags;
        Ok(())
    }
}

impl<O: Unary, const BYTES: usize> Body for OneLock<O, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let address = P::address(cpu, op, BYTES, true)?;
        let before = cpu.flags;
        let mut flags = before;
        P::update_locked::<BYTES>(cpu, address, |a| {
            flags = before;
            O::apply::<BYTES>(a, &mut flags)
        })?;
        cpu.flags = flags;
        Ok(())
    }
}

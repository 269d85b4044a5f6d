// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shifts and rotates, by an immediate or CL; SHLD and SHRD.

use std::marker::PhantomData;

use super::alu;
use super::path::{Body, Path};
use super::register::{get, set, whole};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};

/// What a shift computes.
pub(crate) trait Shift {
    fn apply<const BYTES: usize>(a: u64, count: u64, flags: &mut Flags) -> u64;
}

macro_rules! shifts {
    ($($name:ident = $function:ident;)*) => {$(
        pub(crate) enum $name {}
        impl Shift for $name {
            #[inline(always)]
            fn apply<const BYTES: usize>(a: u64, count: u64, flags: &mut Flags) -> u64 {
                alu::$function::<BYTES>(a, count, flags)
            }
        }
    )*};
}

shifts! {
    Shl = shl;
    Shr = shr;
    Sar = sar;
    Rol = rol;
    Ror = ror;
    Rcl = rcl;
    Rcr = rcr;
}

/// What SHLD or SHRD computes.
pub(crate) trait DoubleShift {
    fn apply<const BYTES: usize>(a: u64, b: u64, count: u64, flags: &mut Flags) -> u64;
}

macro_rules! double_shifts {
    ($($name:ident = $function:ident;)*) => {$(
        pub(crate) enum $name {}
        impl DoubleShift for $name {
            #[inline(always)]
            fn apply<const BYTES: usize>(a: u64, b: u64, count: u64, flags: &mut Flags) -> u64 {
                alu::$function::<BYTES>(a, b, count, flags)
            }
        }
    )*};
}

double_shifts! {
    Shld = shld;
    Shrd = shrd;
}

/// Where the count comes from.
pub(crate) trait Count {
    fn count(cpu: &Cpu, op: &Op) -> u64;
}

/// The immediate operand.
pub(crate) enum ByImmediate {}
/// CL.
pub(crate) enum ByCl {}

impl Count for ByImmediate {
    #[inline(always)]
    fn count(_cpu: &Cpu, op: &Op) -> u64 {
        op.immediate
    }
}

impl Count for ByCl {
    #[inline(always)]
    fn count(cpu: &Cpu, _op: &Op) -> u64 {
        whole(cpu, 8)
    }
}

pub(crate) struct ShiftReg<O, C, const BYTES: usize>(PhantomData<(O, C)>);
pub(crate) struct ShiftMem<O, C, const BYTES: usize>(PhantomData<(O, C)>);
/// The register that is shifted in is in `register`, the destination in `base` or memory.
pub(crate) struct DoubleReg<O, C, const BYTES: usize>(PhantomData<(O, C)>);
pub(crate) struct DoubleMem<O, C, const BYTES: usize>(PhantomData<(O, C)>);

impl<O: Shift, C: Count, const BYTES: usize> Body for ShiftReg<O, C, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let mut flags = cpu.flags;
        let result = O::apply::<BYTES>(get::<BYTES>(cpu, op.register), C::count(cpu, op), &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, result);
        Ok(())
    }
}

impl<O: Shift, C: Count, const BYTES: usize> Body for ShiftMem<O, C, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let address = P::address(cpu, op, BYTES, true)?;
        let count = C::count(cpu, op);
        let mut flags = cpu.flags;
        P::update::<BYTES>(cpu, address, |a| O::apply::<BYTES>(a, count, &mut flags))?;
        cpu.flags = flags;
        Ok(())
    }
}

impl<O: DoubleShift, C: Count, const BYTES: usize> Body for DoubleReg<O, C, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let mut flags = cpu.flags;
        let (a, b) = (get::<BYTES>(cpu, op.base), get::<BYTES>(cpu, op.register));
        let result = O::apply::<BYTES>(a, b, C::count(cpu, op), &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.base, result);
        Ok(())
    }
}

impl<O: DoubleShift, C: Count, const BYTES: usize> Body for DoubleMem<O, C, BYTES> {
    #[inline(always)]
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop> {
        let address = P::address(cpu, op, BYTES, true)?;
        let (b, count) = (get::<BYTES>(cpu, op.register), C::count(cpu, op));
        let mut flags = cpu.flags;
        P::update::<BYTES>(cpu, address, |a| O::apply::<BYTES>(a, b, count, &mut flags))?;
        cpu.flags = flags;
        Ok(())
    }
}

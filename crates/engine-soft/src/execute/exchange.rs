// SPDX-License-Identifier: MIT OR Apache-2.0
//! XCHG with memory, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B.

use super::alu;
use super::moves::bodies;
use super::path::{Body, Path};
use super::register::{get, set, set_whole, truncate, whole};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};
use crate::stop::Stop;

const RAX: u8 = 0;
const RCX: u8 = 8;
const RDX: u8 = 16;
const RBX: u8 = 24;

/// Locked or plain, as a constant of the body: 1 or 0.
#[inline(always)]
fn update<P: Path, const BYTES: usize, const LOCK: usize>(
    cpu: &mut Cpu,
    address: u64,
    change: impl FnMut(u64) -> u64,
) -> Result<(), P::Stop> {
    if LOCK == 1 {
        P::update_locked::<BYTES>(cpu, address, change)
    } else {
        P::update::<BYTES>(cpu, address, change)
    }
}

bodies! {
    /// XCHG memory, register: always locked
    XchgMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, true)?;
        let new = get::<BYTES>(cpu, op.register);
        let mut old = 0;
        P::update_locked::<BYTES>(cpu, address, |a| {
            old = a;
            new
        })?;
        set::<BYTES>(cpu, op.register, old);
        Ok(())
    }

    /// XADD register (`base`), register
    XaddReg<const BYTES>(cpu, op, P) {
        let (a, b) = (get::<BYTES>(cpu, op.base), get::<BYTES>(cpu, op.register));
        let mut flags = cpu.flags;
        let sum = alu::add::<BYTES>(a, b, &mut flags);
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, a);
        set::<BYTES>(cpu, op.base, sum);
        Ok(())
    }

    /// XADD memory, register
    XaddMem<const BYTES, const LOCK>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, true)?;
        let b = get::<BYTES>(cpu, op.register);
        let mut flags = cpu.flags;
        let mut old = 0;
        update::<P, BYTES, LOCK>(cpu, address, |a| {
            old = a;
            alu::add::<BYTES>(a, b, &mut flags)
        })?;
        cpu.flags = flags;
        set::<BYTES>(cpu, op.register, old);
        Ok(())
    }

    /// CMPXCHG register (`base`), register
    CmpxchgReg<const BYTES>(cpu, op, P) {
        let old = get::<BYTES>(cpu, op.base);
        let mut flags = cpu.flags;
        alu::cmp::<BYTES>(whole(cpu, RAX), old, &mut flags);
        cpu.flags = flags;
        if flags.has(Flags::ZF) {
            let new = get::<BYTES>(cpu, op.register);
            set::<BYTES>(cpu, op.base, new);
        } else {
            set::<BYTES>(cpu, RAX, old);
        }
        Ok(())
    }

    /// CMPXCHG memory, register. It writes in any case.
    CmpxchgMem<const BYTES, const LOCK>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, true)?;
        let new = get::<BYTES>(cpu, op.register);
        let expected = truncate::<BYTES>(whole(cpu, RAX));
        let mut found = 0;
        update::<P, BYTES, LOCK>(cpu, address, |a| {
            found = a;
            if a == expected { new } else { a }
        })?;
        let mut flags = cpu.flags;
        alu::cmp::<BYTES>(expected, found, &mut flags);
        cpu.flags = flags;
        if found != expected {
            set::<BYTES>(cpu, RAX, found);
        }
        Ok(())
    }

    /// CMPXCHG8B, locked or not
    Cmpxchg8b<>(cpu, op, P) {
        let address = P::address(cpu, op, 8, true)?;
        let pair = |cpu: &Cpu, low, high| whole(cpu, low) & 0xFFFF_FFFF | whole(cpu, high) << 32;
        let (expected, new) = (pair(cpu, RAX, RDX), pair(cpu, RBX, RCX));
        let mut found = 0;
        P::update_locked::<8>(cpu, address, |a| {
            found = a;
            if a == expected { new } else { a }
        })?;
        cpu.flags.set(Flags::ZF, found == expected);
        if found != expected {
            set_whole(cpu, RAX, found & 0xFFFF_FFFF);
            set_whole(cpu, RDX, found >> 32);
        }
        Ok(())
    }

    /// CMPXCHG16B, locked or not. Rare enough for the slow path alone.
    Cmpxchg16b<>(cpu, op, P) {
        let address = P::address(cpu, op, 16, true)?;
        if !address.is_multiple_of(16) {
            return Err(P::stop(Stop::GENERAL_PROTECTION));
        }
        let pair = |cpu: &Cpu, low, high| u128::from(whole(cpu, low)) | u128::from(whole(cpu, high)) << 64;
        let (expected, new) = (pair(cpu, RAX, RDX), pair(cpu, RBX, RCX));
        let privilege = cpu.privilege();
        let found = cpu.compare_exchange_16(address, expected, new, privilege).map_err(P::stop)?;
        cpu.flags.set(Flags::ZF, found == expected);
        if found != expected {
            set_whole(cpu, RAX, found as u64);
            set_whole(cpu, RDX, (found >> 64) as u64);
        }
        Ok(())
    }
}

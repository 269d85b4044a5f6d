// SPDX-License-Identifier: MIT OR Apache-2.0
//! AAA, AAS, AAD, AAM, DAA, DAS: they exist outside 64-bit mode only, where the host cannot execute them for us.

use super::alu;
use super::moves::bodies;
use super::path::{Body, Path};
use super::register::{set, whole};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};
use crate::stop::Stop;

const RAX: u8 = 0;

/// SF, ZF and PF of AL; CF and AF as given; OF as the host's TEST leaves it (it is undefined).
fn set_flags(cpu: &mut Cpu, al: u64, carry: bool, adjust: bool) {
    let mut flags = cpu.flags;
    alu::test::<1>(al, al, &mut flags);
    flags.set(Flags::CF, carry);
    flags.set(Flags::AF, adjust);
    cpu.flags = flags;
}

/// AAA and AAS: `by` is added to AX if the low digit is too large.
fn adjust_ascii(cpu: &mut Cpu, by: u64) {
    let ax = whole(cpu, RAX);
    let adjust = ax & 0xF > 9 || cpu.flags.has(Flags::AF);
    let ax = if adjust { ax.wrapping_add(by) } else { ax };
    set::<2>(cpu, RAX, ax & 0xFF0F);
    set_flags(cpu, ax & 0xF, adjust, adjust);
}

/// DAA and DAS: `sign` is 1 or -1.
fn adjust_decimal(cpu: &mut Cpu, sign: i64) {
    let old = whole(cpu, RAX) & 0xFF;
    let old_carry = cpu.flags.has(Flags::CF);
    let mut al = old as i64;
    let mut carry = false;
    let adjust = old & 0xF > 9 || cpu.flags.has(Flags::AF);
    if adjust {
        al += 6 * sign;
        carry = old_carry || !(0..=0xFF).contains(&al);
    }
    if old > 0x99 || old_carry {
        al += 0x60 * sign;
        carry = true;
    }
    let al = al as u64 & 0xFF;
    set::<1>(cpu, RAX, al);
    set_flags(cpu, al, carry, adjust);
}

bodies! {
    /// AAA
    Aaa<>(cpu, op, P) {
        adjust_ascii(cpu, 0x106);
        Ok(())
    }
    /// AAS
    Aas<>(cpu, op, P) {
        adjust_ascii(cpu, 0x106u64.wrapping_neg());
        Ok(())
    }
    /// DAA
    Daa<>(cpu, op, P) {
        adjust_decimal(cpu, 1);
        Ok(())
    }
    /// DAS
    Das<>(cpu, op, P) {
        adjust_decimal(cpu, -1);
        Ok(())
    }
    /// AAM, with its base as immediate
    Aam<>(cpu, op, P) {
        let base = op.immediate & 0xFF;
        if base == 0 {
            return Err(P::stop(Stop::DIVIDE_ERROR));
        }
        let al = whole(cpu, RAX) & 0xFF;
        set::<2>(cpu, RAX, ((al / base) << 8) | (al % base));
        set_flags(cpu, al % base, false, false);
        Ok(())
    }
    /// AAD, with its base as immediate
    Aad<>(cpu, op, P) {
        let ax = whole(cpu, RAX);
        let al = (ax & 0xFF).wrapping_add((ax >> 8 & 0xFF) * (op.immediate & 0xFF)) & 0xFF;
        set::<2>(cpu, RAX, al);
        set_flags(cpu, al, false, false);
        Ok(())
    }
}

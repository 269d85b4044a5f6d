// SPDX-License-Identifier: MIT OR Apache-2.0
//! MOV, MOVZX, MOVSX, LEA, XCHG of registers, BSWAP, CMOVcc, SETcc, CBW and CWD and their kin, XLAT.

use super::path::{Body, Path, effective_address};
use super::register::{get, get_zero_extended, set, set_whole, sign_extend, truncate, whole};
use crate::block::Op;
use crate::cpu::Cpu;
use crate::run::{PAUSE_COST, SPIN_WAIT};

/// Declares bodies without type parameters other than widths.
macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident<$(const $width:ident),*>($cpu:ident, $op:ident, $path:ident) $block:block)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name<$(const $width: usize),*>;
        impl<$(const $width: usize),*> Body for $name<$($width),*> {
            #[inline(always)]
            #[allow(unused_variables)]
            fn run<$path: Path>($cpu: &mut Cpu, $op: &Op) -> Result<(), $path::Stop> $block
        }
    )*};
}
pub(super) use bodies;

bodies! {
    /// MOV register, register
    MovRegReg<const BYTES>(cpu, op, P) {
        let value = get::<BYTES>(cpu, op.base);
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// MOV register, immediate
    MovRegImm<const BYTES>(cpu, op, P) {
        set::<BYTES>(cpu, op.register, op.immediate);
        Ok(())
    }

    /// MOV register, memory
    Load<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let value = P::read::<BYTES>(cpu, address)?;
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// MOV memory, register
    Store<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, true)?;
        let value = get::<BYTES>(cpu, op.register);
        P::write::<BYTES>(cpu, address, value)
    }

    /// MOV memory, immediate
    StoreImm<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, true)?;
        P::write::<BYTES>(cpu, address, op.immediate)
    }

    /// MOVZX register, register
    ZeroExtendReg<const FROM, const TO>(cpu, op, P) {
        let value = get_zero_extended::<FROM>(cpu, op.base);
        set::<TO>(cpu, op.register, value);
        Ok(())
    }

    /// MOVZX register, memory
    ZeroExtendMem<const FROM, const TO>(cpu, op, P) {
        let address = P::address(cpu, op, FROM, false)?;
        let value = P::read::<FROM>(cpu, address)?;
        set::<TO>(cpu, op.register, value);
        Ok(())
    }

    /// MOVSX, MOVSXD register, register
    SignExtendReg<const FROM, const TO>(cpu, op, P) {
        let value = sign_extend::<FROM>(get::<FROM>(cpu, op.base));
        set::<TO>(cpu, op.register, value);
        Ok(())
    }

    /// MOVSX, MOVSXD register, memory
    SignExtendMem<const FROM, const TO>(cpu, op, P) {
        let address = P::address(cpu, op, FROM, false)?;
        let value = sign_extend::<FROM>(P::read::<FROM>(cpu, address)?);
        set::<TO>(cpu, op.register, value);
        Ok(())
    }

    /// LEA
    Lea<const BYTES>(cpu, op, P) {
        // The same on both paths: the segment does not matter, so decode gives no base of FS or GS.
        let value = effective_address(cpu, op, 0);
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// LEA of a 64-bit address
    Lea64<const BYTES>(cpu, op, P) {
        let index = whole(cpu, op.index) << (op.scale & 3);
        let value = whole(cpu, op.base).wrapping_add(index).wrapping_add(op.displacement as u64);
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// XCHG register, register
    XchgRegReg<const BYTES>(cpu, op, P) {
        let (a, b) = (get::<BYTES>(cpu, op.register), get::<BYTES>(cpu, op.base));
        set::<BYTES>(cpu, op.register, b);
        set::<BYTES>(cpu, op.base, a);
        Ok(())
    }

    /// BSWAP
    Bswap<const BYTES>(cpu, op, P) {
        let value = whole(cpu, op.register);
        match BYTES {
            8 => set_whole(cpu, op.register, value.swap_bytes()),
            4 => set_whole(cpu, op.register, u64::from((value as u32).swap_bytes())),
            // Undefined; processors clear the register's low half.
            _ => set_whole(cpu, op.register, value & !0xFFFF),
        }
        Ok(())
    }

    /// CMOVcc register, register; the condition is in `extra`
    CmovRegReg<const BYTES>(cpu, op, P) {
        let from = if cpu.flags.condition(op.extra) { op.base } else { op.register };
        let value = get::<BYTES>(cpu, from);
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// CMOVcc register, memory, which is read in any case
    CmovRegMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let loaded = P::read::<BYTES>(cpu, address)?;
        let value = if cpu.flags.condition(op.extra) { loaded } else { get::<BYTES>(cpu, op.register) };
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// SETcc register
    SetReg<>(cpu, op, P) {
        let value = cpu.flags.condition(op.extra).into();
        set::<1>(cpu, op.register, value);
        Ok(())
    }

    /// SETcc memory
    SetMem<>(cpu, op, P) {
        let address = P::address(cpu, op, 1, true)?;
        let value = cpu.flags.condition(op.extra).into();
        P::write::<1>(cpu, address, value)
    }

    /// CBW, CWDE, CDQE: RAX from its lower half
    ExtendAccumulator<const BYTES>(cpu, op, P) {
        let value = whole(cpu, 0);
        let extended = match BYTES {
            2 => sign_extend::<1>(value),
            4 => sign_extend::<2>(value),
            _ => sign_extend::<4>(value),
        };
        set::<BYTES>(cpu, 0, extended);
        Ok(())
    }

    /// CWD, CDQ, CQO: RDX from the sign of RAX
    SignAccumulator<const BYTES>(cpu, op, P) {
        let sign = (sign_extend::<BYTES>(whole(cpu, 0)) as i64 >> 63) as u64;
        set::<BYTES>(cpu, 2 * 8, sign);
        Ok(())
    }

    /// XLAT: its memory operand is [RBX], AL is added here
    Xlat<>(cpu, op, P) {
        let address = P::address_displaced(cpu, op, truncate::<1>(whole(cpu, 0)) as i64, 1, false)?;
        let value = P::read::<1>(cpu, address)?;
        set::<1>(cpu, 0, value);
        Ok(())
    }

    /// MOVBE register, memory
    MovbeLoad<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let value = P::read::<BYTES>(cpu, address)?.swap_bytes() >> (64 - 8 * BYTES);
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// MOVBE memory, register
    MovbeStore<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, true)?;
        let value = get::<BYTES>(cpu, op.register).swap_bytes() >> (64 - 8 * BYTES);
        P::write::<BYTES>(cpu, address, value)
    }

    /// NOP, and all hints but PAUSE
    Nop<>(cpu, op, P) {
        Ok(())
    }

    /// PAUSE
    Pause<>(cpu, op, P) {
        cpu.pauses += 1;
        cpu.budget -= PAUSE_COST;
        cpu.granted -= PAUSE_COST;
        if cpu.time.is_virtual() && cpu.pauses >= SPIN_WAIT {
            // It is noticed right behind this instruction, which ends its block.
            cpu.grant(0);
        }
        Ok(())
    }
}

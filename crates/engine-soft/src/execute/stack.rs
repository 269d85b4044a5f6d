// SPDX-License-Identifier: MIT OR Apache-2.0
//! PUSH, POP, PUSHA, POPA, ENTER, LEAVE.

use super::moves::bodies;
use super::path::{Body, Path};
use super::register::{get, set, set_whole, sign_extend, whole};
use crate::block::Op;
use crate::cpu::Cpu;
use crate::stop::Stop;

const RSP: u8 = 4 * 8;
const RBP: u8 = 5 * 8;

/// RSP moved by `by`, within the width of the stack.
#[inline(always)]
pub(super) fn moved(cpu: &Cpu, by: i64) -> u64 {
    let rsp = whole(cpu, RSP);
    within(cpu, rsp, rsp.wrapping_add(by as u64))
}

/// `new` in place of `old` in a register of the stack's width.
#[inline(always)]
fn within(cpu: &Cpu, old: u64, new: u64) -> u64 {
    if cpu.mode().is_64() {
        new
    } else if cpu.mode().stack_width() == 4 {
        new & 0xFFFF_FFFF
    } else {
        old & !0xFFFF | new & 0xFFFF
    }
}

/// Pushes; RSP moves when the write is done.
#[inline(always)]
pub(super) fn push<P: Path, const BYTES: usize>(cpu: &mut Cpu, value: u64) -> Result<(), P::Stop> {
    let pointer = moved(cpu, -(BYTES as i64));
    let address = P::stack_address(cpu, pointer, BYTES, true)?;
    P::write::<BYTES>(cpu, address, value)?;
    set_whole(cpu, RSP, pointer);
    Ok(())
}

/// Reads the top of the stack; RSP stays.
#[inline(always)]
pub(super) fn top<P: Path, const BYTES: usize>(cpu: &mut Cpu) -> Result<u64, P::Stop> {
    let address = P::stack_address(cpu, whole(cpu, RSP), BYTES, false)?;
    P::read::<BYTES>(cpu, address)
}

/// Moves RSP.
#[inline(always)]
pub(super) fn move_pointer(cpu: &mut Cpu, by: i64) {
    let pointer = moved(cpu, by);
    set_whole(cpu, RSP, pointer);
}

bodies! {
    /// PUSH register
    PushReg<const BYTES>(cpu, op, P) {
        let value = get::<BYTES>(cpu, op.register);
        push::<P, BYTES>(cpu, value)
    }

    /// PUSH immediate
    PushImm<const BYTES>(cpu, op, P) {
        push::<P, BYTES>(cpu, op.immediate)
    }

    /// PUSH memory
    PushMem<const BYTES>(cpu, op, P) {
        let address = P::address(cpu, op, BYTES, false)?;
        let value = P::read::<BYTES>(cpu, address)?;
        push::<P, BYTES>(cpu, value)
    }

    /// PUSH of a segment register, by number in `extra`. With 32-bit operands only 16 bits are written.
    PushSegment<const BYTES>(cpu, op, P) {
        let value = cpu.segment(segment_name(op.extra)).selector.into_bits().into();
        if BYTES != 4 {
            return push::<P, BYTES>(cpu, value);
        }
        let pointer = moved(cpu, -4);
        let address = P::stack_address(cpu, pointer, 2, true)?;
        P::write::<2>(cpu, address, value)?;
        set_whole(cpu, RSP, pointer);
        Ok(())
    }

    /// POP register
    PopReg<const BYTES>(cpu, op, P) {
        let value = top::<P, BYTES>(cpu)?;
        move_pointer(cpu, BYTES as i64);
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// POP memory: its address is worked out with RSP already moved
    PopMem<const BYTES>(cpu, op, P) {
        let value = top::<P, BYTES>(cpu)?;
        let rsp = whole(cpu, RSP);
        move_pointer(cpu, BYTES as i64);
        let written = match P::address(cpu, op, BYTES, true) {
            Ok(address) => P::write::<BYTES>(cpu, address, value),
            Err(stop) => Err(stop),
        };
        if written.is_err() {
            set_whole(cpu, RSP, rsp);
        }
        written
    }

    /// PUSHA, PUSHAD
    PushAll<const BYTES>(cpu, op, P) {
        let bottom = moved(cpu, -8 * BYTES as i64);
        let mut pointer = whole(cpu, RSP);
        // All of it is checked before any of it is written.
        for pass in 0..2 {
            pointer = whole(cpu, RSP);
            for register in 0..8 {
                pointer = within(cpu, pointer, pointer.wrapping_sub(BYTES as u64));
                let address = P::stack_address(cpu, pointer, BYTES, true)?;
                if pass == 0 {
                    let privilege = cpu.privilege();
                    cpu.check_alignment(address, BYTES, privilege).map_err(P::stop)?;
                    cpu.probe_write(address, BYTES, privilege).map_err(P::stop)?;
                } else {
                    let value = whole(cpu, 8 * register);
                    P::write::<BYTES>(cpu, address, value)?;
                }
            }
        }
        debug_assert_eq!(pointer, bottom);
        set_whole(cpu, RSP, bottom);
        Ok(())
    }

    /// POPA, POPAD
    PopAll<const BYTES>(cpu, op, P) {
        let mut values = [0; 8];
        let mut pointer = whole(cpu, RSP);
        for value in values.iter_mut().rev() {
            let address = P::stack_address(cpu, pointer, BYTES, false)?;
            *value = P::read::<BYTES>(cpu, address)?;
            pointer = within(cpu, pointer, pointer.wrapping_add(BYTES as u64));
        }
        for (register, value) in values.into_iter().enumerate() {
            if register != 4 {
                set::<BYTES>(cpu, 8 * register as u8, value);
            }
        }
        set_whole(cpu, RSP, pointer);
        Ok(())
    }

    /// LEAVE
    Leave<const BYTES>(cpu, op, P) {
        let frame = whole(cpu, RBP);
        let address = P::stack_address(cpu, frame, BYTES, false)?;
        let value = P::read::<BYTES>(cpu, address)?;
        let rsp = whole(cpu, RSP);
        let pointer = within(cpu, rsp, frame);
        set_whole(cpu, RSP, within(cpu, pointer, pointer.wrapping_add(BYTES as u64)));
        set::<BYTES>(cpu, RBP, value);
        Ok(())
    }

    /// ENTER: size in the low 16 bits of the immediate, nesting level above
    Enter<const BYTES>(cpu, op, P) {
        let size = op.immediate & 0xFFFF;
        let level = op.immediate >> 16 & 31;
        let bytes = BYTES as u64;
        let rbp = whole(cpu, RBP);
        let rsp = whole(cpu, RSP);
        let step = |cpu: &Cpu, pointer: u64| within(cpu, pointer, pointer.wrapping_sub(bytes));
        let frame = step(cpu, rsp);
        let mut pointer = frame;
        let mut outer = rbp;
        let address = P::stack_address(cpu, frame, BYTES, true)?;
        P::write::<BYTES>(cpu, address, rbp)?;
        for _ in 1..level {
            outer = step(cpu, outer);
            let from = P::stack_address(cpu, outer, BYTES, false)?;
            let value = P::read::<BYTES>(cpu, from)?;
            pointer = step(cpu, pointer);
            let to = P::stack_address(cpu, pointer, BYTES, true)?;
            P::write::<BYTES>(cpu, to, value)?;
        }
        if level > 0 {
            pointer = step(cpu, pointer);
            let to = P::stack_address(cpu, pointer, BYTES, true)?;
            P::write::<BYTES>(cpu, to, frame)?;
        }
        let end = within(cpu, pointer, pointer.wrapping_sub(size));
        // The processor touches the new top with a write.
        let touched = P::stack_address(cpu, end, BYTES, true)?;
        let privilege = cpu.privilege();
        cpu.probe_write(touched, BYTES, privilege).map_err(P::stop)?;
        set_whole(cpu, RSP, end);
        set::<BYTES>(cpu, RBP, frame);
        Ok(())
    }

    /// BOUND register, memory
    Bound<const BYTES>(cpu, op, P) {
        let lower = P::address(cpu, op, BYTES, false)?;
        let upper = P::address_displaced(cpu, op, BYTES as i64, BYTES, false)?;
        let lower = sign_extend::<BYTES>(P::read::<BYTES>(cpu, lower)?) as i64;
        let upper = sign_extend::<BYTES>(P::read::<BYTES>(cpu, upper)?) as i64;
        let index = sign_extend::<BYTES>(get::<BYTES>(cpu, op.register)) as i64;
        if index < lower || index > upper {
            return Err(P::stop(Stop::exception(x86::exception::Exception::BoundRange)));
        }
        Ok(())
    }

    /// MOV register, segment register
    MovRegSegment<const BYTES>(cpu, op, P) {
        let value = cpu.segment(segment_name(op.extra)).selector.into_bits().into();
        set::<BYTES>(cpu, op.register, value);
        Ok(())
    }

    /// MOV memory, segment register: 16 bits
    MovMemSegment<>(cpu, op, P) {
        let address = P::address(cpu, op, 2, true)?;
        let value = cpu.segment(segment_name(op.extra)).selector.into_bits().into();
        P::write::<2>(cpu, address, value)
    }
}

/// A segment register by its number in instruction encodings.
#[inline(always)]
fn segment_name(number: u8) -> engine::SegmentName {
    use engine::SegmentName::{Cs, Ds, Es, Fs, Gs, Ss};
    [Es, Cs, Ss, Ds, Fs, Gs][usize::from(number % 6)]
}

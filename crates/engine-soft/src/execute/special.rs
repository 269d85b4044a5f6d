// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that leave the paths: slow instructions, and undefined ones.

use super::path::finish;
use crate::block::{Leave, Op};
use crate::cpu::{Cpu, rflags};
use crate::stop::{Next, Stop};

/// A slow instruction; `immediate` is its index in the block cache.
///
/// # Safety
/// As [`crate::block::Handler`].
#[inline(never)]
pub(crate) unsafe fn slow_instruction(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    let operation = unsafe { &*op };
    cpu.enter_slow(operation);
    let entry = cpu.blocks.slow_entry(operation.immediate);
    let epoch = cpu.context_epoch;
    let enabled = cpu.rflags() & rflags::IF;
    match (entry.function)(cpu, &entry.instruction) {
        Ok(Next::Jump) => {
            cpu.count_to_slow_op(1);
            Leave::LookUp
        }
        Ok(Next::Sequential) => {
            // What runs next may be other code, or the run loop may have something to do before it.
            let go_on = epoch == cpu.context_epoch
                // Most of them serialise: code that another processor has changed before is seen behind them.
                && !cpu.has_news()
                && !cpu.must_step()
                && cpu.events.pending.is_none()
                && cpu.rflags() & rflags::IF & !enabled == 0;
            if go_on {
                // SAFETY: a slow instruction is never the last operation of its block.
                return finish(cpu, Ok(()), unsafe { op.add(1) });
            }
            cpu.rip = cpu.next_rip;
            cpu.count_to_slow_op(1);
            Leave::LookUp
        }
        Err(stop) => cpu.stop_at_slow_op(stop),
    }
}

/// An instruction that does not exist: #UD.
///
/// # Safety
/// As [`crate::block::Handler`].
#[inline(never)]
pub(crate) unsafe fn undefined(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    cpu.enter_slow(unsafe { &*op });
    cpu.stop_at_slow_op(Stop::INVALID_OPCODE)
}

/// An instruction of more than 15 bytes: #GP(0).
///
/// # Safety
/// As [`crate::block::Handler`].
#[inline(never)]
pub(crate) unsafe fn too_long(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    cpu.enter_slow(unsafe { &*op });
    cpu.stop_at_slow_op(Stop::GENERAL_PROTECTION)
}

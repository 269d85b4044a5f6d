// SPDX-License-Identifier: MIT OR Apache-2.0
//! A compiled stub: what it needs, and how it runs.

use std::sync::Arc;

use super::code_memory::CodeMemory;
use super::frame::HostFrame;
use super::placement::Border;
use super::quick_x87::Quick;
use super::requirement::Requirement;
use super::simd_exception::{self, Entry, TrapSite};
use super::vector_state::EXCEPTIONS;

/// A set of general registers: bit n for register n in the order of [`HostFrame::gprs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterSet(pub u16);

impl RegisterSet {
    /// Whether register `index`, 0 to 15, is in the set.
    pub const fn contains(self, index: usize) -> bool {
        self.0 >> index & 1 != 0
    }

    /// The registers' indices, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..16).filter(move |&index| self.contains(index))
    }

    pub(super) fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }
}

/// The memory operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOperand {
    /// Bytes, 1 to 32.
    pub size: u8,
    /// Copy it into the bounce buffer before the run.
    pub read: bool,
    /// Copy it out of the bounce buffer after the run.
    pub write: bool,
    /// The address must be a multiple of this, else the instruction raises `#GP(0)` (`#SS(0)` with SS). 1 says that
    /// any address will do; alignment checking (`#AC`) is the interpreter's.
    pub alignment: u8,
}

/// Where an x87 instruction stands, for FIP, FOP and FDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct X87Site {
    /// RIP of the instruction, its prefixes included.
    pub rip: u64,
    /// The low three bits of its first opcode byte, then its ModRM byte: 11 bits.
    pub opcode: u16,
    /// Offset of its memory operand in its segment, if it has one.
    pub data: Option<u64>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Executed; results are in the frame.
    Done,
    /// Executed as far as it goes: an x87 store raised an unmasked exception, which is now pending. Registers in the
    /// frame are right, but the memory operand is not written and must not be copied out.
    DoneWithoutStore,
    /// Not executed: an unmasked x87 exception is pending. `#MF` if CR0.NE is set, else FERR#.
    X87Pending,
    /// Not executed: an unmasked SIMD floating-point exception. MXCSR's flags are as hardware sets them, nothing
    /// else changed. `#XM` if CR4.OSXMMEXCPT is set, else `#UD`.
    SimdException,
}

/// One instruction, compiled for the host.
#[derive(Debug)]
pub struct Stub {
    pub(super) entry: Entry,
    pub(super) trap_site: TrapSite,
    pub(super) border: Border,
    pub(super) requirement: Requirement,
    pub(super) memory: Option<MemoryOperand>,
    pub(super) gprs_read: RegisterSet,
    pub(super) gprs_written: RegisterSet,
    pub(super) flags_read: u64,
    pub(super) flags_written: u64,
    pub(super) has_x87_site: bool,
    pub(super) quick: Option<Quick>,
    /// Keeps the code mapped.
    pub(super) _code: Arc<CodeMemory>,
}

impl Stub {
    /// What control registers must allow before each run.
    #[inline]
    pub fn requirement(&self) -> Requirement {
        self.requirement
    }

    /// The memory operand, if there is one.
    #[inline]
    pub fn memory(&self) -> Option<MemoryOperand> {
        self.memory
    }

    /// General registers that the stub loads.
    #[inline]
    pub fn gprs_read(&self) -> RegisterSet {
        self.gprs_read
    }

    /// General registers that the stub stores, as full 64-bit registers.
    #[inline]
    pub fn gprs_written(&self) -> RegisterSet {
        self.gprs_written
    }

    /// Status flags that must be in [`HostFrame::rflags`] before a run, as bits of RFLAGS.
    #[inline]
    pub fn flags_read(&self) -> u64 {
        self.flags_read
    }

    /// Status flags that a run changes. Flags that the architecture leaves undefined are not among them: they
    /// stay as they are.
    #[inline]
    pub fn flags_written(&self) -> u64 {
        self.flags_written
    }

    /// How much state the stub moves.
    #[inline]
    pub fn border(&self) -> Border {
        self.border
    }

    /// Runs the instruction on `frame`. `site` is asked only for x87 instructions.
    #[inline]
    pub fn run(&self, frame: &mut HostFrame, site: impl FnOnce() -> X87Site) -> Outcome {
        match self.border {
            Border::General | Border::Vector | Border::Avx => {
                self.call(frame);
                Outcome::Done
            }
            Border::VectorWithMxcsr | Border::AvxWithMxcsr => {
                if frame.vector.simd_exceptions_masked() {
                    self.call(frame);
                    Outcome::Done
                } else {
                    self.call_unmasked(frame)
                }
            }
            Border::Legacy => self.run_legacy(frame, self.has_x87_site.then(site)),
        }
    }

    #[inline(never)]
    fn run_legacy(&self, frame: &mut HostFrame, site: Option<X87Site>) -> Outcome {
        if frame.vector.x87_exception_pending() {
            return Outcome::X87Pending;
        }
        if let Some(quick) = &self.quick
            && quick.shape.fits(&frame.vector)
            && host_masks_x87_exceptions()
        {
            // SAFETY: as for `call`; in the quick form, no x87 exception is unmasked.
            unsafe { (quick.entry)(frame) };
            quick.shape.finish(frame);
            if let Some(site) = site {
                let data = site.data.unwrap_or(frame.vector.fdp);
                frame.vector.set_x87_pointers(site.opcode, site.rip, data);
            }
            return Outcome::Done;
        }
        let (fop, fip, fdp) = (frame.vector.fop, frame.vector.fip, frame.vector.fdp);
        let outcome = if let Some(size) = self.x87_store()
            && !frame.vector.x87_exceptions_masked()
        {
            self.call_unmasked_store(frame, size)
        } else if !self.has_x87_site && !frame.vector.simd_exceptions_masked() {
            self.call_unmasked(frame)
        } else {
            self.call(frame);
            Outcome::Done
        };
        // The host's FXSAVE left its own pointers and mask.
        frame.vector.host_mxcsr_mask = 0;
        match site {
            Some(site) => frame.vector.set_x87_pointers(site.opcode, site.rip, site.data.unwrap_or(fdp)),
            None => frame.vector.set_x87_pointers(fop, fip, fdp),
        }
        outcome
    }

    /// Bytes that this instruction stores, if it is an x87 store.
    fn x87_store(&self) -> Option<usize> {
        self.memory.filter(|memory| memory.write && self.has_x87_site).map(|memory| memory.size.into())
    }

    /// Runs an x87 store which may raise an unmasked exception. Hardware then stores for some exceptions and not for
    /// others. If one was raised, a second run from the same state over other bytes tells which.
    #[cold]
    #[inline(never)]
    fn call_unmasked_store(&self, frame: &mut HostFrame, size: usize) -> Outcome {
        let before = frame.vector.clone();
        self.call(frame);
        if !frame.vector.x87_exception_pending() {
            return Outcome::Done;
        }
        let first = frame.bounce;
        let inverted = first.0.map(|byte| !byte);
        frame.bounce.0 = inverted;
        frame.vector = before;
        self.call(frame);
        let untouched = frame.bounce.0[..size] == inverted[..size];
        frame.bounce = first;
        if untouched { Outcome::DoneWithoutStore } else { Outcome::Done }
    }

    #[inline]
    fn call(&self, frame: &mut HostFrame) {
        // SAFETY: `entry` is code that the compiler in this module emitted and `_code` keeps mapped. It follows the
        // System V calling convention, touches no memory but `*frame` and its own stack slots, and cannot fault:
        // the frame is aligned, and its invariants keep FXRSTOR and LDMXCSR from raising #GP.
        unsafe { (self.entry)(frame) }
    }

    #[cold]
    #[inline(never)]
    fn call_unmasked(&self, frame: &mut HostFrame) -> Outcome {
        // SAFETY: as for `call`; the compiler made `trap_site` for this very code.
        if unsafe { simd_exception::call(self.entry, frame, self.trap_site) } {
            Outcome::SimdException
        } else {
            Outcome::Done
        }
    }
}

/// Whether the host program masks all x87 exceptions, as almost all do. If not, exception flags must not be left in the
/// host's status word, as quick forms leave them.
#[inline]
fn host_masks_x87_exceptions() -> bool {
    let mut fcw = 0_u16;
    // SAFETY: stores two bytes into a local.
    unsafe { std::arch::asm!("fnstcw [{}]", in(reg) &raw mut fcw, options(nostack, preserves_flags)) };
    fcw & EXCEPTIONS == EXCEPTIONS
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The block of state that a stub works on, at offsets which emitted code knows.

use std::mem::offset_of;

use super::vector_state::VectorState;

/// CF, PF, AF, ZF, SF and OF: the status flags of RFLAGS (Intel SDM 1 3.4.3.1).
pub const STATUS_FLAGS: u64 = 0x8D5;

/// A guest's memory operand, brought to where host code can reach it. Aligned for every operand.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounce(pub [u8; 64]);

/// What a stub reads and writes. A processor embeds it as the first field of its own state, so that nothing is
/// copied around a stub.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct HostFrame {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15. In 16- and 32-bit code the upper halves do not matter.
    pub gprs: [u64; 16],
    /// Values that the interpreter's effective addresses may add, reached like a register: see [`crate::cpu::slot`]. Not for stubs.
    pub slots: [u64; 4],
    /// The status flags, at their places in RFLAGS. Stubs change only those in [`Stub::flags_written`] and use
    /// only those in [`Stub::flags_read`]; other bits are left alone.
    ///
    /// [`Stub::flags_written`]: super::Stub::flags_written
    /// [`Stub::flags_read`]: super::Stub::flags_read
    pub rflags: u64,
    /// The host's MXCSR while a stub runs.
    host_mxcsr: u32,
    /// The host's x87 control word while a stub runs.
    host_fcw: u16,
    /// The host's x87 status word right after the quick form of an x87 instruction.
    host_fsw: u16,
    /// The memory operand of the instruction, from byte 0.
    pub bounce: Bounce,
    /// x87, MMX, XMM and YMM registers with their control and status words.
    pub vector: VectorState,
}

impl HostFrame {
    /// All registers zero, vector state as [`VectorState::initial`].
    pub fn new() -> Self {
        Self {
            gprs: [0; 16],
            slots: [0; 4],
            rflags: 0,
            host_mxcsr: 0,
            host_fcw: 0,
            host_fsw: 0,
            bounce: Bounce([0; 64]),
            vector: VectorState::initial(),
        }
    }
}

impl HostFrame {
    #[inline]
    pub(super) fn host_fsw(&self) -> u16 {
        self.host_fsw
    }
}

impl Default for HostFrame {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) const GPRS: usize = offset_of!(HostFrame, gprs);
pub(super) const RFLAGS: usize = offset_of!(HostFrame, rflags);
pub(super) const HOST_MXCSR: usize = offset_of!(HostFrame, host_mxcsr);
pub(super) const HOST_FCW: usize = offset_of!(HostFrame, host_fcw);
pub(super) const HOST_FSW: usize = offset_of!(HostFrame, host_fsw);
pub(super) const BOUNCE: usize = offset_of!(HostFrame, bounce);
pub(super) const VECTOR: usize = offset_of!(HostFrame, vector);

// General registers come first: an interpreter reaches them with one-byte displacements.
const _: () = assert!(GPRS == 0 && BOUNCE.is_multiple_of(64) && VECTOR.is_multiple_of(64));

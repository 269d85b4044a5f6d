// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller as the parser sees it: its registers, and its memory.

use engine::{EngineVp, Gpr, MemoryAccess, MemoryAccessKind, MemoryExitCause, SegmentName};
use hypercall::{CallerMode, GuestMemory, Register, Registers};
use memory::{AccessError, AccessErrorCause, PAGE_SHIFT, Rights, Space, ViewId};
use x86::control::{Cr0, Efer};

/// The calling VP's registers.
pub(super) struct CallRegisters<'a> {
    vp: &'a mut dyn EngineVp,
    mode: CallerMode,
}

impl<'a> CallRegisters<'a> {
    pub(super) fn new(vp: &'a mut dyn EngineVp) -> Self {
        let control = vp.control();
        let attributes = vp.segment(SegmentName::Cs).attributes;
        let (cr0, efer) = (Cr0::from_bits(control.cr0), Efer::from_bits(control.efer));
        let mode = CallerMode::of(cr0, efer, attributes, vp.cpl());
        Self { vp, mode }
    }
}

const fn gpr(register: Register) -> Gpr {
    match register {
        Register::Rax => Gpr::Rax,
        Register::Rcx => Gpr::Rcx,
        Register::Rdx => Gpr::Rdx,
        Register::Rbx => Gpr::Rbx,
        Register::Rsi => Gpr::Rsi,
        Register::Rdi => Gpr::Rdi,
        Register::R8 => Gpr::R8,
    }
}

impl Registers for CallRegisters<'_> {
    fn mode(&self) -> CallerMode {
        self.mode
    }

    fn general(&self, register: Register) -> u64 {
        self.vp.gpr(gpr(register))
    }

    fn set_general(&mut self, register: Register, value: u64) {
        self.vp.set_gpr(gpr(register), value);
    }

    fn xmm(&self, index: usize) -> u128 {
        self.vp.xmm(index as u8)
    }

    fn set_xmm(&mut self, index: usize, value: u128) {
        self.vp.set_xmm(index as u8, value);
    }
}

/// Guest memory as the calling VP sees it.
pub(super) struct CallMemory<'a> {
    pub(super) space: &'a Space,
    pub(super) view: ViewId,
    /// Where nothing can be accessed reads give ones, and writes are lost; otherwise those are memory intercepts.
    pub(super) open_bus: bool,
}

/// The memory intercept that a failed access to a parameter is.
fn intercept(error: AccessError, kind: MemoryAccessKind) -> MemoryAccess {
    let cause = match error.cause {
        AccessErrorCause::Unmapped => MemoryExitCause::Unmapped,
        AccessErrorCause::Denied { have, .. } => MemoryExitCause::Rights(have),
        AccessErrorCause::HostFault => MemoryExitCause::HostFault,
    };
    MemoryAccess { gpa: error.gpa, gva: None, size: 8, kind, cause, page_walk: false, user: false }
}

impl GuestMemory for CallMemory<'_> {
    type Intercept = MemoryAccess;

    fn read(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), MemoryAccess> {
        match self.space.read(self.view, gpa, bytes, Rights::READ) {
            Err(_) if self.open_bus => {
                bytes.fill(u8::MAX);
                Ok(())
            }
            read => read.map_err(|error| intercept(error, MemoryAccessKind::Read)),
        }
    }

    fn lock_output(&mut self, gpa: u64, _length: usize) -> Result<(), MemoryAccess> {
        if self.open_bus {
            return Ok(());
        }
        let cause = match self.space.resolve(self.view, gpa >> PAGE_SHIFT) {
            Some(page) if page.rights.contains(Rights::WRITE) => return Ok(()),
            Some(page) => AccessErrorCause::Denied { have: page.rights, need: Rights::WRITE },
            None => AccessErrorCause::Unmapped,
        };
        Err(intercept(AccessError { gpa, cause }, MemoryAccessKind::Write(0)))
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryAccess> {
        match self.space.write(self.view, gpa, bytes, Rights::WRITE) {
            Err(_) if self.open_bus => Ok(()),
            written => written.map_err(|error| intercept(error, MemoryAccessKind::Write(0))),
        }
    }
}

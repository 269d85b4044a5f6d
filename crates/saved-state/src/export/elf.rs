// SPDX-License-Identifier: MIT OR Apache-2.0
//! The head of an ELF core of an x86 guest: processors as threads with the registers that debuggers expect
//! (System V ABI, Linux `elf_prstatus`), and with the control registers in the note that QEMU's own dumps have.

use super::PAGE;
use crate::error::{Error, Result};
use crate::partition::{Register, RegisterValue, Vendor};
use crate::state::SavedState;

const FILE_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// Program headers are counted in 16 bits, and 0xFFFF has another meaning.
const MOST_CHUNKS: usize = 0xFFF0;
const NOTE: u32 = 4;
const LOAD: u32 = 1;

const NT_PRSTATUS: u32 = 1;
const NT_FPREGSET: u32 = 2;
/// Of the notes named QEMU.
const QEMU_CPU_STATE: u32 = 0;

/// Everything in front of the memory, padded to a page.
pub(super) fn head(saved: &SavedState) -> Result<Vec<u8>> {
    let mut notes = Bytes::default();
    for vp in saved.partition().vp_indices() {
        if saved.partition().vendor() == Vendor::Arm {
            return Err(Error::Unsupported("ELF cores of ARM64 guests are not written; use raw or lime"));
        }
        let registers = Registers { saved, vp };
        notes.note(b"CORE\0", NT_PRSTATUS, &registers.process_status()?);
        notes.note(b"CORE\0", NT_FPREGSET, &registers.floating_point()?);
        notes.note(b"QEMU\0", QEMU_CPU_STATE, &registers.system()?);
    }
    let chunks = saved.memory().layout().chunks();
    if chunks.len() > MOST_CHUNKS {
        let (size, limit) = (chunks.len() as u64, MOST_CHUNKS as u64);
        return Err(Error::TooLarge { what: "the number of memory chunks in an ELF core", size, limit });
    }
    let count = chunks.len() as u64 + 1;
    let notes_at = FILE_HEADER + count * PROGRAM_HEADER;
    let memory_at = (notes_at + notes.0.len() as u64).next_multiple_of(PAGE);

    let mut head = Bytes::default();
    // ELF, 64 bits, little-endian, version 1; a core for x86-64.
    head.0.extend_from_slice(b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    head.u16(4).u16(62).u32(1);
    // No entry point; program headers follow; no sections.
    head.u64(0).u64(FILE_HEADER).u64(0).u32(0);
    head.u16(FILE_HEADER as u16).u16(PROGRAM_HEADER as u16).u16(count as u16).u16(0).u16(0).u16(0);
    head.u32(NOTE).u32(0).u64(notes_at).u64(0).u64(0).u64(notes.0.len() as u64).u64(0).u64(4);
    let mut offset = memory_at;
    for chunk in chunks {
        let (gpa, size) = (chunk.first_page * PAGE, chunk.page_count * PAGE);
        // Readable, writable, executable.
        head.u32(LOAD).u32(7).u64(offset).u64(gpa).u64(gpa).u64(size).u64(size).u64(PAGE);
        offset += size;
    }
    head.0.append(&mut notes.0);
    head.0.resize(memory_at as usize, 0);
    Ok(head.0)
}

struct Registers<'a> {
    saved: &'a SavedState,
    vp: u32,
}

impl Registers<'_> {
    /// A register; zero if it was not saved.
    fn get(&self, register: Register) -> Result<RegisterValue> {
        match self.saved.register(self.vp, register) {
            Err(Error::NoRegister { .. }) => Ok(RegisterValue::U64(0)),
            other => other,
        }
    }

    fn low(&self, register: Register) -> Result<u64> {
        Ok(self.get(register)?.low64())
    }

    fn selector(&self, register: Register) -> Result<u64> {
        match self.get(register)? {
            RegisterValue::Segment { selector, .. } => Ok(selector.into()),
            _ => Ok(0),
        }
    }

    /// `elf_prstatus`: signal, identifiers, times, then the general registers as ptrace orders them.
    fn process_status(&self) -> Result<Vec<u8>> {
        type R = Register;
        let mut status = Bytes::default();
        status.0.resize(32, 0);
        // Debuggers show a thread of 0 as none.
        status.u32(self.vp + 1);
        status.0.resize(112, 0);
        for register in [
            R::R15,
            R::R14,
            R::R13,
            R::R12,
            R::RBP,
            R::RBX,
            R::R11,
            R::R10,
            R::R9,
            R::R8,
            R::RAX,
            R::RCX,
            R::RDX,
            R::RSI,
            R::RDI,
        ] {
            status.u64(self.low(register)?);
        }
        // No system call is under way.
        status.u64(u64::MAX);
        status.u64(self.low(R::RIP)?).u64(self.selector(R::CS)?).u64(self.low(R::RFLAGS)?);
        status.u64(self.low(R::RSP)?).u64(self.selector(R::SS)?).u64(self.low(R::FS)?).u64(self.low(R::GS)?);
        for segment in [R::DS, R::ES, R::FS, R::GS] {
            status.u64(self.selector(segment)?);
        }
        // Floating-point registers are there.
        status.u32(1).u32(0);
        Ok(status.0)
    }

    /// The 512 bytes of FXSAVE.
    fn floating_point(&self) -> Result<Vec<u8>> {
        let mut area = Bytes::default();
        match self.get(Register::FP_CONTROL_STATUS)? {
            RegisterValue::FpControlStatus { control, status, tag, last_opcode, last_rip } => {
                area.u16(control).u16(status).u16(tag.into()).u16(last_opcode).u64(last_rip)
            }
            _ => area.u64(0).u64(0),
        };
        match self.get(Register::XMM_CONTROL_STATUS)? {
            RegisterValue::XmmControlStatus { last_rdp, mxcsr, mxcsr_mask } => {
                area.u64(last_rdp).u32(mxcsr).u32(mxcsr_mask)
            }
            _ => area.u64(0).u64(0),
        };
        for register in
            Register::x64().filter(|register| (Register::ST0..Register::FP_CONTROL_STATUS).contains(register))
        {
            area.wide(self.get(register)?);
        }
        for register in Register::x64().filter(|register| (Register::XMM0..Register::ST0).contains(register))
        {
            area.wide(self.get(register)?);
        }
        area.0.resize(512, 0);
        Ok(area.0)
    }

    /// QEMU's `QEMUCPUState`, version 1: what `elf_prstatus` has no place for.
    fn system(&self) -> Result<Vec<u8>> {
        const SIZE: u32 = 440;
        type R = Register;
        let mut state = Bytes::default();
        state.u32(1).u32(SIZE);
        for register in [
            R::RAX,
            R::RBX,
            R::RCX,
            R::RDX,
            R::RSI,
            R::RDI,
            R::RSP,
            R::RBP,
            R::R8,
            R::R9,
            R::R10,
            R::R11,
            R::R12,
            R::R13,
            R::R14,
            R::R15,
            R::RIP,
            R::RFLAGS,
        ] {
            state.u64(self.low(register)?);
        }
        for register in [R::CS, R::DS, R::ES, R::FS, R::GS, R::SS, R::LDTR, R::TR, R::GDTR, R::IDTR] {
            match self.get(register)? {
                RegisterValue::Segment { base, limit, selector, attributes } => {
                    // The attributes stand where a descriptor has them.
                    state.u32(selector.into()).u32(limit).u32(u32::from(attributes) << 8).u32(0).u64(base)
                }
                RegisterValue::Table { base, limit } => {
                    state.u32(0).u32(limit.into()).u32(0).u32(0).u64(base)
                }
                _ => state.u64(0).u64(0).u64(0),
            };
        }
        // There is no CR1.
        state.u64(self.low(R::CR0)?).u64(0);
        state.u64(self.low(R::CR2)?).u64(self.low(R::CR3)?).u64(self.low(R::CR4)?);
        let msrs = self.saved.partition().msrs(self.vp, self.saved.active_vtl(self.vp)?)?;
        let gs_base = msrs.iter().find(|(name, _)| *name == "kernel_gs_base");
        state.u64(gs_base.map_or(0, |&(_, value)| value));
        debug_assert_eq!(state.0.len(), SIZE as usize);
        Ok(state.0)
    }
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn wide(&mut self, value: RegisterValue) {
        let value = if let RegisterValue::U128(value) = value { value } else { 0 };
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A note: sizes, type, name and contents, each padded to four bytes.
    fn note(&mut self, name: &[u8], kind: u32, contents: &[u8]) {
        self.u32(name.len() as u32).u32(contents.len() as u32).u32(kind);
        for part in [name, contents] {
            self.0.extend_from_slice(part);
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
    }
}

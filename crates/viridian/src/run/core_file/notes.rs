// SPDX-License-Identifier: MIT OR Apache-2.0
//! The notes of a core: each processor's registers, laid out as Linux does for x86-64 processes, and the kernel's own description of itself.

use engine::{Gpr, SegmentName, VpState};
use memory::{PAGE_SIZE, Rights, Space};
use std::ops::Range;

use crate::run::VIEW;

/// General registers of a thread.
const NT_PRSTATUS: u32 = 1;
/// x87 and SSE state of a thread, as FXSAVE writes it.
const NT_FPREGSET: u32 = 2;

/// The XSAVE area of a thread, in standard form.
const NT_X86_XSTATE: u32 = 0x202;
/// Where readers of that note look for the components that the area has room for, in bytes that XSAVE leaves to software: x87 and SSE, and
/// AVX if it is long enough. XCR0 tells less: registers that the guest has not enabled are there too.
const XSTATE_COMPONENTS: usize = 464;
/// Length of an area with x87 and SSE state, and of one with AVX state behind it (Intel SDM 1 13.4).
const SSE_AREA_BYTES: usize = 576;
const AVX_AREA_BYTES: usize = 832;

/// `struct elf_prstatus`: bytes, and where the thread's id and its registers lie.
const PRSTATUS_BYTES: usize = 336;
const PRSTATUS_PID: usize = 32;
const PRSTATUS_REGISTERS: usize = 112;

/// Name of the note that Linux keeps for readers of its cores.
const VMCOREINFO: &[u8] = b"VMCOREINFO";
/// Linux gives it a page at most.
const MOST_VMCOREINFO: u32 = PAGE_SIZE as u32;

/// Appends a note: three words, the name with its NUL, the content, both padded to 4 bytes.
fn append(notes: &mut Vec<u8>, name: &[u8], kind: u32, content: &[u8]) {
    for word in [name.len() as u32 + 1, content.len() as u32, kind] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    notes.extend_from_slice(name);
    notes.push(0);
    notes.resize(notes.len().next_multiple_of(4), 0);
    notes.extend_from_slice(content);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

/// Appends the registers of the VP with this index, as a thread whose number is one more.
pub(super) fn append_vp(notes: &mut Vec<u8>, index: u32, state: &VpState) {
    let mut status = [0; PRSTATUS_BYTES];
    status[PRSTATUS_PID..PRSTATUS_PID + 4].copy_from_slice(&(index + 1).to_le_bytes());
    let registers = user_registers(state);
    for (place, register) in status[PRSTATUS_REGISTERS..].as_chunks_mut().0.iter_mut().zip(registers) {
        *place = register.to_le_bytes();
    }
    append(notes, b"CORE", NT_PRSTATUS, &status);
    if let Some(legacy) = state.xsave.0.get(..512) {
        append(notes, b"CORE", NT_FPREGSET, legacy);
    }
    let (length, components) = match state.xsave.0.len() {
        AVX_AREA_BYTES.. => (AVX_AREA_BYTES, 7_u64),
        _ => (SSE_AREA_BYTES, 3),
    };
    if let Some(area) = state.xsave.0.get(..length) {
        let mut area = area.to_vec();
        area[XSTATE_COMPONENTS..][..8].copy_from_slice(&components.to_le_bytes());
        append(notes, b"LINUX", NT_X86_XSTATE, &area);
    }
}

/// The registers in the order of `struct user_regs_struct`.
fn user_registers(state: &VpState) -> [u64; 27] {
    use Gpr::*;
    use SegmentName::*;
    let gpr = |register: Gpr| state.gprs[register as usize];
    let segment = |name: SegmentName| state.segments[name as usize];
    let selector = |name: SegmentName| u64::from(segment(name).selector.into_bits());
    let no_system_call = u64::MAX;
    [
        gpr(R15),
        gpr(R14),
        gpr(R13),
        gpr(R12),
        gpr(Rbp),
        gpr(Rbx),
        gpr(R11),
        gpr(R10),
        gpr(R9),
        gpr(R8),
        gpr(Rax),
        gpr(Rcx),
        gpr(Rdx),
        gpr(Rsi),
        gpr(Rdi),
        no_system_call,
        state.rip,
        selector(Cs),
        state.rflags,
        gpr(Rsp),
        selector(Ss),
        segment(Fs).base,
        segment(Gs).base,
        selector(Ds),
        selector(Es),
        selector(Fs),
        selector(Gs),
    ]
}

/// Appends the note that a Linux kernel describes itself with, if memory has one: it starts on a page of its own.
pub(super) fn append_vmcoreinfo(notes: &mut Vec<u8>, space: &Space, memory: &[Range<u64>]) {
    let found = memory
        .iter()
        .flat_map(|range| (range.start..range.end).step_by(PAGE_SIZE as usize))
        .find_map(|page| vmcoreinfo_at(space, page));
    if let Some(text) = found {
        append(notes, VMCOREINFO, 0, &text);
    }
}

fn vmcoreinfo_at(space: &Space, page: u64) -> Option<Vec<u8>> {
    let mut header = [0; 24];
    space.read(VIEW, page, &mut header, Rights::NONE).ok()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (name_bytes, bytes, kind) = (word(0), word(4), word(8));
    let is_note = name_bytes as usize == VMCOREINFO.len() + 1 && kind == 0 && bytes <= MOST_VMCOREINFO;
    if !is_note || &header[12..22] != VMCOREINFO || header[22..] != [0; 2] {
        return None;
    }
    let mut text = vec![0; bytes as usize];
    space.read(VIEW, page + header.len() as u64, &mut text, Rights::NONE).ok()?;
    text.starts_with(b"OSRELEASE=").then_some(text)
}

#[cfg(test)]
mod tests {
    use memory::MemoryObject;

    use super::*;

    #[test]
    fn the_kernels_note_is_found_and_nothing_else_is_taken_for_it() {
        let space = Space::new(40);
        let object = MemoryObject::allocate(0x10_0000).unwrap();
        space.batch(|batch| batch.map(VIEW, 0, 0x100, &object, 0, Rights::ALL)).unwrap();
        let mut note = Vec::new();
        append(&mut note, VMCOREINFO, 0, b"OSRELEASE=6.1.0\nPAGESIZE=4096\n");
        let mut foreign = Vec::new();
        append(&mut foreign, VMCOREINFO, 0, b"anything");
        let whole = 0..0x10_0000;
        let look = || {
            let mut notes = Vec::new();
            append_vmcoreinfo(&mut notes, &space, std::slice::from_ref(&whole));
            notes
        };
        space.write(VIEW, 0x3000, &foreign, Rights::NONE).unwrap();
        space.write(VIEW, 0x5010, &note, Rights::NONE).unwrap();
        assert_eq!(look(), b"");
        space.write(VIEW, 0x9000, &note, Rights::NONE).unwrap();
        assert_eq!(look(), note);
    }

    #[test]
    fn registers_lie_where_linux_puts_them() {
        let mut state = VpState::reset(0x1234);
        state.rip = 0xFFFF_FFFF_8100_0000;
        state.gprs[Gpr::R15 as usize] = 15;
        let mut notes = Vec::new();
        append_vp(&mut notes, 2, &state);
        let status = &notes[12 + 8..][..PRSTATUS_BYTES];
        let register = |index: usize| {
            u64::from_le_bytes(*status[PRSTATUS_REGISTERS..].as_chunks().0.get(index).unwrap())
        };
        assert_eq!(status[PRSTATUS_PID], 3);
        assert_eq!((register(0), register(12), register(16), register(17)), (15, 0x1234, state.rip, 0xF000));
        assert_eq!(notes.len(), 20 + PRSTATUS_BYTES + 20 + 512 + 20 + SSE_AREA_BYTES);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading a Linux kernel, a bzImage or an ELF `vmlinux`, by the 64-bit boot protocol (Linux
//! Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
//!
//! The guest starts in long mode with interrupts off, the first 4 GiB mapped to themselves, `__BOOT_CS` 0x10 and
//! `__BOOT_DS` 0x18, and RSI at the zero page. What the loader itself needs lies in the lowest 192 KiB:
//!
//! | GPA | what |
//! |---|---|
//! | 0x06000 | global descriptor table |
//! | 0x07000 | zero page |
//! | 0x08000 | stack, growing down from 0x9000 |
//! | 0x09000 | page tables, 6 pages |
//! | 0x20000 | command line, up to 64 KiB |
//!
//! The kernel follows at its preferred address (16 MiB for stock kernels) or, if no memory is free there, at the
//! next one that its alignment allows; the initrd lies as high as it may. The kernel decompresses itself.

mod page_tables;
mod setup_header;
mod zero_page;

use std::borrow::Cow;

use crate::elf::{self, Class, Elf};
use crate::image::{
    CODE_64, CR0_ET, CR0_PE, CR0_PG, CR4_PAE, EFER_LONG_MODE, EntryState, FlatSegments, Image, RFLAGS_CLEAR,
    Segment, SegmentRegister,
};
use crate::{LoadError, MemoryMap};
use setup_header::SetupHeader;
use zero_page::ZeroPage;

const GDT: u64 = 0x6000;
const ZERO_PAGE: u64 = 0x7000;
const STACK_TOP: u64 = 0x9000;
const PAGE_TABLES: u64 = 0x9000;
const COMMAND_LINE: u64 = 0x2_0000;
const COMMAND_LINE_ROOM: u64 = 0x1_0000;
/// End of what the loader needs for itself.
const LOW_END: u64 = COMMAND_LINE + COMMAND_LINE_ROOM;
/// Where the addresses begin that kernels and initrds are loaded to.
const HIGH_START: u64 = 1 << 20;
/// The page tables reach that far.
const MAPPED_END: u64 = 4 << 30;
/// What Linux for x86 takes (`COMMAND_LINE_SIZE`, less the NUL) when no setup header says it.
const ELF_COMMAND_LINE_LIMIT: u64 = 2047;

/// A Linux guest to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Linux<'a> {
    /// The kernel file: a bzImage or an ELF `vmlinux`.
    pub kernel: &'a [u8],
    /// The initial RAM file system.
    pub initrd: Option<&'a [u8]>,
    /// The kernel's command line, without NULs.
    pub command_line: &'a str,
    /// The guest's memory.
    pub memory: &'a MemoryMap,
    /// GPA of the ACPI root system description pointer; with none the kernel searches for it.
    pub rsdp: Option<u64>,
}

/// Where a kernel lies and how it is entered.
struct Placed<'a> {
    segments: Vec<Segment<'a>>,
    /// First and last-plus-one address that must stay clear of other things.
    extent: (u64, u64),
    entry: u64,
    setup_header: &'a [u8],
    command_line_limit: u64,
    initrd_end: u64,
}

/// Makes the image of a Linux guest.
///
/// # Errors
/// A [`LoadError`] when the file is no 64-bit Linux kernel or is damaged, or when it, its initrd or its command line
/// does not fit.
pub fn load<'a>(linux: &Linux<'a>) -> Result<Image<'a>, LoadError> {
    let kernel = linux.kernel;
    let placed = match kernel {
        [] => return Err(LoadError::Empty),
        _ if elf::is_elf(kernel) => place_elf(kernel, linux.memory)?,
        _ if setup_header::is_bzimage(kernel) => place_bzimage(kernel, linux.memory)?,
        _ => {
            return Err(LoadError::Foreign {
                expected: "a Linux kernel (neither a bzImage nor an ELF vmlinux)",
            });
        }
    };
    if !linux.memory.holds(GDT, LOW_END - GDT) {
        return Err(too_little(linux.memory, "the boot loader's tables", LOW_END));
    }
    let initrd = place_initrd(linux, &placed)?;
    let zero_page = ZeroPage {
        setup_header: placed.setup_header,
        command_line: COMMAND_LINE,
        initrd: initrd.as_ref().map_or((0, 0), |segment| (segment.gpa, segment.bytes.len() as u64)),
        rsdp: linux.rsdp.unwrap_or(0),
        memory: linux.memory,
    };
    let flat = FlatSegments::new(GDT, CODE_64);
    let mut segments = vec![
        flat.table,
        owned(ZERO_PAGE, zero_page.bytes()?),
        owned(PAGE_TABLES, page_tables::identity(PAGE_TABLES)),
        owned(COMMAND_LINE, command_line(linux.command_line, placed.command_line_limit)?),
    ];
    segments.extend(placed.segments);
    segments.extend(initrd);
    let entry = EntryState {
        rip: placed.entry,
        rsp: STACK_TOP,
        rflags: RFLAGS_CLEAR,
        rax: 0,
        rbx: 0,
        rsi: ZERO_PAGE,
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: PAGE_TABLES,
        cr4: CR4_PAE,
        efer: EFER_LONG_MODE,
        gdtr: flat.gdtr,
        code: flat.code,
        data: flat.data,
        task: SegmentRegister::task(),
    };
    Ok(Image { segments, entry })
}

fn place_bzimage<'a>(file: &'a [u8], memory: &MemoryMap) -> Result<Placed<'a>, LoadError> {
    /// Offset of the 64-bit entry point from the loaded kernel's first byte.
    const ENTRY_64: u64 = 0x200;
    let header = SetupHeader::parse(file)?;
    let too_little = || too_little(memory, "this kernel", header.preferred.saturating_add(header.memory));
    let gpa = if memory.holds(header.preferred, header.memory) {
        header.preferred
    } else if header.relocatable {
        // Below its preferred address a kernel would move itself up again.
        let aligned = |start: u64| start.max(header.preferred).checked_next_multiple_of(header.alignment);
        let mut starts = memory.usable().filter_map(|range| aligned(range.start));
        starts.find(|&start| memory.holds(start, header.memory)).ok_or_else(too_little)?
    } else {
        return Err(too_little());
    };
    let end = gpa + header.memory;
    if end > MAPPED_END {
        return Err(LoadError::BadPlace { gpa, length: header.memory, problem: "is not below 4 GiB" });
    }
    Ok(Placed {
        segments: vec![Segment { gpa, bytes: Cow::Borrowed(header.kernel) }],
        extent: (gpa, end),
        entry: gpa + ENTRY_64,
        setup_header: header.bytes,
        command_line_limit: header.command_line,
        initrd_end: header.initrd_last + 1,
    })
}

fn place_elf<'a>(file: &'a [u8], memory: &MemoryMap) -> Result<Placed<'a>, LoadError> {
    let elf = Elf::parse(file)?;
    if elf.class == Class::Bits32 && elf.machine == elf::MACHINE_386 {
        return Err(LoadError::Not64Bit);
    }
    if elf.machine != elf::MACHINE_X86_64 || elf.file_type != elf::TYPE_EXECUTABLE {
        let (machine, file_type) = (elf.machine, elf.file_type);
        return Err(LoadError::ForeignElf { processor: "x86-64", machine, file_type });
    }
    let loaded = crate::place::segments(&elf, memory, HIGH_START..MAPPED_END)?;
    if !loaded.contains(elf.entry) {
        return Err(LoadError::BadField { field: "entry point", value: elf.entry });
    }
    Ok(Placed {
        segments: loaded.segments,
        extent: loaded.extent,
        entry: elf.entry,
        setup_header: &[],
        command_line_limit: ELF_COMMAND_LINE_LIMIT,
        initrd_end: MAPPED_END,
    })
}

/// Finds the highest place for the initrd that is clear of the kernel.
fn place_initrd<'a>(linux: &Linux<'a>, placed: &Placed<'_>) -> Result<Option<Segment<'a>>, LoadError> {
    let Some(bytes) = linux.initrd.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    let size = bytes.len() as u64;
    let (kernel_start, kernel_end) = placed.extent;
    let limit = placed.initrd_end.min(MAPPED_END);
    let highest = |start: u64, end: u64| {
        let gpa = end.min(limit).checked_sub(size)? & !0xFFF;
        (gpa >= start.max(HIGH_START)).then_some(gpa)
    };
    let mut places = linux.memory.usable().rev().filter_map(|range| {
        highest(range.start.max(kernel_end), range.end())
            .or_else(|| highest(range.start, range.end().min(kernel_start)))
    });
    match places.next() {
        Some(gpa) => Ok(Some(Segment { gpa, bytes: Cow::Borrowed(bytes) })),
        None => Err(too_little(linux.memory, "this kernel and its initrd", kernel_end.saturating_add(size))),
    }
}

fn command_line(text: &str, kernel_limit: u64) -> Result<Vec<u8>, LoadError> {
    let limit = kernel_limit.min(COMMAND_LINE_ROOM - 1);
    if text.len() as u64 > limit {
        return Err(LoadError::LongCommandLine { length: text.len() as u64, limit });
    }
    if text.contains('\0') {
        return Err(LoadError::NulInCommandLine);
    }
    Ok([text.as_bytes(), b"\0"].concat())
}

fn too_little(memory: &MemoryMap, what: &'static str, needed: u64) -> LoadError {
    LoadError::TooLittleMemory { what, needed, have: memory.usable_bytes() }
}

fn owned<'a>(gpa: u64, bytes: Vec<u8>) -> Segment<'a> {
    Segment { gpa, bytes: Cow::Owned(bytes) }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading a program by the Multiboot specification, version 0.6.96 ("multiboot 1").
//!
//! The guest starts in 32-bit protected mode without paging, EAX 0x2BADB002 and EBX at the information structure,
//! which lies with all that it points to from 64 KiB on. The program lies where its header's address fields or
//! its ELF program headers (32 or 64 bits) put it, at or above 1 MiB; its modules follow on the next pages.

mod header;
mod information;

use std::borrow::Cow;
use std::ops::Range;

use crate::elf::{self, Elf};
use crate::image::{
    CODE_32, CR0_ET, CR0_PE, EntryState, FlatSegments, Image, RFLAGS_CLEAR, Segment, SegmentRegister,
};
use crate::{LoadError, MemoryMap, place};
use header::{AddressFields, Header};
use information::Information;

/// What EAX holds at the entry.
pub const BOOTLOADER_MAGIC: u32 = 0x2BAD_B002;

/// Programs and modules lie in here.
const WINDOW: Range<u64> = 1 << 20..4 << 30;
/// The descriptor table of the start; the program must bring its own before it loads a segment register.
const GDT: u64 = 0xF000;
/// The information structure and what it points to.
const INFORMATION: Range<u64> = 0x1_0000..0x8_0000;

/// A multiboot program to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Multiboot<'a> {
    /// The program file.
    pub program: &'a [u8],
    /// The program's name: the first word of its command line.
    pub name: &'a str,
    /// The rest of its command line.
    pub arguments: &'a str,
    /// Modules, in order.
    pub modules: &'a [Module<'a>],
    /// The guest's memory.
    pub memory: &'a MemoryMap,
}

/// A file that the program finds in memory.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The text that goes with it, often the file's name.
    pub text: &'a str,
}

/// Where a program lies and how it is entered.
struct Program<'a> {
    segments: Vec<Segment<'a>>,
    end: u64,
    entry: u64,
}

/// Makes the image of a multiboot program.
///
/// # Errors
/// A [`LoadError`] when the file has no multiboot header, demands what is not offered (a video mode, unknown
/// mandatory features), is damaged, or does not fit with its modules and texts.
pub fn load<'a>(multiboot: &Multiboot<'a>) -> Result<Image<'a>, LoadError> {
    let memory = multiboot.memory;
    let file = multiboot.program;
    if file.is_empty() {
        return Err(LoadError::Empty);
    }
    let header = Header::find(file)?;
    let program = match &header.addresses {
        Some(addresses) => place_by_addresses(file, header.offset, addresses, memory)?,
        None if elf::is_elf(file) => place_elf(file, memory)?,
        None => {
            return Err(LoadError::Foreign {
                expected: "a multiboot program: it has neither addresses nor ELF headers",
            });
        }
    };
    let modules = place_modules(multiboot, program.end)?;
    let information = Information {
        name: multiboot.name,
        arguments: multiboot.arguments,
        modules: multiboot
            .modules
            .iter()
            .zip(&modules)
            .map(|(module, segment)| (module.text, segment.range()))
            .collect(),
        memory,
    };
    let flat = FlatSegments::new(GDT, CODE_32);
    let information = information.bytes(INFORMATION)?;
    if !memory.holds(GDT, INFORMATION.end - GDT) {
        let (needed, have) = (INFORMATION.end, memory.usable_bytes());
        return Err(LoadError::TooLittleMemory { what: "the boot loader's tables", needed, have });
    }

    let mut segments = vec![flat.table, Segment { gpa: INFORMATION.start, bytes: Cow::Owned(information) }];
    segments.extend(program.segments);
    segments.extend(modules.into_iter().filter(|segment| !segment.bytes.is_empty()));
    let entry = EntryState {
        rip: program.entry,
        rsp: 0,
        rflags: RFLAGS_CLEAR,
        rax: u64::from(BOOTLOADER_MAGIC),
        rbx: INFORMATION.start,
        rsi: 0,
        cr0: CR0_PE | CR0_ET,
        cr3: 0,
        cr4: 0,
        efer: 0,
        gdtr: flat.gdtr,
        code: flat.code,
        data: flat.data,
        task: SegmentRegister::task(),
    };
    Ok(Image { segments, entry })
}

/// Places a program by the address fields of its header, whatever its file format is.
fn place_by_addresses<'a>(
    file: &'a [u8],
    header_offset: u64,
    addresses: &AddressFields,
    memory: &MemoryMap,
) -> Result<Program<'a>, LoadError> {
    let bad = |field, value: u32| LoadError::BadField { field, value: u64::from(value) };
    let load_start = u64::from(addresses.load_start);
    // The header lies at this distance from the first byte to be loaded, in memory as in the file.
    let distance = u64::from(addresses.header).checked_sub(load_start);
    let file_start = distance.and_then(|distance| header_offset.checked_sub(distance));
    let file_start = file_start.ok_or(bad("header address", addresses.header))?;
    let length = match addresses.load_end {
        0 => file.len() as u64 - file_start,
        end => u64::from(end).checked_sub(load_start).ok_or(bad("end of the load area", end))?,
    };
    let cut_short = LoadError::CutShort { have: file.len() as u64, needed: file_start + length };
    let bytes = crate::fields::range(file, file_start, length).ok_or(cut_short)?;
    let total = match addresses.bss_end {
        0 => length,
        end => u64::from(end).checked_sub(load_start).ok_or(bad("end of the cleared area", end))?.max(length),
    };
    let end = place::check(load_start, total, WINDOW.start, &WINDOW, memory)?;
    let entry = u64::from(addresses.entry);
    if !(load_start..load_start + length).contains(&entry) {
        return Err(bad("entry point", addresses.entry));
    }
    Ok(Program { segments: vec![Segment { gpa: load_start, bytes: Cow::Borrowed(bytes) }], end, entry })
}

fn place_elf<'a>(file: &'a [u8], memory: &MemoryMap) -> Result<Program<'a>, LoadError> {
    let elf = Elf::parse(file)?;
    let of_ours = [elf::MACHINE_386, elf::MACHINE_X86_64].contains(&elf.machine);
    if !of_ours || elf.file_type != elf::TYPE_EXECUTABLE {
        let (machine, file_type) = (elf.machine, elf.file_type);
        return Err(LoadError::ForeignElf { processor: "x86", machine, file_type });
    }
    let placed = place::segments(&elf, memory, WINDOW)?;
    if !placed.contains(elf.entry) {
        return Err(LoadError::BadField { field: "entry point", value: elf.entry });
    }
    Ok(Program { segments: placed.segments, end: placed.extent.1, entry: elf.entry })
}

/// Places the modules after the program, each on a page of its own.
fn place_modules<'a>(multiboot: &Multiboot<'a>, program_end: u64) -> Result<Vec<Segment<'a>>, LoadError> {
    let mut next = program_end;
    let mut segments = Vec::with_capacity(multiboot.modules.len());
    for module in multiboot.modules {
        let gpa = next.next_multiple_of(4096);
        let length = module.bytes.len() as u64;
        next = gpa.saturating_add(length);
        if next > WINDOW.end || !multiboot.memory.holds(gpa, length) {
            let have = multiboot.memory.usable_bytes();
            return Err(LoadError::TooLittleMemory {
                what: "this program and its modules",
                needed: next,
                have,
            });
        }
        segments.push(Segment { gpa, bytes: Cow::Borrowed(module.bytes) });
    }
    Ok(segments)
}

#[cfg(test)]
mod tests;

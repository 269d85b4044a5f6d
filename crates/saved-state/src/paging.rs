// SPDX-License-Identifier: MIT OR Apache-2.0
//! From guest-virtual to guest-physical addresses, by the saved registers and page tables.

use std::fmt;

use x86::control::{Cr0, Cr4, Efer};
use x86::paging::{
    Access, PageRights, PageTableMemory, Paging, PagingRegisters, WalkError, is_canonical, load_pdptes,
};

use crate::error::{Error, Problem, Result};
use crate::memory::Memory;

/// Bits of a physical address that page tables may use. A reader takes them all: what the processor would call reserved is no reason not to look.
const PHYSICAL_WIDTH: u8 = 52;

/// How addresses are translated. Numbers are those of the saved-state API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PagingMode {
    /// A virtual address is the physical one.
    NonPaged = 1,
    /// Two levels of 4-byte entries.
    Bits32 = 2,
    /// Physical address extension.
    Pae = 3,
    /// Four or five levels of 8-byte entries.
    Long = 4,
    /// ARM64, which is not translated.
    Armv8 = 5,
}

impl fmt::Display for PagingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonPaged => "non-paged",
            Self::Bits32 => "32-bit",
            Self::Pae => "PAE",
            Self::Long => "long",
            Self::Armv8 => "ARMv8",
        })
    }
}

/// Where a guest-virtual address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The guest-physical address.
    pub gpa: u64,
    /// Size of its page in bytes.
    pub page_size: u64,
    /// What the page may be used for.
    pub rights: PageRights,
}

/// The registers that decide how addresses are translated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) cr3: u64,
    pub(crate) cr4: Cr4,
    pub(crate) efer: Efer,
}

impl Registers {
    /// The mode as Microsoft's reader tells it: CR0.PG is not asked.
    pub(crate) fn mode(&self) -> PagingMode {
        match (self.efer.lma(), self.cr4.pae()) {
            (true, _) => PagingMode::Long,
            (false, true) => PagingMode::Pae,
            (false, false) => PagingMode::Bits32,
        }
    }
}

/// Translates one address.
pub(crate) fn translate(
    memory: &Memory,
    registers: &Registers,
    mode: PagingMode,
    gva: u64,
) -> Result<Translation> {
    let gva = match mode {
        PagingMode::Armv8 => {
            return Err(Error::Unsupported("addresses of ARM64 guests cannot be translated yet"));
        }
        PagingMode::NonPaged => {
            return Ok(Translation { gpa: gva, page_size: 4096, rights: PageRights::ALL });
        }
        PagingMode::Bits32 | PagingMode::Pae => narrow(gva)?,
        PagingMode::Long => {
            let width = if registers.cr4.la57() { 57 } else { 48 };
            if !is_canonical(gva, width) {
                // The upper half follows.
                let unmapped = (u64::MAX << (width - 1)) - gva;
                return Err(Error::NotMapped { gva, unmapped, problem: Problem::NotCanonical });
            }
            gva
        }
    };
    let mut tables = Tables { memory, read: 0 };
    let mut all = PagingRegisters {
        cr0: Cr0::new().with_pe(true).with_pg(true),
        cr3: registers.cr3,
        cr4: registers.cr4.with_pae(mode != PagingMode::Bits32),
        efer: registers.efer.with_lma(mode == PagingMode::Long).with_nxe(true),
        physical_address_width: PHYSICAL_WIDTH,
        has_1g_pages: true,
        ..PagingRegisters::default()
    };
    if mode == PagingMode::Pae {
        let loaded = load_pdptes(&mut tables, registers.cr3, PHYSICAL_WIDTH);
        let unmapped = (1 << 32) - gva;
        let problem = match loaded {
            Ok(Some(pdptes)) => {
                all.pdptes = pdptes;
                None
            }
            Ok(None) => Some(Problem::PageFault),
            Err((NoTable, gpa)) => Some(Problem::PageTable(gpa)),
        };
        if let Some(problem) = problem {
            return Err(Error::NotMapped { gva, unmapped, problem });
        }
        tables.read = 0;
    }
    match Paging::new(&all).walk(&mut tables, gva, Access::debugger()) {
        Ok(found) => {
            Ok(Translation { gpa: found.gpa, page_size: found.page_size.bytes(), rights: found.rights })
        }
        Err(error) => {
            let problem = match error {
                WalkError::PageFault(_) => Problem::PageFault,
                WalkError::Memory { gpa, .. } => Problem::PageTable(gpa),
            };
            // What the last entry that was read would map, or what all tables would.
            let shifts: &[u32] = match mode {
                PagingMode::Bits32 => &[32, 22, 12],
                PagingMode::Pae => &[30, 21, 12],
                _ if registers.cr4.la57() => &[56, 48, 39, 30, 21, 12],
                _ => &[47, 39, 30, 21, 12],
            };
            let size = 1 << shifts.get(tables.read).copied().unwrap_or(12);
            Err(Error::NotMapped { gva, unmapped: size - (gva & (size - 1)), problem })
        }
    }
}

/// 32-bit addresses, which debuggers like to write with their sign.
fn narrow(gva: u64) -> Result<u64> {
    let low = gva & 0xFFFF_FFFF;
    if gva == low || gva == low as u32 as i32 as u64 {
        Ok(low)
    } else {
        Err(Error::NotMapped { gva, unmapped: 1, problem: Problem::NotCanonical })
    }
}

/// Page tables in saved memory; counts the entries that were read.
struct Tables<'a> {
    memory: &'a Memory,
    read: usize,
}

/// An entry is not in saved memory.
#[derive(Debug)]
struct NoTable;

impl Tables<'_> {
    fn entry<const N: usize>(&mut self, gpa: u64) -> std::result::Result<[u8; N], NoTable> {
        let mut bytes = [0; N];
        self.memory.read_exact(gpa, &mut bytes).map_err(|_| NoTable)?;
        self.read += 1;
        Ok(bytes)
    }
}

impl PageTableMemory for Tables<'_> {
    type Error = NoTable;

    fn read_u32(&mut self, gpa: u64) -> std::result::Result<u32, NoTable> {
        self.entry(gpa).map(u32::from_le_bytes)
    }

    fn read_u64(&mut self, gpa: u64) -> std::result::Result<u64, NoTable> {
        self.entry(gpa).map(u64::from_le_bytes)
    }

    // Saved tables are only read: `Access::debugger` sets no flags.
    fn compare_exchange_u32(&mut self, _: u64, _: u32, _: u32) -> std::result::Result<bool, NoTable> {
        Err(NoTable)
    }

    fn compare_exchange_u64(&mut self, _: u64, _: u64, _: u64) -> std::result::Result<bool, NoTable> {
        Err(NoTable)
    }
}

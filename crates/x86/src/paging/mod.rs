// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one page walker (Intel SDM 3A chapter 4, AMD APM 2 chapter 5).
//!
//! Everything that turns a guest-virtual address (GVA) into a guest-physical one (GPA) uses [`Paging::walk`]: the
//! software MMU, translate hypercalls, host APIs, debuggers and readers of saved states. The walker does not know how
//! memory is reached ([`PageTableMemory`] says it), allocates nothing, and touches nothing unless
//! [`Access::set_accessed_dirty`] asks for it.
//!
//! ```
//! use x86::paging::{Access, Paging, PagingRegisters, PageTableMemory};
//! # use x86::control::{Cr0, Cr4, Efer};
//! struct Flat([u64; 4]);
//! impl PageTableMemory for Flat {
//!     type Error = ();
//!     fn read_u32(&mut self, _: u64) -> Result<u32, ()> { Err(()) }
//!     fn read_u64(&mut self, gpa: u64) -> Result<u64, ()> { Ok(self.0[(gpa >> 12) as usize]) }
//!     fn compare_exchange_u32(&mut self, _: u64, _: u32, _: u32) -> Result<bool, ()> { Err(()) }
//!     fn compare_exchange_u64(&mut self, _: u64, _: u64, _: u64) -> Result<bool, ()> { Err(()) }
//! }
//! // Four tables of which only entry 0 is used, the last maps a 4 KiB page at 0x5000.
//! let mut memory = Flat([0x1003, 0x2003, 0x3003, 0x5003]);
//! let paging = Paging::new(&PagingRegisters {
//!     cr0: Cr0::new().with_pe(true).with_pg(true),
//!     cr4: Cr4::new().with_pae(true),
//!     efer: Efer::new().with_lme(true).with_lma(true),
//!     ..PagingRegisters::default()
//! });
//! let translation = paging.walk(&mut memory, 0x123, Access::debugger()).unwrap();
//! assert_eq!(translation.gpa, 0x5123);
//! ```
//!
//! What is the caller's: canonical checks (they are #GP or #SS, not #PF), the width of linear addresses outside 64-bit
//! mode, loading the PAE page-directory-pointer-table entries with CR3 ([`load_pdptes`]), and the rights that a view
//! gives to the GPA that comes out. Protection keys and shadow stacks are not modelled: CR4.PKE, CR4.PKS and CR4.CET
//! have no effect here, and no processor model offers them.

mod walk;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use crate::control::{Cr0, Cr4, Efer};
use crate::exception::PageFaultErrorCode;

/// How the walker reaches paging structures.
///
/// Addresses are guest-physical and naturally aligned for their width.
pub trait PageTableMemory {
    /// Why an entry could not be reached: unmapped, no right, intercepted.
    type Error;

    /// Reads the 4-byte entry at `gpa` as one access.
    fn read_u32(&mut self, gpa: u64) -> Result<u32, Self::Error>;

    /// Reads the 8-byte entry at `gpa` as one access.
    fn read_u64(&mut self, gpa: u64) -> Result<u64, Self::Error>;

    /// Atomically replaces the 4-byte entry at `gpa` by `new` if it still is `old`; tells whether it did.
    ///
    /// `Ok(false)` makes the walk start again, so it may only be said when the entry really changed.
    fn compare_exchange_u32(&mut self, gpa: u64, old: u32, new: u32) -> Result<bool, Self::Error>;

    /// As [`compare_exchange_u32`](Self::compare_exchange_u32), for 8-byte entries.
    fn compare_exchange_u64(&mut self, gpa: u64, old: u64, new: u64) -> Result<bool, Self::Error>;
}

/// The register values that decide how addresses are translated.
#[derive(Clone, Copy, Debug)]
pub struct PagingRegisters {
    /// CR0: PG and WP matter.
    pub cr0: Cr0,
    /// CR3: base of the top table; the other bits are ignored here.
    pub cr3: u64,
    /// CR4: PSE, PAE, PGE, LA57, SMEP and SMAP matter.
    pub cr4: Cr4,
    /// EFER: LMA and NXE matter.
    pub efer: Efer,
    /// The four PAE page-directory-pointer-table entries as loaded with CR3 ([`load_pdptes`]). Only used with PAE paging.
    pub pdptes: [u64; 4],
    /// MAXPHYADDR: bits of a physical address, 32 to 52 (CPUID 0x80000008 EAX 7:0). Values outside are clamped.
    pub physical_address_width: u8,
    /// Whether 1 GiB pages exist (CPUID 0x80000001 EDX 26); where they do not, PS in a PDPTE is a reserved bit.
    pub has_1g_pages: bool,
}

impl Default for PagingRegisters {
    /// Paging off, on a processor with 52 physical address bits and 1 GiB pages.
    fn default() -> Self {
        Self {
            cr0: Cr0::new(),
            cr3: 0,
            cr4: Cr4::new(),
            efer: Efer::new(),
            pdptes: [0; 4],
            physical_address_width: 52,
            has_1g_pages: true,
        }
    }
}

/// The paging modes (SDM 3A 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingMode {
    /// CR0.PG = 0: the linear address is the physical one.
    None,
    /// 32-bit paging: two levels of 4-byte entries, 4 KiB and 4 MiB pages.
    Bits32,
    /// PAE paging: four PDPTE registers, then two levels of 8-byte entries, 4 KiB and 2 MiB pages.
    Pae,
    /// 4-level paging of long mode: 4 KiB, 2 MiB and 1 GiB pages.
    Level4,
    /// 5-level paging of long mode: as 4-level with one level more.
    Level5,
}

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// A data read.
    Read,
    /// A data write, or the write half of a read-modify-write.
    Write,
    /// An instruction fetch.
    Execute,
}

/// On whose behalf an access is made (SDM 3A 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// CPL 3.
    User,
    /// An explicit access with CPL below 3; `ac` is RFLAGS.AC, which lifts SMAP.
    Supervisor {
        /// RFLAGS.AC.
        ac: bool,
    },
    /// An access to a system structure (descriptor tables, TSS, ...) at any CPL; SMAP holds whatever RFLAGS.AC is.
    ImplicitSupervisor,
}

/// One access to translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Read, write or fetch.
    pub kind: AccessKind,
    /// On whose behalf.
    pub privilege: Privilege,
    /// Set the accessed flags on the way and, for a write, the dirty flag of the page. Without it memory is only read.
    pub set_accessed_dirty: bool,
    /// Check U/S, R/W, NX, SMEP and SMAP. Without it only presence and reserved bits are checked.
    pub check_rights: bool,
}

impl Access {
    /// What a processor does: rights are checked, accessed and dirty flags set.
    pub const fn processor(kind: AccessKind, privilege: Privilege) -> Self {
        Self { kind, privilege, set_accessed_dirty: true, check_rights: true }
    }

    /// What a debugger wants: where the address leads, without rights and without side effects.
    pub const fn debugger() -> Self {
        Self {
            kind: AccessKind::Read,
            privilege: Privilege::ImplicitSupervisor,
            set_accessed_dirty: false,
            check_rights: false,
        }
    }
}

/// Size of the page an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PageSize {
    /// 4 KiB.
    Size4K = 12,
    /// 2 MiB (8-byte entries).
    Size2M = 21,
    /// 4 MiB (32-bit paging).
    Size4M = 22,
    /// 1 GiB.
    Size1G = 30,
}

impl PageSize {
    /// Base-2 logarithm of the size.
    pub const fn shift(self) -> u32 {
        self as u32
    }

    /// Size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// The bits of an address that are the offset in the page.
    pub const fn offset_mask(self) -> u64 {
        self.bytes() - 1
    }
}

/// The rights that all levels together give to a page. What they allow to whom is [`Paging::permits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRights {
    /// R/W is set at every level.
    pub writable: bool,
    /// U/S is set at every level: a user-mode address.
    pub user: bool,
    /// NX is clear at every level, or not enabled.
    pub executable: bool,
}

impl PageRights {
    /// Everything allowed, as with paging off.
    pub const ALL: Self = Self { writable: true, user: true, executable: true };
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The guest-physical address of the byte.
    pub gpa: u64,
    /// Size of the page; its base is `gpa & !page_size.offset_mask()`.
    pub page_size: PageSize,
    /// Rights of the page, all levels combined.
    pub rights: PageRights,
    /// The page is global: G is set and CR4.PGE is on.
    pub global: bool,
    /// The dirty flag is set (after this walk). While it is not, a TLB must not hold the page as writable.
    pub dirty: bool,
    /// Index into IA32_PAT: PAT × 4 + PCD × 2 + PWT of the page's entry, 0 to 7.
    pub pat_index: u8,
}

/// Why a walk gave no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError<E> {
    /// The processor raises #PF with this error code (SDM 3A 4.7).
    PageFault(PageFaultErrorCode),
    /// A paging structure could not be reached.
    Memory {
        /// What memory said.
        error: E,
        /// Guest-physical address of the entry.
        gpa: u64,
        /// Whether the entry was to be written (accessed or dirty flag) rather than read.
        write: bool,
    },
}

/// Ready-made masks for one setting of the control registers: make it when they change, use it for each walk.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    mode: PagingMode,
    /// Physical address of the top table (PML5, PML4 or page directory).
    root: u64,
    pdptes: [u64; 4],
    /// Reserved bits in any entry; for 32-bit paging none.
    reserved: u64,
    /// Reserved bits of the 4 MiB page-directory entry beyond the ordinary, by MAXPHYADDR (PSE-36).
    reserved_4m: u32,
    has_large_32: bool,
    has_1g_pages: bool,
    global_enabled: bool,
    write_protect: bool,
    smep: bool,
    smap: bool,
    /// #PF tells fetches apart (SDM 3A 4.7: CR4.SMEP, or EFER.NXE with 8-byte entries).
    reports_fetch: bool,
}

impl Paging {
    /// Digests the registers.
    pub const fn new(registers: &PagingRegisters) -> Self {
        let PagingRegisters { cr0, cr3, cr4, efer, pdptes, physical_address_width, has_1g_pages } =
            *registers;
        let mode = match (cr0.pg(), cr4.pae(), efer.lma(), cr4.la57()) {
            (false, ..) => PagingMode::None,
            (true, false, ..) => PagingMode::Bits32,
            (true, true, false, _) => PagingMode::Pae,
            (true, true, true, false) => PagingMode::Level4,
            (true, true, true, true) => PagingMode::Level5,
        };
        let width = clamp_width(physical_address_width);
        let reserved = match mode {
            PagingMode::None | PagingMode::Bits32 => 0,
            PagingMode::Pae => bits(width, 62),
            PagingMode::Level4 | PagingMode::Level5 => bits(width, 51),
        } | match mode {
            PagingMode::None | PagingMode::Bits32 => 0,
            _ if efer.nxe() => 0,
            _ => walk::NX,
        };
        let pse36_width = if width < 40 { width } else { 40 };
        Self {
            mode,
            root: cr3
                & match mode {
                    PagingMode::Level4 | PagingMode::Level5 => walk::ADDRESS,
                    _ => 0xFFFF_F000,
                },
            pdptes,
            reserved,
            reserved_4m: bits(pse36_width - 19, 21) as u32,
            has_large_32: cr4.pse(),
            has_1g_pages,
            global_enabled: cr4.pge(),
            write_protect: cr0.wp(),
            smep: cr4.smep(),
            smap: cr4.smap(),
            reports_fetch: cr4.smep() || (efer.nxe() && cr4.pae()),
        }
    }

    /// The mode these registers select.
    pub const fn mode(&self) -> PagingMode {
        self.mode
    }

    /// Whether a page with these rights allows the access (SDM 3A 4.6.1).
    #[inline]
    pub const fn permits(&self, rights: PageRights, kind: AccessKind, privilege: Privilege) -> bool {
        if matches!(self.mode, PagingMode::None) {
            return true;
        }
        match (privilege, kind) {
            (Privilege::User, AccessKind::Read) => rights.user,
            (Privilege::User, AccessKind::Write) => rights.user && rights.writable,
            (Privilege::User, AccessKind::Execute) => rights.user && rights.executable,
            (_, AccessKind::Execute) => rights.executable && !(self.smep && rights.user),
            (_, AccessKind::Read) => self.supervisor_data(rights, privilege),
            (_, AccessKind::Write) => {
                self.supervisor_data(rights, privilege) && (rights.writable || !self.write_protect)
            }
        }
    }

    /// SMAP: supervisor data accesses to user pages need RFLAGS.AC and must be explicit.
    #[inline]
    const fn supervisor_data(&self, rights: PageRights, privilege: Privilege) -> bool {
        !(self.smap && rights.user) || matches!(privilege, Privilege::Supervisor { ac: true })
    }
}

/// Reads the four page-directory-pointer-table entries that a CR3 load takes in with PAE paging (SDM 3A 4.4.1).
///
/// `Ok(None)` means that a present entry has a reserved bit set: the load is #GP(0) and CR3 stays.
/// An error is memory's, with the address of the entry.
pub fn load_pdptes<M: PageTableMemory>(
    memory: &mut M,
    cr3: u64,
    physical_address_width: u8,
) -> Result<Option<[u64; 4]>, (M::Error, u64)> {
    let reserved = bits(1, 2) | bits(5, 8) | bits(clamp_width(physical_address_width), 63);
    let table = cr3 & 0xFFFF_FFE0;
    let mut pdptes = [0; 4];
    for (gpa, pdpte) in (table..).step_by(8).zip(&mut pdptes) {
        *pdpte = memory.read_u64(gpa).map_err(|error| (error, gpa))?;
        if *pdpte & walk::PRESENT != 0 && *pdpte & reserved != 0 {
            return Ok(None);
        }
    }
    Ok(Some(pdptes))
}

/// Whether `gva` is canonical: bits above the linear address width (48, or 57 with CR4.LA57) repeat its top bit.
#[inline(always)]
pub const fn is_canonical(gva: u64, linear_address_width: u32) -> bool {
    let shift = 64 - linear_address_width;
    ((gva << shift) as i64 >> shift) as u64 == gva
}

const fn clamp_width(width: u8) -> u32 {
    match width {
        0..32 => 32,
        53.. => 52,
        width => width as u32,
    }
}

/// Mask of the bits `low..=high`; empty if `low` is above `high`.
const fn bits(low: u32, high: u32) -> u64 {
    if low > high { 0 } else { (u64::MAX >> (63 - (high - low))) << low }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages: memory that is one page long, and the page tables of the program (Intel SDM 3A 4.5).

use crate::cpu;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes in a page.
pub const SIZE: u64 = 4096;

/// Bits of a page-table entry.
pub mod bits {
    /// Present.
    pub const PRESENT: u64 = 1 << 0;
    /// Writable.
    pub const WRITE: u64 = 1 << 1;
    /// Open to CPL 3.
    pub const USER: u64 = 1 << 2;
    /// Accessed.
    pub const ACCESSED: u64 = 1 << 5;
    /// Dirty.
    pub const DIRTY: u64 = 1 << 6;
    /// Maps a large page (in a page-directory or page-directory-pointer entry).
    pub const LARGE: u64 = 1 << 7;
    /// Global.
    pub const GLOBAL: u64 = 1 << 8;
    /// Not executable.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// The physical address.
    pub const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
}

/// A page of memory of the program's own, for the processor or the hypervisor to read and write behind its back.
#[repr(C, align(4096))]
pub struct Page(UnsafeCell<[u8; SIZE as usize]>);

// SAFETY: no reference into the page is ever made; its bytes are read and written by volatile accesses.
unsafe impl Sync for Page {}

impl Page {
    /// A page of zeros.
    pub const fn new() -> Page {
        Page(UnsafeCell::new([0; SIZE as usize]))
    }

    /// Its address, physical and linear.
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }

    /// Its page number.
    pub fn number(&self) -> u64 {
        self.address() / SIZE
    }

    /// Reads a value at an offset in bytes.
    ///
    /// # Panics
    /// If the value is not in the page or not aligned.
    pub fn read<T: FromBytes>(&self, offset: usize) -> T {
        // SAFETY: inside the page, aligned, and any bytes are a `T`.
        unsafe { self.pointer::<T>(offset).read_volatile() }
    }

    /// Writes a value at an offset in bytes.
    ///
    /// # Panics
    /// If the value is not in the page or not aligned.
    pub fn write<T: IntoBytes>(&self, offset: usize, value: T) {
        // SAFETY: inside the page, aligned.
        unsafe { self.pointer::<T>(offset).write_volatile(value) }
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) {
        for offset in (0..SIZE as usize).step_by(8) {
            self.write(offset, u64::from_ne_bytes([byte; 8]));
        }
    }

    fn pointer<T>(&self, offset: usize) -> *mut T {
        assert!(
            offset + size_of::<T>() <= SIZE as usize && offset.is_multiple_of(align_of::<T>()),
            "bad offset in a page: {offset}"
        );
        (self.address() + offset as u64) as *mut T
    }
}

impl Default for Page {
    fn default() -> Self {
        Page::new()
    }
}

const POOL: usize = 96;
static TABLES: [Page; POOL] = [const { Page::new() }; POOL];
static TABLES_USED: AtomicUsize = AtomicUsize::new(0);

/// A fresh page table, all zero.
///
/// # Panics
/// If the program has used up all of its page tables.
pub fn new_table() -> &'static Page {
    let index = TABLES_USED.fetch_add(1, Ordering::Relaxed);
    assert!(index < POOL, "no page tables left");
    &TABLES[index]
}

/// The sizes of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Size {
    /// 4 KiB
    Small = 1,
    /// 2 MiB
    Large = 2,
    /// 1 GiB
    Huge = 3,
}

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        SIZE << (9 * (self as u32 - 1))
    }
}

/// The entry that maps (or at that size could map) an address, in the tables in force. Tables on the way are made, and large
/// pages split; entries on the way allow everything, so the rights are those of the entry.
pub fn entry(address: u64, size: Size) -> *mut u64 {
    let mut table = cpu::cr3() & bits::ADDRESS;
    for level in (size as u32..=4).rev() {
        let index = address >> (12 + 9 * (level - 1)) & 511;
        let entry = (table + index * 8) as *mut u64;
        if level == size as u32 {
            return entry;
        }
        // SAFETY: page tables are identity-mapped memory of the program.
        unsafe {
            let value = entry.read_volatile();
            if value & bits::PRESENT == 0 {
                entry.write_volatile(new_table().address() | bits::PRESENT | bits::WRITE | bits::USER);
            } else if value & bits::LARGE != 0 && level < 4 {
                entry.write_volatile(split(value, level));
                flush();
            } else if value & bits::USER == 0 {
                // The rights of a page below are the entry's own; pages of the program keep their own lack of it.
                entry.write_volatile(value | bits::USER);
            }
            table = entry.read_volatile() & bits::ADDRESS;
        }
    }
    unreachable!("the loop ends at the size's level")
}

/// Replaces a large page by a table of smaller ones with the same rights.
fn split(value: u64, level: u32) -> u64 {
    let table = new_table();
    let step = SIZE << (9 * (level - 2));
    let keep = if level == 2 { value & !bits::LARGE } else { value };
    for index in 0..512 {
        table.write(index * 8, keep + index as u64 * step);
    }
    table.address() | bits::PRESENT | bits::WRITE | bits::USER
}

/// Maps a page.
///
/// # Safety
/// The address must not be one that the program uses, or the mapping must leave it as usable.
pub unsafe fn map(address: u64, physical: u64, size: Size, flags: u64) {
    let large = if size == Size::Small { 0 } else { bits::LARGE };
    // SAFETY: an entry of the tables in force; the rest as the caller promises.
    unsafe { entry(address, size).write_volatile(physical | flags | large) };
    invalidate(address);
}

/// Drops what the processor remembers of an address.
pub fn invalidate(address: u64) {
    // SAFETY: only forgets translations.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Drops what the processor remembers of all addresses but global ones.
pub fn flush() {
    // SAFETY: loads the value that is in force.
    unsafe { cpu::set_cr3(cpu::cr3()) };
}

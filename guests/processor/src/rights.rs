// SPDX-License-Identifier: MIT OR Apache-2.0
//! The matrix of page rights: every combination of the rights of two levels, page size, CPL, CR0.WP, CR4.SMEP, CR4.SMAP, RFLAGS.AC
//! and kind of access, against the rules of Intel SDM 3A 4.6 and 4.7. One line for each page size.

use crate::lab::{self, Offered, WINDOW, code, kernel_state, user_state};
use support::page::{self, Page, Size, bits};
use support::trap::{State, vector::*};
use support::{cpu, skip};

const TOPIC: &str = "rights";

const CR0_WP: u64 = 1 << 16;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const AC: u64 = 1 << 18;

/// Its first byte is INT3, for the checks that execute it.
static TARGET: Page = Page::new();

code! {
    read: "mov rax, [rdi]", "int3";
    write: "mov [rdi + 8], rax", "int3";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Execute,
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
struct Cell {
    upper: u64,
    leaf: u64,
    user: bool,
    write_protect: bool,
    smep: bool,
    smap: bool,
    ac: bool,
    access: Access,
}

impl Cell {
    /// The error code of the fault, or `None` if the access is allowed.
    fn fault(&self) -> Option<u32> {
        let user_page = self.upper & self.leaf & bits::USER != 0;
        let writable = self.upper & self.leaf & bits::WRITE != 0;
        let no_execute = (self.upper | self.leaf) & bits::NO_EXECUTE != 0;
        let allowed = match (self.access, self.user) {
            (Access::Read, true) => user_page,
            (Access::Write, true) => user_page && writable,
            (Access::Execute, true) => user_page && !no_execute,
            (Access::Read, false) => !(user_page && self.smap && !self.ac),
            (Access::Write, false) => {
                (writable || !self.write_protect) && !(user_page && self.smap && !self.ac)
            }
            (Access::Execute, false) => !(no_execute || user_page && self.smep),
        };
        // The fetch bit is reported when NX or SMEP is in force; NX is, if there is any.
        let fetch = self.access == Access::Execute && (self.smep || lab::NX.yes());
        let code = 1
            | u32::from(self.access == Access::Write) << 1
            | u32::from(self.user) << 2
            | u32::from(fetch) << 4;
        (!allowed).then_some(code)
    }

    fn state(&self, address: u64) -> State {
        let code = if self.access == Access::Write { write } else { read };
        let mut state = if self.user { user_state(code) } else { kernel_state(code) };
        if self.access == Access::Execute {
            state.frame.rip = address;
        }
        state.frame.rdi = address;
        state.frame.rflags |= if_so(self.ac, AC);
        state
    }
}

fn if_so(set: bool, bits: u64) -> u64 {
    if set { bits } else { 0 }
}

fn choices(offered: bool) -> &'static [bool] {
    if offered { &[false, true] } else { &[false] }
}

pub(crate) fn check() {
    TARGET.write(0, 0xCC_u8);
    let (cr0, cr4) = (cpu::cr0(), cpu::cr4());
    for (size, name) in [(Size::Small, "4 KiB"), (Size::Large, "2 MiB"), (Size::Huge, "1 GiB")] {
        if size == Size::Huge && !lab::HUGE.yes() {
            skip!(TOPIC, "1 GiB pages: not offered by CPUID");
            continue;
        }
        matrix(size, name, cr0, cr4);
    }
    // SAFETY: the values from before.
    unsafe {
        cpu::set_cr4(cr4);
        cpu::set_cr0(cr0);
    }
}

fn matrix(size: Size, name: &str, cr0: u64, cr4: u64) {
    // Far enough apart that no size meets the tables of another.
    let base = WINDOW + (1 << 36) * size as u64;
    let address = base + TARGET.address() % size.bytes();
    let physical = TARGET.address() & !(size.bytes() - 1);
    let upper_size = if size == Size::Small { Size::Large } else { Size::Huge };
    // A level above the leaf exists for all sizes but 1 GiB, whose upper level is the PML4: shared, so left alone.
    let has_upper = size != Size::Huge;
    // SAFETY: the window belongs to the topics.
    unsafe { page::map(address, physical, size, bits::PRESENT) };
    let leaf = page::entry(address, size);
    let upper = page::entry(address, upper_size);
    let rights: [u64; 8] = core::array::from_fn(|index| {
        if_so(index & 1 != 0, bits::WRITE)
            | if_so(index & 2 != 0, bits::USER)
            | if_so(index & 4 != 0, bits::NO_EXECUTE)
    });
    let usable = |rights: u64| lab::NX.yes() || rights & bits::NO_EXECUTE == 0;
    let (mut cells, mut wrong, mut first) = (0_u32, 0_u32, None);
    for &write_protect in &[false, true] {
        for &smep in choices(offered(lab::SMEP)) {
            for &smap in choices(offered(lab::SMAP)) {
                // SAFETY: the program's pages are supervisor pages and writable: none of the bits touches them.
                unsafe {
                    cpu::set_cr0(cr0 & !CR0_WP | if_so(write_protect, CR0_WP));
                    cpu::set_cr4(
                        cr4 & !(CR4_SMEP | CR4_SMAP) | if_so(smep, CR4_SMEP) | if_so(smap, CR4_SMAP),
                    );
                }
                for &upper_rights in if has_upper { &rights[..] } else { &[bits::WRITE | bits::USER] } {
                    for &leaf_rights in &rights {
                        if !usable(upper_rights | leaf_rights) {
                            continue;
                        }
                        // SAFETY: entries of the window.
                        unsafe {
                            let kept = upper.read_volatile() & bits::ADDRESS | bits::PRESENT;
                            if has_upper {
                                upper.write_volatile(kept | upper_rights);
                            }
                            let large = if size == Size::Small { 0 } else { bits::LARGE };
                            leaf.write_volatile(physical | bits::PRESENT | large | leaf_rights);
                        }
                        page::invalidate(address);
                        for (user, ac, access) in accesses() {
                            let upper = upper_rights;
                            let cell = Cell {
                                upper,
                                leaf: leaf_rights,
                                user,
                                write_protect,
                                smep,
                                smap,
                                ac,
                                access,
                            };
                            let end = lab::run(cell.state(address));
                            cells += 1;
                            if !agrees(&cell, &end, address) {
                                wrong += 1;
                                first = first.or(Some((cell, end.fault())));
                            }
                        }
                    }
                }
            }
        }
    }
    let mut text = Text::default();
    // A text that is cut off still tells the size.
    let _ = core::fmt::Write::write_fmt(&mut text, format_args!("{name} pages: {cells} combinations"));
    match first {
        None => lab::holds!(TOPIC, wrong == 0, text.as_str()),
        Some((cell, fault)) => {
            let expected = cell.fault();
            lab::holds!(
                TOPIC,
                false,
                text.as_str(),
                "{wrong} are wrong; the first: {cell:x?} gives {fault}, not {expected:?}"
            );
        }
    }
}

fn offered(feature: Offered) -> bool {
    feature.yes()
}

fn accesses() -> impl Iterator<Item = (bool, bool, Access)> {
    (0..12).map(|index| {
        let access = [Access::Read, Access::Write, Access::Execute][index / 4];
        (index & 1 != 0, index & 2 != 0, access)
    })
}

fn agrees(cell: &Cell, end: &State, address: u64) -> bool {
    let fault = end.fault();
    match cell.fault() {
        None => fault.vector == BREAKPOINT,
        Some(error) => {
            let target = if cell.access == Access::Write { address + 8 } else { address };
            fault.vector == PAGE_FAULT && fault.error == error && fault.cr2 == target
        }
    }
}

/// A short text without an allocator.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes().take(self.bytes.len() - self.length) {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

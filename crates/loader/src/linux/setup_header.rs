// SPDX-License-Identifier: MIT OR Apache-2.0
//! The setup header of a bzImage (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").

use crate::LoadError;
use crate::fields::{array_at, range, u16_at, u32_at, u64_at};

/// Where the header starts, in the file and in the zero page.
pub(super) const START: u64 = 0x1F1;
/// The header's largest size: in the zero page, other fields follow it.
const LARGEST_END: u64 = 0x290;
/// The oldest protocol with a 64-bit entry point.
const OLDEST_PROTOCOL: u16 = 0x020C;
/// `xloadflags` bit 0: the kernel has an entry point for 64-bit mode.
const XLF_KERNEL_64: u16 = 1 << 0;

/// The header's fields, checked as far as they can be without knowing the guest's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetupHeader<'a> {
    /// The header itself, from [`START`] on, for the zero page.
    pub(super) bytes: &'a [u8],
    /// The part of the file that is loaded.
    pub(super) kernel: &'a [u8],
    /// Highest address that an initrd may touch.
    pub(super) initrd_last: u64,
    /// The power of two that a relocated kernel must be aligned to.
    pub(super) alignment: u64,
    /// Whether the kernel runs at other addresses than the preferred one.
    pub(super) relocatable: bool,
    /// The address where the kernel wants to be.
    pub(super) preferred: u64,
    /// Bytes of memory, from its address on, that the kernel needs before it has read the memory map.
    pub(super) memory: u64,
    /// The longest command line, without its NUL.
    pub(super) command_line: u64,
}

/// Whether `file` has the marks of a bzImage where they belong.
pub(super) fn is_bzimage(file: &[u8]) -> bool {
    array_at(file, 0x1FE) == Some([0x55, 0xAA]) && array_at(file, 0x202) == Some(*b"HdrS")
}

impl<'a> SetupHeader<'a> {
    /// Reads and checks the header of `file`, which [`is_bzimage`].
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, LoadError> {
        let have = file.len() as u64;
        let cut_short = |needed| LoadError::CutShort { have, needed };
        // The jump instruction at 0x200 leads to the header's end.
        let end = 0x202 + u64::from(array_at(file, 0x201).map_or(0, u8::from_le_bytes));
        let version = u16_at(file, 0x206).ok_or(cut_short(end))?;
        if version < OLDEST_PROTOCOL {
            return Err(LoadError::OldProtocol { version });
        }
        // Version 2.12 has all the fields that are read below.
        if !(0x268..=LARGEST_END).contains(&end) {
            return Err(LoadError::BadField { field: "header size", value: end });
        }
        let bytes = range(file, START, end - START).ok_or(cut_short(end))?;
        let u32_field = |offset| u32_at(file, offset).map(u64::from).ok_or(cut_short(end));
        if u16_at(file, 0x236).ok_or(cut_short(end))? & XLF_KERNEL_64 == 0 {
            return Err(LoadError::Not64Bit);
        }
        let setup_sectors = match file[0x1F1] {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let kernel_offset = (setup_sectors + 1) * 512;
        let kernel_size = u32_field(0x1F4)? * 16;
        let needed = kernel_offset + kernel_size;
        let header = Self {
            bytes,
            kernel: range(file, kernel_offset, kernel_size).ok_or(cut_short(needed))?,
            initrd_last: u32_field(0x22C)?,
            alignment: u32_field(0x230)?,
            relocatable: file[0x234] != 0,
            preferred: u64_at(file, 0x258).ok_or(cut_short(end))?,
            memory: u32_field(0x260)?,
            command_line: u32_field(0x238)?,
        };
        header.check()
    }

    fn check(self) -> Result<Self, LoadError> {
        let bad = |field, value| Err(LoadError::BadField { field, value });
        if !self.alignment.is_power_of_two() || self.alignment < 4096 {
            return bad("kernel alignment", self.alignment);
        }
        if self.preferred < 1 << 20 || !self.preferred.is_multiple_of(4096) {
            return bad("preferred address", self.preferred);
        }
        // The entry point is 0x200 into it.
        if self.kernel.len() <= 0x200 {
            return bad("kernel size", self.kernel.len() as u64);
        }
        if self.memory < self.kernel.len() as u64 {
            return bad("initial memory size", self.memory);
        }
        Ok(self)
    }
}

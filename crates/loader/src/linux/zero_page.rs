// SPDX-License-Identifier: MIT OR Apache-2.0
//! The zero page, `struct boot_params` (Linux Documentation/arch/x86/zero-page.rst): what a boot loader tells the
//! kernel.

use super::setup_header;
use crate::LoadError;
use crate::memory_map::MemoryMap;

/// Size of the zero page in bytes.
pub(super) const SIZE: usize = 4096;
/// Most ranges that fit the zero page's memory map.
const MAP_CAPACITY: usize = 128;

/// What goes into a zero page.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZeroPage<'a> {
    /// The kernel's own setup header, or nothing for a kernel without one.
    pub(super) setup_header: &'a [u8],
    /// GPA of the command line.
    pub(super) command_line: u64,
    /// GPA and size of the initrd; zeros for none.
    pub(super) initrd: (u64, u64),
    /// GPA of the ACPI root system description pointer; zero lets the kernel search for it.
    pub(super) rsdp: u64,
    pub(super) memory: &'a MemoryMap,
}

impl ZeroPage<'_> {
    /// The page's bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, LoadError> {
        const LOADER_WITHOUT_A_NUMBER: u8 = 0xFF;
        const LOADED_HIGH: u8 = 1 << 0;
        let mut page = vec![0; SIZE];
        let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(setup_header::START as usize, self.setup_header);
        put(0x1FE, &[0x55, 0xAA]);
        put(0x202, b"HdrS");
        put(0x210, &[LOADER_WITHOUT_A_NUMBER]);
        let load_flags = if self.setup_header.is_empty() { 0 } else { self.setup_header[0x211 - 0x1F1] };
        put(0x211, &[load_flags | LOADED_HIGH]);
        // Each is 32 bits in the setup header with the upper half elsewhere.
        for (low, high, value) in
            [(0x218, 0xC0, self.initrd.0), (0x21C, 0xC4, self.initrd.1), (0x228, 0xC8, self.command_line)]
        {
            put(low, &(value as u32).to_le_bytes());
            put(high, &((value >> 32) as u32).to_le_bytes());
        }
        put(0x070, &self.rsdp.to_le_bytes());

        let ranges = self.memory.ranges();
        if ranges.len() > MAP_CAPACITY {
            return Err(LoadError::LongMemoryMap { ranges: ranges.len(), limit: MAP_CAPACITY });
        }
        put(0x1E8, &[ranges.len() as u8]);
        for (index, range) in ranges.iter().enumerate() {
            let entry = 0x2D0 + index * 20;
            put(entry, &range.start.to_le_bytes());
            put(entry + 8, &range.length.to_le_bytes());
            put(entry + 16, &(range.kind as u32).to_le_bytes());
        }
        Ok(page)
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The information structure that a multiboot program is started with (Multiboot 0.6.96, 3.3).

use std::ops::Range;

use crate::{LoadError, MemoryMap};

/// Size of the structure up to and with the fields for APM; the later ones are about graphics.
const SIZE: usize = 88;
/// The name that programs are told.
const LOADER_NAME: &str = "OpenViridian";

const HAS_MEMORY_SIZES: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// What a program is told.
#[derive(Clone, Debug)]
pub(super) struct Information<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
    /// Text and place of each module.
    pub(super) modules: Vec<(&'a str, Range<u64>)>,
    pub(super) memory: &'a MemoryMap,
}

impl Information<'_> {
    /// The structure for the start of `room`, with all that it points to right behind it.
    pub(super) fn bytes(&self, room: Range<u64>) -> Result<Vec<u8>, LoadError> {
        let mut area = Area { base: room.start as u32, bytes: vec![0; SIZE] };
        let command_line = area.text(&[self.name, self.arguments].join(" "))?;
        let loader_name = area.text(LOADER_NAME)?;
        let mut modules = Vec::new();
        for (text, place) in &self.modules {
            modules.extend([place.start as u32, place.end as u32, area.text(text)?, 0]);
        }
        let module_count = self.modules.len() as u32;
        let modules = area.words(&modules);
        let memory_map = self.memory_map();
        let memory_map_length = memory_map.len() as u32 * 4;
        let memory_map = area.words(&memory_map);
        let (lower, upper) = self.memory_sizes();

        let flags = HAS_MEMORY_SIZES
            | HAS_COMMAND_LINE
            | HAS_MEMORY_MAP
            | HAS_LOADER_NAME
            | if module_count > 0 { HAS_MODULES } else { 0 };
        for (offset, value) in [
            (0, flags),
            (4, lower),
            (8, upper),
            (16, command_line),
            (20, module_count),
            (24, modules),
            (44, memory_map_length),
            (48, memory_map),
            (64, loader_name),
        ] {
            area.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        let (length, limit) = (area.bytes.len() as u64, room.end - room.start);
        if length > limit { Err(LoadError::LongInformation { length, limit }) } else { Ok(area.bytes) }
    }

    /// KiB of memory below 640 KiB, and from 1 MiB up to the first gap.
    fn memory_sizes(&self) -> (u32, u32) {
        let end_of =
            |start: u64| self.memory.usable().find(|range| (range.start..range.end()).contains(&start));
        let from = |start: u64| end_of(start).map_or(0, |range| (range.end() - start) >> 10);
        (from(0).min(640) as u32, from(1 << 20).min(u64::from(u32::MAX)) as u32)
    }

    fn memory_map(&self) -> Vec<u32> {
        /// Size of an entry less this field itself.
        const ENTRY_SIZE: u32 = 20;
        let halves = |value: u64| [value as u32, (value >> 32) as u32];
        let entry = |range: &crate::MemoryRange| {
            let ([base_low, base_high], [low, high]) = (halves(range.start), halves(range.length));
            [ENTRY_SIZE, base_low, base_high, low, high, range.kind as u32]
        };
        self.memory.ranges().iter().flat_map(entry).collect()
    }
}

/// Bytes that will lie at `base`.
struct Area {
    base: u32,
    bytes: Vec<u8>,
}

impl Area {
    /// Appends `text` with its NUL; gives its address.
    fn text(&mut self, text: &str) -> Result<u32, LoadError> {
        if text.contains('\0') {
            return Err(LoadError::NulInCommandLine);
        }
        let address = self.base + self.bytes.len() as u32;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(address)
    }

    /// Appends `words` on a multiple of four; gives their address.
    fn words(&mut self, words: &[u32]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let address = self.base + self.bytes.len() as u32;
        self.bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        address
    }
}

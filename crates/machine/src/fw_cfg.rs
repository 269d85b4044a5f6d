// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of QEMU's fw_cfg that test kernels ask: how many processors, how much memory.
//!
//! | Port | |
//! |---|---|
//! | 0x510 | 16 bits: selects an item and goes to its first byte |
//! | 0x511 | 8 bits: reads the item byte by byte; zero beyond its end |
//!
//! | Item | |
//! |---|---|
//! | 0x00 | signature, "QEMU", which is this interface's name for itself |
//! | 0x01 | features, 32 bits: 1, this port interface and no DMA |
//! | 0x03 | RAM in bytes, 64 bits |
//! | 0x05, 0x0F | processors present, and at most, 16 bits |
//!
//! Source: QEMU docs/specs/fw_cfg. Numbers are little-endian. There is no file directory.

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::Time;

/// Ports of selector and data.
pub const PORTS: std::ops::RangeInclusive<u16> = SELECTOR..=DATA;
const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;

/// The device; saved and restored as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FwCfg {
    ram_size: u64,
    processors: u16,
    selected: u16,
    offset: usize,
}

state::state!(FwCfg { ram_size, processors, selected, offset });

impl FwCfg {
    /// A device that tells of `ram_size` bytes and `processors` virtual processors.
    pub fn new(ram_size: u64, processors: u16) -> Self {
        Self { ram_size, processors, selected: 0, offset: 0 }
    }

    fn next_byte(&mut self) -> u8 {
        let item: &[u8] = match self.selected {
            0x00 => b"QEMU",
            0x01 => &1u32.to_le_bytes(),
            0x03 => &self.ram_size.to_le_bytes(),
            0x05 | 0x0F => &self.processors.to_le_bytes(),
            _ => &[],
        };
        let byte = item.get(self.offset).copied().unwrap_or(0);
        self.offset = self.offset.saturating_add(1);
        byte
    }
}

impl PortDevice for FwCfg {
    fn read(&mut self, _now: Time, port: u16, size: AccessSize) -> u32 {
        match (port, size) {
            (DATA, AccessSize::Byte) => u32::from(self.next_byte()),
            _ => 0,
        }
    }

    fn write(&mut self, _now: Time, port: u16, size: AccessSize, value: u32) -> Option<ExitRequest> {
        if (port, size) == (SELECTOR, AccessSize::Word) {
            self.selected = value as u16;
            self.offset = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(device: &mut FwCfg, key: u16, length: usize) -> Vec<u8> {
        device.write(Time::ZERO, SELECTOR, AccessSize::Word, u32::from(key));
        (0..length).map(|_| device.read(Time::ZERO, DATA, AccessSize::Byte) as u8).collect()
    }

    #[test]
    fn items_are_read_byte_by_byte_and_end_in_zeros() {
        let mut device = FwCfg::new(0x1_2345_6000, 3);
        assert_eq!(item(&mut device, 0x00, 4), b"QEMU");
        assert_eq!(item(&mut device, 0x01, 4), [1, 0, 0, 0]);
        assert_eq!(item(&mut device, 0x03, 8), 0x1_2345_6000u64.to_le_bytes());
        assert_eq!(item(&mut device, 0x05, 4), [3, 0, 0, 0]);
        assert_eq!(item(&mut device, 0x0F, 2), [3, 0]);
        assert_eq!(item(&mut device, 0x19, 4), [0; 4], "no file directory");
    }

    #[test]
    fn only_a_word_selects() {
        let mut device = FwCfg::new(0, 7);
        item(&mut device, 0x05, 0);
        device.write(Time::ZERO, SELECTOR, AccessSize::Byte, 0);
        assert_eq!(device.read(Time::ZERO, DATA, AccessSize::Byte), 7);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot programs of a few instructions, put together by hand: 32-bit code with flat segments and paging off.

use std::path::{Path, PathBuf};

/// Where the file is loaded; the header comes first.
pub(crate) const BASE: u32 = 0x10_0000;
const HEADER_BYTES: u32 = 32;
/// Address of the first instruction.
pub(crate) const ENTRY: u32 = BASE + HEADER_BYTES;

/// Code that grows at its end.
#[derive(Default)]
pub(crate) struct Program {
    code: Vec<u8>,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Address of the next instruction.
    pub(crate) fn here(&self) -> u32 {
        ENTRY + self.code.len() as u32
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.code.extend_from_slice(bytes);
        self
    }

    /// `MOV register, value`; EAX 0, ECX 1, EDX 2, EBX 3, ESP 4, EBP 5, ESI 6, EDI 7.
    pub(crate) fn set(self, register: u8, value: u32) -> Self {
        self.bytes(&[0xB8 + register]).bytes(&value.to_le_bytes())
    }

    /// Writes a byte to a port.
    pub(crate) fn out(self, port: u16, value: u8) -> Self {
        self.set(2, port.into()).bytes(&[0xB0, value, 0xEE])
    }

    /// Leaves through the debug-exit port.
    pub(crate) fn exit(self, code: u32) -> Self {
        self.set(0, code).set(2, 0xF4).bytes(&[0xEF])
    }

    /// Prints on the serial port.
    pub(crate) fn print(self, text: &str) -> Self {
        text.bytes().fold(self, |program, byte| program.out(0x3F8, byte))
    }

    /// Writes an MSR.
    pub(crate) fn wrmsr(self, number: u32, value: u64) -> Self {
        self.set(1, number).set(0, value as u32).set(2, (value >> 32) as u32).bytes(&[0x0F, 0x30])
    }

    /// Halts for good.
    pub(crate) fn halt(self) -> Self {
        self.bytes(&[0xFA, 0xF4, 0xEB, 0xFD])
    }

    /// Shuts the processor down: an exception without a table of handlers.
    pub(crate) fn triple_fault(self) -> Self {
        // LIDT of six zero bytes behind the two instructions, then INT3.
        let operand = self.here() + 8;
        self.bytes(&[0x0F, 0x01, 0x1D]).bytes(&operand.to_le_bytes()).bytes(&[0xCC, 0, 0, 0, 0, 0, 0])
    }

    /// Writes the file.
    pub(crate) fn write(self, folder: &Path) -> PathBuf {
        let (magic, flags) = (0x1BAD_B002_u32, 1_u32 << 16);
        let checksum = magic.wrapping_add(flags).wrapping_neg();
        let mut file = Vec::new();
        for word in [magic, flags, checksum, BASE, BASE, 0, 0, ENTRY] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&self.code);
        let path = folder.join("program");
        std::fs::write(&path, file).unwrap();
        path
    }
}

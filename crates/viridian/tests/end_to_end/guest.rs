// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tiny guests, assembled in the test: multiboot programs of a few instructions, in 32-bit protected mode without paging.

use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, al, dx, eax, ebp, ebx, ecx, edi, edx, esi, esp};

/// Where a guest lies; its code follows the 32 bytes of header.
const ADDRESS: u32 = 0x10_0000;
const CODE: u32 = ADDRESS + 32;

/// First serial port, the debug-exit port and the reset byte of the chipset.
const SERIAL: u32 = 0x3F8;
const DEBUG_EXIT: u32 = 0xF4;
const RESET: u32 = 0xCF9;

/// Crash registers (TLFS 4.3): parameters P0 to P4, then the control register.
const CRASH_P0: u32 = 0x4000_0100;
const CRASH_CTL: u32 = 0x4000_0105;

/// A guest under construction.
pub(crate) struct Guest(CodeAssembler);

impl Guest {
    pub(crate) fn new() -> Self {
        Self(CodeAssembler::new(32).expect("32-bit code"))
    }

    fn add(mut self, instructions: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        instructions(&mut self.0).expect("instructions that exist");
        self
    }

    fn out_dword(self, port: u32, value: u32) -> Self {
        self.add(|asm| {
            asm.mov(edx, port)?;
            asm.mov(eax, value)?;
            asm.out(dx, eax)
        })
    }

    /// Sends text to the console.
    pub(crate) fn print(self, text: &str) -> Self {
        text.bytes().fold(self, |guest, byte| {
            guest.add(|asm| {
                asm.mov(edx, SERIAL)?;
                asm.mov(eax, u32::from(byte))?;
                asm.out(dx, al)
            })
        })
    }

    /// Reads the console until it gets this byte.
    pub(crate) fn wait_for_key(self, key: u8) -> Self {
        self.add(|asm| {
            let mut poll = asm.create_label();
            // The other end sends while RTS is asserted.
            asm.mov(edx, SERIAL + 4)?;
            asm.mov(eax, 3)?;
            asm.out(dx, al)?;
            asm.set_label(&mut poll)?;
            asm.mov(edx, SERIAL + 5)?;
            asm.in_(al, dx)?;
            asm.test(al, 1)?;
            asm.jz(poll)?;
            asm.mov(edx, SERIAL)?;
            asm.in_(al, dx)?;
            asm.cmp(al, i32::from(key))?;
            asm.jne(poll)
        })
    }

    /// Sends bytes to the console for ever.
    pub(crate) fn print_for_ever(self) -> Vec<u8> {
        self.add(|asm| {
            let mut next = asm.create_label();
            asm.mov(edx, SERIAL)?;
            asm.mov(eax, u32::from(b'.'))?;
            asm.set_label(&mut next)?;
            asm.out(dx, al)?;
            asm.jmp(next)
        })
        .image()
    }

    /// Fills memory from 2 MiB up to this address.
    pub(crate) fn fill_memory(self, end: u32) -> Self {
        let start = 0x20_0000;
        self.add(|asm| {
            asm.mov(edi, start)?;
            asm.mov(ecx, (end - start) / 4)?;
            asm.mov(eax, 0x5A5A_5A5A)?;
            asm.cld()?;
            asm.rep().stosd()
        })
    }

    /// Leaves through the debug-exit port.
    pub(crate) fn exit(self, code: u32) -> Vec<u8> {
        self.out_dword(DEBUG_EXIT, code).image()
    }

    /// Counts its own instructions until so many ticks of the TSC are over, and exits with how many there were in a thousand ticks.
    pub(crate) fn instructions_per_thousand(self, ticks: u32) -> Vec<u8> {
        const PER_ROUND: u32 = 5;
        self.add(|asm| {
            let mut round = asm.create_label();
            asm.rdtsc()?;
            asm.mov(esi, eax)?;
            asm.xor(ecx, ecx)?;
            asm.set_label(&mut round)?;
            asm.inc(ecx)?;
            asm.rdtsc()?;
            asm.sub(eax, esi)?;
            asm.cmp(eax, ticks)?;
            asm.jb(round)?;
            asm.mov(eax, PER_ROUND * 1000)?;
            asm.mul(ecx)?;
            asm.mov(ecx, ticks)?;
            asm.div(ecx)?;
            asm.mov(edx, DEBUG_EXIT)?;
            asm.out(dx, eax)
        })
        .image()
    }

    /// Resets the machine through the chipset.
    pub(crate) fn reset(self) -> Vec<u8> {
        self.add(|asm| {
            asm.mov(edx, RESET)?;
            asm.mov(eax, 6)?;
            asm.out(dx, al)
        })
        .image()
    }

    /// Takes an exception that cannot be delivered, nor the double fault that follows.
    pub(crate) fn triple_fault(self) -> Vec<u8> {
        self.add(|asm| {
            asm.mov(esi, ADDRESS)?;
            // Ten bytes with a limit of zero are not in the file, but memory behind it is zero.
            asm.lidt(iced_x86::code_asm::ptr(esi + 0x1000))?;
            asm.ud2()
        })
        .image()
    }

    /// Sets one of its own registers by hypercall (TLFS 7.10.1).
    pub(crate) fn set_register(self, name: u32, value: u32) -> Self {
        const PAGE: u32 = 0x20_0000;
        const INPUT: u32 = PAGE + 0x1000;
        const CALL_SET_VP_REGISTERS: u32 = 0x51;
        // The own partition, the own VP, and one register with its value in 128 bits.
        let input = [(0, u32::MAX), (4, u32::MAX), (8, u32::MAX - 1), (16, name), (32, value)];
        let guest = self.write_msr(0x4000_0000, 0, 1).write_msr(0x4000_0001, 0, PAGE | 1);
        let guest = input.into_iter().fold(guest, |guest, (offset, value)| {
            guest.add(|asm| {
                asm.mov(esi, INPUT + offset)?;
                asm.mov(iced_x86::code_asm::dword_ptr(esi), value)
            })
        });
        guest.add(|asm| {
            asm.mov(esp, INPUT + 0x1000)?;
            asm.mov(eax, CALL_SET_VP_REGISTERS)?;
            // One element of a list.
            asm.mov(edx, 1)?;
            asm.xor(ebx, ebx)?;
            asm.mov(ecx, INPUT)?;
            asm.xor(edi, edi)?;
            asm.xor(esi, esi)?;
            asm.mov(ebp, PAGE)?;
            asm.call(ebp)
        })
    }

    /// Reports a crash with these parameters and a message of the image's own first bytes.
    pub(crate) fn crash(self, parameters: [u32; 3], message: &str) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("a short message");
        // The message is stored behind the image first.
        let text = ADDRESS + 0x2000;
        let mut guest = message.bytes().zip(text..).fold(self, |guest, (byte, address)| {
            guest.add(|asm| {
                asm.mov(esi, address)?;
                asm.mov(eax, u32::from(byte))?;
                asm.mov(iced_x86::code_asm::byte_ptr(esi), al)
            })
        });
        for (index, value) in (0..).zip(parameters.into_iter().chain([text, length])) {
            guest = guest.write_msr(CRASH_P0 + index, 0, value);
        }
        // Bit 63: notify. Bit 62: P3 and P4 are the message's address and length.
        guest.write_msr(CRASH_CTL, 0xC000_0000, 0).image()
    }

    fn write_msr(self, number: u32, high: u32, low: u32) -> Self {
        self.add(|asm| {
            asm.mov(ecx, number)?;
            asm.mov(edx, high)?;
            asm.mov(eax, low)?;
            asm.wrmsr()
        })
    }

    /// The multiboot file: a header with addresses, and the code.
    fn image(mut self) -> Vec<u8> {
        // A guest that gets past its last instruction goes no further.
        self.0.hlt().expect("HLT");
        let code = self.0.assemble(CODE.into()).expect("code that assembles");
        let (magic, flags) = (0x1BAD_B002_u32, 1 << 16);
        let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
        // Header's address, load address, all of the file, no zeroed memory, entry point.
        let header = [magic, flags, checksum, ADDRESS, ADDRESS, 0, 0, CODE];
        header.into_iter().flat_map(u32::to_le_bytes).chain(code).collect()
    }
}

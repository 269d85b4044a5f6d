// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the loader to the guest's main function, and what the loader told: command line, modules, memory.

use crate::exit::{self, Code};
use crate::{cpu, processors, segments, serial, trap};
use core::arch::global_asm;
use core::cell::UnsafeCell;

global_asm!(include_str!("entry.s"));

unsafe extern "C" {
    static boot_magic: u32;
    static boot_info: u32;
    static image_start: u8;
    static image_end: u8;
}

unsafe extern "Rust" {
    fn guest_main() -> Code;
}

/// What EAX holds when a multiboot loader hands over.
const LOADED_BY_MULTIBOOT: u32 = 0x2BAD_B002;
const EFER: u32 = 0xC000_0080;
const EFER_NXE: u64 = 1 << 11;

/// The loader's texts are copied at once: nobody says how long its memory stays as it is.
struct Text<const N: usize>(UnsafeCell<([u8; N], usize)>);
// SAFETY: written once, before other processors start.
unsafe impl<const N: usize> Sync for Text<N> {}

impl<const N: usize> Text<N> {
    const fn new() -> Self {
        Text(UnsafeCell::new(([0; N], 0)))
    }

    /// Copies up to `limit` bytes, to the first zero.
    ///
    /// # Safety
    /// The bytes must be readable, and nobody else may use the text now.
    unsafe fn copy_from(&self, address: u64, limit: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            let (bytes, length) = &mut *self.0.get();
            *length = 0;
            for (index, byte) in bytes.iter_mut().take(limit).enumerate() {
                *byte = ((address + index as u64) as *const u8).read_volatile();
                if *byte == 0 {
                    break;
                }
                *length = index + 1;
            }
        }
    }

    fn get(&self) -> &str {
        // SAFETY: written once, earlier.
        let (bytes, length) = unsafe { &*self.0.get() };
        let bytes = &bytes[..*length];
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

static COMMAND_LINE: Text<1024> = Text::new();
static ENVIRONMENT: Text<1024> = Text::new();
static MEMORY_END: Text<8> = Text::new();

/// Called by entry.s in 64-bit mode.
#[unsafe(no_mangle)]
extern "C" fn guest_main_on_boot_processor() -> ! {
    serial::initialise();
    // Firmware may have left the legacy interrupt controllers open, at vectors that mean exceptions here.
    cpu::out8(0x21, 0xFF);
    cpu::out8(0xA1, 0xFF);
    segments::initialise(0);
    trap::initialise();
    trap::load_idt();
    enable_no_execute();
    // SAFETY: single-threaded, and written by entry.s.
    unsafe {
        if boot_magic == LOADED_BY_MULTIBOOT {
            read_boot_information(u64::from(boot_info));
        }
    }
    // SAFETY: the program defines it with `entry!`.
    exit::exit(unsafe { guest_main() })
}

/// Called by entry.s in 64-bit mode, on the stack that belongs to `index`.
#[unsafe(no_mangle)]
extern "C" fn guest_main_on_application_processor(index: u32) -> ! {
    segments::initialise(index as usize);
    trap::load_idt();
    enable_no_execute();
    processors::serve(index as usize)
}

fn enable_no_execute() {
    if cpu::cpuid(0x8000_0000, 0).eax >= 0x8000_0001 && cpu::cpuid(0x8000_0001, 0).edx & 1 << 20 != 0 {
        // SAFETY: the bit exists, and no page of ours has it set yet.
        unsafe { cpu::wrmsr(EFER, cpu::rdmsr(EFER) | EFER_NXE) };
    }
}

/// # Safety
/// `info` must be the address of a multiboot information structure (Multiboot 0.6.96, 3.3).
unsafe fn read_boot_information(info: u64) {
    // SAFETY: identity-mapped memory that the loader filled; volatile, for the compiler knows nothing of it.
    unsafe {
        let field = |offset: u64| u64::from(((info + offset) as *const u32).read_volatile());
        let flags = field(0);
        if flags & 1 != 0 {
            let end = 0x10_0000 + field(8) * 1024;
            (*MEMORY_END.0.get()).0 = end.to_le_bytes();
        }
        if flags & 1 << 2 != 0 {
            COMMAND_LINE.copy_from(field(16), 1024);
        }
        if flags & 1 << 3 != 0 && field(20) > 0 {
            let module = field(24);
            let start = u64::from((module as *const u32).read_volatile());
            let end = u64::from(((module + 4) as *const u32).read_volatile());
            ENVIRONMENT.copy_from(start, end.saturating_sub(start) as usize);
        }
    }
}

/// The command line; its first word is the program's name.
pub fn command_line() -> &'static str {
    COMMAND_LINE.get()
}

/// The value of `name=value` on the command line.
pub fn argument(name: &str) -> Option<&'static str> {
    value_of(command_line().split_ascii_whitespace().skip(1), name)
}

/// Tells whether the command line has the word.
pub fn has_argument(word: &str) -> bool {
    command_line().split_ascii_whitespace().skip(1).any(|argument| argument == word)
}

/// The value of `NAME=value` in the text of the first module.
pub fn environment(name: &str) -> Option<&'static str> {
    value_of(ENVIRONMENT.get().lines(), name)
}

fn value_of<'a>(words: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

/// The end of the memory that begins at 1 MiB, in bytes; 0 when the loader did not say.
pub fn memory_end() -> u64 {
    // SAFETY: written once, earlier.
    u64::from_le_bytes(unsafe { (*MEMORY_END.0.get()).0 })
}

/// The program's own memory, from its first byte to behind its last one.
pub fn image() -> core::ops::Range<u64> {
    &raw const image_start as u64..&raw const image_end as u64
}

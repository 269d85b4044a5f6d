// SPDX-License-Identifier: MIT OR Apache-2.0
//! The access primitives: small assembly routines that touch host memory which may not be there, and report
//! a fault instead of ending the process. Everything that reads or writes guest memory from outside an engine's own fast path ends here.
//!
//! Single accesses of 1, 2, 4 and 8 bytes are one host instruction each, so they are as atomic for the guest's other
//! processors as its own would be.

use std::sync::Once;

/// The host page could not be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

#[repr(C)]
struct Outcome {
    /// 0, or the signal that was raised.
    fault: u64,
    value: u64,
}

// All routines follow the C calling convention, use no stack, and return the signal in RAX and a value in RDX. The landing
// address expects the signal in RAX (see `recover`) and just returns.
core::arch::global_asm!(
    ".pushsection .text.openviridian_access, \"ax\", @progbits",
    ".globl openviridian_access_start",
    "openviridian_access_start:",
    ".globl openviridian_read1",
    "openviridian_read1: movzx edx, byte ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl openviridian_read2",
    "openviridian_read2: movzx edx, word ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl openviridian_read4",
    "openviridian_read4: mov edx, dword ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl openviridian_read8",
    "openviridian_read8: mov rdx, qword ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl openviridian_write1",
    "openviridian_write1: mov byte ptr [rdi], sil",
    "xor eax, eax",
    "ret",
    ".globl openviridian_write2",
    "openviridian_write2: mov word ptr [rdi], si",
    "xor eax, eax",
    "ret",
    ".globl openviridian_write4",
    "openviridian_write4: mov dword ptr [rdi], esi",
    "xor eax, eax",
    "ret",
    ".globl openviridian_write8",
    "openviridian_write8: mov qword ptr [rdi], rsi",
    "xor eax, eax",
    "ret",
    // (rdi pointer, rsi expected, rdx new) -> value before
    ".globl openviridian_compare_exchange4",
    "openviridian_compare_exchange4: mov eax, esi",
    "lock cmpxchg dword ptr [rdi], edx",
    "mov edx, eax",
    "xor eax, eax",
    "ret",
    ".globl openviridian_compare_exchange8",
    "openviridian_compare_exchange8: mov rax, rsi",
    "lock cmpxchg qword ptr [rdi], rdx",
    "mov rdx, rax",
    "xor eax, eax",
    "ret",
    // (rdi destination, rsi source, rdx bytes)
    ".globl openviridian_copy",
    "openviridian_copy: mov rcx, rdx",
    "rep movsb",
    "xor eax, eax",
    "ret",
    ".globl openviridian_access_end",
    "openviridian_access_end:",
    ".globl openviridian_access_landing",
    "openviridian_access_landing: xor edx, edx",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    static openviridian_access_start: u8;
    static openviridian_access_end: u8;
    static openviridian_access_landing: u8;
    fn openviridian_read1(pointer: *const u8) -> Outcome;
    fn openviridian_read2(pointer: *const u8) -> Outcome;
    fn openviridian_read4(pointer: *const u8) -> Outcome;
    fn openviridian_read8(pointer: *const u8) -> Outcome;
    fn openviridian_write1(pointer: *mut u8, value: u64) -> Outcome;
    fn openviridian_write2(pointer: *mut u8, value: u64) -> Outcome;
    fn openviridian_write4(pointer: *mut u8, value: u64) -> Outcome;
    fn openviridian_write8(pointer: *mut u8, value: u64) -> Outcome;
    fn openviridian_compare_exchange4(pointer: *mut u8, expected: u64, new: u64) -> Outcome;
    fn openviridian_compare_exchange8(pointer: *mut u8, expected: u64, new: u64) -> Outcome;
    fn openviridian_copy(destination: *mut u8, source: *const u8, bytes: usize) -> Outcome;
}

static REGISTER: Once = Once::new();

/// Makes faults in the primitives recoverable. Called whenever an object comes into being.
pub(crate) fn prepare() {
    REGISTER.call_once(|| {
        // SAFETY: the routines between the labels use no stack, so returning from the landing is right at each
        // of their instructions, and RAX is theirs to overwrite.
        unsafe {
            crate::recover::register(
                (&raw const openviridian_access_start).addr(),
                (&raw const openviridian_access_end).addr(),
                (&raw const openviridian_access_landing).addr(),
            );
        }
    });
}

impl Outcome {
    fn value(self) -> Result<u64, Fault> {
        if self.fault == 0 { Ok(self.value) } else { Err(Fault) }
    }
}

/// Width of a single access, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    One = 1,
    Two = 2,
    Four = 4,
    Eight = 8,
}

/// Reads one value.
///
/// # Safety
/// `pointer` must lie in address space that belongs to guest memory: it may fault, but must not be something else's.
pub(crate) unsafe fn read(pointer: *const u8, width: Width) -> Result<u64, Fault> {
    // SAFETY: the routines only read at `pointer`, and a fault there is recovered from.
    unsafe {
        match width {
            Width::One => openviridian_read1(pointer),
            Width::Two => openviridian_read2(pointer),
            Width::Four => openviridian_read4(pointer),
            Width::Eight => openviridian_read8(pointer),
        }
    }
    .value()
}

/// Writes the low bytes of `value`.
///
/// # Safety
/// As for [`read`].
pub(crate) unsafe fn write(pointer: *mut u8, width: Width, value: u64) -> Result<(), Fault> {
    // SAFETY: the routines only write at `pointer`, and a fault there is recovered from.
    unsafe {
        match width {
            Width::One => openviridian_write1(pointer, value),
            Width::Two => openviridian_write2(pointer, value),
            Width::Four => openviridian_write4(pointer, value),
            Width::Eight => openviridian_write8(pointer, value),
        }
    }
    .value()
    .map(|_| ())
}

/// Replaces `expected` by `new` atomically and gives the value that was there. `wide` is 8 bytes, else 4.
///
/// # Safety
/// As for [`read`].
pub(crate) unsafe fn compare_exchange(
    pointer: *mut u8,
    wide: bool,
    expected: u64,
    new: u64,
) -> Result<u64, Fault> {
    // SAFETY: the routines only touch `pointer`, and a fault there is recovered from.
    unsafe {
        if wide {
            openviridian_compare_exchange8(pointer, expected, new)
        } else {
            openviridian_compare_exchange4(pointer, expected, new)
        }
    }
    .value()
}

/// Copies bytes upwards. When it faults, the bytes before the faulting one may have been copied.
///
/// # Safety
/// One side must be guest memory (see [`read`]); the other valid for `bytes` bytes. They must not overlap.
pub(crate) unsafe fn copy(destination: *mut u8, source: *const u8, bytes: usize) -> Result<(), Fault> {
    // SAFETY: by contract of this function; a fault on the guest's side is recovered from.
    unsafe { openviridian_copy(destination, source, bytes) }.value().map(|_| ())
}

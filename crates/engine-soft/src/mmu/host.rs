// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's own loads, stores and locked instructions on guest memory.
//!
//! Guest memory is shared with other processors and may change at any time, so it is touched only by single machine
//! instructions, which the guest's memory model expects, and never by way of a Rust reference.

use core::arch::asm;

/// Loads 1, 2, 4 or 8 bytes, zero-extended.
///
/// # Safety
/// `address` must be a host address of guest memory that is mapped for `size` bytes.
#[inline(always)]
pub(crate) unsafe fn load(address: u64, size: usize) -> u64 {
    let value: u64;
    // SAFETY: by contract of this function.
    unsafe {
        match size {
            1 => {
                asm!("movzx {0:e}, byte ptr [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags, readonly))
            }
            2 => {
                asm!("movzx {0:e}, word ptr [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags, readonly))
            }
            4 => {
                asm!("mov {0:e}, dword ptr [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags, readonly))
            }
            _ => {
                asm!("mov {0}, qword ptr [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags, readonly))
            }
        }
    }
    value
}

/// Stores the low 1, 2, 4 or 8 bytes.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(crate) unsafe fn store(address: u64, size: usize, value: u64) {
    // SAFETY: by contract of this function.
    unsafe {
        match size {
            1 => {
                asm!("mov byte ptr [{1}], {0}", in(reg_byte) value as u8, in(reg) address, options(nostack, preserves_flags))
            }
            2 => {
                asm!("mov word ptr [{1}], {0:x}", in(reg) value, in(reg) address, options(nostack, preserves_flags))
            }
            4 => {
                asm!("mov dword ptr [{1}], {0:e}", in(reg) value, in(reg) address, options(nostack, preserves_flags))
            }
            _ => {
                asm!("mov qword ptr [{1}], {0}", in(reg) value, in(reg) address, options(nostack, preserves_flags))
            }
        }
    }
}

/// Replaces `expected` by `new` in 1, 2, 4 or 8 bytes, atomically at any alignment, and gives the value that was there.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(crate) unsafe fn compare_exchange(address: u64, size: usize, expected: u64, new: u64) -> u64 {
    let mut value = expected;
    // SAFETY: by contract of this function.
    unsafe {
        match size {
            1 => {
                let byte = new as u8;
                asm!("lock cmpxchg byte ptr [{1}], {0}", in(reg_byte) byte, in(reg) address, inout("rax") value, options(nostack));
                value &= 0xFF;
            }
            2 => {
                asm!("lock cmpxchg word ptr [{1}], {0:x}", in(reg) new, in(reg) address, inout("rax") value, options(nostack));
                value &= 0xFFFF;
            }
            4 => {
                asm!("lock cmpxchg dword ptr [{1}], {0:e}", in(reg) new, in(reg) address, inout("rax") value, options(nostack));
                value &= 0xFFFF_FFFF;
            }
            _ => {
                asm!("lock cmpxchg qword ptr [{1}], {0}", in(reg) new, in(reg) address, inout("rax") value, options(nostack));
            }
        }
    }
    value
}

/// Replaces `expected` by `new` in 16 bytes and gives the value that was there.
///
/// # Safety
/// As [`load`]; the address must be aligned to 16.
pub(crate) unsafe fn compare_exchange_16(address: u64, expected: u128, new: u128) -> u128 {
    let (mut low, mut high) = (expected as u64, (expected >> 64) as u64);
    // SAFETY: by contract of this function; RBX, which the compiler keeps for itself, is put back.
    unsafe {
        asm!(
            "xchg {new_low}, rbx",
            "lock cmpxchg16b [{address}]",
            "mov rbx, {new_low}",
            new_low = inout(reg) new as u64 => _,
            address = in(reg) address,
            in("rcx") (new >> 64) as u64,
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    u128::from(low) | u128::from(high) << 64
}

/// Copies bytes out of guest memory.
///
/// # Safety
/// `address` must be a host address of guest memory that is mapped for the buffer's length.
pub(crate) unsafe fn copy_from(address: u64, buffer: &mut [u8]) {
    // SAFETY: by contract of this function; the buffer is ours, and guest memory never overlaps it.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") buffer.len() => _,
            inout("rsi") address => _,
            inout("rdi") buffer.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies bytes into guest memory.
///
/// # Safety
/// As [`copy_from`].
pub(crate) unsafe fn copy_to(address: u64, bytes: &[u8]) {
    // SAFETY: by contract of this function.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") bytes.len() => _,
            inout("rsi") bytes.as_ptr() => _,
            inout("rdi") address => _,
            options(nostack, preserves_flags),
        );
    }
}

/// REP MOVS upwards, with the host's own semantics of overlap.
///
/// # Safety
/// Both addresses must be host addresses of guest memory that is mapped for `elements * size` bytes.
pub(crate) unsafe fn repeat_move(to: u64, from: u64, elements: u64, size: u64) {
    // SAFETY: by contract of this function; the direction flag is clear in Rust code.
    unsafe {
        match size {
            1 => {
                asm!("rep movsb", inout("rcx") elements => _, inout("rsi") from => _, inout("rdi") to => _, options(nostack, preserves_flags))
            }
            2 => {
                asm!("rep movsw", inout("rcx") elements => _, inout("rsi") from => _, inout("rdi") to => _, options(nostack, preserves_flags))
            }
            4 => {
                asm!("rep movsd", inout("rcx") elements => _, inout("rsi") from => _, inout("rdi") to => _, options(nostack, preserves_flags))
            }
            _ => {
                asm!("rep movsq", inout("rcx") elements => _, inout("rsi") from => _, inout("rdi") to => _, options(nostack, preserves_flags))
            }
        }
    }
}

/// REP STOS upwards.
///
/// # Safety
/// As [`repeat_move`].
pub(crate) unsafe fn repeat_store(to: u64, value: u64, elements: u64, size: u64) {
    // SAFETY: by contract of this function; the direction flag is clear in Rust code.
    unsafe {
        match size {
            1 => {
                asm!("rep stosb", inout("rcx") elements => _, in("rax") value, inout("rdi") to => _, options(nostack, preserves_flags))
            }
            2 => {
                asm!("rep stosw", inout("rcx") elements => _, in("rax") value, inout("rdi") to => _, options(nostack, preserves_flags))
            }
            4 => {
                asm!("rep stosd", inout("rcx") elements => _, in("rax") value, inout("rdi") to => _, options(nostack, preserves_flags))
            }
            _ => {
                asm!("rep stosq", inout("rcx") elements => _, in("rax") value, inout("rdi") to => _, options(nostack, preserves_flags))
            }
        }
    }
}

/// Copies 32 bytes by one load and one store, and leaves the upper halves of the vector registers clear.
///
/// # Safety
/// As [`move_16`], for 32 bytes; the host must have AVX.
#[inline(always)]
pub(crate) unsafe fn move_32(to: u64, from: u64) {
    // SAFETY: by contract of this function. Compiled code keeps nothing in the upper halves across this: it is told that all registers change.
    unsafe {
        asm!(
            "vmovups ymm0, [{from}]",
            "vmovups [{to}], ymm0",
            "vzeroupper",
            from = in(reg) from,
            to = in(reg) to,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies 16 bytes by one load and one store.
///
/// # Safety
/// Both addresses must be mapped for 16 bytes: guest memory, or memory that is ours alone.
#[inline(always)]
pub(crate) unsafe fn move_16(to: u64, from: u64) {
    // SAFETY: by contract of this function.
    unsafe {
        asm!(
            "movups {t}, [{from}]",
            "movups [{to}], {t}",
            t = out(xmm_reg) _,
            from = in(reg) from,
            to = in(reg) to,
            options(nostack, preserves_flags),
        );
    }
}

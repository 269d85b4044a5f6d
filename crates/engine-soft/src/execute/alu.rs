// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic by the host's own instructions, with the flags that they give.
//!
//! Values are passed in 64-bit registers; bits above the operand's width are ignored, and unspecified in results of 1 and 2
//! bytes (zero in results of 4).

use core::arch::asm;

use crate::cpu::Flags;

/// An instruction of two operands that sets all status flags without reading any.
macro_rules! binary {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const BYTES: usize>(mut a: u64, b: u64, flags: &mut Flags) -> u64 {
            let out: u16;
            // SAFETY: touches only the named registers.
            unsafe {
                match BYTES {
                    1 => asm!(concat!($mnemonic, " {a:l}, {b:l}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, out("ax") out, options(pure, nomem, nostack)),
                    2 => asm!(concat!($mnemonic, " {a:x}, {b:x}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, out("ax") out, options(pure, nomem, nostack)),
                    4 => asm!(concat!($mnemonic, " {a:e}, {b:e}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, out("ax") out, options(pure, nomem, nostack)),
                    _ => asm!(concat!($mnemonic, " {a}, {b}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, out("ax") out, options(pure, nomem, nostack)),
                }
            }
            flags.0 = out;
            a
        }
    };
}

binary!(add, "add");
binary!(sub, "sub");
binary!(and, "and");
binary!(or, "or");
binary!(xor, "xor");
// The result is the first operand, unchanged.
binary!(cmp, "cmp");
binary!(test, "test");

/// An instruction of two operands that reads the status flags (all but OF) and sets them.
macro_rules! binary_with_flags {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const BYTES: usize>(mut a: u64, b: u64, flags: &mut Flags) -> u64 {
            let mut ax = flags.0;
            // SAFETY: touches only the named registers.
            unsafe {
                match BYTES {
                    1 => asm!("sahf", concat!($mnemonic, " {a:l}, {b:l}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                    2 => asm!("sahf", concat!($mnemonic, " {a:x}, {b:x}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                    4 => asm!("sahf", concat!($mnemonic, " {a:e}, {b:e}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                    _ => asm!("sahf", concat!($mnemonic, " {a}, {b}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                }
            }
            flags.0 = ax;
            a
        }
    };
}

binary_with_flags!(adc, "adc");
binary_with_flags!(sbb, "sbb");

/// An instruction of one operand; flags it does not set stay.
macro_rules! unary {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const BYTES: usize>(mut a: u64, flags: &mut Flags) -> u64 {
            let mut ax = flags.0;
            // SAFETY: touches only the named registers.
            unsafe {
                match BYTES {
                    1 => asm!("sahf", concat!($mnemonic, " {a:l}"), "lahf", "seto al", a = inout(reg) a, inout("ax") ax, options(pure, nomem, nostack)),
                    2 => asm!("sahf", concat!($mnemonic, " {a:x}"), "lahf", "seto al", a = inout(reg) a, inout("ax") ax, options(pure, nomem, nostack)),
                    4 => asm!("sahf", concat!($mnemonic, " {a:e}"), "lahf", "seto al", a = inout(reg) a, inout("ax") ax, options(pure, nomem, nostack)),
                    _ => asm!("sahf", concat!($mnemonic, " {a}"), "lahf", "seto al", a = inout(reg) a, inout("ax") ax, options(pure, nomem, nostack)),
                }
            }
            flags.0 = ax;
            a
        }
    };
}

unary!(inc, "inc");
unary!(dec, "dec");
unary!(neg, "neg");

/// A shift or rotate by CL. A count of zero, after the host has masked it, leaves all flags: so they are all loaded before, OF by
/// an addition that overflows exactly if it was set.
macro_rules! shift {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const BYTES: usize>(mut a: u64, count: u64, flags: &mut Flags) -> u64 {
            let mut ax = flags.0;
            // SAFETY: touches only the named registers.
            unsafe {
                match BYTES {
                    1 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:l}, cl"), "lahf", "seto al", a = inout(reg) a, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                    2 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:x}, cl"), "lahf", "seto al", a = inout(reg) a, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                    4 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:e}, cl"), "lahf", "seto al", a = inout(reg) a, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                    _ => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a}, cl"), "lahf", "seto al", a = inout(reg) a, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                }
            }
            flags.0 = ax;
            a
        }
    };
}

shift!(shl, "shl");
shift!(shr, "shr");
shift!(sar, "sar");
shift!(rol, "rol");
shift!(ror, "ror");
shift!(rcl, "rcl");
shift!(rcr, "rcr");

/// SHLD and SHRD.
macro_rules! double_shift {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const BYTES: usize>(mut a: u64, b: u64, count: u64, flags: &mut Flags) -> u64 {
            let mut ax = flags.0;
            // SAFETY: touches only the named registers.
            unsafe {
                match BYTES {
                    2 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:x}, {b:x}, cl"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                    4 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:e}, {b:e}, cl"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                    _ => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a}, {b}, cl"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, in("rcx") count, inout("ax") ax, options(pure, nomem, nostack)),
                }
            }
            flags.0 = ax;
            a
        }
    };
}

double_shift!(shld, "shld");
double_shift!(shrd, "shrd");

/// BSF and BSR (and, where offered, TZCNT and LZCNT): the destination keeps its value if the source is zero and the host says so. Also BT and its kin, on registers.
macro_rules! scan {
    ($name:ident, $mnemonic:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const BYTES: usize>(mut a: u64, b: u64, flags: &mut Flags) -> u64 {
            let mut ax = flags.0;
            // SAFETY: touches only the named registers.
            unsafe {
                match BYTES {
                    2 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:x}, {b:x}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                    4 => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a:e}, {b:e}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                    _ => asm!("add al, 0x7f", "sahf", concat!($mnemonic, " {a}, {b}"), "lahf", "seto al", a = inout(reg) a, b = in(reg) b, inout("ax") ax, options(pure, nomem, nostack)),
                }
            }
            flags.0 = ax;
            a
        }
    };
}

scan!(bsf, "bsf");
scan!(bsr, "bsr");
scan!(bt, "bt");
scan!(bts, "bts");
scan!(btr, "btr");
scan!(btc, "btc");
scan!(imul2, "imul");

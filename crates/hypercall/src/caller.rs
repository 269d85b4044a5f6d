// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the parser needs of the calling processor: its registers, its partition's memory, and what it was offered.

use tlfs::privilege::PrivilegeMask;
use x86::control::{Cr0, Efer};
use x86::segment::SegmentAttributes;

/// The general registers that calling conventions use (TLFS 3.7, 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// RAX: result; for 32-bit callers also the low half of the control word.
    Rax,
    /// RCX: control word; for 32-bit callers the low half of the first parameter.
    Rcx,
    /// RDX: first parameter; for 32-bit callers the high half of control word and result.
    Rdx,
    /// RBX: for 32-bit callers the high half of the first parameter.
    Rbx,
    /// RSI: for 32-bit callers the low half of the second parameter.
    Rsi,
    /// RDI: for 32-bit callers the high half of the second parameter.
    Rdi,
    /// R8: second parameter.
    R8,
}

/// Registers of the calling virtual processor.
pub trait Registers {
    /// How the caller's registers are to be read.
    fn mode(&self) -> CallerMode;

    /// The 64-bit value of a general register. The parser ignores the upper halves of 32-bit callers' ones.
    fn general(&self, register: Register) -> u64;

    /// Sets a general register, all 64 bits. For 32-bit callers the upper half given is zero.
    fn set_general(&mut self, register: Register, value: u64);

    /// XMM register `index`, 0 to 5.
    fn xmm(&self, index: usize) -> u128;

    /// Sets XMM register `index`, 0 to 5; the rest of the YMM or ZMM register stays.
    fn set_xmm(&mut self, index: usize, value: u128);
}

/// Which register mapping the caller uses, if it may call at all (TLFS 3.5, 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerMode {
    /// EFER.LMA and CS.L are set: RCX, RDX, R8.
    Bits64,
    /// Protected or compatibility mode: EDX:EAX, EBX:ECX, EDI:ESI.
    Bits32,
    /// Real mode, virtual-8086 mode, or CPL above 0: the call is #UD.
    Illegal,
}

impl CallerMode {
    /// The mode of a processor. Virtual-8086 mode has CPL 3.
    pub const fn of(cr0: Cr0, efer: Efer, cs: SegmentAttributes, cpl: u8) -> Self {
        if !cr0.pe() || cpl != 0 {
            Self::Illegal
        } else if efer.lma() && cs.long() {
            Self::Bits64
        } else {
            Self::Bits32
        }
    }
}

/// Guest-physical memory as the calling virtual processor may use it.
///
/// All ranges that the parser asks for lie inside one page and inside the guest-physical address space.
pub trait GuestMemory {
    /// The memory intercept that an unmapped or protected page raises (TLFS 3.6). The call is left as if never made,
    /// and is executed again once the intercept is resolved.
    type Intercept;

    /// Reads `bytes.len()` bytes at `gpa`.
    fn read(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), Self::Intercept>;

    /// Makes sure that `length` bytes at `gpa` can be written, and stay so until the call is over.
    ///
    /// It is asked before a call acts, so that no call acts twice because its output found no place.
    fn lock_output(&mut self, gpa: u64, length: usize) -> Result<(), Self::Intercept>;

    /// Writes `bytes` at `gpa`, inside a range that was locked. An error is possible only where the lock could not
    /// hold, for example because the host's own page vanished; the call then executes again.
    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Self::Intercept>;
}

/// What the caller's partition was offered.
#[derive(Clone, Copy, Debug)]
pub struct Offered {
    /// Privileges of the partition, as in CPUID 0x40000003 EAX and EBX.
    pub privileges: PrivilegeMask,
    /// CPUID 0x40000003 EDX bit 4: inputs of 17 to 112 bytes may be passed in XMM registers.
    pub xmm_fast_input: bool,
    /// CPUID 0x40000003 EDX bit 15: 64-bit callers may get outputs in registers.
    pub xmm_fast_output: bool,
    /// Bits of a guest-physical address, 32 to 52.
    pub physical_address_width: u8,
}

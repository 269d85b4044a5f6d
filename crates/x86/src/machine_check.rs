// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine-check architecture's global registers (SDM 3B 16.3.1).

use bitfield_struct::bitfield;

/// IA32_MCG_CAP.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct McgCap {
    /// Number of banks.
    pub bank_count: u8,
    /// IA32_MCG_CTL exists.
    pub control: bool,
    /// IA32_MCG_EAX and those that follow exist.
    pub extended: bool,
    /// Corrected errors interrupt.
    pub corrected_interrupt: bool,
    /// Banks tell of thresholds.
    pub threshold: bool,
    #[bits(4)]
    __: u8,
    /// Number of extended registers.
    pub extended_count: u8,
    /// Banks tell by S and AR how software may recover.
    pub software_recovery: bool,
    #[bits(39)]
    __: u64,
}

/// IA32_MCG_STATUS.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct McgStatus {
    /// The code that was interrupted can go on.
    pub rip_valid: bool,
    /// The instruction that was interrupted has to do with the error.
    pub eip_valid: bool,
    /// A machine check is being looked at: another one shuts the processor down.
    pub in_progress: bool,
    #[bits(61)]
    __: u64,
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers that hold what a VP waits for or has still to deliver.

use crate::declare::{bit_fields, layout, open_enum};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bit_fields! {
    /// `HV_EXPLICIT_SUSPEND_REGISTER` (TLFS 7.4, 7.8.3).
    pub struct ExplicitSuspendRegister(u64);
    /// The VP does not run.
    suspended: bool = 1;
    __: u64 = 63;
}

bit_fields! {
    /// `HV_INTERCEPT_SUSPEND_REGISTER` (TLFS 7.8.3, 9.1.4).
    pub struct InterceptSuspendRegister(u64);
    /// The VP does not run.
    suspended: bool = 1;
    /// Its translations must not be flushed.
    tlb_flush_inhibit: bool = 1;
    __: u64 = 62;
}

bit_fields! {
    /// `HV_X64_INTERRUPT_STATE_REGISTER` (TLFS 7.9.2).
    pub struct InterruptStateRegister(u64);
    /// The next instruction is shielded from interrupts.
    interrupt_shadow: bool = 1;
    /// NMIs are masked until IRET.
    nmi_masked: bool = 1;
    __: u64 = 62;
}

open_enum! {
    /// `HV_X64_PENDING_INTERRUPTION_TYPE` (TLFS 7.9.3).
    pub struct PendingInterruptionType(u8);
    /// External interrupt.
    INTERRUPT = 0, "HvX64PendingInterrupt";
    /// Non-maskable interrupt.
    NMI = 2, "HvX64PendingNmi";
    /// Fault, or trap of the processor.
    EXCEPTION = 3, "HvX64PendingException";
    /// INT n.
    SOFTWARE_INTERRUPT = 4, "HvX64PendingSoftwareInterrupt";
    /// ICEBP.
    PRIVILEGED_SOFTWARE_EXCEPTION = 5, "HvX64PendingPrivilegedSoftwareException";
    /// INT3 or INTO.
    SOFTWARE_EXCEPTION = 6, "HvX64PendingSoftwareException";
}

bit_fields! {
    /// `HV_X64_PENDING_INTERRUPTION_REGISTER` (TLFS 7.9.3).
    pub struct PendingInterruptionRegister(u64);
    /// Something is pending.
    interruption_pending: bool = 1;
    /// What it is.
    interruption_type: PendingInterruptionType = 3;
    /// `error_code` is pushed.
    deliver_error_code: bool = 1;
    /// Length of the instruction in bytes, for the software kinds.
    instruction_length: u8 = 4;
    /// The interruption comes from the second-level guest. Reserved in TLFS 6.0.
    nested_event: bool = 1;
    __: u8 = 6;
    /// Vector.
    interruption_vector: u16 = 16;
    /// Error code.
    error_code: u32 = 32;
}

bit_fields! {
    /// First half of [`PendingExceptionEvent`].
    pub struct PendingEvent(u64);
    /// Something is pending.
    event_pending: bool = 1;
    /// Kind of event; 0 is an exception.
    event_type: u8 = 3;
    __: u8 = 4;
    /// `error_code` is pushed.
    deliver_error_code: bool = 1;
    __: u8 = 7;
    /// Vector.
    vector: u16 = 16;
    /// Error code.
    error_code: u32 = 32;
}

/// `HV_X64_PENDING_EXCEPTION_EVENT`: registers PendingEvent0 and PendingEvent1 (TLFS 7.8.3; the layout is public).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PendingExceptionEvent {
    /// What is pending.
    pub event: PendingEvent,
    /// CR2 of a page fault, change of DR6 of a debug exception.
    pub exception_parameter: u64,
}
layout!(PendingExceptionEvent: 16, event @ 0, exception_parameter @ 8);

/// Architectural error code of a synthetic machine check (`HV_SYNMC_MCA_ERROR_CODE`, TLFS 7.8.5).
pub const SYNMC_MCA_ERROR_CODE: u16 = 0x0001;

bit_fields! {
    /// `HV_X64_MSR_SYNMC_STATUS_CONTENTS` (TLFS 7.8.4).
    pub struct SynmcStatus(u64);
    /// Architectural error code.
    mca_error_code: u16 = 16;
    /// Detail of the error; together with the next two fields the model-specific error code.
    error_detail: u16 = 14;
    /// The hypervisor caused it.
    hypervisor_error: bool = 1;
    /// Software caused it.
    software_error: bool = 1;
    __: u32 = 23;
    /// Software must act.
    action_required: bool = 1;
    /// The machine check was signaled.
    signaling: bool = 1;
    /// The processor context is corrupt.
    context_corrupt: bool = 1;
    /// The address is valid.
    address_valid: bool = 1;
    /// The miscellaneous word is valid.
    misc_valid: bool = 1;
    /// Reporting was enabled.
    error_enabled: bool = 1;
    /// Not corrected.
    uncorrected: bool = 1;
    /// Errors were lost.
    overflow: bool = 1;
    /// The whole word is valid.
    valid: bool = 1;
}

/// `HV_SYNMC_X64_EVENT`: a synthetic machine check (TLFS 7.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SynmcX64Event {
    /// Status.
    pub status: SynmcStatus,
    /// Address.
    pub addr: u64,
    /// Miscellaneous.
    pub misc: u64,
    /// Not 0: RIP belongs to the error.
    pub rip_valid: u8,
    /// Not 0: EIP belongs to the error.
    pub eip_valid: u8,
    /// Zero.
    pub reserved: [u8; 6],
}
layout!(SynmcX64Event: 32, status @ 0, addr @ 8, misc @ 16, rip_valid @ 24, eip_valid @ 25);

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages, event flags and the two pages they arrive in.

use super::SINT_COUNT;
use crate::declare::{bit_fields, layout, open_enum};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_MESSAGE_TYPE` (TLFS 11.10.2). Types below 0x80000000 belong to guests.
    pub struct MessageType(u32);
    /// The message slot is free.
    NONE = 0x0000_0000, "HvMessageTypeNone";
    /// Access to a GPA without a mapping.
    UNMAPPED_GPA = 0x8000_0000, "HvMessageTypeUnmappedGpa";
    /// Access to a GPA that its rights forbid.
    GPA_INTERCEPT = 0x8000_0001, "HvMessageTypeGpaIntercept";
    /// A synthetic timer expired.
    TIMER_EXPIRED = 0x8000_0010, "HvMessageTimerExpired";
    /// The VP cannot run with the registers it was given.
    INVALID_VP_REGISTER_VALUE = 0x8000_0020, "HvMessageTypeInvalidVpRegisterValue";
    /// Triple fault.
    UNRECOVERABLE_EXCEPTION = 0x8000_0021, "HvMessageTypeUnrecoverableException";
    /// The VP used what the hypervisor does not support.
    UNSUPPORTED_FEATURE = 0x8000_0022, "HvMessageTypeUnsupportedFeature";
    /// Two mappings of a page disagree about its size.
    TLB_PAGE_SIZE_MISMATCH = 0x8000_0023, "HvMessageTypeTlbPageSizeMismatch";
    /// An event log buffer is full.
    EVENT_LOG_BUFFERS_COMPLETE = 0x8000_0040, "HvMessageTypeEventLogBuffersComplete";
    /// An intercepted hypercall.
    HYPERCALL_INTERCEPT = 0x8000_0050, "HvMessageTypeHypercallIntercept";
    /// An intercepted I/O port access.
    X64_IO_PORT_INTERCEPT = 0x8001_0000, "HvMessageTypeX64IoPortIntercept";
    /// An intercepted MSR access.
    MSR_INTERCEPT = 0x8001_0001, "HvMessageTypeMsrIntercept";
    /// An intercepted CPUID.
    X64_CPUID_INTERCEPT = 0x8001_0002, "HvMessageTypeX64CpuidIntercept";
    /// An intercepted exception.
    EXCEPTION_INTERCEPT = 0x8001_0003, "HvMessageTypeExceptionIntercept";
    /// End of a level-triggered interrupt.
    X64_APIC_EOI = 0x8001_0004, "HvMessageTypeX64ApicEoi";
    /// A floating point error in the legacy way.
    X64_LEGACY_FP_ERROR = 0x8001_0005, "HvMessageTypeX64LegacyFpError";
    /// An intercepted register access.
    REGISTER_INTERCEPT = 0x8001_0006, "HvMessageTypeRegisterIntercept";
}

impl MessageType {
    /// Set in the types that only the hypervisor sends (`HV_MESSAGE_TYPE_HYPERVISOR_MASK`, TLFS 11.10.2).
    pub const HYPERVISOR_MASK: u32 = 0x8000_0000;

    /// True for the types that only the hypervisor sends.
    pub const fn is_from_hypervisor(self) -> bool {
        self.0 & Self::HYPERVISOR_MASK != 0
    }
}

bit_fields! {
    /// `HV_MESSAGE_FLAGS` (TLFS 11.10.3).
    pub struct MessageFlags(u8);
    /// More messages wait for this slot: write EOM after freeing it.
    message_pending: bool = 1;
    __: u8 = 7;
}

/// `HV_MESSAGE_HEADER` (TLFS 11.10.4), with payload size and flags where hosts and guests in use have them: the printed
/// specification has the reserved bytes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MessageHeader {
    /// What the message is; [`MessageType::NONE`] frees the slot.
    pub message_type: MessageType,
    /// Bytes of payload that count, 0 to 240.
    pub payload_size: u8,
    /// State of the queue behind the slot.
    pub flags: MessageFlags,
    /// Zero.
    pub reserved: u16,
    /// Port id of a guest's message, partition id of an intercept message, else 0.
    pub origination_id: u64,
}
layout!(MessageHeader: 16, message_type @ 0, payload_size @ 4, flags @ 5, reserved @ 6, origination_id @ 8);

/// Bytes in a message (TLFS 11.10.4).
pub const MESSAGE_SIZE: usize = 256;
/// Bytes of payload that a message can carry (TLFS 11.10.4).
pub const MESSAGE_MAX_PAYLOAD_BYTE_COUNT: usize = 240;
/// The same in units of 8 bytes (TLFS 11.10.4).
pub const MESSAGE_MAX_PAYLOAD_QWORD_COUNT: usize = 30;

/// `HV_MESSAGE` (TLFS 11.10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Message {
    /// What the message is.
    pub header: MessageHeader,
    /// Its contents; bytes beyond the payload size do not count.
    pub payload: [u8; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
}
layout!(Message: 256, header @ 0, payload @ 16);

/// The SIM page: one message slot for each SINT (TLFS 11.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MessagePage {
    /// The slots, by SINT.
    pub slots: [Message; SINT_COUNT],
}
layout!(MessagePage: 4096, slots @ 0);

/// Bytes of event flags of a SINT (TLFS 11.10.5).
pub const EVENT_FLAGS_BYTE_COUNT: usize = 256;
/// Event flags of a SINT (TLFS 11.10.5).
pub const EVENT_FLAGS_COUNT: usize = EVENT_FLAGS_BYTE_COUNT * 8;

/// `HV_SYNIC_EVENT_FLAGS`: flag n is bit n % 8 of byte n / 8 (TLFS 11.10.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventFlags {
    /// The flags.
    pub flags: [u8; EVENT_FLAGS_BYTE_COUNT],
}
layout!(EventFlags: 256, flags @ 0);

/// The SIEF page: the event flags of each SINT (TLFS 11.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventFlagsPage {
    /// The flags, by SINT.
    pub sints: [EventFlags; SINT_COUNT],
}
layout!(EventFlagsPage: 4096, sints @ 0);

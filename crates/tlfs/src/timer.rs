// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time: the reference TSC page, synthetic timers and long spin waits (TLFS 12, 14).

use crate::address::PAGE_SIZE;
use crate::declare::layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Synthetic timers of a VP (TLFS 12.1).
pub const STIMER_COUNT: usize = 4;
/// Length of the unit of all reference times, in nanoseconds (TLFS 12.1).
pub const NANOSECONDS_PER_UNIT: u64 = 100;
/// `tsc_sequence` that sends the guest to TIME_REF_COUNT instead of the page (TLFS 12.7.3).
pub const TSC_SEQUENCE_INVALID: u32 = 0;

/// `HV_REFERENCE_TSC_PAGE`: reference time = ((TSC * `tsc_scale`) >> 64) + `tsc_offset`, in 100 ns (TLFS 12.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReferenceTscPage {
    /// Changes whenever scale or offset change; never 0 while they are valid.
    pub tsc_sequence: u32,
    /// Zero.
    pub reserved: u32,
    /// Units of reference time per TSC tick, as a fraction of 2^64.
    pub tsc_scale: u64,
    /// Added to the scaled TSC, in 100 ns.
    pub tsc_offset: i64,
    /// Not used.
    pub unused: [u8; PAGE_SIZE - 24],
}
layout!(ReferenceTscPage: 4096, tsc_sequence @ 0, tsc_scale @ 8, tsc_offset @ 16);

/// `HV_TIMER_MESSAGE_PAYLOAD`: what a timer expiration message carries (TLFS 13.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TimerMessagePayload {
    /// The timer, 0 to 3.
    pub timer_index: u32,
    /// Zero.
    pub reserved: u32,
    /// When the timer should have expired, in 100 ns of reference time.
    pub expiration_time: u64,
    /// When the message was put into its slot, in 100 ns of reference time.
    pub delivery_time: u64,
}
layout!(TimerMessagePayload: 24, timer_index @ 0, expiration_time @ 8, delivery_time @ 16);

/// Input of HvCallNotifyLongSpinWait (TLFS 14.4, 14.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NotifyLongSpinWaitInput {
    /// Rounds of spinning since the lock was first tried.
    pub initial_long_spin_wait: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(NotifyLongSpinWaitInput: 8, initial_long_spin_wait @ 0);

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hypervisor reports: event logs, debug data and statistics.

use super::ProximityDomainInfo;
use crate::declare::layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of HvCallInitializeEventLogBufferGroup (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InitializeEventLogBufferGroupInput {
    /// Kind of log.
    pub event_log_type: u32,
    /// Buffers it can have.
    pub max_buffer_count: u32,
    /// Pages of a buffer.
    pub buffer_size_in_pages: u32,
    /// Full buffers before a message is sent.
    pub threshold: u32,
    /// Clock of the events.
    pub time_basis: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// System time now.
    pub system_time: u64,
}
layout!(InitializeEventLogBufferGroupInput: 32, event_log_type @ 0, max_buffer_count @ 4, buffer_size_in_pages @ 8, threshold @ 12, time_basis @ 16, system_time @ 24);

/// Input of HvCallFinalizeEventLogBufferGroup (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventLogTypeInput {
    /// Kind of log.
    pub event_log_type: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(EventLogTypeInput: 8, event_log_type @ 0);

/// Input of HvCallDeleteEventLogBuffer, HvCallMapEventLogBuffer (which returns 64-bit page numbers),
/// HvCallUnmapEventLogBuffer, HvCallReleaseEventLogBuffer and HvCallFlushEventLogBuffer (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventLogBufferInput {
    /// Kind of log.
    pub event_log_type: u32,
    /// The buffer.
    pub buffer_index: u32,
}
layout!(EventLogBufferInput: 8, event_log_type @ 0, buffer_index @ 4);

/// Input of HvCallCreateEventLogBuffer (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreateEventLogBufferInput {
    /// Kind of log.
    pub event_log_type: u32,
    /// The buffer.
    pub buffer_index: u32,
    /// Where its memory should come from.
    pub proximity_domain_info: ProximityDomainInfo,
}
layout!(CreateEventLogBufferInput: 16, event_log_type @ 0, buffer_index @ 4, proximity_domain_info @ 8);

/// Input of HvCallSetEventLogGroupSources (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetEventLogGroupSourcesInput {
    /// Kind of log.
    pub event_log_type: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// Sources to log.
    pub enable_flags: u64,
}
layout!(SetEventLogGroupSourcesInput: 16, event_log_type @ 0, enable_flags @ 8);

/// Input of HvCallPostDebugData (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PostDebugDataInput {
    /// Bytes that count.
    pub count: u32,
    /// How they are sent.
    pub options: u32,
    /// What is sent.
    pub data: [u8; 4088],
}
layout!(PostDebugDataInput: 4096, count @ 0, options @ 4, data @ 8);

/// Output of HvCallPostDebugData (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PostDebugDataOutput {
    /// Bytes that were not sent.
    pub pending_count: u32,
    /// Zero.
    pub reserved: u32,
}
layout!(PostDebugDataOutput: 8, pending_count @ 0);

/// Input of HvCallRetrieveDebugData (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RetrieveDebugDataInput {
    /// Bytes wanted.
    pub count: u32,
    /// How they are received.
    pub options: u32,
    /// How long to wait, in 100 ns.
    pub timeout: u64,
}
layout!(RetrieveDebugDataInput: 16, count @ 0, options @ 4, timeout @ 8);

/// Output of HvCallRetrieveDebugData (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RetrieveDebugDataOutput {
    /// Bytes that count.
    pub retrieved_count: u32,
    /// Bytes that are left.
    pub remaining_count: u32,
    /// What was received.
    pub data: [u8; 4088],
}
layout!(RetrieveDebugDataOutput: 4096, retrieved_count @ 0, remaining_count @ 4, data @ 8);

/// Input of HvCallResetDebugSession (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ResetDebugSessionInput {
    /// What is reset.
    pub options: u32,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(ResetDebugSessionInput: 8, options @ 0);

/// Input of HvCallMapStatsPage (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapStatsPageInput {
    /// Kind of object.
    pub stats_type: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// The object.
    pub object_identity: [u64; 2],
    /// Number of the GPA page to map it at.
    pub target_gpa_page: u64,
}
layout!(MapStatsPageInput: 32, stats_type @ 0, object_identity @ 8, target_gpa_page @ 24);

/// Input of HvCallUnmapStatsPage (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapStatsPageInput {
    /// Kind of object.
    pub stats_type: u32,
    /// Must be zero.
    pub reserved_z: u32,
    /// The object.
    pub object_identity: [u64; 2],
}
layout!(UnmapStatsPageInput: 24, stats_type @ 0, object_identity @ 8);

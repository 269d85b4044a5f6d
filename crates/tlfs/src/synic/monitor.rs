// SPDX-License-Identifier: MIT OR Apache-2.0
//! Monitored notification: events raised by setting a bit in memory.

use super::ConnectionId;
use crate::declare::{bit_fields, layout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `HV_MONITOR_TRIGGER_GROUP`: 32 triggers, changed atomically (TLFS 11.10.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorTriggerGroup {
    /// Bit n: trigger n was pulled.
    pub pending: u32,
    /// Bit n: the hypervisor has seen it and will signal.
    pub armed: u32,
}
layout!(MonitorTriggerGroup: 8, pending @ 0, armed @ 4);

/// `HV_MONITOR_PARAMETER`: what a trigger signals (TLFS 11.10.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorParameter {
    /// Connection to signal.
    pub connection_id: ConnectionId,
    /// Event flag to set.
    pub flag_number: u16,
    /// Zero.
    pub reserved: u16,
}
layout!(MonitorParameter: 8, connection_id @ 0, flag_number @ 4);

bit_fields! {
    /// `HV_MONITOR_TRIGGER_STATE` (TLFS 11.10.9).
    pub struct MonitorTriggerState(u32);
    /// Bit n: trigger group n is in use.
    group_enable: u8 = 4;
    /// Must be zero.
    reserved_z: u32 = 28;
}

/// `HV_MONITOR_PAGE` (TLFS 11.10.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorPage {
    /// Which groups are in use.
    pub trigger_state: MonitorTriggerState,
    /// Not used.
    pub reserved1: u32,
    /// The triggers.
    pub trigger_group: [MonitorTriggerGroup; 4],
    /// Not used.
    pub reserved2: [u8; 536],
    /// Time a trigger may wait, in 100 ns, by group and trigger.
    pub latency: [[u16; 32]; 4],
    /// Not used.
    pub reserved3: [u8; 256],
    /// What each trigger signals, by group and trigger.
    pub parameter: [[MonitorParameter; 32]; 4],
    /// Not used.
    pub reserved4: [u8; 1984],
}
layout!(
    MonitorPage: 4096,
    trigger_state @ 0,
    trigger_group @ 8,
    reserved2 @ 40,
    latency @ 576,
    reserved3 @ 832,
    parameter @ 1088,
    reserved4 @ 2112,
);

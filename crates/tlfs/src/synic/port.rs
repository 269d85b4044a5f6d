// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports, which receive, and connections, which send to them.

use crate::declare::{bit_fields, layout, open_enum};
use crate::vp::VpIndex;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bit_fields! {
    /// `HV_PORT_ID` (TLFS 11.10.6).
    pub struct PortId(u32);
    /// Number, chosen by the creator.
    id: u32 = 24;
    /// Zero.
    reserved: u8 = 8;
}

bit_fields! {
    /// `HV_CONNECTION_ID` (TLFS 11.10.7).
    pub struct ConnectionId(u32);
    /// Number, chosen by the creator.
    id: u32 = 24;
    /// Zero.
    reserved: u8 = 8;
}

open_enum! {
    /// `HV_PORT_TYPE` (TLFS 11.10.6).
    pub struct PortType(u32);
    /// Receives messages.
    MESSAGE = 1, "HvPortTypeMessage";
    /// Receives event flags.
    EVENT = 2, "HvPortTypeEvent";
    /// Is polled through a monitor page.
    MONITOR = 3, "HvPortTypeMonitor";
    /// Receives writes to a GPA. Later than TLFS 6.0.
    DOORBELL = 4, "HvPortTypeDoorbell";
}

/// What a message port leads to (TLFS 11.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MessagePortInfo {
    /// [`PortType::MESSAGE`].
    pub port_type: PortType,
    /// Must be zero.
    pub reserved_z: u32,
    /// SINT, 0 to 15.
    pub target_sint: u32,
    /// VP, or any.
    pub target_vp: VpIndex,
    /// Must be zero.
    pub reserved_z2: u64,
}
layout!(MessagePortInfo: 24, port_type @ 0, target_sint @ 8, target_vp @ 12);

/// What an event port leads to (TLFS 11.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventPortInfo {
    /// [`PortType::EVENT`].
    pub port_type: PortType,
    /// Must be zero.
    pub reserved_z: u32,
    /// SINT, 0 to 15.
    pub target_sint: u32,
    /// VP, or any.
    pub target_vp: VpIndex,
    /// First event flag, 0 to 2047.
    pub base_flag_number: u16,
    /// Number of event flags.
    pub flag_count: u16,
    /// Must be zero.
    pub reserved_z2: u32,
}
layout!(EventPortInfo: 24, port_type @ 0, target_sint @ 8, target_vp @ 12, base_flag_number @ 16, flag_count @ 18);

/// What a monitor port leads to (TLFS 11.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorPortInfo {
    /// [`PortType::MONITOR`].
    pub port_type: PortType,
    /// Must be zero.
    pub reserved_z: u32,
    /// GPA of the monitor page, in bytes.
    pub monitor_address: u64,
    /// Must be zero.
    pub reserved_z2: u64,
}
layout!(MonitorPortInfo: 24, port_type @ 0, monitor_address @ 8);

/// `HV_PORT_INFO`, undecided: by `port_type` its bytes are a [`MessagePortInfo`], [`EventPortInfo`] or
/// [`MonitorPortInfo`] (TLFS 11.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PortInfo {
    /// Which kind.
    pub port_type: PortType,
    /// Must be zero.
    pub reserved_z: u32,
    /// The rest, by kind.
    pub by_type: [u64; 2],
}
layout!(PortInfo: 24, port_type @ 0, by_type @ 8);

/// `HV_CONNECTION_INFO` in the 32 bytes that hosts in use give it; TLFS 6.0 prints the first 16 (TLFS 11.10.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ConnectionInfo {
    /// Kind of port the connection expects.
    pub port_type: PortType,
    /// Must be zero.
    pub reserved_z: u32,
    /// For a monitor: GPA of the monitor page, in bytes; otherwise zero.
    pub monitor_address: u64,
    /// For a doorbell: later than TLFS 6.0; otherwise zero.
    pub doorbell: [u64; 2],
}
layout!(ConnectionInfo: 32, port_type @ 0, monitor_address @ 8, doorbell @ 16);

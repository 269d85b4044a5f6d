// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports and connections.

use super::ProximityDomainInfo;
use crate::declare::layout;
use crate::partition::PartitionId;
use crate::synic::{ConnectionId, ConnectionInfo, PortId, PortInfo};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of HvCallCreatePort (TLFS 11.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreatePortInput {
    /// Partition that receives.
    pub port_partition: PartitionId,
    /// Id of the new port.
    pub port_id: PortId,
    /// VTL that receives.
    pub port_vtl: u8,
    /// Lowest VTL that may connect.
    pub min_connection_vtl: u8,
    /// Must be zero.
    pub reserved_z: u16,
    /// Partition that may connect.
    pub connection_partition: PartitionId,
    /// Where it leads.
    pub port_info: PortInfo,
    /// Where its memory should come from.
    pub proximity_domain_info: ProximityDomainInfo,
}
layout!(CreatePortInput: 56, port_partition @ 0, port_id @ 8, port_vtl @ 12, min_connection_vtl @ 13, connection_partition @ 16, port_info @ 24, proximity_domain_info @ 48);

/// Input of HvCallDeletePort (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DeletePortInput {
    /// Partition of the port.
    pub port_partition: PartitionId,
    /// The port.
    pub port_id: PortId,
    /// Must be zero.
    pub reserved_z: u32,
}
layout!(DeletePortInput: 16, port_partition @ 0, port_id @ 8);

/// Input of HvCallConnectPort (TLFS 11.10.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ConnectPortInput {
    /// Partition that sends.
    pub connection_partition: PartitionId,
    /// Id of the new connection.
    pub connection_id: ConnectionId,
    /// VTL that sends.
    pub connection_vtl: u8,
    /// Must be zero.
    pub reserved_z0: [u8; 3],
    /// Partition of the port.
    pub port_partition: PartitionId,
    /// The port.
    pub port_id: PortId,
    /// Must be zero.
    pub reserved_z1: u32,
    /// What the connection expects.
    pub connection_info: ConnectionInfo,
    /// Where its memory should come from.
    pub proximity_domain_info: ProximityDomainInfo,
}
layout!(ConnectPortInput: 72, connection_partition @ 0, connection_id @ 8, connection_vtl @ 12, port_partition @ 16, port_id @ 24, connection_info @ 32, proximity_domain_info @ 64);

/// Input of the call 0x0059, which connects to a port in the form before VTLs (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ConnectPortOldInput {
    /// Partition that sends.
    pub connection_partition: PartitionId,
    /// Id of the new connection.
    pub connection_id: ConnectionId,
    /// Must be zero.
    pub reserved_z0: u32,
    /// Partition of the port.
    pub port_partition: PartitionId,
    /// The port.
    pub port_id: PortId,
    /// Must be zero.
    pub reserved_z1: u32,
    /// The first 16 bytes of a [`ConnectionInfo`](crate::synic::ConnectionInfo).
    pub connection_info: [u64; 2],
}
layout!(ConnectPortOldInput: 48, connection_partition @ 0, connection_id @ 8, port_partition @ 16, port_id @ 24, connection_info @ 32);

/// Input of HvCallDisconnectPort (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DisconnectPortInput {
    /// Partition that sends.
    pub connection_partition: PartitionId,
    /// The connection.
    pub connection_id: ConnectionId,
    /// Bit 0: it is a doorbell. Later than TLFS 2.0.
    pub flags: u32,
}
layout!(DisconnectPortInput: 16, connection_partition @ 0, connection_id @ 8, flags @ 12);

/// Input of HvCallGetPortProperty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPortPropertyInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The port.
    pub port_id: PortId,
    /// Must be zero.
    pub reserved_z0: u32,
    /// The property.
    pub property_code: u32,
    /// Must be zero.
    pub reserved_z1: u32,
}
layout!(GetPortPropertyInput: 24, partition_id @ 0, port_id @ 8, property_code @ 16);

/// Input of HvCallSetPortProperty (TLFS Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetPortPropertyInput {
    /// The partition.
    pub partition_id: PartitionId,
    /// The port.
    pub port_id: PortId,
    /// Must be zero.
    pub reserved_z0: u32,
    /// The property.
    pub property_code: u32,
    /// Must be zero.
    pub reserved_z1: u32,
    /// Its new value.
    pub property_value: u64,
}
layout!(SetPortPropertyInput: 32, partition_id @ 0, port_id @ 8, property_code @ 16, property_value @ 24);

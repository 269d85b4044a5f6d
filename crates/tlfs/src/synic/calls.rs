// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of the two calls that guests send with.

use super::{ConnectionId, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MessageType};
use crate::declare::layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of HvCallPostMessage (TLFS 11.11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PostMessageInput {
    /// Where to send.
    pub connection_id: ConnectionId,
    /// Must be zero.
    pub reserved_z: u32,
    /// Type of the message, below 0x80000000 and not 0.
    pub message_type: MessageType,
    /// Bytes of payload that count, 0 to 240.
    pub payload_size: u32,
    /// The payload.
    pub payload: [u8; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
}
layout!(PostMessageInput: 256, connection_id @ 0, message_type @ 8, payload_size @ 12, payload @ 16);

/// Input of HvCallSignalEvent (TLFS 11.11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SignalEventInput {
    /// Where to signal.
    pub connection_id: ConnectionId,
    /// Event flag, counted from the port's first one.
    pub flag_number: u16,
    /// Must be zero.
    pub reserved_z: u16,
}
layout!(SignalEventInput: 8, connection_id @ 0, flag_number @ 4);

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic interrupt controller: messages, event flags, ports, connections and monitored notification (TLFS 11).

mod calls;
mod message;
mod monitor;
mod port;

pub use calls::*;
pub use message::*;
pub use monitor::*;
pub use port::*;

/// Synthetic interrupt sources of a VP in one VTL (TLFS 11.10.1).
pub const SINT_COUNT: usize = 16;
/// Message buffers of a port (TLFS 11.10.6).
pub const PORT_MESSAGE_BUFFERS: usize = 16;

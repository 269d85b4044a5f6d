// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports, which receive messages and events, and connections, by which guests name the ports they send to (TLFS 11.6).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use tlfs::HvStatus;
use tlfs::synic::{
    ConnectionId, EVENT_FLAGS_COUNT, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MessageType, PORT_MESSAGE_BUFFERS,
    PortId,
};
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

use crate::partition::Partition;
use crate::synic::{Buffer, Message, SintIndex};
use crate::vp::state::VTL_COUNT;

/// A host's end of a port. It is called on the thread of the VP that sent, which runs on when it returns; it must not block.
pub trait PortHandler: Send + Sync {
    /// A guest posted a message of at most 240 bytes.
    fn message(&self, message_type: MessageType, payload: &[u8]) -> HvStatus {
        let _ = (message_type, payload);
        HvStatus::INVALID_PORT_ID
    }

    /// A guest signalled an event; `flag` counts from the port's first flag.
    fn event(&self, flag: u16) -> HvStatus {
        let _ = flag;
        HvStatus::INVALID_PORT_ID
    }
}

/// What a port receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Messages.
    Message,
    /// Events: the flags `base_flag .. base_flag + flag_count` of the target, all below 2048.
    Event {
        /// Flag that the sender's number 0 sets.
        base_flag: u16,
        /// How many flags the sender may name.
        flag_count: u16,
    },
}

/// Where in a partition what a port receives goes to.
#[derive(Clone, Debug)]
pub struct GuestTarget {
    /// The partition.
    pub partition: Weak<Partition>,
    /// The VP, or [`VpIndex::ANY`] for one that is ready to receive.
    pub vp: VpIndex,
    /// The VTL.
    pub vtl: Vtl,
    /// The synthetic interrupt source.
    pub sint: SintIndex,
}

/// Who owns a port.
pub enum PortOwner {
    /// A guest, which receives through its SynIC.
    Guest(GuestTarget),
    /// The host.
    Host(Arc<dyn PortHandler>),
}

/// The 16 message buffers of a port (TLFS 11.3.1), counted.
#[derive(Debug, Default)]
pub(crate) struct Buffers(AtomicU32);

impl Buffers {
    fn acquire(&self) -> bool {
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            (used < PORT_MESSAGE_BUFFERS as u32).then_some(used + 1)
        });
        taken.is_ok()
    }

    pub(crate) fn release(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A port.
pub struct Port {
    id: PortId,
    kind: PortKind,
    owner: PortOwner,
    buffers: Arc<Buffers>,
    deleted: AtomicBool,
}

impl Port {
    /// Its id, which is the origination id of the messages it passes on.
    #[must_use]
    pub fn id(&self) -> PortId {
        self.id
    }

    /// Posts a message to the port, as HvPostMessage does through a connection (TLFS 11.11.1). A host may post any type.
    pub fn post_message(&self, message_type: MessageType, payload: &[u8]) -> HvStatus {
        if self.kind != PortKind::Message || self.deleted.load(Ordering::Acquire) {
            return HvStatus::INVALID_PORT_ID;
        }
        if message_type == MessageType::NONE || payload.len() > MESSAGE_MAX_PAYLOAD_BYTE_COUNT {
            return HvStatus::INVALID_PARAMETER;
        }
        let target = match &self.owner {
            PortOwner::Host(handler) => return handler.message(message_type, payload),
            PortOwner::Guest(target) => target,
        };
        let Some(partition) = target.partition.upgrade() else { return HvStatus::INVALID_PORT_ID };
        if !self.buffers.acquire() {
            return HvStatus::INSUFFICIENT_BUFFERS;
        }
        let message = Message::new(message_type, self.id.into_bits().into(), payload);
        let status = target.post(&partition, message, &self.buffers);
        if status != HvStatus::SUCCESS {
            self.buffers.release();
        }
        status
    }

    /// Signals an event to the port, as HvSignalEvent does through a connection (TLFS 11.11.2).
    pub fn signal_event(&self, flag: u16) -> HvStatus {
        let PortKind::Event { base_flag, flag_count } = self.kind else { return HvStatus::INVALID_PORT_ID };
        if self.deleted.load(Ordering::Acquire) {
            return HvStatus::INVALID_PORT_ID;
        }
        if flag >= flag_count {
            return HvStatus::INVALID_PARAMETER;
        }
        match &self.owner {
            PortOwner::Host(handler) => handler.event(flag),
            PortOwner::Guest(target) => {
                let Some(partition) = target.partition.upgrade() else { return HvStatus::INVALID_PORT_ID };
                target.signal(&partition, base_flag + flag)
            }
        }
    }
}

impl GuestTarget {
    /// The indexes of the VPs to try: the named one, or all in turn.
    fn candidates(&self, partition: &Partition) -> Result<std::ops::Range<u32>, HvStatus> {
        let count = partition.vp_count();
        match self.vp {
            VpIndex::ANY => Ok(0..count),
            VpIndex(index) if index < count => Ok(index..index + 1),
            _ => Err(HvStatus::INVALID_VP_INDEX),
        }
    }

    fn post(&self, partition: &Partition, message: Message, buffers: &Arc<Buffers>) -> HvStatus {
        let candidates = match self.candidates(partition) {
            Ok(candidates) => candidates,
            Err(status) => return status,
        };
        for index in candidates {
            let vp = partition.vp(index);
            let mut state = vp.state();
            let vtl = state.vtl(self.vtl);
            if vtl.synic.takes_messages() {
                let now = partition.reference_time().at(partition.clock().now());
                vtl.post(self.sint, message, Buffer::Port(Arc::clone(buffers)), now);
                drop(state);
                vp.notify();
                return HvStatus::SUCCESS;
            }
        }
        HvStatus::INVALID_SYNIC_STATE
    }

    fn signal(&self, partition: &Partition, flag: u16) -> HvStatus {
        let candidates = match self.candidates(partition) {
            Ok(candidates) => candidates,
            Err(status) => return status,
        };
        for index in candidates {
            let vp = partition.vp(index);
            let signalled = vp.state().vtl(self.vtl).signal(self.sint, flag);
            match signalled {
                Ok(interrupted) => {
                    if interrupted {
                        vp.notify();
                    }
                    return HvStatus::SUCCESS;
                }
                Err(_) => continue,
            }
        }
        HvStatus::INVALID_SYNIC_STATE
    }
}

/// A port or connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The id is taken, or has more than 24 bits.
    #[error("connection {0:#x} exists already or has more than 24 bits; choose a free one")]
    ConnectionId(u32),
    /// The target's VTL does not exist.
    #[error("VTL {0} does not exist in this partition; use VTL 0")]
    Vtl(u8),
    /// The flags of an event port reach past the last flag of a SINT.
    #[error("{flag_count} event flags from {base_flag} on reach past flag 2047")]
    EventFlags {
        /// First flag.
        base_flag: u16,
        /// How many.
        flag_count: u16,
    },
}

/// Ports and connections of a partition.
#[derive(Default)]
pub(crate) struct Ports {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    last_port: u32,
    connections: BTreeMap<u32, Arc<Port>>,
}

impl Ports {
    pub(crate) fn create(&self, kind: PortKind, owner: PortOwner) -> Result<Arc<Port>, PortError> {
        if let PortKind::Event { base_flag, flag_count } = kind
            && usize::from(base_flag) + usize::from(flag_count) > EVENT_FLAGS_COUNT
        {
            return Err(PortError::EventFlags { base_flag, flag_count });
        }
        if let PortOwner::Guest(target) = &owner
            && usize::from(target.vtl.0) >= VTL_COUNT
        {
            return Err(PortError::Vtl(target.vtl.0));
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.last_port += 1;
        let id = PortId::new().with_id(tables.last_port & 0xFF_FFFF);
        Ok(Arc::new(Port { id, kind, owner, buffers: Arc::default(), deleted: AtomicBool::new(false) }))
    }

    /// Deletes a port: its connections stay and are of no use any more (TLFS 11.6).
    pub(crate) fn delete(&self, port: &Port) {
        port.deleted.store(true, Ordering::Release);
    }

    pub(crate) fn connect(&self, connection: u32, port: &Arc<Port>) -> Result<(), PortError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if connection >> 24 != 0 || tables.connections.contains_key(&connection) {
            return Err(PortError::ConnectionId(connection));
        }
        tables.connections.insert(connection, Arc::clone(port));
        Ok(())
    }

    /// Takes a connection away; messages that were posted through it stay queued. False if there is none.
    pub(crate) fn disconnect(&self, connection: u32) -> bool {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).connections.remove(&connection).is_some()
    }

    /// The port behind a connection.
    pub(crate) fn find(&self, connection: ConnectionId) -> Result<Arc<Port>, HvStatus> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.connections.get(&connection.into_bits()).cloned().ok_or(HvStatus::INVALID_CONNECTION_ID)
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports, which receive messages and events, and connections, by which guests name the ports they send to (TLFS 11.6).
//!
//! A port belongs to the partition that receives, a connection to the one that sends; [`table`] keeps both. Ports that are polled
//! through shared memory are in [`monitor`].

pub(crate) mod monitor;
pub(crate) mod table;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use tlfs::HvStatus;
use tlfs::synic::{MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MessageType, PORT_MESSAGE_BUFFERS, PortId};
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

use crate::partition::Partition;
use crate::synic::{Buffer, Message, SintIndex};

pub use monitor::{MonitorPort, MonitorTrigger};
pub use table::PortError;

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

/// Where in the port's partition what it receives goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestTarget {
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
    pub(crate) fn acquire(&self) -> bool {
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            (used < PORT_MESSAGE_BUFFERS as u32).then_some(used + 1)
        });
        taken.is_ok()
    }

    pub(crate) fn release(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A port for messages or events. It exists until [`Partition::delete_port`].
pub struct Port {
    id: PortId,
    kind: PortKind,
    owner: PortOwner,
    /// The partition that receives.
    partition: Weak<Partition>,
    buffers: Arc<Buffers>,
    deleted: AtomicBool,
}

impl Port {
    /// One that was deleted.
    pub(crate) fn nowhere() -> Self {
        let sint = SintIndex::new(0).expect("SINT 0 exists");
        Self {
            id: PortId::from_bits(0),
            kind: PortKind::Message,
            owner: PortOwner::Guest(GuestTarget { vp: VpIndex::ANY, vtl: Vtl::VTL0, sint }),
            partition: Weak::new(),
            buffers: Arc::default(),
            deleted: AtomicBool::new(true),
        }
    }

    /// Whether it is of this kind and leads to this place.
    pub(crate) fn is(&self, kind: PortKind, target: GuestTarget) -> bool {
        self.kind == kind && matches!(self.owner, PortOwner::Guest(own) if own == target)
    }

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
        let Some(partition) = self.partition.upgrade() else { return HvStatus::INVALID_PORT_ID };
        if !self.buffers.acquire() {
            return HvStatus::INSUFFICIENT_BUFFERS;
        }
        let message = Message::new(message_type, self.id.into_bits().into(), payload);
        let status = self.enqueue(*target, &partition, message);
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
                let Some(partition) = self.partition.upgrade() else { return HvStatus::INVALID_PORT_ID };
                target.signal(&partition, base_flag + flag)
            }
        }
    }

    /// Queues a message, whose buffer is taken, at a VP of the target that receives.
    fn enqueue(&self, target: GuestTarget, partition: &Partition, message: Message) -> HvStatus {
        let candidates = match target.candidates(partition) {
            Ok(candidates) => candidates,
            Err(status) => return status,
        };
        for index in candidates {
            let vp = partition.vp(index);
            let mut state = vp.state();
            // Under the lock that deletion takes after it has said so: nothing is queued behind its back.
            if self.deleted.load(Ordering::Acquire) {
                return HvStatus::INVALID_PORT_ID;
            }
            let vtl = state.vtl(target.vtl);
            if vtl.synic.takes_messages() {
                let now = partition.reference_time().at(partition.clock().now());
                vtl.post(target.sint, message, Buffer::Port(Arc::clone(&self.buffers)), now);
                drop(state);
                vp.notify();
                return HvStatus::SUCCESS;
            }
        }
        HvStatus::INVALID_SYNIC_STATE
    }

    /// Message buffers that hold a message.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn buffers_in_use(&self) -> u32 {
        self.buffers.0.load(Ordering::Acquire)
    }

    /// From now on nothing is received, and what is queued and not delivered is gone (TLFS 11.3.6).
    fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        if let (PortOwner::Guest(target), Some(partition)) = (&self.owner, self.partition.upgrade())
            && let Ok(candidates) = target.candidates(&partition)
        {
            for index in candidates {
                partition.vp(index).state().vtl(target.vtl).synic.discard(target.sint, &self.buffers);
            }
        }
    }
}

impl GuestTarget {
    /// The indexes of the VPs to try: the named one, or all in turn.
    fn candidates(self, partition: &Partition) -> Result<std::ops::Range<u32>, HvStatus> {
        let count = partition.vp_count();
        match self.vp {
            VpIndex::ANY => Ok(0..count),
            VpIndex(index) if index < count => Ok(index..index + 1),
            _ => Err(HvStatus::INVALID_VP_INDEX),
        }
    }

    fn signal(self, partition: &Partition, flag: u16) -> HvStatus {
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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMBus, the channel between a guest and the synthetic devices of its host, at its least: a host that answers version negotiation and offers no
//! device, so that a guest's VMBus driver connects and finds nothing.
//!
//! It talks to the guest through ports and connections ([`hypervisor::Port`]) like any other host program, and knows nothing of the machine, of
//! engines or of memory.
//!
//! A guest posts to connection 1, or to 4 in protocols from 5.0 on; the host's answers come as messages of type 1 at the SINT
//! that the guest names (2 before protocol 5.0). Layouts are those that public guests use.
#![forbid(unsafe_code)]

mod message;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hypervisor::{GuestTarget, Partition, Port, PortError, PortHandler, PortKind, PortOwner, SintIndex};
use state::{Damaged, Reader, State, Writer};
use tlfs::HvStatus;
use tlfs::synic::MessageType;
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use message::{Header, InitiateContact, Kind, Version, VersionResponse};

/// Connections that guests post to.
const CONNECTIONS: [u32; 2] = [1, 4];
/// Type of all messages in both directions.
const MESSAGE_TYPE: MessageType = MessageType(1);
/// Where answers go in protocols before 5.0.
const DEFAULT_SINT: u8 = 2;

/// The host's end of the VMBus of one partition. Dropping it takes its connections away.
pub struct VmbusHost {
    partition: Weak<Partition>,
    port: Arc<Port>,
    server: Arc<Server>,
}

impl VmbusHost {
    /// Gives a partition a VMBus.
    ///
    /// # Errors
    /// If somebody else has taken one of its connections.
    pub fn connect(partition: &Arc<Partition>) -> Result<Self, PortError> {
        let server = Arc::new(Server { partition: Arc::downgrade(partition), guest: Mutex::new(None) });
        let port = partition.create_port(PortKind::Message, PortOwner::Host(server.clone()))?;
        let host = Self { partition: Arc::downgrade(partition), port, server };
        for connection in CONNECTIONS {
            partition.connect(connection, &host.port)?;
        }
        Ok(host)
    }
}

impl State for VmbusHost {
    fn save(&self, writer: &mut Writer) {
        let guest = self.server.guest();
        guest.is_some().save(writer);
        if let Some(Guest { port, vp, sint, unloaded }) = &*guest {
            (port.id().into_bits(), *vp).save(writer);
            (sint.number(), *unloaded).save(writer);
        }
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.server.set_guest(None);
        if !reader.value::<bool>()? {
            return Ok(());
        }
        let (id, vp) = (reader.value::<u32>()?, reader.value()?);
        let (number, unloaded) = (reader.value::<u8>()?, reader.value()?);
        let sint = SintIndex::new(number).ok_or(Damaged::Value { kind: "SINT", value: number.into() })?;
        let taken = Damaged::Value { kind: "VMBus port", value: id.into() };
        let partition = self.partition.upgrade().ok_or(taken)?;
        let owner = PortOwner::Guest(GuestTarget { vp: VpIndex(vp), vtl: Vtl::VTL0, sint });
        let port = partition.create_port_with_id(id, PortKind::Message, owner).map_err(|_| taken)?;
        self.server.set_guest(Some(Guest { port, vp, sint, unloaded }));
        Ok(())
    }
}

impl Drop for VmbusHost {
    fn drop(&mut self) {
        if let Some(partition) = self.partition.upgrade() {
            for connection in CONNECTIONS {
                partition.disconnect(connection);
            }
            partition.delete_port(&self.port);
        }
        self.server.set_guest(None);
    }
}

/// The guest, as far as it has told of itself.
struct Guest {
    port: Arc<Port>,
    /// Where that leads to.
    vp: u32,
    sint: SintIndex,
    /// It has said that it is done. The port stays for what it has not read yet.
    unloaded: bool,
}

/// Answers what guests post.
struct Server {
    partition: Weak<Partition>,
    /// Where answers go, once a guest has made contact.
    guest: Mutex<Option<Guest>>,
}

impl PortHandler for Server {
    /// Whatever a guest posts, posting it has succeeded: what makes no sense to a host is no answer's worth.
    fn message(&self, message_type: MessageType, payload: &[u8]) -> HvStatus {
        if message_type == MESSAGE_TYPE
            && let Ok((header, _)) = Header::read_from_prefix(payload)
        {
            self.answer(header.kind, payload);
        }
        HvStatus::SUCCESS
    }
}

impl Server {
    fn answer(&self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::INITIATE_CONTACT => {
                if let Ok((contact, _)) = InitiateContact::read_from_prefix(payload) {
                    self.initiate_contact(&contact);
                }
            }
            Kind::REQUEST_OFFERS => self.send(&Header::new(Kind::ALL_OFFERS_DELIVERED)),
            Kind::UNLOAD => {
                self.send(&Header::new(Kind::UNLOAD_RESPONSE));
                if let Some(guest) = &mut *self.guest() {
                    guest.unloaded = true;
                }
            }
            // The rest is about channels, and there are none.
            _ => {}
        }
    }

    fn initiate_contact(&self, contact: &InitiateContact) {
        let version = contact.version;
        let sint = if version >= Version::V5_0 { contact.sint } else { DEFAULT_SINT };
        // Without a place to answer to there is nothing that could be said.
        let (Some(partition), Some(sint)) = (self.partition.upgrade(), SintIndex::new(sint)) else { return };
        let Ok(port) = partition.create_guest_port(PortKind::Message, VpIndex(contact.target_vp), sint)
        else {
            return;
        };
        self.set_guest(Some(Guest { port, vp: contact.target_vp, sint, unloaded: false }));
        self.send(&VersionResponse::new(version));
    }

    fn guest(&self) -> MutexGuard<'_, Option<Guest>> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a guest; what the one before has not read is lost to it.
    fn set_guest(&self, guest: Option<Guest>) {
        let before = std::mem::replace(&mut *self.guest(), guest);
        if let (Some(before), Some(partition)) = (before, self.partition.upgrade()) {
            partition.delete_port(&before.port);
        }
    }

    fn send(&self, message: &(impl IntoBytes + Immutable)) {
        let port = self.guest().as_ref().filter(|guest| !guest.unloaded).map(|guest| Arc::clone(&guest.port));
        if let Some(port) = port {
            // A guest whose SINT is off hears nothing, as on any host.
            let _ = port.post_message(MESSAGE_TYPE, message.as_bytes());
        }
    }
}

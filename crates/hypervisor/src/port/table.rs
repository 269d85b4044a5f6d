// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports and connections of a partition, by number.

mod saved;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use tlfs::HvStatus;
use tlfs::synic::{ConnectionId, EVENT_FLAGS_COUNT, PortId};

use super::monitor::{MonitorConnection, MonitorPage, MonitorPort};
use super::{Buffers, Port, PortKind, PortOwner};
use crate::partition::Partition;
use crate::vp::state::VTL_COUNT;

/// A port or connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The id of the port is taken, or has more than 24 bits.
    #[error("port {0:#x} exists already or has more than 24 bits; choose a free one")]
    PortId(u32),
    /// All ids of ports are taken.
    #[error("the partition has a port for every id of 24 bits; delete some")]
    NoPortId,
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
    /// A monitor page's address is not that of a page.
    #[error("a monitor page lies on a page boundary, not at {0:#x}")]
    MonitorAddress(u64),
    /// No memory for a monitor page.
    #[error("there is no memory for a monitor page")]
    NoMemory,
}

impl PortError {
    /// What a call that asks for the port or connection answers.
    #[must_use]
    pub fn status(self) -> HvStatus {
        match self {
            Self::PortId(_) => HvStatus::INVALID_PORT_ID,
            Self::ConnectionId(_) => HvStatus::INVALID_CONNECTION_ID,
            Self::Vtl(_) | Self::EventFlags { .. } | Self::MonitorAddress(_) => HvStatus::INVALID_PARAMETER,
            Self::NoPortId => HvStatus::NO_RESOURCES,
            Self::NoMemory => HvStatus::INSUFFICIENT_MEMORY,
        }
    }
}

/// How many ids of 24 bits there are.
const IDS: u32 = 1 << 24;

#[derive(Default)]
struct Tables {
    /// Where the search for a free id goes on.
    last_id: u32,
    ports: BTreeMap<u32, Arc<Port>>,
    monitor_ports: BTreeMap<u32, Arc<MonitorPort>>,
    connections: BTreeMap<u32, Arc<Port>>,
    monitors: BTreeMap<u32, Arc<MonitorConnection>>,
}

impl Tables {
    /// Whether a port can get this id. Zero is what messages say that come from no port.
    fn is_free_port_id(&self, id: u32) -> bool {
        (1..IDS).contains(&id) && !self.ports.contains_key(&id) && !self.monitor_ports.contains_key(&id)
    }

    fn port_id(&mut self, wanted: Option<u32>) -> Result<PortId, PortError> {
        if let Some(id) = wanted {
            return if self.is_free_port_id(id) {
                Ok(PortId::from_bits(id))
            } else {
                Err(PortError::PortId(id))
            };
        }
        let last = self.last_id;
        let id = (1..=IDS).map(|step| last.wrapping_add(step) % IDS).find(|&id| self.is_free_port_id(id));
        self.last_id = id.ok_or(PortError::NoPortId)?;
        Ok(PortId::from_bits(self.last_id))
    }

    fn check_connection_id(&self, id: u32) -> Result<(), PortError> {
        let free = id < IDS && !self.connections.contains_key(&id) && !self.monitors.contains_key(&id);
        if free { Ok(()) } else { Err(PortError::ConnectionId(id)) }
    }
}

/// Ports and connections of a partition.
#[derive(Default)]
pub(crate) struct Ports {
    tables: RwLock<Tables>,
}

impl Ports {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message buffers of a port, by its id.
    pub(crate) fn buffers(&self, id: u64) -> Option<Arc<Buffers>> {
        let id = u32::try_from(id).ok()?;
        self.read().ports.get(&id).map(|port| Arc::clone(&port.buffers))
    }

    /// Creates a port of `partition`, with this id or with one that is free.
    pub(crate) fn create(
        &self,
        partition: Weak<Partition>,
        id: Option<u32>,
        kind: PortKind,
        owner: PortOwner,
    ) -> Result<Arc<Port>, PortError> {
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
        let mut tables = self.write();
        let id = tables.port_id(id)?;
        let (buffers, deleted) = (Arc::default(), AtomicBool::new(false));
        let port = Arc::new(Port { id, kind, owner, partition, buffers, deleted });
        tables.ports.insert(id.into_bits(), Arc::clone(&port));
        Ok(port)
    }

    /// Creates a monitor port, with this id or with one that is free, whose page lies nowhere yet.
    pub(crate) fn create_monitor(&self, id: Option<u32>) -> Result<Arc<MonitorPort>, PortError> {
        let page = MonitorPage::allocate()?;
        let mut tables = self.write();
        let id = tables.port_id(id)?;
        let port = Arc::new(MonitorPort::new(id, page));
        tables.monitor_ports.insert(id.into_bits(), Arc::clone(&port));
        Ok(port)
    }

    /// The port with this id.
    pub(crate) fn port(&self, id: PortId) -> Option<Arc<Port>> {
        self.read().ports.get(&id.into_bits()).cloned()
    }

    /// The monitor port with this id.
    pub(crate) fn monitor_port(&self, id: PortId) -> Option<Arc<MonitorPort>> {
        self.read().monitor_ports.get(&id.into_bits()).cloned()
    }

    /// Deletes a port: its connections stay and are of no use any more (TLFS 11.6).
    pub(crate) fn delete(&self, port: &Port) {
        // Whatever goes with the last reference goes with no table locked; and so below.
        let _port = self.write().ports.remove(&port.id.into_bits());
        port.delete();
    }

    /// Deletes a monitor port.
    pub(crate) fn delete_monitor(&self, port: &MonitorPort) {
        let _port = self.write().monitor_ports.remove(&port.id().into_bits());
        port.delete();
    }

    pub(crate) fn connect(&self, connection: u32, port: &Arc<Port>) -> Result<(), PortError> {
        let mut tables = self.write();
        tables.check_connection_id(connection)?;
        tables.connections.insert(connection, Arc::clone(port));
        Ok(())
    }

    /// Connects to a monitor port; the page lies nowhere yet.
    pub(crate) fn connect_monitor(
        &self,
        connection: u32,
        port: &Arc<MonitorPort>,
    ) -> Result<Arc<MonitorConnection>, PortError> {
        let monitor = Arc::new(MonitorConnection::new(port));
        let mut tables = self.write();
        tables.check_connection_id(connection)?;
        tables.monitors.insert(connection, Arc::clone(&monitor));
        Ok(monitor)
    }

    /// Takes a connection away; messages that were posted through it stay queued. False if there is none.
    pub(crate) fn disconnect(&self, connection: u32) -> bool {
        let (port, monitor) = {
            let mut tables = self.write();
            (tables.connections.remove(&connection), tables.monitors.remove(&connection))
        };
        if let Some(monitor) = &monitor {
            monitor.withdraw();
        }
        port.is_some() || monitor.is_some()
    }

    /// The port behind a connection. One that is monitored takes neither messages nor signals.
    pub(crate) fn find(&self, connection: ConnectionId) -> Result<Arc<Port>, HvStatus> {
        let (tables, number) = (self.read(), connection.into_bits());
        match tables.connections.get(&number) {
            Some(port) => Ok(Arc::clone(port)),
            None if tables.monitors.contains_key(&number) => Err(HvStatus::INVALID_PORT_ID),
            None => Err(HvStatus::INVALID_CONNECTION_ID),
        }
    }

    /// The first monitored connection with this number or a higher one.
    pub(crate) fn monitor_from(&self, connection: u32) -> Option<(u32, Arc<MonitorConnection>)> {
        self.read()
            .monitors
            .range(connection..)
            .next()
            .map(|(&number, monitor)| (number, Arc::clone(monitor)))
    }
}

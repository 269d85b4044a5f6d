// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is saved of a partition's ports and connections: all that is of this partition and its guest. Ports of the host, and connections into other
//! partitions, are for those to make again who answer there; what they have made is kept when the rest is restored.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use state::{Damaged, Reader, State, Writer};
use tlfs::synic::PortId;
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

use super::Ports;
use crate::partition::Partition;
use crate::port::monitor::MonitorPort;
use crate::port::{GuestTarget, Port, PortKind, PortOwner};
use crate::synic::SintIndex;

/// Where a connection leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leads {
    /// To the port of this partition with this id.
    Here(u32),
    /// To a port that was deleted.
    #[default]
    Nowhere,
    /// To another partition.
    Elsewhere,
}

impl State for Leads {
    fn save(&self, writer: &mut Writer) {
        match *self {
            Self::Here(id) => (0u8, id).save(writer),
            Self::Nowhere => 1u8.save(writer),
            Self::Elsewhere => 2u8.save(writer),
        }
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *self = match reader.value::<u8>()? {
            0 => Self::Here(reader.value()?),
            1 => Self::Nowhere,
            2 => Self::Elsewhere,
            other => return Err(Damaged::Value { kind: "connection", value: other.into() }),
        };
        Ok(())
    }
}

impl Leads {
    /// Where a connection to `port` leads, which is deleted, or the one with this id if that is `own`.
    fn to<T>(port: &Arc<T>, id: PortId, deleted: bool, own: Option<&Arc<T>>) -> Self {
        match own {
            _ if deleted => Self::Nowhere,
            Some(own) if Arc::ptr_eq(own, port) => Self::Here(id.into_bits()),
            _ => Self::Elsewhere,
        }
    }
}

fn save_port(kind: PortKind, target: GuestTarget, writer: &mut Writer) {
    match kind {
        PortKind::Message => false.save(writer),
        PortKind::Event { base_flag, flag_count } => (true, (base_flag, flag_count)).save(writer),
    }
    (target.vp.0, (target.vtl.0, target.sint.number())).save(writer);
}

fn restore_port(reader: &mut Reader<'_>) -> Result<(PortKind, GuestTarget), Damaged> {
    let kind = if reader.value()? {
        PortKind::Event { base_flag: reader.value()?, flag_count: reader.value()? }
    } else {
        PortKind::Message
    };
    let (vp, (vtl, sint)) = reader.value::<(u32, (u8, u8))>()?;
    let sint = SintIndex::new(sint).ok_or(Damaged::Value { kind: "SINT", value: sint.into() })?;
    Ok((kind, GuestTarget { vp: VpIndex(vp), vtl: Vtl(vtl), sint }))
}

impl Ports {
    pub(crate) fn save(&self, writer: &mut Writer) {
        let tables = self.read();
        tables.last_id.save(writer);
        let guests = tables.ports.values().filter_map(|port| match port.owner {
            PortOwner::Guest(target) => Some((port.id, port.kind, target)),
            PortOwner::Host(_) => None,
        });
        writer.length(guests.clone().count());
        for (id, kind, target) in guests {
            id.into_bits().save(writer);
            save_port(kind, target, writer);
        }
        writer.length(tables.connections.len());
        for (number, port) in &tables.connections {
            let own = tables.ports.get(&port.id.into_bits());
            number.save(writer);
            Leads::to(port, port.id, port.deleted.load(Ordering::Acquire), own).save(writer);
        }
        writer.length(tables.monitor_ports.len());
        for (id, port) in &tables.monitor_ports {
            id.save(writer);
            port.save(writer);
        }
        writer.length(tables.monitors.len());
        for (number, monitor) in &tables.monitors {
            let port = monitor.port();
            let own = tables.monitor_ports.get(&port.id().into_bits());
            let leads = Leads::to(port, port.id(), port.is_deleted(), own);
            number.save(writer);
            leads.save(writer);
            if leads == Leads::Nowhere {
                // The page is nobody else's any more.
                port.save(writer);
            }
            monitor.saved().save(writer);
        }
    }

    pub(crate) fn restore(&self, partition: &Arc<Partition>, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let last_id = reader.value()?;
        for _ in 0..reader.length()? {
            let id: u32 = reader.value()?;
            let (kind, target) = restore_port(reader)?;
            let taken = Damaged::Value { kind: "port", value: id.into() };
            match self.port(PortId::from_bits(id)) {
                Some(port) if port.is(kind, target) => {}
                Some(_) => return Err(taken),
                None => {
                    let owner = PortOwner::Guest(target);
                    self.create(Arc::downgrade(partition), Some(id), kind, owner).map_err(|_| taken)?;
                }
            }
        }
        for _ in 0..reader.length()? {
            let (number, leads): (u32, Leads) = reader.value()?;
            let port = match leads {
                Leads::Here(id) => self.port(PortId::from_bits(id)),
                Leads::Nowhere => Some(Arc::new(Port::nowhere())),
                Leads::Elsewhere => None,
            };
            // Without a port it is the host's to make, and with one the host may have made it.
            if let Some(port) = port {
                let _ = self.connect(number, &port);
            }
        }
        for _ in 0..reader.length()? {
            let id = reader.value()?;
            let port = match self.monitor_port(PortId::from_bits(id)) {
                Some(port) => port,
                None => self
                    .create_monitor(Some(id))
                    .map_err(|_| Damaged::Value { kind: "monitor port", value: id.into() })?,
            };
            port.restore(partition, reader)?;
        }
        for _ in 0..reader.length()? {
            let (number, leads): (u32, Leads) = reader.value()?;
            let damaged = Damaged::Value { kind: "monitored connection", value: number.into() };
            let port = match leads {
                Leads::Here(id) => Some(self.monitor_port(PortId::from_bits(id)).ok_or(damaged)?),
                Leads::Nowhere => {
                    let port = MonitorPort::nowhere().map_err(|_| damaged)?;
                    port.restore(partition, reader)?;
                    Some(port)
                }
                Leads::Elsewhere => None,
            };
            if let Some(port) = port {
                let _ = self.connect_monitor(number, &port);
            }
            let saved = reader.value()?;
            if let Some((_, monitor)) = self.monitor_from(number).filter(|&(found, _)| found == number) {
                monitor.take_up(partition, &saved);
            }
        }
        self.write().last_id = last_id;
        Ok(())
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wires between the machine and the partition: interrupts in both directions, and the Hyper-V test device.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hypervisor::local_apic::InterruptMessage;
use hypervisor::{GuestTarget, InterruptController, Partition, Port, PortKind, PortOwner, SintIndex};
use machine::Pc;
use machine::interrupt::InterruptSink;
use machine::test_device::{SintOf, TestCommand, TestDeviceBackend};
use machine::time::TscClock;
use state::{Damaged, Reader, State, Writer};
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

/// From the machine's interrupt controllers to the local APICs.
pub(crate) struct ToProcessors(pub(crate) Arc<Partition>);

impl InterruptSink for ToProcessors {
    fn message(&self, message: machine::interrupt::InterruptMessage) -> bool {
        self.0.deliver(InterruptMessage::from_device(
            message.delivery_mode,
            message.vector,
            message.destination,
            message.logical,
            message.level_triggered,
        ))
    }

    fn set_intr(&self, asserted: bool) {
        self.0.set_external_interrupt(asserted);
    }
}

/// From the local APICs to the machine's interrupt controllers.
pub(crate) struct ToMachine {
    pub(crate) pc: Weak<Pc>,
    pub(crate) partition: Weak<Partition>,
    pub(crate) time: TscClock,
}

/// Vector of an interrupt that went away before it was acknowledged, as an 8259 gives it.
const SPURIOUS: u8 = 7;

impl ToMachine {
    fn with_pc<R>(&self, act: impl FnOnce(&Pc, machine::time::Time) -> R) -> Option<R> {
        let (pc, partition) = (self.pc.upgrade()?, self.partition.upgrade()?);
        Some(act(&pc, self.time.time(partition.clock().now())))
    }
}

impl InterruptController for ToMachine {
    fn acknowledge(&self) -> u8 {
        self.with_pc(|pc, now| pc.acknowledge_interrupt(now)).unwrap_or(SPURIOUS)
    }

    fn end_of_interrupt(&self, _vp: u32, vector: u8) {
        let _ = self.with_pc(|pc, now| pc.end_of_interrupt(now, vector));
    }

    fn accepted(&self, vector: u8) {
        let _ = self.with_pc(|pc, now| pc.interrupt_accepted(now, vector));
    }
}

/// What the Hyper-V test device does for a guest: it connects the guest to itself.
pub(crate) struct SelfConnections {
    partition: Arc<Partition>,
    made: Mutex<BTreeMap<u8, Made>>,
}

/// A connection, and the port that it leads to.
struct Made {
    port: Arc<Port>,
    events: bool,
    target: SintOf,
}

impl SelfConnections {
    pub(crate) fn new(partition: Arc<Partition>) -> Self {
        Self { partition, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<u8, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects the guest to its own SINT, by a port with this id or one that is free.
    fn create(&self, id: u8, target: SintOf, events: bool, port: Option<u32>) {
        let Some(sint) = SintIndex::new(target.sint) else { return };
        let mut made = self.made();
        if made.contains_key(&id) {
            return;
        }
        // The flag that is set has the connection's own number.
        let kind =
            if events { PortKind::Event { base_flag: id.into(), flag_count: 1 } } else { PortKind::Message };
        let owner = PortOwner::Guest(GuestTarget { vp: VpIndex(target.vp.into()), vtl: Vtl::VTL0, sint });
        let port = match port {
            Some(port) => self.partition.create_port_with_id(port, kind, owner),
            None => self.partition.create_port(kind, owner),
        };
        let Ok(port) = port else { return };
        if self.partition.connect(id.into(), &port).is_ok() {
            made.insert(id, Made { port, events, target });
        } else {
            // The number is somebody else's, such as the VMBus host's.
            self.partition.delete_port(&port);
        }
    }

    /// Saves what the guest had connected.
    pub(crate) fn save(&self, writer: &mut Writer) {
        let made = self.made();
        writer.length(made.len());
        for (id, Made { port, events, target }) in &*made {
            (*id, *events).save(writer);
            (target.vp, target.sint).save(writer);
            port.id().into_bits().save(writer);
        }
    }

    /// Connects as was saved.
    pub(crate) fn restore(&self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.destroy_all();
        for _ in 0..reader.length()? {
            let (id, events) = (reader.value()?, reader.value()?);
            let target = SintOf { vp: reader.value()?, sint: reader.value()? };
            self.create(id, target, events, Some(reader.value()?));
        }
        Ok(())
    }

    /// Takes every connection away.
    pub(crate) fn destroy_all(&self) {
        (0..=u8::MAX).for_each(|id| self.destroy(id));
    }

    fn destroy(&self, id: u8) {
        if let Some(made) = self.made().remove(&id) {
            self.partition.disconnect(id.into());
            self.partition.delete_port(&made.port);
        }
    }
}

impl TestDeviceBackend for SelfConnections {
    fn command(&self, command: TestCommand) {
        match command {
            // Routes need no preparation here.
            TestCommand::CreateSintRoute(_) | TestCommand::DestroySintRoute(_) => {}
            TestCommand::SetSint(target) => {
                if let Some(sint) = SintIndex::new(target.sint) {
                    self.partition.set_sint(target.vp.into(), sint);
                }
            }
            TestCommand::CreateMessageConnection { id, target } => self.create(id, target, false, None),
            TestCommand::CreateEventConnection { id, target } => self.create(id, target, true, None),
            TestCommand::DestroyMessageConnection { id } | TestCommand::DestroyEventConnection { id } => {
                self.destroy(id)
            }
        }
    }
}

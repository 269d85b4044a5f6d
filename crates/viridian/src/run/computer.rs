// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest runs on: a partition with its VPs and memory, and the machine around them. It can be saved, thrown away, made again and restored, and the guest
//! notices nothing.

use std::sync::{Arc, Mutex, PoisonError};

use engine::Engine;
use hypervisor::{DebugLink, Enlightenment, Enlightenments, Partition, PartitionConfig, Tracing, Vp};
use machine::acpi::{AcpiConfig, AcpiTables};
use machine::layout::MemoryLayout;
use machine::time::{Frequency, TscClock};
use machine::{Pc, PcConfig, SerialInput, SerialOutput};
use memory::{PAGE_SIZE, Space};
use state::{Damaged, Hash, Reader, State, Writer};
use vmbus::VmbusHost;

use super::ending::Ending;
use super::guest::Guest;
use super::rebooting::{self, Resettable};
use super::serve::Surroundings;
use super::wiring::{SelfConnections, ToMachine, ToProcessors};
use super::{VIEW, make_engine, map_memory};
use crate::options::RunOptions;
use crate::options::TimeKind;
use crate::refusal::Refusal;

/// What a guest runs on.
pub(crate) struct Computer {
    pub(crate) vps: Vec<Vp>,
    pub(crate) around: Surroundings,
    space: Arc<Space>,
    connections: Arc<SelfConnections>,
    vmbus: Option<VmbusHost>,
    acpi: AcpiTables,
    plan: Arc<Plan>,
}

/// What computers are made by.
pub(crate) struct Plan {
    pub(crate) options: Arc<RunOptions>,
    /// What the guest is offered.
    pub(crate) enlightenments: Enlightenments,
    pub(crate) debug_link: Option<Arc<dyn DebugLink>>,
    /// What is done with what happens on VPs.
    pub(crate) tracing: Tracing,
    pub(crate) layout: MemoryLayout,
    /// What the clock shows at the beginning, in nanoseconds since 1970.
    pub(crate) clock_start_ns: i128,
    pub(crate) ending: Arc<Ending>,
    /// The other end of the serial port.
    pub(crate) input: SharedInput,
    pub(crate) output: SharedOutput,
}

/// A serial input that outlives the machine that reads it.
#[derive(Clone)]
pub(crate) struct SharedInput(pub(crate) Arc<Mutex<Box<dyn SerialInput>>>);

impl SerialInput for SharedInput {
    fn next_byte(&mut self) -> Option<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_byte()
    }
}

/// A serial output that outlives the machine that writes to it.
#[derive(Clone)]
pub(crate) struct SharedOutput(Arc<Mutex<Box<dyn SerialOutput>>>);

impl SharedOutput {
    pub(crate) fn new(output: Box<dyn SerialOutput>) -> Self {
        Self(Arc::new(Mutex::new(output)))
    }

    /// Puts something else in the place of the output, or around it.
    pub(crate) fn change(&self, change: impl FnOnce(Box<dyn SerialOutput>) -> Box<dyn SerialOutput>) {
        struct Nowhere;
        impl SerialOutput for Nowhere {
            fn write(&mut self, _bytes: &[u8]) {}
        }
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *output, Box::new(Nowhere));
        *output = change(before);
    }
}

impl SerialOutput for SharedOutput {
    fn write(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }
}

/// All that a computer can be made from again.
pub(crate) struct Snapshot {
    state: Vec<u8>,
    /// Pages of memory that do not hold zeros.
    pages: Vec<(u64, Box<[u8; PAGE_SIZE as usize]>)>,
}

impl Computer {
    /// A computer with empty memory.
    pub(crate) fn new(plan: &Arc<Plan>) -> Result<Self, Refusal> {
        let options = &plan.options;
        let (engine, address_bits): (Arc<dyn Engine>, u32) = make_engine(options)?;
        let space = Space::new(address_bits);
        let config = PartitionConfig {
            vp_count: options.cpus,
            enlightenments: plan.enlightenments,
            vendor_id: options.hv_vendor,
            debug_link: plan.debug_link.clone(),
            tracing: plan.tracing.clone(),
            // VPs in turn, under virtual time, wake for nothing.
            wakes_at_once: match options.time.time {
                TimeKind::Real => 2,
                TimeKind::Virtual => u32::MAX,
            },
            ..PartitionConfig::default()
        };
        // VMBus talks by messages and events.
        let has_vmbus =
            [Enlightenment::AccessSynicRegs, Enlightenment::PostMessages, Enlightenment::SignalEvents]
                .iter()
                .all(|&service| plan.enlightenments.contains(service));
        let (partition, vps) = Partition::create(&engine, &space, config)?;
        let apic_ids = partition.vps().map(hypervisor::VpShared::apic_id).collect();
        let acpi = AcpiTables::new(&AcpiConfig { apic_ids, vmbus: has_vmbus })?;
        let vmbus = has_vmbus.then(|| VmbusHost::connect(&partition)).transpose()?;
        let frequency = Frequency::new(partition.clock().frequency()).expect("a clock that runs");
        let time = TscClock::new(frequency, 0);
        let connections = Arc::new(SelfConnections::new(Arc::clone(&partition)));
        let config = PcConfig::new(plan.layout, options.cpus)
            .clock_start_ns(plan.clock_start_ns)
            .serial_input(Box::new(plan.input.clone()))
            .serial_output(Box::new(plan.output.clone()))
            .test_device(connections.clone());
        let sink = Arc::new(ToProcessors(Arc::clone(&partition)));
        let pc = Arc::new(Pc::new(config, sink, plan.ending.clone())?);
        partition.set_interrupt_controller(Arc::new(ToMachine {
            pc: Arc::downgrade(&pc),
            partition: Arc::downgrade(&partition),
            time,
        }));
        plan.ending.set_partition(&partition);
        let around = Surroundings { partition, pc, time };
        Ok(Self { vps, around, space, connections, vmbus, acpi, plan: Arc::clone(plan) })
    }

    /// Puts the guest into memory, and says where the first VP starts. The computer is new or was reset.
    pub(crate) fn boot(&mut self, guest: &Guest) -> Result<(), Refusal> {
        rebooting::boot(guest, &self.plan.layout, &self.acpi, &self.around.partition, &mut self.vps)
    }

    /// As after power-on, but for time, the clock's memory, and the contents of memory. No VP runs.
    pub(crate) fn reset(&mut self) -> Result<(), Refusal> {
        let Surroundings { partition, pc, time } = &self.around;
        let resettable = Resettable { partition, pc, time: *time, connections: &self.connections };
        resettable.reset(&mut self.vps, &mut self.vmbus)
    }

    /// Guest memory.
    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Guest instructions of all VPs.
    pub(crate) fn instructions(&self) -> u64 {
        self.vps.iter().map(Vp::instructions).sum()
    }

    fn save_state(&self, writer: &mut Writer) {
        self.vmbus.iter().for_each(|vmbus| vmbus.save(writer));
        self.connections.save(writer);
        self.around.partition.save(writer);
        self.vps.iter().for_each(|vp| vp.save(writer));
        self.around.pc.save(writer);
    }

    fn for_each_page(&self, mut each: impl FnMut(u64, &[u8; PAGE_SIZE as usize])) {
        let mut page = [0; PAGE_SIZE as usize];
        self.space.for_each_mapped(VIEW, |gpn, object, number| {
            // Pages of zeros are how memory begins.
            if object.read(number * PAGE_SIZE, &mut page).is_ok() && page != [0; PAGE_SIZE as usize] {
                each(gpn, &page);
            }
        });
    }

    /// A hash of memory, processors and devices: of all that a snapshot has.
    pub(crate) fn hash(&self) -> Hash {
        let mut writer = Writer::default();
        self.save_state(&mut writer);
        self.for_each_page(|gpn, page| {
            gpn.save(&mut writer);
            Hash::of(page).0.save(&mut writer);
        });
        Hash::of(&writer.into_bytes())
    }

    /// All that the computer can be made from again. No VP runs, and none is in the middle of an instruction.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut writer = Writer::default();
        self.save_state(&mut writer);
        let mut pages = Vec::new();
        self.for_each_page(|gpn, page| pages.push((gpn, Box::new(*page))));
        Snapshot { state: writer.into_bytes(), pages }
    }

    /// A computer that goes on where the one that was saved stood.
    pub(crate) fn restored(plan: &Arc<Plan>, snapshot: &Snapshot) -> Result<Self, Refusal> {
        let mut computer = Self::new(plan)?;
        map_memory(&computer.space, &plan.layout)?;
        for (gpn, page) in &snapshot.pages {
            computer.space.write(VIEW, gpn * PAGE_SIZE, &page[..], memory::Rights::NONE)?;
        }
        let mut reader = Reader::new(&snapshot.state);
        computer.restore_state(&mut reader).and_then(|()| reader.end()).map_err(Refusal::Snapshot)?;
        Ok(computer)
    }

    fn restore_state(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.vmbus.iter_mut().try_for_each(|vmbus| vmbus.restore(reader))?;
        self.connections.restore(reader)?;
        self.around.partition.restore(reader)?;
        self.vps.iter_mut().try_for_each(|vp| vp.restore(reader))?;
        self.around.pc.restore(reader)
    }

    /// Throws the computer away and makes it again from what was saved of it.
    pub(crate) fn rebuilt(self) -> Result<Self, Refusal> {
        let (snapshot, plan) = (self.snapshot(), Arc::clone(&self.plan));
        drop(self);
        Self::restored(&plan, &snapshot)
    }
}

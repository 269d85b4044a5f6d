// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--reboot`: everything as after power-on, but for time, the clock's memory, and the guest's files, which are loaded again.

use std::ops::Range;
use std::sync::Arc;

use hypervisor::{Partition, Vp};
use machine::Pc;
use machine::acpi::AcpiTables;
use machine::layout::{E820Kind, MemoryLayout};
use machine::time::TscClock;
use memory::Rights;
use vmbus::VmbusHost;

use super::guest::Guest;
use super::wiring::SelfConnections;
use super::zeroed::zeroed;
use super::{VIEW, load, map_memory, memory_map};
use crate::refusal::Refusal;

/// Puts the guest into fresh memory, and says where the first VP starts. The VPs are as after a reset.
pub(crate) fn boot(
    guest: &Guest,
    layout: &MemoryLayout,
    acpi: &AcpiTables,
    partition: &Partition,
    vps: &mut [Vp],
) -> Result<(), Refusal> {
    let space = partition.space();
    map_memory(space, layout)?;
    space.write(VIEW, acpi.address(), acpi.bytes(), Rights::NONE)?;
    let tables = acpi.address()..acpi.address() + acpi.bytes().len() as u64;
    let mut written: Vec<Range<u64>> = Vec::from([tables]);
    guest.load(&memory_map(layout)?, acpi.rsdp(), |image| {
        let ranges =
            image.segments.iter().map(|segment| segment.gpa..segment.gpa + segment.bytes.len() as u64);
        written.extend(ranges);
        load(space, &mut vps[0], image)
    })?;
    let ram = layout.e820().into_iter().filter(|entry| entry.kind == E820Kind::Ram);
    let ram: Vec<_> = ram.map(|entry| entry.range).collect();
    partition.set_boot_zeroed_memory(&zeroed(&ram, &written));
    vps.iter_mut().for_each(Vp::set_up_local_apic_as_firmware_does);
    Ok(())
}

/// What a reset resets besides memory.
pub(crate) struct Resettable<'a> {
    pub(crate) partition: &'a Arc<Partition>,
    pub(crate) pc: &'a Pc,
    pub(crate) time: TscClock,
    pub(crate) connections: &'a SelfConnections,
}

impl Resettable<'_> {
    /// Resets the machine and its processors, none of which may be running, and gives VMBus a host that knows no guest.
    pub(crate) fn reset(&self, vps: &mut [Vp], vmbus: &mut Option<VmbusHost>) -> Result<(), Refusal> {
        self.connections.destroy_all();
        let has_vmbus = vmbus.take().is_some();
        self.partition.reset();
        vps.iter_mut().for_each(Vp::reset);
        self.pc.reset(self.time.time(self.partition.clock().now()));
        *vmbus = has_vmbus.then(|| VmbusHost::connect(self.partition)).transpose()?;
        Ok(())
    }
}

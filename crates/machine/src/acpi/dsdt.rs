// SPDX-License-Identifier: MIT OR Apache-2.0
//! The differentiated system description table: what there is beyond the fixed tables, as AML.

use acpi_tables::aml::{
    Device, EISAName, IO, Memory32Fixed, Name, Package, Path, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};

use super::{AcpiConfig, table};
use crate::layout::{IO_APIC, LOCAL_APIC};
use crate::{cmos, control, debug_exit, fw_cfg, ioapic, pic, pit, pm, uart};

/// Revision 2: integers have 64 bits.
const REVISION: u8 = 2;

/// An ISA interrupt with the bus's own polarity and trigger, edge and active high (ACPI 6.5, 6.4.2.1). Unlike the
/// extended descriptor it names an ISA interrupt, so the MADT's overrides apply to it.
struct IsaInterrupt(u8);

impl Aml for IsaInterrupt {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}

fn ports(range: std::ops::RangeInclusive<u16>) -> IO {
    let length = (range.end() - range.start() + 1) as u8;
    IO::new(*range.start(), *range.start(), 1, length)
}

/// A device with its identifier, UID and what more it has.
fn device(name: &str, hid: &dyn Aml, uid: u32, more: &[&dyn Aml]) -> Vec<u8> {
    let hid = Name::new(Path::new("_HID"), hid);
    let uid = Name::new(Path::new("_UID"), &uid);
    let mut children: Vec<&dyn Aml> = vec![&hid, &uid];
    children.extend(more);
    encode(&Device::new(Path::new(name), children))
}

/// A device of the ISA bus, by its Plug and Play identifier.
fn isa_device(name: &str, id: &str, resources: &[&dyn Aml]) -> Vec<u8> {
    let crs = Name::new(Path::new("_CRS"), &ResourceTemplate::new(resources.to_vec()));
    device(name, &EISAName::new(id), 0, &[&crs])
}

fn encode(aml: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    bytes
}

fn processor(uid: u32) -> Vec<u8> {
    device(&format!("C{uid:03X}"), &"ACPI0007", uid, &[])
}

/// The VMBus, inside a module device as on Hyper-V: Linux takes MMIO windows from the resources of what it is in.
/// There are none yet, and no channel needs one.
fn vmbus() -> Vec<u8> {
    let cid = Name::new(Path::new("_CID"), &"VMBus");
    let status = Name::new(Path::new("_STA"), &0x0Fu8);
    // Linux gives up if the device itself has no list of resources; an empty one does.
    let crs = Name::new(Path::new("_CRS"), &ResourceTemplate::new(vec![]));
    let bus = device("VMBS", &"VMBUS", 0, &[&cid, &status, &crs]);
    let module_hid = Name::new(Path::new("_HID"), &"ACPI0004");
    let module_uid = Name::new(Path::new("_UID"), &ZERO);
    let bus = Encoded(bus);
    encode(&Device::new(Path::new("VMOD"), vec![&module_hid, &module_uid, &bus]))
}

/// AML that is bytes already.
struct Encoded(Vec<u8>);

impl Aml for Encoded {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// The table.
pub(super) fn dsdt(config: &AcpiConfig) -> Sdt {
    // A processor's name has three hexadecimal digits; more of them do not fit the tables' place either.
    let processors = config.apic_ids.len().min(0x1000) as u32;
    let mut devices: Vec<u8> = (0..processors).flat_map(processor).collect();
    devices.extend(isa_device("COM1", "PNP0501", &[&ports(uart::PORTS), &IsaInterrupt(uart::IRQ)]));
    devices.extend(isa_device("RTC_", "PNP0B00", &[&ports(cmos::PORTS), &IsaInterrupt(cmos::IRQ)]));
    devices.extend(isa_device("TMR_", "PNP0100", &[&ports(pit::PORTS), &IsaInterrupt(pit::IRQ)]));
    devices.extend(isa_device(
        "PIC_",
        "PNP0000",
        &[&ports(pic::FIRST_PORTS), &ports(pic::SECOND_PORTS), &ports(pic::ELCR_PORTS), &IsaInterrupt(2)],
    ));
    // What no other device names, so that guests put nothing there.
    devices.extend(isa_device(
        "MRES",
        "PNP0C02",
        &[
            &ports(pm::PORTS),
            &ports(control::RESET_PORT..=control::RESET_PORT),
            &ports(debug_exit::EXIT_PORTS),
            &ports(fw_cfg::PORTS),
            &Memory32Fixed::new(true, IO_APIC as u32, ioapic::LENGTH as u32),
            &Memory32Fixed::new(true, LOCAL_APIC as u32, 0x1000),
        ],
    ));
    if config.vmbus {
        devices.extend(vmbus());
    }
    let mut body = Scope::raw(Path::new("\\_SB_"), devices);
    // \_S5: the sleep types for PM1a and PM1b control, then two reserved.
    let soft_off = Package::new(vec![&pm::SLEEP_TYPE_S5, &ZERO, &ZERO, &ZERO]);
    body.extend(encode(&Name::new(Path::new("\\_S5_"), &soft_off)));
    table(*b"DSDT", REVISION, &body)
}

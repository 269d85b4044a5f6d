// SPDX-License-Identifier: MIT OR Apache-2.0
//! ACPI tables that describe this machine: RSDP, XSDT, FADT, FACS, MADT and DSDT, ACPI 6.5.
//!
//! What they say, and why:
//! - no 8042, no VGA, no HPET, no PCI: a guest must not look for them (FADT boot flags; no HPET and MCFG tables);
//! - ISA interrupt 0 is I/O APIC pin 2, the SCI is a level (MADT overrides), LINT1 is NMI;
//! - processors with APIC ids from 255 are x2APIC entries;
//! - power-off by S5, reset by port 0xCF9, a 32-bit PM timer, a fixed power button;
//! - if wanted, a VMBus device: without it Linux never starts its VMBus driver.
//!
//! Encoding is done by the acpi_tables crate of rust-vmm; MADT entries, of which it knows few for x86, are here.

mod dsdt;
mod fadt;
mod madt;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

use crate::layout::{ACPI_TABLES, ACPI_TABLES_END};

const OEM_ID: [u8; 6] = *b"OPNVIR";
const OEM_TABLE_ID: [u8; 8] = *b"VIRIDIAN";
const OEM_REVISION: u32 = 1;
/// Length of the header that all tables but RSDP and FACS begin with.
const HEADER_LENGTH: u32 = 36;

/// What the tables describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiConfig {
    /// The APIC id of each virtual processor, in order of VP index.
    pub apic_ids: Vec<u32>,
    /// Whether there is a VMBus to be found.
    pub vmbus: bool,
}

/// The tables, as bytes to be put into guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiTables {
    bytes: Vec<u8>,
}

/// The tables do not fit the BIOS area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ACPI tables for {processors} processors need {needed} bytes, and there is room for {room}; \
     choose fewer processors"
)]
pub struct TablesTooLarge {
    /// How many processors were asked for.
    pub processors: usize,
    /// Bytes that their tables take.
    pub needed: u64,
    /// Bytes that there are.
    pub room: u64,
}

impl AcpiTables {
    /// Builds the tables.
    ///
    /// # Errors
    /// [`TablesTooLarge`] if they do not fit; with consecutive APIC ids that is above 2500 processors.
    pub fn new(config: &AcpiConfig) -> Result<Self, TablesTooLarge> {
        // The RSDP is first, where a searching guest finds it at once; its table's address is filled in last.
        let mut image = Image { bytes: vec![0; Rsdp::len()] };
        let facs = image.append(&FACS::new());
        let dsdt = image.append(&dsdt::dsdt(config));
        let fadt = image.append(&fadt::fadt(facs, dsdt));
        let madt = image.append(&madt::madt(&config.apic_ids));
        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        xsdt.add_entry(fadt);
        xsdt.add_entry(madt);
        let xsdt = image.append(&xsdt);
        let mut rsdp = Vec::new();
        Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
        image.bytes[..rsdp.len()].copy_from_slice(&rsdp);

        let (needed, room) = (image.bytes.len() as u64, ACPI_TABLES_END - ACPI_TABLES);
        if needed > room {
            return Err(TablesTooLarge { processors: config.apic_ids.len(), needed, room });
        }
        Ok(Self { bytes: image.bytes })
    }

    /// Where the bytes go: a guest-physical address.
    pub fn address(&self) -> u64 {
        ACPI_TABLES
    }

    /// Where the RSDP is: what a loader tells the guest.
    pub fn rsdp(&self) -> u64 {
        ACPI_TABLES
    }

    /// All tables.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

struct Image {
    bytes: Vec<u8>,
}

impl Image {
    /// Adds a table at the next multiple of 64, which FACS needs, and returns its address.
    fn append(&mut self, table: &dyn Aml) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(64), 0);
        let address = ACPI_TABLES + self.bytes.len() as u64;
        table.to_aml_bytes(&mut self.bytes);
        address
    }
}

/// A table with `body` after the common header.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    let mut table = Sdt::new(signature, HEADER_LENGTH, revision, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.append_slice(body);
    table
}

#[cfg(test)]
mod tests;

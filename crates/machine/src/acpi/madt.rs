// SPDX-License-Identifier: MIT OR Apache-2.0
//! The multiple APIC description table (ACPI 6.5, 5.2.12).

use acpi_tables::sdt::Sdt;

use super::table;
use crate::layout::{IO_APIC, LOCAL_APIC};
use crate::{pit, pm, wiring};

const REVISION: u8 = 5;
/// Flag: the 8259 pair is there, too.
const PCAT_COMPAT: u32 = 1;
const ENABLED: u32 = 1;
const ISA: u8 = 0;
/// Polarity and trigger mode as the bus has them.
const AS_THE_BUS: u16 = 0;
const LEVEL_ACTIVE_HIGH: u16 = 0b1101;
const LINT1: u8 = 1;

/// The table for processors with `apic_ids`; the UID of each is its index.
pub(super) fn madt(apic_ids: &[u32]) -> Sdt {
    let mut body = Vec::new();
    body.extend((LOCAL_APIC as u32).to_le_bytes());
    body.extend(PCAT_COMPAT.to_le_bytes());
    let mut x2apic = false;
    for (uid, &id) in (0u32..).zip(apic_ids) {
        match (u8::try_from(uid), u8::try_from(id)) {
            // Type 0, processor local APIC. In its fields 255 stands for all processors.
            (Ok(uid @ 0..=254), Ok(id @ 0..=254)) => {
                body.extend([0, 8, uid, id]);
                body.extend(ENABLED.to_le_bytes());
            }
            // Type 9, processor local x2APIC.
            _ => {
                body.extend([9, 16, 0, 0]);
                body.extend(id.to_le_bytes());
                body.extend(ENABLED.to_le_bytes());
                body.extend(uid.to_le_bytes());
                x2apic = true;
            }
        }
    }
    // Type 1, I/O APIC 0 with interrupts from 0.
    body.extend([1, 12, 0, 0]);
    body.extend((IO_APIC as u32).to_le_bytes());
    body.extend(0u32.to_le_bytes());
    // Type 2, interrupt source overrides.
    for (irq, pin, flags) in
        [(pit::IRQ, wiring::TIMER_PIN, AS_THE_BUS), (pm::SCI_IRQ, pm::SCI_IRQ, LEVEL_ACTIVE_HIGH)]
    {
        body.extend([2, 10, ISA, irq]);
        body.extend(u32::from(pin).to_le_bytes());
        body.extend(flags.to_le_bytes());
    }
    // Type 4 and, for x2APIC processors, type 10: NMI at LINT1 of all of them.
    body.extend([4, 6, 0xFF]);
    body.extend(AS_THE_BUS.to_le_bytes());
    body.push(LINT1);
    if x2apic {
        body.extend([10, 12]);
        body.extend(AS_THE_BUS.to_le_bytes());
        body.extend(u32::MAX.to_le_bytes());
        body.extend([LINT1, 0, 0, 0]);
    }
    table(*b"APIC", REVISION, &body)
}

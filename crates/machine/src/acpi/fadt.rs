// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fixed ACPI description table (ACPI 6.5, 5.2.9).

use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::{cmos, control, pm};

/// IA-PC boot architecture flags (ACPI 6.5, 5.2.9.3): there are devices on an ISA bus. Not set: 8042 (bit 1).
const LEGACY_DEVICES: u16 = 1 << 0;
/// Do not probe for VGA.
const VGA_NOT_PRESENT: u16 = 1 << 2;

/// Latencies from which C2 and C3 count as not supported, in microseconds.
const NO_C2: u16 = 101;
const NO_C3: u16 = 1001;

fn port(address: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(address))
}

/// The table, with the FACS at `facs` and the DSDT at `dsdt`, both below 4 GiB.
pub(super) fn fadt(facs: u64, dsdt: u64) -> FADT {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // There is a power button at the fixed place, but no sleep button, and the clock cannot wake the machine.
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup);
    // FACS by its 32-bit field: only one of the two may be used. DSDT by both, which agree, for old guests.
    fadt.firmware_ctrl = (facs as u32).into();
    fadt.dsdt = (dsdt as u32).into();
    fadt.x_dsdt = dsdt.into();
    fadt.sci_int = u16::from(pm::SCI_IRQ).into();
    // smi_cmd stays zero: the machine is in ACPI mode from the start.
    fadt.pm1a_evt_blk = u32::from(pm::EVENT_PORT).into();
    fadt.pm1a_cnt_blk = u32::from(pm::CONTROL_PORT).into();
    fadt.pm_tmr_blk = u32::from(pm::TIMER_PORT).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_len = 4;
    fadt.x_pm1a_evt_blk = port(pm::EVENT_PORT, 32, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = port(pm::CONTROL_PORT, 16, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = port(pm::TIMER_PORT, 32, AccessSize::DwordAccess);
    fadt.p_lvl2_lat = NO_C2.into();
    fadt.p_lvl3_lat = NO_C3.into();
    fadt.century = cmos::CENTURY;
    fadt.iapc_boot_arch = (LEGACY_DEVICES | VGA_NOT_PRESENT).into();
    fadt.reset_reg = port(control::RESET_PORT, 8, AccessSize::ByteAccess);
    fadt.reset_value = control::RESET_VALUE;
    fadt.finalize()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inter-partition communication (TLFS 11): the SynIC's registers, its sources, and messages and events that processors send each other.

mod connections;
mod sources;

use crate::lab::{Guest, read_faults, write_faults};
use support::{check, skip, trap};
use tlfs::msr;

pub(crate) fn check(guest: &Guest) {
    if !guest.interface.privileges.access_synic_regs() {
        return skip!("B11.037", "no AccessSynicRegs");
    }
    check!("B11.037", trap::rdmsr(msr::SCONTROL) == Ok(0), "SCONTROL is clear at first");
    let version = trap::rdmsr(msr::SVERSION);
    check!(
        "B11.038",
        version == Ok(1) && write_faults(msr::SVERSION, 1),
        "SVERSION is {version:?}, and stays"
    );
    for sint in 0..16 {
        let number = msr::sint(sint);
        let masked = 1 << 16;
        check!("B11.041", trap::rdmsr(number) == Ok(masked), "SINT{sint} is masked at first");
        let restored = write_faults(number, 5) && trap::wrmsr(number, masked).is_ok();
        check!("B11.041", restored, "SINT{sint} takes no vector below 16, unless it is masked");
    }
    check!("B11.051", read_faults(msr::sint(15) + 1), "there is no SINT16");
    check!("B11.047", trap::rdmsr(msr::EOM) == Ok(0), "EOM reads zero");
    sources::check(guest);
    connections::check(guest);
    // Last: there are machines that do not survive it.
    check!("B11.039", takes_any_place(msr::SIEFP), "SIEFP may lie beyond memory");
    check!("B11.040", takes_any_place(msr::SIMP), "SIMP may lie beyond memory");
}

/// True if a page can be placed where there is nothing, and be taken away again.
fn takes_any_place(number: u32) -> bool {
    let beyond = 1 << 51 | 1;
    let taken = trap::wrmsr(number, beyond).is_ok() && trap::rdmsr(number) == Ok(beyond);
    taken && trap::wrmsr(number, 0).is_ok() && trap::rdmsr(number) == Ok(0)
}

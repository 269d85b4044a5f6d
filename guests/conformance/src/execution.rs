// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual processor execution (TLFS 8).

use crate::lab::{Guest, read_faults, write_faults};
use support::trap::vector::INVALID_OPCODE;
use support::{check, cpu, guarded};

/// A port that no PC has.
const NO_PORT: u16 = 0x5A10;

pub(crate) fn check(_: &Guest) {
    check!("B08.004", read_faults(0x17), "the platform id is not the guest's");
    check!(
        "B08.016",
        read_faults(0x1234_5678) && write_faults(0x1234_5678, 0),
        "an MSR that does not exist faults"
    );
    // SAFETY: both instructions name a line of the program's own code, and a fault is caught.
    let [monitor, mwait] = unsafe {
        [
            guarded!("monitor"; in("rax") check as fn(&Guest) as usize, in("ecx") 0, in("edx") 0),
            guarded!("mwait"; in("eax") 0, in("ecx") 0),
        ]
    };
    let undefined =
        |fault: Option<support::trap::Fault>| fault.is_some_and(|fault| fault.vector == INVALID_OPCODE);
    check!("B08.006", undefined(monitor) && undefined(mwait), "there is no MONITOR, and no MWAIT");
    let ones = cpu::in8(NO_PORT) == 0xFF && cpu::in16(NO_PORT) == 0xFFFF && cpu::in32(NO_PORT) == u32::MAX;
    cpu::out32(NO_PORT, 0);
    check!("B08.014", ones, "a port that nobody serves reads all ones and swallows writes");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition properties (TLFS 4).

use crate::lab::{Guest, read_faults};
use support::{check, skip, trap};
use tlfs::msr;

pub(crate) fn check(guest: &Guest) {
    let mask = guest.interface.privileges;
    let known = tlfs::privilege::Privilege::ALL.iter().fold(0_u64, |mask, one| mask | 1 << one.bit());
    check!(
        "B04.006",
        mask.into_bits() & !known == 0,
        "privileges {:#018x}: no bit without a name",
        mask.into_bits()
    );
    if !guest.interface.features.guest_crash_msrs() {
        let faults = (msr::CRASH_P0..=msr::CRASH_CTL).all(read_faults);
        check!("B04.009", faults, "no crash MSRs are offered, and none is there");
        return skip!("B04.010", "no crash MSRs");
    }
    let parameters = msr::CRASH_P0..msr::CRASH_CTL;
    let value = |number: u32| u64::from(number) << 32 | 0xC0FF_EE00;
    let written = parameters.clone().all(|number| trap::wrmsr(number, value(number)).is_ok());
    let kept = parameters.clone().all(|number| trap::rdmsr(number) == Ok(value(number)));
    check!("B04.010", written && kept, "the crash parameters keep 64 bits each");
    for number in parameters {
        let _ = trap::wrmsr(number, 0);
    }
    let message = msr::CrashCtl::new().with_crash_message(true);
    let alone = trap::wrmsr(msr::CRASH_CTL, message.into_bits());
    check!("B04.013", alone.is_ok(), "a message with no report is nothing: the guest goes on");
    let control = trap::rdmsr(msr::CRASH_CTL).map(msr::CrashCtl::from_bits);
    check!(
        "B04.011",
        control.is_ok_and(|control| control.crash_notify()),
        "the control tells what is possible: {control:?}"
    );
}

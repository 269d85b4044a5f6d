// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual interrupt control (TLFS 10).

use crate::lab::{Guest, own_index, read_faults, vector, write_faults};
use support::apic::{self, register};
use support::hyperv::{arrivals, hypercall};
use support::{check, cpu, skip, trap};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::msr;

pub(crate) fn check(guest: &Guest) {
    arrivals::expect(vector::IPI);
    registers(guest);
    cluster(guest);
}

fn registers(guest: &Guest) {
    if !guest.interface.privileges.access_intr_ctrl_regs() {
        return skip!("B10.008", "no AccessIntrCtrlRegs");
    }
    check!("B10.008", read_faults(msr::EOI), "EOI cannot be read");
    let written = trap::wrmsr(msr::TPR, 0x30);
    let shown = (cpu::cr8(), apic::read(register::TPR), trap::rdmsr(msr::TPR));
    check!("B10.014", written.is_ok() && shown.0 == 3, "TPR 0x30 is CR8 {:#x}", shown.0);
    check!("B10.011", shown.1 == 0x30 && shown.2 == Ok(0x30), "MSR and memory show one register");
    let restored = trap::wrmsr(msr::TPR, 0);
    check!(
        "B10.010",
        restored.is_ok() && (write_faults(msr::TPR, 1 << 8) || trap::rdmsr(msr::TPR) == Ok(0)),
        "bits above 7 are not TPR's"
    );
    let before = arrivals::count(vector::IPI);
    let command = u64::from(apic::TO_SELF) | u64::from(vector::IPI);
    let sent = trap::wrmsr(msr::ICR, command);
    let read = trap::rdmsr(msr::ICR);
    check!(
        "B10.013",
        sent.is_ok() && read.is_ok_and(|read| read & !(1 << 12) == command),
        "ICR reads as it was written: {read:?}"
    );
    let arrived = arrivals::wait(|| arrivals::count(vector::IPI) != before);
    check!("B10.009", arrived, "and the interrupt arrives");
}

fn cluster(guest: &Guest) {
    if !guest.has_calls() || !guest.interface.recommendations.use_synthetic_cluster_ipi() {
        return skip!("B10.039", "interrupts by hypercall are not offered");
    }
    let send =
        |vector: u64, mask| hypercall::fast(CallCode::SEND_SYNTHETIC_CLUSTER_IPI, vector, mask).status();
    for bad in [0x0F, 0x100] {
        check!("B10.039", send(bad, 1) == HvStatus::INVALID_PARAMETER, "vector {bad:#x} is refused");
    }
    let before = arrivals::count(vector::IPI);
    let sent = send(u64::from(vector::IPI), 1 << own_index());
    let arrived = arrivals::wait(|| arrivals::count(vector::IPI) != before);
    check!("B10.041", sent == HvStatus::SUCCESS && arrived, "a processor may send to itself");
}

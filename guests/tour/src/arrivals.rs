// SPDX-License-Identifier: MIT OR Apache-2.0
//! What interrupts need: the local APIC and the assist page; and the vectors that the tour uses.

use crate::report::Report;
use core::sync::atomic::{AtomicU64, Ordering};
pub(crate) use support::hyperv::arrivals::{count, expect, wait, wait_a_moment};
use support::hyperv::{Interface, assist};
use support::{apic, trap};
use tlfs::msr;

/// Messages that the tour posts.
pub(crate) const MESSAGE: u8 = 0x50;
/// Events that the tour signals.
pub(crate) const EVENT: u8 = 0x51;
/// Messages of a timer.
pub(crate) const TIMER_MESSAGE: u8 = 0x52;
/// A timer in direct mode.
pub(crate) const TIMER_DIRECT: u8 = 0x53;
/// The interrupt hypercall.
pub(crate) const IPI: u8 = 0x54;
/// The wake-up from virtual idle.
pub(crate) const WAKE: u8 = 0x55;

static OWN_INDEX: AtomicU64 = AtomicU64::new(u64::MAX);

/// This virtual processor's index, if it may know it.
pub(crate) fn own_index() -> Option<u8> {
    u8::try_from(OWN_INDEX.load(Ordering::Relaxed)).ok()
}

/// A processor mask of this virtual processor alone.
pub(crate) fn own_mask() -> Option<u64> {
    own_index().filter(|index| *index < 64).map(|index| 1 << index)
}

/// Makes ready for interrupts and enables the assist page.
pub(crate) fn prepare(report: &mut Report, interface: &Interface) {
    report.section("Interrupts");
    if interface.privileges.access_vp_index() {
        OWN_INDEX.store(trap::rdmsr(msr::VP_INDEX).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    if !apic::is_present() {
        return report.absent("local APIC", "CPUID shows none");
    }
    apic::enable();
    for vector in [MESSAGE, EVENT, TIMER_MESSAGE, TIMER_DIRECT, IPI, WAKE] {
        expect(vector);
    }
    let before = count(IPI);
    apic::send(0, apic::FIXED | apic::TO_SELF | u32::from(IPI));
    let arrived = wait(|| count(IPI) != before);
    report.outcome(arrived, "local APIC", format_args!("id {}, delivers an interrupt to itself", apic::id()));
    if !interface.privileges.access_intr_ctrl_regs() {
        return report.absent("assist page", "AccessIntrCtrlRegs");
    }
    if let Some(address) = report.expect("assist page", assist::enable()) {
        let place = trap::rdmsr(msr::VP_ASSIST_PAGE).unwrap_or(0);
        report.outcome(place == address | 1, "assist page", format_args!("at {address:#x}"));
    }
    let by_msr = interface.recommendations.use_apic_msrs();
    assist::use_eoi_msr(by_msr);
    if by_msr {
        let before = count(IPI);
        let sent = trap::wrmsr(msr::ICR, u64::from(apic::TO_SELF | u32::from(IPI)));
        if report.expect("interrupt by MSR", sent).is_some() {
            let arrived = wait(|| count(IPI) != before);
            report.outcome(arrived, "interrupt by MSR", "ICR and EOI without a memory access to be emulated");
        }
    }
}

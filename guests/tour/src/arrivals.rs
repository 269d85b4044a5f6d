// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts as they arrive: the local APIC, the assist page, a count for each vector, and waiting with an end.

use crate::report::Report;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use support::hyperv::{Interface, assist, time};
use support::trap::{self, Frame};
use support::{apic, cpu};
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

/// How long anything is waited for: 2 s of reference time, or 10 million rounds should it stand still.
const PATIENCE: u64 = 20_000_000;

static COUNTS: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];
static HAS_CLOCK: AtomicU32 = AtomicU32::new(0);
static OWN_INDEX: AtomicU64 = AtomicU64::new(u64::MAX);

fn arrive(frame: &mut Frame) {
    COUNTS[frame.vector as usize].fetch_add(1, Ordering::Relaxed);
    assist::end_of_interrupt();
}

/// How many interrupts have arrived at a vector.
pub(crate) fn count(vector: u8) -> u32 {
    COUNTS[usize::from(vector)].load(Ordering::Relaxed)
}

/// This virtual processor's index, if it may know it.
pub(crate) fn own_index() -> Option<u8> {
    u8::try_from(OWN_INDEX.load(Ordering::Relaxed)).ok()
}

/// A processor mask of this virtual processor alone.
pub(crate) fn own_mask() -> Option<u64> {
    own_index().filter(|index| *index < 64).map(|index| 1 << index)
}

/// Lets interrupts in until something is so, or patience ends.
pub(crate) fn wait(is_so: impl Fn() -> bool) -> bool {
    let has_clock = HAS_CLOCK.load(Ordering::Relaxed) != 0;
    let start = if has_clock { time::counter().unwrap_or(0) } else { 0 };
    let mut rounds = 0_u64;
    cpu::enable_interrupts();
    let done = loop {
        if is_so() {
            break true;
        }
        rounds += 1;
        // The clock is asked now and then, for asking costs an exit; without one, rounds are counted.
        let late = match has_clock && rounds.is_multiple_of(256) {
            true => time::counter().map_or(true, |now| now - start > PATIENCE),
            false => rounds > 10_000_000,
        };
        if late {
            break is_so();
        }
        cpu::pause();
    };
    cpu::disable_interrupts();
    done
}

/// Makes ready for interrupts and enables the assist page.
pub(crate) fn prepare(report: &mut Report, interface: &Interface) {
    report.section("Interrupts");
    HAS_CLOCK.store(u32::from(interface.privileges.access_partition_reference_counter()), Ordering::Relaxed);
    if interface.privileges.access_vp_index() {
        OWN_INDEX.store(trap::rdmsr(msr::VP_INDEX).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    if !apic::is_present() {
        return report.absent("local APIC", "CPUID shows none");
    }
    apic::enable();
    for vector in [MESSAGE, EVENT, TIMER_MESSAGE, TIMER_DIRECT, IPI, WAKE] {
        trap::set_handler(vector, Some(arrive));
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

/// Lets interrupts in for a while, to see that none comes.
pub(crate) fn wait_a_moment() {
    cpu::enable_interrupts();
    for _ in 0..10_000 {
        cpu::pause();
    }
    cpu::disable_interrupts();
}

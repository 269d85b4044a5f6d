// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reference time by MSR and by page, frequencies, and the processor's own time.

use crate::report::{Grouped, Report, Span};
use support::hyperv::{Interface, time};
use support::{cpu, trap};
use tlfs::msr;

/// How often the page is compared with the counter.
const COMPARISONS: u32 = 1000;

pub(crate) fn visit(report: &mut Report, interface: &Interface) {
    report.section("Time, in units of 100 ns since the partition was created");
    let privileges = interface.privileges;
    if privileges.access_partition_reference_counter() {
        counter(report);
    } else {
        report.absent("reference counter", "AccessPartitionReferenceCounter");
    }
    if privileges.access_partition_reference_tsc() {
        page(report, privileges.access_partition_reference_counter());
    } else {
        report.absent("reference page", "AccessPartitionReferenceTsc");
    }
    if privileges.access_frequency_regs() && interface.features.timer_frequencies() {
        frequencies(report);
    } else {
        report.absent("frequencies", "AccessFrequencyRegs and TimerFrequencies");
    }
    if privileges.access_vp_run_time_reg() {
        if let Some(spent) = report.expect("processor time", trap::rdmsr(msr::VP_RUNTIME)) {
            report.outcome(
                true,
                "processor time",
                format_args!("{} spent by this virtual processor", Span(spent)),
            );
        }
    } else {
        report.absent("processor time", "AccessVpRunTimeReg");
    }
}

fn counter(report: &mut Report) {
    let what = "reference counter";
    let Some(first) = report.expect(what, time::counter()) else { return };
    let mut reads = 0_u64;
    let mut now = first;
    let mut backwards = false;
    // About a millisecond, but an end even if the counter stands still.
    while now.wrapping_sub(first) < 10_000 && reads < 1_000_000 {
        let Some(next) = report.expect(what, time::counter()) else { return };
        backwards |= next < now;
        now = next;
        reads += 1;
    }
    let worked = !backwards && now > first;
    let order = if backwards { "and ran backwards" } else { "never backwards" };
    report.outcome(
        worked,
        what,
        format_args!("{}, +{} over {} reads, {order}", Grouped(first), Grouped(now - first), Grouped(reads)),
    );
}

fn page(report: &mut Report, has_counter: bool) {
    let what = "reference page";
    if report.expect(what, time::enable_page()).is_none() {
        return;
    }
    let parameters = time::parameters();
    if parameters.sequence == 0 {
        report.outcome(true, what, "says that it is of no use now (sequence 0); the counter remains");
        return;
    }
    report.outcome(
        parameters.scale != 0,
        what,
        format_args!(
            "sequence {}, time = TSC * {:#x} / 2^64 + {}",
            parameters.sequence, parameters.scale, parameters.offset
        ),
    );
    if !has_counter {
        return;
    }
    let mut widest = 0;
    for _ in 0..COMPARISONS {
        let (Some(before), Ok(between), Some(after)) = (time::by_page(), time::counter(), time::by_page())
        else {
            break;
        };
        if before > between || between > after {
            report.outcome(
                false,
                "page against counter",
                format_args!("page {before}, counter {between}, page {after}"),
            );
            return;
        }
        widest = widest.max(after - before);
    }
    report.outcome(
        true,
        "page against counter",
        format_args!(
            "page <= counter <= page {COMPARISONS} times; at most {} from page to page",
            Span(widest)
        ),
    );
}

fn frequencies(report: &mut Report) {
    let what = "TSC frequency";
    if let Some(told) = report.expect(what, trap::rdmsr(msr::TSC_FREQUENCY)) {
        match measured() {
            Some(measured) => {
                let close = measured.abs_diff(told) <= told / 20;
                report.outcome(
                    close,
                    what,
                    format_args!("{} Hz; {} measured by reference time", Grouped(told), Grouped(measured)),
                );
            }
            None => {
                report.outcome(told != 0, what, format_args!("{} Hz", Grouped(told)));
            }
        }
    }
    if let Some(told) = report.expect("APIC frequency", trap::rdmsr(msr::APIC_FREQUENCY)) {
        report.outcome(told != 0, "APIC frequency", format_args!("{} Hz", Grouped(told)));
    }
}

/// TSC ticks in a second, over 5 ms of the reference counter.
fn measured() -> Option<u64> {
    const SPAN: u64 = 50_000;
    let start = time::counter().ok()?;
    let start_tsc = cpu::rdtsc();
    for _ in 0..10_000_000 {
        let spent = time::counter().ok()? - start;
        if spent >= SPAN {
            return Some(((u128::from(cpu::rdtsc() - start_tsc) * 10_000_000) / u128::from(spent)) as u64);
        }
    }
    None
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The profile as a page of text.

use std::fmt::Write;

use hypervisor::{ExitKind, Statistics};
use tlfs::hypercall::{self, CallCode};

use super::Report;
use super::observed::{OBSERVED, Observed, is_served};

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    for (phase, name) in report.names.iter().enumerate() {
        let seconds = report.spent[phase].as_secs_f64();
        if seconds == 0.0 {
            continue;
        }
        let _ = writeln!(page, "-- {name}: {seconds:.2} s, {} VP(s)", report.vps.len());
        calls(&mut page, report, phase);
        rest(&mut page, &report.phase(phase));
    }
    observed(&mut page, report);
    page.truncate(page.trim_end().len());
    page
}

/// A call's name, if it has one.
pub(super) fn name(code: CallCode) -> &'static str {
    hypercall::info(code).map_or("", |call| call.name)
}

/// Hypercalls of a phase: a line each; where several VPs or VTLs made one, it says who how often.
fn calls(page: &mut String, report: &Report, phase: usize) {
    let sum = report.phase(phase);
    if sum.calls().next().is_none() {
        let _ = writeln!(page, "   no hypercalls");
        return;
    }
    let _ = writeln!(
        page,
        "   {:<6} {:<38} {:>9} {:>7} {:>8} {:>9}",
        "code", "hypercall", "count", "failed", "mean ns", "max ns"
    );
    for (code, count) in sum.calls() {
        let mean = report.nanoseconds(count.cost) / count.calls.max(1);
        let most = report.nanoseconds(count.dearest);
        let _ = write!(
            page,
            "   {:#06x} {:<38} {:>9} {:>7} {mean:>8} {most:>9}",
            code.0,
            name(code),
            count.calls,
            count.failed
        );
        let makers: Vec<String> =
            report
                .vps
                .iter()
                .flat_map(|(vp, parts)| parts.iter().map(move |part| (vp, part)))
                .filter(|(_, part)| part.phase == phase)
                .map(|(vp, part)| (vp, part.vtl.0, part.statistics.hypercalls(code)))
                .filter(|(.., count)| *count != 0)
                .map(|(vp, vtl, count)| {
                    if vtl == 0 { format!("VP {vp}: {count}") } else { format!("VP {vp} VTL {vtl}: {count}") }
                })
                .collect();
        let _ = if report.vps.len() > 1 { writeln!(page, "  {}", makers.join(", ")) } else { writeln!(page) };
    }
}

/// What is not a hypercall: counts, most frequent first.
fn rest(page: &mut String, sum: &Statistics) {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (number, count) in sum.msrs() {
        let name = tlfs::msr::info(number).map_or(String::new(), |info| format!(" {}", info.name));
        let faults = if count.faults == 0 { String::new() } else { format!(", {} faulted", count.faults) };
        let text =
            format!("MSR {number:#010x}{name}: {} read, {} written{faults}", count.reads, count.writes);
        lines.push((count.reads + count.writes, text));
    }
    lines.extend(sum.leaves().map(|(leaf, count)| (count, format!("CPUID leaf {leaf:#x}"))));
    lines.extend(ExitKind::ALL.iter().map(|&kind| (sum.exits(kind), format!("exits: {}", kind.name()))));
    lines.extend([
        (sum.messages(), "SynIC messages".to_owned()),
        (sum.event_flags(), "SynIC event flags".to_owned()),
        (sum.synic_interrupts(), "SynIC interrupts".to_owned()),
        (sum.timer_messages(), "synthetic timers, by message".to_owned()),
        (sum.direct_timers(), "synthetic timers, direct".to_owned()),
        (sum.eoi_assists(), "ends of interrupt by the assist page".to_owned()),
        (sum.instructions(), "guest instructions".to_owned()),
    ]);
    lines.retain(|(count, _)| *count != 0);
    lines.sort_by(|left, right| right.cmp(left));
    for (count, text) in lines {
        let _ = writeln!(page, "   {count:>15}  {text}");
    }
}

/// Our first two phases beside what was seen of Windows.
fn observed(page: &mut String, report: &Report) {
    let counts =
        [0, 1].map(|phase| if phase < report.names.len() { Some(report.phase(phase)) } else { None });
    let heading = |phase: usize| report.names.get(phase).map_or("", String::as_str);
    let _ = writeln!(page, "-- beside Windows as root and as guest, booting and idle (docs/profile.md)");
    let _ = writeln!(
        page,
        "   {:<6} {:<42} {:>8} {:>9} {:>9} {:>9}",
        "code",
        "hypercall",
        "root b i",
        "guest b i",
        heading(0),
        heading(1)
    );
    for Observed { code, marks } in OBSERVED {
        let mark = |index: usize| if marks.as_bytes()[index] == b'x' { 'x' } else { '.' };
        let count = |phase: usize| counts[phase].as_ref().map_or(0, |counts| counts.hypercalls(*code));
        let _ = writeln!(
            page,
            "   {:#06x} {:<42}      {} {}       {} {} {:>9} {:>9}{}",
            code.0,
            name(*code),
            mark(0),
            mark(1),
            mark(2),
            mark(3),
            count(0),
            count(1),
            if is_served(*code) { "" } else { "  not served" }
        );
    }
}

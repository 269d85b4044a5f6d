// SPDX-License-Identifier: MIT OR Apache-2.0
//! The profile as JSON: nothing is added up, so that whoever reads it can.

use hypervisor::{ExitKind, PhaseStatistics};
use serde_json::{Value, json};

use super::Report;
use super::observed::{OBSERVED, is_served};
use super::text::name;

/// A run has one partition; its number keeps a place for others.
const PARTITION: u32 = 1;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let phases = report.names.iter().zip(&report.spent);
    let phases: Vec<Value> =
        phases.map(|(name, spent)| json!({ "name": name, "seconds": spent.as_secs_f64() })).collect();
    let counts: Vec<Value> = report
        .vps
        .iter()
        .flat_map(|(vp, parts)| parts.iter().map(|part| counts(report, *vp, part)))
        .collect();
    let observed: Vec<Value> = OBSERVED
        .iter()
        .map(|call| {
            let seen = |index: usize| call.marks.as_bytes()[index] == b'x';
            json!({
                "code": format!("{:#06x}", call.code.0),
                "name": name(call.code),
                "root_boot": seen(0), "root_idle": seen(1), "guest_boot": seen(2), "guest_idle": seen(3),
                "counts": (0..report.names.len())
                    .map(|phase| (report.names[phase].clone(), report.phase(phase).hypercalls(call.code).into()))
                    .collect::<serde_json::Map<String, Value>>(),
                "served": is_served(call.code),
            })
        })
        .collect();
    let page = json!({ "phases": phases, "counts": counts, "beside_windows": observed });
    serde_json::to_string_pretty(&page).unwrap_or_default()
}

/// The counts of one VP at one VTL in one phase.
fn counts(report: &Report, vp: u32, part: &PhaseStatistics) -> Value {
    let counts = &part.statistics;
    let calls: Vec<Value> = counts
        .calls()
        .map(|(code, count)| {
            json!({
                "code": format!("{:#06x}", code.0),
                "name": name(code),
                "count": count.calls,
                "failed": count.failed,
                "mean_ns": report.nanoseconds(count.cost) / count.calls.max(1),
                "max_ns": report.nanoseconds(count.dearest),
            })
        })
        .collect();
    let msrs: Vec<Value> = counts
        .msrs()
        .map(|(number, count)| {
            json!({
                "number": format!("{number:#010x}"),
                "name": tlfs::msr::info(number).map_or("", |info| info.name),
                "reads": count.reads,
                "writes": count.writes,
                "faults": count.faults,
            })
        })
        .collect();
    let leaves: Vec<Value> = counts
        .leaves()
        .map(|(leaf, count)| json!({ "leaf": format!("{leaf:#x}"), "count": count }))
        .collect();
    let exits: serde_json::Map<String, Value> =
        ExitKind::ALL.iter().map(|&kind| (kind.name().to_owned(), counts.exits(kind).into())).collect();
    json!({
        "partition": PARTITION,
        "vp": vp,
        "vtl": part.vtl.0,
        "phase": report.names.get(part.phase),
        "instructions": counts.instructions(),
        "hypercalls": calls,
        "msrs": msrs,
        "cpuid": leaves,
        "exits": exits,
        "synic": {
            "messages": counts.messages(),
            "event_flags": counts.event_flags(),
            "interrupts": counts.synic_interrupts(),
        },
        "synthetic_timers": { "messages": counts.timer_messages(), "direct": counts.direct_timers() },
        "eoi_assists": counts.eoi_assists(),
    })
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short run: every form a few times, with the seeds of the long run; and the planted faults, each of which it must find.

use std::collections::BTreeSet;

use engine_soft::SoftEngine;
use engine_soft::model::Model;
use oracle::campaign::{Plan, run_forms, uncovered};
use oracle::emulated::Emulated;
use oracle::forms::Family;
use oracle::native::Native;
use oracle::planted::{FAULTS, Planted};
use oracle::state::Mode;

/// What the tests run of each form.
const SHORT: Plan = Plan { seed: 1, per_form: 80 };

fn engine() -> SoftEngine {
    SoftEngine::new(Model::x86_64_v2().unwrap())
}

fn listed() -> BTreeSet<(String, String)> {
    include_str!("uncovered.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').unwrap())
        .map(|(form, reason)| (form.to_owned(), reason.to_owned()))
        .collect()
}

#[test]
fn integer_forms_do_what_the_host_does() {
    let engine = engine();
    let mut guest = Emulated::new(&engine).unwrap();
    let mut host = Native::new(&guest).unwrap();
    let report = run_forms(&engine, &mut host, &mut guest, SHORT, Mode::User64, Family::Integer, |_| true);
    let samples: Vec<_> = report.samples.iter().map(|(_, text)| text.as_str()).collect();
    assert!(samples.is_empty(), "{}", samples.join("\n"));
    let total = report.total();
    println!(
        "{} forms, {} executions, {} of them faults",
        report.counts.len(),
        total.executions,
        total.faults
    );
    assert!(report.counts.len() > 750, "{} forms", report.counts.len());
    assert!(total.faults * 20 >= total.executions, "{} faults of {}", total.faults, total.executions);
    for (form, count) in &report.counts {
        assert!(count.executions >= SHORT.per_form, "{form:?}: {count:?}");
    }
    // Which of these there are depends on the host.
    let listed = listed();
    for entry in uncovered(&engine, &report, Mode::User64, Family::Integer) {
        assert!(listed.contains(&entry), "{entry:?} is not run, and not in the list");
    }
    for (form, _) in &listed {
        let run = report.counts.keys().any(|code| format!("{code:?}") == *form);
        assert!(!run, "{form} is run, but in the list of those that are not");
    }
}

#[test]
fn planted_faults_are_found() {
    let engine = engine();
    let mut guest = Emulated::new(&engine).unwrap();
    let mut host = Native::new(&guest).unwrap();
    assert!(FAULTS.len() >= 20);
    let mut missed = Vec::new();
    for fault in FAULTS {
        let mut planted = Planted::new(&mut guest, fault);
        let chosen = |name: &str| fault.forms.iter().any(|form| name.starts_with(form));
        let report =
            run_forms(&engine, &mut host, &mut planted, SHORT, Mode::User64, Family::Integer, chosen);
        println!("{}: {} of {}", fault.name, report.total().differences, report.total().executions);
        if report.total().differences == 0 {
            missed.push(fault.name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

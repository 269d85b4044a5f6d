// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short run: every form a few times, with the seed of the long run; and the planted faults, each of which it must find.

use std::collections::BTreeSet;
use std::io::Write;

use engine_soft::SoftEngine;
use engine_soft::model::{Model, ModelName};
use iced_x86::Code;
use oracle::campaign::{Plan, run_forms, run_programs, uncovered};
use oracle::check::Report;
use oracle::emulated::Emulated;
use oracle::forms::Family;
use oracle::generate::encode;
use oracle::native::{Native, NativeError};
use oracle::planted::{FAULTS, Fault, Planted, VECTOR_FAULTS};
use oracle::random::Random;
use oracle::state::Mode;

/// What the tests run of each form.
const SHORT: Plan = Plan { seed: 1, per_form: 80 };

/// Both machines; nothing, having said why, if this host cannot be one of them.
fn machines(engine: &SoftEngine) -> Option<(Emulated, Native)> {
    let guest = Emulated::new(engine).unwrap();
    match Native::new(&guest) {
        Ok(host) => Some((guest, host)),
        Err(error @ NativeError::NoFsGsBase) => {
            // Past the test harness, which keeps what passing tests print.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn engine() -> SoftEngine {
    SoftEngine::new(Model::named(ModelName::Host).unwrap())
}

fn assert_agreement(report: &Report) {
    let samples: Vec<_> = report.samples.iter().map(|(_, text)| text.as_str()).collect();
    assert!(samples.is_empty(), "{}", samples.join("\n"));
    let total = report.total();
    println!(
        "{} forms, {} executions, {} of them faults",
        report.counts.len(),
        total.executions,
        total.faults
    );
    // At least one in twenty.
    assert!(total.faults * 20 >= total.executions, "{} faults of {}", total.faults, total.executions);
}

/// The list of forms that are not run: (mode, form, reason).
fn listed(mode: &str) -> BTreeSet<(String, String)> {
    include_str!("uncovered.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('\t');
            let mut field = || fields.next().expect("three fields").to_owned();
            (field(), field(), field())
        })
        .filter(|(of, _, _)| of == mode)
        .map(|(_, form, reason)| (form, reason))
        .collect()
}

fn run_family(mode: Mode, name: &str, family: Family, plan: Plan, least_forms: usize) {
    let engine = engine();
    let Some((mut guest, mut host)) = machines(&engine) else { return };
    let report = run_forms(&engine, &mut host, &mut guest, plan, mode, family, |_| true);
    assert_agreement(&report);
    assert!(report.counts.len() >= least_forms, "{} forms", report.counts.len());
    for (form, count) in &report.counts {
        assert!(count.executions >= plan.per_form, "{form:?}: {count:?}");
    }
    let listed = listed(name);
    // Which of these there are depends on the host.
    for entry in uncovered(&engine, &report, mode, family) {
        assert!(listed.contains(&entry), "{entry:?} is not run, and not in the list");
    }
    for (form, _) in &listed {
        let is_run = report.counts.keys().any(|code| format!("{code:?}") == *form);
        assert!(!is_run, "{form} is run, but in the list of those that are not");
    }
}

#[test]
fn integer_forms_do_what_the_host_does() {
    run_family(Mode::User64, "64", Family::Integer, SHORT, 750);
}

#[test]
fn integer_forms_do_what_the_host_does_in_compatibility_mode() {
    run_family(Mode::User32, "32", Family::Integer, Plan { per_form: 60, ..SHORT }, 600);
}

#[test]
fn vector_forms_do_what_the_host_does() {
    run_family(Mode::User64, "vector", Family::Vector, Plan { per_form: 40, ..SHORT }, 450);
}

#[test]
fn avx_forms_do_what_the_host_does() {
    if !oracle::native::host_has_avx() {
        println!("SKIPPED: this host has no AVX");
        return;
    }
    run_family(Mode::User64, "avx", Family::Avx, Plan { per_form: 40, ..SHORT }, 350);
}

#[test]
fn vector_forms_do_what_the_host_does_in_compatibility_mode() {
    run_family(Mode::User32, "vector32", Family::Vector, Plan { per_form: 40, ..SHORT }, 430);
}

#[test]
fn avx_forms_do_what_the_host_does_in_compatibility_mode() {
    if !oracle::native::host_has_avx() {
        println!("SKIPPED: this host has no AVX");
        return;
    }
    run_family(Mode::User32, "avx32", Family::Avx, Plan { per_form: 40, ..SHORT }, 350);
}

/// Bits of the VEX prefix that count for nothing are not always those that an assembler writes, and prefixes that may not stand before it do.
#[test]
fn vex_prefixes_have_bits_that_count_for_nothing() {
    let mut random = Random::new(1, 0);
    let (mut registers, mut source, mut last, mut prefixed) = (0, 0, 0, 0);
    for _ in 0..4000 {
        let Some(encoded) = encode(&mut random, Code::VEX_Vblendvps_xmm_xmm_xmmm128_xmm, Mode::User32) else {
            continue;
        };
        let start = encoded.bytes.iter().position(|&byte| byte == 0xC4).expect("a long prefix");
        let instruction = &encoded.instruction;
        prefixed += u64::from(instruction.is_invalid() && matches!(encoded.bytes[0], 0x66 | 0xF2 | 0xF3));
        registers += u64::from(encoded.bytes[start + 1] & 0x20 == 0);
        source += u64::from(encoded.bytes[start + 2] & 0x40 == 0);
        last += u64::from(encoded.bytes.last().is_some_and(|byte| byte & 0x80 != 0));
    }
    assert!(
        registers > 100 && source > 100 && last > 100 && prefixed > 20,
        "{registers} {source} {last} {prefixed}"
    );
}

#[test]
fn programs_do_what_the_host_does() {
    let engine = engine();
    let Some((mut guest, mut host)) = machines(&engine) else { return };
    assert_agreement(&run_programs(&engine, &mut host, &mut guest, SHORT.seed, 3000));
}

/// Names of the faults that the short run of a family does not find.
fn missed(faults: &'static [Fault], families: &[Family]) -> Vec<&'static str> {
    let engine = engine();
    let Some((mut guest, mut host)) = machines(&engine) else { return Vec::new() };
    let mut missed = Vec::new();
    for fault in faults {
        let mut planted = Planted::new(&mut guest, fault);
        let chosen = |name: &str| fault.forms.iter().any(|form| name.starts_with(form));
        let differences: u64 = families
            .iter()
            .map(|&family| {
                let report = run_forms(&engine, &mut host, &mut planted, SHORT, Mode::User64, family, chosen);
                println!("{}: {} of {}", fault.name, report.total().differences, report.total().executions);
                report.total().differences
            })
            .sum();
        if differences == 0 {
            missed.push(fault.name);
        }
    }
    missed
}

#[test]
fn planted_faults_are_found() {
    assert!(FAULTS.len() >= 20);
    let missed = missed(FAULTS, &[Family::Integer]);
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

#[test]
fn planted_faults_of_vectors_are_found() {
    if !oracle::native::host_has_avx() {
        println!("SKIPPED: this host has no AVX");
        return;
    }
    let missed = missed(VECTOR_FAULTS, &[Family::Vector, Family::Avx]);
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

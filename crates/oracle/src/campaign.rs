// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which forms are run how often: the short run of the tests and the long run of `cargo xtask oracle` are the same but for numbers.

use std::collections::BTreeSet;

use engine::Engine;
use iced_x86::Code;

use crate::check::{Checker, Report};
use crate::forms::{Family, forms, is_for_programs, is_indifferent_to_cpl, reason_not_to_run};
use crate::state::{Machine, Mode};

/// How much to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seed of everything.
    pub seed: u64,
    /// Executions of each form.
    pub per_form: u64,
}

/// Runs the forms of a family whose names are chosen. Every form has random numbers of its own, so a choice changes nothing
/// for the forms that are in it.
pub fn run_forms(
    engine: &dyn Engine,
    host: &mut dyn Machine,
    guest: &mut dyn Machine,
    plan: Plan,
    mode: Mode,
    family: Family,
    chosen: impl Fn(&str) -> bool,
) -> Report {
    let mut checker = Checker::new(host, guest, plan.seed);
    for code in forms(engine, mode, family) {
        if reason_not_to_run(code).is_some() || !chosen(&format!("{code:?}")) {
            continue;
        }
        checker.form(plan.seed, code, mode, plan.per_form, family);
        if mode == Mode::User64 && family == Family::Integer && is_indifferent_to_cpl(code) {
            checker.form(plan.seed, code, Mode::Kernel64, plan.per_form.div_ceil(5), family);
        }
    }
    checker.report
}

/// Runs programs of several instructions.
pub fn run_programs(
    engine: &dyn Engine,
    host: &mut dyn Machine,
    guest: &mut dyn Machine,
    seed: u64,
    programs: u64,
) -> Report {
    let pool: Vec<Code> = forms(engine, Mode::User64, Family::Integer)
        .into_iter()
        .filter(|&code| is_for_programs(code))
        .collect();
    let mut checker = Checker::new(host, guest, seed);
    checker.programs(seed, &pool, programs);
    checker.report
}

/// Forms that CPUID offers and that were not run, with the reason. A form that could not be encoded or had no state to run from says so.
#[must_use]
pub fn uncovered(
    engine: &dyn Engine,
    report: &Report,
    mode: Mode,
    family: Family,
) -> BTreeSet<(String, String)> {
    let run = |code: &Code| report.counts.get(code).is_some_and(|count| count.executions != 0);
    forms(engine, mode, family)
        .into_iter()
        .filter(|code| !run(code))
        .map(|code| {
            let reason = reason_not_to_run(code).unwrap_or("the generator makes none");
            (format!("{code:?}"), reason.to_owned())
        })
        .collect()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask oracle`: the long run.

use clap::Parser;
use engine_soft::SoftEngine;
use engine_soft::model::Model;
use oracle::check::Checker;
use oracle::emulated::Emulated;
use oracle::forms::{Family, forms, is_indifferent_to_cpl, reason_not_to_run};
use oracle::native::Native;
use oracle::state::Mode;

/// Compares the software processor with the processor that it runs on.
#[derive(Parser)]
struct Arguments {
    /// Executions of each form.
    #[arg(long, default_value_t = 20_000)]
    per_code: u64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only forms whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let engine = SoftEngine::new(Model::x86_64_v2()?);
    let mut emulated = Emulated::new(&engine)?;
    let mut native = Native::new(&emulated)?;
    let mut checker = Checker::new(&mut native, &mut emulated, arguments.seed);
    let started = std::time::Instant::now();
    for code in forms(&engine, Mode::User64, Family::Integer) {
        if reason_not_to_run(code).is_some() || !format!("{code:?}").contains(&arguments.only) {
            continue;
        }
        if std::env::var_os("TRACE").is_some() {
            eprintln!("{code:?}");
        }
        checker.form(arguments.seed, code, Mode::User64, arguments.per_code);
        if is_indifferent_to_cpl(code) {
            checker.form(arguments.seed, code, Mode::Kernel64, arguments.per_code / 4);
        }
    }
    let report = &checker.report;
    for (_, text) in &report.samples {
        println!("{text}\n");
    }
    let mut executions = 0;
    let mut faults = 0;
    let mut differences = 0;
    for (code, count) in &report.counts {
        executions += count.executions;
        faults += count.faults;
        differences += count.differences;
        if count.differences != 0 {
            println!("{code:?}: {} of {} differ", count.differences, count.executions);
        }
    }
    println!(
        "{} forms, {executions} executions, {faults} faults, {differences} differences, {:?}",
        report.counts.len(),
        started.elapsed()
    );
    Ok(())
}

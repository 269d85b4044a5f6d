// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask oracle`: the long run.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use engine_soft::SoftEngine;
use engine_soft::model::{Model, ModelName};
use oracle::campaign::{Plan, run_forms, run_programs, uncovered};
use oracle::check::{Count, Report};
use oracle::emulated::Emulated;
use oracle::forms::Family;
use oracle::native::Native;
use oracle::state::Mode;

/// What to compare.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Integer forms in 64-bit mode.
    Integer,
    /// Integer forms in compatibility mode.
    Compatibility,
    /// Programs of several integer instructions.
    Programs,
    /// x87, MMX and SSE forms in 64-bit mode.
    Vector,
    /// VEX-encoded forms on vector registers in 64-bit mode.
    Avx,
    /// x87, MMX and SSE forms in compatibility mode.
    VectorCompatibility,
    /// VEX-encoded forms on vector registers in compatibility mode.
    AvxCompatibility,
}

/// Compares the software processor with the processor that it runs on.
#[derive(Parser)]
#[command(name = "oracle")]
struct Arguments {
    /// What to compare.
    #[arg(value_enum, default_values_t = What::value_variants().to_vec())]
    what: Vec<What>,
    /// Executions of each form; of vector forms, which mostly run on the host for the guest too, a tenth.
    #[arg(long, default_value_t = 20_000)]
    per_code: u64,
    /// Number of programs.
    #[arg(long, default_value_t = 100_000)]
    programs: u64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only forms whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Also list the forms that were not run.
    #[arg(long)]
    uncovered: bool,
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let engine = SoftEngine::new(Model::named(ModelName::Host)?);
    let mut guest = Emulated::new(&engine)?;
    let mut host = Native::new(&guest)?;
    let plan = Plan { seed: arguments.seed, per_form: arguments.per_code };
    let fewer = Plan { per_form: plan.per_form.div_ceil(10), ..plan };
    let mut differences = 0;
    for what in &arguments.what {
        let (family, mode, plan) = match what {
            What::Programs => {
                let started = Instant::now();
                let report = run_programs(&engine, &mut host, &mut guest, arguments.seed, arguments.programs);
                differences += tell(&report, started);
                continue;
            }
            What::Integer => (Family::Integer, Mode::User64, plan),
            What::Compatibility => (Family::Integer, Mode::User32, plan),
            What::Vector => (Family::Vector, Mode::User64, fewer),
            What::Avx => (Family::Avx, Mode::User64, fewer),
            What::VectorCompatibility => (Family::Vector, Mode::User32, fewer),
            What::AvxCompatibility => (Family::Avx, Mode::User32, fewer),
        };
        let started = Instant::now();
        let report = run_forms(&engine, &mut host, &mut guest, plan, mode, family, |name| {
            name.contains(&arguments.only)
        });
        differences += tell(&report, started);
        if arguments.uncovered {
            for (form, reason) in uncovered(&engine, &report, mode, family) {
                println!("{form}\t{reason}");
            }
        }
    }
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(report: &Report, started: Instant) -> u64 {
    for (_, text) in &report.samples {
        println!("{text}\n");
    }
    for (code, count) in &report.counts {
        if count.differences != 0 {
            println!("{code:?}: {} of {} differ", count.differences, count.executions);
        }
    }
    let total = report.total();
    let share = |count: &Count| 100.0 * count.faults as f64 / count.executions.max(1) as f64;
    let fewest = report.counts.values().map(share).fold(100.0, f64::min);
    let least = report.counts.values().map(|count| count.executions).min().unwrap_or(0);
    println!(
        "{} forms, at least {least} executions each, {} in all; {} of them faults ({:.1} %, at least {fewest:.1} % of each); {} differences; {:.0?}",
        report.counts.len(),
        total.executions,
        total.faults,
        share(&total),
        total.differences,
        started.elapsed()
    );
    total.differences
}

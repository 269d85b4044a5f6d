// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask long`: the checks that take too long for every change. Each passes, fails, or says why it was skipped.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;

use crate::machine::Trouble;

use crate::saved_states;

/// How long the long checks are.
#[derive(Args)]
pub(crate) struct Options {
    /// Boots of Debian in a row
    #[arg(long, default_value_t = 20)]
    boots: u32,
    /// Minutes for each fuzz target
    #[arg(long, default_value_t = 10)]
    fuzz_minutes: u32,
    /// Only the checks whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// How a check went.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(f, "passed"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Skipped(why) => write!(f, "SKIPPED: {why}"),
        }
    }
}

type Check = Box<dyn Fn(&Path, &Options) -> Outcome>;

/// Some checks failed, and have said why.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the long checks failed")]
pub(crate) struct ChecksFailed(usize);

/// Runs the checks on the repository.
///
/// # Errors
/// [`ChecksFailed`] if a check failed; one that was skipped did not.
pub(crate) fn run(repository: &Path, options: &Options) -> Result<(), ChecksFailed> {
    let mut checks: Vec<(String, Check)> = vec![
        ("boots".into(), Box::new(boots)),
        ("virtual time".into(), Box::new(virtual_time)),
        ("kernels".into(), Box::new(kernels)),
        ("enlightenments".into(), Box::new(enlightenments)),
        ("soak".into(), Box::new(soak)),
        ("several processors".into(), Box::new(several_processors)),
        ("crash".into(), Box::new(crash)),
        ("oracle".into(), Box::new(oracle)),
        ("conformance".into(), Box::new(conformance)),
        ("reference".into(), Box::new(reference)),
        ("advisories".into(), Box::new(advisories)),
        ("address sanitizer".into(), Box::new(address_sanitizer)),
    ];
    for &(name, check) in saved_states::CHECKS {
        checks.push((name.into(), Box::new(move |top, _| of_saved_states(top, check))));
    }
    for room in crate::mutants::ROOMS {
        checks.push((format!("mutants {room}"), Box::new(move |top, _| crate::mutants::check(top, room))));
    }
    for target in fuzz_targets(repository) {
        checks.push((format!("fuzz {target}"), Box::new(move |top, options| fuzz(top, options, &target))));
    }
    let mut outcomes = Vec::new();
    for (name, check) in checks.iter().filter(|(name, _)| name.contains(&options.only)) {
        println!("== {name}");
        let begun = Instant::now();
        let outcome = check(repository, options);
        println!("{name}: {outcome} ({} s)", begun.elapsed().as_secs());
        outcomes.push((name, outcome));
    }
    println!();
    for (name, outcome) in &outcomes {
        println!("{name:<24} {outcome}");
    }
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    println!(
        "{} passed, {failed} failed, {} skipped",
        count(|outcome| matches!(outcome, Outcome::Passed)),
        count(|outcome| matches!(outcome, Outcome::Skipped(_)))
    );
    if failed == 0 { Ok(()) } else { Err(ChecksFailed(failed)) }
}

fn cargo(repository: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(repository).args(arguments).stdin(Stdio::null());
    if arguments[0].starts_with('+') {
        // The toolchain that runs this task would decide otherwise.
        for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"] {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs a command whose output the user sees.
fn succeed(mut command: Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{command:?}: {status}")),
        Err(error) => Outcome::Failed(format!("{command:?}: {error}")),
    }
}

/// Whether a command exists and answers.
fn answers(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Builds the command as users have it.
fn build(repository: &Path) -> Outcome {
    succeed(cargo(repository, &["build", "--quiet", "--release", "--package", "openviridian"]))
}

/// The core of a panic is read by the crash utility.
fn crash(repository: &Path, _: &Options) -> Outcome {
    let built = build(repository);
    if matches!(built, Outcome::Passed) { crate::crash::check(repository) } else { built }
}

/// Debian boots to power-off, again and again, without a complaint.
fn boots(repository: &Path, options: &Options) -> Outcome {
    let built = build(repository);
    if !matches!(built, Outcome::Passed) {
        return built;
    }
    for boot in 1..=options.boots {
        let begun = Instant::now();
        let mut command = Command::new(crate::machine::target(repository).join("release/viridian"));
        let ended = match command.args(["run", "debian"]).stdin(Stdio::null()).output() {
            Ok(ended) => ended,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let output = String::from_utf8_lossy(&ended.stdout).replace('\r', "");
        let errors = String::from_utf8_lossy(&ended.stderr);
        let errors = errors.trim();
        let cannot_fetch = ended.status.code() == Some(70) || errors.contains("the built-in tour instead");
        if boot == 1 && cannot_fetch {
            return Outcome::Skipped(errors.to_owned());
        }
        let wanted = [
            "Hypervisor detected: Microsoft Hyper-V",
            "hyperv_clocksource_tsc_page",
            "unchecked MSR, lockup, stall)\nnone\n",
            "Power down",
        ];
        let missing = wanted.iter().find(|text| !output.contains(**text));
        if !ended.status.success() || missing.is_some() {
            let file = repository.join("target/failed-boot.log");
            let kept = std::fs::write(&file, format!("{output}\n{errors}"))
                .map_or("", |()| ", see target/failed-boot.log");
            let missing = missing.map(|text| format!(", without {text:?}")).unwrap_or_default();
            return Outcome::Failed(format!("boot {boot}: {}{missing}{kept}", ended.status));
        }
        println!("boot {boot} of {}: {:.1} s", options.boots, begun.elapsed().as_secs_f64());
    }
    Outcome::Passed
}

/// The same boots once more with a busy host, and on computers that are taken apart on the way.
fn virtual_time(repository: &Path, _: &Options) -> Outcome {
    let built = build(repository);
    if matches!(built, Outcome::Passed) { crate::virtual_time::check(repository) } else { built }
}

/// Every stock kernel, with several numbers of VPs; those that cannot be fetched are skipped row by row.
fn kernels(repository: &Path, _: &Options) -> Outcome {
    if crate::kernels::run(repository, &crate::kernels::Options::default()) {
        Outcome::Passed
    } else {
        Outcome::Failed("see the table above".to_owned())
    }
}

/// Ten minutes of work on two VPs.
fn soak(repository: &Path, _: &Options) -> Outcome {
    of_trial(crate::soak::run(repository, &crate::soak::Options::default()))
}

/// A boot without each service in turn.
fn enlightenments(repository: &Path, _: &Options) -> Outcome {
    of_trial(crate::enlightenments::run(repository, &crate::enlightenments::Options::default()))
}

fn of_trial(outcome: Result<(), Trouble>) -> Outcome {
    match outcome {
        Ok(()) => Outcome::Passed,
        Err(Trouble::Skipped(why)) => Outcome::Skipped(why),
        Err(Trouble::Failed(why)) => Outcome::Failed(why),
    }
}

/// Processors that change each other's code, whose memory is changed under them, and whose locked accesses cross pages, sixty times as long as in every test run.
fn several_processors(repository: &Path, _: &Options) -> Outcome {
    let mut command =
        cargo(repository, &["test", "--release", "--package", "openviridian-engine-soft", "--lib"]);
    command.args(["--", "--test-threads=1", "cross_modifying", "locked"]);
    command.env("OPENVIRIDIAN_STRESS_SECONDS", "60");
    succeed(command)
}

/// What was proven is proven still.
fn conformance(repository: &Path, _: &Options) -> Outcome {
    match crate::conformance::run(repository, &crate::conformance::Options::default()) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// KVM's Hyper-V interface says the same, but for what is explained.
fn reference(repository: &Path, _: &Options) -> Outcome {
    match crate::reference::run(repository) {
        Ok(()) => Outcome::Passed,
        Err(Trouble::Skipped(why)) => Outcome::Skipped(why),
        Err(Trouble::Failed(why)) => Outcome::Failed(why),
    }
}

/// The host's processor judges the software processor at length.
fn oracle(repository: &Path, _: &Options) -> Outcome {
    match crate::oracle::run(repository, &[]) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn of_saved_states(repository: &Path, check: saved_states::Check) -> Outcome {
    match check(repository) {
        Ok(saved_states::Outcome::Passed(found)) => {
            println!("{found}");
            Outcome::Passed
        }
        Ok(saved_states::Outcome::Skipped(why)) => Outcome::Skipped(why),
        Ok(saved_states::Outcome::Failed(why)) | Err(why) => Outcome::Failed(why),
    }
}

/// No dependency has a known vulnerability.
fn advisories(repository: &Path, _: &Options) -> Outcome {
    if !answers(cargo(repository, &["deny", "--version"])) {
        return Outcome::Skipped("cargo-deny is not installed (cargo install --locked cargo-deny)".into());
    }
    let ended = match cargo(repository, &["deny", "check", "advisories"]).output() {
        Ok(ended) => ended,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let report = String::from_utf8_lossy(&ended.stderr);
    if ended.status.success() {
        Outcome::Passed
    } else if report.contains("failed to fetch advisory database")
        || report.contains("failed to load advisory database")
    {
        Outcome::Skipped("the database of advisories is out of reach".into())
    } else {
        eprintln!("{report}");
        Outcome::Failed("there are advisories".into())
    }
}

/// The rooms with unsafe code, under AddressSanitizer.
fn address_sanitizer(repository: &Path, _: &Options) -> Outcome {
    if !answers(cargo(repository, &["+nightly", "--version"])) {
        return Outcome::Skipped("no nightly Rust (rustup toolchain install nightly)".into());
    }
    let mut command = cargo(repository, &["+nightly", "test", "--target", "x86_64-unknown-linux-gnu"]);
    command.args(["--target-dir", "target/address-sanitizer", "--lib"]);
    for room in ["memory", "engine", "engine-soft"] {
        command.args(["--package", &format!("openviridian-{room}")]);
    }
    // QEMU's user-mode emulator cannot run a program with a sanitizer.
    command.args(["--", "--skip", "second_opinion"]);
    command.env("RUSTFLAGS", "-Zsanitizer=address");
    // The rooms catch faults of their own with signal handlers, on stacks of their own.
    command.env(
        "ASAN_OPTIONS",
        "allow_user_segv_handler=1:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:use_sigaltstack=0",
    );
    succeed(command)
}

fn fuzz_targets(repository: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(repository.join("fuzz/fuzz_targets")) else { return Vec::new() };
    let mut targets: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.replace('_', "-")))
        .collect();
    targets.sort();
    targets
}

/// No input of the fuzzer's makes a target panic.
fn fuzz(repository: &Path, options: &Options, target: &str) -> Outcome {
    if !answers(cargo(repository, &["+nightly", "fuzz", "--version"])) {
        return Outcome::Skipped("no cargo-fuzz on nightly Rust (cargo install cargo-fuzz)".into());
    }
    // Of the fuzzed crates only memory has unsafe code, and its tests, which replay the corpus, are run under AddressSanitizer above:
    // sanitizers would only cost time here.
    let mut command = cargo(repository, &["+nightly", "fuzz", "run", "--sanitizer", "none", target, "--"]);
    command.arg(format!("-max_total_time={}", options.fuzz_minutes * 60));
    succeed(command)
}

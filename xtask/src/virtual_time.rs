// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boots of Debian under virtual time, which print hashes of their state: all have to print the same.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::long::Outcome;

/// Runs the boots. The command is built already.
pub(crate) fn check(repository: &Path) -> Outcome {
    for cpus in ["1", "2", "4"] {
        if let Err(outcome) = check_with(repository, cpus) {
            return outcome;
        }
    }
    Outcome::Passed
}

fn check_with(repository: &Path, cpus: &str) -> Result<(), Outcome> {
    let first = boot(repository, cpus, &[])?;
    let others = [
        ("on a busy host", on_a_busy_host(|| boot(repository, cpus, &[]))?),
        ("rebuilt on the way", boot(repository, cpus, &["--rebuild-every", "20M"])?),
    ];
    for (how, states) in others {
        if states != first {
            let same = first.iter().zip(&states).take_while(|(one, other)| one == other).count();
            return Err(Outcome::Failed(format!(
                "{cpus} VPs, {how}: only the first {same} states are the same"
            )));
        }
        println!("{cpus} VPs, {how}: the same {} states", states.len());
    }
    Ok(())
}

/// Boots, and gives the states that were printed.
fn boot(repository: &Path, cpus: &str, more: &[&str]) -> Result<Vec<String>, Outcome> {
    let mut command = Command::new(repository.join("target/release/viridian"));
    command.args(["run", "debian", "--append", "cryptomgr.notests", "--cpus", cpus]);
    command.args(["--time", "virtual", "--state-hash", "100M"]).args(more);
    let ended = command.stdin(Stdio::null()).output().map_err(|error| Outcome::Failed(error.to_string()))?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    if ended.status.code() == Some(70) || errors.contains("the built-in tour instead") {
        return Err(Outcome::Skipped(errors.trim().to_owned()));
    }
    let states: Vec<String> =
        errors.lines().filter(|line| line.contains("state at ")).map(str::to_owned).collect();
    if ended.status.success() && states.len() > 3 {
        Ok(states)
    } else {
        Err(Outcome::Failed(format!("{cpus} VPs: {}, {errors}", ended.status)))
    }
}

/// Does something while every processor of the host has something else to do as well.
fn on_a_busy_host<R>(act: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = act();
        over.store(true, Ordering::Relaxed);
        result
    })
}

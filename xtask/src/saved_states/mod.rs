// SPDX-License-Identifier: MIT OR Apache-2.0
//! The long checks of saved states: how much of the parsers the committed corpus reaches, and what public tools make of the same files.

mod coverage;
mod peers;

use std::path::Path;
use std::process::Command;

/// How a check ended.
pub(crate) enum Outcome {
    /// What was found.
    Passed(String),
    /// What is missing.
    Skipped(String),
    /// What is wrong.
    Failed(String),
}

pub(crate) type Check = fn(&Path) -> Result<Outcome, String>;

/// Name and body of each check. An error means that the check itself could not be made.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("coverage of the saved-state parsers by the committed corpus", coverage::saved_state),
    ("dissect.hypervisor lists the same keys and values", peers::dissect),
    ("volatility3 finds banners in our memory images", peers::volatility),
];

/// Runs a program and gives what it printed, or a sentence with what it complained about.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint: Vec<&str> = complaint.lines().rev().take(12).collect();
    let complaint: Vec<&str> = complaint.into_iter().rev().collect();
    Err(format!("{program} ended with {}:\n{}", output.status, complaint.join("\n")))
}

/// `cargo` in the repository, without the settings of the cargo that runs this program.
fn cargo(repository: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

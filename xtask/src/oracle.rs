// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the oracle with optimisation and runs it.

use std::path::Path;
use std::process::Command;

/// It could not be run, or found something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OracleError {
    #[error("cannot start cargo: {0}")]
    Start(std::io::Error),
    #[error("the oracle ended with {0}")]
    Failed(std::process::ExitStatus),
}

pub(crate) fn run(repository: &Path, arguments: &[String]) -> Result<(), OracleError> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "openviridian-oracle", "--"])
        .args(arguments)
        .current_dir(repository)
        .status()
        .map_err(OracleError::Start)?;
    if status.success() { Ok(()) } else { Err(OracleError::Failed(status)) }
}

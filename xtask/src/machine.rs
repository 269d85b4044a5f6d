// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernels under the built command, for the tasks that boot them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loader::debian::{self, DebianKernel, FetchError, Flavour, Mode, Options, Suite, Terminal};

/// Why something could not be tried.
pub(crate) enum Trouble {
    /// This host cannot have it.
    Skipped(String),
    Failed(String),
}

/// The folder into which cargo builds.
pub(crate) fn target(repository: &Path) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    // One that is relative is so to where cargo is started.
    repository.join(folder)
}

/// Builds the command as it is released, and gives where it is.
pub(crate) fn build(repository: &Path) -> Result<PathBuf, Trouble> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repository).args(["build", "--quiet", "--release", "--package", "openviridian"]);
    match cargo.status() {
        Ok(status) if status.success() => Ok(target(repository).join("release/viridian")),
        Ok(status) => Err(Trouble::Failed(format!("{cargo:?}: {status}"))),
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}

/// Fetches a kernel into the user's cache.
pub(crate) fn fetch(suite: Suite, flavour: Flavour) -> Result<DebianKernel, Trouble> {
    let skip = |error: FetchError| match error {
        FetchError::NoApt { .. } | FetchError::NoKeyring { .. } | FetchError::Apt { .. } => {
            Trouble::Skipped(error.to_string())
        }
        error => Trouble::Failed(error.to_string()),
    };
    let options = Options { suite, flavour, ..Options::from_environment().map_err(skip)? };
    debian::fetch(&options, &Terminal::new()).map_err(skip)
}

/// Writes the root file system in which the kernel does what `mode` says to a file under `target`.
pub(crate) fn initrd(
    repository: &Path,
    name: &str,
    kernel: &DebianKernel,
    mode: &Mode,
) -> Result<PathBuf, Trouble> {
    let failed = |error: &dyn std::fmt::Display| Trouble::Failed(error.to_string());
    let folder = repository.join("target/kernels");
    std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let file = folder.join(format!("{name}.img"));
    let packed = debian::initramfs(kernel, mode).map_err(|error| failed(&error))?;
    std::fs::write(&file, packed).map_err(|error| failed(&error))?;
    Ok(file)
}

/// `viridian run` of a kernel with nothing at standard input, with what it prints piped.
pub(crate) fn command(viridian: &Path, kernel: &Path, initrd: &Path, cpus: u32) -> Command {
    let mut command = Command::new(viridian);
    command.args(["run", "--memory", "1G", "--stats", "--cpus", &cpus.to_string()]);
    command.arg("--kernel").arg(kernel).arg("--initrd").arg(initrd);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lines in which a kernel complains.
pub(crate) fn complaints(output: &str) -> Vec<&str> {
    let words = ["BUG", "WARNING", "Oops", "unchecked MSR", "lockup", "stall", "Call Trace", "Kernel panic"];
    let title = "== Complaints";
    let complains = |line: &&str| !line.starts_with(title) && words.iter().any(|word| line.contains(word));
    output.lines().filter(complains).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_found_and_its_title_is_not_one() {
        let output = "== Complaints of the kernel (BUG, WARNING)\nnone\n[ 1.0] watchdog: BUG: soft lockup\n";
        assert_eq!(complaints(output), ["[ 1.0] watchdog: BUG: soft lockup"]);
    }
}

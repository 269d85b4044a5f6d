// SPDX-License-Identifier: MIT OR Apache-2.0
//! A core of a Debian guest that panicked, read by the crash utility with the kernel's debugging symbols.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::long::Outcome;

/// Names another kernel with symbols than the one of Debian's package.
const SYMBOLS: &str = "OPENVIRIDIAN_DEBUG_VMLINUX";

/// Panics a guest and has its core read. The command is built already.
pub(crate) fn check(repository: &Path) -> Outcome {
    if Command::new("crash").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Outcome::Skipped("the crash utility is not installed (apt install crash)".into());
    }
    let core = repository.join("target/crash-check.core");
    let outcome = panic_and_read(repository, &core);
    // The core of a failure stays, for whoever looks into it.
    if matches!(outcome, Outcome::Passed) {
        let _ = std::fs::remove_file(&core);
    }
    outcome
}

fn panic_and_read(repository: &Path, core: &Path) -> Outcome {
    let mut viridian = Command::new(crate::machine::target(repository).join("release/viridian"));
    viridian.args(["run", "debian", "--timeout", "5m", "--core"]).arg(core);
    let ended = match with_input(&mut viridian, "uname -r\necho c > /proc/sysrq-trigger\n") {
        Ok(ended) => ended,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    if ended.status.code() == Some(70) {
        return Outcome::Skipped(String::from_utf8_lossy(&ended.stderr).trim().to_owned());
    }
    if ended.status.code() != Some(65) {
        return Outcome::Failed(format!("a panic ended with {}", ended.status));
    }
    let console = String::from_utf8_lossy(&ended.stdout).replace('\r', "");
    // What is typed before there is a shell is echoed twice; the prompt tells which one is answered.
    let Some(release) = console.lines().skip_while(|line| !line.ends_with("# uname -r")).nth(1) else {
        return Outcome::Failed("the guest did not say which kernel it is".into());
    };
    let packaged = || PathBuf::from(format!("/usr/lib/debug/boot/vmlinux-{}", release.trim()));
    let symbols = std::env::var_os(SYMBOLS).map_or_else(packaged, PathBuf::from);
    if !symbols.exists() {
        let package = format!("linux-image-{}-dbg", release.trim());
        return Outcome::Skipped(format!(
            "no {} (apt install {package}, or set {SYMBOLS})",
            symbols.display()
        ));
    }
    let mut crash = Command::new("crash");
    crash.arg("-s").arg(&symbols).arg(core);
    let read = match with_input(&mut crash, "sys\nbt\nlog\nquit\n") {
        Ok(read) => String::from_utf8_lossy(&read.stdout).into_owned(),
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let wanted = ["sysrq triggered crash", "sysrq_handle_crash", "Linux version", release.trim()];
    match wanted.iter().find(|text| !read.contains(**text)) {
        None => Outcome::Passed,
        Some(missing) => {
            Outcome::Failed(format!("crash does not say {missing:?} of {}:\n{read}", core.display()))
        }
    }
}

fn with_input(command: &mut Command, text: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A few bytes: they fit into the pipe whoever reads them. One who has ended does not, and says so by its status.
        let _ = input.write_all(text.as_bytes());
    }
    child.wait_with_output()
}

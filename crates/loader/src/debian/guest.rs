// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user space of `viridian run debian`: busybox, the kernel's module for Hyper-V and one script.

use std::fs;
use std::path::Path;

use super::DebianKernel;
use crate::initramfs::{BuildError, Builder};

/// The script that does everything.
const START: &str = include_str!("start.sh");
/// Names that script to busybox's init.
const INITTAB: &str = include_str!("inittab");

/// What the guest prints when its shell is there, and nobody has typed anything yet ([`Mode::Shell`]).
pub const SHELL_IS_UP: &str = "Leave the shell (exit or Ctrl-D) to switch the power off.";

/// What the guest does once it is up. In every mode it then switches its power off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Greets and gives a shell with job control on the console, until that shell ends.
    Shell,
    /// Runs a shell script and prints the status with which it ended.
    Commands(String),
    /// Prints what the kernel found of Hyper-V, its clock source, its Hyper-V interrupts and its complaints.
    Summary,
}

/// Packs the initramfs in which `kernel`'s busybox and modules do what `mode` says.
///
/// # Errors
/// [`BuildError::Read`] when a file of `kernel` can no longer be read.
pub fn initramfs(kernel: &DebianKernel, mode: &Mode) -> Result<Vec<u8>, BuildError> {
    let mut root = Builder::new();
    for directory in ["bin", "dev", "etc", "lib", "proc", "root", "sys"] {
        root.directory(directory, 0o755)?;
    }
    root.directory("tmp", 0o1777)?;
    // Linux opens this one before the script mounts the file system that has the others.
    root.character_device("dev/console", 0o600, (5, 1))?;
    root.character_device("dev/null", 0o666, (1, 3))?;
    root.file("bin/busybox", 0o755, read(&kernel.busybox)?)?;
    root.symlink("bin/sh", "busybox")?;
    root.symlink("init", "bin/busybox")?;
    root.file("etc/inittab", 0o644, INITTAB.into())?;
    root.file("etc/viridian/start", 0o755, START.into())?;

    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        root.file(&format!("lib/modules/{name}"), 0o644, read(module)?)?;
        order.push_str(&format!("{name}\n"));
    }
    root.file("etc/viridian/modules", 0o644, order.into())?;
    let name = match mode {
        Mode::Shell => "shell",
        Mode::Commands(script) => {
            root.file("etc/viridian/commands", 0o644, script.clone().into())?;
            "commands"
        }
        Mode::Summary => "summary",
    };
    root.file("etc/viridian/mode", 0o644, name.into())?;
    Ok(root.finish())
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|source| BuildError::Read { path: path.display().to_string(), source })
}

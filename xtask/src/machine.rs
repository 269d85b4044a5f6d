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

/// Writes the ELF kernel inside a bzImage to a file under `target`: what a kernel developer has as `vmlinux`. The host's own tools decompress it.
pub(crate) fn vmlinux(repository: &Path, name: &str, kernel: &Path) -> Result<PathBuf, Trouble> {
    let failed = |error: &dyn std::fmt::Display| Trouble::Failed(error.to_string());
    let image = std::fs::read(kernel).map_err(|error| failed(&error))?;
    let payload = payload(&image).ok_or_else(|| failed(&format!("{} is no bzImage", kernel.display())))?;
    let (tool, options) = match payload {
        [0xFD, b'7', b'z', b'X', b'Z', ..] => ("xz", "-dc"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => ("zstd", "-dcq"),
        [0x02, 0x21, 0x4C, 0x18, ..] => ("lz4", "-dc"),
        other => return Err(failed(&format!("a payload of an unknown kind: {:x?}", other.get(..6)))),
    };
    let folder = repository.join("target/kernels");
    std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let (packed, file) = (folder.join(format!("{name}.packed")), folder.join(format!("{name}.vmlinux")));
    std::fs::write(&packed, payload).map_err(|error| failed(&error))?;
    let packed = std::fs::File::open(&packed).map_err(|error| failed(&error))?;
    let elf = match Command::new(tool).arg(options).stdin(packed).output() {
        Ok(ended) => ended.stdout,
        Err(error) => return Err(Trouble::Skipped(format!("no vmlinux: {tool}: {error}"))),
    };
    if !elf.starts_with(b"\x7FELF") {
        return Err(failed(&format!("{tool} gave no ELF file")));
    }
    std::fs::write(&file, elf).map_err(|error| failed(&error))?;
    Ok(file)
}

/// The compressed kernel in a bzImage (Linux, Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length), without the four
/// bytes of its size that follow it.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match image[0x1F1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = 512 * (setup_sectors + 1) + word(0x248)?;
    image.get(start..start.checked_add(word(0x24C)?.checked_sub(4)?)?)
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
    fn the_kernel_inside_an_image_is_found() {
        let mut image = vec![0; 0x600 + 20];
        image[0x1F1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24C].copy_from_slice(&0x200u32.to_le_bytes());
        image[0x24C..0x250].copy_from_slice(&12u32.to_le_bytes());
        image[0x600..0x608].copy_from_slice(b"ABCDEFGH");
        assert_eq!(payload(&image), Some(&b"ABCDEFGH"[..]));
        image[0x24C..0x250].copy_from_slice(&2000u32.to_le_bytes());
        assert_eq!(payload(&image), None);
        assert_eq!(payload(&image[..0x100]), None);
    }

    #[test]
    fn a_complaint_is_found_and_its_title_is_not_one() {
        let output = "== Complaints of the kernel (BUG, WARNING)\nnone\n[ 1.0] watchdog: BUG: soft lockup\n";
        assert_eq!(complaints(output), ["[ 1.0] watchdog: BUG: soft lockup"]);
    }
}

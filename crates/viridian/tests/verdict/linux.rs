// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stock Debian kernel with a folder as its initial RAM disk, which panics: the report, and the core that it leaves.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use loader::debian::{self, FetchError, Options, Silent};

use super::core_file::gdb;
use super::{ended, viridian};

const INIT: &str = "#!/bin/sh
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
for module in /lib/modules/*.ko; do /bin/busybox insmod $module; done
/bin/busybox grep -w linux_banner /proc/kallsyms
echo c > /proc/sysrq-trigger
";

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_panic_is_reported_and_leaves_a_core_with_symbols_in_place() {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openviridian");
    let kernel = match debian::fetch(&Options::new(cache), &Silent) {
        Ok(kernel) => kernel,
        Err(why @ (FetchError::NoApt { .. } | FetchError::NoKeyring { .. } | FetchError::Apt { .. })) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED a panic of Debian's kernel: {why}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let (root, core) = (folder.path().join("root"), folder.path().join("core"));
    write(&root.join("init"), INIT.as_bytes());
    write(&root.join("bin/busybox"), &fs::read(&kernel.busybox).unwrap());
    symlink("busybox", root.join("bin/sh")).unwrap();
    for module in &kernel.modules {
        write(&root.join("lib/modules").join(module.file_name().unwrap()), &fs::read(module).unwrap());
    }
    let mut command = viridian();
    command.args(["run", "--memory", "256M", "--append", "quiet", "--timeout", "5m", "--kernel"]);
    command.arg(&kernel.kernel).arg("--root").arg(&root).arg("--core").arg(&core);
    let (out, err) = ended(&command.output().unwrap(), 65);
    // P0 to P2 mean nothing here; P3 and P4 are where the message is, which is the end of the kernel's log.
    assert!(err.contains("the guest reported a crash: 0x0 0x0 0x0 0x"), "{err}");
    assert!(err.contains("Kernel panic - not syncing: sysrq triggered crash"), "{err}");

    let bytes = fs::read(&core).unwrap();
    let release = b"OSRELEASE=6.1.";
    assert!(
        bytes[..1 << 20].windows(release.len()).any(|part| part == release),
        "VMCOREINFO is in the headers"
    );
    let banner = out.lines().find(|line| line.contains(" linux_banner")).expect("the banner's address");
    let address = banner.split_whitespace().next().unwrap();
    let Some(said) = gdb(&core, &[&format!("x/s 0x{address}"), "info registers rip"]) else { return };
    assert!(said.contains("Linux version 6.1."), "{said}");
    let rip = said.lines().find(|line| line.starts_with("rip")).unwrap_or_default();
    assert!(rip.contains("0xffffffff"), "the kernel's text: {said}");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other side where no hardware virtualization is: QEMU's TCG emulates a processor with SVM, on it runs Debian's cloud kernel with its
//! KVM, and on that QEMU runs the guest. All that the inner machine needs travels in an initramfs.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loader::debian::{Flavour, Suite};
use loader::initramfs::Builder;

use super::compare::{Verdict, verdicts};
use crate::machine::{self, Trouble};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// What KVM is asked to offer: everything that it has of the interface, but for nesting.
const INNER_PROCESSOR: &str = "host,kvm=off,hv_relaxed,hv_vapic,hv_time,hv_vpindex,hv_runtime,hv_synic,hv_stimer,\
                               hv_stimer_direct,hv_tlbflush,hv_ipi,hv_reset,hv_frequencies,hv_crash,hv_reenlightenment";

/// Modules in the order in which they are loaded, below the kernel's own folder.
const MODULES: [&str; 3] = ["virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko"];

/// Firmware of the inner machine; each lies in one of these folders.
const FIRMWARE: [&str; 4] = ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "multiboot_dma.bin"];
const FIRMWARE_FOLDERS: [&str; 2] = ["/usr/share/qemu", "/usr/share/seabios"];

/// The whole of it takes half a minute on an idle host.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the guest's chapters; gives what it says of each behaviour.
pub(super) fn run(
    repository: &Path,
    guest: &[u8],
    chapters: &[&str],
) -> Result<BTreeMap<String, Verdict>, Trouble> {
    if !Path::new(QEMU).exists() {
        return Err(Trouble::Skipped(format!("no {QEMU} (Debian package qemu-system-x86)")));
    }
    let kernel = machine::fetch(Suite::Bookworm, Flavour::Cloud)?;
    let modules = modules(repository, &release(&kernel.kernel)?)?;
    let initramfs = pack(&kernel.busybox, &modules, guest, chapters)?;
    let file = tempfile::NamedTempFile::new().map_err(failed)?;
    std::fs::write(file.path(), initramfs).map_err(failed)?;
    let output = boot(&kernel.kernel, file.path())?;
    std::fs::write(repository.join("target/reference/output.txt"), &output).map_err(failed)?;
    if !output.contains("RIG ends") {
        return Err(Trouble::Failed(format!("the rig did not come to its end:\n{output}")));
    }
    for line in output.lines().filter(|line| line.starts_with("RIG ")) {
        println!("{line}");
    }
    Ok(verdicts(&output))
}

fn failed(error: std::io::Error) -> Trouble {
    Trouble::Failed(error.to_string())
}

/// What a bzImage calls itself, such as `6.1.0-56-cloud-amd64`: the first word of the text that its header points to
/// (Linux documentation, x86 boot protocol, `kernel_version`).
fn release(kernel: &Path) -> Result<String, Trouble> {
    let image = std::fs::read(kernel).map_err(failed)?;
    let pointer =
        image.get(0x20E..0x210).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let text = image.get(pointer + 0x200..).unwrap_or_default();
    let word = text.iter().take_while(|byte| byte.is_ascii_graphic()).map(|&byte| char::from(byte));
    Ok(word.collect())
}

/// The modules of the kernel that calls itself so, from its package, which apt verifies. They stay under `target`.
fn modules(repository: &Path, version: &str) -> Result<Vec<PathBuf>, Trouble> {
    let folder = repository.join("target/reference");
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let package = format!("linux-image-{version}");
    let tree = folder.join(version);
    if !tree.exists() {
        let run = |command: &mut Command| {
            let status = command.current_dir(&folder).stdin(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if !run(Command::new("apt-get").args(["download", "--quiet", &package])) {
            return Err(Trouble::Skipped(format!("apt-get cannot download {package}")));
        }
        let found = std::fs::read_dir(&folder).map_err(failed)?;
        let mut files = found.filter_map(|entry| Some(entry.ok()?.path()));
        let start = format!("{package}_");
        let file = files
            .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)));
        let file = file.ok_or_else(|| Trouble::Failed(format!("apt-get left no file of {package}")))?;
        if !run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&tree)) {
            return Err(Trouble::Skipped(format!("dpkg-deb cannot unpack {}", file.display())));
        }
    }
    let kernel = tree.join("lib/modules").join(version).join("kernel");
    Ok(MODULES.iter().map(|module| kernel.join(module)).collect())
}

/// Packs what the outer guest needs: busybox, modules, QEMU with its libraries and firmware, and the inner guest.
fn pack(busybox: &Path, modules: &[PathBuf], guest: &[u8], chapters: &[&str]) -> Result<Vec<u8>, Trouble> {
    let mut root = Builder::new();
    let packed = |error: loader::initramfs::BuildError| Trouble::Failed(error.to_string());
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))
    };
    for folder in ["dev", "proc", "sys", "tmp", "modules"] {
        root.directory(folder, 0o755).map_err(packed)?;
    }
    root.character_device("dev/console", 0o600, (5, 1)).map_err(packed)?;
    root.file("bin/busybox", 0o755, read(busybox)?).map_err(packed)?;
    root.symlink("bin/sh", "busybox").map_err(packed)?;
    for module in modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        root.file(&format!("modules/{name}"), 0o644, read(module)?).map_err(packed)?;
    }
    root.file("usr/bin/qemu", 0o755, read(Path::new(QEMU))?).map_err(packed)?;
    for library in libraries()? {
        root.file(library.trim_start_matches('/'), 0o755, read(Path::new(&library))?).map_err(packed)?;
    }
    for name in FIRMWARE {
        let places = FIRMWARE_FOLDERS.map(|folder| Path::new(folder).join(name));
        let place = places.iter().find(|place| place.exists());
        let place = place.ok_or_else(|| {
            Trouble::Skipped(format!("no {name} (Debian packages qemu-system-data, seabios)"))
        })?;
        root.file(&format!("firmware/{name}"), 0o644, read(place)?).map_err(packed)?;
    }
    root.file("guest.elf", 0o644, guest.to_vec()).map_err(packed)?;
    root.file("init", 0o755, script(chapters).into()).map_err(packed)?;
    Ok(root.finish())
}

/// The libraries that QEMU is linked with, and the linker, as `ldd` names them.
fn libraries() -> Result<Vec<String>, Trouble> {
    let output = Command::new("ldd").arg(QEMU).output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

/// What the outer guest does: each chapter in a machine of its own, and what it printed.
fn script(chapters: &[&str]) -> String {
    let load: String = MODULES
        .iter()
        .filter_map(|module| module.rsplit('/').next())
        .map(|name| format!("insmod /modules/{name} || echo RIG cannot load {name}\n"))
        .collect();
    let processors = super::PROCESSORS;
    let chapters = chapters.join(" ");
    format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
{load}
for chapter in {chapters}; do
    timeout 60 qemu -L /firmware -accel kvm -cpu {INNER_PROCESSOR} -smp {processors} -m 128 -nodefaults \\
        -kernel /guest.elf -append $chapter -device hyperv-testdev -device isa-debug-exit,iobase=0xf4,iosize=4 \\
        -vga none -serial file:/tmp/$chapter -display none -no-reboot
    echo RIG $chapter: status $?
    cat /tmp/$chapter
done
echo RIG ends
poweroff -f
"
    )
}

/// Boots the outer guest and gives what it prints.
fn boot(kernel: &Path, initramfs: &Path) -> Result<String, Trouble> {
    let mut command = Command::new(QEMU);
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults"]);
    command.args(["-vga", "none", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    command.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut stdout = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).replace('\r', "")
    });
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    reader.join().map_err(|_| Trouble::Failed("the reader of QEMU's output panicked".to_owned()))
}

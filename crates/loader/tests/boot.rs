// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest that `viridian run debian` boots, booted here under QEMU, which is another machine without Hyper-V: what
//! the guest does with its user space must be right anywhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use loader::debian::{self, FetchError, Mode, Options, Silent};

/// Says that a test did not run, past the test harness, which keeps what passing tests print.
fn skipped(test: &str, why: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// A machine that boots Debian's kernel, with its console on standard input and output.
struct Machine {
    qemu: Child,
    initrd: PathBuf,
}

impl Machine {
    /// Starts the guest in `mode`, or says why the test cannot run.
    fn start(test: &str, mode: &Mode) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let kernel = match debian::fetch(&Options::new(folder.join("openviridian")), &Silent) {
            Ok(kernel) => kernel,
            Err(
                error @ (FetchError::NoApt { .. } | FetchError::NoKeyring { .. } | FetchError::Apt { .. }),
            ) => {
                skipped(test, error);
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
            skipped(test, "qemu-system-x86_64 is not installed");
            return None;
        }
        let initrd = folder.join(format!("{test}-{}.img", std::process::id()));
        std::fs::write(&initrd, debian::initramfs(&kernel, mode).expect("an initramfs"))
            .expect("the build folder");
        // A guest that hangs must not hang the tests: the console then ends, and that fails.
        let qemu = Command::new("timeout")
            .args(["120", "qemu-system-x86_64", "-accel", "tcg"])
            .args(["-cpu", "max", "-m", "256", "-display", "none", "-monitor", "none"])
            .args(["-serial", "stdio", "-no-reboot", "-net", "none", "-append"])
            .args(["console=ttyS0 cryptomgr.notests quiet panic=-1", "-kernel"])
            .arg(&kernel.kernel)
            .arg("-initrd")
            .arg(&initrd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Some(Self { qemu: qemu.expect("qemu starts"), initrd })
    }

    /// Waits for the console to show `text`, and gives what it showed until then.
    fn wait_for(console: &mut impl BufRead, text: &str) -> String {
        let mut shown = Vec::new();
        while !shown.ends_with(text.as_bytes()) {
            let mut byte = [0];
            let read = console.read(&mut byte).expect("the console");
            assert_eq!(
                read,
                1,
                "the guest ended before it showed {text:?}: {}",
                String::from_utf8_lossy(&shown)
            );
            shown.push(byte[0]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// The console up to the guest's end, which must be a power-off.
    fn rest(&mut self, mut console: impl Read) -> String {
        let mut rest = Vec::new();
        console.read_to_end(&mut rest).expect("the console");
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(self.qemu.wait().expect("qemu").success(), "{rest}");
        assert!(rest.contains("reboot: Power down"), "{rest}");
        rest
    }

    fn console(&mut self) -> BufReader<impl Read + use<>> {
        BufReader::new(self.qemu.stdout.take().expect("a console"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A failed test leaves the machine on. `timeout` hands this signal on to it.
        if matches!(self.qemu.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.qemu.id().to_string()).status();
            let _ = self.qemu.wait();
        }
        let _ = std::fs::remove_file(&self.initrd);
    }
}

#[test]
fn the_summary_tells_what_the_kernel_found_and_powers_off() {
    let Some(mut machine) = Machine::start("summary", &Mode::Summary) else { return };
    let console = machine.console();
    let text = machine.rest(console);
    let section = |name: &str| {
        let start = text.find(&format!("== {name}")).unwrap_or_else(|| panic!("no {name} in {text}"));
        text[start..].lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(section("What Linux 6.1."), "The kernel found no Microsoft Hyper-V.");
    assert!(section("Clock source").starts_with("tsc"), "{text}");
    assert_eq!(section("Interrupts"), "CPU0");
    assert_eq!(section("Complaints of the kernel"), "none");
    // hv_vmbus was offered to the kernel, which has no device for it here.
    assert!(text.contains("'/lib/modules/hv_vmbus.ko': No such device"), "{text}");
}

#[test]
fn commands_run_and_their_status_is_told() {
    // The output is longer than what the console's driver holds: none of it may be lost when the power goes off.
    let script = "tty\nseq 1 3000\nexit 7\n";
    let Some(mut machine) = Machine::start("commands", &Mode::Commands(script.to_owned())) else { return };
    let console = machine.console();
    let text = machine.rest(console);
    assert!(text.contains("/dev/ttyS0"), "{text}");
    assert!(text.contains("\n3000\r\n== The commands ended with status 7"), "{text}");
}

#[test]
fn the_shell_has_job_control_and_its_end_powers_off() {
    let Some(mut machine) = Machine::start("shell", &Mode::Shell) else { return };
    let mut keyboard = machine.qemu.stdin.take().expect("a keyboard");
    let mut console = machine.console();
    let greeting = Machine::wait_for(&mut console, "/root # ");
    assert!(greeting.contains("Linux 6.1.") && greeting.contains("Clock source: "), "{greeting}");
    keyboard.write_all(b"echo started; sleep 1000\n").expect("the keyboard");
    Machine::wait_for(&mut console, "\nstarted\r\n");
    // Ctrl-C ends the sleep and gives the prompt back.
    keyboard.write_all(b"\x03").expect("the keyboard");
    Machine::wait_for(&mut console, "/root # ");
    keyboard.write_all(b"echo $((6 * 7)) is out of $(echo *.txt) here; exit\n").expect("the keyboard");
    let text = machine.rest(console);
    assert!(text.contains("\n42 is out of *.txt here"), "{text}");
}

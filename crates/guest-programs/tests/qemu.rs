// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest programs under a second implementation of the machine, QEMU's software processor.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-x86_64";

struct Run {
    output: String,
    /// The guest's exit code; `None` when it did not leave through the debug-exit port.
    code: Option<i32>,
}

/// Says what was not tested, past the test harness, which keeps what passing tests print.
fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Runs a guest program, or gives `None` and says why when QEMU is not here.
fn run(image: &[u8], processor: &str, append: &str) -> Option<Run> {
    if Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_err() {
        skipped(&format!("{QEMU} is not installed"));
        return None;
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(image).expect("room for the guest program");
    let mut command = Command::new(QEMU);
    command
        .args(["-accel", "tcg", "-cpu", processor, "-smp", "2", "-m", "256", "-kernel"])
        .arg(file.path())
        .args(["-append", append]);
    command.args([
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-serial",
        "stdio",
        "-display",
        "none",
        "-no-reboot",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("QEMU starts");
    let mut stdout = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).replace('\r', ""))
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("QEMU can be waited for") {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("QEMU can be ended");
            child.wait().expect("QEMU ends");
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let output = reader.join().expect("the reader ends").expect("QEMU's output can be read");
    let code = status.and_then(|status| status.code()).filter(|code| code % 2 == 1).map(|code| code / 2);
    Some(Run { output, code })
}

#[test]
fn the_tour_finds_no_microsoft_hypervisor() {
    let Some(run) = run(guest_programs::TOUR, "max", "nonce=heron") else { return };
    println!("{}", run.output);
    assert_eq!(run.code, Some(guest_programs::exit_code::NO_MICROSOFT_HYPERVISOR as i32), "{}", run.output);
    assert!(run.output.contains("finds no Microsoft hypervisor"), "{}", run.output);
    assert!(run.output.contains("TCGTCGTCGTCG"), "it names what it found instead: {}", run.output);
    assert!(!run.output.contains("heron"), "without a SynIC nothing can come back: {}", run.output);
}

#[test]
fn the_tour_finds_no_hypervisor_at_all() {
    let Some(run) = run(guest_programs::TOUR, "qemu64,-hypervisor", "") else { return };
    assert_eq!(run.code, Some(guest_programs::exit_code::NO_MICROSOFT_HYPERVISOR as i32), "{}", run.output);
    assert!(run.output.contains("no hypervisor"), "{}", run.output);
}

#[test]
fn the_checks_of_the_interface_find_none_to_check() {
    let Some(run) = run(guest_programs::CONFORMANCE, "max", "") else { return };
    assert_eq!(run.code, Some(guest_programs::exit_code::NO_MICROSOFT_HYPERVISOR as i32), "{}", run.output);
    assert!(!run.output.contains("passed"), "{}", run.output);
}

/// The checks of the processor, on both vendors' processors: they differ in SYSENTER and SYSCALL.
#[test]
fn the_processor_checks_pass_on_an_amd_processor() {
    check_the_processor("max,vendor=AuthenticAMD");
}

#[test]
fn the_processor_checks_pass_on_an_intel_processor() {
    check_the_processor("max,vendor=GenuineIntel");
}

fn check_the_processor(processor: &str) {
    let Some(run) = run(guest_programs::PROCESSOR, processor, "") else { return };
    let count = |mark: &str| run.output.lines().filter(|line| line.starts_with(mark)).count();
    assert_eq!(run.code, Some(guest_programs::exit_code::PASS as i32), "{}", run.output);
    assert_eq!(count("FAIL"), 0, "{}", run.output);
    assert!(count("ok ") > 450, "the checks are made: {}", run.output);
    for line in run.output.lines().filter(|line| line.starts_with("skip")) {
        skipped(line);
    }
}

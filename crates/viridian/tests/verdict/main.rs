// SPDX-License-Identifier: MIT OR Apache-2.0
//! What scripts rely on: when a run ends, its exit status, and what is kept of it.

mod core_file;
mod linux;
mod program;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use program::Program;

/// The command, with nobody at standard input.
fn viridian() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viridian"));
    command.stdin(Stdio::null());
    command
}

/// `viridian run` with a program and options.
fn run(program: &Path, options: &[&str]) -> Output {
    viridian().args(["run", "--memory", "16M", "--multiboot"]).arg(program).args(options).output().unwrap()
}

/// Asserts the exit status, and gives what was printed: standard output and standard error.
#[track_caller]
fn ended(output: &Output, status: i32) -> (String, String) {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(status), "\n{out}\n{err}");
    (out, err)
}

/// Asserts that the command refused with one sentence that has `part` in it.
#[track_caller]
fn refused(output: &Output, part: &str) {
    let (out, err) = ended(output, 70);
    assert!(out.is_empty() && err.starts_with("viridian: ") && err.contains(part), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn an_expected_text_ends_the_run_and_passes_it() {
    let folder = tempfile::tempdir().unwrap();
    let endless = Program::new().print("3 of 3 tests passed\r\n").halt().write(folder.path());
    let (out, err) = ended(&run(&endless, &["--expect", "tests passed", "--timeout", "60"]), 0);
    assert!(out.contains("3 of 3 tests passed") && err.is_empty(), "{err}");
}

#[test]
fn a_guest_that_ends_without_the_text_fails() {
    let folder = tempfile::tempdir().unwrap();
    let passes = Program::new().print("2 of 3 tests passed").exit(0).write(folder.path());
    let (_, err) = ended(&run(&passes, &["--expect", "3 of 3"]), 67);
    assert!(err.contains("\"3 of 3\""), "{err}");
    ended(&run(&passes, &["--expect", "2 of 3"]), 0);
    let fails = Program::new().exit(5).write(folder.path());
    ended(&run(&fails, &["--expect", "never"]), 5);
}

#[test]
fn the_time_ends_a_guest_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for (program, name) in
        [(Program::new().halt(), "halted"), (Program::new().bytes(&[0xEB, 0xFE]), "spinning")]
    {
        let program = program.write(folder.path());
        let began = Instant::now();
        let (_, err) = ended(&run(&program, &["--timeout", "300ms"]), 67);
        assert!(err.contains("300ms"), "{name}: {err}");
        assert!(began.elapsed() >= Duration::from_millis(300), "{name}");
    }
    let program = Program::new().halt().write(folder.path());
    let (_, err) = ended(&run(&program, &["--timeout", "0.2", "--expect", "login:"]), 67);
    assert!(err.contains("\"login:\""), "{err}");
}

#[test]
fn statuses_tell_how_the_guest_ended() {
    let folder = tempfile::tempdir().unwrap();
    let status =
        |program: Program, status| ended(&run(&program.write(folder.path()), &["--timeout", "60"]), status);
    status(Program::new().exit(0), 0);
    status(Program::new().exit(62), 62);
    assert!(status(Program::new().exit(1000), 63).1.contains("1000"));
    status(Program::new().out(0xCF9, 6), 64);
    assert!(status(Program::new().triple_fault(), 66).1.contains("triple fault"));
}

/// TLFS 4.3: P3 and P4 are place and length of a message.
#[test]
fn a_crash_is_reported_with_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let text = b"<1>Kernel panic: \"oops\"\n<1>\x1b[2Jsecond line\n";
    let crash = |place: u32, length: u64| {
        Program::new()
            .wrmsr(0x4000_0100, 0x11)
            .wrmsr(0x4000_0101, 0x22_0000_0022)
            .wrmsr(0x4000_0103, place.into())
            .wrmsr(0x4000_0104, length)
            .wrmsr(0x4000_0105, 3 << 62)
            .halt()
    };
    let place = crash(0, 0).here();
    let program = crash(place, text.len() as u64).bytes(text).write(folder.path());
    let (_, err) = ended(&run(&program, &["--timeout", "60"]), 65);
    assert!(err.contains("0x11 0x2200000022 0x0"), "{err}");
    assert!(err.contains("  <1>Kernel panic: \"oops\"\n  <1>\\u{1b}[2Jsecond line\n"), "{err}");
    // A message that is nowhere is no message.
    let program = crash(0xF000_0000, 10).write(folder.path());
    let (_, err) = ended(&run(&program, &["--timeout", "60"]), 65);
    assert_eq!(err.lines().count(), 1, "{err}");
}

/// The program counts its boots in the clock's memory, which outlives a reset; other memory must not.
#[test]
fn a_guest_that_resets_boots_again() {
    let folder = tempfile::tempdir().unwrap();
    let resets: [fn(Program) -> Program; 2] =
        [|program| program.out(0xCF9, 6), |program| program.wrmsr(0x4000_0003, 1)];
    for reset in resets {
        let program = Program::new()
            // If the word at 2 MiB is not 0, leave with 7.
            .bytes(&[0x83, 0x3D, 0, 0, 0x20, 0, 0, 0x74, 11])
            .exit(7)
            .bytes(&[0xFF, 0x05, 0, 0, 0x20, 0])
            // Read the count from the clock's memory; if it is 2, leave with 42.
            .out(0x70, 0x40)
            .set(2, 0x71)
            .bytes(&[0xEC, 0x3C, 2, 0x75, 11])
            .exit(42)
            // INC AL, write it back, reset.
            .bytes(&[0xFE, 0xC0, 0xEE]);
        let program = reset(program).halt().write(folder.path());
        ended(&run(&program, &["--reboot", "--timeout", "60"]), 42);
        ended(&run(&program, &["--timeout", "60"]), 64);
    }
}

#[test]
fn a_guest_that_boots_again_and_again_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::new().out(0xCF9, 6).halt().write(folder.path());
    ended(&run(&program, &["--reboot", "--cpus", "2", "--timeout", "0.5"]), 67);
}

#[test]
fn bad_values_are_refused_in_a_sentence() {
    let run = |options: &[&str]| viridian().arg("run").args(options).output().unwrap();
    refused(&run(&["--timeout", "never"]), "'never'");
    refused(&run(&["--timeout", "0"]), "'0'");
    refused(&run(&["--expect", ""]), "--expect");
    refused(&run(&["--core", "/"]), "/");
    refused(&run(&["--core", "/nowhere/at/all/core"]), "/nowhere/at/all/core");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    refused(&run(&["--kernel", file, "--root", "/nowhere"]), "/nowhere");
    refused(&run(&["--root", "/tmp"]), "--kernel");
}

#[test]
fn the_page_on_ci_names_options_that_exist() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ci.md")).unwrap();
    let (help, _) = ended(&viridian().args(["run", "--help"]).output().unwrap(), 0);
    let named = |text: &str| -> Vec<String> {
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
        words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
    };
    let (known, used) = (named(&help), named(&page));
    assert!(used.len() > 10, "{used:?}");
    // Of these, one is cargo's.
    for option in used.iter().filter(|option| *option != "--release") {
        assert!(known.contains(option), "{option} is no option of run: {known:?}");
    }
}

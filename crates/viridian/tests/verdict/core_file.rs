// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--core`, judged by gdb.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::program::{ENTRY, Program};
use super::{ended, run, viridian};

/// What gdb says about a core; `None`, and a line that says so, without gdb.
pub(crate) fn gdb(core: &Path, commands: &[&str]) -> Option<String> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-c"]).arg(core);
    for command in commands {
        gdb.args(["-ex", command]);
    }
    match gdb.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            // Past the test harness, which keeps what passing tests print.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no gdb to judge the core: {error}");
            None
        }
    }
}

#[test]
fn gdb_reads_registers_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core");
    let before_fault = |program: Program| {
        (0..8)
            .fold(program, |program, register| program.set(register, 0x1111_1111 * (u32::from(register) + 1)))
    };
    let fault = before_fault(Program::new()).here() + 7;
    let program = before_fault(Program::new()).triple_fault().write(folder.path());
    let options = ["--core", core.to_str().unwrap(), "--cpus", "2", "--timeout", "60"];
    let (_, err) = ended(&run(&program, &options), 66);
    assert!(err.contains(core.to_str().unwrap()), "{err}");
    let bytes = std::fs::read(&core).unwrap();
    assert_eq!(bytes[..4], *b"\x7fELF");
    let entry = format!("x/2xw {ENTRY:#x}");
    let physical = format!("x/2xw 0x{:x}", 1_u64 << 63 | u64::from(ENTRY));
    let Some(said) = gdb(&core, &["info threads", "info registers", &entry, &physical]) else { return };
    let registers =
        [("rax", 1), ("rcx", 2), ("rdx", 3), ("rbx", 4), ("rsp", 5), ("rbp", 6), ("rsi", 7), ("rdi", 8)];
    for (name, times) in registers {
        let value = format!("{:#x}", 0x1111_1111_u64 * times);
        let line = said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line.split_whitespace().nth(1) == Some(&value), "{name}: {line}\n{said}");
    }
    let rip = said.lines().find(|line| line.starts_with("rip")).unwrap_or_default();
    assert!(rip.contains(&format!("{fault:#x}")), "{rip}");
    assert!(said.contains("LWP 1") && said.contains("LWP 2"), "{said}");
    // MOV EAX, 0x11111111 and the byte after it, at both addresses.
    assert_eq!(said.matches("0x111111b8").count(), 2, "{said}");
}

/// Each VP's vector registers are as wide as its processor's: the second one, which never started, has zeros.
#[test]
fn gdb_reads_ymm_registers() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core");
    // CR4.OSFXSR, OSXMMEXCPT and OSXSAVE; XCR0 = x87, SSE, AVX.
    let prepared = Program::new()
        .bytes(&[0x0F, 0x20, 0xE0, 0x0D, 0x00, 0x06, 0x04, 0x00, 0x0F, 0x22, 0xE0])
        .set(0, 7)
        .set(1, 0)
        .set(2, 0)
        .bytes(&[0x0F, 0x01, 0xD1]);
    // VMOVDQU YMM0, [value]; the value follows the end.
    let load = |value: u32| [&[0xC5, 0xFE, 0x6F, 0x05][..], &value.to_le_bytes()].concat();
    let value = prepared.here() + 8 + (Program::new().triple_fault().here() - ENTRY);
    let bytes: Vec<u8> = (0xA0..0xC0).collect();
    let program = prepared.bytes(&load(value)).triple_fault().bytes(&bytes).write(folder.path());
    let options =
        |model| ["--cpu", model, "--core", core.to_str().unwrap(), "--cpus", "2", "--timeout", "60"];
    let output = run(&program, &options("x86-64-v3"));
    if output.status.code() == Some(70) {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let _ = writeln!(std::io::stderr(), "SKIPPED gdb_reads_ymm_registers: {why}");
        return;
    }
    ended(&output, 66);
    let ask = ["p/x $ymm0.v4_int64", "p/x $ymm1.v4_int64", "thread 2", "p/x $ymm0.v4_int64", "p $mxcsr"];
    let Some(said) = gdb(&core, &ask) else { return };
    let loaded = "{0xa7a6a5a4a3a2a1a0, 0xafaeadacabaaa9a8, 0xb7b6b5b4b3b2b1b0, 0xbfbebdbcbbbab9b8}";
    assert_eq!(said.matches(loaded).count(), 1, "{said}");
    assert_eq!(said.matches("{0x0, 0x0, 0x0, 0x0}").count(), 2, "{said}");
    assert!(said.contains("[ IM DM ZM OM UM PM ]"), "{said}");
    // A processor without AVX has XMM registers, and no others.
    let program = Program::new().triple_fault().write(folder.path());
    ended(&run(&program, &options("x86-64-v2")), 66);
    let Some(said) = gdb(&core, &["p/x $xmm15.v2_int64", "p/x $ymm0.v4_int64"]) else { return };
    assert!(said.contains("{0x0, 0x0}") && !said.contains("{0x0, 0x0, 0x0, 0x0}"), "{said}");
}

#[test]
fn there_is_a_core_when_it_helps_and_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core");
    let after = |program: Program, more: &[&str], status: i32| {
        let program = program.write(folder.path());
        let mut options = vec!["--core", core.to_str().unwrap()];
        options.extend(more);
        ended(&run(&program, &options), status);
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let has_core = core.exists();
        assert_eq!(names.len(), 1 + usize::from(has_core), "{names:?}");
        let _ = std::fs::remove_file(&core);
        has_core
    };
    assert!(after(Program::new().halt(), &["--timeout", "0.2"], 67), "a guest that hangs");
    assert!(
        after(Program::new().exit(0), &["--expect", "text"], 67),
        "a guest that does not say what it should"
    );
    assert!(!after(Program::new().exit(0), &[], 0), "a guest that passes");
    assert!(!after(Program::new().print("text").halt(), &["--expect", "text"], 0), "a guest that says it");
}

#[test]
fn a_signal_ends_the_run_with_a_core() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core");
    let program = Program::new().print("hanging").halt().write(folder.path());
    let mut command = viridian();
    command
        .args(["run", "--memory", "16M", "--timeout", "60", "--multiboot"])
        .arg(&program)
        .arg("--core")
        .arg(&core);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // What the guest prints says that it runs, and so that the signal is waited for.
    let mut first = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -USR1 \"$0\"", &pid]).status().unwrap().success());
    let (_, err) = ended(&child.wait_with_output().unwrap(), 0);
    assert!(err.contains("on request") && core.exists(), "{err}");
}

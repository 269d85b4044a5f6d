// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian run --interactive`, with its commands from a pipe.

use std::io::Write;
use std::process::{Command, Stdio};

/// What the guest prints to these commands, and the exit status.
fn session(options: &[&str], commands: &str) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viridian"));
    command.args(["run", "--interactive", "--timeout", "60", "--memory", "64M"]).args(options);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap().replace('\r', ""), output.status.code())
}

/// What came after a command and before the next prompt.
fn answer<'a>(said: &'a str, command: &str) -> &'a str {
    let echo = format!("> {command}\n");
    let (_, rest) = said.split_once(&echo).unwrap_or_else(|| panic!("no {command:?} in\n{said}"));
    rest.split("\n> ").next().unwrap()
}

#[test]
fn every_command_answers_in_words() {
    let commands = [
        "cpuid 0x40000003",
        "cpuid 0x40000000",
        "rdmsr HV_X64_MSR_SINT2",
        "wrmsr 0x40000092 0x60",
        "rdmsr sint2",
        "wrmsr vp_index 1",
        "wrmsr sint2 0x50",
        "call 0x7FFF",
        "call 0x02 0 3 0",
        "call NotifyLongSpinWait fast 100",
        "call FlushVirtualAddressList reps 2 0 3 0 0x1000 0x2000",
        "post 0x10 hello from myself",
        "post 0x99 nobody",
        "signal 0x20 0",
        "timer 5",
        "time",
        "help",
        "dance",
        "rdmsr 12x",
        "exit 42",
    ];
    let (said, status) = session(&[], &(commands.join("\n") + "\n"));
    assert_eq!(status, Some(42), "{said}");
    for (command, parts) in [
        ("cpuid 0x40000003", &["AccessVpIndex", "PostMessages", "guest_crash_msrs"][..]),
        ("cpuid 0x40000000", &["max_leaf", "Microsoft Hv"]),
        ("rdmsr HV_X64_MSR_SINT2", &["HV_X64_MSR_SINT2 (0x40000092) = 0x50", "vector"]),
        ("rdmsr sint2", &["= 0x60"]),
        ("wrmsr vp_index 1", &["refused: #GP", "AccessVpIndex, which this partition has"]),
        ("call 0x7FFF", &["HV_STATUS_INVALID_HYPERCALL_CODE"]),
        ("call 0x02 0 3 0", &["HvCallFlushVirtualAddressSpace", "HV_STATUS_SUCCESS"]),
        ("call NotifyLongSpinWait fast 100", &["HV_STATUS_SUCCESS"]),
        ("call FlushVirtualAddressList reps 2 0 3 0 0x1000 0x2000", &["SUCCESS", "reps complete: 2"]),
        (
            "post 0x10 hello from myself",
            &["SUCCESS", "a message at SINT 2: type 0x71", "\"hello from myself\""],
        ),
        ("post 0x99 nobody", &["HV_STATUS_INVALID_CONNECTION_ID"]),
        ("signal 0x20 0", &["SUCCESS", "an event at SINT 3: flag 0x20"]),
        ("timer 5", &["timer 0 is due at"]),
        ("time", &["by MSR", "by page", "scale"]),
        ("dance", &["no such command"]),
        ("rdmsr 12x", &["no MSR of that name"]),
    ] {
        let answer = answer(&said, command);
        for part in parts {
            assert!(answer.contains(part), "{command}: no {part:?} in\n{answer}\nof\n{said}");
        }
    }
    let help = answer(&said, "help");
    for command in ["cpuid", "rdmsr", "wrmsr", "call", "post", "signal", "timer", "time", "exit"] {
        assert!(help.contains(&format!("{command} ")) || help.contains(&format!("\n{command}")), "{command}");
    }
}

/// The guest sleeps at its prompt, so the timer's message finds it there: input comes to an end only after that.
#[test]
fn what_arrives_at_the_prompt_is_shown() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viridian"));
    command.args(["run", "--interactive", "--expect", "timer 1 was due at", "--timeout", "60"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"timer 30 1\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(input);
}

#[test]
fn the_end_of_input_and_what_is_not_offered() {
    let (said, status) = session(&[], "");
    assert_eq!(status, Some(0), "{said}");
    let (said, status) = session(&["--hv", "none"], "");
    assert_eq!(status, Some(4), "{said}");
    // No line feed at the end: what is there is still a command.
    let (said, status) = session(
        &["--hv", "access-hypercall-msrs,access-vp-index"],
        "rdmsr sint0\ntimer 1\npost 0x10 x\nrdmsr 0x12345",
    );
    assert_eq!(status, Some(0), "{said}");
    assert!(answer(&said, "rdmsr sint0").contains("AccessSynicRegs, which this partition lacks"), "{said}");
    assert!(answer(&said, "timer 1").contains("no SynIC"), "{said}");
    assert!(answer(&said, "post 0x10 x").contains("HV_STATUS_"), "{said}");
    assert!(answer(&said, "rdmsr 0x12345").contains("refused"), "{said}");
}

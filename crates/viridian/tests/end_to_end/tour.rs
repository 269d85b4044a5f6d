// SPDX-License-Identifier: MIT OR Apache-2.0
//! The built-in tour, the same as a file, and what is left of it when less is offered. `crates/guest-programs/tests/qemu.rs` runs the
//! file under QEMU, where it finds no Microsoft hypervisor.

use guest_programs::exit_code::NO_MICROSOFT_HYPERVISOR;

use crate::viridian::{Ended, run};

/// Checks that the tour went well and saw the nonce come back in a message.
#[track_caller]
fn went_well(ended: &Ended, nonce: &str) {
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.errors, "", "{ended:?}");
    for part in ["\"Microsoft Hv\"", "\"Hv#1\"", "reference page", "one shot, by message", "periodic, direct"]
    {
        assert!(ended.output.contains(part), "{part} is not in:\n{}", ended.output);
    }
    let arrives = ended.output.lines().find(|line| line.contains("the message arrives"));
    let arrives = arrives.unwrap_or_else(|| panic!("no message arrives:\n{}", ended.output));
    assert!(arrives.contains("ok ") && arrives.contains(&format!("\"{nonce}\"")), "{arrives}");
    assert!(ended.output.contains("All that is offered works."), "{}", ended.output);
    assert!(!ended.output.contains("FAIL"), "{}", ended.output);
}

#[test]
fn it_is_what_runs_by_default_and_brings_a_word_back() {
    for nonce in ["heron", "a-word-that-nobody-could-guess"] {
        went_well(&run(&["run", "--append", &format!("nonce={nonce}")]), nonce);
    }
}

#[test]
fn its_file_says_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tour.elf");
    let path = path.to_str().expect("a plain path");
    let written = run(&["tour", "--write", path]);
    assert_eq!((written.status, written.output.as_str(), written.errors.as_str()), (Some(0), "", ""));
    assert_eq!(std::fs::read(path).expect("the file"), guest_programs::TOUR);
    let from_file = run(&["run", "--multiboot", path, "--append", "nonce=stork"]);
    went_well(&from_file, "stork");
    // Values differ from run to run; what is said does not.
    let said = |ended: &Ended| -> Vec<String> {
        ended
            .output
            .lines()
            .map(|line| line.chars().take(28).filter(|c| !c.is_ascii_digit()).collect())
            .collect()
    };
    let built_in = run(&["run", "--append", "nonce=stork"]);
    let (left, right) = (said(&from_file), said(&built_in));
    assert!(left.len() > 50);
    assert_eq!(left, right);
}

#[test]
fn without_enlightenments_there_is_no_hypervisor() {
    let ended = run(&["run", "--hv", "none"]);
    assert_eq!(ended.status, Some(NO_MICROSOFT_HYPERVISOR as i32), "{ended:?}");
    assert!(ended.output.contains("finds no Microsoft hypervisor"), "{}", ended.output);
}

#[test]
fn what_is_taken_away_is_not_offered_and_the_rest_works() {
    for (list, gone) in [
        ("all,-access-synic-regs", "AccessSynicRegs"),
        ("all,-access-synthetic-timer-regs", "AccessSyntheticTimerRegs"),
        ("all,-access-partition-reference-tsc", "AccessPartitionReferenceTsc"),
        ("all,-access-intr-ctrl-regs", "AccessIntrCtrlRegs"),
        ("access-hypercall-msrs,access-vp-index,access-partition-reference-counter", "AccessVpRunTimeReg"),
        ("access-hypercall-msrs,access-vp-index", "AccessPartitionReferenceCounter"),
    ] {
        let ended = run(&["run", "--hv", list, "--append", "nonce=heron"]);
        assert_eq!(ended.status, Some(0), "{list}: {ended:?}");
        let mut named = ended.output.lines().filter(|line| line.contains(gone)).peekable();
        assert!(named.peek().is_some(), "{list}: {gone} is missed:\n{}", ended.output);
        assert!(
            named.all(|line| line.contains("not offered")),
            "{list}: {gone} is offered:\n{}",
            ended.output
        );
        assert!(ended.output.contains("0 failed"), "{list}: {}", ended.output);
    }
}

#[test]
fn statistics_follow_on_standard_error() {
    let ended = run(&["run", "--stats"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let count = |what: &str| {
        let line = ended.errors.lines().find(|line| line.contains(what));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    // The tour polls the clock a thousand times; that takes more than a hundred thousand instructions.
    assert!(count("guest instructions") > 100_000, "{}", ended.errors);
    for what in [
        "exits: hypercall",
        "HvCallPostMessage",
        "HvCallSignalEvent",
        "HV_X64_MSR_TIME_REF_COUNT",
        "EOI assists",
    ] {
        assert!(count(what) > 0, "{what}: {}", ended.errors);
    }
    assert_eq!(count("SynIC event flags set"), 1, "{}", ended.errors);
    assert_eq!(count("direct expirations"), 21, "{}", ended.errors);
}

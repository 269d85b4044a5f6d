// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks of the processor's privileged behaviour, made by a guest on our own processor. QEMU's TCG passes the same file
//! (`crates/guest-programs/tests/qemu.rs`).

use std::collections::BTreeMap;

use crate::viridian::{file_with, run, skipped};

/// B08.001, B08.005: the behaviour of the manuals, real mode too.
#[test]
fn its_privileged_behaviour_passes_every_check() {
    let file = file_with(guest_programs::PROCESSOR);
    // The other vendor's model finds its own ways of SYSENTER and SYSCALL.
    let runs = [
        ("1", &["--cpu", "host"][..]),
        ("2", &[]),
        ("1", &["--cpu", "host", "--cpu-vendor", "intel"]),
        ("1", &["--cpu-vendor", "amd"]),
    ];
    let mut skips = BTreeMap::<String, usize>::new();
    for (processors, options) in runs {
        let words = [&["run", "--cpus", processors][..], options, &["--multiboot"]].concat();
        let arguments: Vec<_> = words.iter().map(std::ffi::OsStr::new).collect();
        let ended = run(&[&arguments[..], &[file.path().as_os_str()]].concat());
        let count = |mark: &str| ended.output.lines().filter(|line| line.starts_with(mark)).count();
        assert_eq!(ended.status, Some(guest_programs::exit_code::PASS as i32), "{ended:?}");
        assert_eq!(count("FAIL"), 0, "{}", ended.output);
        assert!(count("ok ") > 600, "the checks are made: {}", ended.output);
        for line in ended.output.lines().filter(|line| line.starts_with("skip")) {
            *skips.entry(line.to_owned()).or_default() += 1;
        }
    }
    // What one run lacks, such as a second processor, another has.
    for (line, _) in skips.iter().filter(|&(_, &count)| count == runs.len()) {
        skipped("its_privileged_behaviour_passes_every_check", line);
    }
}

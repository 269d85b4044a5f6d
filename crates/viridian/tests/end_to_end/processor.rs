// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks of the processor's privileged behaviour, made by a guest on our own processor. QEMU's TCG passes the same file
//! (`crates/guest-programs/tests/qemu.rs`).

use crate::viridian::{file_with, run, skipped};

/// B08.001, B08.005: the behaviour of the manuals, real mode too.
#[test]
fn its_privileged_behaviour_passes_every_check() {
    let file = file_with(guest_programs::PROCESSOR);
    for processors in ["1", "2"] {
        let arguments = ["run", "--cpus", processors, "--multiboot"].map(std::ffi::OsStr::new);
        let ended = run(&[&arguments[..], &[file.path().as_os_str()]].concat());
        let count = |mark: &str| ended.output.lines().filter(|line| line.starts_with(mark)).count();
        assert_eq!(ended.status, Some(guest_programs::exit_code::PASS as i32), "{ended:?}");
        assert_eq!(count("FAIL"), 0, "{}", ended.output);
        assert!(count("ok ") > 600, "the checks are made: {}", ended.output);
        for line in ended.output.lines().filter(|line| line.starts_with("skip")) {
            skipped(&format!("with {processors} processors"), line);
        }
    }
}

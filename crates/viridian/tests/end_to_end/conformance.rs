// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks of the interface, chapter by chapter, made by a guest. `cargo xtask conformance` counts what they prove; here they pass,
//! with one VP and with several, with all enlightenments and with fewer.

use std::ffi::OsStr;

use crate::viridian::{file_with, run};

/// Runs the checks; gives how many passed and how many were skipped.
#[track_caller]
fn passes(processors: &str, hv: &str) -> (usize, usize) {
    passes_with(processors, hv, &[])
}

#[track_caller]
fn passes_with(processors: &str, hv: &str, more: &[&str]) -> (usize, usize) {
    let file = file_with(guest_programs::CONFORMANCE);
    let arguments = [&["run", "--cpus", processors, "--hv", hv][..], more, &["--multiboot"]].concat();
    let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
    let ended = run(&[&arguments[..], &[file.path().as_os_str()]].concat());
    let count = |mark: &str| ended.output.lines().filter(|line| line.starts_with(mark)).count();
    let failed: Vec<&str> = ended.output.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(failed.is_empty(), "{processors} processors, {hv}: {failed:#?}");
    assert_eq!(ended.status, Some(guest_programs::exit_code::PASS as i32), "{ended:?}");
    (count("ok "), count("skip "))
}

#[test]
fn every_check_is_made_where_all_is_offered() {
    let (passed, skipped) = passes("4", "all");
    assert!(passed > 140, "only {passed} checks");
    assert_eq!(skipped, 0);
}

/// B02.004: a guest that goes by the interface's signature works whoever made the hypervisor; only the check of the vendor is skipped.
#[test]
fn the_vendor_makes_no_difference() {
    let (passed, skipped) = passes_with("2", "all", &["--hv-vendor", "Somebody"]);
    assert_eq!((passed + 1, 1), (passes("2", "all").0, skipped));
}

#[test]
fn one_processor_skips_what_takes_two() {
    assert!(passes("1", "all").1 > 0);
}

#[test]
fn what_is_not_offered_is_skipped() {
    for list in [
        "access-hypercall-msrs,access-vp-index",
        "all,-access-synic-regs",
        "all,-access-synthetic-timer-regs",
        "all,-access-intr-ctrl-regs",
        "all,-access-partition-reference-tsc",
    ] {
        assert!(passes("2", list).1 > 0, "{list}");
    }
}

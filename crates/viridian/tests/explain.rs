// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian explain`, from outside.

use std::process::{Command, Output};

fn explain(what: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_viridian")).arg("explain").args(what).output().unwrap()
}

#[test]
fn what_is_known_is_printed_with_status_0() {
    for (what, name) in [
        ("0x5C", "HvCallPostMessage"),
        ("0x40000021", "HV_X64_MSR_REFERENCE_TSC"),
        ("leaf:3", "AccessVpIndex"),
        ("status:0x0018", "HV_STATUS_INVALID_SYNIC_STATE"),
    ] {
        let output = explain(&[what]);
        assert_eq!(output.status.code(), Some(0), "{what}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(name) && output.stderr.is_empty(), "{what}");
    }
}

#[test]
fn what_is_not_is_one_sentence_with_status_70() {
    for what in [&["HvCallPostMesage"][..], &["0xDEAD_BEEF"], &["tapestry"], &[]] {
        let output = explain(what);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), output.stdout.len(), err.lines().count()),
            (Some(70), 0, 1),
            "{err}"
        );
    }
}

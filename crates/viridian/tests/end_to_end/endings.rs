// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exit statuses of guests that end in every way there is.

use crate::guest::Guest;
use crate::viridian::{Ended, file_with, run};

fn run_guest(image: &[u8]) -> Ended {
    let file = file_with(image);
    run(&["run".as_ref(), "--multiboot".as_ref(), file.path().as_os_str()])
}

#[test]
fn a_code_of_the_guest_is_the_status() {
    for code in [0, 1, 42, 62] {
        let ended = run_guest(&Guest::new().print("about to leave\n").exit(code));
        assert_eq!(ended.status, Some(code as i32), "{ended:?}");
        assert_eq!((ended.output.as_str(), ended.errors.as_str()), ("about to leave\n", ""));
    }
}

#[test]
fn a_code_that_does_not_fit_is_printed() {
    for code in [63, 64, 70, 256, 0xDEAD_BEEF] {
        let ended = run_guest(&Guest::new().exit(code));
        assert_eq!(ended.status, Some(63), "{ended:?}");
        assert_eq!(ended.sentence(), format!("the guest exited with code {code}"));
    }
}

#[test]
fn a_reset_is_64() {
    let ended = run_guest(&Guest::new().reset());
    assert_eq!(ended.status, Some(64), "{ended:?}");
    assert_eq!(ended.sentence(), "the guest reset");
}

#[test]
fn a_crash_report_is_65_and_its_message_cannot_steer_the_terminal() {
    let ended = run_guest(&Guest::new().crash([0xE2, 0x10, 0x20], "panic: \x1b[31mred\nsecond line"));
    assert_eq!(ended.status, Some(65), "{ended:?}");
    let lines: Vec<&str> = ended.errors.lines().collect();
    assert!(lines[0].starts_with("viridian: the guest reported a crash: 0xe2 0x10 0x20 "), "{ended:?}");
    assert_eq!(lines[1..], ["  panic: \\u{1b}[31mred", "  second line"]);
}

#[test]
fn a_triple_fault_is_66() {
    let ended = run_guest(&Guest::new().print("down").triple_fault());
    assert_eq!(ended.status, Some(66), "{ended:?}");
    assert!(
        ended.sentence().starts_with("virtual processor 0 shut down on a triple fault at 0x1000"),
        "{ended:?}"
    );
    assert_eq!(ended.output, "down");
}

#[test]
fn registers_that_cannot_be_together_are_66() {
    // LMA, which says that long mode is active, where it is not; and a register that fits.
    const EFER: u32 = 0x0008_0001;
    let ended = run_guest(&Guest::new().print("down").set_register(EFER, 0x400).print("?").exit(1));
    assert_eq!((ended.status, ended.output.as_str()), (Some(66), "down"), "{ended:?}");
    assert_eq!(
        ended.sentence(),
        "virtual processor 0 shut down: its registers have values that none can have together"
    );
    let ended = run_guest(&Guest::new().set_register(EFER, 0).print("up").exit(1));
    assert_eq!((ended.status, ended.output.as_str()), (Some(1), "up"), "{ended:?}");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--time virtual`: runs that repeat exactly, whatever the host is busy with, and whatever is done to the computer on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::debian::run_debian;
use crate::guest::Guest;
use crate::viridian::{Ended, command, file_with, finish, finish_with_text, run, wait_for_status};

/// The states that a run printed, each with its number of instructions.
fn states(ended: &Ended) -> Vec<&str> {
    ended.errors.lines().filter_map(|line| line.strip_prefix("viridian: state at ")).collect()
}

/// Does something while the host is busy with something else.
fn beside_a_busy_loop<R>(act: impl FnOnce() -> R) -> R {
    let over = Arc::new(AtomicBool::new(false));
    let busy = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    let result = act();
    over.store(true, Ordering::Relaxed);
    busy.join().expect("the busy loop ends");
    result
}

#[test]
fn the_tour_with_two_vps_is_the_same_twice_and_when_it_is_rebuilt_on_the_way() {
    let tour = ["run", "--cpus", "2", "--memory", "16M", "--time", "virtual", "--state-hash", "5M"];
    let first = run(&tour);
    let again = beside_a_busy_loop(|| run(&tour));
    assert_eq!(first.status, Some(0), "{first:?}");
    assert!(states(&first).len() > 3, "{first:?}");
    assert_eq!((&first.output, states(&first)), (&again.output, states(&again)));
    for points in ["2M", "777777"] {
        let rebuilt = run(&[&tour[..], &["--rebuild-every", points]].concat());
        assert_eq!((&first.output, states(&first)), (&rebuilt.output, states(&rebuilt)), "{points}");
    }
    // Another seed is another run.
    let other = run(&[&tour[..], &["--seed", "1"]].concat());
    assert_ne!(states(&first), states(&other));
}

/// The guests that check the interface and the processor use more of a computer than others do: with and without being taken apart on the way, they
/// leave the same states behind.
#[test]
fn guests_that_use_everything_do_not_notice_that_they_are_rebuilt() {
    for (program, processors, memory, hash, points) in [
        (guest_programs::CONFORMANCE, "2", "64M", "20M", "8M"),
        (guest_programs::PROCESSOR, "2", "8M", "1M", "60k"),
        (guest_programs::PROCESSOR, "1", "8M", "1M", "77777"),
    ] {
        let file = file_with(program);
        let run = |more: &[&str]| {
            let options =
                ["run", "--cpus", processors, "--memory", memory, "--time", "virtual", "--state-hash"];
            let mut command = command(&[&options, &[hash][..], more, &["--multiboot"]].concat());
            finish(command.arg(file.path()))
        };
        let (first, rebuilt) = (run(&[]), run(&["--rebuild-every", points]));
        assert_eq!(first.status, Some(guest_programs::exit_code::PASS as i32), "{first:?}");
        assert!(states(&first).len() > 5, "{first:?}");
        assert_eq!((&first.output, states(&first)), (&rebuilt.output, states(&rebuilt)));
    }
}

/// The shortened form of what `cargo xtask long` does with more boots: a stock kernel on two VPs.
#[test]
fn a_debian_boot_with_two_vps_is_the_same_twice() {
    let more = ["--cpus", "2", "--append", "cryptomgr.notests", "--time", "virtual", "--state-hash", "100M"];
    let Some(mut first) = run_debian("a_debian_boot_with_two_vps_is_the_same_twice", &more) else { return };
    let mut again = run_debian("", &more).expect("it was fetched");
    let first = finish(&mut first);
    let again = beside_a_busy_loop(|| finish(&mut again));
    assert_eq!(first.status, Some(0), "{first:?}");
    assert!(states(&first).len() > 3, "{first:?}");
    assert_eq!(states(&first), states(&again));
    assert_eq!(first.output, again.output);
}

#[test]
fn input_is_there_before_the_guest_starts() {
    let file = file_with(&Guest::new().print("> ").wait_for_key(b'q').exit(7));
    let run = |text| {
        let mut command = command(&["run", "--time", "virtual", "--state-hash", "--multiboot"]);
        finish_with_text(command.arg(file.path()), text)
    };
    let (first, again) = (run("go on, q"), run("go on, q"));
    assert_eq!((first.status, first.output.as_str()), (Some(7), "> "), "{first:?}");
    assert_eq!(states(&first), states(&again));
    // A longer text is another run.
    assert_ne!(states(&first), states(&run("do go on, q")));
}

/// Who waits is told why. The input's end comes here only after that.
#[test]
fn input_that_does_not_end_is_told_of() {
    let file = file_with(&Guest::new().print("> ").wait_for_key(b'q').exit(7));
    let mut command = command(&["run", "--time", "virtual", "--multiboot"]);
    let command = command.arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut errors = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("text");
    assert!(line.contains("the end of standard input") && line.contains("</dev/null"), "{line}");
    child.stdin.take().expect("piped").write_all(b"q").expect("it is read");
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("text");
    assert_eq!((wait_for_status(&mut child), rest.as_str()), (Some(Some(7)), ""));
}

/// B14.004: a cap of 50 % leaves a busy VP half of the time, to within one percent.
#[test]
fn a_cap_takes_its_share_of_the_guests_time() {
    let file = file_with(&Guest::new().instructions_per_thousand(100_000_000));
    for (cap, expected) in [("100", 1000), ("50", 500), ("25%", 250)] {
        let mut command = command(&["run", "--time", "virtual", "--cpu-cap", cap, "--multiboot"]);
        let ended = finish(command.arg(file.path()));
        let code =
            ended.sentence().strip_prefix("the guest exited with code ").and_then(|code| code.parse().ok());
        let code: i32 = code.unwrap_or_else(|| panic!("{ended:?}"));
        assert!((code - expected).abs() <= 5, "--cpu-cap {cap}: {code} of 1000");
    }
}

/// A point that no run reaches is no hindrance to one.
#[test]
fn points_at_the_end_of_all_numbers() {
    for option in ["--state-hash", "--rebuild-every"] {
        let last = u64::MAX.to_string();
        let ended = run(&["run", "--memory", "16M", "--timeout", "200", "--time", "virtual", option, &last]);
        assert_eq!(ended.status, Some(0), "{option}: {ended:?}");
    }
}

#[test]
fn what_needs_virtual_time_says_so() {
    let options = [("--state-hash", "1M"), ("--cpu-cap", "50"), ("--rebuild-every", "5"), ("--seed", "0")];
    for (option, value) in options {
        let ended = run(&["run", option, value]);
        assert_eq!(ended.status, Some(70), "{ended:?}");
        assert!(ended.sentence().contains(option), "{ended:?}");
        assert!(ended.sentence().contains("--time virtual"), "{ended:?}");
    }
    let ended = run(&["run", "--cpu-weight", "50"]);
    assert!(ended.sentence().contains("--cpu-cap and --cpu-weight need --time virtual"), "{ended:?}");
    let ended = run(&["run", "--time", "virtual", "--cpu-reserve", "60", "--cpu-cap", "50"]);
    assert_eq!((ended.status, ended.sentence()), (Some(70), "a reserve cannot be above the cap"));
}

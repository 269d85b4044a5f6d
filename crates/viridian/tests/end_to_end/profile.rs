// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `--profile` and `--trace` write of a run.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::terminal::Terminal;
use crate::viridian::{command, run, wait_for_status};

#[test]
fn phases_are_told_apart_and_the_trace_agrees() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (profile, trace) = (path("p.json"), path("trace"));
    let phase = "calls=Hypercalls to the processor itself";
    let ended = run(&["run", "--cpus", "2", "--profile", &profile, "--phase", phase, "--trace", &trace]);
    assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""), "{ended:?}");

    let profile = std::fs::read_to_string(profile).expect("the profile");
    let profile: Value = serde_json::from_str(&profile).expect("JSON");
    assert_eq!(profile["phases"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&profile["phases"][0]["name"], &profile["phases"][1]["name"]),
        (&"boot".into(), &"calls".into())
    );
    let counts = profile["counts"].as_array().expect("counts");
    let calls = |phase: &str, code: &str| -> u64 {
        let parts = counts.iter().filter(|part| part["phase"] == phase);
        let calls = parts.flat_map(|part| part["hypercalls"].as_array().expect("calls"));
        calls.filter(|call| call["code"] == code).map(|call| call["count"].as_u64().expect("a number")).sum()
    };
    // The tour posts and signals before it comes to the calls that only concern the processor.
    assert_eq!((calls("boot", "0x005c"), calls("calls", "0x005c")), (2, 0));
    assert_eq!((calls("boot", "0x0002"), calls("calls", "0x0002")), (0, 1));
    let call = counts.iter().flat_map(|part| part["hypercalls"].as_array().expect("calls")).next();
    let call = call.expect("a call");
    assert!(
        call["mean_ns"].as_u64() > Some(0) && call["max_ns"].as_u64() >= call["mean_ns"].as_u64(),
        "{call}"
    );
    let beside = profile["beside_windows"].as_array().expect("a table");
    let post = beside.iter().find(|call| call["code"] == "0x005c").expect("a row");
    assert_eq!((beside.len(), &post["counts"]["boot"], &post["served"]), (74, &2.into(), &true.into()));

    let trace = std::fs::read_to_string(trace).expect("the trace");
    let lines =
        |event: &str| trace.lines().filter(|line| line.split(' ').nth(3) == Some(event)).count() as u64;
    let exits = counts.iter().flat_map(|part| part["exits"].as_object().expect("exits").values());
    assert_eq!(lines("exit"), exits.map(|count| count.as_u64().expect("a number")).sum::<u64>());
    let calls = counts.iter().flat_map(|part| part["hypercalls"].as_array().expect("calls"));
    assert_eq!(lines("hypercall"), calls.map(|call| call["count"].as_u64().expect("a number")).sum::<u64>());
    assert!(trace.lines().skip(1).all(|line| line.split(' ').count() >= 4), "every line is whole");
}

#[test]
fn a_profile_without_a_file_goes_to_standard_error() {
    let ended = run(&["run", "--profile"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for part in ["-- boot: ", "HvCallPostMessage", "max ns", "-- beside Windows", "HV_X64_MSR_TIME_REF_COUNT"]
    {
        assert!(ended.errors.contains(part), "{part}:\n{}", ended.errors);
    }
    assert!(!ended.errors.contains("-- idle"), "nothing started it:\n{}", ended.errors);
}

/// What was asked for and could not be told is a failure; a reader who has left wants no more.
#[test]
fn standard_error_without_room() {
    for option in ["--profile", "--stats"] {
        let ended = |errors: std::process::Stdio| {
            let mut command = command(&["run", option]);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(errors);
            command.status().expect("the command runs").code()
        };
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        assert_eq!(ended(full.into()), Some(70), "{option}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(ended(writer.into()), Some(0), "{option}");
    }
}

/// VPs answer while they run and while they sleep; the run goes on.
#[test]
fn a_key_tells_what_has_happened_so_far() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("p.json");
    let mut terminal = Terminal::new();
    let arguments = ["run", "--interactive", "--cpus", "3", "--profile"].map(std::ffi::OsStr::new);
    let mut child = terminal.start(&mut command(&[&arguments[..], &[path.as_os_str()]].concat()));
    terminal.wait_for("> ");
    terminal.type_keys(b"\x1dp");
    let deadline = Instant::now() + Duration::from_secs(60);
    let profile: Value = loop {
        assert!(Instant::now() < deadline, "no profile is written");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(profile) => break profile,
            // Not there yet, or half there.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut vps: Vec<u64> = profile["counts"]
        .as_array()
        .expect("counts")
        .iter()
        .map(|part| part["vp"].as_u64().expect("a number"))
        .collect();
    vps.dedup();
    assert_eq!(vps, [0, 1, 2]);
    terminal.type_keys(b"\x1dx");
    assert_eq!(wait_for_status(&mut child), Some(Some(0)));
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is kept of a run that a signal ends, or that has no room for its files: whole files or none, and a status that tells.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::guest::Guest;
use crate::viridian::command_heeding_signals;

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a guest, and what a run leaves there.
struct Place(tempfile::TempDir);

impl Place {
    fn with(guest: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("guest"), guest).expect("room for it");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The guest's run, in this folder.
    fn run(&self, options: &[&str]) -> Command {
        let mut command = command_heeding_signals();
        command.args(["run", "--multiboot", "guest"]).args(options).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Names of what is there besides the guest.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the folder");
        let names =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
        let mut names: Vec<_> = names.filter(|name| name != "guest").collect();
        names.sort();
        names
    }

    /// The number of events in a trace, which has whole lines only.
    #[track_caller]
    fn events(&self, trace: &str) -> usize {
        let text = fs::read_to_string(self.path(trace)).expect("the trace");
        assert!(text.starts_with("# tick vp vtl event ...\n") && text.ends_with('\n'), "{text}");
        let is_whole = |line: &str| {
            let fields: Vec<_> = line.split(' ').collect();
            match fields[..] {
                [_, _, _, "exit", kind] => kind.len() >= "halt".len(),
                [tick, ..] => fields.len() >= 4 && tick.parse::<u64>().is_ok(),
                [] => false,
            }
        };
        assert!(text.lines().skip(1).all(is_whole), "{text}");
        text.lines().count() - 1
    }
}

fn hanging() -> Vec<u8> {
    Guest::new().print("ready").wait_for_key(b'q').exit(9)
}

/// Starts the command, and waits until its guest has printed "ready".
fn start(command: &mut Command) -> Child {
    let mut child = command.spawn().expect("the command starts");
    let mut ready = [0; 5];
    child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("the guest prints");
    assert_eq!(&ready, b"ready");
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal can be sent");
}

/// Waits for the end, and gives how it was and what was said on standard error.
#[track_caller]
fn end(mut child: Child) -> (ExitStatus, String) {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("a child can be waited for").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            panic!("no end in {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait_with_output().expect("it has ended");
    (ended.status, String::from_utf8_lossy(&ended.stderr).into_owned())
}

const KEEPING: [&str; 6] = ["--trace", "trace", "--profile", "profile.json", "--core", "core"];

/// Checks what a run with [`KEEPING`] leaves.
#[track_caller]
fn kept(place: &Place) {
    assert_eq!(place.left(), ["profile.json", "trace"]);
    let profile = fs::read_to_string(place.path("profile.json")).expect("the profile");
    let profile: Value = serde_json::from_str(&profile).expect("JSON");
    assert!(profile["counts"].as_array().is_some_and(|counts| !counts.is_empty()), "{profile}");
    assert!(place.events("trace") >= "ready".len(), "an exit for each letter at least");
}

#[test]
fn a_signal_ends_a_run_in_order_and_then_the_command() {
    let signals = [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::ALARM,
        Signal::USR2,
        Signal::XCPU,
        Signal::PROF,
        Signal::VTALARM,
    ];
    for (number, signal) in signals.into_iter().enumerate() {
        let time = [&["--cpus", "2"][..], &["--time", "virtual"]][number % 2];
        let place = Place::with(&hanging());
        let child = start(&mut place.run(&[&KEEPING[..], time].concat()));
        send(&child, signal);
        let (status, said) = end(child);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}: {said}");
        assert!(said.lines().any(|line| line.starts_with("viridian: ended by SIG")), "{said}");
        kept(&place);
    }
}

/// `timeout` signals its child and then the group that the child is in: one wish, and not a second signal.
#[test]
fn a_run_under_timeout_ends_in_order() {
    let place = Place::with(&hanging());
    let run = place.run(&KEEPING);
    let mut command = Command::new("timeout");
    command.arg("3").arg(run.get_program()).args(run.get_args()).current_dir(place.0.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let (status, said) = end(child.expect("it starts"));
    assert_eq!(status.code(), Some(124), "{said}");
    kept(&place);
}

#[test]
fn a_second_signal_ends_a_run_that_cannot_end_in_order() {
    let place = Place::with(&Guest::new().print("ready").print_for_ever());
    let fifo = place.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .expect("a pipe with a name");
    // Somebody reads the trace who does not read.
    let reader = rustix::fs::open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("its end");
    let mut command = place.run(&["--trace", "fifo", "--profile", "profile"]);
    let mut child = start(&mut command);
    // Until more is traced than the pipe takes.
    let mut output = child.stdout.take().expect("piped");
    std::io::copy(&mut output.by_ref().take(20_000), &mut std::io::sink()).expect("the guest prints");
    send(&child, Signal::TERM);
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().expect("a child can be waited for").is_none(), "it waits for the trace");
    send(&child, Signal::INT);
    let (status, _) = end(child);
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{status}");
    assert_eq!(place.left(), ["fifo", "profile"]);
    drop(reader);
}

/// The time of `--timeout` holds, and one signal is enough, whoever reads the trace.
#[test]
fn a_trace_that_is_not_read_delays_the_end_by_seconds() {
    for by_signal in [false, true] {
        let place = Place::with(&Guest::new().print("ready").print_for_ever());
        let fifo = place.path("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .expect("a pipe with a name");
        let reader =
            rustix::fs::open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("its end");
        let timeout = if by_signal { "1000s" } else { "1s" };
        let mut command = place.run(&["--timeout", timeout, "--trace", "fifo"]);
        let mut child = start(&mut command);
        let mut output = child.stdout.take().expect("piped");
        std::io::copy(&mut output.by_ref().take(20_000), &mut std::io::sink()).expect("the guest prints");
        if by_signal {
            send(&child, Signal::TERM);
        }
        let (status, said) = end(child);
        let wanted = if by_signal { (None, Some(Signal::TERM.as_raw())) } else { (Some(70), None) };
        assert_eq!((status.code(), status.signal()), wanted, "{said}");
        assert!(said.contains("the trace in fifo ends before the run: who reads it did not take"), "{said}");
        drop(reader);
    }
}

#[test]
fn a_signal_while_a_core_is_written_leaves_none() {
    let place = Place::with(&Guest::new().print("ready").fill_memory(390 << 20).triple_fault());
    let child = start(&mut place.run(&["--memory", "400M", "--core", "core"]));
    let deadline = Instant::now() + PATIENCE;
    while place.left().is_empty() {
        assert!(Instant::now() < deadline, "no core is begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    send(&child, Signal::TERM);
    let (status, said) = end(child);
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}: {said}");
    assert!(said.contains("triple fault"), "{said}");
    assert_eq!(place.left(), [""; 0], "{said}");
    assert!(said.contains("cannot write core: SIGTERM came first"), "{said}");
}

/// Standard input that has no end yet is waited for before the guest starts.
#[test]
fn a_signal_before_the_guest_starts_means_the_same() {
    for (signal, code) in [(Signal::USR1, Some(0)), (Signal::TERM, None)] {
        let place = Place::with(&hanging());
        let mut command = place.run(&["--time", "virtual", "--trace", "trace"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the command starts");
        let input = child.stdin.take();
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("it says something");
        assert!(line.contains("waiting for the end of standard input"), "{line}");
        send(&child, signal);
        let (status, _) = end(child);
        assert_eq!(status.code(), code, "{signal:?}: {status}");
        assert_eq!(status.signal(), code.is_none().then_some(signal.as_raw()));
        assert_eq!(place.events("trace"), 0);
        drop(input);
    }
}

/// SIGUSR1 is no failure from the moment on at which it does not end the process by itself: long before there is a run.
#[test]
fn the_end_may_be_wished_from_the_beginning() {
    for _ in 0..3 {
        let place = Place::with(&hanging());
        let child = place.run(&["--memory", "16M", "--core", "core"]).spawn().expect("the command starts");
        let caught = || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
            u64::from_str_radix(mask.trim(), 16).expect("a mask") >> (Signal::USR1.as_raw() - 1) & 1 != 0
        };
        let deadline = Instant::now() + PATIENCE;
        while !caught() {
            assert!(Instant::now() < deadline, "SIGUSR1 is never caught");
        }
        send(&child, Signal::USR1);
        let (status, said) = end(child);
        assert_eq!(status.code(), Some(0), "{status}: {said}");
        assert!(said.contains("ended on request") && place.left() == ["core"], "{said}");
    }
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    let place = Place::with(&hanging());
    let run = place.run(&[]);
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP,INT").args(run.get_args().skip(1)).current_dir(place.0.path());
    let mut child = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    send(&child, Signal::HUP);
    send(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().expect("a child can be waited for").is_none());
    send(&child, Signal::USR1);
    let (status, said) = end(child);
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_guest_that_boots_again_and_again_can_be_ended() {
    for (signal, code) in [(Signal::TERM, None), (Signal::USR1, Some(0))] {
        let place = Place::with(&Guest::new().print("ready").reset());
        let child = start(&mut place.run(&["--reboot", "--memory", "16M", "--profile", "profile"]));
        std::thread::sleep(Duration::from_millis(50));
        send(&child, signal);
        let (status, said) = end(child);
        assert_eq!(status.code(), code, "{status}: {said}");
        assert_eq!(place.left(), ["profile"]);
    }
}

/// Runs with a limit to the size of files, in KiB.
fn run_with_limit(place: &Place, kib: u32, options: &[&str]) -> (ExitStatus, String) {
    let run = place.run(options);
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit -f {kib} && exec \"$0\" \"$@\"")]).arg(run.get_program());
    command.args(run.get_args()).current_dir(place.0.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    end(child.expect("bash starts"))
}

#[test]
fn a_trace_without_room_has_whole_lines_and_the_run_says_so() {
    let place = Place::with(&Guest::new().print_for_ever());
    let options = ["--timeout", "500ms", "--trace", "trace", "--profile", "profile"];
    let (status, said) = run_with_limit(&place, 300, &options);
    assert_eq!(status.code(), Some(70), "{status}: {said}");
    assert!(said.contains("the guest was not done in 500ms"), "{said}");
    let sentence = "viridian: the trace in trace ends before the run, after a whole line: File too large";
    assert!(said.contains(sentence), "{said}");
    let bytes = fs::metadata(place.path("trace")).expect("the trace").len();
    assert!((299 << 10..=300 << 10).contains(&bytes), "{bytes}");
    assert!(place.events("trace") > 1000 && place.path("profile").exists());
}

#[test]
fn a_core_without_room_is_none_and_is_called_by_its_name() {
    let place = Place::with(&Guest::new().print("ready").fill_memory(8 << 20).triple_fault());
    let (status, said) = run_with_limit(&place, 1024, &["--memory", "16M", "--core", "core"]);
    assert_eq!(status.code(), Some(70), "{status}: {said}");
    assert!(said.contains("viridian: cannot write core: File too large"), "{said}");
    assert!(said.contains("triple fault"), "what happened is told all the same: {said}");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_profile_that_could_not_be_written_is_refused_before_the_run() {
    let place = Place::with(&Guest::new().print("ready").exit(0));
    fs::write(place.path("profile"), "the one before").expect("room for it");
    let (status, said) = end(place.run(&["--profile", "nowhere/profile"]).spawn().expect("it starts"));
    assert_eq!(status.code(), Some(70), "{status}: {said}");
    assert!(
        said.contains("cannot write nowhere/profile: No such file") && said.lines().count() == 1,
        "{said}"
    );
    let (status, said) = end(place.run(&["--profile", "profile"]).spawn().expect("it starts"));
    assert_eq!(status.code(), Some(0), "{status}: {said}");
    assert!(fs::read_to_string(place.path("profile")).expect("the profile").contains("-- boot"));
    assert_eq!(place.left(), ["profile"]);
}

#[test]
fn standard_input_has_a_largest_size_under_virtual_time() {
    let place = Place::with(&hanging());
    let mut command = place.run(&["--time", "virtual"]);
    let endless = File::open(Path::new("/dev/zero")).expect("a device");
    let (status, said) = end(command.stdin(endless).spawn().expect("the command starts"));
    assert_eq!(status.code(), Some(70), "{status}: {said}");
    assert!(said.contains("standard input has more than 64 MiB") && said.lines().count() == 1, "{said}");
}

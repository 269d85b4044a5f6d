// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal is raw while a guest runs and as it was before when the command has ended, however that was.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

use crate::guest::Guest;
use crate::viridian::{command_heeding_signals, file_with, wait_for_status};

/// A terminal: our end, as a terminal emulator has it, and the end that programs have.
pub(crate) struct Terminal {
    ours: OwnedFd,
    theirs: File,
    shown: String,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&ours).expect("access to it");
        unlockpt(&ours).expect("access to it");
        let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("a plain name");
        // The end of a session of nobody's: the test's own terminal stays what it is.
        let theirs = OpenOptions::new().read(true).write(true).open(name).expect("the other end");
        Self { ours, theirs, shown: String::new() }
    }

    /// Starts the command on this terminal; standard error goes elsewhere.
    pub(crate) fn start(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.theirs.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(Stdio::piped()).spawn().expect("the command starts")
    }

    pub(crate) fn type_keys(&self, keys: &[u8]) {
        assert_eq!(rustix::io::write(&self.ours, keys), Ok(keys.len()));
    }

    /// Waits until the terminal shows `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.shown.contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not shown:\n{}", self.shown);
            let mut files = [PollFd::new(&self.ours, PollFlags::IN)];
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            if poll(&mut files, Some(&second)) == Ok(1) {
                let mut bytes = [0; 4096];
                let count = rustix::io::read(&self.ours, &mut bytes).expect("the terminal can be read");
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.theirs).expect("the terminal's settings")
    }
}

fn same(left: &Termios, right: &Termios) -> bool {
    left.input_modes == right.input_modes
        && left.output_modes == right.output_modes
        && left.control_modes == right.control_modes
        && left.local_modes == right.local_modes
}

/// Runs a guest that says "ready" on a terminal, checks that the terminal is raw, lets `act` end the run and checks that the terminal
/// is as it was. Gives the exit status.
#[track_caller]
fn run_on_terminal(image: &[u8], act: impl FnOnce(&Terminal, &Child)) -> Option<i32> {
    let file = file_with(image);
    let mut terminal = Terminal::new();
    let before = terminal.settings();
    assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    let mut child = terminal.start(command_heeding_signals().args(["run", "--multiboot"]).arg(file.path()));
    terminal.wait_for("ready");
    let raw = terminal.settings();
    assert!(!raw.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    act(&terminal, &child);
    let status = wait_for_status(&mut child).expect("an end");
    assert!(same(&before, &terminal.settings()), "the terminal is not as it was");
    status
}

fn guest() -> Guest {
    Guest::new().print("ready").wait_for_key(b'q')
}

#[test]
fn every_ending_of_a_guest_gives_it_back() {
    let images = [
        (guest().exit(0), 0),
        (guest().exit(7), 7),
        (guest().reset(), 64),
        (guest().crash([1, 2, 3], "crash"), 65),
        (guest().triple_fault(), 66),
    ];
    for (image, status) in images {
        assert_eq!(run_on_terminal(&image, |terminal, _| terminal.type_keys(b"zq")), Some(status));
    }
}

#[test]
fn the_escape_key_ends_a_guest_that_does_not_listen() {
    let image = Guest::new().print("ready").wait_for_key(0).exit(9);
    assert_eq!(run_on_terminal(&image, |terminal, _| terminal.type_keys(b"abc\x03\x1dx")), Some(0));
}

#[test]
fn a_signal_gives_it_back_too() {
    let image = guest().exit(9);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR2, Signal::XCPU] {
        let status = run_on_terminal(&image, |_, child| {
            kill_process(Pid::from_child(child), signal).expect("a signal can be sent");
        });
        assert_eq!(status, None, "ended by {signal:?}");
    }
}

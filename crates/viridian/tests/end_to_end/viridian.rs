// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the command and waits for it, but not for ever.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After this long a run is a failure. Boots take seconds, but test machines can be busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// Standard output, without carriage returns.
    pub(crate) output: String,
    /// Standard error.
    pub(crate) errors: String,
}

impl Ended {
    /// Checks that the command said one sentence and no more, and gives it.
    #[track_caller]
    pub(crate) fn sentence(&self) -> &str {
        let sentence = self.errors.strip_suffix('\n').unwrap_or_else(|| panic!("no sentence: {self:?}"));
        assert!(!sentence.contains('\n'), "more than one sentence: {self:?}");
        sentence.strip_prefix("viridian: ").unwrap_or_else(|| panic!("nobody says it: {self:?}"))
    }
}

/// The command with these arguments.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viridian"));
    command.args(arguments);
    command
}

/// Runs the command with nobody at standard input.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Ended {
    finish(&mut command(arguments))
}

/// Runs a command with nobody at standard input.
pub(crate) fn finish(command: &mut Command) -> Ended {
    wait(start(command.stdin(Stdio::null())))
}

/// Runs a command with `text` on a pipe.
pub(crate) fn finish_with_text(command: &mut Command, text: &str) -> Ended {
    let mut child = start(command.stdin(Stdio::piped()));
    let mut input = child.stdin.take().expect("piped");
    let text = text.to_owned();
    // The command may end before it has read everything.
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let ended = wait(child);
    writer.join().expect("the writer ends");
    ended
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
}

/// Waits for a started command and gathers what it printed.
fn wait(mut child: Child) -> Ended {
    let output = gather(child.stdout.take().expect("piped"));
    let errors = gather(child.stderr.take().expect("piped"));
    let status = wait_for_status(&mut child);
    let text = |reader: JoinHandle<String>| reader.join().expect("the reader ends");
    let ended = Ended { status: status.flatten(), output: text(output), errors: text(errors) };
    assert!(status.is_some(), "no end in {PATIENCE:?}: {ended:?}");
    ended
}

/// The exit status, or `None` when the command did not end in time and was killed.
pub(crate) fn wait_for_status(child: &mut Child) -> Option<Option<i32>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status.code());
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child ends");
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn gather(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).replace('\r', "")
    })
}

/// The command with no signal ignored, whatever whoever runs the tests has ignored (a shell ignores SIGINT for what it runs in the background).
pub(crate) fn command_heeding_signals() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(env!("CARGO_BIN_EXE_viridian"));
    command
}

/// A file for a test, removed with the value.
pub(crate) fn file_with(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file
}

/// Says that a test did not run, past the test harness, which keeps what passing tests print.
pub(crate) fn skipped(test: &str, why: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

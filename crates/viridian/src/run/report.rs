// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said at the end of a run, on standard error: standard output is the guest's.

use std::io::{self, Write};
use std::path::Path;

use hypervisor::{CrashReport, Statistics, Vp};

use super::computer::Computer;
use super::ending::End;
use crate::harmless::harmless;
use crate::refusal::Refusal;
use crate::signals;
use crate::status::Status;

/// The hash of all that the run could go on from. Two runs that print the same were the same up to there.
pub(crate) fn state_hash(computer: &Computer, executed: u64) {
    say(&format!("state at {executed} instructions: {}", computer.hash()));
}

/// Says how the run ended, where there is something to say, and gives the exit status. `expected` is the text that the
/// guest was to print.
pub(crate) fn end(end: &End, expected: Option<&str>) -> Status {
    match (end, expected) {
        (End::PowerOff | End::DebugExit(0) | End::Quit, Some(text)) => {
            say(&format!("the run ended, and the guest has not printed {text:?}"));
            return Status::Unmet;
        }
        (End::Timeout(time), Some(text)) => {
            say(&format!("the guest has not printed {text:?} in {time:?}"));
            return Status::Unmet;
        }
        _ => {}
    }
    match end {
        End::PowerOff | End::Expected => Status::Done,
        End::DebugExit(0) => Status::Done,
        End::Timeout(time) => {
            say(&format!("the guest was not done in {time:?}"));
            Status::Unmet
        }
        End::DebugExit(code) => {
            let status = Status::GuestCode(*code);
            if status.hides_guest_code() {
                say(&format!("the guest exited with code {code}"));
            }
            status
        }
        End::Reset => {
            say("the guest reset");
            Status::Reset
        }
        End::Crash(report) => {
            crash(report);
            Status::Crash
        }
        End::TripleFault { vp, rip } => {
            say(&format!("virtual processor {vp} shut down on a triple fault at {rip:#x}"));
            Status::ShutDown
        }
        End::InvalidRegisters { vp } => {
            say(&format!(
                "virtual processor {vp} shut down: its registers have values that none can have together"
            ));
            Status::ShutDown
        }
        End::Unsupported(what) => {
            say(&format!("the guest needs something that this build does not have: {what}"));
            Status::Unsupported
        }
        End::Quit => {
            say("ended on request");
            Status::Done
        }
        End::Signal(signal) => {
            say(&format!("ended by {}", signals::name(*signal)));
            Status::Signal(*signal)
        }
        End::Broken => {
            say("a bug ended the run; please report what was printed above");
            Status::Unsupported
        }
    }
}

/// Says where the core is.
pub(crate) fn core(path: &Path) {
    say(&format!("memory and processors are in {}", path.display()));
}

fn say(sentence: &str) {
    tell!("viridian: {sentence}");
}

fn crash(report: &CrashReport) {
    let parameters: Vec<String> = report.parameters.iter().map(|value| format!("{value:#x}")).collect();
    say(&format!("the guest reported a crash: {}", parameters.join(" ")));
    if let Some(message) = &report.message {
        let text = String::from_utf8_lossy(message);
        for line in text.trim_end_matches('\0').lines() {
            tell!("  {}", harmless(line));
        }
    }
}

/// Prints what the guest did, over all VPs.
///
/// # Errors
/// If standard error does not take it.
pub(crate) fn statistics(vps: &[Vp], ticks: u64, frequency: u64) -> Result<(), Refusal> {
    let mut sum = Statistics::default();
    for statistics in vps.iter().filter_map(Vp::statistics) {
        sum.add(&statistics);
    }
    let seconds = ticks as f64 / frequency as f64;
    page(&format!(
        "-- {} virtual processors, {seconds:.3} s of guest time\n{}",
        vps.len(),
        sum.to_string().trim_end()
    ))
}

/// Prints what somebody asked for.
///
/// # Errors
/// If standard error does not take it, unless that is because its reader has left, who wants no more.
pub(crate) fn page(text: &str) -> Result<(), Refusal> {
    match io::stderr().write_all(format!("{text}\n").as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Refusal::StandardError(error)),
        _ => Ok(()),
    }
}

/// Says that a trace has holes.
pub(crate) fn lost_events(count: u64) {
    if count != 0 {
        say(&format!("the trace lacks {count} events that its file could not take in time"));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said at the end of a run, on standard error: standard output is the guest's.

use hypervisor::{CrashReport, Statistics, Vp};

use super::ending::End;
use crate::status::Status;

/// Says how the run ended, where there is something to say, and gives the exit status.
pub(crate) fn end(end: &End) -> Status {
    match end {
        End::PowerOff => Status::Done,
        End::DebugExit(0) => Status::Done,
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
            Status::TripleFault
        }
        End::Unsupported(what) => {
            say(&format!("the guest needs something that this build does not have: {what}"));
            Status::Unsupported
        }
        End::Quit => {
            say("ended from the console");
            Status::Done
        }
        End::Broken => {
            say("a bug ended the run; please report what was printed above");
            Status::Unsupported
        }
    }
}

fn say(sentence: &str) {
    eprintln!("viridian: {sentence}");
}

fn crash(report: &CrashReport) {
    let parameters: Vec<String> = report.parameters.iter().map(|value| format!("{value:#x}")).collect();
    say(&format!("the guest reported a crash: {}", parameters.join(" ")));
    if let Some(message) = &report.message {
        let text = String::from_utf8_lossy(message);
        // A guest chooses these bytes: nothing in them may steer the terminal.
        for line in text.trim_end_matches('\0').lines() {
            eprintln!("  {}", line.escape_debug());
        }
    }
}

/// Prints what the guest did, over all VPs.
pub(crate) fn statistics(vps: &[Vp], ticks: u64, frequency: u64) {
    let mut sum = Statistics::default();
    for statistics in vps.iter().filter_map(Vp::statistics) {
        sum.add(&statistics);
    }
    eprintln!("-- {} virtual processors, {:.3} s of guest time", vps.len(), ticks as f64 / frequency as f64);
    eprint!("{sum}");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask soak`: processes, pipes, compression and signals on two VPs for minutes, while the memory that the command takes is watched.

use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use clap::Args;
use loader::debian::{Flavour, Mode, Suite};

use crate::machine::{self, Trouble};

/// How long, and how wide.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Number of VPs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { minutes: 10, cpus: 2 }
    }
}

/// How much more memory the command may have at the end than after a quarter of the time: caches of a run are full by then.
const GROWTH: f64 = 1.05;

/// What the guest does: each round checks what it did, and a wrong one ends the run with a status.
const SCRIPT: &str = include_str!("soak.sh");

/// Runs it.
pub(crate) fn run(repository: &Path, options: &Options) -> Result<(), Trouble> {
    let viridian = machine::build(repository)?;
    let kernel = machine::fetch(Suite::Bookworm, Flavour::Cloud)?;
    let script = format!("SECONDS_TO_RUN={}\n{SCRIPT}", options.minutes * 60);
    let initrd = machine::initrd(repository, "soak", &kernel, &Mode::Commands(script))?;
    let mut command = machine::command(&viridian, &kernel.kernel, &initrd, options.cpus);
    let mut child = command.spawn().map_err(|error| Trouble::Failed(error.to_string()))?;
    let (output, errors) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let samples = watch(&mut child, Duration::from_secs(60 * u64::from(options.minutes)))?;
    let (output, errors) = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
    let judged = judge(&output, &samples);
    if judged.is_err() {
        let log = repository.join("target/kernels/failed-soak.log");
        let _ = std::fs::write(log, format!("{output}\n{errors}"));
    }
    let rounds = output.lines().filter_map(|line| line.strip_prefix("round ")).next_back().unwrap_or("0");
    let rounds: String = rounds.chars().take_while(char::is_ascii_digit).collect();
    println!("{rounds} rounds; resident memory {} kB at the end", samples.last().unwrap_or(&0));
    judged.map_err(Trouble::Failed)
}

fn reader(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).replace('\r', "")
    })
}

/// Waits for the end, and gives what the process had resident, in kB, every second. A guest that takes three times as long as it should, and
/// some minutes for its boot, hangs.
fn watch(child: &mut Child, expected: Duration) -> Result<Vec<u64>, Trouble> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| Trouble::Failed(error.to_string()))? {
            return if status.success() {
                Ok(samples)
            } else {
                Err(Trouble::Failed(format!("the command ended with {status}")))
            };
        }
        if begun.elapsed() > 3 * expected + Duration::from_secs(300) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Trouble::Failed("the guest hangs".to_owned()));
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        samples.extend(resident(&status));
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// VmRSS of a process status, in kB.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn judge(output: &str, samples: &[u64]) -> Result<(), String> {
    let complaints = machine::complaints(output);
    if !complaints.is_empty() {
        return Err(complaints.join(" | "));
    }
    if !output.contains("== The commands ended with status 0") {
        return Err(format!(
            "the guest found an error: {:?}",
            output.lines().rev().take(5).collect::<Vec<_>>()
        ));
    }
    let (Some(&early), Some(&late)) = (samples.get(samples.len() / 4), samples.last()) else {
        return Err("it was over before its memory was looked at".to_owned());
    };
    if late as f64 > early as f64 * GROWTH {
        return Err(format!("memory grew from {early} kB to {late} kB"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_errors_are_seen() {
        let good = "round 5\n== The commands ended with status 0\n";
        assert_eq!(judge(good, &[10, 100, 100, 104]), Ok(()));
        assert!(judge(good, &[10, 100, 100, 106]).is_err());
        assert!(judge("== The commands ended with status 1\n", &[1, 1]).is_err());
        assert!(judge(&format!("{good}WARNING: x"), &[1, 1]).is_err());
        assert_eq!(resident("Name:\tx\nVmRSS:\t  1234 kB\n"), Some(1234));
    }
}

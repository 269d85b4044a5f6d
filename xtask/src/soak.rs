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

/// How much more memory of its own the command may have at the end than after a quarter of the time: caches of a run are full by then. What the guest has
/// touched of its memory is the guest's affair, and grows as its kernel hands out pages that were not used before.
const GROWTH: f64 = 1.05;
/// Mappings that are larger than this, in kB, are the guest's memory: nothing else comes near it.
const GUEST_MEMORY: u64 = 256 << 10;

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
    let last = samples.last().copied().unwrap_or_default();
    println!(
        "{rounds} rounds; resident at the end: {} kB of the command's own, {} kB of the guest's",
        last.own, last.guest
    );
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

/// Resident memory of the command, in kB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Resident {
    own: u64,
    guest: u64,
}

/// Waits for the end, and gives what the process had resident every second. A guest that takes three times as long as it should, and
/// some minutes for its boot, hangs.
fn watch(child: &mut Child, expected: Duration) -> Result<Vec<Resident>, Trouble> {
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
        let mappings = std::fs::read_to_string(format!("/proc/{}/smaps", child.id())).unwrap_or_default();
        samples.extend(resident(&mappings));
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What the mappings of a process have resident (`/proc/PID/smaps`); `None` of a process that is over.
fn resident(mappings: &str) -> Option<Resident> {
    let field = |line: &str, name: &str| -> Option<u64> {
        line.strip_prefix(name)?.trim().trim_end_matches("kB").trim().parse().ok()
    };
    let (mut resident, mut size) = (Resident::default(), 0);
    for line in mappings.lines() {
        if let Some(kilobytes) = field(line, "Size:") {
            size = kilobytes;
        } else if let Some(kilobytes) = field(line, "Rss:") {
            let whose = if size > GUEST_MEMORY { &mut resident.guest } else { &mut resident.own };
            *whose += kilobytes;
        }
    }
    (resident.own != 0).then_some(resident)
}

fn judge(output: &str, samples: &[Resident]) -> Result<(), String> {
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
    if late.own as f64 > early.own as f64 * GROWTH {
        return Err(format!("the command's own memory grew from {} kB to {} kB", early.own, late.own));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_errors_are_seen() {
        let good = "round 5\n== The commands ended with status 0\n";
        let samples = |own: [u64; 4]| own.map(|own| Resident { own, guest: 1000 * own });
        assert_eq!(judge(good, &samples([10, 100, 100, 104])), Ok(()));
        assert!(judge(good, &samples([10, 100, 100, 106])).is_err());
        assert!(judge("== The commands ended with status 1\n", &samples([1; 4])).is_err());
        assert!(judge(&format!("{good}WARNING: x"), &samples([1; 4])).is_err());
    }

    #[test]
    fn the_guests_memory_is_told_from_the_commands() {
        let mappings = "7f00-7f01 rw-p 0 00:00 0\nSize:  1048452 kB\nRss:  119400 kB\nRssOther: 5 kB\n\
                        7f02-7f03 r-xp 0 00:00 0\nSize:  16756 kB\nRss:  16000 kB\nPss:  8 kB\n\
                        7f04-7f05 rw-p 0 00:00 0\nSize:  4 kB\nRss:  4 kB\n";
        assert_eq!(resident(mappings), Some(Resident { own: 16004, guest: 119400 }));
        assert_eq!(resident(""), None);
    }
}

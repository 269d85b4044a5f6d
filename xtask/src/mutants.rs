// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutants: do the tests of the rooms that serve the interface notice when their code is changed? cargo-mutants changes it, in a sample
//! that is the same every time, and the tests of the room run against each change.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::long::Outcome;

/// The rooms.
pub(crate) const ROOMS: [&str; 2] = ["hypercall", "hypervisor"];

/// About so many mutants of both rooms together are tried.
const SAMPLE: usize = 150;
/// At least this share of those that build must be noticed, in percent.
const NOTICED: usize = 85;

/// Tries a room's share of the sample.
pub(crate) fn check(repository: &Path, room: &str) -> Outcome {
    let (Ok(all), Ok(of_room)) = (list(repository, &ROOMS), list(repository, &[room])) else {
        return Outcome::Skipped("no cargo-mutants (cargo install --locked cargo-mutants)".to_owned());
    };
    let shards = all.div_ceil(SAMPLE).max(1);
    println!("{of_room} mutants of {room}, of which shard 0 of {shards} is tried");
    let output = repository.join("target/mutants").join(room);
    let made = std::fs::create_dir_all(&output);
    let mut command = mutants(repository, &[room]);
    command.args(["--shard", &format!("0/{shards}"), "--sharding", "round-robin", "--output"]).arg(&output);
    // Its status says that there are survivors; what counts is how many.
    if let Err(error) = made.and_then(|()| command.status().map(drop)) {
        return Outcome::Failed(error.to_string());
    }
    let lines = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(output.join("mutants.out").join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    // One that makes a test hang is noticed, too.
    let noticed = lines("caught.txt").len() + lines("timeout.txt").len();
    judge(noticed, &lines("missed.txt"))
}

fn judge(noticed: usize, missed: &[String]) -> Outcome {
    let tried = noticed + missed.len();
    for survivor in missed {
        println!("survives: {survivor}");
    }
    println!("{noticed} of {tried} noticed");
    if tried == 0 {
        Outcome::Failed("no mutant was tried".to_owned())
    } else if noticed * 100 >= tried * NOTICED {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{noticed} of {tried} noticed, and {NOTICED} in 100 should be"))
    }
}

fn mutants(repository: &Path, rooms: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(repository).arg("mutants").stdin(Stdio::null());
    for room in rooms {
        command.args(["--package", &format!("openviridian-{room}")]);
    }
    command
}

/// How many mutants there are.
fn list(repository: &Path, rooms: &[&str]) -> Result<usize, ()> {
    let output = mutants(repository, rooms).arg("--list").stderr(Stdio::null()).output().map_err(drop)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).lines().count())
    } else {
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_counted() {
        let missed = |count| vec![String::new(); count];
        assert!(matches!(judge(85, &missed(15)), Outcome::Passed));
        assert!(matches!(judge(84, &missed(16)), Outcome::Failed(_)));
        assert!(matches!(judge(0, &[]), Outcome::Failed(_)));
    }
}

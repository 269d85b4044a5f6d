// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutants: do the tests of the rooms that serve the interface notice when their code is changed? cargo-mutants changes a copy of it, in a
//! sample that is the same every time, and the tests of the room run against each change. Which survivors nothing could notice, and why, is
//! in tests/mutants.tsv.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::long::Outcome;

/// The rooms.
pub(crate) const ROOMS: [&str; 2] = ["hypercall", "hypervisor"];

/// About so many mutants of both rooms together are tried.
const SAMPLE: usize = 150;
/// At least this share of those that build must be noticed, in percent.
const NOTICED: usize = 85;
/// What only tests and fuzzers are built with: a change there changes what looks on, not what is looked at.
const LOOKS_ON: [&str; 3] = ["fuzz.rs", "sandbox.rs", "fuzz/*.rs"];
/// Seconds that the tests of a room may take, which take three on a computer with nothing else to do.
const PATIENCE: &str = "60";
/// cargo-mutants' exit statuses when it has tried every mutant: all noticed, some survived, some made a test hang.
const TRIED_ALL: [i32; 3] = [0, 2, 3];

/// Tries a room's share of the sample.
pub(crate) fn check(repository: &Path, room: &str) -> Outcome {
    let version = Command::new("cargo").args(["mutants", "--version"]).output();
    if !version.is_ok_and(|version| version.status.success()) {
        return Outcome::Skipped("no cargo-mutants (cargo install --locked cargo-mutants)".to_owned());
    }
    let (Ok(all), Ok(of_room)) = (list(repository, &ROOMS), list(repository, &[room])) else {
        return Outcome::Failed("cargo-mutants finds no mutants: cargo mutants --list".to_owned());
    };
    let shards = all.div_ceil(SAMPLE).max(1);
    println!("{of_room} mutants of {room}, of which shard 0 of {shards} is tried");
    match attempt(repository, room, shards) {
        Ok(tried) => judge(&tried, &Explained::read(repository)),
        Err(error) => Outcome::Failed(error),
    }
}

/// What became of the mutants, in cargo-mutants' words: `FILE:LINE:COLUMN: change`.
#[derive(Default)]
struct Tried {
    noticed: Vec<String>,
    /// One that makes a test hang is noticed, too.
    hung: Vec<String>,
    missed: Vec<String>,
    does_not_build: Vec<String>,
}

fn attempt(repository: &Path, room: &str, shards: usize) -> Result<Tried, String> {
    let output = repository.join("target/mutants").join(room);
    fs::create_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
    let mut command = mutants(repository, &[room]);
    command.args(["--shard", &format!("0/{shards}"), "--sharding", "round-robin"]);
    // To build it anew takes most of the time, and less if nothing is optimised.
    for setting in ["opt-level=0", "debug=false"] {
        let setting = format!("--config=profile.dev.package.openviridian-{room}.{setting}");
        command.args(["--cargo-arg", &setting]);
    }
    command.args(["--minimum-test-timeout", PATIENCE, "--output"]).arg(&output);
    let status = command.status().map_err(|error| error.to_string())?;
    if !status.code().is_some_and(|code| TRIED_ALL.contains(&code)) {
        return Err(format!("{command:?}: {status}"));
    }
    let lines = |file: &str| -> Result<Vec<String>, String> {
        let file = output.join("mutants.out").join(file);
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    Ok(Tried {
        noticed: lines("caught.txt")?,
        hung: lines("timeout.txt")?,
        missed: lines("missed.txt")?,
        does_not_build: lines("unviable.txt")?,
    })
}

fn judge(tried: &Tried, explained: &Explained) -> Outcome {
    for survivor in &tried.missed {
        match explained.reason(survivor) {
            Some(reason) => println!("survives: {survivor}\n  {reason}"),
            None => println!("survives: {survivor}"),
        }
    }
    let noticed = tried.noticed.len() + tried.hung.len();
    let counted = noticed + tried.missed.len();
    let (hung, does_not_build) = (tried.hung.len(), tried.does_not_build.len());
    println!(
        "{noticed} of {counted} noticed, {hung} of them by a test that hangs; {does_not_build} more do not build"
    );
    if counted == 0 {
        Outcome::Failed("no mutant was tried".to_owned())
    } else if noticed * 100 >= counted * NOTICED {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{noticed} of {counted} noticed, and {NOTICED} in 100 should be"))
    }
}

/// Why survivors survive: lines of `FILE: change`, a tab, and the reason.
struct Explained(String);

impl Explained {
    const FILE: &str = "tests/mutants.tsv";

    fn read(repository: &Path) -> Self {
        Self(fs::read_to_string(repository.join(Self::FILE)).unwrap_or_default())
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_once('\t').unwrap_or((line, "")))
    }

    /// The reason for a survivor, wherever in its file it is.
    fn reason(&self, survivor: &str) -> Option<&str> {
        let (file, place) = survivor.split_once(':')?;
        let (_, change) = place.split_once(": ")?;
        let wanted = format!("{file}: {change}");
        self.entries().find(|(mutant, _)| *mutant == wanted).map(|(_, reason)| reason)
    }
}

fn mutants(repository: &Path, rooms: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(repository).arg("mutants").stdin(Stdio::null());
    for room in rooms {
        command.args(["--package", &format!("openviridian-{room}")]);
        for path in LOOKS_ON {
            command.args(["--exclude", &format!("crates/{room}/src/{path}")]);
        }
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

    fn judged(noticed: usize, hung: usize, missed: usize) -> Outcome {
        let mutants = |count| vec![String::new(); count];
        let tried = Tried {
            noticed: mutants(noticed),
            hung: mutants(hung),
            missed: mutants(missed),
            does_not_build: mutants(9),
        };
        judge(&tried, &Explained(String::new()))
    }

    #[test]
    fn survivors_are_counted() {
        assert!(matches!(judged(85, 0, 15), Outcome::Passed));
        assert!(matches!(judged(80, 5, 15), Outcome::Passed));
        assert!(matches!(judged(84, 0, 16), Outcome::Failed(_)));
        assert!(matches!(judged(0, 0, 0), Outcome::Failed(_)));
    }

    #[test]
    fn a_reason_is_found_wherever_the_line_moved() {
        let explained =
            Explained("# why\na/b.rs: replace < with <= in f\tThey are never equal.\n".to_owned());
        let reason = explained.reason("a/b.rs:17:4: replace < with <= in f");
        assert_eq!(reason, Some("They are never equal."));
        assert_eq!(explained.reason("a/b.rs:17:4: replace < with == in f"), None);
    }

    #[test]
    fn reasons_are_given_once_each_for_files_that_exist() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it has one");
        let explained = Explained::read(repository);
        let mut seen = std::collections::HashSet::new();
        for (mutant, reason) in explained.entries() {
            let (file, _) = mutant.split_once(": ").expect("FILE: change");
            assert!(repository.join(file).is_file(), "{mutant}");
            assert!(reason.ends_with('.'), "{mutant}");
            assert!(seen.insert(mutant), "{mutant} is there twice");
        }
        assert!(repository.join(Explained::FILE).is_file());
    }
}

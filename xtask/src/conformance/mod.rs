// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask conformance`: which behaviours of the specification are proven, by running what claims to prove them
//! (docs/conformance.md).

mod behaviour;
mod claims;
mod evidence;
mod tables;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use behaviour::{Behaviour, ids};
use evidence::{Evidence, Verdict};
use tables::{CHAPTERS, Tables};

/// Guest programs whose checks are counted.
const GUESTS: [&str; 1] = ["conformance"];

/// How much is done.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run nothing: only look whether claims and tables fit together
    #[arg(long)]
    quick: bool,
    /// Take what is proven now as what must stay proven (tests/conformance/proven.txt)
    #[arg(long, conflicts_with = "quick")]
    accept: bool,
    /// Only write the guest program with the checks to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "accept"])]
    guest: Option<PathBuf>,
}

/// Why behaviours could not be counted, or what is wrong with the count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot read the sources: {0}")]
    Sources(io::Error),
    #[error("{0}")]
    Table(String),
    #[error(transparent)]
    Unnamed(#[from] claims::Unnamed),
    #[error("cannot start a program: {0}")]
    Start(io::Error),
    #[error("{0} failed")]
    Build(String),
    #[error("cargo does not say where it built the command")]
    NoCommand,
    #[error("a guest program of GUESTS is not built")]
    NoGuest,
    #[error("{0}")]
    Wrong(String),
}

/// What is claimed, by whom, and what the tables say.
struct Claims {
    tables: Tables,
    tests: Vec<claims::Test>,
    guests: Vec<(&'static str, BTreeSet<Behaviour>)>,
}

impl Claims {
    /// Reads tables and sources.
    ///
    /// # Errors
    /// Also if they do not fit together: then the text has a line for each mistake.
    fn read(repository: &Path) -> Result<Self, Error> {
        let tables = Tables::read(repository)?;
        let tests = claims::of_tests(repository).map_err(Error::Sources)?;
        let mut guests = Vec::new();
        for name in GUESTS {
            let folder = repository.join("guests").join(name);
            guests.push((name, claims::of_guest(&folder).map_err(Error::Sources)??));
        }
        let claims = Self { tables, tests, guests };
        let mut mistakes = claims.tables.mistakes();
        let claimed = claims.claimed();
        for id in claims.tables.proven.difference(&claimed) {
            mistakes.push(format!("{id} was proven, and nothing claims to prove it any more"));
        }
        for file in claims::rust_files(repository).map_err(Error::Sources)? {
            let text = std::fs::read_to_string(&file).map_err(Error::Sources)?;
            // The tests of this task name ids as they like.
            let own = file.starts_with(repository.join("xtask"));
            for id in ids(&text).filter(|id| !own && !claims.tables.all.contains(id)) {
                mistakes.push(format!("{} names {id}, which is no behaviour", file.display()));
            }
        }
        if mistakes.is_empty() { Ok(claims) } else { Err(Error::Wrong(mistakes.join("\n"))) }
    }

    /// Every behaviour that anybody claims.
    fn claimed(&self) -> BTreeSet<Behaviour> {
        let tests = self.tests.iter().flat_map(|test| &test.proves);
        tests.chain(self.guests.iter().flat_map(|(_, proves)| proves)).copied().collect()
    }
}

/// Counts, and compares with what was proven before.
///
/// # Errors
/// If something that was proven no longer is, if something that claims to prove fails, or if the tables do not fit.
pub(crate) fn run(repository: &Path, options: &Options) -> Result<(), Error> {
    if let Some(path) = &options.guest {
        let file = |source| Error::File { path: path.clone(), source };
        return std::fs::write(path, guest_programs::CONFORMANCE).map_err(file);
    }
    let claims = Claims::read(repository)?;
    if options.quick {
        println!("{}", table(&claims.tables, &claims.claimed(), "claimed"));
        return Ok(());
    }
    let evidence = evidence::gather(repository, &claims.tests, &claims.guests)?;
    let proven = proven(&evidence);
    println!("{}", table(&claims.tables, &proven, "proven"));
    for (id, who) in &evidence {
        for (who, verdict) in who.iter().filter(|(_, verdict)| *verdict != Verdict::Passed) {
            println!("{id} {verdict:?}: {who}");
        }
    }
    println!("{}", open_ids(&claims.tables, &proven));
    let proven: BTreeSet<Behaviour> = proven.into_iter().filter(is_counted).collect();
    let mut wrong: Vec<String> = claims
        .tables
        .proven
        .difference(&proven)
        .map(|id| format!("{id} was proven, and is not any more"))
        .collect();
    for (id, who) in &evidence {
        let failed = who.iter().filter(|(_, verdict)| *verdict == Verdict::Failed);
        wrong.extend(failed.map(|(who, _)| format!("{id}: {who} fails")));
    }
    for id in proven
        .iter()
        .filter(|id| claims.tables.argued.contains_key(id) || claims.tables.waiting.contains_key(id))
    {
        wrong.push(format!("{id} is proven, so it neither is argued nor waits"));
    }
    if !wrong.is_empty() {
        return Err(Error::Wrong(wrong.join("\n")));
    }
    let new: Vec<String> = proven.difference(&claims.tables.proven).map(Behaviour::to_string).collect();
    if options.accept {
        Tables::accept(repository, &proven)?;
    } else if !new.is_empty() {
        println!("newly proven, not yet kept (--accept keeps them): {}", new.join(" "));
    }
    Ok(())
}

/// Behaviours that somebody claims to prove, and all who do ran and passed.
fn proven(evidence: &Evidence) -> BTreeSet<Behaviour> {
    let passed = |who: &Vec<(String, Verdict)>| who.iter().all(|(_, verdict)| *verdict == Verdict::Passed);
    evidence.iter().filter(|(_, who)| !who.is_empty() && passed(who)).map(|(id, _)| *id).collect()
}

fn is_counted(id: &Behaviour) -> bool {
    CHAPTERS.iter().any(|(chapter, _)| *chapter == id.chapter)
}

/// The counts by chapter; `proven` go under `heading`.
fn table(tables: &Tables, proven: &BTreeSet<Behaviour>, heading: &str) -> String {
    let mut text = format!("{:26} {heading:>8} argued waiting open  all\n", "chapter");
    let mut sums = [0; 5];
    for (chapter, title) in CHAPTERS {
        let counts = counts(tables, proven, |id| id.chapter == chapter);
        text += &row(&format!("{chapter:>2} {title}"), counts);
        sums = std::array::from_fn(|index| sums[index] + counts[index]);
    }
    text + &row("   together", sums)
}

fn row(name: &str, [proven, argued, waiting, open, all]: [usize; 5]) -> String {
    format!("{name:26} {proven:>8} {argued:>6} {waiting:>7} {open:>4} {all:>4}\n")
}

/// Proven, argued, waiting, open and all of the chosen behaviours.
fn counts(tables: &Tables, proven: &BTreeSet<Behaviour>, chosen: impl Fn(&Behaviour) -> bool) -> [usize; 5] {
    let mut counts = [0; 5];
    for id in tables.all.iter().filter(|id| chosen(id)) {
        let place = if proven.contains(id) {
            0
        } else if tables.argued.contains_key(id) {
            1
        } else if tables.waiting.contains_key(id) {
            2
        } else {
            3
        };
        counts[place] += 1;
        counts[4] += 1;
    }
    counts
}

/// What nobody proves, argues or waits for, chapter by chapter.
fn open_ids(tables: &Tables, proven: &BTreeSet<Behaviour>) -> String {
    let mut text = String::new();
    for (chapter, _) in CHAPTERS {
        let open = tables
            .all
            .iter()
            .filter(|id| id.chapter == chapter && counts(tables, proven, |other| other == *id)[3] == 1);
        let open: Vec<String> = open.map(Behaviour::to_string).collect();
        if !open.is_empty() {
            text += &format!("open in chapter {chapter}: {}\n", open.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        crate::repository()
    }

    /// What CI runs of this task: claims can be read, their ids exist, and what was proven is still claimed.
    #[test]
    fn claims_and_tables_fit_together() {
        let claims = Claims::read(&repository()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(claims.tables.all.iter().filter(|id| is_counted(id)).count(), 439);
        assert!(claims.claimed().len() > 150, "claims are overlooked: {}", claims.claimed().len());
    }

    #[test]
    fn one_who_fails_is_enough() {
        let id = |number| Behaviour::parse(&format!("B02.00{number}")).expect("an id");
        let who =
            |verdicts: &[Verdict]| verdicts.iter().map(|verdict| ("x".to_owned(), verdict.clone())).collect();
        let evidence = [
            (id(1), who(&[Verdict::Passed, Verdict::Passed])),
            (id(2), who(&[Verdict::Passed, Verdict::Failed])),
            (id(3), who(&[Verdict::Passed, Verdict::Skipped])),
            (id(4), who(&[Verdict::DidNotRun])),
        ];
        assert_eq!(proven(&evidence.into()), [id(1)].into());
    }
}

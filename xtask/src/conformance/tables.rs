// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables by which behaviours are counted: the inventory's ids, and what `tests/conformance` says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::Error;
use super::behaviour::Behaviour;

/// Chapters that are counted, and their titles in our words. Chapter 1 introduces; 15 and 16 have their own issues to come.
pub(crate) const CHAPTERS: [(u8, &str); 13] = [
    (2, "discovery"),
    (3, "hypercall interface"),
    (4, "partitions"),
    (5, "guest-physical spaces"),
    (6, "intercepts"),
    (7, "processors, managed"),
    (8, "processors, executing"),
    (9, "memory management unit"),
    (10, "interrupts"),
    (11, "messages and events"),
    (12, "timers"),
    (13, "message formats"),
    (14, "scheduler"),
];

/// At most so many behaviours may be argued rather than tested.
pub(crate) const MOST_ARGUED: usize = 25;
/// At most so many may wait for what is not built yet.
pub(crate) const MOST_WAITING: usize = 15;

/// What a behaviour may wait for.
const AWAITED: [&str; 3] = ["VTL 1", "nested", "root partition"];

/// The file of the ratchet, from the top of the repository.
const PROVEN: &str = "tests/conformance/proven.txt";

/// What is known of behaviours without running anything.
pub(crate) struct Tables {
    /// Every behaviour of every chapter.
    pub(crate) all: BTreeSet<Behaviour>,
    /// What cannot be observed, and why.
    pub(crate) argued: BTreeMap<Behaviour, String>,
    /// What it waits for.
    pub(crate) waiting: BTreeMap<Behaviour, String>,
    /// What was proven when the ratchet last moved.
    pub(crate) proven: BTreeSet<Behaviour>,
}

impl Tables {
    pub(crate) fn read(repository: &Path) -> Result<Self, Error> {
        let inventory = read(repository, "tests/inventory/behaviours.tsv")?;
        let first = |line: &str| Behaviour::parse(line.split('\t').next()?);
        let all = inventory.lines().skip(1).filter_map(first).collect();
        let argued = table(repository, "tests/conformance/argued.tsv")?;
        let waiting = table(repository, "tests/conformance/waiting.tsv")?;
        let proven = read(repository, PROVEN)?;
        let parse = |line: &str| {
            Behaviour::parse(line).ok_or_else(|| Error::Table(format!("{PROVEN}: {line:?} is no id")))
        };
        let proven = proven.lines().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { all, argued, waiting, proven })
    }

    /// What is wrong with the tables themselves, a sentence each.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let lists = [("argued.tsv", &self.argued), ("waiting.tsv", &self.waiting)];
        for (file, list) in lists {
            for id in list.keys() {
                if !self.all.contains(id) {
                    mistakes.push(format!("{file}: {id} is no behaviour"));
                }
                if self.proven.contains(id) {
                    mistakes.push(format!("{file}: {id} is proven, so it does not belong here"));
                }
            }
        }
        for id in self.proven.iter().filter(|id| !self.all.contains(id)) {
            mistakes.push(format!("proven.txt: {id} is no behaviour"));
        }
        for id in self.argued.keys().filter(|id| self.waiting.contains_key(id)) {
            mistakes.push(format!("{id} is argued and waits"));
        }
        for (id, why) in self.argued.iter().filter(|(_, why)| why.split_whitespace().count() < 5) {
            mistakes.push(format!("argued.tsv: {id}: {why:?} does not say what makes it unobservable"));
        }
        for (id, what) in self.waiting.iter().filter(|(_, what)| !AWAITED.contains(&what.as_str())) {
            mistakes.push(format!("waiting.tsv: {id} waits for {what:?}, which is none of {AWAITED:?}"));
        }
        for (file, count, most) in [
            ("argued.tsv", self.argued.len(), MOST_ARGUED),
            ("waiting.tsv", self.waiting.len(), MOST_WAITING),
        ] {
            if count > most {
                mistakes.push(format!("{file}: {count} rows, but at most {most} are allowed"));
            }
        }
        mistakes
    }

    /// Moves the ratchet.
    pub(crate) fn accept(repository: &Path, proven: &BTreeSet<Behaviour>) -> Result<(), Error> {
        let text: String = proven.iter().map(|id| format!("{id}\n")).collect();
        let path = repository.join(PROVEN);
        fs::write(&path, text).map_err(|source| Error::File { path, source })
    }
}

fn read(repository: &Path, file: &str) -> Result<String, Error> {
    let path = repository.join(file);
    fs::read_to_string(&path).map_err(|source| Error::File { path, source })
}

/// A table of an id and a text, below a header.
fn table(repository: &Path, file: &str) -> Result<BTreeMap<Behaviour, String>, Error> {
    let text = read(repository, file)?;
    let mut rows = BTreeMap::new();
    for line in text.lines().skip(1) {
        let row = line.split_once('\t').and_then(|(id, rest)| Some((Behaviour::parse(id)?, rest)));
        let (id, rest) = row.ok_or_else(|| Error::Table(format!("{file}: {line:?} is no id and text")))?;
        if rows.insert(id, rest.to_owned()).is_some() {
            return Err(Error::Table(format!("{file}: {id} stands there twice")));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_seen() {
        let id = |number| Behaviour::parse(&format!("B02.00{number}")).expect("an id");
        let tables = Tables {
            all: (1..=5).map(id).collect(),
            argued: [
                (id(1), "nobody can see".to_owned()),
                (id(6), "it is not even a behaviour here".to_owned()),
            ]
            .into(),
            waiting: [(id(1), "VTL 1".to_owned()), (id(2), "better times".to_owned())].into(),
            proven: [id(2), id(7)].into(),
        };
        let mistakes = tables.mistakes();
        for part in [
            "argued.tsv: B02.006 is no behaviour",
            "waiting.tsv: B02.002 is proven",
            "proven.txt: B02.007 is no behaviour",
            "B02.001 is argued and waits",
            "does not say what makes it unobservable",
            "\"better times\", which is none of",
        ] {
            assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{part}: {mistakes:#?}");
        }
        assert_eq!(mistakes.len(), 6, "{mistakes:#?}");
    }
}

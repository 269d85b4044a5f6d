// SPDX-License-Identifier: MIT OR Apache-2.0
//! What two runs of the guest say of each behaviour, where they differ, and the page that explains it.

use std::collections::BTreeMap;
use std::fmt;

/// What a run says of a behaviour: the worst of its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Every check passed.
    Passed,
    /// Some could not be made.
    Skipped,
    /// One failed.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "ok",
            Self::Skipped => "skip",
            Self::Failed => "FAIL",
        })
    }
}

/// The verdicts of a run, by behaviour.
pub(crate) fn verdicts(output: &str) -> BTreeMap<String, Verdict> {
    let mut verdicts: BTreeMap<String, Verdict> = BTreeMap::new();
    for line in output.lines() {
        let (verdict, rest) = match line.split_once(' ') {
            Some(("ok", rest)) => (Verdict::Passed, rest),
            Some(("FAIL", rest)) => (Verdict::Failed, rest),
            Some(("skip", rest)) => (Verdict::Skipped, rest),
            _ => continue,
        };
        for id in
            rest.split_whitespace().map(|word| word.trim_end_matches(',')).take_while(|word| is_id(word))
        {
            let worst = verdicts.entry(id.to_owned()).or_insert(verdict);
            *worst = (*worst).max(verdict);
        }
    }
    verdicts
}

fn is_id(word: &str) -> bool {
    word.len() == 7 && word.starts_with('B') && word.as_bytes()[3] == b'.'
}

/// A behaviour of which the two sides say different things.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) id: String,
    /// `None` if that side does not say anything: it came to no such check.
    pub(crate) ours: Option<Verdict>,
    pub(crate) theirs: Option<Verdict>,
}

/// A verdict, or that there is none.
fn shown(verdict: Option<Verdict>) -> String {
    verdict.map_or_else(|| "none".to_owned(), |verdict| verdict.to_string())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: here {}, KVM {}", self.id, shown(self.ours), shown(self.theirs))
    }
}

/// Every difference.
pub(crate) fn differences(
    ours: &BTreeMap<String, Verdict>,
    theirs: &BTreeMap<String, Verdict>,
) -> Vec<Difference> {
    let mut ids: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    ids.sort();
    ids.dedup();
    let differ = |id: &String| (ours.get(id) != theirs.get(id)).then(|| (ours.get(id), theirs.get(id)));
    ids.into_iter()
        .filter_map(|id| {
            let (ours, theirs) = differ(id)?;
            Some(Difference { id: id.clone(), ours: ours.copied(), theirs: theirs.copied() })
        })
        .collect()
}

/// A row of the page: `| B02.007 | FAIL | deviates | why |`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) id: String,
    /// What KVM's side says: `ok`, `FAIL`, `skip` or `none`.
    theirs: String,
    /// One of [`KINDS`].
    pub(crate) kind: String,
    pub(crate) why: String,
}

/// Kinds of differences: KVM lacks it, KVM deviates, we were wrong, or the machine below KVM is to blame.
const KINDS: [&str; 4] = ["lacks", "deviates", "ours", RIG];
const RIG: &str = "rig";

impl Explanation {
    /// Whether this is what it explains. What the rig is to blame for looks now so, now otherwise.
    pub(crate) fn explains(&self, difference: &Difference) -> bool {
        self.id == difference.id && (self.kind == RIG || self.theirs == shown(difference.theirs))
    }

    /// Whether there must be such a difference.
    pub(crate) fn is_lasting(&self) -> bool {
        self.kind != RIG
    }
}

/// The rows of the page.
pub(crate) fn explanations(page: &str) -> Vec<Explanation> {
    page.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
            let [id, theirs, kind, why] = cells[..] else { return None };
            (is_id(id) && KINDS.contains(&kind)).then(|| Explanation {
                id: id.to_owned(),
                theirs: theirs.to_owned(),
                kind: kind.to_owned(),
                why: why.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_and_explained() {
        let ours = verdicts("ok   B02.001, B02.002 both\nok   B02.003    x\nok   B02.004    x\n");
        let theirs =
            verdicts("ok   B02.001    x\nFAIL B02.001    y\nskip B02.003    no\nok   B02.004    x\n");
        let found = differences(&ours, &theirs);
        let shown: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            shown,
            ["B02.001: here ok, KVM FAIL", "B02.002: here ok, KVM none", "B02.003: here ok, KVM skip"]
        );
        let page = "| id | KVM | kind | why |\n|---|---|---|---|\n| B02.001 | FAIL | deviates | because |\n| B02.003 | ok | lacks | x |";
        let explained = explanations(page);
        assert_eq!(explained.len(), 2);
        assert!(explained[0].explains(&found[0]) && !explained[1].explains(&found[2]));
    }

    /// The page itself is read; each row names a behaviour that the guest checks.
    #[test]
    fn the_page_is_understood() {
        let page = std::fs::read_to_string(crate::repository().join("docs/reference.md")).expect("the page");
        let begins_with_id =
            |line: &&str| line.strip_prefix("| ").and_then(|rest| rest.get(..7)).is_some_and(is_id);
        let rows = page.lines().filter(begins_with_id).count();
        assert!(rows > 30);
        assert_eq!(explanations(&page).len(), rows, "each row has id, verdict, kind and reason");
    }
}

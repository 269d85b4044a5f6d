// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names as people remember them.

use super::topic::Topic;

/// What the specification puts before names.
const PREFIXES: [&str; 6] = ["hvx64msr", "hvstatus", "hvcall", "hvregister", "hvx64", "hv"];
/// How many names are proposed.
const MOST: usize = 4;

/// A name without case, underscores and the specification's prefixes.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    let name: String = letters.flat_map(char::to_lowercase).collect();
    let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(&name).to_owned()
}

/// Names that `text` may mean: those that are spelt alike, then those that have it in them.
pub(super) fn names(all: &[Topic], text: &str) -> Vec<&'static str> {
    let wanted = plain(text.split_once(':').map_or(text, |(_, what)| what));
    // A number means itself, and what is short is like everything.
    if wanted.len() < 3 || wanted.starts_with(|first: char| first.is_ascii_digit()) {
        return Vec::new();
    }
    let mut near: Vec<(usize, &str)> = Vec::new();
    for topic in all {
        let name = topic.names()[0];
        let known = plain(name);
        let distance = distance(&wanted, &known);
        if distance <= 1 + wanted.len() / 5 {
            near.push((distance, name));
        } else if known.contains(&wanted) {
            near.push((100 + known.len(), name));
        }
    }
    near.sort_by_key(|(distance, _)| *distance);
    let mut names: Vec<&str> = Vec::new();
    for (_, name) in near {
        if !names.contains(&name) && names.len() < MOST {
            names.push(name);
        }
    }
    names
}

/// How many letters must be changed, added or taken away to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, candidate) in other.iter().enumerate() {
            let changed = diagonal + usize::from(*candidate != letter);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
            ("flush", "flushes", 2),
        ] {
            assert_eq!(distance(one, other), expected);
            assert_eq!(distance(other, one), expected);
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The id of a behaviour, as in `B03.041`: chapter 3, rule 41 of `tests/inventory/behaviours.tsv`.

use std::fmt;

/// An id, ordered by chapter and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Behaviour {
    pub(crate) chapter: u8,
    number: u16,
}

impl Behaviour {
    /// Reads `B`, two digits, a point, three digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (chapter, number) = text.strip_prefix('B')?.split_once('.')?;
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(chapter, 2) || !digits(number, 3) {
            return None;
        }
        Some(Self { chapter: chapter.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B{:02}.{:03}", self.chapter, self.number)
    }
}

/// The ids in a text.
pub(crate) fn ids(text: &str) -> impl Iterator<Item = Behaviour> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '.')
        .filter_map(|word| Behaviour::parse(word.strip_suffix('.').unwrap_or(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_prose() {
        let found: Vec<String> = ids("/// B03.041, B15.002. proves B1.002 and xB03.001, B03.0411, (B12.006)")
            .map(|id| id.to_string())
            .collect();
        assert_eq!(found, ["B03.041", "B15.002", "B12.006"]);
    }
}

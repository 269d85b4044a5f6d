// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of a line.

/// What a command answers: nothing more to say, or what was wrong with its words.
pub(crate) type Outcome = Result<(), &'static str>;

/// What is left of a line.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(pub(crate) &'a str);

impl<'a> Words<'a> {
    /// The next word.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        self.0 = &text[end..];
        (end > 0).then(|| &text[..end])
    }

    /// Takes the next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let mut rest = *self;
        let is_next = rest.next() == Some(word);
        if is_next {
            *self = rest;
        }
        is_next
    }

    /// The next word, a number.
    pub(crate) fn number(&mut self) -> Result<u64, &'static str> {
        self.next().ok_or("a number is missing; see `help`").and_then(number)
    }

    /// The next word, a number, or `absent` at the end of the line.
    pub(crate) fn number_or(&mut self, absent: u64) -> Result<u64, &'static str> {
        self.next().map_or(Ok(absent), number)
    }
}

/// A decimal number, or a hexadecimal one after 0x.
pub(crate) fn number(word: &str) -> Result<u64, &'static str> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    match digits {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    }
    .map_err(|_| "that is no number of 64 bits; write it in decimal, or in hexadecimal after 0x")
}

/// Whether a word means a name: without regard to case, and with or without what the specification puts before it.
pub(crate) fn means(word: &str, name: &str, prefix: &str) -> bool {
    word.eq_ignore_ascii_case(name)
        || name.strip_prefix(prefix).is_some_and(|rest| word.eq_ignore_ascii_case(rest))
}

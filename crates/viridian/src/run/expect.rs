// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console's output, watched for a text: `--expect` ends the run at it, `--phase` starts a phase.

use machine::SerialOutput;

/// `output`, calling `found` whenever `text` has gone through it.
pub(crate) fn watch(
    output: Box<dyn SerialOutput>,
    text: &str,
    found: impl FnMut() + Send + 'static,
) -> Box<dyn SerialOutput> {
    Box::new(Watched { output, search: Search::new(text), found })
}

struct Watched<F> {
    output: Box<dyn SerialOutput>,
    search: Search,
    found: F,
}

impl<F: FnMut() + Send> SerialOutput for Watched<F> {
    fn write(&mut self, bytes: &[u8]) {
        self.output.write(bytes);
        if self.search.feed(bytes) {
            (self.found)();
        }
    }
}

/// Looks for a text in a stream that comes in pieces (Knuth, Morris and Pratt).
struct Search {
    text: Box<[u8]>,
    /// For each length of a match so far, less one: the longest shorter match that the same bytes are.
    shorter: Box<[usize]>,
    matched: usize,
}

impl Search {
    fn new(text: &str) -> Self {
        let mut search =
            Self { text: text.as_bytes().into(), shorter: vec![0; text.len()].into(), matched: 0 };
        for length in 1..text.len() {
            search.step(text.as_bytes()[length]);
            search.shorter[length] = search.matched;
        }
        search.matched = 0;
        search
    }

    fn step(&mut self, byte: u8) {
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = self.shorter[self.matched - 1];
        }
        if self.text[self.matched] == byte {
            self.matched += 1;
        }
    }

    /// Takes the next bytes; true if the text has come with them. Then it is looked for anew.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut found = false;
        for &byte in bytes {
            self.step(byte);
            if self.matched == self.text.len() {
                found = true;
                self.matched = 0;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Search;

    #[test]
    fn texts_are_found_as_a_plain_search_finds_them() {
        let streams = ["aabaabaaab", "login: ", "ttests passtests passed", "ababababac", "", "aaaa"];
        for stream in streams {
            for text in ["a", "aab", "aaab", "tests passed", "ababac", "login:", "b"] {
                for piece in 1..4 {
                    let mut search = Search::new(text);
                    let found = stream
                        .as_bytes()
                        .chunks(piece)
                        .fold(false, |found, bytes| found | search.feed(bytes));
                    assert_eq!(found, stream.contains(text), "{text:?} in {stream:?}, {piece} at a time");
                }
            }
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--expect`: the console's output, watched for a text that ends the run.

use std::sync::Arc;

use machine::SerialOutput;

use super::ending::{End, Ending};

/// `output`, ending the run once `text` has gone through it.
pub(crate) fn watch(
    output: Box<dyn SerialOutput>,
    text: &str,
    ending: &Arc<Ending>,
) -> Box<dyn SerialOutput> {
    Box::new(Watched { output, search: Search::new(text), ending: Arc::clone(ending) })
}

struct Watched {
    output: Box<dyn SerialOutput>,
    search: Search,
    ending: Arc<Ending>,
}

impl SerialOutput for Watched {
    fn write(&mut self, bytes: &[u8]) {
        self.output.write(bytes);
        if self.search.feed(bytes) {
            self.ending.end(End::Expected);
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

    /// Takes the next bytes; true once the text has come.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            if self.matched == self.text.len() {
                break;
            }
            self.step(byte);
        }
        self.matched == self.text.len()
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
                    let found = stream.as_bytes().chunks(piece).fold(false, |_, bytes| search.feed(bytes))
                        && !stream.is_empty();
                    assert_eq!(found, stream.contains(text), "{text:?} in {stream:?}, {piece} at a time");
                }
            }
        }
    }
}

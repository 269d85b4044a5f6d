// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocks of saved memory: 256 pages as a stream of tokens, or as they are.

use super::xpress;
use crate::error::Problem;

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Pages of a block.
pub const BLOCK_PAGES: usize = 256;
/// Bytes of a block, 1 MiB.
pub const BLOCK_SIZE: usize = BLOCK_PAGES * PAGE_SIZE;
/// The most that a block can take in the file: every page as it is, behind its token.
pub(crate) const MOST_STORED: u64 = (BLOCK_PAGES * (PAGE_SIZE + 4) + 4) as u64;

/// Tokens; a smaller one is the number of bytes that a page is stored in.
pub(crate) mod token {
    /// Nothing follows.
    pub(crate) const END: u32 = 0xFFFF_FFFF;
    /// An eight-byte pattern that fills one page.
    pub(crate) const FILL: u32 = 0xFFFF_FFFE;
    /// An eight-byte pattern and the number of pages it fills.
    pub(crate) const FILL_RUN: u32 = 0xFFFF_FFFD;
    /// Size of several pages, size of the bytes they are compressed to, those bytes.
    pub(crate) const COMPRESSED_RUN: u32 = 0xFFFF_FFFC;
}

/// Decodes one block and gives the number of bytes at the start of `pages` that it holds, a multiple of [`PAGE_SIZE`]. What
/// follows the end token is not looked at.
///
/// # Errors
/// A [`Problem`] if the stream is damaged or holds more than fits in `pages`, which then holds anything.
pub fn decode_block(stored: &[u8], pages: &mut [u8]) -> Result<usize, Problem> {
    if stored.len() == BLOCK_SIZE && pages.len() == BLOCK_SIZE {
        pages.copy_from_slice(stored);
        return Ok(BLOCK_SIZE);
    }
    let mut input = Input { rest: stored };
    let mut done = 0;
    loop {
        let left = &mut pages[done..];
        let token = match input.word() {
            Ok(token) => token,
            // A block that is complete needs no end.
            Err(_) if left.is_empty() => return Ok(done),
            Err(problem) => return Err(problem),
        };
        let size = match token {
            token::END => return Ok(done),
            token::FILL => {
                let pattern = input.array()?;
                fill(page(left)?, pattern);
                PAGE_SIZE
            }
            token::FILL_RUN => {
                let pattern = input.array()?;
                let count = input.word()? as usize;
                let size = count.checked_mul(PAGE_SIZE).ok_or(Problem::TooMuch)?;
                fill(left.get_mut(..size).ok_or(Problem::TooMuch)?, pattern);
                size
            }
            token::COMPRESSED_RUN => {
                let size = input.word()? as usize;
                let compressed = input.word()? as usize;
                if !size.is_multiple_of(PAGE_SIZE) {
                    return Err(Problem::Size);
                }
                let target = left.get_mut(..size).ok_or(Problem::TooMuch)?;
                xpress::decompress(input.take(compressed)?, target).ok_or(Problem::Compression)?;
                size
            }
            size if size as usize == PAGE_SIZE => {
                page(left)?.copy_from_slice(input.take(PAGE_SIZE)?);
                PAGE_SIZE
            }
            size if (size as usize) < PAGE_SIZE => {
                let target = page(left)?;
                xpress::decompress(input.take(size as usize)?, target).ok_or(Problem::Compression)?;
                PAGE_SIZE
            }
            token => return Err(Problem::Token(token)),
        };
        done += size;
    }
}

fn page(pages: &mut [u8]) -> Result<&mut [u8], Problem> {
    pages.get_mut(..PAGE_SIZE).ok_or(Problem::TooMuch)
}

fn fill(pages: &mut [u8], pattern: [u8; 8]) {
    if pattern == [pattern[0]; 8] {
        pages.fill(pattern[0]);
    } else {
        for target in pages.chunks_exact_mut(8) {
            target.copy_from_slice(&pattern);
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn word(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }
}

/// How [`encode_block`] stores pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// With the tokens that Hyper-V's own files have, one for each page.
    Pages,
    /// With one token for a run of equal fills and one for a run of other pages: smaller.
    Runs,
    /// As it is; only for whole blocks, others are encoded by [`Self::Pages`].
    Raw,
}

/// Encodes up to [`BLOCK_PAGES`] whole pages.
///
/// # Panics
/// If `pages` has more bytes, or no whole number of pages.
pub fn encode_block(pages: &[u8], encoding: Encoding) -> Vec<u8> {
    assert!(
        pages.len() <= BLOCK_SIZE && pages.len().is_multiple_of(PAGE_SIZE),
        "a block is made of up to 256 pages"
    );
    if encoding == Encoding::Raw && pages.len() == BLOCK_SIZE {
        return pages.to_vec();
    }
    let mut stored = Vec::new();
    let mut at = 0;
    let length = |at: usize, condition: &dyn Fn(&[u8]) -> bool| {
        let run = pages[at..].chunks_exact(PAGE_SIZE).take_while(|page| condition(page));
        run.count().max(1) * PAGE_SIZE
    };
    while at < pages.len() {
        let page = &pages[at..at + PAGE_SIZE];
        at += match (pattern(page), encoding) {
            (Some(pattern), Encoding::Runs) => {
                let size = length(at, &|page| self::pattern(page) == Some(pattern));
                push(&mut stored, token::FILL_RUN);
                stored.extend_from_slice(&pattern);
                push(&mut stored, (size / PAGE_SIZE) as u32);
                size
            }
            (Some(pattern), _) => {
                push(&mut stored, token::FILL);
                stored.extend_from_slice(&pattern);
                PAGE_SIZE
            }
            (None, Encoding::Runs) => {
                let size = length(at, &|page| self::pattern(page).is_none());
                let compressed = xpress::compress(&pages[at..at + size]);
                push(&mut stored, token::COMPRESSED_RUN);
                push(&mut stored, size as u32);
                push(&mut stored, compressed.len() as u32);
                stored.extend_from_slice(&compressed);
                size
            }
            (None, _) => {
                let compressed = xpress::compress(page);
                let smaller = if compressed.len() < PAGE_SIZE { &compressed } else { page };
                push(&mut stored, smaller.len() as u32);
                stored.extend_from_slice(smaller);
                PAGE_SIZE
            }
        };
    }
    push(&mut stored, token::END);
    stored
}

fn push(stored: &mut Vec<u8>, word: u32) {
    stored.extend_from_slice(&word.to_le_bytes());
}

/// The eight bytes that fill the page, if it is filled with eight bytes.
fn pattern(page: &[u8]) -> Option<[u8; 8]> {
    let (pieces, _) = page.as_chunks::<8>();
    let (first, rest) = pieces.split_first()?;
    rest.iter().all(|piece| piece == first).then_some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of every kind: fills, compressible, and noise that no compression makes smaller.
    fn mixed(pages: usize) -> Vec<u8> {
        let mut seed = 7_u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let mut bytes = Vec::new();
        for page in 0..pages {
            match page % 5 {
                0 => bytes.extend([0; PAGE_SIZE]),
                1 => bytes.extend([1, 2, 3, 4, 5, 6, 7, 8].repeat(PAGE_SIZE / 8)),
                2 => bytes.extend((0..PAGE_SIZE).map(|at| (at / 16) as u8)),
                3 => bytes.extend((0..PAGE_SIZE).map(|_| noise())),
                _ => bytes.extend([0xCC; PAGE_SIZE]),
            }
        }
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn every_encoding_comes_back() {
        for pages in [0, 1, 4, 5, 200, BLOCK_PAGES] {
            let input = mixed(pages);
            for encoding in [Encoding::Pages, Encoding::Runs, Encoding::Raw] {
                let stored = encode_block(&input, encoding);
                assert!(stored.len() as u64 <= MOST_STORED || encoding == Encoding::Runs);
                let mut output = vec![0xEE; BLOCK_SIZE];
                assert_eq!(decode_block(&stored, &mut output), Ok(input.len()), "{pages} {encoding:?}");
                assert!(output[..input.len()] == input, "{pages} {encoding:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_token_is_written_and_read() {
        let input = mixed(5);
        let has = |stored: &[u8], token: u32| {
            let token = token.to_le_bytes();
            stored.windows(4).any(|bytes| bytes == token)
        };
        let pages = encode_block(&input, Encoding::Pages);
        for token in [token::FILL, PAGE_SIZE as u32, token::END] {
            assert!(has(&pages, token), "{token:#x}");
        }
        let runs = encode_block(&input, Encoding::Runs);
        for token in [token::FILL_RUN, token::COMPRESSED_RUN, token::END] {
            assert!(has(&runs, token), "{token:#x}");
        }
    }

    #[test]
    fn damaged_streams_are_refused() {
        let mut block = vec![0; BLOCK_SIZE];
        for (stored, problem) in [
            (words(&[]), Problem::Truncated),
            (words(&[token::FILL, 0]), Problem::Truncated),
            (words(&[token::FILL_RUN, 0, 0, 257]), Problem::TooMuch),
            (words(&[token::FILL_RUN, 0, 0, u32::MAX]), Problem::TooMuch),
            (words(&[token::FILL_RUN, 0, 0, 256, token::FILL, 0, 0]), Problem::TooMuch),
            (words(&[token::FILL_RUN, 0, 0, 255]), Problem::Truncated),
            (words(&[token::COMPRESSED_RUN, 4097, 0]), Problem::Size),
            (words(&[token::COMPRESSED_RUN, BLOCK_SIZE as u32 + 4096, 0]), Problem::TooMuch),
            (words(&[token::COMPRESSED_RUN, 4096, 8, 0]), Problem::Truncated),
            (words(&[token::COMPRESSED_RUN, 4096, 4, 0]), Problem::Compression),
            (words(&[4096, 0]), Problem::Truncated),
            (words(&[8, u32::MAX, 0]), Problem::Compression),
            (words(&[4097]), Problem::Token(4097)),
            (words(&[0xFFFF_FFFB]), Problem::Token(0xFFFF_FFFB)),
        ] {
            assert_eq!(decode_block(&stored, &mut block), Err(problem), "{stored:x?}");
        }
        // A complete block needs no end token, and what follows one is not looked at.
        assert_eq!(decode_block(&words(&[token::FILL_RUN, 0, 0, 256]), &mut block), Ok(BLOCK_SIZE));
        assert_eq!(decode_block(&words(&[token::END, 5]), &mut block), Ok(0));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! XPRESS without Huffman: the "plain LZ77" of [MS-XCA] 2.3 and 2.4.
//!
//! A stream is 32-bit words of flags, each followed by what its bits announce, from the most significant bit on: 0 a literal byte, 1 a match.
//! A match is a 16-bit word, distance − 1 in the upper 13 bits, length − 3 in the lower three; longer lengths continue in half a
//! byte (two matches share one), a byte, a 16-bit and a 32-bit word.

/// Greatest distance of a match.
const WINDOW: usize = 1 << 13;
/// Shortest match.
const SHORTEST: usize = 3;
/// Bytes that are copied at once while there is room for more than are needed.
const PIECE: usize = 16;
/// The most literals that one word of flags announces.
const WIDE: usize = 2 * PIECE;

/// Decompresses until `output` is full. `None` if the input ends before, or is no such stream; `output` then holds anything.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Option<()> {
    let mut from = 0;
    let mut to = 0;
    // The byte whose upper half is the next match's length.
    let mut half: Option<u8> = None;
    while to < output.len() {
        let word = u32::from_le_bytes(*input.get(from..)?.first_chunk()?);
        from += 4;
        // Below the 32 flags stands a one that says where they end.
        let mut flags = u64::from(word) << 32 | 1 << 31;
        loop {
            let literals = flags.leading_zeros() as usize;
            flags <<= literals;
            if let (Some(source), Some(target)) =
                (input.get(from..from + WIDE), output.get_mut(to..to + WIDE))
            {
                target[..PIECE].copy_from_slice(&source[..PIECE]);
                if literals > PIECE {
                    target[PIECE..].copy_from_slice(&source[PIECE..]);
                }
            } else {
                let literals = literals.min(output.len() - to);
                output[to..to + literals].copy_from_slice(input.get(from..from + literals)?);
            }
            from += literals;
            to += literals;
            if flags == 1 << 63 || to >= output.len() {
                break;
            }
            flags <<= 1;
            let word = u16::from_le_bytes(*input.get(from..)?.first_chunk()?);
            from += 2;
            let distance = usize::from(word >> 3) + 1;
            let mut length = usize::from(word & 7);
            if length == 7 {
                length += long_length(input, &mut from, &mut half)?;
            }
            copy_match(output, to, distance, length + SHORTEST)?;
            to += length + SHORTEST;
            if to == output.len() {
                break;
            }
        }
    }
    Some(())
}

/// What a match's length has beyond the seven of its word.
fn long_length(input: &[u8], from: &mut usize, half: &mut Option<u8>) -> Option<usize> {
    let nibble = match half.take() {
        Some(byte) => byte >> 4,
        None => {
            let byte = *input.get(*from)?;
            *from += 1;
            *half = Some(byte);
            byte & 15
        }
    };
    if nibble < 15 {
        return Some(nibble.into());
    }
    let byte = *input.get(*from)?;
    *from += 1;
    if byte < 255 {
        return Some(15 + usize::from(byte));
    }
    // From here on the length is the whole, without the 15 and the 7 that were said before.
    let word = u16::from_le_bytes(*input.get(*from..)?.first_chunk()?);
    *from += 2;
    let whole = match word {
        0 => {
            let whole = u32::from_le_bytes(*input.get(*from..)?.first_chunk()?);
            *from += 4;
            usize::try_from(whole).ok()?
        }
        word => word.into(),
    };
    whole.checked_sub(7)
}

/// Repeats `length` bytes from `distance` before `to`. The two may overlap: then what was just written is repeated.
#[inline(always)]
fn copy_match(output: &mut [u8], to: usize, distance: usize, length: usize) -> Option<()> {
    let start = to.checked_sub(distance)?;
    let end = to.checked_add(length).filter(|&end| end <= output.len())?;
    if end + PIECE > output.len() {
        // The last bytes, one after the other.
        for at in to..end {
            output[at] = output[at - distance];
        }
    } else if distance >= PIECE {
        // Whole pieces, with some bytes too many: they are overwritten next.
        let mut at = 0;
        loop {
            let piece: [u8; PIECE] = *output[start + at..].first_chunk()?;
            *output[to + at..].first_chunk_mut()? = piece;
            at += PIECE;
            if at >= length {
                break;
            }
        }
    } else {
        // What repeats within a piece is repeated in a number first.
        let period = 8 * distance as u32;
        let mut pattern = u128::from_le_bytes(*output[start..].first_chunk()?) & ((1 << period) - 1);
        let mut filled = period;
        while filled < u128::BITS {
            pattern |= pattern << filled;
            filled *= 2;
        }
        let step = PIECE - PIECE % distance;
        let mut at = 0;
        while at < length {
            *output[to + at..].first_chunk_mut()? = pattern.to_le_bytes();
            at += step;
        }
    }
    Some(())
}

/// Compresses; the result decompresses to `input`. Matches are looked for in one place only: fast, not small.
pub fn compress(input: &[u8]) -> Vec<u8> {
    let mut output = Output::default();
    let mut table = [0_u16; 1 << 12];
    let mut at = 0;
    while at < input.len() {
        let found = input[at..].first_chunk::<4>().and_then(|&next| {
            let hash = (u32::from_le_bytes(next).wrapping_mul(0x9E37_79B1) >> 20) as usize;
            let candidate = candidate(table[hash], at);
            table[hash] = at as u16;
            let candidate = candidate?;
            let length = common(&input[candidate..], &input[at..]);
            (length >= SHORTEST).then_some((at - candidate, length))
        });
        match found {
            Some((distance, length)) => {
                output.push_match(distance, length);
                at += length;
            }
            None => {
                output.push_literal(input[at]);
                at += 1;
            }
        }
    }
    output.finish()
}

/// The nearest position before `at` whose lower 16 bits are `low`, if it is in the window.
fn candidate(low: u16, at: usize) -> Option<usize> {
    let distance = usize::from((at as u16).wrapping_sub(low));
    (1..=WINDOW.min(at)).contains(&distance).then(|| at - distance)
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A compressed stream in the making.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    flags: u32,
    count: u32,
    flags_at: usize,
    /// Where half a byte is still free.
    half: Option<usize>,
}

impl Output {
    fn flag(&mut self, is_match: bool) {
        if self.count == 0 {
            self.flags_at = self.bytes.len();
            self.bytes.extend_from_slice(&[0; 4]);
        }
        self.flags = self.flags << 1 | u32::from(is_match);
        self.count += 1;
    }

    /// After a flag's data, so that the next word of flags stands behind it.
    fn close_word(&mut self) {
        if self.count == 32 {
            self.bytes[self.flags_at..self.flags_at + 4].copy_from_slice(&self.flags.to_le_bytes());
            (self.flags, self.count) = (0, 0);
        }
    }

    fn push_literal(&mut self, byte: u8) {
        self.flag(false);
        self.bytes.push(byte);
        self.close_word();
    }

    fn push_match(&mut self, distance: usize, length: usize) {
        self.flag(true);
        let length = length - SHORTEST;
        let word = ((distance - 1) << 3 | length.min(7)) as u16;
        self.bytes.extend_from_slice(&word.to_le_bytes());
        if length >= 7 {
            let nibble = (length - 7).min(15) as u8;
            match self.half.take() {
                Some(at) => self.bytes[at] |= nibble << 4,
                None => {
                    self.half = Some(self.bytes.len());
                    self.bytes.push(nibble);
                }
            }
            if length >= 22 {
                self.bytes.push((length - 22).min(255) as u8);
            }
            if length >= 22 + 255 {
                match u16::try_from(length) {
                    Ok(length) => self.bytes.extend_from_slice(&length.to_le_bytes()),
                    Err(_) => {
                        self.bytes.extend_from_slice(&[0; 2]);
                        self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
                    }
                }
            }
        }
        self.close_word();
    }

    fn finish(mut self) -> Vec<u8> {
        // Ones fill the last word: a decoder that looks for more finds a match where the input ends.
        if self.count > 0 {
            let left = 32 - self.count;
            let flags = if left == 32 { u32::MAX } else { self.flags << left | ((1 << left) - 1) };
            self.bytes[self.flags_at..self.flags_at + 4].copy_from_slice(&flags.to_le_bytes());
        } else {
            self.bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{compress, decompress};

    /// The format as its description reads, byte by byte; the oracle of the fast decoder.
    fn reference(input: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut input = input.iter().copied();
        let mut output: Vec<u8> = Vec::new();
        let (mut flags, mut count, mut half) = (0_u32, 0, None);
        let word = |input: &mut dyn Iterator<Item = u8>, bytes: u32| {
            (0..bytes).try_fold(0_u32, |word, index| Some(word | u32::from(input.next()?) << (8 * index)))
        };
        while output.len() < size {
            if count == 0 {
                (flags, count) = (word(&mut input, 4)?, 32);
            }
            count -= 1;
            if flags >> count & 1 == 0 {
                output.push(input.next()?);
                continue;
            }
            let pair = word(&mut input, 2)?;
            let (distance, mut length) = ((pair >> 3) as usize + 1, pair & 7);
            if length == 7 {
                length = match half.take() {
                    Some(byte) => byte >> 4,
                    None => {
                        let byte = word(&mut input, 1)?;
                        half = Some(byte);
                        byte & 15
                    }
                };
                if length == 15 {
                    length = word(&mut input, 1)?;
                    if length == 255 {
                        length = word(&mut input, 2)?;
                        if length == 0 {
                            length = word(&mut input, 4)?;
                        }
                        length = length.checked_sub(15 + 7)?;
                    }
                    length += 15;
                }
                length += 7;
            }
            for _ in 0..u64::from(length) + 3 {
                if output.len() == size {
                    return None;
                }
                output.push(*output.get(output.len().checked_sub(distance)?)?);
            }
        }
        Some(output)
    }

    /// The two examples of [MS-XCA] 3.1.
    #[test]
    fn published_examples() {
        let alphabet = [
            0x3f, 0, 0, 0, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
            0x6e, 0x6f, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
        ];
        let mut output = [0; 26];
        decompress(&alphabet, &mut output).unwrap();
        assert_eq!(&output, b"abcdefghijklmnopqrstuvwxyz");
        let repeated = [0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0, 0x0f, 0xff, 0x26, 0x01];
        let mut output = [0; 300];
        decompress(&repeated, &mut output).unwrap();
        assert_eq!(output.as_slice(), b"abc".repeat(100));
    }

    #[test]
    fn every_length_and_distance_comes_back() {
        for period in [1, 2, 3, 7, 8, 15, 16, 17, 31, 100, 8191, 8192, 8193] {
            for length in [0, 1, 3, 9, 10, 24, 25, 279, 280, 281, 4096, 65_538, 65_539, 70_000] {
                let head: Vec<u8> = (0..period).map(|at| (at * 31 % 251) as u8).collect();
                let input: Vec<u8> = head.iter().copied().cycle().take(period + length).collect();
                let mut output = vec![0; input.len()];
                decompress(&compress(&input), &mut output).expect("our own stream");
                assert!(output == input, "period {period}, length {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(input in prop::collection::vec(0_u8..4, 0..5000)) {
            let compressed = compress(&input);
            let mut output = vec![0; input.len()];
            prop_assert!(decompress(&compressed, &mut output).is_some());
            prop_assert_eq!(&output, &input);
            prop_assert_eq!(reference(&compressed, input.len()), Some(input));
        }

        #[test]
        fn any_bytes_decode_as_the_description_says(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            ones in any::<bool>(),
            size in 0_usize..5000,
        ) {
            // Streams of matches reach more than streams of literals.
            let mut bytes = bytes;
            if ones && bytes.len() >= 5 {
                bytes[1..4].fill(0xFF);
                for high in bytes[5..].iter_mut().step_by(2) {
                    *high &= 1;
                }
            }
            let mut output = vec![0; size];
            let decoded = decompress(&bytes, &mut output).map(|()| output);
            prop_assert_eq!(decoded, reference(&bytes, size));
        }
    }
}

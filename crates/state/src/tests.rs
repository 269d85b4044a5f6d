// SPDX-License-Identifier: MIT OR Apache-2.0

use std::collections::VecDeque;

use super::*;

#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    word: u32,
    present: Option<u64>,
}
crate::state!(Part { word, present });

#[derive(Clone, Debug, Default, PartialEq)]
struct Whole {
    parts: [Part; 2],
    queue: VecDeque<u8>,
    list: Vec<Part>,
    big: i128,
    cache: u64,
}
crate::state!(Whole { parts, queue, list, big, cache as derived });

fn whole() -> Whole {
    let part = Part { word: 0x1234_5678, present: Some(9) };
    Whole {
        parts: [Part::default(), part.clone()],
        queue: VecDeque::from([1, 2, 3]),
        list: vec![part],
        big: -5,
        cache: 77,
    }
}

#[test]
fn what_is_saved_comes_back_and_what_is_derived_stays() {
    let mut other = Whole { cache: 5, list: vec![Part::default(); 3], ..Whole::default() };
    restore(&mut other, &save(&whole())).unwrap();
    assert_eq!(other, Whole { cache: 5, ..whole() });
    assert_eq!(Hash::of(&save(&other)), Hash::of(&save(&whole())));
    other.parts[1].word ^= 1;
    assert_ne!(Hash::of(&save(&other)), Hash::of(&save(&whole())));
}

#[test]
fn damage_is_an_error_and_takes_no_memory() {
    let bytes = save(&whole());
    for length in 0..bytes.len() {
        assert_eq!(restore(&mut Whole::default(), &bytes[..length]), Err(Damaged::Short), "{length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(restore(&mut Whole::default(), &longer), Err(Damaged::Long(1)));
    // The flag of the first part's option, and the length of the queue.
    let flag = 4;
    let mut damaged = bytes.clone();
    damaged[flag] = 2;
    assert_eq!(restore(&mut Whole::default(), &damaged), Err(Damaged::Value { kind: "flag", value: 2 }));
    let mut damaged = bytes;
    damaged[5 + 13..5 + 21].fill(0xFF);
    assert_eq!(restore(&mut Whole::default(), &damaged), Err(Damaged::Short));
}

#[test]
fn the_published_hash_of_nothing() {
    assert_eq!(Hash::of(b"").to_string(), "99aa06d3014798d86001c324468d497f");
}

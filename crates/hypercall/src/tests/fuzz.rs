// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz target's body on stable Rust: the committed corpus, and random bytes.

use crate::fuzz::parse;
use proptest::prelude::*;

/// B03.016, B03.059 as far as one caller goes: whatever it passes, the rules of the fuzz target hold.
#[test]
fn corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/hypercall");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        parse(&std::fs::read(&path).expect("a readable file"));
        files += 1;
    }
    assert!(files > 0, "{folder} is empty");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        parse(&data);
    }

    /// Bytes that get further: a right control word for a call of the list.
    #[test]
    fn random_calls(
        flags in any::<u8>().prop_map(|flags| flags & 0x3F),
        shape in 0..crate::sandbox::SHAPES.len() as u8,
        words in 0u16..5,
        count in 0u16..12,
        start in 0u16..12,
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut data = std::vec![flags, shape];
        for value in [words, count, start] {
            data.extend(value.to_le_bytes());
        }
        data.extend(rest);
        parse(&data);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever a guest does, the hypervisor goes on: the fuzz targets' bodies on stable Rust, over the committed corpus and over random bytes.

use proptest::prelude::*;

use crate::fuzz;

#[test]
fn corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/partition");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        fuzz::partition(&std::fs::read(&path).expect("a readable file"));
        files += 1;
    }
    assert!(files > 0, "{folder} is empty");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_guest_cannot_break_the_hypervisor(data in proptest::collection::vec(any::<u8>(), 0..800)) {
        fuzz::partition(&data);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests name the behaviours they prove, as in `B03.041`. Every id that any source file names must exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// The behaviour ids in a text: `B`, two digits, a point, three digits.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '.').filter_map(|word| {
        let id = word.get(..7)?;
        let digits = |range: std::ops::Range<usize>| id.as_bytes()[range].iter().all(u8::is_ascii_digit);
        let form = id.starts_with('B') && id.as_bytes()[3] == b'.' && digits(1..3) && digits(4..7);
        let rest = &word[7..];
        (form && (rest.is_empty() || rest == ".")).then_some(id)
    })
}

#[test]
fn named_behaviours_exist() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let table = fs::read_to_string(repository.join("tests/inventory/behaviours.tsv")).expect("the inventory");
    let known: BTreeSet<&str> = table.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    assert!(known.contains("B03.041"), "the inventory is cut short");
    let mut files = Vec::new();
    rust_files(repository, &mut files);
    assert!(files.len() > 20, "only {} source files found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable file");
        for id in ids(&text) {
            assert!(known.contains(id), "{} names {id}, which is no behaviour", file.display());
        }
    }
}

#[test]
fn ids_are_found_in_prose() {
    assert_eq!(
        ids("/// B03.041, B15.002. proves B1.002 and xB03.001").collect::<Vec<_>>(),
        ["B03.041", "B15.002"]
    );
}

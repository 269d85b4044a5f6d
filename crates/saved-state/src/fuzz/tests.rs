// SPDX-License-Identifier: MIT OR Apache-2.0
use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;

use super::*;
use crate::error::{Error, Problem};
use crate::write::{Machine, Options, vmrs};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

fn replay(target: &str, body: fn(&[u8])) {
    let folder = corpus(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        body(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn corpus_of_containers() {
    replay("saved-state-container", container);
}

#[test]
fn corpus_of_changed_fields() {
    replay("saved-state-fields", changed_fields);
}

#[test]
fn corpus_of_tokens() {
    replay("saved-state-tokens", tokens);
}

#[test]
fn corpus_of_partition_states() {
    replay("saved-state-partition", partition_state);
}

proptest! {
    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..600)) {
        container(&data);
        changed_fields(&data);
        tokens(&data);
        partition_state(&data);
    }

    /// One to four bytes of a good file are changed, at places where something stands.
    #[test]
    fn changed_files(number in 0_usize..4, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let mut data = fold(&seeds::files()[number]);
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        container(&data);
    }

    #[test]
    fn changed_partition_states(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let mut data = state(&seeds::machine());
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        partition_state(&data);
    }
}

/// Every number that a checksum guards is set to every odd value, one after the other, and the checksum made right: readers then see what lies
/// behind it, and say anything but that a checksum is wrong.
#[test]
fn every_field_behind_its_checksum() {
    for (number, good) in seeds::files().into_iter().enumerate() {
        let fields = fields(&good);
        let (mut accepted, mut refused) = (0, 0);
        for &field in &fields {
            for odd in odd_values(&good, field) {
                let mut file = good.clone();
                change(&mut file, field, odd);
                if file == good {
                    continue;
                }
                seal(&mut file);
                match read_all(file, other_half(number)) {
                    Ok(()) => accepted += 1,
                    Err(Error::Damaged { what, offset, problem: Problem::Checksum }) => {
                        panic!("{field:x?} as {odd:#x}: checksum of {what} at {offset:#x}")
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        println!("{} fields: {accepted} files accepted, {refused} refused", fields.len());
        assert!(fields.len() > 20 && accepted > 0 && refused > 100);
    }
}

/// Sealing finds all checksums of a good file: without them, and sealed, it is the same file again.
#[test]
fn sealing_gives_a_good_file_back() {
    for good in seeds::files() {
        let mut file = good.clone();
        seal(&mut file);
        assert!(file == good);
        let opened = Container::open(Box::new(file)).unwrap();
        assert!(opened.find("/savedstate/type").is_some() || opened.version() == 0x500);
    }
}

/// Folds a file into pieces without the zeros at the ends of its pages.
fn fold(file: &[u8]) -> Vec<u8> {
    assert!(file.len() <= PAGES * PAGE_SIZE);
    let mut pieces = vec![0];
    for (page, bytes) in file.chunks(PAGE_SIZE).enumerate() {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        pieces.push(page as u8);
        pieces.extend((used as u16).to_le_bytes());
        pieces.extend_from_slice(&bytes[..used]);
    }
    pieces
}

/// The partition state of a machine as it is saved.
fn state(machine: &Machine) -> Vec<u8> {
    let file = vmrs(machine, &Options::default());
    let container = Container::open(Box::new(file)).unwrap();
    let key = container.find("savedstate/savedVM/partition_state").unwrap();
    container.read_array(key, u64::MAX).unwrap()
}

/// Nobody reads more than the first bytes of the prolog; fuzzers are quicker without the rest.
fn with_short_prolog(mut state: Vec<u8>) -> Vec<u8> {
    let item = usize::try_from(u64::from_le_bytes(*state[8..].first_chunk().unwrap())).unwrap();
    let prolog = item + 16 + 16;
    state.drain(prolog + 16..prolog + 4064);
    state[prolog - 12..prolog - 8].copy_from_slice(&16_u32.to_le_bytes());
    state
}

/// Writes the first entries of the corpus where SAVED_STATE_SEEDS is set; the fuzzer finds the others.
#[test]
fn seeds_are_good() {
    // A fill, long and short matches, and noise.
    let mut pages = vec![3; 2 * PAGE_SIZE];
    pages.extend((0..PAGE_SIZE).map(|at| (at / 40 * 7) as u8));
    pages.extend((0..PAGE_SIZE).map(|at| if at < 300 { (at % 5) as u8 } else { 1 }));
    pages.extend((0..PAGE_SIZE as u32).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24) as u8));
    pages.extend([1, 2, 3, 4, 5, 6, 7, 8].repeat(PAGE_SIZE / 8));
    let tokens_of = |encoding| encode_block(&pages, encoding);
    // One change in each file: a field becomes 1 more, another one what is given.
    let changes = (0..4).map(|file| vec![file, 3, 0, 3, 9, 0, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8]).collect();
    let all = [
        ("saved-state-container", seeds::files().map(|file| fold(&file)).to_vec()),
        ("saved-state-fields", changes),
        ("saved-state-tokens", vec![tokens_of(Encoding::Pages), tokens_of(Encoding::Runs)]),
        ("saved-state-partition", vec![with_short_prolog(state(&seeds::machine()))]),
    ];
    for seed in &all[0].1 {
        let opened = Container::open(Box::new(unfold(&seed[1..]))).unwrap();
        assert!(opened.find("/savedstate/type").is_some() || opened.version() == 0x500);
        container(seed);
    }
    if env::var_os("SAVED_STATE_SEEDS").is_none() {
        return;
    }
    for (target, seeds) in all {
        fs::create_dir_all(corpus(target)).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(corpus(target).join(format!("seed-{number}")), seed).unwrap();
        }
    }
}

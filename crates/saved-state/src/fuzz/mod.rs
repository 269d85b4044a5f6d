// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of the fuzz targets: any bytes become a container, a block of memory or a partition's state, which must be read or refused, and keep the rules
//! below. Tests replay the committed corpus on stable Rust.

mod seal;
mod seeds;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use crate::container::{Container, Kind, Value};
use crate::error::Result;
use crate::images;
use crate::memory::{BLOCK_SIZE, Encoding, PAGE_SIZE, decode_block, encode_block};
use crate::partition::{PartitionState, Register};
use crate::state::{PARTITION_STATE, SavedState};
use seal::{Field, fields, seal};

/// Pages of the largest container that is made.
const PAGES: usize = 20;
/// Pages of the largest block that is decoded: a block's rules do not depend on its size, but a fuzzer's speed does.
const BLOCK_PAGES: usize = 16;

/// A container, given as pieces of its pages: page number, size (16 bits), bytes; what is not given is zero. Odd first bytes leave the
/// checksums as they are, even ones make them right, so that what lies behind them is reached.
pub fn container(data: &[u8]) {
    let Some((&mode, pieces)) = data.split_first() else { return };
    let mut file = unfold(pieces);
    if mode % 2 == 0 {
        seal(&mut file);
    }
    // What is wrong with it was said.
    let _ = read_all(file, None);
}

/// A good file of which some numbers are changed, and then the checksums made right: number of the file, and for each change the number of the
/// field (16 bits) and of one of its [`odd_values`], or, if there is no such one, the value, in eight bytes.
pub fn changed_fields(data: &[u8]) {
    static GOOD: LazyLock<[(Vec<u8>, Vec<Field>); 4]> =
        LazyLock::new(|| seeds::files().map(|file| (file.clone(), fields(&file))));
    let Some((&number, mut changes)) = data.split_first() else { return };
    let number = usize::from(number) % GOOD.len();
    let (good, fields) = &GOOD[number];
    let mut file = good.clone();
    while let [low, high, choice, rest @ ..] = changes {
        let field = fields[usize::from(u16::from_le_bytes([*low, *high])) % fields.len()];
        let odd = odd_values(&file, field).get(usize::from(*choice)).copied();
        let (value, rest) = match (odd, rest.split_first_chunk()) {
            (Some(value), _) => (value, rest),
            (None, Some((value, rest))) => (u64::from_le_bytes(*value), rest),
            (None, None) => break,
        };
        change(&mut file, field, value);
        changes = rest;
    }
    seal(&mut file);
    // What is wrong with it was said.
    let _ = read_all(file, other_half(number));
}

/// The other half of a good file that is one of a pair.
fn other_half(number: usize) -> Option<Arc<Container>> {
    static HALVES: LazyLock<[Arc<Container>; 2]> = LazyLock::new(|| {
        let [_, vsv, bin, _] = seeds::files();
        [bin, vsv].map(|half| Arc::new(Container::open(Box::new(half)).expect("our own file")))
    });
    number.checked_sub(1).and_then(|half| HALVES.get(half)).cloned()
}

/// The value of a field.
fn value(file: &[u8], field: Field) -> u64 {
    let mut bytes = [0; 8];
    bytes[..field.width].copy_from_slice(&file[field.at..field.at + field.width]);
    u64::from_le_bytes(bytes)
}

/// Sets a field to the lower bytes of a value.
fn change(file: &mut [u8], field: Field, value: u64) {
    file[field.at..field.at + field.width].copy_from_slice(&value.to_le_bytes()[..field.width]);
}

/// Values at which something changes for readers: neighbours, limits of numbers, ends of the file and of pages.
fn odd_values(file: &[u8], field: Field) -> [u64; 16] {
    let (old, length, top) = (value(file, field), file.len() as u64, 1 << (8 * field.width - 1));
    let page = PAGE_SIZE as u64;
    [
        0,
        1,
        2,
        old.wrapping_add(1),
        old.wrapping_sub(1),
        old ^ top,
        old.wrapping_mul(2),
        old.wrapping_add(page),
        old.wrapping_sub(page),
        u64::MAX,
        u64::MAX - page + 1,
        top,
        top - 1,
        length,
        length - 1,
        length - page,
    ]
}

/// Opens a file and asks it everything; if it is half of a pair, the other half too.
fn read_all(file: Vec<u8>, other: Option<Arc<Container>>) -> Result<()> {
    let length = file.len();
    let container = Arc::new(Container::open(Box::new(file))?);
    let mut count = 0;
    container.walk(&mut |path, key| {
        count += 1;
        assert!(!container.kind(key).to_string().is_empty());
        // Names may hold slashes, so a path may lead to another key, or to none.
        let _ = container.find(path).map(|found| container.size(found));
        match (container.kind(key), container.value(key)) {
            (Kind::Array, Ok(Value::Array(size))) => {
                let read = container.read_array(key, u64::MAX).expect("its bounds were checked");
                assert_eq!(read.len() as u64, size);
            }
            (Kind::Array, _) => panic!("an array has a size"),
            _ => {}
        }
    });
    assert!(count <= length);
    let other = other.unwrap_or_else(|| Arc::clone(&container));
    let (state, contents) =
        if other.find(PARTITION_STATE).is_some() { (other, container) } else { (container, other) };
    use_all(&SavedState::new(state, contents)?);
    Ok(())
}

/// Asks everything of a saved state.
fn use_all(saved: &SavedState) {
    let vp = saved.partition().vp_indices().next().expect("a partition has a processor");
    let mut bytes = [0; 64];
    let layout = saved.memory().layout();
    let chunks = layout.chunks();
    for chunk in &chunks {
        let gpa = chunk.first_page * PAGE_SIZE as u64;
        let raw = layout.raw_offset(gpa).expect("a chunk is memory");
        assert_eq!(layout.gpa_of_raw(raw), Some(gpa));
    }
    assert!(layout.blocks().count() >= chunks.len());
    for span in layout.spans().take(16) {
        let raw = layout.raw_offset(span.gpa).expect("a span is memory");
        assert!(span.offset + span.size <= BLOCK_SIZE && raw + span.size as u64 <= saved.memory().raw_size());
    }
    for chunk in chunks.iter().take(2) {
        let _ = saved.memory().read(chunk.first_page * PAGE_SIZE as u64, &mut bytes);
    }
    let census = saved.memory().census();
    assert_eq!(census.missing == 0, census.first_missing.is_none());
    let _ = (saved.container().missing_bytes(), saved.memory().missing_bytes());
    let _ = (saved.crash(), saved.guest_os(0).to_string(), saved.in_kernel_space(vp));
    let _ = saved.read_virtual(vp, 0xFFFF_8000_0000_0000, &mut bytes);
    let _ = saved.read_virtual(vp, 0x1000, &mut bytes);
    let _ = images::scan(saved, vp, 0, 0x1_0000);
}

/// A stream of tokens. What it decodes to must survive every encoding.
pub fn tokens(data: &[u8]) {
    let mut pages = vec![0xEE; BLOCK_PAGES * PAGE_SIZE];
    let Ok(size) = decode_block(data, &mut pages) else { return };
    assert!(size.is_multiple_of(PAGE_SIZE));
    // Two pages are enough, and quick.
    let size = size.min(2 * PAGE_SIZE);
    for encoding in [Encoding::Pages, Encoding::Runs] {
        let mut again = [0x11; 2 * PAGE_SIZE];
        assert_eq!(decode_block(&encode_block(&pages[..size], encoding), &mut again), Ok(size));
        assert!(again[..size] == pages[..size]);
    }
}

/// The value of the partition-state key.
pub fn partition_state(data: &[u8]) {
    let Ok(state) = PartitionState::parse(data.to_vec()) else { return };
    assert!(state.vp_count() > 0);
    assert!(state.vp_indices().is_sorted());
    let mut chunk = Vec::new();
    for vp in state.vp_indices().take(2) {
        let enabled = state.enabled_vtls_of(vp).expect("the processor is there");
        let active = state.active_vtl(vp).expect("the processor is there");
        assert!(enabled >> active & 1 != 0 && enabled & !state.enabled_vtls() & !1 == 0);
        for vtl in 0..3 {
            for register in Register::x64().chain(Register::arm64()) {
                let value = state.register(vp, vtl, register);
                assert!(value.is_err() || enabled >> vtl & 1 != 0);
                // What is read can be written, and is the same when it is read again.
                if let Ok(value) = value {
                    chunk.clear();
                    chunk.resize(register.place().1, 0);
                    register.write(&mut chunk, value);
                    assert_eq!(register.read(&chunk), Some(value));
                }
            }
            let _ = (state.msrs(vp, vtl), state.privilege_level(vp, vtl), state.guest_os_id(vtl));
        }
    }
    let _ = (state.is_nested(), state.vendor().to_string());
}

/// Pages from pieces.
fn unfold(mut pieces: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let [page, low, high, rest @ ..] = pieces {
        let start = usize::from(*page) % PAGES * PAGE_SIZE;
        let (bytes, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        let bytes = &bytes[..bytes.len().min(PAGE_SIZE)];
        let end = start + bytes.len();
        file.resize(file.len().max(end.next_multiple_of(PAGE_SIZE)), 0);
        file[start..end].copy_from_slice(bytes);
        pieces = rest;
    }
    file
}

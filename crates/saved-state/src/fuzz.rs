// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of the fuzz targets: any bytes become a container, a block of memory or a partition's state, which must be read or refused, and keep the rules
//! below. Tests replay the committed corpus on stable Rust.

use zerocopy::{FromBytes, IntoBytes};

use crate::container::storage::layout::{
    Checked, FILE_SIGNATURE, FileHeader, HEADER_OFFSETS, KeyHeader, KeyTableHeader, LogEntry, LogHeader,
    ObjectEntry, ObjectTableHeader, key, object,
};
use crate::container::{Container, Kind, Value};
use crate::images;
use crate::memory::{BLOCK_SIZE, Encoding, PAGE_SIZE, decode_block, encode_block};
use crate::partition::{PartitionState, Register};
use crate::state::SavedState;

/// Pages of the largest container that is made.
const PAGES: usize = 64;

/// A container, given as pieces of its pages: page number, size (16 bits), bytes; what is not given is zero. Odd first bytes leave the
/// checksums as they are, even ones make them right, so that what lies behind them is reached.
pub fn container(data: &[u8]) {
    let Some((&mode, pieces)) = data.split_first() else { return };
    let mut file = unfold(pieces);
    if mode % 2 == 0 {
        seal(&mut file);
    }
    let Ok(container) = Container::open(Box::new(file.clone())) else { return };
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
    assert!(count < file.len());
    if let Ok(saved) = SavedState::from_source(Box::new(file)) {
        use_all(&saved);
    }
}

/// Asks everything of a saved state.
fn use_all(saved: &SavedState) {
    let vp = saved.partition().vp_indices().next().expect("a partition has a processor");
    let mut bytes = [0; 64];
    for chunk in saved.memory().layout().chunks() {
        let gpa = chunk.first_page * PAGE_SIZE as u64;
        let _ = saved.memory().read(gpa, &mut bytes);
        let raw = saved.memory().layout().raw_offset(gpa).expect("a chunk is memory");
        assert_eq!(saved.memory().layout().gpa_of_raw(raw), Some(gpa));
    }
    let layout = saved.memory().layout();
    assert!(layout.blocks().count() >= layout.chunks().len());
    for span in layout.spans().take(16) {
        let raw = layout.raw_offset(span.gpa).expect("a span is memory");
        assert!(span.offset + span.size <= BLOCK_SIZE && raw + span.size as u64 <= saved.memory().raw_size());
    }
    let _ = (saved.crash(), saved.guest_os(0).to_string(), saved.in_kernel_space(vp));
    let _ = saved.read_virtual(vp, 0xFFFF_8000_0000_0000, &mut bytes);
    let _ = saved.read_virtual(vp, 0x1000, &mut bytes);
    let _ = images::scan(saved, vp, 0, 0x10_0000);
}

/// A stream of tokens. What it decodes to must survive every encoding.
pub fn tokens(data: &[u8]) {
    let mut pages = vec![0xEE; BLOCK_SIZE];
    let Ok(size) = decode_block(data, &mut pages) else { return };
    assert!(size.is_multiple_of(PAGE_SIZE));
    // Few pages are enough, and quick.
    let size = size.min(8 * PAGE_SIZE);
    for encoding in [Encoding::Pages, Encoding::Runs] {
        let mut again = vec![0x11; BLOCK_SIZE];
        assert_eq!(decode_block(&encode_block(&pages[..size], encoding), &mut again), Ok(size));
        assert!(again[..size] == pages[..size]);
    }
}

/// The value of the partition-state key.
pub fn partition_state(data: &[u8]) {
    let Ok(state) = PartitionState::parse(data.to_vec()) else { return };
    assert!(state.vp_count() > 0);
    assert!(state.vp_indices().is_sorted());
    for vp in state.vp_indices().take(8) {
        let enabled = state.enabled_vtls_of(vp).expect("the processor is there");
        let active = state.active_vtl(vp).expect("the processor is there");
        assert!(enabled >> active & 1 != 0 && enabled & !state.enabled_vtls() & !1 == 0);
        for vtl in 0..3 {
            for register in Register::x64().chain(Register::arm64()) {
                let value = state.register(vp, vtl, register);
                assert!(value.is_err() || enabled >> vtl & 1 != 0);
                // What is read can be written, and is the same when it is read again.
                if let Ok(value) = value {
                    let mut chunk = vec![0; register.place().1];
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

/// Makes every checksum right, as far as the structures can be found.
fn seal(file: &mut [u8]) {
    // The other container has no checksums.
    if !file.starts_with(&FILE_SIGNATURE.to_le_bytes()) {
        return;
    }
    for offset in HEADER_OFFSETS {
        let Some(header) = seal_at::<FileHeader>(file, offset as usize, 0) else { continue };
        let log = header.log_offset.get() as usize;
        let Some(pending) = seal_at::<LogHeader>(file, log, 0).map(|log| log.pending.get()) else { continue };
        for entry in 0..(pending as usize).min(PAGE_SIZE / size_of::<LogEntry>()) {
            let at = log.saturating_add(size_of::<LogHeader>() + entry * size_of::<LogEntry>());
            let Some(mut entry) = read::<LogEntry>(file, at) else { break };
            let data = log.checked_add(entry.data_offset.get() as usize);
            let data = data.and_then(|start| file.get(start..)?.get(..entry.size.get() as usize));
            entry.data_crc = crc32fast::hash(data.unwrap_or_default()).into();
            file[at..at + size_of::<LogEntry>()].copy_from_slice(entry.as_bytes());
            seal_at::<LogEntry>(file, at, 0);
        }
    }
    let mut next = Some((crate::container::storage::layout::FIRST_OBJECT_TABLE as usize, PAGE_SIZE));
    // As many tables as there are pages, whatever leads where.
    for _ in 0..PAGES {
        let Some((table, size)) = next.take() else { break };
        let room = size.min(file.len()).saturating_sub(size_of::<ObjectTableHeader>());
        let slots = room / size_of::<ObjectEntry>();
        for slot in 0..slots {
            let at = table.saturating_add(size_of::<ObjectTableHeader>() + slot * size_of::<ObjectEntry>());
            let Some(entry) = seal_at::<ObjectEntry>(file, at, 0) else { break };
            let (offset, size) = (entry.offset.get() as usize, entry.size.get() as usize);
            match entry.kind {
                object::NEXT_TABLE => next = Some((offset, size)),
                object::KEY_TABLE => seal_keys(file, offset, size),
                _ => {}
            }
        }
    }
}

fn seal_keys(file: &mut [u8], table: usize, size: usize) {
    seal_at::<KeyTableHeader>(file, table, 0);
    let mut at = table.saturating_add(size_of::<KeyTableHeader>());
    while at < table.saturating_add(size) {
        let Some(header) = read::<KeyHeader>(file, at) else { break };
        let value = at + size_of::<KeyHeader>() + usize::from(header.name_size);
        let length = file
            .get(value..)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let data = match header.kind {
            _ if header.flags & key::IN_FILE_OBJECT != 0 => 12,
            key::INT | key::UINT | key::DOUBLE => 8,
            key::BOOL => 4,
            key::NODE => 12,
            key::STRING | key::ARRAY => (length as usize).saturating_add(4),
            _ => (header.size.get() as usize)
                .saturating_sub(size_of::<KeyHeader>() + usize::from(header.name_size)),
        };
        seal_at::<KeyHeader>(file, at, usize::from(header.name_size).saturating_add(data));
        at += (header.size.get() as usize).max(1);
    }
}

fn read<T: FromBytes>(file: &[u8], at: usize) -> Option<T> {
    T::read_from_prefix(file.get(at..)?).ok().map(|(structure, _)| structure)
}

/// Makes the checksum of the structure at `at`, which covers `rest` bytes behind it, right, and gives the structure.
fn seal_at<T: FromBytes + Checked>(file: &mut [u8], at: usize, rest: usize) -> Option<T> {
    let structure = read::<T>(file, at)?;
    let behind = file.get(at + size_of::<T>()..)?.get(..rest)?;
    let sealed = structure.sealed(behind);
    file[at..at + size_of::<T>()].copy_from_slice(sealed.as_bytes());
    Some(sealed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use proptest::prelude::*;

    use super::*;
    use crate::partition::RegisterValue;
    use crate::write::{Machine, NewValue, Options, bin_and_vsv, vmrs};

    fn corpus(target: &str) -> std::path::PathBuf {
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
            tokens(&data);
            partition_state(&data);
        }

        /// One to four bytes of a good file are changed, at places where something stands.
        #[test]
        fn changed_files(old in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
            let mut data = seeds().swap_remove(usize::from(old));
            for (place, byte) in changes {
                let place = place.index(data.len());
                data[place] = byte;
            }
            container(&data);
        }

        #[test]
        fn changed_partition_states(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
            let mut data = state(&machine());
            for (place, byte) in changes {
                let place = place.index(data.len());
                data[place] = byte;
            }
            partition_state(&data);
        }
    }

    /// Folds a file into pieces without the zeros at the ends of its pages.
    fn fold(file: &[u8]) -> Vec<u8> {
        let mut pieces = vec![0];
        for (page, bytes) in file.chunks(PAGE_SIZE).enumerate() {
            let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            pieces.push(page as u8);
            pieces.extend((used as u16).to_le_bytes());
            pieces.extend_from_slice(&bytes[..used]);
        }
        pieces
    }

    fn machine() -> Machine {
        let mut machine = Machine::default();
        (machine.os_id, machine.crash) = (0x8100_0006_0105_0000, [1; 5]);
        let mut memory = vec![0; 64 << 10];
        memory[0x100..0x103].copy_from_slice(b"ram");
        machine.memory(0, memory);
        machine.fill(1 << 20, 8192, *b"pattern!");
        machine.vp().set(Register::CR3, 0x1000).set(Register::EFER, 0x500).set_privilege_level(3);
        let vp = machine.vp();
        vp.set(Register::RAX, 7).set_in_vtl(1, Register::CR3, RegisterValue::U64(0x2000));
        vp.set_in_vtl(0, Register::CR4, RegisterValue::U64(0x20));
        vp.set(Register::DR7, 0x400).set_value(Register::XMM0, RegisterValue::U128(1 << 99));
        vp.set_value(Register::GDTR, RegisterValue::Table { base: 0x1000, limit: 0x7F });
        vp.chunk(0x3002_1000, vec![1; 5]);
        machine.keys = vec![
            ("text".into(), NewValue::String("words".into())),
            ("real".into(), NewValue::Double(1.5)),
            ("yes".into(), NewValue::Bool(true)),
            ("a/b/c".into(), NewValue::UInt(3)),
        ];
        machine
    }

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

    /// Good files of both formats.
    fn seeds() -> Vec<Vec<u8>> {
        let options = Options { encoding: Encoding::Pages, log_pages: 1 };
        let (bin, vsv) = bin_and_vsv(&machine(), &options);
        let good = vmrs(&machine(), &options);
        vec![fold(&good), fold(&vsv), fold(&bin), fold(&with_log(&good))]
    }

    /// Its last page is still in the replay log; sealing makes the checksums right.
    fn with_log(good: &[u8]) -> Vec<u8> {
        const LOG: usize = 0x3000;
        let mut file = good.to_vec();
        let last = file.len() - PAGE_SIZE;
        file.copy_within(last.., LOG + PAGE_SIZE);
        let entry = LogEntry {
            destination: (last as u64).into(),
            size: (PAGE_SIZE as u32).into(),
            data_offset: (PAGE_SIZE as u64).into(),
            crc: 0.into(),
            data_crc: 0.into(),
        };
        file[LOG + 34..LOG + 34 + size_of::<LogEntry>()].copy_from_slice(entry.as_bytes());
        file[LOG + 8] = 1;
        seal(&mut file);
        file[last..].fill(0xAA);
        file
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
        let all = [
            ("saved-state-container", seeds()),
            ("saved-state-tokens", vec![tokens_of(Encoding::Pages), tokens_of(Encoding::Runs)]),
            ("saved-state-partition", vec![with_short_prolog(state(&machine()))]),
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
}

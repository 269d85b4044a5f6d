// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reading saved states costs: decompression of genuine pages next to lz4_flex's safe decoder on the same pages, fill
//! pages to a raw image, and the opening of a large save. `cargo bench -p openviridian-saved-state`
//!
//! A number next to another one of the same run says more than one alone: machines differ, and neighbours are noisy.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufWriter};
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fmt};

use saved_state::export::{FileSink, Form, Sink, StreamSink, export};
use saved_state::memory::{Encoding, PAGE_SIZE, xpress};
use saved_state::write::{Machine, Options, write_vmrs};
use saved_state::{Container, FileSource, Register, SavedState};

const ONE: NonZero<usize> = NonZero::<usize>::MIN;
/// How long a loop is measured; the best of several counts.
const ROUND: Duration = Duration::from_millis(150);
const ROUNDS: u32 = 5;

struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} GB/s", self.0 / 1e9)
    }
}

/// Best rate, in bytes a second, of work that makes `bytes` bytes a time.
fn best(bytes: usize, work: &mut dyn FnMut()) -> Rate {
    let mut best = 0_f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut times = 0;
        while start.elapsed() < ROUND {
            work();
            times += 1;
        }
        best = best.max(f64::from(times) * bytes as f64 / start.elapsed().as_secs_f64());
    }
    Rate(best)
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, mode, path] = &arguments[..]
        && mode == "open"
    {
        return open(Path::new(path));
    }
    decompression();
    let scratch = tempfile::tempdir().expect("a folder for large files");
    fills(scratch.path());
    opening(scratch.path());
}

/// The compressed pages of the genuine file.
fn compressed_pages(path: &Path) -> Vec<Vec<u8>> {
    let file = File::open(path).expect("the genuine file");
    let container = Container::open(Box::new(FileSource::new(file).expect("its size"))).expect("a container");
    let mut pages = Vec::new();
    for block in 0.. {
        let Some(key) = container.find(&format!("savedstate/RamBlock{block}")) else { break };
        let stored = container.read_array(key, 2 << 20).expect("a block");
        let mut rest = &stored[..];
        while let Some((token, after)) = rest.split_first_chunk() {
            let token = u32::from_le_bytes(*token) as usize;
            rest = match token {
                0..PAGE_SIZE => {
                    let (page, after) = after.split_at(token);
                    pages.push(page.to_vec());
                    after
                }
                PAGE_SIZE => &after[PAGE_SIZE..],
                0xFFFF_FFFE => &after[8..],
                _ => break,
            };
        }
    }
    pages
}

fn decompression() {
    let Some(folder) = common::genuine() else { return };
    let pages = compressed_pages(&folder.join("test_file.VMRS"));
    let mut output = [0; PAGE_SIZE];
    let plain: Vec<[u8; PAGE_SIZE]> = pages
        .iter()
        .map(|page| {
            xpress::decompress(page, &mut output).expect("a genuine page");
            output
        })
        .collect();
    let bytes = pages.len() * PAGE_SIZE;
    let ours = best(bytes, &mut || {
        for page in &pages {
            xpress::decompress(black_box(page), &mut output).expect("a genuine page");
            black_box(&output);
        }
    });
    let lz4: Vec<Vec<u8>> = plain.iter().map(|page| lz4_flex::block::compress(page)).collect();
    let theirs = best(bytes, &mut || {
        for page in &lz4 {
            lz4_flex::block::decompress_into(black_box(page), &mut output).expect("its own page");
            black_box(&output);
        }
    });
    let size = |pages: &[Vec<u8>]| pages.iter().map(Vec::len).sum::<usize>() * 100 / bytes;
    println!(
        "{} genuine pages: {ours} a core out of XPRESS ({} % of their size); lz4_flex, safe: {theirs} ({} %); ratio {:.2}",
        pages.len(),
        size(&pages),
        size(&lz4),
        ours.0 / theirs.0
    );
}

fn save(path: &Path, size: u64, pattern: [u8; 8], encoding: Encoding) {
    let mut machine = Machine::default();
    machine.vp().set(Register::RIP, 0);
    machine.fill(0, size, pattern);
    let file = BufWriter::new(File::create(path).expect("a new file"));
    write_vmrs(&machine, &Options { encoding, ..Options::default() }, file).expect("a save");
}

/// Time for which this thread had a processor: what is left waits for disks and neighbours.
fn processor_time() -> Duration {
    let spent = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(spent.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number"))
}

fn fills(scratch: &Path) {
    const SIZE: u64 = 4 << 30;
    let path = scratch.join("fills.vmrs");
    for (name, pattern) in [("0xCC", [0xCC; 8]), ("eight-byte patterns", *b"pattern!"), ("zero", [0; 8])] {
        save(&path, SIZE, pattern, Encoding::Pages);
        let saved = SavedState::open(&path).expect("our own save");
        let to = |what: &str, sink: &mut dyn Sink| {
            let (start, used) = (Instant::now(), processor_time());
            export(&saved, Form::Raw, ONE, sink, &mut |_| ()).expect("an export");
            let rate = Rate(SIZE as f64 / start.elapsed().as_secs_f64());
            let used = processor_time() - used;
            print!("4 GiB of {name} pages to a raw image, one thread, {what}: {rate}");
            println!(", {} a core", Rate(SIZE as f64 / used.as_secs_f64()));
        };
        to("decoded and thrown away", &mut StreamSink(io::sink()));
        let raw = scratch.join("raw");
        let file = File::create(&raw).expect("a new file");
        let how = if pattern == [0; 8] { "to a file, as holes" } else { "to a file, written and synced" };
        to(how, &mut FileSink::new(file));
        fs::remove_file(raw).expect("the raw image");
    }
}

/// Opens the save and tells how long that took and how much memory it took: in a process of its own, so that nothing else counts.
fn open(path: &Path) {
    let memory = |name: &str| {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line for it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    let before = memory("VmRSS");
    let start = Instant::now();
    let saved = SavedState::open(path).expect("our own save");
    let time = start.elapsed();
    let peak = memory("VmHWM") - before;
    println!(
        "{time:.1?}, {:.1} MiB at most, {} blocks",
        peak as f64 / 1024.0,
        saved.memory().raw_size() >> 20
    );
}

fn opening(scratch: &Path) {
    const SIZE: u64 = 64 << 30;
    let path = scratch.join("large.vmrs");
    for (name, encoding) in [("sparse", Encoding::Runs), ("a file object for each block", Encoding::Pages)] {
        save(&path, SIZE, [0; 8], encoding);
        let size = fs::metadata(&path).expect("the save").len() >> 20;
        let this = env::current_exe().expect("this program");
        let answer = Command::new(this).arg("open").arg(&path).output().expect("this program again");
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        print!("opening 64 GiB, {name} ({size} MiB): {}", String::from_utf8_lossy(&answer.stdout));
    }
}

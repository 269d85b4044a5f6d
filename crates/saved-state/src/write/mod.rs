// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes saved states: .vmrs files, and .bin with .vsv files.

mod flat;
mod partition;
mod storage;

pub use partition::VpWriter;
pub use storage::StorageWriter;

use std::io::{self, Cursor, Seek, Write};

use crate::memory::{BLOCK_PAGES, BLOCK_SIZE, Encoding, MemoryBlock, PAGE_SIZE, encode_block};
use crate::partition::Vendor;

/// A value to write.
#[derive(Clone, Debug, PartialEq)]
pub enum NewValue {
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    UInt(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(String),
    /// Bytes.
    Array(Vec<u8>),
    /// Yes or no.
    Bool(bool),
}

/// How a saved state is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How memory is stored.
    pub encoding: Encoding,
    /// Pages of the replay log for data, besides its header page.
    pub log_pages: u32,
}

impl Default for Options {
    /// As Hyper-V writes.
    fn default() -> Self {
        Self { encoding: Encoding::Pages, log_pages: 12 }
    }
}

/// Contents of a part of memory.
#[derive(Clone, Debug)]
enum Contents {
    /// Whole pages.
    Bytes(Vec<u8>),
    /// Pages that repeat eight bytes.
    Fill { pages: u64, pattern: [u8; 8] },
}

impl Contents {
    fn pages(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => (bytes.len() / PAGE_SIZE) as u64,
            Self::Fill { pages, .. } => *pages,
        }
    }
}

/// A machine to save.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Version of the virtual machine: major in bits 15:8, minor in 7:0.
    pub version: u32,
    /// Who made the processors.
    pub vendor: Vendor,
    /// The guest OS identity register.
    pub os_id: u64,
    /// The crash parameter registers.
    pub crash: [u64; 5],
    /// Chunks of the partition besides the usual ones: number and data.
    pub chunks: Vec<(u32, Vec<u8>)>,
    /// Keys besides the usual ones: path and value.
    pub keys: Vec<(String, NewValue)>,
    vps: Vec<VpWriter>,
    /// By guest-physical address.
    memory: Vec<(u64, Contents)>,
}

impl Default for Machine {
    /// An Intel machine of version 9.0 without processors and memory.
    fn default() -> Self {
        Self {
            version: 0x0900,
            vendor: Vendor::Intel,
            os_id: 0,
            crash: [0; 5],
            chunks: Vec::new(),
            keys: Vec::new(),
            vps: Vec::new(),
            memory: Vec::new(),
        }
    }
}

impl Machine {
    /// Adds a processor with the next index.
    pub fn vp(&mut self) -> &mut VpWriter {
        let index = self.vps.len() as u32;
        self.vps.push(VpWriter::new(index));
        let last = self.vps.len() - 1;
        &mut self.vps[last]
    }

    /// Adds memory at a guest-physical address.
    ///
    /// # Panics
    /// If address or size are no whole pages.
    pub fn memory(&mut self, gpa: u64, bytes: Vec<u8>) {
        assert!(bytes.len().is_multiple_of(PAGE_SIZE), "memory is made of whole pages");
        self.add(gpa, Contents::Bytes(bytes));
    }

    /// Adds memory that repeats eight bytes.
    ///
    /// # Panics
    /// If address or size are no whole pages.
    pub fn fill(&mut self, gpa: u64, size: u64, pattern: [u8; 8]) {
        assert!(size.is_multiple_of(PAGE_SIZE as u64), "memory is made of whole pages");
        self.add(gpa, Contents::Fill { pages: size / PAGE_SIZE as u64, pattern });
    }

    fn add(&mut self, gpa: u64, contents: Contents) {
        assert!(gpa.is_multiple_of(PAGE_SIZE as u64), "memory begins at a page");
        self.memory.push((gpa, contents));
        self.memory.sort_by_key(|(gpa, _)| *gpa);
    }

    /// Everything but the memory's contents: names without prefix, and values.
    fn state(&self) -> Vec<(String, NewValue)> {
        let crash = self.crash.iter().flat_map(|word| word.to_le_bytes()).collect();
        vec![
            ("savedVM/guest_crash_msrs".into(), NewValue::Array(crash)),
            ("savedVM/partition_state".into(), NewValue::Array(partition::partition_state(self))),
        ]
    }

    /// Parts of memory with the number of the first of their saved pages; each begins with a block.
    fn placed(&self) -> impl Iterator<Item = (MemoryBlock, &Contents)> {
        let mut next = 0_u64;
        self.memory.iter().map(move |(gpa, contents)| {
            let first_saved_page = next;
            next += contents.pages().next_multiple_of(BLOCK_PAGES as u64);
            let first_gpa_page = gpa / PAGE_SIZE as u64;
            let page_count = contents.pages();
            (
                MemoryBlock { flags: 0, page_count, first_saved_page, first_gpa_page, virtual_node: 0 },
                contents,
            )
        })
    }

    /// Gives every block of memory, encoded, with its number.
    fn blocks(
        &self,
        encoding: Encoding,
        put: &mut dyn FnMut(u64, Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        for (place, contents) in self.placed() {
            let first = place.first_saved_page / BLOCK_PAGES as u64;
            match contents {
                Contents::Bytes(bytes) => {
                    for (number, block) in (first..).zip(bytes.chunks(BLOCK_SIZE)) {
                        put(number, encode_block(block, encoding))?;
                    }
                }
                Contents::Fill { pages, pattern } => {
                    let encode = |pages: u64| {
                        encode_block(&pattern.repeat(pages as usize * PAGE_SIZE / pattern.len()), encoding)
                    };
                    let whole = encode(BLOCK_PAGES as u64);
                    for number in first..first + pages / BLOCK_PAGES as u64 {
                        put(number, whole.clone())?;
                    }
                    if !pages.is_multiple_of(BLOCK_PAGES as u64) {
                        put(first + pages / BLOCK_PAGES as u64, encode(pages % BLOCK_PAGES as u64))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes a .vmrs file.
///
/// # Errors
/// If `output` cannot be written, or there are more keys than a file can have.
pub fn write_vmrs(machine: &Machine, options: &Options, output: impl Write + Seek) -> io::Result<()> {
    let mut storage = StorageWriter::new(output, options.log_pages)?;
    let version = i64::from(machine.version);
    storage.put("configuration/properties/version", &NewValue::Int(version))?;
    storage.put("savedstate/VmVersion", &NewValue::Int(version))?;
    storage.put("savedstate/type", &NewValue::String("Normal".into()))?;
    for (name, value) in machine.state() {
        storage.put(&format!("savedstate/{name}"), &value)?;
    }
    for (number, (place, _)) in machine.placed().enumerate() {
        storage.put(&format!("savedstate/RamMemoryBlock{number}"), &NewValue::Array(place.to_bytes()))?;
    }
    for (path, value) in &machine.keys {
        storage.put(path, value)?;
    }
    machine.blocks(options.encoding, &mut |number, block| {
        storage.put(&format!("savedstate/RamBlock{number}"), &NewValue::Array(block))
    })?;
    storage.finish()
}

/// A .vmrs file in memory.
///
/// # Panics
/// If there are more keys than a file can have.
pub fn vmrs(machine: &Machine, options: &Options) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    write_vmrs(machine, options, &mut file).expect("writing to memory fails only for too many keys");
    file.into_inner()
}

/// A .bin and a .vsv file in memory.
pub fn bin_and_vsv(machine: &Machine, options: &Options) -> (Vec<u8>, Vec<u8>) {
    let mut bin = Vec::new();
    let gathered = machine.blocks(options.encoding, &mut |number, block| {
        bin.push((format!("RamBlock/{number}/"), NewValue::Array(block)));
        Ok(())
    });
    debug_assert!(gathered.is_ok(), "gathering blocks cannot fail");
    let mut vsv: Vec<_> =
        machine.state().into_iter().map(|(name, value)| (format!("/{name}"), value)).collect();
    for (number, (place, _)) in machine.placed().enumerate() {
        vsv.push((format!("RamMemoryBlock/{number}/"), NewValue::Array(place.to_bytes())));
    }
    vsv.extend(machine.keys.iter().map(|(path, value)| (format!("/{path}"), value.clone())));
    (flat::flat(&bin), flat::flat(&vsv))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--core`: the guest's memory and processors as an ELF core, for gdb, crash and other readers of Linux cores.
//!
//! Memory is in the file once. Program headers show it at the guest-virtual addresses that the page tables give it, which
//! is where a debugger looks for a kernel's symbols, and again, whole, at [`PHYSICAL`] plus its guest-physical address.

mod elf;
mod mappings;
mod notes;

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hypervisor::Vp;
use memory::{PAGE_SIZE, Rights, Space};
use x86::control::{Cr0, Cr4, Efer};
use x86::paging::{PagingRegisters, load_pdptes};

use super::VIEW;
use crate::refusal::Refusal;
use crate::signals;
use crate::unfinished::{self, Unfinished};
use elf::Load;
use mappings::{Collector, Mapping, Tables};

/// Where memory is shown by guest-physical address: no 4-level or 5-level page table can map anything there.
const PHYSICAL: u64 = 1 << 63;
/// The most runs of guest-virtual addresses that are shown; a header counts programs in 16 bits. Of more, the longest.
const MOST_RUNS: usize = 60_000;
/// Memory is copied in pieces of this size, and those that are all zeros are left out.
const PIECE: usize = 16 * PAGE_SIZE as usize;

/// Where a core is to be written.
pub(crate) struct CoreFile {
    path: PathBuf,
}

impl CoreFile {
    /// Makes sure, before the run, that a core could be written.
    pub(crate) fn new(path: &Path) -> Result<Self, Refusal> {
        let refusal = |source: io::Error| Refusal::Write { path: path.to_owned(), source };
        // A core replaces what has its name: that may be an older core, but no device, pipe, folder or link.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(refusal(io::Error::other("it is there already, and is not a regular file")));
        }
        unfinished::check(path).map_err(refusal)?;
        Ok(Self { path: path.to_owned() })
    }

    /// The file's name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the core. Under its own name there is a whole one or none.
    pub(crate) fn write(&self, space: &Space, memory: &[Range<u64>], vps: &mut [Vp]) -> Result<(), Refusal> {
        let refusal = |source: io::Error| Refusal::Write { path: self.path.clone(), source };
        let unfinished = Unfinished::begin(&self.path).map_err(refusal)?;
        let mut collected = Vec::new();
        let mut collector = Collector::new(space);
        for (position, vp) in vps.iter_mut().enumerate() {
            let state = vp.registers().save();
            notes::append_vp(&mut collected, vp.index(), &state);
            collector.add(&paging_registers(space, &state.control), position == 0);
        }
        notes::append_vmcoreinfo(&mut collected, space, memory);
        let headers = elf::headers(&collected, &loads(collector.finish(), memory));

        let file = unfinished.file().map_err(refusal)?;
        let bytes: u64 = memory.iter().map(|range| range.end - range.start).sum();
        file.set_len(headers.len() as u64 + bytes).map_err(refusal)?;
        file.write_all_at(&headers, 0).map_err(refusal)?;
        let mut offset = headers.len() as u64;
        let mut piece = [0; PIECE];
        for range in memory {
            let mut gpa = range.start;
            while gpa < range.end {
                if let Some(signal) = signals::received() {
                    return Err(refusal(io::Error::other(format!("{} came first", signals::name(signal)))));
                }
                let length = (range.end - gpa).min(PIECE as u64) as usize;
                space.read(VIEW, gpa, &mut piece[..length], Rights::NONE)?;
                if piece[..length].iter().any(|byte| *byte != 0) {
                    file.write_all_at(&piece[..length], offset).map_err(refusal)?;
                }
                (gpa, offset) = (gpa + length as u64, offset + length as u64);
            }
        }
        unfinished.finish().map_err(refusal)
    }
}

fn paging_registers(space: &Space, control: &engine::ControlRegisters) -> PagingRegisters {
    let width = PagingRegisters::default().physical_address_width;
    let pdptes = load_pdptes(&mut Tables(space), control.cr3, width).ok().flatten();
    PagingRegisters {
        cr0: Cr0::from_bits(control.cr0),
        cr3: control.cr3,
        cr4: Cr4::from_bits(control.cr4),
        efer: Efer::from_bits(control.efer),
        pdptes: pdptes.unwrap_or_default(),
        ..PagingRegisters::default()
    }
}

/// Cuts mappings to the memory that there is, lowest guest-physical address first, and adds memory itself behind them.
///
/// The order matters to readers that take everything before the first program's content for the headers.
fn loads(runs: Vec<Mapping>, memory: &[Range<u64>]) -> Vec<Load> {
    let mut starts = Vec::new();
    let mut bytes = 0;
    for range in memory {
        starts.push((range.clone(), bytes));
        bytes += range.end - range.start;
    }
    let mut loads = Vec::new();
    for run in runs {
        for (range, content) in &starts {
            let (first, end) = (run.gpa.max(range.start), (run.gpa + run.bytes).min(range.end));
            if first < end {
                let address = run.gva + (first - run.gpa);
                loads.push(Load {
                    address,
                    gpa: first,
                    bytes: end - first,
                    content: content + (first - range.start),
                });
            }
        }
    }
    loads.sort_by_key(|load| std::cmp::Reverse(load.bytes));
    loads.truncate(MOST_RUNS);
    loads.sort_by_key(|load| (load.gpa, load.address));
    loads.extend(starts.iter().map(|(range, content)| Load {
        address: PHYSICAL + range.start,
        gpa: range.start,
        bytes: range.end - range.start,
        content: *content,
    }));
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_replaces_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("core");
        assert!(CoreFile::new(&file).is_ok());
        fs::write(&file, "an older core").unwrap();
        assert!(CoreFile::new(&file).is_ok());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for refused in [link.as_path(), folder.path(), Path::new("/dev/null")] {
            let refusal = CoreFile::new(refused).err().unwrap().to_string();
            assert!(refusal.contains("not a regular file"), "{refused:?}: {refusal}");
        }
    }
}

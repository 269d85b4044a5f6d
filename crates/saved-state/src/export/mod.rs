// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the guest's memory in the forms that other tools read: raw, ELF core, LiME.

mod elf;
mod pipeline;
mod sink;

pub use sink::{FileSink, Sink, StreamSink};

use std::num::NonZero;

use crate::error::{Error, Result};
use crate::memory::{PAGE_SIZE, Span};
use crate::state::SavedState;

const PAGE: u64 = PAGE_SIZE as u64;

/// A form of memory image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each byte at its guest-physical address; where there is no memory is a hole.
    Raw,
    /// An ELF core: each chunk of memory is a segment at its guest-physical address, each processor a thread.
    ElfCore,
    /// The format of the Linux Memory Extractor: each chunk of memory behind a header with its addresses.
    Lime,
}

/// First four bytes of a LiME header.
const LIME_SIGNATURE: u32 = 0x4C69_4D45;

/// Writes all memory to `sink` with that many threads decoding. `progress` is called with the number of bytes of memory that are done.
///
/// # Errors
/// [`Error::Write`]; whatever keeps memory from being decoded; [`Error::Unsupported`] for the ELF core of an ARM64 guest.
pub fn export(
    saved: &SavedState,
    form: Form,
    threads: NonZero<usize>,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let layout = saved.memory().layout();
    if form == Form::ElfCore {
        sink.write(&elf::head(saved)?).map_err(Error::Write)?;
    }
    let mut chunks = layout.chunks().into_iter();
    let mut done = 0;
    let mut end = 0;
    pipeline::run(saved.memory(), threads, &mut |span: Span, bytes: &[u8]| {
        if form == Form::Raw {
            sink.skip(span.gpa - end).map_err(Error::Write)?;
        } else if (end == 0 || span.gpa != end)
            && let Some(chunk) = chunks.next()
            && form == Form::Lime
        {
            let first = chunk.first_page * PAGE;
            sink.write(&lime_header(first, first + (chunk.page_count * PAGE - 1))).map_err(Error::Write)?;
        }
        sink.write(bytes).map_err(Error::Write)?;
        end = span.gpa + span.size as u64;
        done += span.size as u64;
        progress(done);
        Ok(())
    })?;
    sink.finish().map_err(Error::Write)
}

/// 32 bytes in front of each chunk: signature, version, first and last address, reserved.
fn lime_header(first: u64, last: u64) -> [u8; 32] {
    let mut header = [0; 32];
    header[..4].copy_from_slice(&LIME_SIGNATURE.to_le_bytes());
    header[4..8].copy_from_slice(&1_u32.to_le_bytes());
    header[8..16].copy_from_slice(&first.to_le_bytes());
    header[16..24].copy_from_slice(&last.to_le_bytes());
    header
}

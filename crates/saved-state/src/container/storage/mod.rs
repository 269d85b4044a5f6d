// SPDX-License-Identifier: MIT OR Apache-2.0
//! HyperVStorage: two header copies, a replay log, a chain of object tables, key tables and file objects.

mod keys;
pub(crate) mod layout;
pub(crate) mod log;
mod objects;

use crate::container::index::Index;
use crate::container::read;
use crate::error::{Error, Problem, Result};
use crate::source::Source;
use layout::{ALIGNMENT, Checked, FILE_SIGNATURE, FORMAT_2_0, FORMAT_4_0, FileHeader, HEADER_OFFSETS};
use log::PendingLog;

/// What [`open`] found.
pub(crate) struct Opened {
    pub(crate) log: PendingLog,
    pub(crate) index: Index,
    pub(crate) format_version: u32,
    /// Where the last of what the file describes ends.
    pub(crate) end: u64,
}

/// Reads header, log and keys.
pub(crate) fn open(source: &dyn Source) -> Result<Opened> {
    let header = header(source)?;
    let format_version = header.format_version.get();
    let log = PendingLog::read(source, &header)?;
    let seen = log.view(source);
    let objects = objects::read(&seen, format_version)?;
    let index = keys::read(&seen, &objects)?;
    let log_end = header.log_offset.get().saturating_add(header.log_size.get());
    Ok(Opened { log, index, format_version, end: objects.end().max(log_end) })
}

/// The header copy that counts: of the sound ones the later written.
pub(crate) fn header(source: &dyn Source) -> Result<FileHeader> {
    let copy = |offset| {
        let header: FileHeader = read::structure(source, offset, "file header").ok()?;
        (header.signature.get() == FILE_SIGNATURE && header.is_sound(&[])).then_some(header)
    };
    let header = match HEADER_OFFSETS.map(copy) {
        [Some(first), Some(second)] => {
            // Sequences wrap around.
            let ahead = second.sequence.get().wrapping_sub(first.sequence.get());
            if (1..0x8000).contains(&ahead) { second } else { first }
        }
        [Some(header), None] | [None, Some(header)] => header,
        [None, None] => {
            return Err(Error::Damaged { what: "file header", offset: 0, problem: Problem::BothCopies });
        }
    };
    let version = header.format_version.get();
    if !(FORMAT_2_0..=FORMAT_4_0 | 0xFF).contains(&version) {
        return Err(Error::UnknownVersion { what: "HyperVStorage", version: version.into() });
    }
    if u64::from(header.alignment.get()) != ALIGNMENT {
        return Err(Error::Damaged {
            what: "alignment in the file header",
            offset: 0,
            problem: Problem::Size,
        });
    }
    Ok(header)
}

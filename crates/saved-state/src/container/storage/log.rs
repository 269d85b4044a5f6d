// SPDX-License-Identifier: MIT OR Apache-2.0
//! The replay log: writes that were decided but may not have reached their places.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::layout::{Checked, FileHeader, LOG_SIGNATURE, LogEntry, LogHeader};
use crate::container::{flat_layout, read};
use crate::error::{Error, Problem, Result};
use crate::source::{FileSource, Source, open_regular};

/// Longest log. Real ones have a few dozen pages.
const MOST_LOG: u64 = 256 << 20;

/// The entries that a reader must see as if they had been applied.
#[derive(Debug, Default)]
pub(crate) struct PendingLog {
    /// In the order in which they are applied.
    entries: Vec<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    destination: u64,
    size: u32,
    /// Where the data is in the file.
    data: u64,
}

impl PendingLog {
    /// Reads and checks the entries that are pending; most files have none.
    pub(super) fn read(source: &dyn Source, file: &FileHeader) -> Result<Self> {
        let (start, size) = (file.log_offset.get(), file.log_size.get());
        let damaged = |offset, problem| Error::Damaged { what: "replay log", offset, problem };
        if size == 0 {
            return Ok(Self::default());
        }
        let header: LogHeader = read::structure(source, start, "replay log")?;
        if header.signature.get() != LOG_SIGNATURE {
            return Err(damaged(start, Problem::Signature));
        }
        if !header.is_sound(&[]) {
            return Err(damaged(start, Problem::Checksum));
        }
        let count = header.pending.get();
        if count == 0 {
            // What follows are old entries; the file may even end here.
            return Ok(Self::default());
        }
        read::check_limit("the replay log", size, MOST_LOG)?;
        read::check_bounds(source, start, size, "replay log")?;
        let room =
            u64::from(file.log_header_size.get()).min(size).saturating_sub(size_of::<LogHeader>() as u64);
        if u64::from(count) > room / size_of::<LogEntry>() as u64 {
            return Err(damaged(start, Problem::Size));
        }
        let mut entries = Vec::new();
        let mut total = 0;
        for number in 0..u64::from(count) {
            let at = start + size_of::<LogHeader>() as u64 + number * size_of::<LogEntry>() as u64;
            let entry: LogEntry = read::structure(source, at, "replay log entry")?;
            if !entry.is_sound(&[]) {
                return Err(damaged(at, Problem::Checksum));
            }
            let (length, data) = (u64::from(entry.size.get()), entry.data_offset.get());
            total += length;
            let fits = data.checked_add(length).is_some_and(|end| end <= size) && total <= size;
            let destination = entry.destination.get();
            // The file may grow, but not by more than the log holds.
            let end = destination.checked_add(length).filter(|&end| end <= source.len().saturating_add(size));
            let Some(end) = end.filter(|_| fits) else { return Err(damaged(at, Problem::OutOfBounds)) };
            // The log must stay as it is until all of it is applied.
            if destination < start + size && start < end {
                return Err(damaged(at, Problem::Overlap));
            }
            let bytes = read::bytes(source, start + data, length, "replay log data")?;
            if crc32fast::hash(&bytes) != entry.data_crc.get() {
                return Err(damaged(start + data, Problem::Checksum));
            }
            entries.push(Pending { destination, size: entry.size.get(), data: start + data });
        }
        Ok(Self { entries })
    }

    /// Number of pending entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The source as it will be when the log has been applied.
    pub(super) fn view<'a>(&'a self, source: &'a dyn Source) -> View<'a> {
        View { log: self, source }
    }

    /// Fills `buffer` with what will be at `offset` when the log has been applied.
    pub(crate) fn read_through(&self, source: &dyn Source, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.entries.is_empty() {
            return source.read_at(offset, buffer);
        }
        let end = offset.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.length(source) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Entries may lengthen the file; what nobody wrote is zero.
        buffer.fill(0);
        let stored = source.len().saturating_sub(offset).min(buffer.len() as u64) as usize;
        if stored > 0 {
            source.read_at(offset, &mut buffer[..stored])?;
        }
        for entry in &self.entries {
            let from = entry.destination.max(offset);
            let to = (entry.destination + u64::from(entry.size)).min(end);
            if from < to {
                let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
                source.read_at(entry.data + (from - entry.destination), target)?;
            }
        }
        Ok(())
    }

    fn length(&self, source: &dyn Source) -> u64 {
        let ends = self.entries.iter().map(|entry| entry.destination + u64::from(entry.size));
        ends.fold(source.len(), u64::max)
    }
}

/// A source seen through its log.
pub(super) struct View<'a> {
    log: &'a PendingLog,
    source: &'a dyn Source,
}

impl Source for View<'_> {
    fn len(&self) -> u64 {
        self.log.length(self.source)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.log.read_through(self.source, offset, buffer)
    }
}

/// Copies the pending entries of a .vmrs file's replay log to their places in the file and marks the log as empty.
/// Gives the number of entries; a file without any is not written to. An interruption does no harm: the log then is still
/// pending.
///
/// # Errors
/// [`Error::Open`] if the file is no regular one, cannot be opened for writing, or somebody else has it locked; [`Error::Unsupported`] for
/// .bin and .vsv files; as
/// [`Container::open`](crate::Container::open) for damaged files, which are left as they are; [`Error::Write`].
pub fn apply_pending_log(path: &Path) -> Result<usize> {
    let open = |source| Error::Open { path: path.into(), source };
    let file = open_regular(path, File::options().read(true).write(true))?;
    file.try_lock().map_err(|error| {
        open(match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::ResourceBusy.into(),
        })
    })?;
    let source = FileSource::new(file.try_clone().map_err(open)?).map_err(open)?;
    if read::structure::<U32>(&source, 0, "signature")?.get() == flat_layout::SIGNATURE {
        return Err(Error::Unsupported(".bin and .vsv files have no replay log that could be applied"));
    }
    let header = super::header(&source)?;
    let log = PendingLog::read(&source, &header)?;
    if log.entries.is_empty() {
        return Ok(0);
    }
    // Nothing is changed before the result is known to be readable.
    super::open(&source)?;
    let start = header.log_offset.get();
    for entry in &log.entries {
        let data = read::bytes(&source, entry.data, entry.size.into(), "replay log data")?;
        file.write_all_at(&data, entry.destination).map_err(Error::Write)?;
    }
    file.sync_all().map_err(Error::Write)?;
    let old: LogHeader = read::structure(&source, start, "replay log")?;
    let done = LogHeader { pending: 0.into(), ..old }.sealed(&[]);
    file.write_all_at(done.as_bytes(), start).map_err(Error::Write)?;
    file.sync_all().map_err(Error::Write)?;
    Ok(log.entries.len())
}

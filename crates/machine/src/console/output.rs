// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest sends, on its way to a file descriptor.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{ConsoleEvent, Listener};
use crate::SerialOutput;

/// Writes to a file, waiting as long as its reader takes. After the first error everything is dropped.
#[derive(Clone)]
pub(super) struct Output {
    file: Arc<OwnedFd>,
    /// The first error.
    closed: Arc<OnceLock<Errno>>,
    /// Nobody waits for the reader any more.
    abandoned: Arc<AtomicBool>,
    listener: Listener,
}

/// Bytes that a pipe which poll calls writable takes without blocking.
const PIECE: usize = 4096;
/// How long a stalled reader can hold up the news that nobody waits for it any more.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

impl Output {
    pub(super) fn new(file: OwnedFd, listener: Listener) -> Self {
        Self { file: Arc::new(file), closed: Arc::default(), abandoned: Arc::default(), listener }
    }

    /// Drops what the reader does not take at once, from now on.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Why bytes were lost, unless their reader only went away.
    pub(super) fn failure(&self) -> Option<Errno> {
        self.closed.get().copied().filter(|&errno| errno != Errno::PIPE)
    }

    fn write_all(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            // Waiting happens here and not in the write, so that it can be given up.
            let mut files = [PollFd::new(&*self.file, PollFlags::OUT)];
            match poll(&mut files, Some(&PATIENCE)) {
                Ok(0) if self.abandoned.load(Ordering::Relaxed) => return Ok(()),
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno),
            }
            match rustix::io::write(&self.file, &bytes[..bytes.len().min(PIECE)]) {
                Ok(written) => bytes = &bytes[written..],
                // Someone who shares the file set it to non-blocking, and was faster.
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl SerialOutput for Output {
    fn write(&mut self, bytes: &[u8]) {
        if self.closed.get().is_some() {
            return;
        }
        if let Err(errno) = self.write_all(bytes)
            && self.closed.set(errno).is_ok()
        {
            self.listener.notify(ConsoleEvent::OutputClosed);
        }
    }
}

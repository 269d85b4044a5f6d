// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest sends, on its way to a file descriptor.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{ConsoleEvent, Listener};
use crate::SerialOutput;

/// Writes to a file, waiting as long as its reader takes. After the first error everything is dropped.
#[derive(Clone)]
pub(super) struct Output {
    file: Arc<OwnedFd>,
    closed: Arc<AtomicBool>,
    listener: Listener,
}

impl Output {
    pub(super) fn new(file: OwnedFd, listener: Listener) -> Self {
        Self { file: Arc::new(file), closed: Arc::default(), listener }
    }

    fn write_all(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.file, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                // Someone who shares the file set it to non-blocking.
                Err(Errno::AGAIN) => {
                    let mut files = [PollFd::new(&*self.file, PollFlags::OUT)];
                    match poll(&mut files, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl SerialOutput for Output {
    fn write(&mut self, bytes: &[u8]) {
        if !self.closed.load(Ordering::Relaxed) && self.write_all(bytes).is_err() {
            self.closed.store(true, Ordering::Relaxed);
            self.listener.notify(ConsoleEvent::OutputClosed);
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a file descriptor to the serial port: a thread that reads, the escape key, and a bounded queue.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{ConsoleEvent, Listener};
use crate::SerialInput;

/// Ctrl-], as a terminal sends it.
const ESCAPE: u8 = 0x1D;
const QUIT: u8 = b'x';
const REPORT: u8 = b'p';

/// Bytes that wait for the guest at most.
const QUEUE_SIZE: usize = 4096;
const READ_SIZE: usize = 512;

/// Until the guest is told again that input has ended.
const TELL_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Bytes on their way to the guest.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    bytes: VecDeque<u8>,
    stopped: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds as many of `bytes` as there is room for, and returns how many.
    fn push(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let room = QUEUE_SIZE - state.bytes.len();
        let taken = bytes.len().min(room);
        state.bytes.extend(&bytes[..taken]);
        taken
    }

    fn is_empty(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Waits until there is room. `false` if the console is being closed.
    fn wait_for_room(&self) -> bool {
        let full = |state: &mut QueueState| state.bytes.len() >= QUEUE_SIZE && !state.stopped;
        let state = self.changed.wait_while(self.lock(), full);
        !state.unwrap_or_else(PoisonError::into_inner).stopped
    }
}

impl SerialInput for Arc<Queue> {
    fn next_byte(&mut self) -> Option<u8> {
        let mut state = self.lock();
        let was_full = state.bytes.len() == QUEUE_SIZE;
        let byte = state.bytes.pop_front();
        if was_full {
            self.changed.notify_all();
        }
        byte
    }
}

/// Finds the escape key among what is typed.
#[derive(Default)]
pub(super) struct EscapeFilter {
    pressed: bool,
}

impl EscapeFilter {
    /// Appends to `passed` what goes to the guest, and gives what the user wants of the host: the last of it, and after [`ConsoleEvent::Quit`]
    /// the rest is not looked at.
    pub(super) fn filter(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> Option<ConsoleEvent> {
        let mut wanted = None;
        for &byte in typed {
            match (std::mem::take(&mut self.pressed), byte) {
                (false, ESCAPE) => self.pressed = true,
                (false, byte) => passed.push(byte),
                (true, QUIT) => return Some(ConsoleEvent::Quit),
                (true, REPORT) => wanted = Some(ConsoleEvent::Report),
                (true, ESCAPE) => passed.push(ESCAPE),
                (true, byte) => passed.extend([ESCAPE, byte]),
            }
        }
        wanted
    }
}

/// Stops the reader when it is dropped.
pub(super) struct Stop {
    queue: Arc<Queue>,
    /// The reader sees the other end hang up.
    _pipe: OwnedFd,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.queue.lock().stopped = true;
        self.queue.changed.notify_all();
    }
}

/// The thread that reads.
pub(super) struct Reader {
    file: OwnedFd,
    stop: OwnedFd,
    queue: Arc<Queue>,
    listener: Listener,
    escape: Option<EscapeFilter>,
    at_end: Vec<u8>,
    /// Input so far ends with a whole line, or there was none.
    at_line_start: bool,
}

impl Reader {
    pub(super) fn new(
        file: OwnedFd,
        queue: Arc<Queue>,
        listener: Listener,
        terminal: bool,
        at_end: Vec<u8>,
    ) -> Result<(Self, Stop), Errno> {
        let (stop, pipe) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let escape = terminal.then(EscapeFilter::default);
        let reader =
            Self { file, stop, queue: Arc::clone(&queue), listener, escape, at_end, at_line_start: true };
        Ok((reader, Stop { queue, _pipe: pipe }))
    }

    pub(super) fn run(mut self) {
        let mut buffer = [0; READ_SIZE];
        while let Some(read) = self.read(&mut buffer) {
            if read.is_empty() {
                return self.end_of_input();
            }
            let mut passed = Vec::with_capacity(read.len());
            let wanted = match &mut self.escape {
                Some(escape) => escape.filter(read, &mut passed),
                None => {
                    passed.extend_from_slice(read);
                    None
                }
            };
            self.at_line_start = passed.last().map_or(self.at_line_start, |&last| last == b'\n');
            if !self.pass(&passed) {
                return;
            }
            if let Some(event) = wanted {
                self.listener.notify(event);
            }
            if wanted == Some(ConsoleEvent::Quit) {
                return;
            }
        }
    }

    /// Tells the guest that no more comes, and tells it again as long as it takes that and runs on. The end of a pipe is there for every read, but a
    /// byte that stands for it is not: a program that was reading may have ended by it, or the guest's terminal, changing its mode, made it void.
    fn end_of_input(&mut self) {
        let at_end = std::mem::take(&mut self.at_end);
        if !at_end.is_empty() && !self.at_line_start {
            self.pass(b"\n");
        }
        self.pass(&at_end);
        self.listener.notify(ConsoleEvent::EndOfInput);
        while !at_end.is_empty() && !self.is_closed_within(TELL_AGAIN) {
            if self.queue.is_empty() {
                self.pass(&at_end);
            }
        }
    }

    /// Waits; true as soon as the console is being closed.
    fn is_closed_within(&self, time: Timespec) -> bool {
        let mut files = [PollFd::new(&self.stop, PollFlags::IN)];
        match poll(&mut files, Some(&time)) {
            Ok(ready) => ready > 0,
            Err(errno) => errno != Errno::INTR,
        }
    }

    /// The next bytes: none at the end of input, `None` when the console is being closed.
    fn read<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            let mut files = [PollFd::new(&self.file, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut files, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return Some(&[]),
                Ok(_) => {}
            }
            if !files[1].revents().is_empty() {
                return None;
            }
            match rustix::io::read(&self.file, &mut *buffer) {
                Ok(length) => return Some(&buffer[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A terminal that hung up says EIO. Whatever it is, no more input comes from there.
                Err(_) => return Some(&[]),
            }
        }
    }

    /// Hands bytes over; `false` when the console is being closed.
    fn pass(&self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = self.queue.push(bytes);
            bytes = &bytes[taken..];
            if taken > 0 {
                self.listener.notify(ConsoleEvent::Input);
            }
            if bytes.is_empty() {
                break;
            }
            // The escape key must be heard even if the guest is not listening.
            if self.escape.is_some() {
                break;
            }
            if !self.queue.wait_for_room() {
                return false;
            }
        }
        true
    }
}

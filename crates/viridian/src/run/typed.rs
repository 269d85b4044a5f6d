// SPDX-License-Identifier: MIT OR Apache-2.0
//! Console input that is there before the guest starts: what standard input holds, if it is no terminal. When the guest takes it is then the guest's affair
//! alone.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::SerialInput;

/// Most bytes that are taken.
const MOST: u64 = 64 << 20;
/// How long standard input may take without a word.
const SILENCE: Duration = Duration::from_secs(1);
/// Ticks until a guest that has taken the end of its input and runs on is told again: half a second.
const TELL_AGAIN: u64 = 500_000_000;

/// Bytes on their way to the guest.
#[derive(Clone)]
pub(crate) struct Typed {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    /// What stands for the end of input, if anything does.
    at_end: &'static [u8],
    tell_again: u64,
}

/// Says, once, that the end of standard input is a while coming, unless what this gives is dropped before.
fn tell_of_waiting() -> Sender<()> {
    let (read, end) = channel();
    let thread = std::thread::Builder::new().name("waiting".to_owned());
    // A host without a thread for this will say so for those that are needed.
    let _ = thread.spawn(move || {
        if end.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
            tell!(
                "viridian: waiting for the end of standard input, which --time virtual reads before the guest starts and --timeout begins; \
                 </dev/null is an empty one"
            );
        }
    });
    read
}

impl Typed {
    /// All of standard input, and then what stands for its end (after a line feed that the last line lacks).
    pub(crate) fn standard_input(at_end: &'static [u8]) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        let read = tell_of_waiting();
        std::io::stdin().lock().take(MOST).read_to_end(&mut bytes)?;
        drop(read);
        if !at_end.is_empty() && bytes.last().is_some_and(|&last| last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(at_end);
        Ok(Self { bytes: Arc::new(Mutex::new(bytes.into())), at_end, tell_again: TELL_AGAIN })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tick at which [`Typed::tell`] has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        (!self.at_end.is_empty()).then_some(self.tell_again)
    }

    /// Tells a guest that has taken everything that no more comes. True if there is something to take.
    pub(crate) fn tell(&mut self, now: u64) -> bool {
        if self.at_end.is_empty() || now < self.tell_again {
            return false;
        }
        self.tell_again = now + TELL_AGAIN;
        let mut bytes = self.lock();
        let empty = bytes.is_empty();
        if empty {
            bytes.extend(self.at_end);
        }
        empty
    }
}

impl SerialInput for Typed {
    fn next_byte(&mut self) -> Option<u8> {
        self.lock().pop_front()
    }
}

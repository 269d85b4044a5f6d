// SPDX-License-Identifier: MIT OR Apache-2.0
//! Console input that is there before the guest starts: what standard input holds, if it is no terminal. When the guest takes it is then the guest's affair
//! alone.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machine::SerialInput;

use super::ending::Ending;
use crate::refusal::Refusal;

/// Most bytes that are taken.
const MOST: u64 = 64 << 20;
/// How long the end of the run may go unnoticed while standard input is read.
const PATIENCE: Duration = Duration::from_millis(20);
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

/// Reads up to its end or one byte more than [`MOST`], and says, once, that this takes a while. Nobody who ends the run waits for it.
fn read_standard_input(ending: &Ending) -> Result<Vec<u8>, Refusal> {
    let (sender, receiver) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes);
        // Nobody takes it who does not wait any more.
        let _ = sender.send(read.map(|_| bytes));
    };
    std::thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(read)
        .map_err(Refusal::StandardInput)?;
    let began = Instant::now();
    let mut told = false;
    while !ending.is_over() {
        match receiver.recv_timeout(PATIENCE) {
            Ok(read) => return read.map_err(Refusal::StandardInput),
            Err(_) if told || began.elapsed() < SILENCE => {}
            Err(_) => {
                tell!(
                    "viridian: waiting for the end of standard input, which --time virtual reads before the guest starts and --timeout begins; \
                     </dev/null is an empty one"
                );
                told = true;
            }
        }
    }
    Ok(Vec::new())
}

impl Typed {
    /// All of standard input, and then what stands for its end (after a line feed that the last line lacks). Nothing if the run is over before that.
    ///
    /// # Errors
    /// If it cannot be read, or has more than [`MOST`] bytes.
    pub(crate) fn standard_input(at_end: &'static [u8], ending: &Ending) -> Result<Self, Refusal> {
        let mut bytes = read_standard_input(ending)?;
        if bytes.len() as u64 > MOST {
            return Err(Refusal::LongStandardInput(MOST));
        }
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

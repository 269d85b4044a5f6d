// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decodes all memory on several threads and gives it in order.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::error::{Error, Result};
use crate::memory::{BLOCK_SIZE, Memory, Span};

/// Spans that each thread may be ahead.
const AHEAD: usize = 2;

/// What a span is decoded in; used again and again.
struct Buffers {
    stored: Vec<u8>,
    pages: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        Self { stored: Vec::new(), pages: vec![0; BLOCK_SIZE] }
    }
}

/// One thread that decodes.
struct Worker {
    jobs: SyncSender<(Span, Buffers)>,
    results: Receiver<(Buffers, Result<()>)>,
}

/// Gives every span of memory with its bytes, by guest-physical address. At most `AHEAD` blocks a thread are held at once.
pub(super) fn run(
    memory: &Memory,
    threads: NonZero<usize>,
    take: &mut dyn FnMut(Span, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut spans = memory.layout().spans();
    if threads.get() == 1 {
        let Buffers { mut stored, mut pages } = Buffers::new();
        return spans.try_for_each(|span| take(span, memory.decode_span(span, &mut stored, &mut pages)?));
    }
    thread::scope(|scope| {
        let workers: Vec<Worker> = (0..threads.get())
            .map(|_| {
                let (jobs, todo) = sync_channel::<(Span, Buffers)>(AHEAD);
                let (done, results) = sync_channel(AHEAD);
                scope.spawn(move || {
                    for (span, mut buffers) in todo {
                        let decoded =
                            memory.decode_span(span, &mut buffers.stored, &mut buffers.pages).map(drop);
                        // Nobody listens any more after an error.
                        if done.send((buffers, decoded)).is_err() {
                            break;
                        }
                    }
                });
                Worker { jobs, results }
            })
            .collect();
        let mut free: Vec<Buffers> = (0..threads.get() * AHEAD).map(|_| Buffers::new()).collect();
        let mut under_way = VecDeque::new();
        let mut turns = workers.iter().cycle();
        loop {
            // As many as there are buffers, each thread in turn.
            while let Some(buffers) = free.pop() {
                let (Some(span), Some(worker)) = (spans.next(), turns.next()) else { break };
                worker.jobs.send((span, buffers)).map_err(|_| gone())?;
                under_way.push_back((span, worker));
            }
            let Some((span, worker)) = under_way.pop_front() else { return Ok(()) };
            let (buffers, decoded) = worker.results.recv().map_err(|_| gone())?;
            decoded?;
            take(span, &buffers.pages[span.offset..span.offset + span.size])?;
            free.push(buffers);
        }
    })
}

/// A thread ended by itself, which only a defect of this crate can cause.
fn gone() -> Error {
    Error::Unsupported("a thread that decodes memory ended early")
}

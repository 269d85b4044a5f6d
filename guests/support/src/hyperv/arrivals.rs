// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts as they arrive: a count for each processor and vector, and waiting with an end.

use super::{assist, time};
use crate::cpu;
use crate::segments::{self, MAX_PROCESSORS};
use crate::trap::{self, Frame};
use core::sync::atomic::{AtomicU32, Ordering};

/// How long anything is waited for: 2 s of reference time, or 10 million rounds where there is none.
const PATIENCE: u64 = 20_000_000;
const ROUNDS: u64 = 10_000_000;

static COUNTS: [[AtomicU32; 256]; MAX_PROCESSORS] =
    [const { [const { AtomicU32::new(0) }; 256] }; MAX_PROCESSORS];

/// Counts an interrupt and ends it.
fn arrive(frame: &mut Frame) {
    arrive_unended(frame);
    assist::end_of_interrupt();
}

/// Counts an interrupt that the hypervisor ends by itself, or that is to stay in service.
fn arrive_unended(frame: &mut Frame) {
    COUNTS[segments::processor_index()][frame.vector as u8 as usize].fetch_add(1, Ordering::Relaxed);
}

/// From now on interrupts at this vector are counted, on every processor, and ended.
pub fn expect(vector: u8) {
    trap::set_handler(vector, Some(arrive));
}

/// From now on interrupts at this vector are counted, on every processor, and not ended.
pub fn expect_unended(vector: u8) {
    trap::set_handler(vector, Some(arrive_unended));
}

/// How many interrupts have arrived at a vector, on all processors.
pub fn count(vector: u8) -> u32 {
    (0..MAX_PROCESSORS).map(|processor| count_on(processor, vector)).sum()
}

/// How many interrupts have arrived at a vector on one processor.
///
/// # Panics
/// If there cannot be such a processor.
pub fn count_on(processor: usize, vector: u8) -> u32 {
    COUNTS[processor][usize::from(vector)].load(Ordering::Relaxed)
}

/// Lets interrupts in until something is so, or patience ends; tells whether it is so.
pub fn wait(is_so: impl Fn() -> bool) -> bool {
    let start = time::counter().ok();
    let mut rounds = 0_u64;
    cpu::enable_interrupts();
    let done = loop {
        if is_so() {
            break true;
        }
        rounds += 1;
        // The clock is asked now and then, for asking costs an exit; without one, rounds are counted.
        let late = match start {
            Some(start) if rounds.is_multiple_of(256) => {
                time::counter().map_or(true, |now| now.saturating_sub(start) > PATIENCE)
            }
            Some(_) => false,
            None => rounds > ROUNDS,
        };
        if late {
            break is_so();
        }
        cpu::pause();
    };
    cpu::disable_interrupts();
    done
}

/// Lets interrupts in for a while, to see that none comes.
pub fn wait_a_moment() {
    cpu::enable_interrupts();
    for _ in 0..10_000 {
        cpu::pause();
    }
    cpu::disable_interrupts();
}

/// Lets interrupts in that are already on their way to this processor.
pub fn let_in() {
    cpu::enable_interrupts();
    for _ in 0..16 {
        core::hint::spin_loop();
    }
    cpu::disable_interrupts();
}

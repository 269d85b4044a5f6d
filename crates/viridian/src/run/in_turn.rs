// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--time virtual`: all VPs on one thread, in turn. Nothing here depends on how fast the host is: what happens next follows from the guest's clock, which
//! its own instructions move, and from the order of turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use hypervisor::Vp;

use super::ending::Ending;
use super::serve::{Surroundings, Then};
use super::share::Share;
use super::thread::EndOnPanic;
use super::turns::{Turn, Turns};
use super::typed::Typed;

/// What other threads, and VPs for each other, leave for the thread that runs the VPs.
#[derive(Default)]
pub(crate) struct Mail {
    /// Bit n: VP n was woken.
    woken: AtomicU64,
    /// The console has input. Only a terminal's comes while the guest runs.
    input: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Mail {
    fn wake(&self, vp: u32) {
        self.woken.fetch_or(1 << vp, Ordering::SeqCst);
        self.unpark();
    }

    /// There is input on the console.
    pub(crate) fn input(&self) {
        self.input.store(true, Ordering::SeqCst);
        self.unpark();
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            thread.unpark();
        }
    }
}

/// All VPs of a partition, and the one thread that runs them.
pub(crate) struct InTurn<'a> {
    pub(crate) vps: Vec<Vp>,
    pub(crate) around: Surroundings,
    pub(crate) ending: Arc<Ending>,
    pub(crate) mail: Arc<Mail>,
    pub(crate) share: Share,
    pub(crate) typed: Option<Typed>,
    /// Instructions of all VPs together, so far.
    pub(crate) instructions: u64,
    pub(crate) every: Option<Every<'a>>,
}

/// Something to do at every so many instructions of the whole run: there, or as soon after as no VP is in the middle of an instruction.
pub(crate) struct Every<'a> {
    instructions: u64,
    next: u64,
    act: Act<'a>,
}

impl<'a> Every<'a> {
    /// From the next multiple on, when so many instructions were `executed`.
    pub(crate) fn new(instructions: u64, executed: u64, act: Act<'a>) -> Self {
        Self { instructions, next: next(instructions, executed), act }
    }
}

fn next(every: u64, executed: u64) -> u64 {
    (executed / every + 1).saturating_mul(every)
}

/// What is done; it gets the instructions that were executed.
pub(crate) type Act<'a> = Box<dyn FnMut(&mut Vec<Vp>, &Surroundings, u64) + Send + 'a>;

impl InTurn<'_> {
    /// Runs the VPs until the run is over, and gives them back.
    pub(crate) fn run(mut self) -> Vec<Vp> {
        *self.mail.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        for vp in &self.vps {
            let (mail, index) = (Arc::clone(&self.mail), vp.index());
            self.around.partition.vp(index).set_waker(Box::new(move || mail.wake(index)));
        }
        let guard = EndOnPanic(Arc::clone(&self.ending));
        let mut turns = Turns::new(self.vps.iter().map(|_| self.share));
        // Until when each VP sleeps, if it does.
        let mut asleep: Vec<Option<Option<u64>>> = vec![None; self.vps.len()];
        while !self.ending.is_over() {
            if self.mail.input.swap(false, Ordering::SeqCst) {
                self.around.pc.serial_input_ready(self.around.now());
            }
            let now = self.around.partition.clock().now();
            if self.typed.as_mut().is_some_and(|typed| typed.tell(now)) {
                self.around.pc.serial_input_ready(self.around.now());
            }
            self.around.advance_if_due();
            self.act_if_due();
            self.wake(&mut asleep, &mut turns, now);
            let input = self.typed.as_ref().and_then(Typed::deadline);
            let sleepers = asleep.iter().copied().flatten().flatten();
            let wake_up = sleepers.chain(self.around.deadline()).chain(input).min();
            match turns.next(now) {
                Some(turn) => {
                    if let Some(until) = self.take(turn, now, wake_up, &mut turns) {
                        asleep[turn.candidate] = Some(until);
                        turns.set_awake(turn.candidate, false);
                    }
                }
                None => match wake_up.into_iter().chain(turns.held_until()).min() {
                    Some(tick) if self.skip_to(tick) => {}
                    // Only something from outside can go on with it.
                    _ => std::thread::park(),
                },
            }
        }
        std::mem::forget(guard);
        self.vps
    }

    /// Nothing happens until then; false if time is stopped.
    fn skip_to(&self, tick: u64) -> bool {
        let clock = self.around.partition.clock();
        clock.skip_to(tick);
        clock.now() >= tick
    }

    fn wake(&self, asleep: &mut [Option<Option<u64>>], turns: &mut Turns, now: u64) {
        let woken = self.mail.woken.swap(0, Ordering::SeqCst);
        for (index, sleep) in asleep.iter_mut().enumerate() {
            let due = matches!(sleep, Some(Some(until)) if *until <= now);
            if sleep.is_some() && (due || woken >> index & 1 != 0) {
                *sleep = None;
                turns.set_awake(index, true);
            }
        }
    }

    /// A VP has its turn, or a part of it, until `wake_up` at the latest. Gives until when it sleeps, if it does.
    fn take(&mut self, turn: Turn, now: u64, wake_up: Option<u64>, turns: &mut Turns) -> Option<Option<u64>> {
        let mut until = now.saturating_add(turn.ticks);
        if let Some(every) = &self.every {
            until = until.min(now + every.next.saturating_sub(self.instructions).max(1));
        }
        until = wake_up.map_or(until, |tick| until.min(tick));
        let vp = &mut self.vps[turn.candidate];
        let before = vp.instructions();
        let exit = vp.run(Some(until));
        let then = self.around.serve(vp, exit);
        let executed = vp.instructions() - before;
        turns.ran(turn.candidate, self.around.partition.clock().now().saturating_sub(now));
        self.instructions += executed;
        match then {
            Then::GoOn => {}
            Then::Sleep(until) => return Some(until),
            Then::MakeWay => turns.make_way(turn.candidate),
            Then::End(end) => self.ending.end(end),
        }
        None
    }

    fn act_if_due(&mut self) {
        if let Some(every) = &mut self.every
            && every.next <= self.instructions
            && !self.vps.iter().any(Vp::is_in_instruction)
        {
            (every.act)(&mut self.vps, &self.around, self.instructions);
            every.next = next(every.instructions, self.instructions);
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--time virtual`: all VPs on one thread, in turn. Nothing here depends on how fast the host is: what happens next follows from the guest's clock, which
//! its own instructions move, and from the order of turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use hypervisor::Vp;

use super::computer::{Computer, Plan};
use super::report;
use super::serve::Then;
use super::share::Share;
use super::thread::EndOnPanic;
use super::turns::{Turn, Turns};
use super::typed::Typed;
use crate::refusal::Refusal;

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

/// All VPs of a computer, and the one thread that runs them.
pub(crate) struct InTurn {
    computer: Computer,
    plan: Arc<Plan>,
    mail: Arc<Mail>,
    typed: Option<Typed>,
    turns: Turns,
    /// Until when each VP sleeps, if it does.
    asleep: Vec<Option<Option<u64>>>,
    /// Instructions of all VPs together, so far.
    instructions: u64,
    hash: Option<Points>,
    rebuild: Option<Points>,
}

impl InTurn {
    /// The VPs of a computer that stand where it begins.
    pub(crate) fn new(
        computer: Computer,
        share: Share,
        plan: &Arc<Plan>,
        typed: Option<Typed>,
        mail: &Arc<Mail>,
    ) -> Self {
        let time = &plan.options.time;
        // A computer that was reset has executed something already.
        let instructions = computer.instructions();
        let points = |kind: fn(u64) -> Points, number: Option<u64>| {
            let mut points = number.map(kind)?;
            points.go_past(instructions);
            Some(points)
        };
        Self {
            turns: Turns::new(computer.vps.iter().map(|_| share)),
            asleep: vec![None; computer.vps.len()],
            computer,
            plan: Arc::clone(plan),
            mail: Arc::clone(mail),
            typed,
            instructions,
            hash: points(Points::every, time.state_hash.flatten()),
            rebuild: points(Points::about_every, time.rebuild_every),
        }
    }

    /// Runs the VPs until the run is over, and gives the computer back.
    pub(crate) fn run(mut self) -> Computer {
        *self.mail.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        let ending = Arc::clone(&self.plan.ending);
        let guard = EndOnPanic(Arc::clone(&ending));
        self.set_wakers();
        while !ending.is_over() {
            self.take_input();
            self.computer.around.advance_if_due();
            if self.is_at_point() {
                self = match self.at_point() {
                    Ok(going_on) => going_on,
                    // There is no computer any more, and nothing to go on with.
                    Err(refusal) => panic!("a computer could not be made again: {refusal}"),
                };
            }
            let now = self.computer.around.partition.clock().now();
            self.wake(now);
            let input = self.typed.as_ref().and_then(Typed::deadline);
            let sleepers = self.asleep.iter().copied().flatten().flatten();
            let wake_up = sleepers.chain(self.computer.around.deadline()).chain(input).min();
            match self.turns.next(now) {
                Some(turn) => self.take(turn, now, wake_up),
                None => match wake_up.into_iter().chain(self.turns.held_until()).min() {
                    Some(tick) if self.skip_to(tick) => {}
                    // Only something from outside can go on with it.
                    _ => std::thread::park(),
                },
            }
        }
        std::mem::forget(guard);
        self.computer
    }

    fn set_wakers(&self) {
        for vp in self.computer.around.partition.vps() {
            let (mail, index) = (Arc::clone(&self.mail), vp.index());
            vp.set_waker(Box::new(move || mail.wake(index)));
        }
    }

    fn take_input(&mut self) {
        let around = &self.computer.around;
        let now = around.partition.clock().now();
        let told = self.typed.as_mut().is_some_and(|typed| typed.tell(now));
        if self.mail.input.swap(false, Ordering::SeqCst) || told {
            around.pc.serial_input_ready(around.now());
        }
    }

    /// Nothing happens until then; false if time is stopped.
    fn skip_to(&self, tick: u64) -> bool {
        let clock = self.computer.around.partition.clock();
        clock.skip_to(tick);
        clock.now() >= tick
    }

    fn wake(&mut self, now: u64) {
        let woken = self.mail.woken.swap(0, Ordering::SeqCst);
        for (index, sleep) in self.asleep.iter_mut().enumerate() {
            let due = matches!(sleep, Some(Some(until)) if *until <= now);
            if sleep.is_some() && (due || woken >> index & 1 != 0) {
                *sleep = None;
                self.turns.set_awake(index, true);
            }
        }
    }

    /// A VP has its turn, or a part of it, until `wake_up` at the latest.
    fn take(&mut self, turn: Turn, now: u64, wake_up: Option<u64>) {
        let points = [&self.hash, &self.rebuild].into_iter().flatten();
        let point =
            points.map(|points| now.saturating_add(points.next.saturating_sub(self.instructions).max(1)));
        let until = point.chain(wake_up).fold(now.saturating_add(turn.ticks), u64::min);
        let Computer { vps, around, .. } = &mut self.computer;
        let vp = &mut vps[turn.candidate];
        let before = vp.instructions();
        let exit = vp.run(Some(until));
        let then = around.serve(vp, exit);
        self.instructions += vp.instructions() - before;
        let ticks = around.partition.clock().now().saturating_sub(now);
        self.turns.ran(turn.candidate, ticks);
        match then {
            Then::GoOn => {}
            Then::Sleep(until) => {
                self.asleep[turn.candidate] = Some(until);
                self.turns.set_awake(turn.candidate, false);
            }
            Then::MakeWay => self.turns.make_way(turn.candidate),
            Then::End(end) => self.plan.ending.end(end),
        }
    }

    /// Whether a point has come: there, or as soon after as no VP is in the middle of an instruction.
    fn is_at_point(&self) -> bool {
        let mut points = [&self.hash, &self.rebuild].into_iter().flatten();
        points.any(|points| points.next <= self.instructions)
            && !self.computer.vps.iter().any(Vp::is_in_instruction)
    }

    fn at_point(mut self) -> Result<Self, Refusal> {
        let executed = self.instructions;
        let due = |points: &mut Option<Points>| {
            points.as_mut().is_some_and(|points| {
                let due = points.next <= executed;
                points.go_past(executed);
                due
            })
        };
        if due(&mut self.hash) {
            report::state_hash(&self.computer, executed);
        }
        if due(&mut self.rebuild) {
            self.computer = self.computer.rebuilt()?;
            self.set_wakers();
        }
        Ok(self)
    }
}

/// Counts of instructions at which something is done.
struct Points {
    next: u64,
    every: u64,
    /// Where the points are chosen by chance, the state of that.
    chance: Option<u64>,
}

impl Points {
    /// Each multiple of this number.
    fn every(number: u64) -> Self {
        Self { next: number, every: number, chance: None }
    }

    /// By chance, this far from each other on average.
    fn about_every(number: u64) -> Self {
        Self { next: 0, every: number, chance: Some(number) }
    }

    fn go_past(&mut self, executed: u64) {
        if self.next > executed {
            return;
        }
        self.next = match &mut self.chance {
            None => (executed / self.every + 1).saturating_mul(self.every),
            Some(chance) => {
                // The generator of Knuth's MMIX; its upper half is what is good.
                *chance =
                    chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                executed.saturating_add(1 + (*chance >> 32) % self.every.saturating_mul(2))
            }
        };
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of a VP that everyone may reach: its shared state, its mailbox, and the way to get its attention.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

use engine::{EngineVp, Kick};

use super::state::VpState;
use crate::sync::lock;
use crate::trace::PhaseStatistics;

/// Called to wake a thread that sleeps because [`super::VpExit::Idle`] told it to. It must not block. Waking a thread that does not
/// sleep must make its next sleep end at once, as [`std::thread::Thread::unpark`] does.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// Takes a VP's index and what it has counted.
pub type StatisticsReply = Sender<(u32, Vec<PhaseStatistics>)>;

/// What everyone may reach of a VP.
///
/// How attention is got: whoever changes something kicks the VP, which takes the kick before it enters guest code, or leaves guest code for it. A VP that
/// sleeps is woken: whoever kicks looks *then* whether it is asleep; the VP falls asleep and looks *then* for kicks. Both with sequential consistency, so at
/// least one sees the other.
pub struct VpShared {
    index: u32,
    apic_id: u32,
    state: Mutex<VpState>,
    kicker: Arc<dyn Kick>,
    /// The holder of the run token was told to sleep: the waker wakes it.
    asleep: AtomicBool,
    /// The host wants the current or next run to end.
    stop: AtomicBool,
    /// Somebody wants to know what the VP has counted.
    asked: AtomicBool,
    asker: Mutex<Option<StatisticsReply>>,
    waker: Mutex<Option<Waker>>,
    /// Clock ticks spent in earlier runs, and the tick at which this run began, or [`NO_RUN`] (TLFS 7.9.1).
    consumed: AtomicU64,
    run_began: AtomicU64,
}

/// No run is under way.
const NO_RUN: u64 = u64::MAX;

impl VpShared {
    pub(crate) fn new(index: u32, apic_id: u32, state: VpState, kicker: Arc<dyn Kick>) -> Self {
        Self {
            index,
            apic_id,
            state: Mutex::new(state),
            kicker,
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            asker: Mutex::new(None),
            waker: Mutex::new(None),
            consumed: AtomicU64::new(0),
            run_began: AtomicU64::new(NO_RUN),
        }
    }

    /// VP index (TLFS 7.8.1).
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Local APIC id.
    #[must_use]
    pub fn apic_id(&self) -> u32 {
        self.apic_id
    }

    /// Sets what wakes the thread that runs the VP.
    pub fn set_waker(&self, waker: Waker) {
        *lock(&self.waker) = Some(waker);
    }

    /// Makes the current run, or the next one if none is under way, end with [`super::VpExit::Stopped`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.notify();
    }

    /// Clock ticks that the VP has consumed up to tick `now`.
    pub(crate) fn consumed(&self, now: u64) -> u64 {
        let began = self.run_began.load(Ordering::Acquire);
        let current = if began == NO_RUN { 0 } else { now.saturating_sub(began) };
        self.consumed.load(Ordering::Acquire) + current
    }

    /// After the state of the VP was restored.
    pub(crate) fn set_consumed(&self, ticks: u64) {
        self.consumed.store(ticks, Ordering::Release);
    }

    /// For the holder of the token: a run begins at tick `now`.
    pub(crate) fn begin_run(&self, now: u64) {
        self.run_began.store(now, Ordering::Release);
    }

    /// For the holder of the token: the run is over at tick `now`.
    pub(crate) fn end_run(&self, now: u64) {
        let consumed = self.consumed(now);
        // Between the two stores somebody may see too little, never too much.
        self.run_began.store(NO_RUN, Ordering::Release);
        self.consumed.store(consumed, Ordering::Release);
    }

    pub(crate) fn take_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) && self.stop.swap(false, Ordering::SeqCst)
    }

    /// Has the VP tell `reply` its index and what it has counted ([`super::Vp::statistics_by_phase`]), as soon as somebody runs it. Of two
    /// that ask at once, the first may get no answer.
    pub fn ask_for_statistics(&self, reply: StatisticsReply) {
        *lock(&self.asker) = Some(reply);
        self.asked.store(true, Ordering::SeqCst);
        self.notify();
    }

    /// Who wants to know what the VP has counted.
    pub(crate) fn take_asker(&self) -> Option<StatisticsReply> {
        let asked = self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::SeqCst);
        if asked { lock(&self.asker).take() } else { None }
    }

    /// The shared state. Whoever changes something that the VP has to look at calls [`VpShared::notify`] after unlocking.
    pub(crate) fn state(&self) -> MutexGuard<'_, VpState> {
        lock(&self.state)
    }

    /// Makes the VP look at its shared state before it runs on.
    pub(crate) fn notify(&self) {
        if self.notify_running() {
            self.wake();
        }
    }

    pub(crate) fn has_waker(&self) -> bool {
        lock(&self.waker).is_some()
    }

    /// Wakes the thread that sleeps for the VP.
    pub(crate) fn wake(&self) {
        if let Some(waker) = lock(&self.waker).as_ref() {
            waker();
        }
    }

    /// Makes the VP look at its shared state before it runs guest code, but lets it sleep: for what concerns nothing else. Whether it is asleep, and stays so
    /// until it is woken.
    pub(crate) fn notify_running(&self) -> bool {
        self.kicker.kick();
        self.asleep.load(Ordering::SeqCst)
    }

    /// Whether guest code may be running.
    pub(crate) fn is_in_guest(&self) -> bool {
        self.kicker.is_in_guest()
    }

    /// For the holder of the token: it is about to sleep. False if there is something to look at first.
    pub(crate) fn fall_asleep(&self, engine: &mut dyn EngineVp) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let kicked = engine.take_kick();
        if kicked {
            self.wake_up();
        }
        !kicked
    }

    /// For the holder of the token: it does not sleep.
    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::Lab;

    /// What is asked before a VP sleeps is looked at first; what is asked after wakes it.
    #[test]
    fn attention_is_never_lost() {
        let mut lab = Lab::new(1);
        let vp = lab.partition.vp(0);
        let engine = lab.vps[0].registers();
        assert!(!vp.notify_running() && !vp.is_in_guest());
        assert!(!vp.fall_asleep(engine), "there was something to look at");
        assert!(vp.fall_asleep(engine), "it was looked at");
        assert!(vp.notify_running());
        vp.wake_up();
        assert!(!vp.notify_running());
        assert!(engine.take_kick() && !engine.take_kick());
    }
}

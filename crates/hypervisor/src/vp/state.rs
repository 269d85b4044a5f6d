// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a VP that others reach too, behind the VP's own small lock: what is the VP's ([`VpState`]) and what each of its VTLs has for itself
//! ([`VtlState`]).

use std::sync::Arc;

use engine::FlushScope;
use tlfs::msr::OverlayPage;
use tlfs::register::InterceptSuspendRegister;
use tlfs::synic::{MessageType, SINT_COUNT};
use tlfs::timer::{STIMER_COUNT, TimerMessagePayload};
use tlfs::vsm::Vtl;
use zerocopy::IntoBytes;

use crate::eoi_assist::EoiAssist;
use crate::flush::PendingFlush;
use crate::local_apic::{
    Acknowledged, Delivery, Effect, InterruptMessage, LocalApic, LocalApicConfig, PendingInterrupt,
};
use crate::machine_check::MachineCheck;
use crate::reference_time::ReferenceTime;
use crate::register::request::Request;
use crate::synic::{Buffer, Delivered, InvalidSynicState, Message, SintIndex, SintInterrupt, Synic};
use crate::synthetic_timer::SyntheticTimer;
use crate::trace::SharedCounts;
use crate::unhalted_timer::{Raises, UnhaltedTimer};
use crate::virtual_interrupt::Assertions;
use crate::vp::start::StartUp;

/// VTLs that exist. Only VTL 0 does so far; everything is indexed by VTL all the same.
pub(crate) const VTL_COUNT: usize = 1;

/// How often a message that waits for its slot is tried again without being asked to (TLFS 11.4).
const RETRY_MICROSECONDS: u64 = 1000;

/// What a VP is doing (TLFS 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// It executes instructions.
    Running,
    /// It waits for a start-up IPI.
    WaitForStartUp,
    /// HLT: it waits for an event that can be delivered.
    Halted,
    /// HV_X64_MSR_GUEST_IDLE was read: it waits for an interrupt, whether or not it can be delivered (TLFS 7.5).
    GuestIdle,
}

state::state_enum!(RunState { Running = 0, WaitForStartUp = 1, Halted = 2, GuestIdle = 3 });

/// What is shared of a VP.
pub(crate) struct VpState {
    run_state: RunState,
    /// Explicitly suspended: it does nothing until somebody resumes it (TLFS 7.4).
    suspended: bool,
    pub(crate) nmi: bool,
    /// One that the parent injected and the VP has not taken yet (TLFS 7.7).
    pub(crate) machine_check: Option<MachineCheck>,
    pub(crate) init: bool,
    /// How it is to start, which counts only if it waits for that.
    pub(crate) start_up: Option<StartUp>,
    pub(crate) flush: PendingFlush,
    /// It waits for its parent to handle an intercept (TLFS 6.1), or its translations must not be flushed (TLFS 9.1.4).
    pub(crate) intercept_suspend: InterceptSuspendRegister,
    /// What others want of whoever holds the VP.
    pub(crate) requests: Vec<Arc<Request>>,
    vtls: [VtlState; VTL_COUNT],
}

// What was to be flushed is: a VP that takes up a state knows no translations.
// Who asks for something asks again.
state::state!(VpState {
    run_state,
    suspended,
    nmi,
    machine_check,
    init,
    start_up,
    flush as derived,
    intercept_suspend as bits,
    requests as derived,
    vtls
});

impl VpState {
    pub(crate) fn new(run_state: RunState, vtls: [VtlState; VTL_COUNT]) -> Self {
        let mut state = Self {
            run_state,
            suspended: false,
            nmi: false,
            machine_check: None,
            init: false,
            start_up: None,
            flush: PendingFlush::default(),
            intercept_suspend: InterceptSuspendRegister::new(),
            requests: Vec::new(),
            vtls,
        };
        let executes = state.executes();
        for vtl in &mut state.vtls {
            // At time zero: the clock starts with the partition.
            vtl.unhalted_timer.set_executing(executes, 0);
        }
        state
    }

    /// What the VP is doing.
    pub(crate) fn run_state(&self) -> RunState {
        self.run_state
    }

    /// Changes what the VP is doing.
    pub(crate) fn set_run_state(&mut self, run_state: RunState, reference: &ReferenceTime) {
        self.run_state = run_state;
        self.note_execution(reference);
    }

    /// Whether the VP is explicitly suspended.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Whether the VP is suspended for any reason (TLFS 7.4).
    pub(crate) fn is_stopped(&self) -> bool {
        self.suspended || self.intercept_suspend.suspended()
    }

    /// Suspends the VP for an intercept or lets it go on.
    pub(crate) fn set_intercept_suspend(
        &mut self,
        value: InterceptSuspendRegister,
        reference: &ReferenceTime,
    ) {
        self.intercept_suspend = value;
        self.note_execution(reference);
    }

    /// Suspends the VP or lets it go on.
    pub(crate) fn set_suspended(&mut self, suspended: bool, reference: &ReferenceTime) {
        self.suspended = suspended;
        self.note_execution(reference);
    }

    /// Whether the VP executes instructions, as far as it is up to it.
    pub(crate) fn executes(&self) -> bool {
        self.run_state == RunState::Running && !self.is_stopped()
    }

    fn note_execution(&mut self, reference: &ReferenceTime) {
        let (executes, now) = (self.executes(), reference.at(reference.clock().now()));
        for vtl in &mut self.vtls {
            if vtl.unhalted_timer.set_executing(executes, now) {
                vtl.timers_changed(reference);
            }
        }
    }

    /// The state of a VTL that exists.
    pub(crate) fn vtl(&mut self, vtl: Vtl) -> &mut VtlState {
        &mut self.vtls[usize::from(vtl.0)]
    }

    /// INIT, as far as the shared state goes. Gives the local APIC's page.
    pub(crate) fn init(&mut self, vtl: Vtl, run_state: RunState, reference: &ReferenceTime) -> Option<u64> {
        self.set_run_state(run_state, reference);
        (self.nmi, self.machine_check) = (false, None);
        let vtl = self.vtl(vtl);
        vtl.before_end_of_interrupt();
        vtl.apic.init();
        vtl.apic.page()
    }

    /// As at creation; a VP that is suspended, for an intercept or explicitly, is so until somebody resumes it. Gives the local APIC's page.
    pub(crate) fn reset(&mut self, run_state: RunState, reference: &ReferenceTime) -> Option<u64> {
        (self.nmi, self.machine_check, self.init, self.start_up) = (false, None, false, None);
        self.flush = PendingFlush::default();
        self.flush.add(FlushScope::All);
        for vtl in &mut self.vtls {
            vtl.reset();
        }
        self.set_run_state(run_state, reference);
        self.vtls[0].apic.page()
    }

    /// Does what is due for a VTL at clock tick `now`.
    pub(crate) fn advance(
        &mut self,
        vtl: Vtl,
        now: u64,
        tsc_offset: u64,
        reference: &ReferenceTime,
    ) -> TimerExpirations {
        let expirations = self.vtl(vtl).advance(now, tsc_offset, reference);
        self.nmi |= expirations.nmi;
        expirations
    }

    /// Takes an interrupt message whose destination is this VP. True if the VP has to look at it.
    pub(crate) fn deliver(&mut self, vtl: Vtl, message: InterruptMessage) -> bool {
        let apic = &mut self.vtl(vtl).apic;
        match apic.deliver(message) {
            Delivery::Requested => {
                self.vtl(vtl).settle_eoi_assist();
                return true;
            }
            Delivery::Ignored => return false,
            Delivery::Nmi => self.nmi = true,
            Delivery::Init => {
                self.init = true;
                self.start_up = None;
            }
            Delivery::StartUp(page) => self.start_up = Some(StartUp::Page(page)),
        }
        true
    }
}

/// What each VTL of a VP has for itself (TLFS 15.11.1).
pub(crate) struct VtlState {
    apic_config: LocalApicConfig,
    pub(crate) apic: LocalApic,
    pub(crate) synic: Synic,
    pub(crate) timers: [SyntheticTimer; STIMER_COUNT],
    pub(crate) unhalted_timer: UnhaltedTimer,
    /// Bit n: the message of timer n waits for its slot, so that its one buffer is in use (TLFS 11.3.2).
    timer_messages: u8,
    pub(crate) eoi_assist: EoiAssist,
    pub(crate) assertions: Assertions,
    /// Clock tick of the earliest timer, and of the next try to deliver waiting messages.
    timers_due: Option<u64>,
    retry_due: Option<u64>,
}

state::state!(VtlState {
    apic_config as derived,
    apic,
    synic,
    timers,
    unhalted_timer,
    timer_messages,
    eoi_assist,
    assertions,
    timers_due,
    retry_due,
});

/// Interrupts that synthetic timers raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimerExpirations {
    pub(crate) direct: u32,
    pub(crate) message: u32,
    /// The time-unhalted timer wants an NMI.
    nmi: bool,
}

impl VtlState {
    pub(crate) fn new(apic_config: LocalApicConfig, synic: Synic, eoi_assist: EoiAssist) -> Self {
        Self {
            apic_config,
            apic: LocalApic::new(apic_config),
            synic,
            timers: std::array::from_fn(|_| SyntheticTimer::new()),
            unhalted_timer: UnhaltedTimer::new(),
            timer_messages: 0,
            eoi_assist,
            assertions: Assertions::default(),
            timers_due: None,
            retry_due: None,
        }
    }

    /// As at creation (TLFS 11.3.5, 11.8, 11.9, 12.5.1).
    fn reset(&mut self) {
        self.apic = LocalApic::new(self.apic_config);
        self.synic.reset();
        self.eoi_assist.reset();
        self.assertions = Assertions::default();
        self.timers = std::array::from_fn(|_| SyntheticTimer::new());
        self.unhalted_timer = UnhaltedTimer::new();
        (self.timer_messages, self.timers_due, self.retry_due) = (0, None, None);
    }

    // Interrupts.

    /// Requests a vector. True if the local APIC took it.
    pub(crate) fn request(&mut self, vector: u8, level_triggered: bool, auto_eoi: bool) -> bool {
        let accepted = self.apic.request(vector, level_triggered, auto_eoi);
        self.settle_eoi_assist();
        accepted
    }

    /// What has been counted here since creation.
    pub(crate) fn counts(&self) -> SharedCounts {
        SharedCounts { synic: self.synic.counts(), eoi_assists: self.eoi_assist.used() }
    }

    /// Brings the local APIC up to date with what the guest did to the EOI assist bit, and takes the assist back if something now waits for
    /// the EOI (TLFS 10.3.5).
    pub(crate) fn settle_eoi_assist(&mut self) {
        if self.eoi_assist.take_ended() {
            self.apic.end_of_interrupt();
        }
        if self.eoi_assist.is_armed() && !self.apic.requested().is_empty() && self.apic.pending().is_none() {
            self.revoke_eoi_assist();
        }
    }

    fn revoke_eoi_assist(&mut self) {
        if self.eoi_assist.revoke() {
            self.apic.end_of_interrupt();
        }
    }

    /// What is to be delivered next.
    pub(crate) fn pending(&mut self) -> Option<PendingInterrupt> {
        self.settle_eoi_assist();
        self.assertions.external().map(PendingInterrupt::Asserted).or_else(|| self.apic.pending())
    }

    /// Whether any interrupt has arrived that is not delivered yet, whatever the priorities and the processor's flags.
    pub(crate) fn is_requested(&mut self) -> bool {
        self.pending().is_some() || !self.apic.requested().is_empty()
    }

    /// Hands out the pending vector. If nothing will depend on its EOI, the guest may skip that.
    pub(crate) fn acknowledge(&mut self) -> Option<Acknowledged> {
        self.settle_eoi_assist();
        let acknowledged = self.apic.acknowledge()?;
        self.assertions.acknowledged(acknowledged.vector);
        if !acknowledged.auto_eoi {
            if self.eoi_assist.is_armed() {
                // It stood for an interrupt that is no longer the highest. Had the guest ended that, it would have been seen above.
                let _ = self.eoi_assist.revoke();
            }
            if acknowledged.eoi_may_be_skipped {
                self.eoi_assist.arm();
            }
        }
        Some(acknowledged)
    }

    /// Before the guest's EOI reaches the local APIC: an EOI that it left to the assist comes first, and the assist is over.
    pub(crate) fn before_end_of_interrupt(&mut self) {
        self.revoke_eoi_assist();
    }

    /// After a register of the local APIC was written: an EOI is a chance for messages that wait for their slots (TLFS 11.4).
    pub(crate) fn after_register_write(&mut self, effect: Effect, reference: &ReferenceTime) {
        if matches!(effect, Effect::EndOfInterrupt(_)) && self.synic.queued() != 0 {
            self.rescan(reference.at(reference.clock().now()));
        }
    }

    /// Writes HV_X64_MSR_VP_ASSIST_PAGE.
    pub(crate) fn set_assist_page(&mut self, value: OverlayPage) {
        self.revoke_eoi_assist();
        self.eoi_assist.set_msr(value);
    }

    // The SynIC.

    fn raise(&mut self, interrupt: Option<SintInterrupt>) -> bool {
        let Some(SintInterrupt { vector, auto_eoi }) = interrupt else { return false };
        let raised = self.request(vector, false, auto_eoi);
        if raised {
            self.synic.count_interrupt();
        }
        raised
    }

    /// Raises the interrupt of a source, with nothing to deliver.
    pub(crate) fn raise_sint(&mut self, sint: SintIndex) -> bool {
        let interrupt = self.synic.interrupt(sint);
        self.raise(interrupt)
    }

    /// Queues a message and delivers what can be delivered.
    pub(crate) fn post(&mut self, sint: SintIndex, message: Message, buffer: Buffer, reference_time: u64) {
        let delivered = self.synic.post(sint, message, buffer, reference_time);
        self.delivered(delivered);
    }

    fn delivered(&mut self, delivered: Delivered) {
        if let Some(timer) = delivered.timer {
            self.timer_messages &= !(1 << timer);
        }
        self.raise(delivered.interrupt);
    }

    /// Scans all queues for messages whose slot is free (TLFS 11.8.6).
    pub(crate) fn rescan(&mut self, reference_time: u64) {
        if self.synic.queued() == 0 {
            return;
        }
        for number in 0..SINT_COUNT as u8 {
            if let Some(sint) = SintIndex::new(number) {
                let delivered = self.synic.deliver(sint, reference_time);
                self.delivered(delivered);
            }
        }
    }

    /// Sets an event flag. Says whether an interrupt was requested.
    pub(crate) fn signal(&mut self, sint: SintIndex, flag: u16) -> Result<bool, InvalidSynicState> {
        let interrupt = self.synic.signal(sint, flag)?;
        Ok(self.raise(interrupt))
    }

    // Time.

    /// After a synthetic timer was written.
    pub(crate) fn timers_changed(&mut self, reference: &ReferenceTime) {
        let due = self.timers.iter().filter_map(SyntheticTimer::due).chain(self.unhalted_timer.due()).min();
        self.timers_due = due.and_then(|time| reference.tick_of(time));
    }

    /// Does what is due at clock tick `now`.
    fn advance(&mut self, now: u64, tsc_offset: u64, reference: &ReferenceTime) -> TimerExpirations {
        if self.apic.deadline(tsc_offset).is_some_and(|due| now >= due) {
            self.apic.advance(now, tsc_offset);
            self.settle_eoi_assist();
        }
        let mut expirations = TimerExpirations::default();
        if self.timers_due.is_some_and(|due| now >= due) {
            expirations = self.expire_timers(reference.at(now));
            self.timers_changed(reference);
        }
        if self.synic.queued() == 0 || !self.synic.takes_messages() {
            // When both are given again, the first look tries at once.
            self.retry_due = None;
        } else if self.retry_due.is_none_or(|due| now >= due) {
            self.rescan(reference.at(now));
            self.retry_due = (self.synic.queued() != 0)
                .then(|| now.saturating_add(reference.ticks_in(RETRY_MICROSECONDS)));
        }
        expirations
    }

    fn expire_timers(&mut self, reference_time: u64) -> TimerExpirations {
        let mut expirations = TimerExpirations::default();
        if let Some(raises) = self.unhalted_timer.expire(reference_time) {
            self.eoi_assist.tell_unhalted_timer_expired();
            match raises {
                Raises::Nmi => expirations.nmi = true,
                Raises::Vector(vector) => {
                    self.request(vector, false, false);
                }
            }
        }
        for index in 0..STIMER_COUNT {
            let Some(expired) = self.timers[index].expire(reference_time) else { continue };
            if expired.config.direct_mode() {
                expirations.direct += 1;
                self.request(expired.config.apic_vector(), false, false);
                continue;
            }
            let bit = 1 << index;
            if self.timer_messages & bit != 0 {
                continue;
            }
            let Some(sint) = SintIndex::new(expired.config.sintx()) else { continue };
            let payload = TimerMessagePayload {
                timer_index: index as u32,
                reserved: 0,
                expiration_time: expired.time,
                delivery_time: reference_time,
            };
            expirations.message += 1;
            self.timer_messages |= bit;
            let message = Message::new(MessageType::TIMER_EXPIRED, 0, payload.as_bytes());
            self.post(sint, message, Buffer::Timer(index as u8), reference_time);
        }
        expirations
    }

    /// The clock tick at which [`VtlState::advance`] next has something to do.
    pub(crate) fn deadline(&self, tsc_offset: u64) -> Option<u64> {
        [self.apic.deadline(tsc_offset), self.timers_due, self.retry_due].into_iter().flatten().min()
    }

    /// Panics if what is kept here contradicts itself.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn check(&mut self) {
        self.settle_eoi_assist();
        assert!(!self.eoi_assist.is_armed() || self.apic.serving().is_some(), "an assist for no interrupt");
        for timer in &self.timers {
            assert!(timer.due().is_none() || timer.count() != 0, "{timer:?} has no time");
        }
        let waiting = self.synic.check();
        assert_eq!(waiting, self.timer_messages, "timers whose messages wait");
    }
}

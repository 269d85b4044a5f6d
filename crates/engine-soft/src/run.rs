// SPDX-License-Identifier: MIT OR Apache-2.0
//! The run loop: between two chains of handlers it looks at everything that is not straight-line code.

use std::sync::atomic::Ordering;

use engine::{Event, Exit, ExitReason, RunLimits, SegmentName};

use crate::block::{BlockKey, CodePlace, Leave, Op};
use crate::cpu::{Cpu, rflags, slot};
use crate::mmu::PhysicalPage;
use crate::shared::{KICKED, NOTICES, STAND_STILL};
use crate::stop::{Raised, Stop};
use crate::{decode, system};

/// Instructions between two looks at the clock.
const BUDGET: i64 = 8192;
/// What a PAUSE takes off that beside itself: it makes a processor wait for about as long, and a loop of them is better looked at soon.
pub(crate) const PAUSE_COST: i64 = 64;
/// What an exit takes off that: it takes the hypervisor as long as some hundred instructions, and a device longer.
const EXIT_COST: i64 = 512;
/// PAUSE instructions between two looks from which on they count as a loop that waits: on average there are fewer than 200 instructions from one to
/// the next.
pub(crate) const SPIN_WAIT: u32 = 32;

const fn between(reason: ExitReason) -> Exit {
    Exit { reason, instruction_length: 0, delivering: None }
}

impl Cpu {
    /// Whether an external interrupt could be delivered before the next instruction.
    #[must_use]
    pub fn can_take_interrupt(&self) -> bool {
        self.rflags() & rflags::IF != 0 && !self.events.interrupt_shadow && self.is_between_instructions()
    }

    /// Whether an NMI could be delivered before the next instruction.
    #[must_use]
    pub fn can_take_nmi(&self) -> bool {
        !self.events.nmi_blocked && !self.events.interrupt_shadow && self.is_between_instructions()
    }

    /// Whether nothing is being delivered, and no instruction waits to go on with an access that was completed: an event
    /// before such an instruction would have its access done a second time after the event.
    fn is_between_instructions(&self) -> bool {
        self.events.pending.is_none() && !self.has_completed()
    }

    /// Runs until something happens.
    pub fn run(&mut self, limits: RunLimits) -> Exit {
        self.shared.enter_guest();
        let exit = self.run_inside(limits);
        self.time.pass(self.instructions());
        self.shared.leave_guest();
        exit
    }

    fn run_inside(&mut self, limits: RunLimits) -> Exit {
        let deadline = limits.deadline.unwrap_or(u64::MAX);
        // Virtual time may have been moved meanwhile, by as little as one instruction of another processor.
        let look = self.time.is_virtual() || deadline < self.deadline;
        self.grant(if look { 0 } else { self.budget - EXIT_COST });
        self.deadline = deadline;
        self.link_from = std::ptr::null_mut();
        loop {
            // In this order: a change that is over has posted its notices.
            let code_is_changing = self.registry.is_code_changing();
            let pending = self.shared.pending.load(Ordering::SeqCst);
            if pending & STAND_STILL != 0 {
                self.shared.stand_still();
                continue;
            }
            if code_is_changing {
                std::thread::yield_now();
                if pending & NOTICES == 0 {
                    continue;
                }
            }
            if pending & NOTICES != 0 {
                self.link_from = std::ptr::null_mut();
                self.serve_notices();
                if code_is_changing {
                    // Of two changes one may not have posted yet.
                    continue;
                }
            }
            if pending & KICKED != 0 && self.shared.take_kick() {
                return between(ExitReason::Kicked);
            }
            if self.budget <= 0
                && let Some(reason) = self.renew_budget(limits.deadline)
            {
                return between(reason);
            }
            if std::mem::take(&mut self.just_raised)
                && let Some(reason) = self.events.pending.and_then(|event| self.exception_exit(event))
            {
                // Whoever is asked answers with what is to be delivered, if anything is.
                self.events.pending = None;
                let length = self.next_rip.wrapping_sub(self.rip);
                let instruction_length = if length <= 15 { length as u8 } else { 0 };
                return Exit { reason, instruction_length, delivering: None };
            }
            if let Some(event) = self.events.pending {
                self.rewind_completed();
                self.link_from = std::ptr::null_mut();
                if let Err(noted) = system::deliver(self, event) {
                    let reason = self.noted_exit(noted);
                    return Exit { reason, instruction_length: 0, delivering: Some(event) };
                }
                self.events.pending = None;
                self.deadline_told = false;
                self.forget_completed();
                continue;
            }
            if limits.interrupt_window && self.can_take_interrupt() {
                return between(ExitReason::InterruptWindow);
            }
            if limits.nmi_window && self.can_take_nmi() {
                return between(ExitReason::NmiWindow);
            }
            let mut outcome = if self.must_step() {
                self.step()
            } else if self.budget <= 0 {
                // The deadline may lie in the middle of the next block.
                self.step_chain()
            } else {
                self.run_chain()
            };
            if outcome == Err(Stop::Alone) {
                outcome = self.execute_alone(Self::step);
            }
            match outcome {
                Ok(()) => {}
                Err(Stop::Exception(raised)) => self.raise(raised),
                Err(Stop::Exit(noted)) => {
                    let instruction_length = self.next_rip.wrapping_sub(self.rip) as u8;
                    return Exit { reason: self.noted_exit(noted), instruction_length, delivering: None };
                }
                // A kick goes first.
                Err(Stop::Alone) => {}
            }
        }
    }

    /// Looks at the clock, and either says why the run ends or sets the budget until the next look.
    ///
    /// Time that is counted in instructions ends a run to the instruction: what is granted leaves room for a whole block, and what then remains is executed
    /// one by one, with a budget of nothing. An instruction that waits for the rest of its accesses comes to its end first.
    fn renew_budget(&mut self, deadline: Option<u64>) -> Option<ExitReason> {
        if self.time.is_virtual() && self.has_completed() {
            self.grant(0);
            return None;
        }
        let now = self.time.now(self.instructions());
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Some(ExitReason::Deadline);
        }
        let pauses = self.pauses;
        if !self.time.is_virtual() {
            self.grant(BUDGET);
            self.pauses = 0;
        } else if pauses >= SPIN_WAIT {
            self.pauses = 0;
        } else {
            let left = deadline.map_or(BUDGET, |deadline| i64::try_from(deadline - now).unwrap_or(BUDGET));
            self.grant(left.saturating_sub(decode::MOST_INSTRUCTIONS as i64).clamp(0, BUDGET));
        }
        (pauses >= SPIN_WAIT).then_some(ExitReason::SpinWait)
    }

    /// Whether an instruction may give the guest the time `now`. A time beyond the run's deadline is not seen before what is due then had its chance to
    /// interrupt: the run ends before the instruction, once. (Virtual time does not get there: it ends runs to the instruction.)
    pub(crate) fn time_may_be_seen(&mut self, now: u64) -> bool {
        self.deadline_told = now >= self.deadline && !self.deadline_told;
        !self.deadline_told
    }

    /// Sets the budget.
    pub(crate) fn grant(&mut self, budget: i64) {
        self.granted += budget - self.budget;
        self.budget = budget;
    }

    /// Instructions that have retired so far, as [`engine::EngineVp::instructions`] counts them; exact between chains.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        (self.granted - self.budget).unsigned_abs()
    }

    /// Has an exception delivered before the next instruction.
    pub(crate) fn raise(&mut self, raised: Raised) {
        self.events.pending = Some(raised.event());
        self.just_raised = true;
    }

    /// The exit that an exception raises, if it was chosen to.
    pub(crate) fn exception_exit(&self, event: Event) -> Option<ExitReason> {
        match event {
            Event::Exception { vector, error_code, parameter }
                if vector < 32 && self.exception_exits >> vector & 1 != 0 =>
            {
                Some(ExitReason::Exception { vector, error_code, parameter })
            }
            _ => None,
        }
    }

    /// Executes blocks until a chain ends.
    pub(crate) fn run_chain(&mut self) -> Result<(), Stop> {
        let op = self.find_block(false)?;
        self.chain(op)
    }

    /// Executes one instruction with all that surrounds it: see [`crate::system`].
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        let before = self.rflags();
        if !self.has_completed() {
            system::before_step(self).map_err(Stop::Exception)?;
        }
        // The shadow covers one instruction, which may begin another.
        let shadow = std::mem::take(&mut self.events.interrupt_shadow);
        self.rewind_completed();
        self.stepping = true;
        self.code_context_changed();
        let mut outcome = self.step_chain();
        if outcome == Err(Stop::Alone) {
            outcome = self.execute_alone(Self::step_chain);
        }
        self.stepping = false;
        self.code_context_changed();
        match outcome {
            Err(Stop::Exit(_) | Stop::Alone) => self.events.interrupt_shadow = shadow,
            Err(Stop::Exception(_)) => self.forget_completed(),
            Ok(()) => {
                self.forget_completed();
                if let Some(raised) = system::after_step(self, before) {
                    self.raise(raised);
                }
            }
        }
        outcome
    }

    fn step_chain(&mut self) -> Result<(), Stop> {
        let op = self.find_block(true)?;
        self.chain(op)
    }

    /// Executes a chain that begins with what was just found.
    #[inline]
    fn chain(&mut self, mut op: *const Op) -> Result<(), Stop> {
        loop {
            // SAFETY: `op` was found for the current mode, or is where a handler of such a block wants to go on; blocks are
            // freed only by `find_block`.
            match unsafe { (*op).handler()(self, op) } {
                Leave::Continue => op = self.resume_at,
                Leave::LookUp => return Ok(()),
                Leave::Stop => return Err(self.stop.take().expect("a handler that stops says why")),
                Leave::Exit(noted) => return Err(Stop::Exit(noted)),
            }
        }
    }

    /// Finds or makes the block at `rip`.
    fn find_block(&mut self, step: bool) -> Result<*const Op, Stop> {
        let link_from = std::mem::replace(&mut self.link_from, std::ptr::null_mut());
        self.next_rip = self.rip;
        self.check_near_target(self.rip)?;
        let linear = self.code_linear(self.rip);
        let offset = (linear & 0xFFF) as u16;
        self.frame.slots[slot::IP_BASE] = self.rip.wrapping_sub(offset.into());
        let page = self.code_page(linear)?;
        let step = step || !self.page_inside_limit(offset);
        let Some(page) = page else { return self.transient_block(linear) };
        let mode = if step { self.mode().stepping() } else { self.mode() };
        // Names page and mode; the page's address has 47 bits, of which 12 are zero.
        let page_name = page.host | u64::from(mode.bits()) | u64::from(self.physical_epoch) << 48;
        if mode.is_64()
            && !step
            && link_from.is_null()
            && let Some(op) = self.blocks.jumps.find_in_page(self.rip, page_name)
            && !self.blocks.is_stale(op)
        {
            // Known from another address space.
            self.blocks.jumps.enter(self.rip, self.jump_key, page_name, op);
            return Ok(op);
        }
        let place = CodePlace { object: page.object, page: page.page };
        let key = BlockKey { place, offset, mode };
        let op = match self.blocks.find(&key) {
            Some(op) => op,
            None => {
                if !self.blocks.make_room(decode::MOST_OPERATIONS) {
                    self.clear_blocks();
                    return self.find_block(step);
                }
                let epoch = self.context_epoch;
                self.claim_code_page(page);
                if epoch != self.context_epoch {
                    // Notices were served on the way: the page may be another now, or gone.
                    return self.find_block(step);
                }
                match decode::block(self, page.host, key) {
                    Some(op) => op,
                    None => return self.transient_block(linear),
                }
            }
        };
        if !step {
            if link_from.is_null() {
                if self.mode().is_64() {
                    self.blocks.jumps.enter(self.rip, self.jump_key, page_name, op);
                }
            } else if self.blocks.is_of_page(link_from, &place) {
                // SAFETY: the branch is in the arena, which was not cleared since it ran.
                unsafe { (*link_from).immediate = op.expose_provenance() as u64 };
            }
        }
        Ok(op)
    }

    /// Whether every byte of the page around `rip` lies in the code segment.
    fn page_inside_limit(&self, offset: u16) -> bool {
        if self.mode().is_64() {
            return true;
        }
        let first = self.rip.wrapping_sub(offset.into());
        first < 1 << 32 && first + 0xFFF <= u64::from(self.segment(SegmentName::Cs).limit)
    }

    /// The page that code at a linear address is in; `None` if its blocks cannot be kept because it may change unnoticed.
    fn code_page(&mut self, linear: u64) -> Result<Option<PhysicalPage>, Stop> {
        let context = self.mmu.context();
        if let Some(page) = self.code_pages.find(linear, context) {
            return Ok(Some(page));
        }
        let privilege = self.privilege();
        let Some(page) = self.translate_code(linear, privilege)? else { return Ok(None) };
        if page.host == 0 {
            return Ok(None);
        }
        self.code_pages.enter(linear, context, page);
        Ok(Some(page))
    }

    /// A block of the one instruction at `rip`, which lies across pages or in memory that may change unnoticed. It is decoded each time.
    fn transient_block(&mut self, linear: u64) -> Result<*const Op, Stop> {
        let mut bytes = [0; 15];
        let mut length = self.fetch(linear, &mut bytes)?;
        if decode::needs_more(self, &bytes[..length]) {
            let rest = linear.wrapping_add(length as u64);
            let rest = if self.is_long_mode() { rest } else { rest & 0xFFFF_FFFF };
            length += self.fetch(rest, &mut bytes[length..])?;
        }
        Ok(decode::single(self, &bytes[..length], (linear & 0xFFF) as u16))
    }

    /// Bytes at `rip` as a fetch would see them, as many as can be read.
    pub(crate) fn bytes_at_rip(&mut self) -> ([u8; 15], u8) {
        if self.shared.pending.load(Ordering::SeqCst) & NOTICES != 0 {
            // What guest-physical pages are may have changed since the run.
            self.serve_notices();
        }
        let mut bytes = [0; 15];
        let linear = self.code_linear(self.rip);
        let Ok(first) = self.fetch(linear, &mut bytes) else { return (bytes, 0) };
        let second = match first {
            15 => 0,
            _ => self.fetch(linear.wrapping_add(first as u64), &mut bytes[first..]).unwrap_or(0),
        };
        (bytes, (first + second) as u8)
    }
}

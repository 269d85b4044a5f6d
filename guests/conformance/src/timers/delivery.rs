// SPDX-License-Identifier: MIT OR Apache-2.0
//! Expirations as they arrive, by message and as direct interrupts, on every processor at once.

use super::MILLISECOND;
use crate::lab::Guest;
use core::sync::atomic::{AtomicU32, Ordering};
use support::hyperv::timer::Timer;
use support::hyperv::{arrivals, synic, time};
use support::trap::Fault;
use support::{check, segments, skip};
use tlfs::msr::{self, StimerConfig};
use tlfs::synic::{Message, MessageType};
use tlfs::timer::TimerMessagePayload;
use zerocopy::FromBytes;

/// Timer n sends to source 2 + n at vector 0x61 + n; in direct mode it raises 0x63 + n. Interrupts of the second source end by themselves.
const FIRST_SINT: u8 = 2;
const MESSAGE_VECTORS: [u8; 2] = [0x61, 0x62];
const DIRECT_VECTORS: [u8; 2] = [0x63, 0x64];
const TIMERS: [u8; 2] = [0, 1];

/// Ticks of a periodic timer that are waited for.
const TICKS: u32 = 60;

/// What went wrong, as bits.
mod fault {
    pub(super) const REGISTERS: u32 = 1;
    pub(super) const PERIODIC: u32 = 1 << 1;
    pub(super) const ONE_SHOT: u32 = 1 << 2;
    pub(super) const AUTO_ENABLE: u32 = 1 << 3;
    pub(super) const AUTO_PERIODIC: u32 = 1 << 4;
    pub(super) const PAYLOAD: u32 = 1 << 5;
    pub(super) const BUSY: u32 = 1 << 6;
    pub(super) const STOPPED: u32 = 1 << 7;
}

static FAULTS: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy)]
enum Mode {
    Message,
    Direct,
}

/// What has come of the two timers of one processor.
struct Ticks {
    mode: Mode,
    direct_before: [u32; 2],
    messages: [u32; 2],
}

impl Ticks {
    fn new(mode: Mode) -> Ticks {
        let mut ticks = Ticks { mode, direct_before: [0; 2], messages: [0; 2] };
        ticks.direct_before = ticks.direct();
        ticks
    }

    fn direct(&self) -> [u32; 2] {
        let processor = segments::processor_index();
        DIRECT_VECTORS.map(|vector| arrivals::count_on(processor, vector))
    }

    /// Expirations so far; messages are taken from their slots.
    fn take(&mut self) -> [u32; 2] {
        match self.mode {
            Mode::Direct => {
                let now = self.direct();
                [0, 1].map(|timer| now[timer] - self.direct_before[timer])
            }
            Mode::Message => {
                for timer in TIMERS {
                    if let Ok(Some(message)) = synic::take_message(FIRST_SINT + timer) {
                        self.messages[usize::from(timer)] += 1;
                        note(right(&message, timer), fault::PAYLOAD);
                    }
                }
                self.messages
            }
        }
    }

    /// Waits until both timers have expired at least so often; gives how often they have.
    fn wait(&mut self, least: [u32; 2]) -> [u32; 2] {
        let start = time::counter().unwrap_or(0);
        loop {
            arrivals::let_in();
            let now = self.take();
            let late = time::counter().unwrap_or(u64::MAX) - start > 3000 * MILLISECOND;
            if late || (now[0] >= least[0] && now[1] >= least[1]) {
                return now;
            }
        }
    }

    /// Waits for a time; gives how often the timers have expired.
    fn watch(&mut self, duration: u64) -> [u32; 2] {
        let start = time::counter().unwrap_or(0);
        while time::counter().is_ok_and(|now| now < start + duration) {
            arrivals::let_in();
            self.take();
        }
        self.take()
    }
}

fn note(right: bool, fault: u32) {
    if !right {
        FAULTS.fetch_or(fault, Ordering::Relaxed);
    }
}

fn right(message: &Message, timer: u8) -> bool {
    let is_timer = message.header.message_type == MessageType::TIMER_EXPIRED;
    is_timer
        && TimerMessagePayload::read_from_prefix(synic::payload(message)).is_ok_and(|(payload, _)| {
            payload.timer_index == u32::from(timer) && payload.delivery_time >= payload.expiration_time
        })
}

fn config(mode: Mode, timer: u8) -> StimerConfig {
    match mode {
        Mode::Message => StimerConfig::new().with_sintx(FIRST_SINT + timer),
        Mode::Direct => {
            StimerConfig::new().with_direct_mode(true).with_apic_vector(DIRECT_VECTORS[usize::from(timer)])
        }
    }
}

fn by_message() {
    let set =
        |timer: u8| synic::set_sint(FIRST_SINT + timer, MESSAGE_VECTORS[usize::from(timer)], timer == 1);
    note(
        synic::enable().and_then(|()| TIMERS.iter().try_for_each(|&timer| set(timer))).is_ok(),
        fault::REGISTERS,
    );
    note(exercise(Mode::Message).is_ok(), fault::REGISTERS);
    note(busy_slot().is_ok(), fault::REGISTERS);
    let mask = |timer: &u8| synic::mask_sint(FIRST_SINT + timer);
    note(TIMERS.iter().try_for_each(mask).and_then(|()| synic::disable()).is_ok(), fault::REGISTERS);
}

fn directly() {
    note(exercise(Mode::Direct).is_ok(), fault::REGISTERS);
}

fn exercise(mode: Mode) -> Result<(), Fault> {
    // Two periodic timers at once, of a millisecond.
    let mut ticks = Ticks::new(mode);
    for timer in TIMERS {
        Timer(timer).start(config(mode, timer).with_periodic(true), MILLISECOND)?;
    }
    let came = ticks.wait([TICKS; 2]);
    note(came[0] >= TICKS && came[1] >= TICKS, fault::PERIODIC);
    for timer in TIMERS {
        Timer(timer).stop()?;
    }
    // One that was on its way when they were stopped may still come.
    let stopped = ticks.watch(2 * MILLISECOND);
    note(ticks.watch(3 * MILLISECOND) == stopped, fault::STOPPED);

    let mut ticks = Ticks::new(mode);
    Timer(0).start(config(mode, 0), time::counter()? + MILLISECOND)?;
    note(ticks.wait([1, 0]) == [1, 0] && ticks.watch(2 * MILLISECOND) == [1, 0], fault::ONE_SHOT);
    note(!Timer(0).read()?.enable(), fault::ONE_SHOT);

    // Enabled by its count alone.
    let mut ticks = Ticks::new(mode);
    support::trap::wrmsr(msr::STIMER0_CONFIG, config(mode, 0).with_auto_enable(true).into_bits())?;
    support::trap::wrmsr(msr::STIMER0_COUNT, time::counter()? + MILLISECOND)?;
    note(ticks.wait([1, 0]) == [1, 0], fault::AUTO_ENABLE);
    note(!Timer(0).read()?.enable(), fault::AUTO_ENABLE);

    let mut ticks = Ticks::new(mode);
    let periodic = config(mode, 0).with_auto_enable(true).with_periodic(true);
    support::trap::wrmsr(msr::STIMER0_CONFIG, periodic.into_bits())?;
    support::trap::wrmsr(msr::STIMER0_COUNT, MILLISECOND)?;
    note(ticks.wait([TICKS / 4, 0])[0] >= TICKS / 4, fault::AUTO_PERIODIC);
    support::trap::wrmsr(msr::STIMER0_COUNT, 0)?;
    note(!Timer(0).read()?.enable(), fault::AUTO_PERIODIC);
    ticks.watch(2 * MILLISECOND);
    Timer(0).stop()
}

/// A timer whose slot is taken says so there, and its message comes when the slot is free.
fn busy_slot() -> Result<(), Fault> {
    let (processor, sint) = (segments::processor_index(), FIRST_SINT);
    synic::set_slot(processor, sint, MessageType(1));
    Timer(0).start(config(Mode::Message, 0), time::counter()? + MILLISECOND)?;
    let pending = || synic::slot(processor, sint).header.flags.message_pending();
    let mut waited = 0;
    while !pending() && waited < 3000 {
        waited += 1;
        Ticks::new(Mode::Direct).watch(MILLISECOND);
    }
    let before = arrivals::count_on(processor, MESSAGE_VECTORS[0]);
    note(pending() && synic::slot(processor, sint).header.message_type == MessageType(1), fault::BUSY);
    // Frees the slot, and writes EOM, for the flag is set.
    synic::take_message(sint)?;
    let mut ticks = Ticks::new(Mode::Message);
    note(ticks.wait([1, 0]) == [1, 0], fault::BUSY);
    note(arrivals::count_on(processor, MESSAGE_VECTORS[0]) == before + 1, fault::BUSY);
    Ok(())
}

pub(super) fn check(guest: &Guest) {
    if !guest.interface.privileges.access_synthetic_timer_regs() {
        return skip!("B12.021", "no AccessSyntheticTimerRegs");
    }
    if guest.interface.privileges.access_synic_regs() {
        arrivals::expect(MESSAGE_VECTORS[0]);
        arrivals::expect_unended(MESSAGE_VECTORS[1]);
        report(guest, by_message, "by message");
    } else {
        skip!("B12.016", "no AccessSynicRegs");
    }
    if guest.interface.features.use_direct_synthetic_timers() {
        DIRECT_VECTORS.into_iter().for_each(arrivals::expect);
        report(guest, directly, "direct");
    } else {
        skip!("B12.010", "no direct timers");
    }
}

fn report(guest: &Guest, exercise: fn(), how: &str) {
    FAULTS.store(0, Ordering::Relaxed);
    guest.on_all(exercise);
    let faults = FAULTS.load(Ordering::Relaxed);
    let right = |fault: u32| faults & fault == 0;
    check!("B12.015", right(fault::REGISTERS), "{how}: registers of {} processor(s)", guest.processors);
    check!("B12.021, B12.028", right(fault::PERIODIC), "{how}: two timers of 1 ms, {TICKS} ticks each");
    check!("B12.021", right(fault::STOPPED), "{how}: silent once they are stopped");
    check!("B12.020, B12.027", right(fault::ONE_SHOT), "{how}: a one-shot expires once");
    check!("B12.018, B12.020", right(fault::AUTO_ENABLE), "{how}: its count enables it");
    check!("B12.018, B12.026", right(fault::AUTO_PERIODIC), "{how}: and a periodic one, until it is zero");
    if how == "by message" {
        check!("B13.008", right(fault::PAYLOAD), "{how}: each says which timer it is of");
        check!("B12.016, B11.053", right(fault::BUSY), "{how}: one waits for its slot, and comes after EOM");
    }
}

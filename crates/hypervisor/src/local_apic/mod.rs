// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC of a VP (SDM 3A chapter 10, TLFS chapter 10), as a plain state machine.
//!
//! It lives in a VP's shared state, behind that VP's lock, because others request interrupts of it. It knows no VP and no
//! partition: what it wants from others comes back as a value ([`Effect`]), and the time is given to it.
//!
//! Two things go beyond the architecture. A vector can be requested with *auto-EOI* (TLFS 11.8.5): then delivery leaves no
//! in-service bit. And [`LocalApic::acknowledge`] says whether the guest may skip the EOI of what it delivers (TLFS 10.3.5).

mod command;
mod registers;
mod timer;
mod vector_set;

#[cfg(test)]
mod tests;

pub use command::{Destination, InterruptMessage};
pub use registers::RegisterError;
pub use vector_set::VectorSet;

use timer::{Rates, Timer};
use x86::apic::{ApicBase, DEFAULT_BASE, DeliveryMode, ErrorStatus, Icr, Lvt, SpuriousVector, TimerMode};

/// Index of an entry of the local vector table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum LvtIndex {
    Timer,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}

/// What an APIC wants done after one of its registers was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing beyond this APIC. It may now have another interrupt to deliver, so look at [`LocalApic::pending`].
    None,
    /// An interrupt message is to be sent.
    Send(InterruptMessage),
    /// An interrupt was ended. If a vector is given it was level triggered, and the I/O APICs are to be told.
    EndOfInterrupt(Option<u8>),
}

/// What an APIC has to deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingInterrupt {
    /// A vector that the processor's priority lets through.
    Vector(u8),
    /// LINT0 is asserted in ExtINT mode: the vector is to be asked of the PIC.
    External,
    /// A parent asserts an external interrupt with this vector (TLFS 10.3.2). The APIC itself never says so.
    Asserted(u8),
}

/// What was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The vector.
    pub vector: u8,
    /// It was requested with auto-EOI: there is nothing to end.
    pub auto_eoi: bool,
    /// Ending it would change nothing that anyone sees before another interrupt is requested: it is edge triggered and no other
    /// vector is requested (TLFS 10.3.5).
    pub eoi_may_be_skipped: bool,
}

/// How a VP is to react to an interrupt message that reached its APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The vector is requested; look at [`LocalApic::pending`].
    Requested,
    /// The message has no effect here: the APIC is disabled or the vector illegal.
    Ignored,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up at page number `.0`.
    StartUp(u8),
}

/// How an APIC starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalApicConfig {
    /// The x2APIC id; its low 8 bits are the xAPIC id.
    pub id: u32,
    /// Whether it belongs to the bootstrap processor.
    pub bootstrap: bool,
    /// Whether x2APIC mode exists.
    pub x2apic: bool,
    /// Ticks of the partition's clock per second.
    pub clock_frequency: u64,
    /// Ticks of the timer's input clock per second (HV_X64_MSR_APIC_FREQUENCY).
    pub bus_frequency: u64,
}

/// A local APIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalApic {
    id: u32,
    x2apic_exists: bool,
    base: ApicBase,
    /// All eight bits; CR8 is the upper four.
    tpr: u8,
    /// In xAPIC mode; x2APIC mode derives it from the id.
    ldr: u32,
    dfr: u32,
    svr: SpuriousVector,
    requested: VectorSet,
    in_service: VectorSet,
    level: VectorSet,
    auto_eoi: VectorSet,
    /// What reads of ESR give, and what has happened since it was last written.
    esr: ErrorStatus,
    errors: ErrorStatus,
    icr: Icr,
    lvt: [Lvt; 6],
    lint0: bool,
    timer: Timer,
}

state::state!(LocalApic {
    id,
    x2apic_exists,
    base as bits,
    tpr,
    ldr,
    dfr,
    svr as bits,
    requested,
    in_service,
    level,
    auto_eoi,
    esr as bits,
    errors as bits,
    icr as bits,
    lvt as all bits,
    lint0,
    timer,
});

const FLAT_MODEL: u32 = u32::MAX;

impl LocalApic {
    /// An APIC as it is after power-on: enabled in xAPIC mode at the default base, software-disabled.
    #[must_use]
    pub fn new(config: LocalApicConfig) -> Self {
        let base = ApicBase::new()
            .with_bootstrap(config.bootstrap)
            .with_enable(true)
            .with_page_number(DEFAULT_BASE >> 12);
        Self {
            id: config.id,
            x2apic_exists: config.x2apic,
            base,
            tpr: 0,
            ldr: 0,
            dfr: FLAT_MODEL,
            svr: SpuriousVector::new(),
            requested: VectorSet::default(),
            in_service: VectorSet::default(),
            level: VectorSet::default(),
            auto_eoi: VectorSet::default(),
            esr: ErrorStatus::new(),
            errors: ErrorStatus::new(),
            icr: Icr::new(),
            lvt: [Lvt::RESET; 6],
            lint0: false,
            timer: Timer::new(Rates { clock: config.clock_frequency, bus: config.bus_frequency }),
        }
    }

    /// INIT (SDM 3A 10.4.7.3): everything as after power-on except the id, the base and the mode.
    pub fn init(&mut self) {
        let rates = self.timer.rates();
        let fresh = Self::new(LocalApicConfig {
            id: self.id,
            bootstrap: self.base.bootstrap(),
            x2apic: self.x2apic_exists,
            clock_frequency: rates.clock,
            bus_frequency: rates.bus,
        });
        *self = Self { base: self.base, lint0: self.lint0, ..fresh };
    }

    /// Programs LINT0 as ExtINT and LINT1 as NMI and enables the APIC in software, which is how firmware hands over.
    pub fn set_up_as_firmware_does(&mut self) {
        self.svr = SpuriousVector::new().with_enable(true);
        self.lvt[LvtIndex::Lint0 as usize] = Lvt::new().with_delivery_mode(DeliveryMode::ExtInt);
        self.lvt[LvtIndex::Lint1 as usize] = Lvt::new().with_delivery_mode(DeliveryMode::Nmi);
    }

    /// The x2APIC id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Guest-physical address of the register page, while the APIC is in xAPIC mode.
    #[must_use]
    pub fn page(&self) -> Option<u64> {
        (self.base.enable() && !self.base.x2apic()).then(|| self.base.page_number() << 12)
    }

    fn is_x2apic(&self) -> bool {
        self.base.enable() && self.base.x2apic()
    }

    /// Whether fixed interrupts are accepted: enabled by IA32_APIC_BASE and by software.
    pub(crate) fn accepts(&self) -> bool {
        self.base.enable() && self.svr.enable()
    }

    fn lvt(&self, index: LvtIndex) -> Lvt {
        self.lvt[index as usize]
    }

    /// Requests a vector of 16 to 255. Returns whether it was accepted: a disabled APIC accepts nothing, and neither may an illegal
    /// vector be requested. A request that is already pending merges with it.
    pub fn request(&mut self, vector: u8, level_triggered: bool, auto_eoi: bool) -> bool {
        if !self.accepts() {
            return false;
        }
        if vector < 16 {
            self.record(ErrorStatus::new().with_receive_illegal_vector(true));
            return false;
        }
        self.requested.insert(vector);
        self.level.set(vector, level_triggered);
        self.auto_eoi.set(vector, auto_eoi);
        true
    }

    /// Withdraws a level-triggered vector that is requested and not delivered yet.
    pub(crate) fn withdraw(&mut self, vector: u8) {
        if self.level.contains(vector) {
            self.requested.remove(vector);
        }
    }

    /// Takes an interrupt message that was addressed to this APIC.
    pub fn deliver(&mut self, message: InterruptMessage) -> Delivery {
        match message.delivery_mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                if self.request(message.vector, message.level_triggered, false) {
                    Delivery::Requested
                } else {
                    Delivery::Ignored
                }
            }
            DeliveryMode::Nmi => Delivery::Nmi,
            DeliveryMode::Init => Delivery::Init,
            DeliveryMode::StartUp => Delivery::StartUp(message.vector),
            // System management mode does not exist here, and ExtINT comes in through LINT0.
            DeliveryMode::Smi | DeliveryMode::ExtInt | DeliveryMode::Reserved => Delivery::Ignored,
        }
    }

    /// Sets the level of LINT0, to which the PIC's output is wired.
    pub fn set_lint0(&mut self, asserted: bool) {
        self.lint0 = asserted;
    }

    /// A pulse on LINT1: whether it is to be an NMI. A vector programmed there is requested.
    pub fn pulse_lint1(&mut self) -> bool {
        let entry = self.lvt(LvtIndex::Lint1);
        if entry.masked() || !self.base.enable() {
            return false;
        }
        match entry.delivery_mode() {
            DeliveryMode::Nmi => true,
            DeliveryMode::Fixed => {
                self.request(entry.vector(), entry.level_triggered(), false);
                false
            }
            _ => false,
        }
    }

    /// Records an error and raises the error interrupt.
    fn record(&mut self, error: ErrorStatus) {
        let before = self.errors;
        self.errors = ErrorStatus::from_bits(before.into_bits() | error.into_bits());
        let entry = self.lvt(LvtIndex::Error);
        // A bad vector in the error entry itself must not be reported for ever.
        if self.errors != before && !entry.masked() && entry.vector() >= 16 {
            self.request(entry.vector(), false, false);
        }
    }

    /// Processor priority (SDM 3A 10.8.3.1).
    pub(crate) fn priority(&self) -> u8 {
        let serving = self.in_service.highest().unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 { self.tpr } else { serving & 0xF0 }
    }

    /// The interrupt that is to be delivered next, if priorities let one through.
    #[must_use]
    pub fn pending(&self) -> Option<PendingInterrupt> {
        if self.external_pending() {
            return Some(PendingInterrupt::External);
        }
        let vector = self.requested.highest()?;
        (vector >> 4 > self.priority() >> 4).then_some(PendingInterrupt::Vector(vector))
    }

    fn external_pending(&self) -> bool {
        if !self.lint0 {
            return false;
        }
        let entry = self.lvt(LvtIndex::Lint0);
        // A globally disabled APIC lets INTR through as if it were not there (SDM 3A 10.4.3).
        !self.base.enable() || (!entry.masked() && entry.delivery_mode() == DeliveryMode::ExtInt)
    }

    /// Hands out the pending vector: it moves from requested to in service, unless it ends by itself.
    pub fn acknowledge(&mut self) -> Option<Acknowledged> {
        let vector = self.requested.highest()?;
        if vector >> 4 <= self.priority() >> 4 {
            return None;
        }
        self.requested.remove(vector);
        let auto_eoi = self.auto_eoi.contains(vector);
        if !auto_eoi {
            self.in_service.insert(vector);
        }
        let eoi_may_be_skipped = !auto_eoi && !self.level.contains(vector) && self.requested.is_empty();
        Some(Acknowledged { vector, auto_eoi, eoi_may_be_skipped })
    }

    /// Puts back a vector that was acknowledged but whose delivery was then given up.
    pub fn unacknowledge(&mut self, acknowledged: Acknowledged) {
        self.in_service.remove(acknowledged.vector);
        self.requested.insert(acknowledged.vector);
    }

    /// Ends the highest interrupt in service; gives its vector if the I/O APICs are to be told.
    pub fn end_of_interrupt(&mut self) -> Option<u8> {
        let vector = self.in_service.highest()?;
        self.in_service.remove(vector);
        self.level.contains(vector).then_some(vector)
    }

    /// The highest vector in service.
    #[must_use]
    pub fn serving(&self) -> Option<u8> {
        self.in_service.highest()
    }

    /// Vectors requested and not yet delivered, whatever the priorities.
    #[must_use]
    pub fn requested(&self) -> &VectorSet {
        &self.requested
    }

    /// Task priority as CR8 shows it, 0 to 15.
    #[must_use]
    pub fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// Sets the task priority through CR8.
    pub fn set_cr8(&mut self, value: u8) {
        self.tpr = value << 4;
    }

    /// The task priority register, all eight bits.
    #[must_use]
    pub fn tpr(&self) -> u8 {
        self.tpr
    }

    /// Sets the task priority register.
    pub fn set_tpr(&mut self, value: u8) {
        self.tpr = value;
    }

    /// Whether a message to `destination` is meant for this APIC. `is_sender` says that it is its own message.
    #[must_use]
    pub fn is_addressed(&self, destination: Destination, is_sender: bool) -> bool {
        if !self.base.enable() {
            return false;
        }
        match destination {
            Destination::SelfOnly => is_sender,
            Destination::All => true,
            Destination::AllButSelf => !is_sender,
            Destination::Physical(id) if self.is_x2apic() => id == self.id,
            Destination::Physical(id) => id == self.id & 0xFF,
            Destination::Logical { address, extended } => self.matches_logical(address, extended),
        }
    }

    fn matches_logical(&self, address: u32, extended: bool) -> bool {
        let everyone = if extended { u32::MAX } else { 0xFF };
        if self.is_x2apic() {
            let own = self.logical_id();
            let same_cluster = address >> 16 == own >> 16;
            return address == everyone || (same_cluster && address & own & 0xFFFF != 0);
        }
        let own = self.ldr >> 24;
        if self.dfr == FLAT_MODEL {
            return address & own & 0xFF != 0;
        }
        let same_cluster = address >> 4 & 0xF == own >> 4 || address >> 4 & 0xF == 0xF;
        same_cluster && address & own & 0xF != 0
    }

    /// The logical id as the LDR shows it.
    fn logical_id(&self) -> u32 {
        if self.is_x2apic() { (self.id >> 4) << 16 | 1 << (self.id & 15) } else { self.ldr }
    }

    /// Fires the timer if it is due at clock tick `now`. `tsc_offset` is what the VP's TSC is ahead of the clock.
    pub fn advance(&mut self, now: u64, tsc_offset: u64) {
        if self.timer.expire(now, tsc_offset) {
            let entry = self.lvt(LvtIndex::Timer);
            if !entry.masked() {
                self.request(entry.vector(), false, false);
            }
        }
    }

    /// The clock tick at which [`LocalApic::advance`] will request an interrupt, if nothing changes.
    #[must_use]
    pub fn deadline(&self, tsc_offset: u64) -> Option<u64> {
        if self.lvt(LvtIndex::Timer).masked() || !self.accepts() {
            return None;
        }
        self.timer.deadline(tsc_offset)
    }

    fn set_timer_mode(&mut self, mode: TimerMode) {
        self.timer.set_mode(mode);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all chapters use: the interface that was found, processors to give work to, and the hypercall page.

use support::hyperv::{Interface, hypercall};
use support::{apic, cpu, processors, trap};
use tlfs::msr;

/// An id that no system has.
pub(crate) const GUEST_OS_ID: u64 = 0xFF01_0000_0000_0001;

/// The vectors that checks use. A check says which it expects; see `support::hyperv::arrivals`.
pub(crate) mod vector {
    /// Interrupts that a processor sends.
    pub(crate) const IPI: u8 = 0x50;
    /// Interrupts of the SynIC.
    pub(crate) const SYNIC: u8 = 0x51;
    /// Events of the SynIC.
    pub(crate) const EVENT: u8 = 0x53;
    /// Synthetic timers in direct mode.
    pub(crate) const TIMER: u8 = 0x52;
}

/// The guest's own place: what it was offered, and how many processors run.
pub(crate) struct Guest {
    pub(crate) interface: Interface,
    /// Processors that run, the boot processor counted.
    pub(crate) processors: usize,
}

impl Guest {
    /// Enables the local APIC and starts the other processors.
    pub(crate) fn prepare(interface: Interface) -> Guest {
        let mut processors = 1;
        if apic::is_present() {
            apic::enable();
            processors = processors::start();
        }
        Guest { interface, processors }
    }

    /// Makes hypercalls possible, if they are offered; says whether they are.
    pub(crate) fn has_calls(&self) -> bool {
        self.interface.privileges.access_hypercall_msrs()
            && hypercall::identify(GUEST_OS_ID)
                .and_then(|()| hypercall::enable())
                .is_ok_and(|place| place.enable())
    }

    /// Has a processor do something, perhaps this one, and waits until it is done.
    pub(crate) fn on(&self, processor: usize, work: fn()) {
        if !self.have(processor, work) {
            work();
        }
    }

    /// Has all processors do something at once, and waits until it is done.
    pub(crate) fn on_all(&self, work: fn()) {
        (1..self.processors).for_each(|processor| processors::give(processor, work));
        work();
        while !(1..self.processors).all(processors::is_idle) {
            cpu::pause();
        }
    }

    /// Has another processor do something, and waits until it is done. Nothing is done if there is no such processor.
    pub(crate) fn have(&self, processor: usize, work: fn()) -> bool {
        if processor == 0 || processor >= self.processors {
            return false;
        }
        processors::give(processor, work);
        while !processors::is_idle(processor) {
            cpu::pause();
        }
        true
    }
}

/// True if reading the MSR raises #GP.
pub(crate) fn read_faults(number: u32) -> bool {
    trap::rdmsr(number).is_err_and(|fault| fault.vector == trap::vector::GENERAL_PROTECTION)
}

/// True if writing the value raises #GP.
pub(crate) fn write_faults(number: u32, value: u64) -> bool {
    trap::wrmsr(number, value).is_err_and(|fault| fault.vector == trap::vector::GENERAL_PROTECTION)
}

/// This processor's VP index, or 0 where it may not know it.
pub(crate) fn own_index() -> u64 {
    trap::rdmsr(msr::VP_INDEX).unwrap_or(0)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controllers and the lines that run to them.
//!
//! After each change the lines of all devices are carried to the 8259 pair and to the I/O APIC: ISA
//! interrupt n is input n of the pair and pin n, but 0 is pin 2, and pin 0 is the pair's own output.
//!
//! **Ticks.** A timer's interrupts merge while a processor has not taken the one before, and a busy host makes a processor late: kernels
//! that count them lose time, or give up ("IO-APIC + timer doesn't work!"). So ticks that were lost while their way was open are kept, and one goes out
//! each time that the processor has accepted the one before.

use crate::interrupt::InterruptSink;
use crate::ioapic::IoApic;
use crate::layout;
use crate::pic::PicPair;
use crate::{pit, pm};

/// The I/O APIC pin of ISA interrupt 0, as the MADT's override says.
pub(crate) const TIMER_PIN: u8 = 2;

/// The interrupt controllers and the lines that run to them.
pub(crate) struct Wiring {
    pub(crate) pic: PicPair,
    pub(crate) ioapic: IoApic,
    intr: bool,
    /// Ticks that merged with others, and are still to come.
    pub(crate) lost_ticks: u64,
}

/// Most ticks that are kept: what a guest does not take for that long it does not count.
pub(crate) const MOST_LOST_TICKS: u64 = 1000;

state::state!(Wiring { pic, ioapic, intr, lost_ticks });

impl Wiring {
    pub(crate) fn new() -> Self {
        Self {
            pic: PicPair::new(1 << pm::SCI_IRQ),
            ioapic: IoApic::new(layout::IO_APIC),
            intr: false,
            lost_ticks: 0,
        }
    }

    /// As after power-on, but for what the processors were told last.
    pub(crate) fn reset(&mut self) {
        *self = Self { intr: self.intr, ..Self::new() };
    }

    pub(crate) fn set_irq(&mut self, irq: u8, asserted: bool) {
        self.pic.set_line(irq, asserted);
        self.ioapic.set_pin(if irq == pit::IRQ { TIMER_PIN } else { irq }, asserted);
    }

    /// The timer's output rose `edges` times.
    pub(crate) fn tick(&mut self, edges: u64) {
        let lost = match (self.ioapic.edge_vector(TIMER_PIN), self.pic.timer()) {
            // Whether the last one merges as well the local APIC will say.
            (Some(_), _) => Some(edges - 1),
            // Who uses the I/O APIC may leave the pair open and ask it nothing.
            (None, Some((waits, _))) => Some(edges - u64::from(!waits)),
            (None, None) => None,
        };
        self.lost_ticks = lost.map_or(0, |lost| (self.lost_ticks + lost).min(MOST_LOST_TICKS));
        self.pulse_timer();
    }

    /// The output may have fallen again since; the edge counts.
    fn pulse_timer(&mut self) {
        self.set_irq(pit::IRQ, false);
        self.set_irq(pit::IRQ, true);
    }

    /// A processor took an interrupt of the timer: the next one that was lost can follow.
    pub(crate) fn tick_accepted(&mut self) {
        if self.lost_ticks != 0 {
            self.lost_ticks -= 1;
            self.pulse_timer();
        }
    }

    pub(crate) fn acknowledge(&mut self) -> u8 {
        let vector = self.pic.acknowledge();
        let by_pic = self.ioapic.edge_vector(TIMER_PIN).is_none();
        if by_pic && self.pic.timer().is_some_and(|(_, timer)| timer == vector) {
            self.tick_accepted();
        }
        // INT falls during the acknowledge cycle: a further request is a new edge for the I/O APIC.
        self.ioapic.set_pin(0, false);
        vector
    }

    /// Carries what changed to the processors.
    pub(crate) fn settle(&mut self, sink: &dyn InterruptSink) {
        let intr = self.pic.interrupt();
        self.ioapic.set_pin(0, intr);
        if intr != self.intr {
            self.intr = intr;
            sink.set_intr(intr);
        }
        for message in self.ioapic.take_messages() {
            let arrived = sink.message(message);
            if !arrived && self.ioapic.edge_vector(TIMER_PIN) == Some(message.vector) {
                self.lost_ticks = (self.lost_ticks + 1).min(MOST_LOST_TICKS);
            }
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt messages between APICs: what is sent, and to whom.

use x86::apic::{DeliveryMode, Icr, Shorthand};

/// Who is meant by an interrupt message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The sender.
    SelfOnly,
    /// Everyone.
    All,
    /// Everyone but the sender.
    AllButSelf,
    /// The VP with this APIC id.
    Physical(u32),
    /// VPs whose logical id matches, in the form of the sender: 8 bits from an xAPIC or a device, 32 bits from an x2APIC.
    Logical {
        /// The message destination address.
        address: u32,
        /// It has the x2APIC form.
        extended: bool,
    },
}

/// An interrupt message that an APIC, I/O APIC or device sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptMessage {
    /// Who is meant.
    pub destination: Destination,
    /// What kind of interrupt.
    pub delivery_mode: DeliveryMode,
    /// Vector, or page of a start-up IPI.
    pub vector: u8,
    /// Level triggered: its EOI is to be told to the I/O APICs.
    pub level_triggered: bool,
}

impl InterruptMessage {
    /// A message in the form that I/O APICs and message-signalled interrupts use: an 8-bit destination of which 0xFF is everyone.
    #[must_use]
    pub fn from_device(
        delivery_mode: DeliveryMode,
        vector: u8,
        destination: u8,
        logical: bool,
        level_triggered: bool,
    ) -> Self {
        let destination = match (logical, destination) {
            (true, address) => Destination::Logical { address: address.into(), extended: false },
            (false, 0xFF) => Destination::All,
            (false, id) => Destination::Physical(id.into()),
        };
        Self { destination, delivery_mode, vector, level_triggered }
    }

    /// What a write of ICR sends. INIT level de-assert sends nothing (SDM 3A 10.6.1).
    pub(super) fn from_icr(icr: Icr, x2apic: bool) -> Option<Self> {
        let delivery_mode = icr.delivery_mode();
        if delivery_mode == DeliveryMode::Init && icr.level_triggered() && !icr.assert() {
            return None;
        }
        let address = if x2apic { icr.destination() } else { icr.destination() >> 24 };
        let everyone = if x2apic { u32::MAX } else { 0xFF };
        let destination = match icr.shorthand() {
            Shorthand::SelfOnly => Destination::SelfOnly,
            Shorthand::All => Destination::All,
            Shorthand::AllButSelf => Destination::AllButSelf,
            Shorthand::None if icr.logical() => Destination::Logical { address, extended: x2apic },
            Shorthand::None if address == everyone => Destination::All,
            Shorthand::None => Destination::Physical(address),
        };
        // IPIs are edge triggered whatever the bit says, except INIT de-assert, which is gone by now.
        Some(Self { destination, delivery_mode, vector: icr.vector(), level_triggered: false })
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seam between the machine's interrupt controllers and the processors' local APICs.
//!
//! What leaves the machine are messages of the I/O APIC and the level of the 8259 pair's INTR output. What comes back
//! are three calls on [`crate::Pc`]: the acknowledge cycle of a processor that accepts an ExtINT, the EOI of a
//! level-triggered vector, and that a processor has accepted a vector.

use x86::apic::DeliveryMode;

/// One interrupt message on its way to the local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptMessage {
    /// Destination field, 8 bits wide.
    pub destination: u8,
    /// The destination is a set or cluster to be compared with logical ids; otherwise it is an APIC id, 0xFF all of
    /// them.
    pub logical: bool,
    /// What to do. An I/O APIC sends neither start-up IPIs nor the reserved mode. The vector of an ExtINT comes by
    /// [`crate::Pc::acknowledge_interrupt`].
    pub delivery_mode: DeliveryMode,
    /// Vector; without meaning for SMI, NMI, INIT and ExtINT.
    pub vector: u8,
    /// The interrupt sets the vector's bit in the local APIC's TMR, and its EOI must reach
    /// [`crate::Pc::end_of_interrupt`].
    pub level_triggered: bool,
}

/// The local APICs, as the machine sees them.
///
/// Calls come from whichever thread made the machine change, *under the machine's lock*: an implementation may take a
/// processor's own lock and kick it, must not block, and must not call back into the machine. So the order of locks is
/// machine before processor; give up a processor's lock before calling the machine.
pub trait InterruptSink: Send + Sync {
    /// Delivers a message of the I/O APIC. False if it was lost on all local APICs that it reached, because each had one with the same vector pending.
    fn message(&self, message: InterruptMessage) -> bool;

    /// The INTR output of the 8259 pair changed to `asserted`. It is wired to LINT0 of every local APIC; a processor
    /// whose LINT0 is ExtINT and unmasked fetches the vector with [`crate::Pc::acknowledge_interrupt`].
    fn set_intr(&self, asserted: bool);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seam between the machine's interrupt controllers and the processors' local APICs.
//!
//! What leaves the machine are messages of the I/O APIC and the level of the 8259 pair's INTR output. What comes back
//! are two calls on [`crate::Pc`]: the acknowledge cycle of a processor that accepts an ExtINT, and the EOI of a
//! level-triggered vector.

/// How the destination field of a message is read (Intel SDM 3A 11.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationMode {
    /// An APIC id; 0xFF means all.
    Physical,
    /// A set or cluster, compared with each logical destination register.
    Logical,
}

/// What a message asks of the processor (82093AA 3.2.4, Intel SDM 3A 11.11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// Deliver the vector to every processor of the destination.
    Fixed,
    /// Deliver the vector to the processor of the destination with the lowest priority.
    LowestPriority,
    /// System management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// The vector comes from the 8259 pair, by [`crate::Pc::acknowledge_interrupt`].
    ExtInt,
}

/// Whether an interrupt ends by itself or by EOI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerMode {
    /// One message for each rising edge.
    Edge,
    /// One message, and another after each EOI for as long as the line is asserted.
    Level,
}

/// One interrupt message on its way to the local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptMessage {
    /// Destination field, 8 bits wide.
    pub destination: u8,
    /// How to read it.
    pub destination_mode: DestinationMode,
    /// What to do.
    pub delivery_mode: DeliveryMode,
    /// Vector; without meaning for SMI, NMI, INIT and ExtINT.
    pub vector: u8,
    /// Level-triggered messages set the vector's bit in the local APIC's TMR, and their EOI must reach
    /// [`crate::Pc::end_of_interrupt`].
    pub trigger_mode: TriggerMode,
}

/// The local APICs, as the machine sees them.
///
/// Calls come from whichever thread made the machine change, *under the machine's lock*: an implementation may take a
/// processor's own lock and kick it, must not block, and must not call back into the machine. So the order of locks is
/// machine before processor; give up a processor's lock before calling the machine.
pub trait InterruptSink: Send + Sync {
    /// Delivers a message of the I/O APIC.
    fn message(&self, message: InterruptMessage);

    /// The INTR output of the 8259 pair changed to `asserted`. It is wired to LINT0 of every local APIC; a processor
    /// whose LINT0 is ExtINT and unmasked fetches the vector with [`crate::Pc::acknowledge_interrupt`].
    fn set_intr(&self, asserted: bool);
}

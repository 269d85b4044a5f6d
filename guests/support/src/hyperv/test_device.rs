// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Hyper-V test device at port 0x3000, which makes ports and connections that a guest may use to reach itself. A machine
//! under test has it; a cloud's has not.

use crate::cpu;

const PORT: u16 = 0x3000;

/// What the device is told, in bits 23:16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Announces that a SINT is going to be set.
    CreateRoute = 1,
    /// Takes that back.
    DestroyRoute = 2,
    /// Raises a SINT's interrupt without a message.
    SetSint = 3,
    /// Makes a connection for messages.
    CreateMessageConnection = 4,
    /// Removes it.
    DestroyMessageConnection = 5,
    /// Makes a connection for events; the flag number is the connection.
    CreateEventConnection = 6,
    /// Removes it.
    DestroyEventConnection = 7,
}

/// Tells whether the device is there: an absent one reads as ones, this one as zero.
pub fn is_present() -> bool {
    cpu::in32(PORT) == 0
}

/// Gives the device a command.
pub fn command(command: Command, processor: u8, sint: u8, connection: u8) {
    let word =
        u32::from(sint) | u32::from(processor) << 8 | (command as u32) << 16 | u32::from(connection) << 24;
    cpu::out32(PORT, word);
}

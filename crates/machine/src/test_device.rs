// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Hyper-V test device, by which public guest tests connect messages and events to themselves.
//!
//! | Port | |
//! |---|---|
//! | 0x3000 | 32 bits, write: 7:0 SINT, 15:8 VP index, 23:16 command, 31:24 connection; reads as zero |
//!
//! Commands: 1 and 2 make and remove a SINT route, 3 raises a SINT, 4 and 5 make and remove a message connection, 6
//! and 7 an event connection. Source: the interface of QEMU's hyperv-testdev. What the commands do is the
//! hypervisor's business: it implements [`TestDeviceBackend`].

use std::sync::Arc;

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::Time;

/// Ports of the device.
pub const PORTS: std::ops::RangeInclusive<u16> = 0x3000..=0x3003;

/// A SINT of a virtual processor, not checked for being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SintOf {
    /// VP index.
    pub vp: u8,
    /// Synthetic interrupt source; only 0-15 exist.
    pub sint: u8,
}

/// What a guest asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestCommand {
    /// Remember that the guest will raise this SINT.
    CreateSintRoute(SintOf),
    /// Forget it.
    DestroySintRoute(SintOf),
    /// Raise the SINT's interrupt, without a message.
    SetSint(SintOf),
    /// What is posted to connection `id` goes to the SINT's message slot as it is.
    CreateMessageConnection {
        /// Connection id.
        id: u8,
        /// Where messages go.
        target: SintOf,
    },
    /// Remove the message connection.
    DestroyMessageConnection {
        /// Connection id.
        id: u8,
    },
    /// A signal to connection `id` sets flag `id` in the SINT's event page.
    CreateEventConnection {
        /// Connection id, and number of the flag.
        id: u8,
        /// Where events go.
        target: SintOf,
    },
    /// Remove the event connection.
    DestroyEventConnection {
        /// Connection id.
        id: u8,
    },
}

impl TestCommand {
    /// Reads the 32 bits of a write; `None` for commands that do not exist.
    pub fn parse(value: u32) -> Option<Self> {
        let [sint, vp, command, id] = value.to_le_bytes();
        let target = SintOf { vp, sint };
        Some(match command {
            1 => Self::CreateSintRoute(target),
            2 => Self::DestroySintRoute(target),
            3 => Self::SetSint(target),
            4 => Self::CreateMessageConnection { id, target },
            5 => Self::DestroyMessageConnection { id },
            6 => Self::CreateEventConnection { id, target },
            7 => Self::DestroyEventConnection { id },
            _ => return None,
        })
    }
}

/// Carries out the commands. Called under the machine's lock, like [`crate::interrupt::InterruptSink`]. A command
/// that names what is not there does nothing.
pub trait TestDeviceBackend: Send + Sync {
    /// Carries out `command`.
    fn command(&self, command: TestCommand);
}

/// The device.
pub struct TestDevice {
    backend: Arc<dyn TestDeviceBackend>,
}

impl TestDevice {
    /// A device whose commands `backend` carries out.
    pub fn new(backend: Arc<dyn TestDeviceBackend>) -> Self {
        Self { backend }
    }
}

impl PortDevice for TestDevice {
    fn read(&mut self, _now: Time, _port: u16, _size: AccessSize) -> u32 {
        0
    }

    fn write(&mut self, _now: Time, _port: u16, size: AccessSize, value: u32) -> Option<ExitRequest> {
        if size == AccessSize::Dword
            && let Some(command) = TestCommand::parse(value)
        {
            self.backend.command(command);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<TestCommand>>);

    impl TestDeviceBackend for Recorder {
        fn command(&self, command: TestCommand) {
            self.0.lock().unwrap().push(command);
        }
    }

    #[test]
    fn each_command_reaches_the_backend_with_its_fields() {
        let recorder = Arc::new(Recorder::default());
        let mut device = TestDevice::new(recorder.clone());
        for command in 0..=8u32 {
            device.write(Time::ZERO, 0x3000, AccessSize::Dword, 0x1000_0108 | command << 16);
        }
        let (id, target) = (0x10, SintOf { vp: 1, sint: 8 });
        assert_eq!(
            *recorder.0.lock().unwrap(),
            [
                TestCommand::CreateSintRoute(target),
                TestCommand::DestroySintRoute(target),
                TestCommand::SetSint(target),
                TestCommand::CreateMessageConnection { id, target },
                TestCommand::DestroyMessageConnection { id },
                TestCommand::CreateEventConnection { id, target },
                TestCommand::DestroyEventConnection { id },
            ]
        );
        assert_eq!(device.read(Time::ZERO, 0x3000, AccessSize::Dword), 0);
    }

    #[test]
    fn narrower_writes_are_no_commands() {
        let recorder = Arc::new(Recorder::default());
        let mut device = TestDevice::new(recorder.clone());
        device.write(Time::ZERO, 0x3002, AccessSize::Word, 0x0103);
        assert!(recorder.0.lock().unwrap().is_empty());
    }
}

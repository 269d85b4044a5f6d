// SPDX-License-Identifier: MIT OR Apache-2.0
#![forbid(unsafe_code)]
//! What a guest finds around its processors: memory layout, ACPI tables, serial port, clocks, interrupt controllers,
//! power control, debug exits, and the console at the other end of the serial port.
//!
//! Devices are state machines. They know no host clock, no thread and no processor: an access brings the
//! [`Time`](time::Time) at which it happens, interrupts leave as levels of lines, and what must happen later is a
//! deadline to be asked for. [`Pc`] wires them together behind one lock and is what a run loop drives:
//!
//! ```
//! use std::sync::Arc;
//! use machine::{Attention, ExitRequest, Pc, PcConfig};
//! use machine::bus::AccessSize;
//! use machine::interrupt::{InterruptMessage, InterruptSink};
//! use machine::layout::MemoryLayout;
//! use machine::time::Time;
//!
//! struct NoProcessors;
//! impl InterruptSink for NoProcessors {
//!     fn message(&self, _: InterruptMessage) -> bool { true }
//!     fn set_intr(&self, _: bool) {}
//! }
//! impl Attention for NoProcessors {
//!     fn deadline_moved(&self) {}
//!     fn exit_requested(&self) {}
//! }
//!
//! let around = Arc::new(NoProcessors);
//! let config = PcConfig::new(MemoryLayout::new(64 << 20)?, 1);
//! let pc = Pc::new(config, around.clone(), around)?;
//! pc.io_write(Time::ZERO, 0xF4, AccessSize::Dword, 3);
//! assert_eq!(pc.exit_request(), Some(ExitRequest::DebugExit(3)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The room stands above the hypervisor and may use it, but knows nothing of engines, loaders or the command line. Its
//! traits [`InterruptSink`](interrupt::InterruptSink), [`Attention`] and
//! [`TestDeviceBackend`](test_device::TestDeviceBackend) are all it asks of what it is plugged into.

pub mod acpi;
pub mod bus;
pub mod cmos;
pub mod console;
pub mod control;
pub mod debug_exit;
pub mod fw_cfg;
pub mod interrupt;
pub mod ioapic;
pub mod layout;
mod pc;
pub mod pic;
pub mod pit;
pub mod pm;
pub mod test_device;
pub mod time;
pub mod uart;
mod wiring;

pub use pc::{Attention, Pc, PcConfig, PcError, SerialInput, SerialOutput};

/// Why the guest wants the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitRequest {
    /// It switched the machine off: ACPI S5, or "Shutdown" at port 0x8900.
    PowerOff,
    /// It reset the machine: port 0xCF9 or 0x92.
    Reset,
    /// It wrote this code to the debug-exit port.
    DebugExit(u32),
}

/// Why the run ended, if it did, as state.
pub(crate) mod exit_request {
    use state::{Damaged, Reader, State, Writer};

    use crate::ExitRequest;

    pub(crate) fn save(request: &Option<ExitRequest>, writer: &mut Writer) {
        match *request {
            None => 0u8.save(writer),
            Some(ExitRequest::PowerOff) => 1u8.save(writer),
            Some(ExitRequest::Reset) => 2u8.save(writer),
            Some(ExitRequest::DebugExit(code)) => (3u8, code).save(writer),
        }
    }

    pub(crate) fn restore(request: &mut Option<ExitRequest>, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *request = match reader.value::<u8>()? {
            0 => None,
            1 => Some(ExitRequest::PowerOff),
            2 => Some(ExitRequest::Reset),
            3 => Some(ExitRequest::DebugExit(reader.value()?)),
            other => return Err(Damaged::Value { kind: "exit request", value: other.into() }),
        };
        Ok(())
    }
}

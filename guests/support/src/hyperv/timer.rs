// SPDX-License-Identifier: MIT OR Apache-2.0
//! The four synthetic timers of a virtual processor (TLFS 12.5).

use crate::trap::{self, Fault};
use tlfs::msr::{self, StimerConfig};

/// One of the timers, 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer(pub u8);

impl Timer {
    fn config(self) -> u32 {
        msr::STIMER0_CONFIG + 2 * u32::from(self.0)
    }

    fn count(self) -> u32 {
        msr::STIMER0_COUNT + 2 * u32::from(self.0)
    }

    /// Sets the configuration, enabled, and then the count: an absolute time, or a period; 100 ns.
    pub fn start(self, config: StimerConfig, count: u64) -> Result<(), Fault> {
        trap::wrmsr(self.config(), 0)?;
        trap::wrmsr(self.count(), count)?;
        trap::wrmsr(self.config(), config.with_enable(true).into_bits())
    }

    /// Stops the timer.
    pub fn stop(self) -> Result<(), Fault> {
        trap::wrmsr(self.config(), 0)
    }

    /// Reads the configuration.
    pub fn read(self) -> Result<StimerConfig, Fault> {
        trap::rdmsr(self.config()).map(StimerConfig::from_bits)
    }
}

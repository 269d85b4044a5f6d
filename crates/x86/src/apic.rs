// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC: base register, register offsets, interrupt command and local vector table (SDM 3A chapter 10).

use bitfield_struct::bitfield;

/// Where the xAPIC page is after reset.
pub const DEFAULT_BASE: u64 = 0xFEE0_0000;

/// IA32_APIC_BASE (SDM 3A 10.4.4, 10.12.1).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ApicBase {
    __: u8,
    /// BSP: this is the bootstrap processor.
    pub bootstrap: bool,
    __: bool,
    /// EXTD: x2APIC mode; only with `enable`.
    pub x2apic: bool,
    /// EN: global enable.
    pub enable: bool,
    /// Physical page number of the xAPIC registers.
    #[bits(52)]
    pub page_number: u64,
}

/// Offsets in the xAPIC page. The x2APIC MSR of a register is `0x800 + offset / 16`.
pub mod register {
    /// APIC id.
    pub const ID: u16 = 0x20;
    /// Version and number of LVT entries.
    pub const VERSION: u16 = 0x30;
    /// Task priority.
    pub const TPR: u16 = 0x80;
    /// Arbitration priority; not in x2APIC.
    pub const APR: u16 = 0x90;
    /// Processor priority.
    pub const PPR: u16 = 0xA0;
    /// End of interrupt.
    pub const EOI: u16 = 0xB0;
    /// Remote read; not in x2APIC.
    pub const RRD: u16 = 0xC0;
    /// Logical destination.
    pub const LDR: u16 = 0xD0;
    /// Destination format; not in x2APIC.
    pub const DFR: u16 = 0xE0;
    /// Spurious interrupt vector.
    pub const SVR: u16 = 0xF0;
    /// In service, eight registers.
    pub const ISR: u16 = 0x100;
    /// Trigger mode, eight registers.
    pub const TMR: u16 = 0x180;
    /// Interrupt request, eight registers.
    pub const IRR: u16 = 0x200;
    /// Error status.
    pub const ESR: u16 = 0x280;
    /// LVT: corrected machine check.
    pub const LVT_CMCI: u16 = 0x2F0;
    /// Interrupt command, low half; in x2APIC all 64 bits.
    pub const ICR: u16 = 0x300;
    /// Interrupt command, high half; not in x2APIC.
    pub const ICR_HIGH: u16 = 0x310;
    /// LVT: timer.
    pub const LVT_TIMER: u16 = 0x320;
    /// LVT: thermal sensor.
    pub const LVT_THERMAL: u16 = 0x330;
    /// LVT: performance counters.
    pub const LVT_PERFORMANCE: u16 = 0x340;
    /// LVT: LINT0.
    pub const LVT_LINT0: u16 = 0x350;
    /// LVT: LINT1.
    pub const LVT_LINT1: u16 = 0x360;
    /// LVT: errors.
    pub const LVT_ERROR: u16 = 0x370;
    /// Timer initial count.
    pub const TIMER_INITIAL_COUNT: u16 = 0x380;
    /// Timer current count.
    pub const TIMER_CURRENT_COUNT: u16 = 0x390;
    /// Timer divide configuration.
    pub const TIMER_DIVIDE: u16 = 0x3E0;
    /// Self IPI; x2APIC only.
    pub const SELF_IPI: u16 = 0x3F0;
}

/// The x2APIC MSR of the register at an xAPIC offset.
pub const fn x2apic_msr(offset: u16) -> u32 {
    crate::msr::IA32_X2APIC_FIRST + (offset as u32 >> 4)
}

/// Delivery modes of ICR and LVT (SDM 3A 10.5.1, 10.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DeliveryMode {
    /// The vector of the register.
    Fixed = 0,
    /// Lowest priority among the destinations. ICR only.
    LowestPriority = 1,
    /// SMI.
    Smi = 2,
    /// Reserved.
    Reserved = 3,
    /// NMI.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// Start-up IPI: the vector is the page number of the code. ICR only.
    StartUp = 6,
    /// The vector comes from the PIC. LVT only.
    ExtInt = 7,
}

impl DeliveryMode {
    /// The mode of three bits; higher ones are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            3 => Self::Reserved,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            _ => Self::ExtInt,
        }
    }

    /// The three bits.
    pub const fn into_bits(self) -> u8 {
        self as u8
    }
}

/// Destination shorthand of ICR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shorthand {
    /// The destination field counts.
    None = 0,
    /// This processor.
    SelfOnly = 1,
    /// All, this one too.
    All = 2,
    /// All but this one.
    AllButSelf = 3,
}

impl Shorthand {
    /// The shorthand of two bits; higher ones are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::None,
            1 => Self::SelfOnly,
            2 => Self::All,
            _ => Self::AllButSelf,
        }
    }

    /// The two bits.
    pub const fn into_bits(self) -> u8 {
        self as u8
    }
}

/// The interrupt command register (SDM 3A 10.6.1, 10.12.9).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Icr {
    /// Vector, or page number of a start-up IPI.
    pub vector: u8,
    /// Delivery mode.
    #[bits(3)]
    pub delivery_mode: DeliveryMode,
    /// Logical instead of physical destination.
    pub logical: bool,
    /// Delivery status, read only; not in x2APIC.
    pub send_pending: bool,
    __: bool,
    /// Level: assert; clear only in an INIT level de-assert.
    pub assert: bool,
    /// Level triggered instead of edge.
    pub level_triggered: bool,
    #[bits(2)]
    __: u8,
    /// Destination shorthand.
    #[bits(2)]
    pub shorthand: Shorthand,
    #[bits(12)]
    __: u16,
    /// Destination: all 32 bits in x2APIC, the top 8 in xAPIC.
    pub destination: u32,
}

/// Modes of the APIC timer (SDM 3A 10.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TimerMode {
    /// Counts down once.
    OneShot = 0,
    /// Counts down and starts again.
    Periodic = 1,
    /// Fires when the TSC reaches IA32_TSC_DEADLINE.
    TscDeadline = 2,
    /// Reserved.
    Reserved = 3,
}

impl TimerMode {
    /// The mode of two bits; higher ones are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }

    /// The two bits.
    pub const fn into_bits(self) -> u8 {
        self as u8
    }
}

/// An entry of the local vector table (SDM 3A 10.5.1). Each entry has only some of these fields.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Lvt {
    /// Vector.
    pub vector: u8,
    /// Delivery mode; not in timer and error entries.
    #[bits(3)]
    pub delivery_mode: DeliveryMode,
    __: bool,
    /// Delivery status, read only.
    pub send_pending: bool,
    /// Active low; LINT entries only.
    pub active_low: bool,
    /// Remote IRR, read only; LINT entries only.
    pub remote_irr: bool,
    /// Level triggered; LINT entries only.
    pub level_triggered: bool,
    /// Masked.
    pub masked: bool,
    /// Timer mode; timer entry only.
    #[bits(2)]
    pub timer_mode: TimerMode,
    #[bits(13)]
    __: u16,
}

impl Lvt {
    /// The value after reset: masked.
    pub const RESET: Self = Self::new().with_masked(true);
}

/// The spurious-interrupt vector register (SDM 3A 10.9).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SpuriousVector {
    /// Vector of spurious interrupts.
    #[bits(8, default = 0xFF)]
    pub vector: u8,
    /// The APIC is enabled by software.
    pub enable: bool,
    /// Focus processor checking is off; no meaning on current processors.
    pub focus_disable: bool,
    #[bits(2)]
    __: u8,
    /// EOI of a level interrupt is not broadcast to I/O APICs, where the version register offers it.
    pub suppress_eoi_broadcast: bool,
    #[bits(19)]
    __: u32,
}

/// The error status register (SDM 3A 10.5.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ErrorStatus {
    #[bits(4)]
    __: u8,
    /// A lowest-priority IPI was sent where there is none.
    pub redirectable_ipi: bool,
    /// A vector below 16 was sent.
    pub send_illegal_vector: bool,
    /// A vector below 16 was received.
    pub receive_illegal_vector: bool,
    /// A register that does not exist was touched.
    pub illegal_register: bool,
    #[bits(24)]
    __: u32,
}

/// Divisor of the timer's clock by the divide configuration register (bits 3, 1, 0): 1 to 128.
pub const fn timer_divisor(divide: u32) -> u32 {
    1 << (((divide & 3 | divide >> 1 & 4) + 1) & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers() {
        assert_eq!(x2apic_msr(register::ICR), 0x830);
        assert_eq!(x2apic_msr(register::SELF_IPI), 0x83F);
        let base =
            ApicBase::new().with_enable(true).with_bootstrap(true).with_page_number(DEFAULT_BASE >> 12);
        assert_eq!(base.into_bits(), 0xFEE0_0900);
        assert_eq!(SpuriousVector::new().with_enable(true).into_bits(), 0x1FF);
        assert_eq!(Lvt::RESET.into_bits(), 0x1_0000);
        assert_eq!(ErrorStatus::new().with_illegal_register(true).into_bits(), 0x80);
    }

    #[test]
    fn commands() {
        // What Linux sends to start a processor: INIT assert, INIT de-assert, start-up at page 0x9A.
        let init = Icr::from_bits(0x0000_C500);
        assert_eq!(
            (init.delivery_mode(), init.assert(), init.level_triggered()),
            (DeliveryMode::Init, true, true)
        );
        let startup = Icr::from_bits(0x0100_0000_0000_069A);
        assert_eq!(
            (startup.delivery_mode(), startup.vector(), startup.destination()),
            (DeliveryMode::StartUp, 0x9A, 1 << 24)
        );
        assert_eq!(Icr::from_bits(0xC_00FD).shorthand(), Shorthand::AllButSelf);
        assert_eq!(Lvt::from_bits(0x4_00EC).timer_mode(), TimerMode::TscDeadline);
        assert_eq!(Lvt::from_bits(0x700).delivery_mode(), DeliveryMode::ExtInt);
    }

    #[test]
    fn divisors() {
        let expected = [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)];
        for (divide, divisor) in expected {
            assert_eq!(timer_divisor(divide), divisor, "{divide:#x}");
        }
    }
}

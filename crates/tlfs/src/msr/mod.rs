// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic model-specific registers: their numbers (TLFS Appendix C) and what their 64 bits mean.

mod contents;

pub use contents::*;

use crate::privilege::Privilege::{self, *};
use Access::*;

/// Which instructions reach an MSR; the other one is a general protection fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// RDMSR only.
    ReadOnly,
    /// WRMSR only.
    WriteOnly,
    /// RDMSR and WRMSR.
    ReadWrite,
}

/// What is fixed about one MSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrInfo {
    /// The MSR's number, as in ECX.
    pub number: u32,
    /// Name of the constant in this module.
    pub constant: &'static str,
    /// Name in the specification.
    pub name: &'static str,
    /// Instructions that reach it.
    pub access: Access,
    /// Privilege without which every access faults. For numbers from [`NESTED_BASE`] up, the same privilege over the
    /// hypervisor below, as CPUID leaf 0x40000009 shows it.
    pub privilege: Option<Privilege>,
    /// Field of [`cpuid::Features`](crate::cpuid::Features) that must be set for the MSR to exist.
    pub feature: Option<&'static str>,
    /// What it is, in a sentence, with the section that says so.
    pub about: &'static str,
}

/// First number of the MSRs that reach the hypervisor below, in a nested root (TLFS 16.14).
pub const NESTED_BASE: u32 = 0x4000_1000;

macro_rules! msrs {
    ($( $(#[doc = $doc:literal])+ $NAME:ident = $number:literal, $access:expr, $privilege:expr, $feature:expr; )+) => {
        $( $(#[doc = $doc])+ pub const $NAME: u32 = $number; )+

        /// Every synthetic MSR, by number.
        pub const MSRS: &[MsrInfo] = &[$( MsrInfo {
            number: $number,
            constant: stringify!($NAME),
            name: concat!("HV_X64_MSR_", stringify!($NAME)),
            access: $access,
            privilege: $privilege,
            feature: $feature,
            about: concat!($($doc),+).trim_ascii(),
        }, )+];
    };
}

/// The facts about the MSR with this number, if the interface has one.
pub fn info(number: u32) -> Option<&'static MsrInfo> {
    MSRS.binary_search_by_key(&number, |msr| msr.number).ok().map(|index| &MSRS[index])
}

/// Number of the SINT MSR with this index.
///
/// # Panics
/// If `index` is 16 or more.
pub const fn sint(index: u8) -> u32 {
    assert!(index < 16, "a SynIC has 16 SINTs");
    SINT0 + index as u32
}

msrs! {
    /// Identity of the guest's system; non-zero unlocks the hypercall page (TLFS 2.6).
    GUEST_OS_ID = 0x4000_0000, ReadWrite, Some(AccessHypercallMsrs), None;
    /// Place and enable bit of the hypercall page (TLFS 3.13).
    HYPERCALL = 0x4000_0001, ReadWrite, Some(AccessHypercallMsrs), None;
    /// Index of the VP that reads it (TLFS 7.8.1).
    VP_INDEX = 0x4000_0002, ReadOnly, Some(AccessVpIndex), None;
    /// Writing bit 0 resets the partition (TLFS 2.4.5).
    RESET = 0x4000_0003, ReadWrite, Some(AccessResetReg), None;
    /// Time the VP has consumed, in 100 ns (TLFS 7.9.1).
    VP_RUNTIME = 0x4000_0010, ReadOnly, Some(AccessVpRunTimeReg), None;
    /// Reference time of the partition, in 100 ns (TLFS 12.4.1).
    TIME_REF_COUNT = 0x4000_0020, ReadOnly, Some(AccessPartitionReferenceCounter), None;
    /// Place and enable bit of the reference TSC page (TLFS 12.7.1).
    REFERENCE_TSC = 0x4000_0021, ReadWrite, Some(AccessPartitionReferenceTsc), None;
    /// Rate of the TSC, in Hz (TLFS 4.2.2).
    TSC_FREQUENCY = 0x4000_0022, ReadOnly, Some(AccessFrequencyRegs), Some("timer_frequencies");
    /// Base rate of the local APIC timer, in Hz (TLFS 4.2.2).
    APIC_FREQUENCY = 0x4000_0023, ReadOnly, Some(AccessFrequencyRegs), Some("timer_frequencies");
    /// Descriptor-table reads that are kept from user mode (TLFS 8.12).
    NPIEP_CONFIG = 0x4000_0040, ReadWrite, None, Some("npiep");
    /// Write: end of interrupt (TLFS 10.2.3.1).
    EOI = 0x4000_0070, WriteOnly, Some(AccessIntrCtrlRegs), None;
    /// Interrupt command, both halves at once (TLFS 10.2.3.2).
    ICR = 0x4000_0071, ReadWrite, Some(AccessIntrCtrlRegs), None;
    /// Task priority, 0 to 255 (TLFS 10.2.3.3).
    TPR = 0x4000_0072, ReadWrite, Some(AccessIntrCtrlRegs), None;
    /// Place and enable bit of the VP assist page (TLFS 7.8.7.1).
    VP_ASSIST_PAGE = 0x4000_0073, ReadWrite, Some(AccessIntrCtrlRegs), None;
    /// Master switch of the VP's SynIC (TLFS 11.8.1).
    SCONTROL = 0x4000_0080, ReadWrite, Some(AccessSynicRegs), None;
    /// Version of the SynIC (TLFS 11.8.2).
    SVERSION = 0x4000_0081, ReadOnly, Some(AccessSynicRegs), None;
    /// Place and enable bit of the event flags page (TLFS 11.8.3).
    SIEFP = 0x4000_0082, ReadWrite, Some(AccessSynicRegs), None;
    /// Place and enable bit of the message page (TLFS 11.8.4).
    SIMP = 0x4000_0083, ReadWrite, Some(AccessSynicRegs), None;
    /// Write: a message slot is free again (TLFS 11.8.6).
    EOM = 0x4000_0084, ReadWrite, Some(AccessSynicRegs), None;
    /// Place of the ring buffer page; the number is public, not in TLFS 6.0 (TLFS 15.11.1.1).
    SIRBP = 0x4000_0085, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 0 (TLFS 11.8.5).
    SINT0 = 0x4000_0090, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 1 (TLFS 11.8.5).
    SINT1 = 0x4000_0091, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 2 (TLFS 11.8.5).
    SINT2 = 0x4000_0092, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 3 (TLFS 11.8.5).
    SINT3 = 0x4000_0093, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 4 (TLFS 11.8.5).
    SINT4 = 0x4000_0094, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 5 (TLFS 11.8.5).
    SINT5 = 0x4000_0095, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 6 (TLFS 11.8.5).
    SINT6 = 0x4000_0096, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 7 (TLFS 11.8.5).
    SINT7 = 0x4000_0097, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 8 (TLFS 11.8.5).
    SINT8 = 0x4000_0098, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 9 (TLFS 11.8.5).
    SINT9 = 0x4000_0099, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 10 (TLFS 11.8.5).
    SINT10 = 0x4000_009A, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 11 (TLFS 11.8.5).
    SINT11 = 0x4000_009B, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 12 (TLFS 11.8.5).
    SINT12 = 0x4000_009C, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 13 (TLFS 11.8.5).
    SINT13 = 0x4000_009D, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 14 (TLFS 11.8.5).
    SINT14 = 0x4000_009E, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 15 (TLFS 11.8.5).
    SINT15 = 0x4000_009F, ReadWrite, Some(AccessSynicRegs), None;
    /// Configuration of synthetic timer 0 (TLFS 12.5.1).
    STIMER0_CONFIG = 0x4000_00B0, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Expiration time or period of synthetic timer 0, in 100 ns (TLFS 12.5.2).
    STIMER0_COUNT = 0x4000_00B1, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Configuration of synthetic timer 1 (TLFS 12.5.1).
    STIMER1_CONFIG = 0x4000_00B2, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Expiration time or period of synthetic timer 1, in 100 ns (TLFS 12.5.2).
    STIMER1_COUNT = 0x4000_00B3, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Configuration of synthetic timer 2 (TLFS 12.5.1).
    STIMER2_CONFIG = 0x4000_00B4, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Expiration time or period of synthetic timer 2, in 100 ns (TLFS 12.5.2).
    STIMER2_COUNT = 0x4000_00B5, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Configuration of synthetic timer 3 (TLFS 12.5.1).
    STIMER3_CONFIG = 0x4000_00B6, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Expiration time or period of synthetic timer 3, in 100 ns (TLFS 12.5.2).
    STIMER3_COUNT = 0x4000_00B7, ReadWrite, Some(AccessSyntheticTimerRegs), None;
    /// Place and enable bit of the partition's statistics page; the number is that of TLFS 2.0 (TLFS 15.11.2.1).
    STATS_PARTITION_RETAIL_PAGE = 0x4000_00E0, ReadWrite, Some(AccessStatsReg), None;
    /// Place and enable bit of the VP's statistics page; the number is that of TLFS 2.0 (TLFS 15.11.2.1).
    STATS_VP_RETAIL_PAGE = 0x4000_00E2, ReadWrite, Some(AccessStatsReg), None;
    /// Reading it sleeps until an interrupt arrives (TLFS 7.5).
    GUEST_IDLE = 0x4000_00F0, ReadOnly, Some(AccessGuestIdleReg), Some("virtual_guest_idle");
    /// Crash parameter 0 (TLFS 4.3.1).
    CRASH_P0 = 0x4000_0100, ReadWrite, None, Some("guest_crash_msrs");
    /// Crash parameter 1 (TLFS 4.3.1).
    CRASH_P1 = 0x4000_0101, ReadWrite, None, Some("guest_crash_msrs");
    /// Crash parameter 2 (TLFS 4.3.1).
    CRASH_P2 = 0x4000_0102, ReadWrite, None, Some("guest_crash_msrs");
    /// Crash parameter 3, by convention the GPA of a message (TLFS 4.3.1).
    CRASH_P3 = 0x4000_0103, ReadWrite, None, Some("guest_crash_msrs");
    /// Crash parameter 4, by convention the length of a message in bytes (TLFS 4.3.1).
    CRASH_P4 = 0x4000_0104, ReadWrite, None, Some("guest_crash_msrs");
    /// Crash report: actions offered when read, action taken when written (TLFS 4.3.2).
    CRASH_CTL = 0x4000_0105, ReadWrite, None, Some("guest_crash_msrs");
    /// Interrupt to raise after a migration (TLFS 16.6.1).
    REENLIGHTENMENT_CONTROL = 0x4000_0106, ReadWrite, Some(AccessReenlightenmentControls), None;
    /// Asks for TSC emulation after a migration (TLFS 16.6.2).
    TSC_EMULATION_CONTROL = 0x4000_0107, ReadWrite, Some(AccessReenlightenmentControls), None;
    /// Says whether the TSC is being emulated (TLFS 16.6.2).
    TSC_EMULATION_STATUS = 0x4000_0108, ReadWrite, Some(AccessReenlightenmentControls), None;
    /// Vector and enable bit of the time-unhalted timer (TLFS 12.6.1).
    STIME_UNHALTED_TIMER_CONFIG = 0x4000_0114, ReadWrite, Some(AccessSyntheticTimerRegs), Some("synthetic_time_unhalted_timer");
    /// Period of the time-unhalted timer, in 100 ns (TLFS 12.6.2).
    STIME_UNHALTED_TIMER_COUNT = 0x4000_0115, ReadWrite, Some(AccessSyntheticTimerRegs), Some("synthetic_time_unhalted_timer");
    /// Bit 0 makes CPUID report an invariant TSC. Later than TLFS 6.0.
    TSC_INVARIANT_CONTROL = 0x4000_0118, ReadWrite, Some(AccessTscInvariantControls), None;
    /// VP index at the hypervisor below (TLFS 16.14.1).
    NESTED_VP_INDEX = 0x4000_1002, ReadOnly, Some(AccessVpIndex), None;
    /// SCONTROL of the hypervisor below (TLFS 16.14.2).
    NESTED_SCONTROL = 0x4000_1080, ReadWrite, Some(AccessSynicRegs), None;
    /// SVERSION of the hypervisor below (TLFS 16.14.2).
    NESTED_SVERSION = 0x4000_1081, ReadOnly, Some(AccessSynicRegs), None;
    /// SIEFP of the hypervisor below (TLFS 16.14.2).
    NESTED_SIEFP = 0x4000_1082, ReadWrite, Some(AccessSynicRegs), None;
    /// SIMP of the hypervisor below (TLFS 16.14.2).
    NESTED_SIMP = 0x4000_1083, ReadWrite, Some(AccessSynicRegs), None;
    /// EOM of the hypervisor below (TLFS 16.14.2).
    NESTED_EOM = 0x4000_1084, WriteOnly, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 0 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT0 = 0x4000_1090, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 1 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT1 = 0x4000_1091, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 2 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT2 = 0x4000_1092, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 3 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT3 = 0x4000_1093, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 4 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT4 = 0x4000_1094, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 5 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT5 = 0x4000_1095, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 6 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT6 = 0x4000_1096, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 7 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT7 = 0x4000_1097, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 8 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT8 = 0x4000_1098, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 9 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT9 = 0x4000_1099, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 10 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT10 = 0x4000_109A, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 11 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT11 = 0x4000_109B, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 12 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT12 = 0x4000_109C, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 13 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT13 = 0x4000_109D, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 14 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT14 = 0x4000_109E, ReadWrite, Some(AccessSynicRegs), None;
    /// Synthetic interrupt source 15 of the hypervisor below (TLFS 16.14.2).
    NESTED_SINT15 = 0x4000_109F, ReadWrite, Some(AccessSynicRegs), None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ordered_and_names_existing_features() {
        assert!(MSRS.is_sorted_by_key(|msr| msr.number));
        for msr in MSRS {
            assert_eq!(info(msr.number), Some(msr));
            if let Some(feature) = msr.feature {
                let fields = crate::cpuid::Features::FIELDS;
                assert!(fields.iter().any(|field| field.name == feature), "{}: no {feature}", msr.name);
            }
        }
        assert_eq!(info(0x4000_0004), None);
        assert_eq!((sint(0), sint(15)), (SINT0, SINT15));
    }
}

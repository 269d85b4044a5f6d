// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 64 bits of the synthetic MSRs.

use crate::Field;
use crate::declare::bit_fields;

/// The fields of the MSR with this number; none for one that is a number as a whole, or has no number here.
/// GUEST_OS_ID has those of the open-source form.
pub const fn fields(number: u32) -> &'static [Field] {
    use super::*;
    let number = match number {
        NESTED_SCONTROL..=NESTED_SINT15 => number - NESTED_BASE + GUEST_OS_ID,
        number => number,
    };
    match number {
        GUEST_OS_ID => OpenSourceGuestOsId::FIELDS,
        HYPERCALL => Hypercall::FIELDS,
        RESET => Reset::FIELDS,
        NPIEP_CONFIG => NpiepConfig::FIELDS,
        EOI => Eoi::FIELDS,
        ICR => Icr::FIELDS,
        TPR => Tpr::FIELDS,
        SCONTROL => Scontrol::FIELDS,
        REFERENCE_TSC | VP_ASSIST_PAGE | SIMP | SIEFP => OverlayPage::FIELDS,
        SINT0..=SINT15 => Sint::FIELDS,
        STIMER0_CONFIG | STIMER1_CONFIG | STIMER2_CONFIG | STIMER3_CONFIG => StimerConfig::FIELDS,
        STIME_UNHALTED_TIMER_CONFIG => StimeUnhaltedTimerConfig::FIELDS,
        CRASH_CTL => CrashCtl::FIELDS,
        REENLIGHTENMENT_CONTROL => ReenlightenmentControl::FIELDS,
        TSC_EMULATION_CONTROL => TscEmulationControl::FIELDS,
        TSC_EMULATION_STATUS => TscEmulationStatus::FIELDS,
        TSC_INVARIANT_CONTROL => TscInvariantControl::FIELDS,
        _ => &[],
    }
}

bit_fields! {
    /// GUEST_OS_ID as a closed-source system writes it (TLFS 2.6.1).
    pub struct GuestOsId(u64);
    /// Build number.
    build: u16 = 16;
    /// Service version, for example a service pack number.
    service: u8 = 8;
    /// Minor version.
    minor: u8 = 8;
    /// Major version.
    major: u8 = 8;
    /// System within the vendor: 1 MS-DOS, 2 Windows 3, 3 Windows 9, 4 Windows NT, 5 Windows CE for Microsoft.
    os_id: u8 = 8;
    /// Vendor: 1 Microsoft, 2 HPE, 0x200 LANCOM.
    vendor_id: u16 = 15;
    /// True for the open-source form, [`OpenSourceGuestOsId`].
    os_type: bool = 1;
}

bit_fields! {
    /// GUEST_OS_ID as an open-source system writes it (TLFS 2.6.2).
    pub struct OpenSourceGuestOsId(u64);
    /// Build or distribution specific.
    build: u16 = 16;
    /// Version, for example of the kernel.
    version: u32 = 32;
    /// Identity within the system.
    os_id: u8 = 8;
    /// System: 1 Linux, 2 FreeBSD, 3 Xen, 4 Illumos.
    os_type: u8 = 7;
    /// True: this is the open-source form.
    open_source: bool = 1;
}

bit_fields! {
    /// HYPERCALL: where the hypercall page lies (TLFS 3.13).
    pub struct Hypercall(u64);
    /// The page overlays guest memory. Stays clear while GUEST_OS_ID is zero.
    enable: bool = 1;
    /// The MSR cannot be changed any more until the system is reset.
    locked: bool = 1;
    /// Preserved.
    reserved_p: u16 = 10;
    /// GPA of the page, divided by 4096.
    gpa_page_number: u64 = 52;
}

bit_fields! {
    /// The common form of MSRs that place an overlay page: REFERENCE_TSC (TLFS 12.7.1), VP_ASSIST_PAGE (7.8.7.1), SIMP
    /// (11.8.4), SIEFP (11.8.3) and their nested twins.
    pub struct OverlayPage(u64);
    /// The page overlays guest memory.
    enable: bool = 1;
    /// Preserved.
    reserved_p: u16 = 11;
    /// GPA of the page, divided by 4096.
    gpa_page_number: u64 = 52;
}

impl OverlayPage {
    /// GPA of the page in bytes; its low 12 bits are 0.
    pub const fn gpa(self) -> u64 {
        self.into_bits() & !0xFFF
    }
}

impl Hypercall {
    /// GPA of the page in bytes; its low 12 bits are 0.
    pub const fn gpa(self) -> u64 {
        self.into_bits() & !0xFFF
    }
}

bit_fields! {
    /// RESET (TLFS 2.4.5; the layout is that of TLFS 2.0).
    pub struct Reset(u64);
    /// Writing true resets the partition; always reads false.
    reset: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 63;
}

bit_fields! {
    /// NPIEP_CONFIG: instructions that fault outside ring 0 (TLFS 8.12).
    pub struct NpiepConfig(u64);
    /// SGDT faults.
    prevent_sgdt: bool = 1;
    /// SIDT faults.
    prevent_sidt: bool = 1;
    /// SLDT faults.
    prevent_sldt: bool = 1;
    /// STR faults.
    prevent_str: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 60;
}

bit_fields! {
    /// EOI (TLFS 10.2.3.1).
    pub struct Eoi(u64);
    /// Value for the local APIC's EOI register.
    eoi_value: u32 = 32;
    /// Must be zero.
    reserved_z: u32 = 32;
}

bit_fields! {
    /// ICR (TLFS 10.2.3.2).
    pub struct Icr(u64);
    /// Low half of the interrupt command register.
    icr_low: u32 = 32;
    /// High half of the interrupt command register.
    icr_high: u32 = 32;
}

bit_fields! {
    /// TPR (TLFS 10.2.3.3).
    pub struct Tpr(u64);
    /// Task priority; bits 7:4 are CR8.
    tpr: u8 = 8;
    /// Must be zero.
    reserved_z: u64 = 56;
}

bit_fields! {
    /// SCONTROL (TLFS 11.8.1).
    pub struct Scontrol(u64);
    /// Messages and event flags may be sent to this VP.
    enable: bool = 1;
    /// Preserved.
    reserved_p: u64 = 63;
}

/// Value that SVERSION reads, in bits 31:0 (TLFS 11.8.2).
pub const SVERSION_VALUE: u64 = 1;

bit_fields! {
    /// SINT0 to SINT15: a synthetic interrupt source (TLFS 11.8.5).
    pub struct Sint(u64);
    /// Interrupt vector. An unmasked source needs 16 or more; writing less faults.
    vector: u8 = 8;
    /// Preserved.
    reserved_p: u8 = 8;
    /// Messages arrive without an interrupt, and event flags are refused.
    masked: bool = 1;
    /// Delivering the interrupt ends it as well.
    auto_eoi: bool = 1;
    /// Counts as unmasked, without any interrupt.
    polling: bool = 1;
    /// Preserved.
    reserved_p2: u64 = 45;
}

impl Sint {
    /// Value after reset: masked, vector 0. Writing it back is legal.
    pub const RESET: Self = Self::from_bits(0x1_0000);
}

bit_fields! {
    /// STIMER0_CONFIG to STIMER3_CONFIG (TLFS 12.5.1).
    pub struct StimerConfig(u64);
    /// The timer runs.
    enable: bool = 1;
    /// The count is a period, not an absolute time.
    periodic: bool = 1;
    /// Late expirations are dropped, not made up for.
    lazy: bool = 1;
    /// Writing a non-zero count enables the timer.
    auto_enable: bool = 1;
    /// Vector asserted in direct mode, 16 to 255.
    apic_vector: u8 = 8;
    /// Expiration asserts `apic_vector` instead of sending a message.
    direct_mode: bool = 1;
    /// Must be zero.
    reserved_z: u8 = 3;
    /// SINT that gets the expiration message; 0 disables the timer, except in direct mode.
    sintx: u8 = 4;
    /// Must be zero.
    reserved_z2: u64 = 44;
}

bit_fields! {
    /// STIME_UNHALTED_TIMER_CONFIG in the layout of TLFS 6.0b (12.6.1).
    pub struct StimeUnhaltedTimerConfig(u64);
    /// 2 for an NMI, or 16 to 255.
    vector: u8 = 8;
    /// The timer runs.
    enabled: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 55;
}

bit_fields! {
    /// CRASH_CTL (TLFS 4.3.2): when read, what is offered; when written, what to do.
    pub struct CrashCtl(u64);
    __: u64 = 58;
    /// System that crashed before the operating system ran. Later than TLFS 6.0.
    pre_os_id: u8 = 3;
    /// No dump will be written. Later than TLFS 6.0.
    no_crash_dump: bool = 1;
    /// P3 and P4 hold the GPA and length of a message.
    crash_message: bool = 1;
    /// Report the crash parameters.
    crash_notify: bool = 1;
}

bit_fields! {
    /// REENLIGHTENMENT_CONTROL (TLFS 16.6.1).
    pub struct ReenlightenmentControl(u64);
    /// Vector of a fixed interrupt.
    vector: u8 = 8;
    /// Must be zero.
    reserved_z: u8 = 8;
    /// Raise the interrupt after each migration.
    enabled: bool = 1;
    /// Must be zero.
    reserved_z2: u16 = 15;
    /// Index of the VP that gets it.
    target_vp: u32 = 32;
}

bit_fields! {
    /// TSC_EMULATION_CONTROL (TLFS 16.6.2).
    pub struct TscEmulationControl(u64);
    /// Emulate the TSC after a migration.
    enabled: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 63;
}

bit_fields! {
    /// TSC_EMULATION_STATUS (TLFS 16.6.2).
    pub struct TscEmulationStatus(u64);
    /// The TSC is being emulated; writing false ends that.
    in_progress: bool = 1;
    /// Preserved.
    reserved_p: u64 = 63;
}

bit_fields! {
    /// TSC_INVARIANT_CONTROL, later than TLFS 6.0.
    pub struct TscInvariantControl(u64);
    /// CPUID reports an invariant TSC.
    enabled: bool = 1;
    /// Must be zero.
    reserved_z: u64 = 63;
}

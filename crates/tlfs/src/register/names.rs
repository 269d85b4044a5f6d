// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names of registers. Registers called "MSR" have the value of that synthetic MSR.

use crate::declare::open_enum;
use crate::msr::Access::{self, *};

/// What is fixed about one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterInfo {
    /// The register.
    pub register: RegisterName,
    /// Name in the specification.
    pub name: &'static str,
    /// Bits of its value, 64 or 128.
    pub width: u8,
    /// Whether it can be got and set.
    pub access: Access,
    /// A guest may set it on its own VPs (TLFS 7.10.1).
    pub guest_settable: bool,
    /// What it holds, in a sentence, with the section that says so.
    pub about: &'static str,
}

/// The facts about the register with this name, if the interface has one.
pub fn info(register: RegisterName) -> Option<&'static RegisterInfo> {
    REGISTERS.binary_search_by_key(&register, |info| info.register).ok().map(|index| &REGISTERS[index])
}

macro_rules! registers {
    ($(
        $(#[doc = $doc:literal])+
        $REGISTER:ident = $number:literal, $name:literal, $width:literal, $access:expr, $guest_settable:literal;
    )+) => {
        open_enum! {
            /// `HV_REGISTER_NAME` (TLFS 7.8.2, 15.13.4).
            pub struct RegisterName(u32);
            $( $(#[doc = $doc])+ $REGISTER = $number, $name; )+
        }

        /// Every register, by number.
        pub const REGISTERS: &[RegisterInfo] = &[$( RegisterInfo {
            register: RegisterName::$REGISTER,
            name: $name,
            width: $width,
            access: $access,
            guest_settable: $guest_settable,
            about: concat!($($doc),+).trim_ascii(),
        }, )+];
    };
}

registers! {
    /// Keeps the VP from running until cleared (TLFS 7.4).
    EXPLICIT_SUSPEND = 0x0000_0000, "HvRegisterExplicitSuspend", 64, ReadWrite, false;
    /// Keeps the VP from running while an intercept is handled (TLFS 6.1).
    INTERCEPT_SUSPEND = 0x0000_0001, "HvRegisterInterceptSuspend", 64, ReadWrite, false;
    /// CPUID leaf 0x40000002 (TLFS 7.8.2).
    HYPERVISOR_VERSION = 0x0000_0100, "HvRegisterHypervisorVersion", 128, ReadOnly, false;
    /// CPUID leaf 0x40000003 (TLFS 7.8.2).
    PRIVILEGES_AND_FEATURES_INFO = 0x0000_0200, "HvRegisterPrivilegesAndFeaturesInfo", 128, ReadOnly, false;
    /// CPUID leaf 0x40000004 (TLFS 7.8.2).
    FEATURES_INFO = 0x0000_0201, "HvRegisterFeaturesInfo", 128, ReadOnly, false;
    /// CPUID leaf 0x40000005 (TLFS 7.8.2).
    IMPLEMENTATION_LIMITS_INFO = 0x0000_0202, "HvRegisterImplementationLimitsInfo", 128, ReadOnly, false;
    /// CPUID leaf 0x40000006 (TLFS 7.8.2).
    HARDWARE_FEATURES_INFO = 0x0000_0203, "HvRegisterHardwareFeaturesInfo", 128, ReadOnly, false;
    /// MSR CRASH_P0 (TLFS 4.3).
    GUEST_CRASH_P0 = 0x0000_0210, "HvRegisterGuestCrashP0", 64, ReadWrite, false;
    /// MSR CRASH_P1 (TLFS 4.3).
    GUEST_CRASH_P1 = 0x0000_0211, "HvRegisterGuestCrashP1", 64, ReadWrite, false;
    /// MSR CRASH_P2 (TLFS 4.3).
    GUEST_CRASH_P2 = 0x0000_0212, "HvRegisterGuestCrashP2", 64, ReadWrite, false;
    /// MSR CRASH_P3 (TLFS 4.3).
    GUEST_CRASH_P3 = 0x0000_0213, "HvRegisterGuestCrashP3", 64, ReadWrite, false;
    /// MSR CRASH_P4 (TLFS 4.3).
    GUEST_CRASH_P4 = 0x0000_0214, "HvRegisterGuestCrashP4", 64, ReadWrite, false;
    /// MSR CRASH_CTL (TLFS 4.3.2).
    GUEST_CRASH_CTL = 0x0000_0215, "HvRegisterGuestCrashCtl", 64, ReadWrite, false;
    /// Configuration of power state C1 (TLFS 7.8.2).
    POWER_STATE_CONFIG_C1 = 0x0000_0220, "HvRegisterPowerStateConfigC1", 64, ReadWrite, false;
    /// Trigger of power state C1 (TLFS 7.8.2).
    POWER_STATE_TRIGGER_C1 = 0x0000_0221, "HvRegisterPowerStateTriggerC1", 64, ReadWrite, false;
    /// Configuration of power state C2 (TLFS 7.8.2).
    POWER_STATE_CONFIG_C2 = 0x0000_0222, "HvRegisterPowerStateConfigC2", 64, ReadWrite, false;
    /// Trigger of power state C2 (TLFS 7.8.2).
    POWER_STATE_TRIGGER_C2 = 0x0000_0223, "HvRegisterPowerStateTriggerC2", 64, ReadWrite, false;
    /// Configuration of power state C3 (TLFS 7.8.2).
    POWER_STATE_CONFIG_C3 = 0x0000_0224, "HvRegisterPowerStateConfigC3", 64, ReadWrite, false;
    /// Trigger of power state C3 (TLFS 7.8.2).
    POWER_STATE_TRIGGER_C3 = 0x0000_0225, "HvRegisterPowerStateTriggerC3", 64, ReadWrite, false;
    /// MSR TSC_FREQUENCY, in Hz (TLFS 7.8.2).
    PROCESSOR_CLOCK_FREQUENCY = 0x0000_0240, "HvRegisterProcessorClockFrequency", 64, ReadOnly, false;
    /// MSR APIC_FREQUENCY, in Hz (TLFS 7.8.2).
    INTERRUPT_CLOCK_FREQUENCY = 0x0000_0241, "HvRegisterInterruptClockFrequency", 64, ReadOnly, false;
    /// MSR GUEST_IDLE (TLFS 7.5).
    GUEST_IDLE = 0x0000_0250, "HvRegisterGuestIdle", 64, ReadOnly, false;
    /// Options of the debug device (TLFS 7.8.2).
    DEBUG_DEVICE_OPTIONS = 0x0000_0260, "HvRegisterDebugDeviceOptions", 64, ReadWrite, false;
    /// Interruption that the next instruction boundary delivers (TLFS 7.9.3).
    PENDING_INTERRUPTION = 0x0001_0002, "HvRegisterPendingInterruption", 64, ReadWrite, false;
    /// Interrupt shadow and NMI masking (TLFS 7.9.2).
    INTERRUPT_STATE = 0x0001_0003, "HvRegisterInterruptState", 64, ReadWrite, false;
    /// First half of the event that the next instruction boundary delivers (TLFS 7.8.2).
    PENDING_EVENT0 = 0x0001_0004, "HvRegisterPendingEvent0", 128, ReadWrite, true;
    /// Second half of the event that the next instruction boundary delivers (TLFS 7.8.2).
    PENDING_EVENT1 = 0x0001_0005, "HvRegisterPendingEvent1", 128, ReadWrite, false;
    /// RAX (TLFS 7.8.2).
    RAX = 0x0002_0000, "HvX64RegisterRax", 64, ReadWrite, false;
    /// RCX (TLFS 7.8.2).
    RCX = 0x0002_0001, "HvX64RegisterRcx", 64, ReadWrite, false;
    /// RDX (TLFS 7.8.2).
    RDX = 0x0002_0002, "HvX64RegisterRdx", 64, ReadWrite, false;
    /// RBX (TLFS 7.8.2).
    RBX = 0x0002_0003, "HvX64RegisterRbx", 64, ReadWrite, false;
    /// RSP (TLFS 7.8.2).
    RSP = 0x0002_0004, "HvX64RegisterRsp", 64, ReadWrite, true;
    /// RBP (TLFS 7.8.2).
    RBP = 0x0002_0005, "HvX64RegisterRbp", 64, ReadWrite, false;
    /// RSI (TLFS 7.8.2).
    RSI = 0x0002_0006, "HvX64RegisterRsi", 64, ReadWrite, false;
    /// RDI (TLFS 7.8.2).
    RDI = 0x0002_0007, "HvX64RegisterRdi", 64, ReadWrite, false;
    /// R8 (TLFS 7.8.2).
    R8 = 0x0002_0008, "HvX64RegisterR8", 64, ReadWrite, false;
    /// R9 (TLFS 7.8.2).
    R9 = 0x0002_0009, "HvX64RegisterR9", 64, ReadWrite, false;
    /// R10 (TLFS 7.8.2).
    R10 = 0x0002_000A, "HvX64RegisterR10", 64, ReadWrite, false;
    /// R11 (TLFS 7.8.2).
    R11 = 0x0002_000B, "HvX64RegisterR11", 64, ReadWrite, false;
    /// R12 (TLFS 7.8.2).
    R12 = 0x0002_000C, "HvX64RegisterR12", 64, ReadWrite, false;
    /// R13 (TLFS 7.8.2).
    R13 = 0x0002_000D, "HvX64RegisterR13", 64, ReadWrite, false;
    /// R14 (TLFS 7.8.2).
    R14 = 0x0002_000E, "HvX64RegisterR14", 64, ReadWrite, false;
    /// R15 (TLFS 7.8.2).
    R15 = 0x0002_000F, "HvX64RegisterR15", 64, ReadWrite, false;
    /// RIP (TLFS 7.8.2).
    RIP = 0x0002_0010, "HvX64RegisterRip", 64, ReadWrite, true;
    /// RFLAGS (TLFS 7.8.2).
    RFLAGS = 0x0002_0011, "HvX64RegisterRflags", 64, ReadWrite, true;
    /// XMM0 (TLFS 7.9.4).
    XMM0 = 0x0003_0000, "HvX64RegisterXmm0", 128, ReadWrite, false;
    /// XMM1 (TLFS 7.9.4).
    XMM1 = 0x0003_0001, "HvX64RegisterXmm1", 128, ReadWrite, false;
    /// XMM2 (TLFS 7.9.4).
    XMM2 = 0x0003_0002, "HvX64RegisterXmm2", 128, ReadWrite, false;
    /// XMM3 (TLFS 7.9.4).
    XMM3 = 0x0003_0003, "HvX64RegisterXmm3", 128, ReadWrite, false;
    /// XMM4 (TLFS 7.9.4).
    XMM4 = 0x0003_0004, "HvX64RegisterXmm4", 128, ReadWrite, false;
    /// XMM5 (TLFS 7.9.4).
    XMM5 = 0x0003_0005, "HvX64RegisterXmm5", 128, ReadWrite, false;
    /// XMM6 (TLFS 7.9.4).
    XMM6 = 0x0003_0006, "HvX64RegisterXmm6", 128, ReadWrite, false;
    /// XMM7 (TLFS 7.9.4).
    XMM7 = 0x0003_0007, "HvX64RegisterXmm7", 128, ReadWrite, false;
    /// XMM8 (TLFS 7.9.4).
    XMM8 = 0x0003_0008, "HvX64RegisterXmm8", 128, ReadWrite, false;
    /// XMM9 (TLFS 7.9.4).
    XMM9 = 0x0003_0009, "HvX64RegisterXmm9", 128, ReadWrite, false;
    /// XMM10 (TLFS 7.9.4).
    XMM10 = 0x0003_000A, "HvX64RegisterXmm10", 128, ReadWrite, false;
    /// XMM11 (TLFS 7.9.4).
    XMM11 = 0x0003_000B, "HvX64RegisterXmm11", 128, ReadWrite, false;
    /// XMM12 (TLFS 7.9.4).
    XMM12 = 0x0003_000C, "HvX64RegisterXmm12", 128, ReadWrite, false;
    /// XMM13 (TLFS 7.9.4).
    XMM13 = 0x0003_000D, "HvX64RegisterXmm13", 128, ReadWrite, false;
    /// XMM14 (TLFS 7.9.4).
    XMM14 = 0x0003_000E, "HvX64RegisterXmm14", 128, ReadWrite, false;
    /// XMM15 (TLFS 7.9.4).
    XMM15 = 0x0003_000F, "HvX64RegisterXmm15", 128, ReadWrite, false;
    /// x87 register 0, also MMX (TLFS 7.9.4).
    FP_MMX0 = 0x0003_0010, "HvX64RegisterFpMmx0", 128, ReadWrite, false;
    /// x87 register 1, also MMX (TLFS 7.9.4).
    FP_MMX1 = 0x0003_0011, "HvX64RegisterFpMmx1", 128, ReadWrite, false;
    /// x87 register 2, also MMX (TLFS 7.9.4).
    FP_MMX2 = 0x0003_0012, "HvX64RegisterFpMmx2", 128, ReadWrite, false;
    /// x87 register 3, also MMX (TLFS 7.9.4).
    FP_MMX3 = 0x0003_0013, "HvX64RegisterFpMmx3", 128, ReadWrite, false;
    /// x87 register 4, also MMX (TLFS 7.9.4).
    FP_MMX4 = 0x0003_0014, "HvX64RegisterFpMmx4", 128, ReadWrite, false;
    /// x87 register 5, also MMX (TLFS 7.9.4).
    FP_MMX5 = 0x0003_0015, "HvX64RegisterFpMmx5", 128, ReadWrite, false;
    /// x87 register 6, also MMX (TLFS 7.9.4).
    FP_MMX6 = 0x0003_0016, "HvX64RegisterFpMmx6", 128, ReadWrite, false;
    /// x87 register 7, also MMX (TLFS 7.9.4).
    FP_MMX7 = 0x0003_0017, "HvX64RegisterFpMmx7", 128, ReadWrite, false;
    /// x87 control and status (TLFS 7.9.4).
    FP_CONTROL_STATUS = 0x0003_0018, "HvX64RegisterFpControlStatus", 128, ReadWrite, false;
    /// SSE control and status (TLFS 7.9.4).
    XMM_CONTROL_STATUS = 0x0003_0019, "HvX64RegisterXmmControlStatus", 128, ReadWrite, false;
    /// CR0 (TLFS 7.8.2).
    CR0 = 0x0004_0000, "HvX64RegisterCr0", 64, ReadWrite, false;
    /// CR2 (TLFS 7.8.2).
    CR2 = 0x0004_0001, "HvX64RegisterCr2", 64, ReadWrite, false;
    /// CR3 (TLFS 7.8.2).
    CR3 = 0x0004_0002, "HvX64RegisterCr3", 64, ReadWrite, true;
    /// CR4 (TLFS 7.8.2).
    CR4 = 0x0004_0003, "HvX64RegisterCr4", 64, ReadWrite, false;
    /// CR8 (TLFS 7.8.2).
    CR8 = 0x0004_0004, "HvX64RegisterCr8", 64, ReadWrite, true;
    /// XCR0 (TLFS 7.8.2).
    XFEM = 0x0004_0005, "HvX64RegisterXfem", 64, ReadWrite, false;
    /// CR0 as seen between levels (TLFS 7.8.2).
    INTERMEDIATE_CR0 = 0x0004_1000, "HvX64RegisterIntermediateCr0", 64, ReadWrite, false;
    /// CR4 as seen between levels (TLFS 7.8.2).
    INTERMEDIATE_CR4 = 0x0004_1003, "HvX64RegisterIntermediateCr4", 64, ReadWrite, false;
    /// CR8 as seen between levels (TLFS 7.8.2).
    INTERMEDIATE_CR8 = 0x0004_1004, "HvX64RegisterIntermediateCr8", 64, ReadWrite, false;
    /// DR0 (TLFS 7.8.2).
    DR0 = 0x0005_0000, "HvX64RegisterDr0", 64, ReadWrite, false;
    /// DR1 (TLFS 7.8.2).
    DR1 = 0x0005_0001, "HvX64RegisterDr1", 64, ReadWrite, false;
    /// DR2 (TLFS 7.8.2).
    DR2 = 0x0005_0002, "HvX64RegisterDr2", 64, ReadWrite, false;
    /// DR3 (TLFS 7.8.2).
    DR3 = 0x0005_0003, "HvX64RegisterDr3", 64, ReadWrite, false;
    /// DR6 (TLFS 7.8.2).
    DR6 = 0x0005_0004, "HvX64RegisterDr6", 64, ReadWrite, false;
    /// DR7 (TLFS 7.8.2).
    DR7 = 0x0005_0005, "HvX64RegisterDr7", 64, ReadWrite, true;
    /// ES (TLFS 7.9.5).
    ES = 0x0006_0000, "HvX64RegisterEs", 128, ReadWrite, true;
    /// CS (TLFS 7.9.5).
    CS = 0x0006_0001, "HvX64RegisterCs", 128, ReadWrite, true;
    /// SS (TLFS 7.9.5).
    SS = 0x0006_0002, "HvX64RegisterSs", 128, ReadWrite, true;
    /// DS (TLFS 7.9.5).
    DS = 0x0006_0003, "HvX64RegisterDs", 128, ReadWrite, true;
    /// FS (TLFS 7.9.5).
    FS = 0x0006_0004, "HvX64RegisterFs", 128, ReadWrite, true;
    /// GS (TLFS 7.9.5).
    GS = 0x0006_0005, "HvX64RegisterGs", 128, ReadWrite, true;
    /// LDTR (TLFS 7.9.5).
    LDTR = 0x0006_0006, "HvX64RegisterLdtr", 128, ReadWrite, true;
    /// TR (TLFS 7.9.5).
    TR = 0x0006_0007, "HvX64RegisterTr", 128, ReadWrite, true;
    /// IDTR (TLFS 7.9.6).
    IDTR = 0x0007_0000, "HvX64RegisterIdtr", 128, ReadWrite, true;
    /// GDTR (TLFS 7.9.6).
    GDTR = 0x0007_0001, "HvX64RegisterGdtr", 128, ReadWrite, true;
    /// Time stamp counter (TLFS 7.8.2).
    TSC = 0x0008_0000, "HvX64RegisterTsc", 64, ReadWrite, false;
    /// EFER (TLFS 7.8.2).
    EFER = 0x0008_0001, "HvX64RegisterEfer", 64, ReadWrite, true;
    /// KERNEL_GS_BASE (TLFS 7.8.2).
    KERNEL_GS_BASE = 0x0008_0002, "HvX64RegisterKernelGsBase", 64, ReadWrite, true;
    /// APIC_BASE (TLFS 7.8.2).
    APIC_BASE = 0x0008_0003, "HvX64RegisterApicBase", 64, ReadWrite, true;
    /// PAT (TLFS 7.8.2).
    PAT = 0x0008_0004, "HvX64RegisterPat", 64, ReadWrite, false;
    /// SYSENTER_CS (TLFS 7.8.2).
    SYSENTER_CS = 0x0008_0005, "HvX64RegisterSysenterCs", 64, ReadWrite, true;
    /// SYSENTER_EIP (TLFS 7.8.2).
    SYSENTER_RIP = 0x0008_0006, "HvX64RegisterSysenterRip", 64, ReadWrite, false;
    /// SYSENTER_ESP (TLFS 7.8.2).
    SYSENTER_RSP = 0x0008_0007, "HvX64RegisterSysenterRsp", 64, ReadWrite, false;
    /// STAR (TLFS 7.8.2).
    STAR = 0x0008_0008, "HvX64RegisterStar", 64, ReadWrite, true;
    /// LSTAR (TLFS 7.8.2).
    LSTAR = 0x0008_0009, "HvX64RegisterLstar", 64, ReadWrite, true;
    /// CSTAR (TLFS 7.8.2).
    CSTAR = 0x0008_000A, "HvX64RegisterCstar", 64, ReadWrite, true;
    /// SFMASK (TLFS 7.8.2).
    SFMASK = 0x0008_000B, "HvX64RegisterSfmask", 64, ReadWrite, true;
    /// Initial APIC id (TLFS 7.8.2).
    INITIAL_APIC_ID = 0x0008_000C, "HvX64RegisterInitialApicId", 64, ReadOnly, false;
    /// MTRR capabilities (TLFS 7.8.2).
    MTRR_CAP = 0x0008_000D, "HvX64RegisterMtrrCap", 64, ReadWrite, false;
    /// Default memory type (TLFS 7.8.2).
    MTRR_DEF_TYPE = 0x0008_000E, "HvX64RegisterMtrrDefType", 64, ReadWrite, false;
    /// MTRR base 0 (TLFS 7.8.2).
    MTRR_PHYS_BASE0 = 0x0008_0010, "HvX64RegisterMtrrPhysBase0", 64, ReadWrite, false;
    /// MTRR base 1 (TLFS 7.8.2).
    MTRR_PHYS_BASE1 = 0x0008_0011, "HvX64RegisterMtrrPhysBase1", 64, ReadWrite, false;
    /// MTRR base 2 (TLFS 7.8.2).
    MTRR_PHYS_BASE2 = 0x0008_0012, "HvX64RegisterMtrrPhysBase2", 64, ReadWrite, false;
    /// MTRR base 3 (TLFS 7.8.2).
    MTRR_PHYS_BASE3 = 0x0008_0013, "HvX64RegisterMtrrPhysBase3", 64, ReadWrite, false;
    /// MTRR base 4 (TLFS 7.8.2).
    MTRR_PHYS_BASE4 = 0x0008_0014, "HvX64RegisterMtrrPhysBase4", 64, ReadWrite, false;
    /// MTRR base 5 (TLFS 7.8.2).
    MTRR_PHYS_BASE5 = 0x0008_0015, "HvX64RegisterMtrrPhysBase5", 64, ReadWrite, false;
    /// MTRR base 6 (TLFS 7.8.2).
    MTRR_PHYS_BASE6 = 0x0008_0016, "HvX64RegisterMtrrPhysBase6", 64, ReadWrite, false;
    /// MTRR base 7 (TLFS 7.8.2).
    MTRR_PHYS_BASE7 = 0x0008_0017, "HvX64RegisterMtrrPhysBase7", 64, ReadWrite, false;
    /// MTRR base 8 (TLFS 7.8.2).
    MTRR_PHYS_BASE8 = 0x0008_0018, "HvX64RegisterMtrrPhysBase8", 64, ReadWrite, false;
    /// MTRR base 9 (TLFS 7.8.2).
    MTRR_PHYS_BASE9 = 0x0008_0019, "HvX64RegisterMtrrPhysBase9", 64, ReadWrite, false;
    /// MTRR base 10 (TLFS 7.8.2).
    MTRR_PHYS_BASE_A = 0x0008_001A, "HvX64RegisterMtrrPhysBaseA", 64, ReadWrite, false;
    /// MTRR base 11 (TLFS 7.8.2).
    MTRR_PHYS_BASE_B = 0x0008_001B, "HvX64RegisterMtrrPhysBaseB", 64, ReadWrite, false;
    /// MTRR base 12 (TLFS 7.8.2).
    MTRR_PHYS_BASE_C = 0x0008_001C, "HvX64RegisterMtrrPhysBaseC", 64, ReadWrite, false;
    /// MTRR base 13 (TLFS 7.8.2).
    MTRR_PHYS_BASE_D = 0x0008_001D, "HvX64RegisterMtrrPhysBaseD", 64, ReadWrite, false;
    /// MTRR base 14 (TLFS 7.8.2).
    MTRR_PHYS_BASE_E = 0x0008_001E, "HvX64RegisterMtrrPhysBaseE", 64, ReadWrite, false;
    /// MTRR base 15 (TLFS 7.8.2).
    MTRR_PHYS_BASE_F = 0x0008_001F, "HvX64RegisterMtrrPhysBaseF", 64, ReadWrite, false;
    /// MTRR mask 0 (TLFS 7.8.2).
    MTRR_PHYS_MASK0 = 0x0008_0040, "HvX64RegisterMtrrPhysMask0", 64, ReadWrite, false;
    /// MTRR mask 1 (TLFS 7.8.2).
    MTRR_PHYS_MASK1 = 0x0008_0041, "HvX64RegisterMtrrPhysMask1", 64, ReadWrite, false;
    /// MTRR mask 2 (TLFS 7.8.2).
    MTRR_PHYS_MASK2 = 0x0008_0042, "HvX64RegisterMtrrPhysMask2", 64, ReadWrite, false;
    /// MTRR mask 3 (TLFS 7.8.2).
    MTRR_PHYS_MASK3 = 0x0008_0043, "HvX64RegisterMtrrPhysMask3", 64, ReadWrite, false;
    /// MTRR mask 4 (TLFS 7.8.2).
    MTRR_PHYS_MASK4 = 0x0008_0044, "HvX64RegisterMtrrPhysMask4", 64, ReadWrite, false;
    /// MTRR mask 5 (TLFS 7.8.2).
    MTRR_PHYS_MASK5 = 0x0008_0045, "HvX64RegisterMtrrPhysMask5", 64, ReadWrite, false;
    /// MTRR mask 6 (TLFS 7.8.2).
    MTRR_PHYS_MASK6 = 0x0008_0046, "HvX64RegisterMtrrPhysMask6", 64, ReadWrite, false;
    /// MTRR mask 7 (TLFS 7.8.2).
    MTRR_PHYS_MASK7 = 0x0008_0047, "HvX64RegisterMtrrPhysMask7", 64, ReadWrite, false;
    /// MTRR mask 8 (TLFS 7.8.2).
    MTRR_PHYS_MASK8 = 0x0008_0048, "HvX64RegisterMtrrPhysMask8", 64, ReadWrite, false;
    /// MTRR mask 9 (TLFS 7.8.2).
    MTRR_PHYS_MASK9 = 0x0008_0049, "HvX64RegisterMtrrPhysMask9", 64, ReadWrite, false;
    /// MTRR mask 10 (TLFS 7.8.2).
    MTRR_PHYS_MASK_A = 0x0008_004A, "HvX64RegisterMtrrPhysMaskA", 64, ReadWrite, false;
    /// MTRR mask 11 (TLFS 7.8.2).
    MTRR_PHYS_MASK_B = 0x0008_004B, "HvX64RegisterMtrrPhysMaskB", 64, ReadWrite, false;
    /// MTRR mask 12 (TLFS 7.8.2).
    MTRR_PHYS_MASK_C = 0x0008_004C, "HvX64RegisterMtrrPhysMaskC", 64, ReadWrite, false;
    /// MTRR mask 13 (TLFS 7.8.2).
    MTRR_PHYS_MASK_D = 0x0008_004D, "HvX64RegisterMtrrPhysMaskD", 64, ReadWrite, false;
    /// MTRR mask 14 (TLFS 7.8.2).
    MTRR_PHYS_MASK_E = 0x0008_004E, "HvX64RegisterMtrrPhysMaskE", 64, ReadWrite, false;
    /// MTRR mask 15 (TLFS 7.8.2).
    MTRR_PHYS_MASK_F = 0x0008_004F, "HvX64RegisterMtrrPhysMaskF", 64, ReadWrite, false;
    /// MTRR for 64 KiB ranges from 0x00000 (TLFS 7.8.2).
    MTRR_FIX64K00000 = 0x0008_0070, "HvX64RegisterMtrrFix64k00000", 64, ReadWrite, false;
    /// MTRR for 16 KiB ranges from 0x80000 (TLFS 7.8.2).
    MTRR_FIX16K80000 = 0x0008_0071, "HvX64RegisterMtrrFix16k80000", 64, ReadWrite, false;
    /// MTRR for 16 KiB ranges from 0xA0000 (TLFS 7.8.2).
    MTRR_FIX16K_A0000 = 0x0008_0072, "HvX64RegisterMtrrFix16kA0000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xC0000 (TLFS 7.8.2).
    MTRR_FIX4K_C0000 = 0x0008_0073, "HvX64RegisterMtrrFix4kC0000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xC8000 (TLFS 7.8.2).
    MTRR_FIX4K_C8000 = 0x0008_0074, "HvX64RegisterMtrrFix4kC8000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xD0000 (TLFS 7.8.2).
    MTRR_FIX4K_D0000 = 0x0008_0075, "HvX64RegisterMtrrFix4kD0000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xD8000 (TLFS 7.8.2).
    MTRR_FIX4K_D8000 = 0x0008_0076, "HvX64RegisterMtrrFix4kD8000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xE0000 (TLFS 7.8.2).
    MTRR_FIX4K_E0000 = 0x0008_0077, "HvX64RegisterMtrrFix4kE0000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xE8000 (TLFS 7.8.2).
    MTRR_FIX4K_E8000 = 0x0008_0078, "HvX64RegisterMtrrFix4kE8000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xF0000 (TLFS 7.8.2).
    MTRR_FIX4K_F0000 = 0x0008_0079, "HvX64RegisterMtrrFix4kF0000", 64, ReadWrite, false;
    /// MTRR for 4 KiB ranges from 0xF8000 (TLFS 7.8.2).
    MTRR_FIX4K_F8000 = 0x0008_007A, "HvX64RegisterMtrrFix4kF8000", 64, ReadWrite, false;
    /// BNDCFGS (TLFS 7.8.2).
    BNDCFGS = 0x0008_007C, "HvX64RegisterBndcfgs", 64, ReadWrite, false;
    /// DEBUGCTL (TLFS 7.8.2).
    DEBUG_CTL = 0x0008_007D, "HvX64RegisterDebugCtl", 64, ReadWrite, false;
    /// Word 0 of the SGX launch key hash (TLFS 7.8.2).
    SGX_LAUNCH_CONTROL0 = 0x0008_0080, "HvX64RegisterSgxLaunchControl0", 64, ReadWrite, false;
    /// Word 1 of the SGX launch key hash (TLFS 7.8.2).
    SGX_LAUNCH_CONTROL1 = 0x0008_0081, "HvX64RegisterSgxLaunchControl1", 64, ReadWrite, false;
    /// Word 2 of the SGX launch key hash (TLFS 7.8.2).
    SGX_LAUNCH_CONTROL2 = 0x0008_0082, "HvX64RegisterSgxLaunchControl2", 64, ReadWrite, false;
    /// Word 3 of the SGX launch key hash (TLFS 7.8.2).
    SGX_LAUNCH_CONTROL3 = 0x0008_0083, "HvX64RegisterSgxLaunchControl3", 64, ReadWrite, false;
    /// MISC_ENABLE (TLFS 7.8.2).
    MSR_IA32_MISC_ENABLE = 0x0008_00A0, "HvX64RegisterMsrIa32MiscEnable", 64, ReadWrite, false;
    /// FEATURE_CONTROL (TLFS 7.8.2).
    IA32_FEATURE_CONTROL = 0x0008_00A1, "HvX64RegisterIa32FeatureControl", 64, ReadWrite, false;
    /// PERF_GLOBAL_CTRL (TLFS 7.8.2).
    PERF_GLOBAL_CTRL = 0x0008_1000, "HvX64RegisterPerfGlobalCtrl", 64, ReadWrite, false;
    /// PERF_GLOBAL_STATUS (TLFS 7.8.2).
    PERF_GLOBAL_STATUS = 0x0008_1001, "HvX64RegisterPerfGlobalStatus", 64, ReadWrite, false;
    /// PERF_GLOBAL_INUSE (TLFS 7.8.2).
    PERF_GLOBAL_IN_USE = 0x0008_1002, "HvX64RegisterPerfGlobalInUse", 64, ReadWrite, false;
    /// FIXED_CTR_CTRL (TLFS 7.8.2).
    FIXED_CTR_CTRL = 0x0008_1003, "HvX64RegisterFixedCtrCtrl", 64, ReadWrite, false;
    /// DS_AREA (TLFS 7.8.2).
    DS_AREA = 0x0008_1004, "HvX64RegisterDsArea", 64, ReadWrite, false;
    /// PEBS_ENABLE (TLFS 7.8.2).
    PEBS_ENABLE = 0x0008_1005, "HvX64RegisterPebsEnable", 64, ReadWrite, false;
    /// PEBS_LD_LAT (TLFS 7.8.2).
    PEBS_LD_LAT = 0x0008_1006, "HvX64RegisterPebsLdLat", 64, ReadWrite, false;
    /// PEBS_FRONTEND (TLFS 7.8.2).
    PEBS_FRONTEND = 0x0008_1007, "HvX64RegisterPebsFrontend", 64, ReadWrite, false;
    /// First event select; the others follow (TLFS 7.8.2).
    PERF_EVT_SEL0 = 0x0008_1100, "HvX64RegisterPerfEvtSel0", 64, ReadWrite, false;
    /// First performance counter; the others follow (TLFS 7.8.2).
    PMC0 = 0x0008_1200, "HvX64RegisterPmc0", 64, ReadWrite, false;
    /// First fixed counter; the others follow (TLFS 7.8.2).
    FIXED_CTR0 = 0x0008_1300, "HvX64RegisterFixedCtr0", 64, ReadWrite, false;
    /// Top of the last branch stack (TLFS 7.8.2).
    LBR_TOS = 0x0008_2000, "HvX64RegisterLbrTos", 64, ReadWrite, false;
    /// Last branch selection (TLFS 7.8.2).
    LBR_SELECT = 0x0008_2001, "HvX64RegisterLbrSelect", 64, ReadWrite, false;
    /// Last exception, from (TLFS 7.8.2).
    LER_FROM_LIP = 0x0008_2002, "HvX64RegisterLerFromLip", 64, ReadWrite, false;
    /// Last exception, to (TLFS 7.8.2).
    LER_TO_LIP = 0x0008_2003, "HvX64RegisterLerToLip", 64, ReadWrite, false;
    /// First last-branch source; the others follow (TLFS 7.8.2).
    LBR_FROM0 = 0x0008_2100, "HvX64RegisterLbrFrom0", 64, ReadWrite, false;
    /// First last-branch target; the others follow (TLFS 7.8.2).
    LBR_TO0 = 0x0008_2200, "HvX64RegisterLbrTo0", 64, ReadWrite, false;
    /// First last-branch information; the others follow. The number is as printed (TLFS 7.8.2).
    LBR_INFO0 = 0x0008_3300, "HvX64RegisterLbrInfo0", 64, ReadWrite, false;
    /// MSR VP_RUNTIME, in 100 ns (TLFS 7.8.2).
    VP_RUNTIME = 0x0009_0000, "HvX64RegisterVpRuntime", 64, ReadOnly, false;
    /// MSR HYPERCALL (TLFS 7.8.2).
    HYPERCALL = 0x0009_0001, "HvX64RegisterHypercall", 64, ReadWrite, false;
    /// MSR GUEST_OS_ID (TLFS 7.8.2).
    GUEST_OS_ID = 0x0009_0002, "HvRegisterGuestOsId", 64, ReadWrite, false;
    /// MSR VP_INDEX (TLFS 7.8.2).
    VP_INDEX = 0x0009_0003, "HvRegisterVpIndex", 64, ReadOnly, false;
    /// MSR TIME_REF_COUNT, in 100 ns (TLFS 7.8.2).
    TIME_REF_COUNT = 0x0009_0004, "HvRegisterTimeRefCount", 64, ReadOnly, false;
    /// Version of the processor management interface (TLFS 7.8.2).
    CPU_MANAGEMENT_VERSION = 0x0009_0007, "HvRegisterCpuManagementVersion", 64, ReadOnly, false;
    /// MSR EOI (TLFS 7.8.2).
    EOI = 0x0009_0010, "HvX64RegisterEoi", 64, WriteOnly, false;
    /// MSR ICR (TLFS 7.8.2).
    ICR = 0x0009_0011, "HvX64RegisterIcr", 64, ReadWrite, false;
    /// MSR TPR (TLFS 7.8.2).
    TPR = 0x0009_0012, "HvX64RegisterTpr", 64, ReadWrite, false;
    /// MSR VP_ASSIST_PAGE (TLFS 7.8.2).
    VP_ASSIST_PAGE = 0x0009_0013, "HvRegisterVpAssistPage", 64, ReadWrite, true;
    /// MSR REFERENCE_TSC (TLFS 7.8.2).
    REFERENCE_TSC = 0x0009_0017, "HvRegisterReferenceTsc", 64, ReadWrite, false;
    /// Statistics page of the partition (TLFS 7.8.2).
    STATS_PARTITION_RETAIL = 0x0009_0020, "HvRegisterStatsPartitionRetail", 64, ReadWrite, false;
    /// Internal statistics page of the partition (TLFS 7.8.2).
    STATS_PARTITION_INTERNAL = 0x0009_0021, "HvRegisterStatsPartitionInternal", 64, ReadWrite, false;
    /// Statistics page of the VP (TLFS 7.8.2).
    STATS_VP_RETAIL = 0x0009_0022, "HvRegisterStatsVpRetail", 64, ReadWrite, false;
    /// Internal statistics page of the VP (TLFS 7.8.2).
    STATS_VP_INTERNAL = 0x0009_0023, "HvRegisterStatsVpInternal", 64, ReadWrite, false;
    /// Period of the emulated timer that is assisted (TLFS 7.8.2).
    EMULATED_TIMER_PERIOD = 0x0009_0030, "HvX64RegisterEmulatedTimerPeriod", 64, ReadWrite, false;
    /// Control of the emulated timer that is assisted (TLFS 7.8.2).
    EMULATED_TIMER_CONTROL = 0x0009_0031, "HvX64RegisterEmulatedTimerControl", 64, ReadWrite, false;
    /// Port of the PM timer that is assisted (TLFS 7.8.2).
    PM_TIMER_ASSIST = 0x0009_0032, "HvX64RegisterPmTimerAssist", 64, ReadWrite, false;
    /// MSR SINT0 (TLFS 11.8).
    SINT0 = 0x000A_0000, "HvRegisterSint0", 64, ReadWrite, false;
    /// MSR SINT1 (TLFS 11.8).
    SINT1 = 0x000A_0001, "HvRegisterSint1", 64, ReadWrite, false;
    /// MSR SINT2 (TLFS 11.8).
    SINT2 = 0x000A_0002, "HvRegisterSint2", 64, ReadWrite, false;
    /// MSR SINT3 (TLFS 11.8).
    SINT3 = 0x000A_0003, "HvRegisterSint3", 64, ReadWrite, false;
    /// MSR SINT4 (TLFS 11.8).
    SINT4 = 0x000A_0004, "HvRegisterSint4", 64, ReadWrite, false;
    /// MSR SINT5 (TLFS 11.8).
    SINT5 = 0x000A_0005, "HvRegisterSint5", 64, ReadWrite, false;
    /// MSR SINT6 (TLFS 11.8).
    SINT6 = 0x000A_0006, "HvRegisterSint6", 64, ReadWrite, false;
    /// MSR SINT7 (TLFS 11.8).
    SINT7 = 0x000A_0007, "HvRegisterSint7", 64, ReadWrite, false;
    /// MSR SINT8 (TLFS 11.8).
    SINT8 = 0x000A_0008, "HvRegisterSint8", 64, ReadWrite, false;
    /// MSR SINT9 (TLFS 11.8).
    SINT9 = 0x000A_0009, "HvRegisterSint9", 64, ReadWrite, false;
    /// MSR SINT10 (TLFS 11.8).
    SINT10 = 0x000A_000A, "HvRegisterSint10", 64, ReadWrite, false;
    /// MSR SINT11 (TLFS 11.8).
    SINT11 = 0x000A_000B, "HvRegisterSint11", 64, ReadWrite, false;
    /// MSR SINT12 (TLFS 11.8).
    SINT12 = 0x000A_000C, "HvRegisterSint12", 64, ReadWrite, false;
    /// MSR SINT13 (TLFS 11.8).
    SINT13 = 0x000A_000D, "HvRegisterSint13", 64, ReadWrite, false;
    /// MSR SINT14 (TLFS 11.8).
    SINT14 = 0x000A_000E, "HvRegisterSint14", 64, ReadWrite, false;
    /// MSR SINT15 (TLFS 11.8).
    SINT15 = 0x000A_000F, "HvRegisterSint15", 64, ReadWrite, false;
    /// MSR SCONTROL (TLFS 11.8).
    SCONTROL = 0x000A_0010, "HvRegisterScontrol", 64, ReadWrite, false;
    /// MSR SVERSION (TLFS 11.8).
    SVERSION = 0x000A_0011, "HvRegisterSversion", 64, ReadOnly, false;
    /// MSR SIEFP (TLFS 11.8).
    SIFP = 0x000A_0012, "HvRegisterSifp", 64, ReadWrite, false;
    /// MSR SIMP (TLFS 11.8).
    SIPP = 0x000A_0013, "HvRegisterSipp", 64, ReadWrite, false;
    /// MSR EOM (TLFS 11.8).
    EOM = 0x000A_0014, "HvRegisterEom", 64, WriteOnly, false;
    /// MSR SIRBP (TLFS 11.8).
    SIRBP = 0x000A_0015, "HvRegisterSirbp", 64, ReadWrite, false;
    /// MSR STIMER0_CONFIG (TLFS 12.5).
    STIMER0_CONFIG = 0x000B_0000, "HvRegisterStimer0Config", 64, ReadWrite, false;
    /// MSR STIMER0_COUNT (TLFS 12.5).
    STIMER0_COUNT = 0x000B_0001, "HvRegisterStimer0Count", 64, ReadWrite, false;
    /// MSR STIMER1_CONFIG (TLFS 12.5).
    STIMER1_CONFIG = 0x000B_0002, "HvRegisterStimer1Config", 64, ReadWrite, false;
    /// MSR STIMER1_COUNT (TLFS 12.5).
    STIMER1_COUNT = 0x000B_0003, "HvRegisterStimer1Count", 64, ReadWrite, false;
    /// MSR STIMER2_CONFIG (TLFS 12.5).
    STIMER2_CONFIG = 0x000B_0004, "HvRegisterStimer2Config", 64, ReadWrite, false;
    /// MSR STIMER2_COUNT (TLFS 12.5).
    STIMER2_COUNT = 0x000B_0005, "HvRegisterStimer2Count", 64, ReadWrite, false;
    /// MSR STIMER3_CONFIG (TLFS 12.5).
    STIMER3_CONFIG = 0x000B_0006, "HvRegisterStimer3Config", 64, ReadWrite, false;
    /// MSR STIMER3_COUNT (TLFS 12.5).
    STIMER3_COUNT = 0x000B_0007, "HvRegisterStimer3Count", 64, ReadWrite, false;
    /// MSR STIME_UNHALTED_TIMER_CONFIG (TLFS 12.5).
    STIME_UNHALTED_TIMER_CONFIG = 0x000B_0100, "HvRegisterStimeUnhaltedTimerConfig", 64, ReadWrite, false;
    /// MSR STIME_UNHALTED_TIMER_COUNT (TLFS 12.5).
    STIME_UNHALTED_TIMER_COUNT = 0x000B_0101, "HvRegisterStimeUnhaltedTimerCount", 64, ReadWrite, false;
    /// Low half of YMM0 (TLFS 7.8.2).
    YMM0_LOW = 0x000C_0000, "HvX64RegisterYmm0Low", 128, ReadWrite, false;
    /// Low half of YMM1 (TLFS 7.8.2).
    YMM1_LOW = 0x000C_0001, "HvX64RegisterYmm1Low", 128, ReadWrite, false;
    /// Low half of YMM2 (TLFS 7.8.2).
    YMM2_LOW = 0x000C_0002, "HvX64RegisterYmm2Low", 128, ReadWrite, false;
    /// Low half of YMM3 (TLFS 7.8.2).
    YMM3_LOW = 0x000C_0003, "HvX64RegisterYmm3Low", 128, ReadWrite, false;
    /// Low half of YMM4 (TLFS 7.8.2).
    YMM4_LOW = 0x000C_0004, "HvX64RegisterYmm4Low", 128, ReadWrite, false;
    /// Low half of YMM5 (TLFS 7.8.2).
    YMM5_LOW = 0x000C_0005, "HvX64RegisterYmm5Low", 128, ReadWrite, false;
    /// Low half of YMM6 (TLFS 7.8.2).
    YMM6_LOW = 0x000C_0006, "HvX64RegisterYmm6Low", 128, ReadWrite, false;
    /// Low half of YMM7 (TLFS 7.8.2).
    YMM7_LOW = 0x000C_0007, "HvX64RegisterYmm7Low", 128, ReadWrite, false;
    /// Low half of YMM8 (TLFS 7.8.2).
    YMM8_LOW = 0x000C_0008, "HvX64RegisterYmm8Low", 128, ReadWrite, false;
    /// Low half of YMM9 (TLFS 7.8.2).
    YMM9_LOW = 0x000C_0009, "HvX64RegisterYmm9Low", 128, ReadWrite, false;
    /// Low half of YMM10 (TLFS 7.8.2).
    YMM10_LOW = 0x000C_000A, "HvX64RegisterYmm10Low", 128, ReadWrite, false;
    /// Low half of YMM11 (TLFS 7.8.2).
    YMM11_LOW = 0x000C_000B, "HvX64RegisterYmm11Low", 128, ReadWrite, false;
    /// Low half of YMM12 (TLFS 7.8.2).
    YMM12_LOW = 0x000C_000C, "HvX64RegisterYmm12Low", 128, ReadWrite, false;
    /// Low half of YMM13 (TLFS 7.8.2).
    YMM13_LOW = 0x000C_000D, "HvX64RegisterYmm13Low", 128, ReadWrite, false;
    /// Low half of YMM14 (TLFS 7.8.2).
    YMM14_LOW = 0x000C_000E, "HvX64RegisterYmm14Low", 128, ReadWrite, false;
    /// Low half of YMM15 (TLFS 7.8.2).
    YMM15_LOW = 0x000C_000F, "HvX64RegisterYmm15Low", 128, ReadWrite, false;
    /// High half of YMM0 (TLFS 7.8.2).
    YMM0_HIGH = 0x000C_0010, "HvX64RegisterYmm0High", 128, ReadWrite, false;
    /// High half of YMM1 (TLFS 7.8.2).
    YMM1_HIGH = 0x000C_0011, "HvX64RegisterYmm1High", 128, ReadWrite, false;
    /// High half of YMM2 (TLFS 7.8.2).
    YMM2_HIGH = 0x000C_0012, "HvX64RegisterYmm2High", 128, ReadWrite, false;
    /// High half of YMM3 (TLFS 7.8.2).
    YMM3_HIGH = 0x000C_0013, "HvX64RegisterYmm3High", 128, ReadWrite, false;
    /// High half of YMM4 (TLFS 7.8.2).
    YMM4_HIGH = 0x000C_0014, "HvX64RegisterYmm4High", 128, ReadWrite, false;
    /// High half of YMM5 (TLFS 7.8.2).
    YMM5_HIGH = 0x000C_0015, "HvX64RegisterYmm5High", 128, ReadWrite, false;
    /// High half of YMM6 (TLFS 7.8.2).
    YMM6_HIGH = 0x000C_0016, "HvX64RegisterYmm6High", 128, ReadWrite, false;
    /// High half of YMM7 (TLFS 7.8.2).
    YMM7_HIGH = 0x000C_0017, "HvX64RegisterYmm7High", 128, ReadWrite, false;
    /// High half of YMM8 (TLFS 7.8.2).
    YMM8_HIGH = 0x000C_0018, "HvX64RegisterYmm8High", 128, ReadWrite, false;
    /// High half of YMM9 (TLFS 7.8.2).
    YMM9_HIGH = 0x000C_0019, "HvX64RegisterYmm9High", 128, ReadWrite, false;
    /// High half of YMM10 (TLFS 7.8.2).
    YMM10_HIGH = 0x000C_001A, "HvX64RegisterYmm10High", 128, ReadWrite, false;
    /// High half of YMM11 (TLFS 7.8.2).
    YMM11_HIGH = 0x000C_001B, "HvX64RegisterYmm11High", 128, ReadWrite, false;
    /// High half of YMM12 (TLFS 7.8.2).
    YMM12_HIGH = 0x000C_001C, "HvX64RegisterYmm12High", 128, ReadWrite, false;
    /// High half of YMM13 (TLFS 7.8.2).
    YMM13_HIGH = 0x000C_001D, "HvX64RegisterYmm13High", 128, ReadWrite, false;
    /// High half of YMM14 (TLFS 7.8.2).
    YMM14_HIGH = 0x000C_001E, "HvX64RegisterYmm14High", 128, ReadWrite, false;
    /// High half of YMM15 (TLFS 7.8.2).
    YMM15_HIGH = 0x000C_001F, "HvX64RegisterYmm15High", 128, ReadWrite, false;
    /// Where VTL call and return lie in the hypercall page (TLFS 15.8).
    VSM_CODE_PAGE_OFFSETS = 0x000D_0002, "HvRegisterVsmCodePageOffsets", 64, ReadOnly, true;
    /// VTL state of the VP (TLFS 15.3.3.2).
    VSM_VP_STATUS = 0x000D_0003, "HvRegisterVsmVpStatus", 64, ReadOnly, false;
    /// VTL state of the partition (TLFS 15.3.3.1).
    VSM_PARTITION_STATUS = 0x000D_0004, "HvRegisterVsmPartitionStatus", 64, ReadOnly, false;
    /// Virtual interrupt notification assist (TLFS 15.12.4).
    VSM_VINA = 0x000D_0005, "HvRegisterVsmVina", 64, ReadWrite, true;
    /// What virtual secure mode can do (TLFS 15.3.2).
    VSM_CAPABILITIES = 0x000D_0006, "HvRegisterVsmCapabilities", 64, ReadOnly, false;
    /// Configuration of a VTL, partition wide (TLFS 15.5.1).
    VSM_PARTITION_CONFIG = 0x000D_0007, "HvRegisterVsmPartitionConfig", 64, ReadWrite, true;
    /// Configuration of VTL 0 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL0 = 0x000D_0010, "HvRegisterVsmVpSecureConfigVtl0", 64, ReadWrite, true;
    /// Configuration of VTL 1 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL1 = 0x000D_0011, "HvRegisterVsmVpSecureConfigVtl1", 64, ReadWrite, false;
    /// Configuration of VTL 2 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL2 = 0x000D_0012, "HvRegisterVsmVpSecureConfigVtl2", 64, ReadWrite, false;
    /// Configuration of VTL 3 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL3 = 0x000D_0013, "HvRegisterVsmVpSecureConfigVtl3", 64, ReadWrite, false;
    /// Configuration of VTL 4 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL4 = 0x000D_0014, "HvRegisterVsmVpSecureConfigVtl4", 64, ReadWrite, false;
    /// Configuration of VTL 5 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL5 = 0x000D_0015, "HvRegisterVsmVpSecureConfigVtl5", 64, ReadWrite, false;
    /// Configuration of VTL 6 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL6 = 0x000D_0016, "HvRegisterVsmVpSecureConfigVtl6", 64, ReadWrite, false;
    /// Configuration of VTL 7 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL7 = 0x000D_0017, "HvRegisterVsmVpSecureConfigVtl7", 64, ReadWrite, false;
    /// Configuration of VTL 8 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL8 = 0x000D_0018, "HvRegisterVsmVpSecureConfigVtl8", 64, ReadWrite, false;
    /// Configuration of VTL 9 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL9 = 0x000D_0019, "HvRegisterVsmVpSecureConfigVtl9", 64, ReadWrite, false;
    /// Configuration of VTL 10 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL10 = 0x000D_001A, "HvRegisterVsmVpSecureConfigVtl10", 64, ReadWrite, false;
    /// Configuration of VTL 11 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL11 = 0x000D_001B, "HvRegisterVsmVpSecureConfigVtl11", 64, ReadWrite, false;
    /// Configuration of VTL 12 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL12 = 0x000D_001C, "HvRegisterVsmVpSecureConfigVtl12", 64, ReadWrite, false;
    /// Configuration of VTL 13 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL13 = 0x000D_001D, "HvRegisterVsmVpSecureConfigVtl13", 64, ReadWrite, false;
    /// Configuration of VTL 14 on the VP, for the level above (TLFS 15.5.2).
    VSM_VP_SECURE_CONFIG_VTL14 = 0x000D_001E, "HvRegisterVsmVpSecureConfigVtl14", 64, ReadWrite, false;
    /// Waits until TLB locks hold (TLFS 7.8.2).
    VSM_VP_WAIT_FOR_TLB_LOCK = 0x000D_0020, "HvRegisterVsmVpWaitForTlbLock", 64, ReadWrite, false;
    /// Register accesses that a higher VTL intercepts (TLFS 15.13.4).
    CR_INTERCEPT_CONTROL = 0x000E_0000, "HvX64RegisterCrInterceptControl", 64, ReadWrite, true;
    /// Bits of CR0 whose change is intercepted (TLFS 15.13.4).
    CR_INTERCEPT_CR0_MASK = 0x000E_0001, "HvX64RegisterCrInterceptCr0Mask", 64, ReadWrite, true;
    /// Bits of CR4 whose change is intercepted (TLFS 15.13.4).
    CR_INTERCEPT_CR4_MASK = 0x000E_0002, "HvX64RegisterCrInterceptCr4Mask", 64, ReadWrite, true;
    /// Bits of MISC_ENABLE whose change is intercepted (TLFS 15.13.4).
    CR_INTERCEPT_IA32_MISC_ENABLE_MASK = 0x000E_0003, "HvX64RegisterCrInterceptIa32MiscEnableMask", 64, ReadWrite, true;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers of the architectural model-specific registers (SDM 4 2.1; AMD: APM 2 appendix A).

/// Machine-check address of the P5.
pub const IA32_P5_MC_ADDR: u32 = 0x0;
/// Machine-check type of the P5.
pub const IA32_P5_MC_TYPE: u32 = 0x1;
/// Time-stamp counter.
pub const IA32_TIME_STAMP_COUNTER: u32 = 0x10;
/// Platform identifier.
pub const IA32_PLATFORM_ID: u32 = 0x17;
/// Base and mode of the local APIC, [`crate::apic::ApicBase`].
pub const IA32_APIC_BASE: u32 = 0x1B;
/// VMX and other features, lockable.
pub const IA32_FEATURE_CONTROL: u32 = 0x3A;
/// Offset of the time-stamp counter against the unadjusted one.
pub const IA32_TSC_ADJUST: u32 = 0x3B;
/// Speculation control: IBRS, STIBP, SSBD.
pub const IA32_SPEC_CTRL: u32 = 0x48;
/// Prediction commands: IBPB.
pub const IA32_PRED_CMD: u32 = 0x49;
/// Loads a microcode update.
pub const IA32_BIOS_UPDT_TRIG: u32 = 0x79;
/// Microcode revision in bits 63:32.
pub const IA32_BIOS_SIGN_ID: u32 = 0x8B;
/// First general performance counter.
pub const IA32_PMC0: u32 = 0xC1;
/// Counts at the maximum frequency.
pub const IA32_MPERF: u32 = 0xE7;
/// Counts at the actual frequency.
pub const IA32_APERF: u32 = 0xE8;
/// What MTRRs there are, [`crate::memory_type::MtrrCap`].
pub const IA32_MTRRCAP: u32 = 0xFE;
/// Which speculation flaws the processor does not have.
pub const IA32_ARCH_CAPABILITIES: u32 = 0x10A;
/// Flushes the L1 data cache.
pub const IA32_FLUSH_CMD: u32 = 0x10B;
/// CS of SYSENTER.
pub const IA32_SYSENTER_CS: u32 = 0x174;
/// RSP of SYSENTER.
pub const IA32_SYSENTER_ESP: u32 = 0x175;
/// RIP of SYSENTER.
pub const IA32_SYSENTER_EIP: u32 = 0x176;
/// Machine-check banks and features.
pub const IA32_MCG_CAP: u32 = 0x179;
/// Machine-check state.
pub const IA32_MCG_STATUS: u32 = 0x17A;
/// Machine-check enables.
pub const IA32_MCG_CTL: u32 = 0x17B;
/// First performance event selector.
pub const IA32_PERFEVTSEL0: u32 = 0x186;
/// Present performance state.
pub const IA32_PERF_STATUS: u32 = 0x198;
/// Wanted performance state.
pub const IA32_PERF_CTL: u32 = 0x199;
/// Duty cycle.
pub const IA32_CLOCK_MODULATION: u32 = 0x19A;
/// Thermal interrupt enables.
pub const IA32_THERM_INTERRUPT: u32 = 0x19B;
/// Thermal state.
pub const IA32_THERM_STATUS: u32 = 0x19C;
/// Miscellaneous enables.
pub const IA32_MISC_ENABLE: u32 = 0x1A0;
/// Performance or energy preference.
pub const IA32_ENERGY_PERF_BIAS: u32 = 0x1B0;
/// Branch trap, last-branch records.
pub const IA32_DEBUGCTL: u32 = 0x1D9;
/// First variable-range base; base and mask alternate.
pub const IA32_MTRR_PHYSBASE0: u32 = 0x200;
/// First variable-range mask.
pub const IA32_MTRR_PHYSMASK0: u32 = 0x201;
/// Fixed range, 8 × 64 KiB from 0.
pub const IA32_MTRR_FIX64K_00000: u32 = 0x250;
/// Fixed range, 8 × 16 KiB from 0x80000.
pub const IA32_MTRR_FIX16K_80000: u32 = 0x258;
/// Fixed range, 8 × 16 KiB from 0xA0000.
pub const IA32_MTRR_FIX16K_A0000: u32 = 0x259;
/// Fixed range, 8 × 4 KiB from 0xC0000; seven more follow.
pub const IA32_MTRR_FIX4K_C0000: u32 = 0x268;
/// Fixed range, 8 × 4 KiB from 0xF8000.
pub const IA32_MTRR_FIX4K_F8000: u32 = 0x26F;
/// Page attribute table, [`crate::memory_type::Pat`].
pub const IA32_PAT: u32 = 0x277;
/// Default memory type, [`crate::memory_type::MtrrDefType`].
pub const IA32_MTRR_DEF_TYPE: u32 = 0x2FF;
/// Performance monitoring capabilities.
pub const IA32_PERF_CAPABILITIES: u32 = 0x345;
/// Performance counter overflows.
pub const IA32_PERF_GLOBAL_STATUS: u32 = 0x38E;
/// Performance counter enables.
pub const IA32_PERF_GLOBAL_CTRL: u32 = 0x38F;
/// Clears performance counter overflows.
pub const IA32_PERF_GLOBAL_OVF_CTRL: u32 = 0x390;
/// First machine-check bank: control. The next bank's registers follow on its four.
pub const IA32_MC0_CTL: u32 = 0x400;
/// Its status.
pub const IA32_MC0_STATUS: u32 = 0x401;
/// Its address.
pub const IA32_MC0_ADDR: u32 = 0x402;
/// Its miscellaneous word.
pub const IA32_MC0_MISC: u32 = 0x403;
/// First of the VMX capability registers.
pub const IA32_VMX_BASIC: u32 = 0x480;
/// Last of the VMX capability registers.
pub const IA32_VMX_VMFUNC: u32 = 0x491;
/// Deadline of the local APIC's timer.
pub const IA32_TSC_DEADLINE: u32 = 0x6E0;
/// First x2APIC register: 0x800 + xAPIC offset / 16.
pub const IA32_X2APIC_FIRST: u32 = 0x800;
/// Last of the range kept for x2APIC registers.
pub const IA32_X2APIC_LAST: u32 = 0x8FF;
/// Supervisor state components of XSAVES.
pub const IA32_XSS: u32 = 0xDA0;
/// Extended features, [`crate::control::Efer`].
pub const IA32_EFER: u32 = 0xC000_0080;
/// Segments of SYSCALL and SYSRET.
pub const IA32_STAR: u32 = 0xC000_0081;
/// RIP of SYSCALL in 64-bit mode.
pub const IA32_LSTAR: u32 = 0xC000_0082;
/// RIP of SYSCALL in compatibility mode (AMD).
pub const IA32_CSTAR: u32 = 0xC000_0083;
/// RFLAGS bits that SYSCALL clears.
pub const IA32_FMASK: u32 = 0xC000_0084;
/// Base of FS.
pub const IA32_FS_BASE: u32 = 0xC000_0100;
/// Base of GS.
pub const IA32_GS_BASE: u32 = 0xC000_0101;
/// What SWAPGS exchanges GS's base with.
pub const IA32_KERNEL_GS_BASE: u32 = 0xC000_0102;
/// What RDTSCP and RDPID give beside the counter.
pub const IA32_TSC_AUX: u32 = 0xC000_0103;
/// System configuration (AMD).
pub const AMD_SYSCFG: u32 = 0xC001_0010;
/// Hardware configuration (AMD).
pub const AMD_HWCR: u32 = 0xC001_0015;
/// Microcode revision (AMD), the number of IA32_BIOS_SIGN_ID.
pub const AMD_PATCH_LEVEL: u32 = 0x8B;
/// Loads a microcode patch (AMD).
pub const AMD_PATCH_LOADER: u32 = 0xC001_0020;
/// SVM enables (AMD).
pub const AMD_VM_CR: u32 = 0xC001_0114;
/// Host save area of SVM (AMD).
pub const AMD_VM_HSAVE_PA: u32 = 0xC001_0117;
/// Decoder configuration; bit 1 makes LFENCE serialising (AMD).
pub const AMD_DE_CFG: u32 = 0xC001_1029;

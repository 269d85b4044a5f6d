// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUID leaves and feature bits (SDM 2A CPUID; APM 3 appendix E). Field names are the manuals' mnemonics.

use bitfield_struct::bitfield;

/// Numbers of leaves.
pub mod leaf {
    /// Highest basic leaf and the vendor's name.
    pub const MAX_BASIC: u32 = 0x0;
    /// Family, model, stepping and the first features.
    pub const FEATURES: u32 = 0x1;
    /// Caches and TLBs.
    pub const CACHES: u32 = 0x2;
    /// Caches, one a subleaf.
    pub const CACHE_PARAMETERS: u32 = 0x4;
    /// MONITOR and MWAIT.
    pub const MONITOR: u32 = 0x5;
    /// Thermal and power management.
    pub const POWER: u32 = 0x6;
    /// More features.
    pub const EXTENDED_FEATURES: u32 = 0x7;
    /// Performance monitoring.
    pub const PERFORMANCE: u32 = 0xA;
    /// Topology, one level a subleaf.
    pub const TOPOLOGY: u32 = 0xB;
    /// XSAVE areas: sizes in subleaf 0, features in 1, components from 2.
    pub const XSAVE: u32 = 0xD;
    /// Ratio of TSC and core crystal clock.
    pub const TSC_FREQUENCY: u32 = 0x15;
    /// Frequencies in MHz.
    pub const PROCESSOR_FREQUENCY: u32 = 0x16;
    /// Highest extended leaf.
    pub const MAX_EXTENDED: u32 = 0x8000_0000;
    /// Extended features.
    pub const EXTENDED_FEATURES_AMD: u32 = 0x8000_0001;
    /// Brand string, first 16 bytes.
    pub const BRAND_1: u32 = 0x8000_0002;
    /// Brand string, next 16 bytes.
    pub const BRAND_2: u32 = 0x8000_0003;
    /// Brand string, last 16 bytes.
    pub const BRAND_3: u32 = 0x8000_0004;
    /// Invariant TSC.
    pub const POWER_AMD: u32 = 0x8000_0007;
    /// Address widths.
    pub const ADDRESS_SIZES: u32 = 0x8000_0008;
}

/// Leaf 1 ECX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf1Ecx {
    /// SSE3.
    pub sse3: bool,
    /// Carry-less multiply.
    pub pclmulqdq: bool,
    /// 64-bit debug store.
    pub dtes64: bool,
    /// MONITOR and MWAIT.
    pub monitor: bool,
    /// CPL-qualified debug store.
    pub ds_cpl: bool,
    /// VMX.
    pub vmx: bool,
    /// SMX.
    pub smx: bool,
    /// Enhanced SpeedStep.
    pub eist: bool,
    /// Thermal monitor 2.
    pub tm2: bool,
    /// SSSE3.
    pub ssse3: bool,
    /// L1 context id.
    pub cnxt_id: bool,
    /// Silicon debug.
    pub sdbg: bool,
    /// FMA.
    pub fma: bool,
    /// CMPXCHG16B.
    pub cmpxchg16b: bool,
    /// xTPR update control.
    pub xtpr: bool,
    /// IA32_PERF_CAPABILITIES.
    pub pdcm: bool,
    __: bool,
    /// Process-context identifiers.
    pub pcid: bool,
    /// Direct cache access.
    pub dca: bool,
    /// SSE4.1.
    pub sse4_1: bool,
    /// SSE4.2.
    pub sse4_2: bool,
    /// x2APIC.
    pub x2apic: bool,
    /// MOVBE.
    pub movbe: bool,
    /// POPCNT.
    pub popcnt: bool,
    /// TSC deadline mode of the APIC timer.
    pub tsc_deadline: bool,
    /// AES.
    pub aesni: bool,
    /// XSAVE.
    pub xsave: bool,
    /// CR4.OSXSAVE as it is.
    pub osxsave: bool,
    /// AVX.
    pub avx: bool,
    /// Half-precision conversions.
    pub f16c: bool,
    /// RDRAND.
    pub rdrand: bool,
    /// A hypervisor is present.
    pub hypervisor: bool,
}

/// Leaf 1 EDX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf1Edx {
    /// x87.
    pub fpu: bool,
    /// Virtual-8086 enhancements.
    pub vme: bool,
    /// Debugging extensions.
    pub de: bool,
    /// 4 MiB pages.
    pub pse: bool,
    /// RDTSC.
    pub tsc: bool,
    /// RDMSR and WRMSR.
    pub msr: bool,
    /// PAE.
    pub pae: bool,
    /// Machine-check exception.
    pub mce: bool,
    /// CMPXCHG8B.
    pub cx8: bool,
    /// The local APIC is there and enabled.
    pub apic: bool,
    __: bool,
    /// SYSENTER and SYSEXIT.
    pub sep: bool,
    /// MTRRs.
    pub mtrr: bool,
    /// Global pages.
    pub pge: bool,
    /// Machine-check architecture.
    pub mca: bool,
    /// CMOV.
    pub cmov: bool,
    /// Page attribute table.
    pub pat: bool,
    /// PSE-36.
    pub pse36: bool,
    /// Processor serial number.
    pub psn: bool,
    /// CLFLUSH.
    pub clfsh: bool,
    __: bool,
    /// Debug store.
    pub ds: bool,
    /// Thermal and clock control.
    pub acpi: bool,
    /// MMX.
    pub mmx: bool,
    /// FXSAVE and FXRSTOR.
    pub fxsr: bool,
    /// SSE.
    pub sse: bool,
    /// SSE2.
    pub sse2: bool,
    /// Self snoop.
    pub ss: bool,
    /// The logical-processor count of EBX is valid.
    pub htt: bool,
    /// Thermal monitor.
    pub tm: bool,
    __: bool,
    /// Pending break enable.
    pub pbe: bool,
}

/// Leaf 7 subleaf 0 EBX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf7Ebx {
    /// RDFSBASE and companions.
    pub fsgsbase: bool,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: bool,
    /// SGX.
    pub sgx: bool,
    /// BMI1.
    pub bmi1: bool,
    /// Hardware lock elision.
    pub hle: bool,
    /// AVX2.
    pub avx2: bool,
    /// x87 data pointer updated on exceptions only.
    pub fdp_excptn_only: bool,
    /// SMEP.
    pub smep: bool,
    /// BMI2.
    pub bmi2: bool,
    /// Fast REP MOVSB and STOSB.
    pub erms: bool,
    /// INVPCID.
    pub invpcid: bool,
    /// Transactional memory.
    pub rtm: bool,
    /// Resource monitoring.
    pub rdt_m: bool,
    /// FCS and FDS are zero.
    pub fcs_fds_deprecated: bool,
    /// MPX.
    pub mpx: bool,
    /// Resource allocation.
    pub rdt_a: bool,
    /// AVX-512 foundation.
    pub avx512f: bool,
    /// AVX-512 DQ.
    pub avx512dq: bool,
    /// RDSEED.
    pub rdseed: bool,
    /// ADCX and ADOX.
    pub adx: bool,
    /// SMAP.
    pub smap: bool,
    /// AVX-512 IFMA.
    pub avx512_ifma: bool,
    __: bool,
    /// CLFLUSHOPT.
    pub clflushopt: bool,
    /// CLWB.
    pub clwb: bool,
    /// Processor trace.
    pub pt: bool,
    /// AVX-512 PF.
    pub avx512pf: bool,
    /// AVX-512 ER.
    pub avx512er: bool,
    /// AVX-512 CD.
    pub avx512cd: bool,
    /// SHA.
    pub sha: bool,
    /// AVX-512 BW.
    pub avx512bw: bool,
    /// AVX-512 VL.
    pub avx512vl: bool,
}

/// Leaf 7 subleaf 0 ECX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf7Ecx {
    /// PREFETCHWT1.
    pub prefetchwt1: bool,
    /// AVX-512 VBMI.
    pub avx512_vbmi: bool,
    /// UMIP.
    pub umip: bool,
    /// Protection keys for user pages.
    pub pku: bool,
    /// CR4.PKE as it is.
    pub ospke: bool,
    /// UMONITOR, UMWAIT, TPAUSE.
    pub waitpkg: bool,
    /// AVX-512 VBMI2.
    pub avx512_vbmi2: bool,
    /// Shadow stacks.
    pub cet_ss: bool,
    /// GFNI.
    pub gfni: bool,
    /// VAES.
    pub vaes: bool,
    /// VPCLMULQDQ.
    pub vpclmulqdq: bool,
    /// AVX-512 VNNI.
    pub avx512_vnni: bool,
    /// AVX-512 BITALG.
    pub avx512_bitalg: bool,
    __: bool,
    /// AVX-512 VPOPCNTDQ.
    pub avx512_vpopcntdq: bool,
    __: bool,
    /// 5-level paging.
    pub la57: bool,
    #[bits(5)]
    __: u8,
    /// RDPID.
    pub rdpid: bool,
    /// Key locker.
    pub kl: bool,
    /// Bus-lock debug exceptions.
    pub bus_lock_detect: bool,
    /// CLDEMOTE.
    pub cldemote: bool,
    __: bool,
    /// MOVDIRI.
    pub movdiri: bool,
    /// MOVDIR64B.
    pub movdir64b: bool,
    /// ENQCMD.
    pub enqcmd: bool,
    /// SGX launch control.
    pub sgx_lc: bool,
    /// Protection keys for supervisor pages.
    pub pks: bool,
}

/// Leaf 7 subleaf 0 EDX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf7Edx {
    #[bits(2)]
    __: u8,
    /// AVX-512 4VNNIW.
    pub avx512_4vnniw: bool,
    /// AVX-512 4FMAPS.
    pub avx512_4fmaps: bool,
    /// Fast short REP MOVSB.
    pub fsrm: bool,
    /// User interrupts.
    pub uintr: bool,
    #[bits(2)]
    __: u8,
    /// AVX-512 VP2INTERSECT.
    pub avx512_vp2intersect: bool,
    /// IA32_MCU_OPT_CTRL.
    pub srbds_ctrl: bool,
    /// VERW clears buffers.
    pub md_clear: bool,
    #[bits(3)]
    __: u8,
    /// SERIALIZE.
    pub serialize: bool,
    /// Hybrid processor.
    pub hybrid: bool,
    /// Suspends load tracking.
    pub tsxldtrk: bool,
    __: bool,
    /// PCONFIG.
    pub pconfig: bool,
    __: bool,
    /// Indirect branch tracking.
    pub cet_ibt: bool,
    __: bool,
    /// AMX BF16.
    pub amx_bf16: bool,
    /// AVX-512 FP16.
    pub avx512_fp16: bool,
    /// AMX tiles.
    pub amx_tile: bool,
    /// AMX INT8.
    pub amx_int8: bool,
    /// IA32_SPEC_CTRL.IBRS and IA32_PRED_CMD.
    pub ibrs_ibpb: bool,
    /// IA32_SPEC_CTRL.STIBP.
    pub stibp: bool,
    /// IA32_FLUSH_CMD.
    pub l1d_flush: bool,
    /// IA32_ARCH_CAPABILITIES.
    pub arch_capabilities: bool,
    /// IA32_CORE_CAPABILITIES.
    pub core_capabilities: bool,
    /// IA32_SPEC_CTRL.SSBD.
    pub ssbd: bool,
}

/// Leaf 0xD subleaf 1 EAX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LeafDSub1Eax {
    /// XSAVEOPT.
    pub xsaveopt: bool,
    /// XSAVEC and the compacted form.
    pub xsavec: bool,
    /// XGETBV with ECX = 1.
    pub xgetbv_ecx1: bool,
    /// XSAVES, XRSTORS and IA32_XSS.
    pub xsaves: bool,
    /// Extended feature disable.
    pub xfd: bool,
    #[bits(27)]
    __: u32,
}

/// Leaf 0x80000001 ECX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf80000001Ecx {
    /// LAHF and SAHF in 64-bit mode.
    pub lahf_lm: bool,
    /// HTT means cores (AMD).
    pub cmp_legacy: bool,
    /// SVM (AMD).
    pub svm: bool,
    /// Extended APIC registers (AMD).
    pub ext_apic_space: bool,
    /// LOCK MOV CR0 is MOV CR8 (AMD).
    pub alt_mov_cr8: bool,
    /// LZCNT.
    pub lzcnt: bool,
    /// SSE4A (AMD).
    pub sse4a: bool,
    /// Misaligned SSE mode (AMD).
    pub misalign_sse: bool,
    /// PREFETCHW.
    pub prefetchw: bool,
    /// OS-visible workarounds (AMD).
    pub osvw: bool,
    /// Instruction-based sampling (AMD).
    pub ibs: bool,
    /// XOP (AMD).
    pub xop: bool,
    /// SKINIT (AMD).
    pub skinit: bool,
    /// Watchdog timer (AMD).
    pub wdt: bool,
    __: bool,
    /// Lightweight profiling (AMD).
    pub lwp: bool,
    /// FMA4 (AMD).
    pub fma4: bool,
    #[bits(4)]
    __: u8,
    /// TBM (AMD).
    pub tbm: bool,
    /// Leaves 0x8000001D and 0x8000001E (AMD).
    pub topoext: bool,
    /// Core performance counters (AMD).
    pub perfctr_core: bool,
    /// Northbridge performance counters (AMD).
    pub perfctr_nb: bool,
    __: bool,
    /// Data breakpoint extensions (AMD).
    pub dbx: bool,
    /// Performance time-stamp counter (AMD).
    pub perftsc: bool,
    /// Cache performance counters (AMD).
    pub perfctr_llc: bool,
    /// MONITORX and MWAITX (AMD).
    pub mwaitx: bool,
    #[bits(2)]
    __: u8,
}

/// Leaf 0x80000001 EDX; on AMD several bits below 24 repeat leaf 1 EDX and are not named here.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf80000001Edx {
    #[bits(11)]
    __: u16,
    /// SYSCALL and SYSRET.
    pub syscall: bool,
    __: u8,
    /// No-execute pages.
    pub nx: bool,
    __: bool,
    /// AMD extensions to MMX.
    pub mmxext: bool,
    #[bits(2)]
    __: u8,
    /// EFER.FFXSR (AMD).
    pub ffxsr: bool,
    /// 1 GiB pages.
    pub page1gb: bool,
    /// RDTSCP and IA32_TSC_AUX.
    pub rdtscp: bool,
    __: bool,
    /// Long mode.
    pub lm: bool,
    /// 3DNow! extensions (AMD).
    pub ext_3dnow: bool,
    /// 3DNow! (AMD).
    pub amd_3dnow: bool,
}

/// Leaf 0x80000007 EDX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf80000007Edx {
    __: u8,
    /// The TSC runs at one rate in all states.
    pub invariant_tsc: bool,
    #[bits(23)]
    __: u32,
}

/// Leaf 0x80000008 EBX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf80000008Ebx {
    /// CLZERO (AMD).
    pub clzero: bool,
    /// MSR of retired instructions (AMD).
    pub instructions_retired_count: bool,
    /// XSAVE always saves the x87 pointers (AMD).
    pub always_save_fp_pointers: bool,
    __: bool,
    /// RDPRU (AMD).
    pub rdpru: bool,
    #[bits(4)]
    __: u8,
    /// WBNOINVD.
    pub wbnoinvd: bool,
    #[bits(2)]
    __: u8,
    /// IBPB (AMD).
    pub ibpb: bool,
    __: bool,
    /// IBRS (AMD).
    pub ibrs: bool,
    /// STIBP (AMD).
    pub stibp: bool,
    __: u8,
    /// SSBD (AMD).
    pub ssbd: bool,
    /// SSBD through VIRT_SPEC_CTRL (AMD).
    pub virt_ssbd: bool,
    /// SSBD is not needed (AMD).
    pub ssb_no: bool,
    #[bits(5)]
    __: u8,
}

/// Leaf 0x80000008 EAX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf80000008Eax {
    /// MAXPHYADDR: bits of a physical address.
    pub physical_address_bits: u8,
    /// Bits of a linear address: 48 or 57.
    pub linear_address_bits: u8,
    /// Bits of a guest-physical address if they differ (AMD); else 0.
    pub guest_physical_address_bits: u8,
    __: u8,
}

/// Leaf 1 EAX.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Leaf1Eax {
    /// Stepping.
    #[bits(4)]
    pub stepping: u8,
    /// Model, low four bits.
    #[bits(4)]
    pub base_model: u8,
    /// Family, up to 15.
    #[bits(4)]
    pub base_family: u8,
    /// Processor type.
    #[bits(2)]
    pub processor_type: u8,
    #[bits(2)]
    __: u8,
    /// Model, high four bits; counts for families 6 and 15.
    #[bits(4)]
    pub extended_model: u8,
    /// Added to a family of 15.
    pub extended_family: u8,
    #[bits(4)]
    __: u8,
}

impl Leaf1Eax {
    /// The family as it is displayed.
    pub const fn family(self) -> u32 {
        let base = self.base_family() as u32;
        if base == 15 { base + self.extended_family() as u32 } else { base }
    }

    /// The model as it is displayed.
    pub const fn model(self) -> u32 {
        let base = self.base_model() as u32;
        if matches!(self.base_family(), 6 | 15) { base | (self.extended_model() as u32) << 4 } else { base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_where_the_manual_puts_them() {
        assert_eq!(
            Leaf1Ecx::new().with_hypervisor(true).with_x2apic(true).with_xsave(true).into_bits(),
            0x8420_0000
        );
        assert_eq!(Leaf1Edx::new().with_htt(true).with_sse2(true).with_pse36(true).into_bits(), 0x1402_0000);
        assert_eq!(Leaf7Ebx::new().with_smap(true).with_smep(true).with_avx512f(true).into_bits(), 0x11_0080);
        assert_eq!(Leaf7Ecx::new().with_la57(true).with_umip(true).with_rdpid(true).into_bits(), 0x41_0004);
        assert_eq!(Leaf7Edx::new().with_ssbd(true).with_fsrm(true).into_bits(), 0x8000_0010);
        assert_eq!(
            Leaf80000001Edx::new().with_lm(true).with_nx(true).with_page1gb(true).into_bits(),
            0x2410_0000
        );
        assert_eq!(Leaf80000001Ecx::new().with_topoext(true).with_lzcnt(true).into_bits(), 0x40_0020);
        assert_eq!(Leaf80000007Edx::new().with_invariant_tsc(true).into_bits(), 0x100);
        assert_eq!(Leaf80000008Eax::from_bits(0x3028).linear_address_bits(), 48);
    }

    #[test]
    fn family_and_model() {
        let skylake = Leaf1Eax::from_bits(0x0005_06E3);
        assert_eq!((skylake.family(), skylake.model(), skylake.stepping()), (6, 0x5E, 3));
        let zen = Leaf1Eax::from_bits(0x0080_0F11);
        assert_eq!((zen.family(), zen.model()), (0x17, 1));
    }
}

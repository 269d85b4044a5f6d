// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where each register of the interface lives: the one table behind hypercalls and the host's own access (TLFS 7.8.2).

use engine::{Gpr, SegmentName};
use tlfs::register::RegisterName as R;
use tlfs::{cpuid as hv, msr};
use x86::msr as x86_msr;

/// Where a register lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    ExplicitSuspend,
    InterceptSuspend,
    PendingInterruption,
    InterruptState,
    /// PendingEvent0, which is the event that the engine holds, or PendingEvent1, which never holds one.
    PendingEvent(u32),
    Gpr(Gpr),
    Rip,
    Rflags,
    Xmm(u8),
    YmmHigh(u8),
    FpMmx(u8),
    FpControlStatus,
    XmmControlStatus,
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Cr8,
    Xfem,
    /// DR0 to DR3.
    Dr(u8),
    Dr6,
    Dr7,
    Segment(SegmentName),
    Idtr,
    Gdtr,
    Tsc,
    Efer,
    InitialApicId,
    /// An MSR that the engine keeps.
    EngineMsr(u32),
    /// An MSR of the processor that the hypervisor keeps.
    ProcessorMsr(u32),
    ApicBase,
    /// The synthetic MSR with this number.
    SyntheticMsr(u32),
    /// The output of this CPUID leaf.
    Cpuid(u32),
    /// Nothing: the register always reads as zero.
    Zero,
}

type Run = (R, R, fn(u32) -> Place);

/// Registers that come in runs: first and last name, and the place of the one with this index.
const RUNS: &[Run] = &[
    (R::GUEST_CRASH_P0, R::GUEST_CRASH_CTL, |index| Place::SyntheticMsr(msr::CRASH_P0 + index)),
    (R::PENDING_EVENT0, R::PENDING_EVENT1, Place::PendingEvent),
    (R::RAX, R::R15, |index| Place::Gpr(Gpr::ALL[index as usize])),
    (R::XMM0, R::XMM15, |index| Place::Xmm(index as u8)),
    (R::FP_MMX0, R::FP_MMX7, |index| Place::FpMmx(index as u8)),
    (R::DR0, R::DR3, |index| Place::Dr(index as u8)),
    (R::ES, R::TR, |index| Place::Segment(SegmentName::ALL[index as usize])),
    (R::MTRR_PHYS_BASE0, R::MTRR_PHYS_BASE7, |index| {
        Place::ProcessorMsr(x86_msr::IA32_MTRR_PHYSBASE0 + 2 * index)
    }),
    (R::MTRR_PHYS_MASK0, R::MTRR_PHYS_MASK7, |index| {
        Place::ProcessorMsr(x86_msr::IA32_MTRR_PHYSMASK0 + 2 * index)
    }),
    (R::MTRR_FIX16K80000, R::MTRR_FIX16K_A0000, |index| {
        Place::ProcessorMsr(x86_msr::IA32_MTRR_FIX16K_80000 + index)
    }),
    (R::MTRR_FIX4K_C0000, R::MTRR_FIX4K_F8000, |index| {
        Place::ProcessorMsr(x86_msr::IA32_MTRR_FIX4K_C0000 + index)
    }),
    (R::SINT0, R::SINT15, |index| Place::SyntheticMsr(msr::SINT0 + index)),
    (R::STIMER0_CONFIG, R::STIMER3_COUNT, |index| Place::SyntheticMsr(msr::STIMER0_CONFIG + index)),
    (R::STIME_UNHALTED_TIMER_CONFIG, R::STIME_UNHALTED_TIMER_COUNT, |index| {
        Place::SyntheticMsr(msr::STIME_UNHALTED_TIMER_CONFIG + index)
    }),
    (R::YMM0_LOW, R::YMM15_LOW, |index| Place::Xmm(index as u8)),
    (R::YMM0_HIGH, R::YMM15_HIGH, |index| Place::YmmHigh(index as u8)),
];

/// Where a register lives. `None` if the interface has no such register, or this processor nothing behind it.
pub(super) fn place(name: R) -> Option<Place> {
    let run = RUNS.iter().find(|&&(first, last, _)| (first..=last).contains(&name));
    if let Some((first, _, place)) = run {
        return Some(place(name.0 - first.0));
    }
    Some(match name {
        R::EXPLICIT_SUSPEND => Place::ExplicitSuspend,
        R::INTERCEPT_SUSPEND => Place::InterceptSuspend,
        R::HYPERVISOR_VERSION => Place::Cpuid(hv::VERSION),
        R::PRIVILEGES_AND_FEATURES_INFO => Place::Cpuid(hv::FEATURES),
        R::FEATURES_INFO => Place::Cpuid(hv::RECOMMENDATIONS),
        R::IMPLEMENTATION_LIMITS_INFO => Place::Cpuid(hv::LIMITS),
        R::HARDWARE_FEATURES_INFO => Place::Cpuid(hv::HARDWARE_FEATURES),
        R::PROCESSOR_CLOCK_FREQUENCY => Place::SyntheticMsr(msr::TSC_FREQUENCY),
        R::INTERRUPT_CLOCK_FREQUENCY => Place::SyntheticMsr(msr::APIC_FREQUENCY),
        // To read the MSR is to sleep; the register is not the guest's way to do so.
        R::GUEST_IDLE => Place::Zero,
        R::PENDING_INTERRUPTION => Place::PendingInterruption,
        R::INTERRUPT_STATE => Place::InterruptState,
        R::RIP => Place::Rip,
        R::RFLAGS => Place::Rflags,
        R::FP_CONTROL_STATUS => Place::FpControlStatus,
        R::XMM_CONTROL_STATUS => Place::XmmControlStatus,
        R::CR0 => Place::Cr0,
        R::CR2 => Place::Cr2,
        R::CR3 => Place::Cr3,
        R::CR4 => Place::Cr4,
        R::CR8 => Place::Cr8,
        R::XFEM => Place::Xfem,
        R::DR6 => Place::Dr6,
        R::DR7 => Place::Dr7,
        R::IDTR => Place::Idtr,
        R::GDTR => Place::Gdtr,
        R::TSC => Place::Tsc,
        R::EFER => Place::Efer,
        R::KERNEL_GS_BASE => Place::EngineMsr(x86_msr::IA32_KERNEL_GS_BASE),
        R::APIC_BASE => Place::ApicBase,
        R::PAT => Place::EngineMsr(x86_msr::IA32_PAT),
        R::SYSENTER_CS => Place::EngineMsr(x86_msr::IA32_SYSENTER_CS),
        R::SYSENTER_RIP => Place::EngineMsr(x86_msr::IA32_SYSENTER_EIP),
        R::SYSENTER_RSP => Place::EngineMsr(x86_msr::IA32_SYSENTER_ESP),
        R::STAR => Place::EngineMsr(x86_msr::IA32_STAR),
        R::LSTAR => Place::EngineMsr(x86_msr::IA32_LSTAR),
        R::CSTAR => Place::EngineMsr(x86_msr::IA32_CSTAR),
        R::SFMASK => Place::EngineMsr(x86_msr::IA32_FMASK),
        R::INITIAL_APIC_ID => Place::InitialApicId,
        R::MTRR_CAP => Place::ProcessorMsr(x86_msr::IA32_MTRRCAP),
        R::MTRR_DEF_TYPE => Place::ProcessorMsr(x86_msr::IA32_MTRR_DEF_TYPE),
        R::MTRR_FIX64K00000 => Place::ProcessorMsr(x86_msr::IA32_MTRR_FIX64K_00000),
        R::DEBUG_CTL => Place::ProcessorMsr(x86_msr::IA32_DEBUGCTL),
        R::MSR_IA32_MISC_ENABLE => Place::ProcessorMsr(x86_msr::IA32_MISC_ENABLE),
        R::IA32_FEATURE_CONTROL => Place::ProcessorMsr(x86_msr::IA32_FEATURE_CONTROL),
        R::VP_RUNTIME => Place::SyntheticMsr(msr::VP_RUNTIME),
        R::HYPERCALL => Place::SyntheticMsr(msr::HYPERCALL),
        R::GUEST_OS_ID => Place::SyntheticMsr(msr::GUEST_OS_ID),
        R::VP_INDEX => Place::SyntheticMsr(msr::VP_INDEX),
        R::TIME_REF_COUNT => Place::SyntheticMsr(msr::TIME_REF_COUNT),
        R::EOI => Place::SyntheticMsr(msr::EOI),
        R::ICR => Place::SyntheticMsr(msr::ICR),
        R::TPR => Place::SyntheticMsr(msr::TPR),
        R::VP_ASSIST_PAGE => Place::SyntheticMsr(msr::VP_ASSIST_PAGE),
        R::REFERENCE_TSC => Place::SyntheticMsr(msr::REFERENCE_TSC),
        R::SCONTROL => Place::SyntheticMsr(msr::SCONTROL),
        R::SVERSION => Place::SyntheticMsr(msr::SVERSION),
        R::SIFP => Place::SyntheticMsr(msr::SIEFP),
        R::SIPP => Place::SyntheticMsr(msr::SIMP),
        R::EOM => Place::SyntheticMsr(msr::EOM),
        _ => return None,
    })
}

/// Why a register of the interface is not served, if it is not.
#[must_use]
pub fn register_refusal(name: R) -> Option<&'static str> {
    if place(name).is_some() {
        return None;
    }
    let within = |first: R, last: R| (first..=last).contains(&name);
    Some(match name {
        _ if within(R::VSM_CODE_PAGE_OFFSETS, R::CR_INTERCEPT_IA32_MISC_ENABLE_MASK) => {
            "virtual trust levels are not served yet"
        }
        _ if within(R::POWER_STATE_CONFIG_C1, R::POWER_STATE_TRIGGER_C3) => {
            "there are no power states to manage"
        }
        _ if within(R::PERF_GLOBAL_CTRL, R::FIXED_CTR0) => "the processor has no performance counters",
        _ if within(R::LBR_TOS, R::LBR_INFO0) => "the processor has no branch records",
        _ if within(R::SGX_LAUNCH_CONTROL0, R::SGX_LAUNCH_CONTROL3) => "the processor has no enclaves",
        _ if within(R::MTRR_PHYS_BASE8, R::MTRR_PHYS_MASK_F) => {
            "the processor has eight variable memory ranges"
        }
        R::BNDCFGS => "the processor has no bound registers",
        R::CPU_MANAGEMENT_VERSION => "root partitions are not served yet",
        R::EMULATED_TIMER_PERIOD | R::EMULATED_TIMER_CONTROL | R::PM_TIMER_ASSIST => {
            "the machine around the processors is its host's"
        }
        _ => "its meaning is not public",
    })
}

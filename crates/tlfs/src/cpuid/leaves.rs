// SPDX-License-Identifier: MIT OR Apache-2.0
//! The output registers that are bit fields.

use crate::declare::bit_fields;

bit_fields! {
    /// EBX of leaf 0x40000002: version of the hypervisor (TLFS 2.4.3).
    pub struct Version(u32);
    /// Minor version.
    minor_version: u16 = 16;
    /// Major version.
    major_version: u16 = 16;
}

bit_fields! {
    /// EDX of leaf 0x40000002: service release of the hypervisor (TLFS 2.4.3).
    pub struct Service(u32);
    /// Service number.
    service_number: u32 = 24;
    /// Service branch.
    service_branch: u8 = 8;
}

bit_fields! {
    /// ECX of leaf 0x40000003: reserved in TLFS 6.0; the named bits are later (TLFS 2.4.4).
    pub struct PowerFeatures(u32);
    __: u8 = 5;
    /// MPERF counts at an invariant rate.
    invariant_mperf: bool = 1;
    /// Supervisor shadow stacks may be used.
    supervisor_shadow_stack: bool = 1;
    /// The architectural performance counters may be used.
    architectural_pmu: bool = 1;
    /// Exception trap intercepts may be installed.
    exception_trap_intercept: bool = 1;
    __: u32 = 23;
}

bit_fields! {
    /// EDX of leaf 0x40000003: optional parts of the interface (TLFS 2.4.4).
    pub struct Features(u32);
    /// Once told that MWAIT may be used; now always clear.
    deprecated: bool = 1;
    /// The guest may be debugged.
    guest_debugging: bool = 1;
    /// Performance monitoring is supported.
    performance_monitor: bool = 1;
    /// Processors may be added or removed at run time.
    cpu_dynamic_partitioning: bool = 1;
    /// Fast hypercalls may take their input from XMM registers.
    xmm_fast_input: bool = 1;
    /// GUEST_IDLE exists.
    virtual_guest_idle: bool = 1;
    /// The hypervisor can sleep.
    hypervisor_sleep_state: bool = 1;
    /// NUMA distances may be asked for.
    numa_distance_query: bool = 1;
    /// TSC_FREQUENCY and APIC_FREQUENCY exist.
    timer_frequencies: bool = 1;
    /// Synthetic machine checks may be injected.
    synthetic_machine_check: bool = 1;
    /// CRASH_P0 to CRASH_P4 and CRASH_CTL exist.
    guest_crash_msrs: bool = 1;
    /// The debug MSRs exist.
    debug_msrs: bool = 1;
    /// NPIEP_CONFIG exists.
    npiep: bool = 1;
    /// The hypervisor can be disabled.
    disable_hypervisor_available: bool = 1;
    /// List flushes take extended ranges, flag bit 3.
    extended_gva_ranges_for_flush_virtual_address_list: bool = 1;
    /// Fast hypercalls may return output in XMM registers.
    xmm_fast_output: bool = 1;
    __: bool = 1;
    /// SINTs have a polling bit.
    sint_polling_mode_available: bool = 1;
    /// HYPERCALL can be locked.
    hypercall_msr_lock_available: bool = 1;
    /// Synthetic timers have a direct mode.
    use_direct_synthetic_timers: bool = 1;
    /// Each VTL has its own PAT.
    vsm_pat_register: bool = 1;
    /// Each VTL has its own BNDCFGS.
    vsm_bndcfgs_register: bool = 1;
    __: bool = 1;
    /// The time-unhalted timer exists.
    synthetic_time_unhalted_timer: bool = 1;
    __: u8 = 2;
    /// Last branch records may be used (Intel).
    lbr_supported: bool = 1;
    __: u8 = 5;
}

bit_fields! {
    /// EAX of leaf 0x40000004: what the guest had better use; every bit set must be served (TLFS 2.4.5).
    pub struct Recommendations(u32);
    /// Switch address spaces by hypercall instead of MOV to CR3.
    use_hypercall_for_address_space_switch: bool = 1;
    /// Flush the local TLB by hypercall.
    use_hypercall_for_local_flush: bool = 1;
    /// Flush remote TLBs by hypercall instead of interrupts.
    use_hypercall_for_remote_flush_and_local_flush_entire: bool = 1;
    /// Use the EOI, ICR and TPR MSRs instead of the memory-mapped APIC.
    use_apic_msrs: bool = 1;
    /// Reset the system by RESET.
    use_reset_msr: bool = 1;
    /// Disable watchdogs that trust timely interrupts.
    use_relaxed_timing: bool = 1;
    /// Use DMA remapping.
    use_dma_remapping: bool = 1;
    /// Use interrupt remapping.
    use_interrupt_remapping: bool = 1;
    /// Use the x2APIC MSRs. Reserved in TLFS 6.0.
    use_x2_apic_msrs: bool = 1;
    /// Do not use AutoEOI on SINTs.
    deprecate_auto_eoi: bool = 1;
    /// Send interrupts by HvCallSendSyntheticClusterIpi.
    use_synthetic_cluster_ipi: bool = 1;
    /// Use the calls that take a sparse VP set.
    use_ex_processor_masks: bool = 1;
    /// This hypervisor runs in a partition of another.
    nested_hypervisor: bool = 1;
    /// Use INT for system calls under mode-based execution control.
    use_int_for_mbec_system_calls: bool = 1;
    /// A nested hypervisor had better use the enlightened VMCS.
    use_enlightened_vmcs: bool = 1;
    /// Take the clock bias from the root.
    use_synced_timeline: bool = 1;
    __: bool = 1;
    /// Flush the whole local TLB by toggling CR4.PGE.
    use_direct_local_flush_entire: bool = 1;
    /// No VP shares a core with one it should not.
    no_non_architectural_core_sharing: bool = 1;
    __: u16 = 13;
}

bit_fields! {
    /// ECX of leaf 0x40000004: width of physical addresses (TLFS 2.4.5).
    pub struct PhysicalAddress(u32);
    /// Physical address bits of the processor; 0 if not told.
    implemented_physical_address_bits: u8 = 7;
    __: u32 = 25;
}

bit_fields! {
    /// EAX of leaf 0x40000006: hardware the hypervisor found and uses (TLFS 2.4.7).
    pub struct HardwareFeatures(u32);
    /// APIC overlay assist.
    apic_overlay_assist: bool = 1;
    /// MSR bitmaps.
    msr_bitmaps: bool = 1;
    /// Architectural performance counters.
    arch_performance_counters: bool = 1;
    /// Second level address translation.
    second_level_address_translation: bool = 1;
    /// DMA remapping.
    dma_remapping: bool = 1;
    /// Interrupt remapping.
    interrupt_remapping: bool = 1;
    /// A memory patrol scrubber is present.
    memory_patrol_scrubber: bool = 1;
    /// DMA protection.
    dma_protection: bool = 1;
    /// The HPET is wanted.
    hpet_requested: bool = 1;
    /// Synthetic timers lose their state in deep idle.
    synthetic_timers_volatile: bool = 1;
    __: u32 = 22;
}

bit_fields! {
    /// EAX of leaf 0x40000007: processor management by the root (TLFS 2.4.8).
    pub struct CpuManagementFeatures(u32);
    /// The root starts logical processors.
    start_logical_processor: bool = 1;
    /// The root creates its own VPs.
    create_root_virtual_processor: bool = 1;
    /// Performance counters are kept in step.
    performance_counter_sync: bool = 1;
    __: u32 = 28;
    /// Identifies the leaf; reserved.
    reserved_identity_bit: bool = 1;
}

bit_fields! {
    /// EBX of leaf 0x40000007: power management by the root (TLFS 2.4.8).
    pub struct CpuPowerFeatures(u32);
    /// The root manages processor power.
    processor_power_management: bool = 1;
    /// The root may use MWAIT for idle states.
    mwait_idle_states: bool = 1;
    /// The root may idle logical processors.
    logical_processor_idling: bool = 1;
    __: u32 = 29;
}

bit_fields! {
    /// ECX of leaf 0x40000007: memory mapping by the root (TLFS 2.4.8).
    pub struct RemapFeatures(u32);
    /// Guest pages may be remapped as uncached.
    remap_guest_uncached: bool = 1;
    __: u32 = 31;
}

bit_fields! {
    /// EAX of leaf 0x40000008: shared virtual memory of devices (TLFS 2.4.9).
    pub struct SvmFeatures(u32);
    /// Shared virtual memory is supported.
    svm_supported: bool = 1;
    __: u16 = 10;
    /// Largest number of PASIDs in a PASID space.
    max_pasid_space_pasid_count: u32 = 21;
}

bit_fields! {
    /// EAX of leaf 0x40000009: MSRs of the hypervisor below that a nested one may use (TLFS 2.4.10).
    pub struct NestedPrivileges(u32);
    __: u8 = 2;
    /// SynIC MSRs.
    access_synic_regs: bool = 1;
    __: bool = 1;
    /// EOI, ICR and TPR MSRs.
    access_intr_ctrl_regs: bool = 1;
    /// GUEST_OS_ID and HYPERCALL.
    access_hypercall_msrs: bool = 1;
    /// VP_INDEX.
    access_vp_index: bool = 1;
    __: u8 = 5;
    /// Re-enlightenment MSRs; bit 13 in the privilege mask.
    access_reenlightenment_controls: bool = 1;
    __: u32 = 19;
}

bit_fields! {
    /// EDX of leaf 0x40000009: hypercall features of the hypervisor below (TLFS 2.4.10).
    pub struct NestedHypercallFeatures(u32);
    __: u8 = 4;
    /// XMM registers may carry fast input.
    xmm_registers_for_fast_hypercall_available: bool = 1;
    __: u16 = 10;
    /// XMM registers may carry fast output.
    fast_hypercall_output_available: bool = 1;
    __: bool = 1;
    /// SINTs have a polling bit.
    sint_polling_mode_available: bool = 1;
    __: u16 = 14;
}

bit_fields! {
    /// EAX of leaf 0x4000000A: enlightenments for a nested hypervisor (TLFS 2.4.11).
    pub struct NestedFeatures(u32);
    /// Lowest version of the enlightened VMCS.
    enlightened_vmcs_version_low: u8 = 8;
    /// Highest version of the enlightened VMCS.
    enlightened_vmcs_version_high: u8 = 8;
    __: bool = 1;
    /// Second-level guests may flush directly.
    direct_virtual_flush: bool = 1;
    /// The guest-physical flush calls exist.
    flush_guest_physical_hypercalls: bool = 1;
    /// The enlightened MSR bitmap is supported.
    enlightened_msr_bitmap: bool = 1;
    /// Virtualization exceptions come in the page fault class.
    combined_virtualization_exceptions: bool = 1;
    __: u16 = 11;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers that tell about and configure VTLs.

use crate::declare::bit_fields;

bit_fields! {
    /// HvRegisterVsmCapabilities, in the order that hosts in use have; the printed table is mirrored (TLFS 15.3.2).
    pub struct VsmCapabilities(u64);
    /// The VTLs of a VP share DR6.
    dr6_shared: bool = 1;
    /// Bit n: VTL n can have mode-based execution control.
    mbec_vtl_mask: u16 = 16;
    /// Lower VTLs can be kept from starting VPs.
    deny_lower_vtl_startup: bool = 1;
    /// Zero.
    reserved_z: u64 = 46;
}

bit_fields! {
    /// HvRegisterVsmPartitionStatus (TLFS 15.3.3.1).
    pub struct VsmPartitionStatus(u64);
    /// Bit n: VTL n is enabled for the partition.
    enabled_vtl_set: u16 = 16;
    /// Highest VTL the partition may enable.
    maximum_vtl: u8 = 4;
    /// Bit n: VTL n has mode-based execution control.
    mbec_enabled_vtl_set: u16 = 16;
    /// Zero.
    reserved_z: u32 = 28;
}

bit_fields! {
    /// HvRegisterVsmVpStatus (TLFS 15.3.3.2).
    pub struct VsmVpStatus(u64);
    /// VTL that the VP is in.
    active_vtl: u8 = 4;
    /// Mode-based execution control is in force.
    active_mbec_enabled: bool = 1;
    __: u16 = 11;
    /// Bit n: VTL n is enabled on the VP.
    enabled_vtl_set: u16 = 16;
    __: u32 = 32;
}

bit_fields! {
    /// HvRegisterVsmPartitionConfig: one for each VTL above 0 (TLFS 15.5.1).
    pub struct VsmPartitionConfig(u64);
    /// The VTL protects memory from lower ones. Once set it stays.
    enable_vtl_protection: bool = 1;
    /// Rights that lower VTLs have to pages without rights of their own, in the order of
    /// [`MapGpaFlags`](crate::address::MapGpaFlags).
    default_vtl_protection_mask: u8 = 4;
    /// Memory is cleared on reset.
    zero_memory_on_reset: bool = 1;
    /// Lower VTLs cannot start VPs.
    deny_lower_vtl_startup: bool = 1;
    __: u8 = 2;
    /// Starting a VP is intercepted.
    intercept_vp_startup: bool = 1;
    __: u64 = 54;
}

bit_fields! {
    /// HvRegisterVsmVpSecureConfigVtl0 and its sisters: how a lower VTL runs on this VP (TLFS 15.5.2).
    pub struct VsmVpSecureVtlConfig(u64);
    /// Mode-based execution control is on.
    mbec_enabled: bool = 1;
    /// The VTL's translations cannot change until the VP returns to it.
    tlb_locked: bool = 1;
    /// Zero.
    reserved_z: u64 = 62;
}

bit_fields! {
    /// HvRegisterVsmCodePageOffsets: byte offsets in the hypercall page (TLFS 15.8).
    pub struct VsmCodePageOffsets(u64);
    /// Where to call for a VTL call.
    vtl_call_offset: u16 = 12;
    /// Where to call for a VTL return.
    vtl_return_offset: u16 = 12;
    /// Zero.
    reserved_z: u64 = 40;
}

bit_fields! {
    /// HvRegisterVsmVina: tells a higher VTL of interrupts for lower ones (TLFS 15.12.4).
    pub struct VsmVina(u64);
    /// Vector.
    vector: u8 = 8;
    /// Notify.
    enabled: bool = 1;
    /// The assertion clears itself.
    auto_reset: bool = 1;
    /// Delivery ends the interrupt.
    auto_eoi: bool = 1;
    /// Preserved.
    reserved_p: u64 = 53;
}

bit_fields! {
    /// HvX64RegisterCrInterceptControl: accesses of lower VTLs that a higher one intercepts (TLFS 15.13.4).
    pub struct CrInterceptControl(u64);
    /// CR0 is written.
    cr0_write: bool = 1;
    /// CR4 is written.
    cr4_write: bool = 1;
    /// XCR0 is written.
    xcr0_write: bool = 1;
    /// MISC_ENABLE is read.
    ia32_misc_enable_read: bool = 1;
    /// MISC_ENABLE is written.
    ia32_misc_enable_write: bool = 1;
    /// LSTAR is read.
    msr_lstar_read: bool = 1;
    /// LSTAR is written.
    msr_lstar_write: bool = 1;
    /// STAR is read.
    msr_star_read: bool = 1;
    /// STAR is written.
    msr_star_write: bool = 1;
    /// CSTAR is read.
    msr_cstar_read: bool = 1;
    /// CSTAR is written.
    msr_cstar_write: bool = 1;
    /// APIC_BASE is read.
    apic_base_msr_read: bool = 1;
    /// APIC_BASE is written.
    apic_base_msr_write: bool = 1;
    /// EFER is read.
    msr_efer_read: bool = 1;
    /// EFER is written.
    msr_efer_write: bool = 1;
    /// GDTR is written.
    gdtr_write: bool = 1;
    /// IDTR is written.
    idtr_write: bool = 1;
    /// LDTR is written.
    ldtr_write: bool = 1;
    /// TR is written.
    tr_write: bool = 1;
    /// SYSENTER_CS is written.
    msr_sysenter_cs_write: bool = 1;
    /// SYSENTER_EIP is written.
    msr_sysenter_eip_write: bool = 1;
    /// SYSENTER_ESP is written.
    msr_sysenter_esp_write: bool = 1;
    /// SFMASK is written.
    msr_sfmask_write: bool = 1;
    /// TSC_AUX is written.
    msr_tsc_aux_write: bool = 1;
    /// The SGX launch key hash is written.
    msr_sgx_launch_control_write: bool = 1;
    /// Zero.
    reserved_z: u64 = 39;
}

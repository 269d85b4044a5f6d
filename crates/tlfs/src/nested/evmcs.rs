// SPDX-License-Identifier: MIT OR Apache-2.0
//! The enlightened VMCS, version 1: a VMCS in memory that a nested hypervisor reads and writes without exits
//! (TLFS 16.11.2 to 16.11.4).

use super::{CleanFields, CleanGroup, CleanGroup::*, EnlightenmentsControl};
use crate::address::PAGE_SIZE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What is fixed about one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvmcsField {
    /// Offset in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// Name in the specification; empty for padding.
    pub name: &'static str,
    /// Encoding of the VMCS field it stands for (Intel SDM 3C Appendix B); none if it stands for none.
    pub encoding: Option<u16>,
    /// The clean field that covers it. Without one it is never cached, or only ever written by the hypervisor.
    pub clean_group: Option<CleanGroup>,
}

macro_rules! enlightened_vmcs {
    ($(
        $(#[$doc:meta])*
        $field:ident: $Type:ty = $offset:literal, $name:literal, $encoding:expr, $group:expr;
    )+) => {
        /// `HV_VMX_ENLIGHTENED_VMCS` (TLFS 16.11.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
        #[repr(C)]
        pub struct EnlightenedVmcs {
            $( $(#[$doc])* pub $field: $Type, )+
            /// The rest of the page: not defined.
            pub unused: [u8; PAGE_SIZE - 1024],
        }

        const _: () = {
            $( assert!(core::mem::offset_of!(EnlightenedVmcs, $field) == $offset); )+
            assert!(core::mem::offset_of!(EnlightenedVmcs, unused) == 1024);
            assert!(size_of::<EnlightenedVmcs>() == PAGE_SIZE);
        };

        /// Every field that is defined, by offset.
        pub const EVMCS_FIELDS: &[EvmcsField] = &[$( EvmcsField {
            offset: $offset,
            size: size_of::<$Type>(),
            name: $name,
            encoding: $encoding,
            clean_group: $group,
        }, )+];
    };
}

enlightened_vmcs! {
    /// Version of this structure.
    version_number: u32 = 0, "VersionNumber", None, None;
    /// Why the VM exit was aborted.
    abort_indicator: u32 = 4, "AbortIndicator", None, None;
    /// Host ES selector.
    host_es_selector: u16 = 8, "HostEsSelector", Some(0x0C00), Some(HostGrp1);
    /// Host CS selector.
    host_cs_selector: u16 = 10, "HostCsSelector", Some(0x0C02), Some(HostGrp1);
    /// Host SS selector.
    host_ss_selector: u16 = 12, "HostSsSelector", Some(0x0C04), Some(HostGrp1);
    /// Host DS selector.
    host_ds_selector: u16 = 14, "HostDsSelector", Some(0x0C06), Some(HostGrp1);
    /// Host FS selector.
    host_fs_selector: u16 = 16, "HostFsSelector", Some(0x0C08), Some(HostGrp1);
    /// Host GS selector.
    host_gs_selector: u16 = 18, "HostGsSelector", Some(0x0C0A), Some(HostGrp1);
    /// Host TR selector.
    host_tr_selector: u16 = 20, "HostTrSelector", Some(0x0C0C), Some(HostGrp1);
    /// Zero: aligns the next field.
    pad1: [u8; 2] = 22, "", None, None;
    /// Host PAT.
    host_pat: u64 = 24, "HostPat", Some(0x2C00), Some(HostGrp1);
    /// Host EFER.
    host_efer: u64 = 32, "HostEfer", Some(0x2C02), Some(HostGrp1);
    /// Host CR0.
    host_cr0: u64 = 40, "HostCr0", Some(0x6C00), Some(HostGrp1);
    /// Host CR3.
    host_cr3: u64 = 48, "HostCr3", Some(0x6C02), Some(HostGrp1);
    /// Host CR4.
    host_cr4: u64 = 56, "HostCr4", Some(0x6C04), Some(HostGrp1);
    /// Host sysenter ESP MSR.
    host_sysenter_esp_msr: u64 = 64, "HostSysenterEspMsr", Some(0x6C10), Some(HostGrp1);
    /// Host sysenter EIP MSR.
    host_sysenter_eip_msr: u64 = 72, "HostSysenterEipMsr", Some(0x6C12), Some(HostGrp1);
    /// Host RIP.
    host_rip: u64 = 80, "HostRip", Some(0x6C16), Some(HostGrp1);
    /// Host sysenter CS MSR.
    host_sysenter_cs_msr: u32 = 88, "HostSysenterCsMsr", Some(0x4C00), Some(HostGrp1);
    /// Pin controls.
    pin_controls: u32 = 92, "PinControls", Some(0x4000), Some(ControlGrp1);
    /// Exit controls.
    exit_controls: u32 = 96, "ExitControls", Some(0x400C), Some(ControlGrp1);
    /// Secondary processor controls.
    secondary_processor_controls: u32 = 100, "SecondaryProcessorControls", Some(0x401E), Some(ControlGrp1);
    /// I/O bitmap a.
    io_bitmap_a: u64 = 104, "IoBitmapA", Some(0x2000), Some(IoBitmap);
    /// I/O bitmap b.
    io_bitmap_b: u64 = 112, "IoBitmapB", Some(0x2002), Some(IoBitmap);
    /// MSR bitmap.
    msr_bitmap: u64 = 120, "MsrBitmap", Some(0x2004), Some(MsrBitmap);
    /// Guest ES selector.
    guest_es_selector: u16 = 128, "GuestEsSelector", Some(0x0800), Some(GuestGrp2);
    /// Guest CS selector.
    guest_cs_selector: u16 = 130, "GuestCsSelector", Some(0x0802), Some(GuestGrp2);
    /// Guest SS selector.
    guest_ss_selector: u16 = 132, "GuestSsSelector", Some(0x0804), Some(GuestGrp2);
    /// Guest DS selector.
    guest_ds_selector: u16 = 134, "GuestDsSelector", Some(0x0806), Some(GuestGrp2);
    /// Guest FS selector.
    guest_fs_selector: u16 = 136, "GuestFsSelector", Some(0x0808), Some(GuestGrp2);
    /// Guest GS selector.
    guest_gs_selector: u16 = 138, "GuestGsSelector", Some(0x080A), Some(GuestGrp2);
    /// Guest LDTR selector.
    guest_ldtr_selector: u16 = 140, "GuestLdtrSelector", Some(0x080C), Some(GuestGrp2);
    /// Guest TR selector.
    guest_tr_selector: u16 = 142, "GuestTrSelector", Some(0x080E), Some(GuestGrp2);
    /// Guest ES limit.
    guest_es_limit: u32 = 144, "GuestEsLimit", Some(0x4800), Some(GuestGrp2);
    /// Guest CS limit.
    guest_cs_limit: u32 = 148, "GuestCsLimit", Some(0x4802), Some(GuestGrp2);
    /// Guest SS limit.
    guest_ss_limit: u32 = 152, "GuestSsLimit", Some(0x4804), Some(GuestGrp2);
    /// Guest DS limit.
    guest_ds_limit: u32 = 156, "GuestDsLimit", Some(0x4806), Some(GuestGrp2);
    /// Guest FS limit.
    guest_fs_limit: u32 = 160, "GuestFsLimit", Some(0x4808), Some(GuestGrp2);
    /// Guest GS limit.
    guest_gs_limit: u32 = 164, "GuestGsLimit", Some(0x480A), Some(GuestGrp2);
    /// Guest LDTR limit.
    guest_ldtr_limit: u32 = 168, "GuestLdtrLimit", Some(0x480C), Some(GuestGrp2);
    /// Guest TR limit.
    guest_tr_limit: u32 = 172, "GuestTrLimit", Some(0x480E), Some(GuestGrp2);
    /// Guest GDTR limit.
    guest_gdtr_limit: u32 = 176, "GuestGdtrLimit", Some(0x4810), Some(GuestGrp2);
    /// Guest IDTR limit.
    guest_idtr_limit: u32 = 180, "GuestIdtrLimit", Some(0x4812), Some(GuestGrp2);
    /// Guest ES attributes.
    guest_es_attributes: u32 = 184, "GuestEsAttributes", Some(0x4814), Some(GuestGrp2);
    /// Guest CS attributes.
    guest_cs_attributes: u32 = 188, "GuestCsAttributes", Some(0x4816), Some(GuestGrp2);
    /// Guest SS attributes.
    guest_ss_attributes: u32 = 192, "GuestSsAttributes", Some(0x4818), Some(GuestGrp2);
    /// Guest DS attributes.
    guest_ds_attributes: u32 = 196, "GuestDsAttributes", Some(0x481A), Some(GuestGrp2);
    /// Guest FS attributes.
    guest_fs_attributes: u32 = 200, "GuestFsAttributes", Some(0x481C), Some(GuestGrp2);
    /// Guest GS attributes.
    guest_gs_attributes: u32 = 204, "GuestGsAttributes", Some(0x481E), Some(GuestGrp2);
    /// Guest LDTR attributes.
    guest_ldtr_attributes: u32 = 208, "GuestLdtrAttributes", Some(0x4820), Some(GuestGrp2);
    /// Guest TR attributes.
    guest_tr_attributes: u32 = 212, "GuestTrAttributes", Some(0x4822), Some(GuestGrp2);
    /// Guest ES base.
    guest_es_base: u64 = 216, "GuestEsBase", Some(0x6806), Some(GuestGrp2);
    /// Guest CS base.
    guest_cs_base: u64 = 224, "GuestCsBase", Some(0x6808), Some(GuestGrp2);
    /// Guest SS base.
    guest_ss_base: u64 = 232, "GuestSsBase", Some(0x680A), Some(GuestGrp2);
    /// Guest DS base.
    guest_ds_base: u64 = 240, "GuestDsBase", Some(0x680C), Some(GuestGrp2);
    /// Guest FS base.
    guest_fs_base: u64 = 248, "GuestFsBase", Some(0x680E), Some(GuestGrp2);
    /// Guest GS base.
    guest_gs_base: u64 = 256, "GuestGsBase", Some(0x6810), Some(GuestGrp2);
    /// Guest LDTR base.
    guest_ldtr_base: u64 = 264, "GuestLdtrBase", Some(0x6812), Some(GuestGrp2);
    /// Guest TR base.
    guest_tr_base: u64 = 272, "GuestTrBase", Some(0x6814), Some(GuestGrp2);
    /// Guest GDTR base.
    guest_gdtr_base: u64 = 280, "GuestGdtrBase", Some(0x6816), Some(GuestGrp2);
    /// Guest IDTR base.
    guest_idtr_base: u64 = 288, "GuestIdtrBase", Some(0x6818), Some(GuestGrp2);
    /// Zero.
    rsvd1: [u64; 3] = 296, "Rsvd1", None, None;
    /// Exit MSR store address.
    exit_msr_store_address: u64 = 320, "ExitMsrStoreAddress", None, None;
    /// Exit MSR load address.
    exit_msr_load_address: u64 = 328, "ExitMsrLoadAddress", None, None;
    /// Entry MSR load address.
    entry_msr_load_address: u64 = 336, "EntryMsrLoadAddress", None, None;
    /// CR3 target0.
    cr3_target0: u64 = 344, "Cr3Target0", None, None;
    /// CR3 target1.
    cr3_target1: u64 = 352, "Cr3Target1", None, None;
    /// CR3 target2.
    cr3_target2: u64 = 360, "Cr3Target2", None, None;
    /// CR3 target3.
    cr3_target3: u64 = 368, "Cr3Target3", None, None;
    /// Page fault error code mask.
    pfec_mask: u32 = 376, "PfecMask", None, None;
    /// Page fault error code match.
    pfec_match: u32 = 380, "PfecMatch", None, None;
    /// CR3 targets that count.
    cr3_target_count: u32 = 384, "Cr3TargetCount", None, None;
    /// Exit MSR store count.
    exit_msr_store_count: u32 = 388, "ExitMsrStoreCount", None, None;
    /// Exit MSR load count.
    exit_msr_load_count: u32 = 392, "ExitMsrLoadCount", None, None;
    /// Entry MSR load count.
    entry_msr_load_count: u32 = 396, "EntryMsrLoadCount", None, None;
    /// TSC offset.
    tsc_offset: u64 = 400, "TscOffset", Some(0x2010), Some(ControlGrp2);
    /// Virtual apic page.
    virtual_apic_page: u64 = 408, "VirtualApicPage", Some(0x2012), Some(ControlGrp2);
    /// VMCS link pointer.
    guest_working_vmcs_ptr: u64 = 416, "GuestWorkingVmcsPtr", Some(0x2800), Some(GuestGrp1);
    /// IA32_DEBUGCTL of the guest.
    guest_ia32_debug_ctl: u64 = 424, "GuestIa32DebugCtl", Some(0x2802), Some(GuestGrp1);
    /// Guest PAT.
    guest_pat: u64 = 432, "GuestPat", Some(0x2804), Some(GuestGrp1);
    /// Guest EFER.
    guest_efer: u64 = 440, "GuestEfer", Some(0x2806), Some(GuestGrp1);
    /// Guest PDPTE 0.
    guest_pdpte0: u64 = 448, "GuestPdpte0", Some(0x280A), Some(GuestGrp1);
    /// Guest PDPTE 1.
    guest_pdpte1: u64 = 456, "GuestPdpte1", Some(0x280C), Some(GuestGrp1);
    /// Guest PDPTE 2.
    guest_pdpte2: u64 = 464, "GuestPdpte2", Some(0x280E), Some(GuestGrp1);
    /// Guest PDPTE 3.
    guest_pdpte3: u64 = 472, "GuestPdpte3", Some(0x2810), Some(GuestGrp1);
    /// Guest pending debug exceptions.
    guest_pending_debug_exceptions: u64 = 480, "GuestPendingDebugExceptions", Some(0x6822), Some(GuestGrp1);
    /// Guest sysenter ESP MSR.
    guest_sysenter_esp_msr: u64 = 488, "GuestSysenterEspMsr", Some(0x6824), Some(GuestGrp1);
    /// Guest sysenter EIP MSR.
    guest_sysenter_eip_msr: u64 = 496, "GuestSysenterEipMsr", Some(0x6826), Some(GuestGrp1);
    /// Guest sleep state.
    guest_sleep_state: u32 = 504, "GuestSleepState", Some(0x4826), Some(GuestGrp1);
    /// Guest sysenter CS MSR.
    guest_sysenter_cs_msr: u32 = 508, "GuestSysenterCsMsr", Some(0x482A), Some(GuestGrp1);
    /// CR0 guest host mask.
    cr0_guest_host_mask: u64 = 512, "Cr0GuestHostMask", Some(0x6000), Some(CrDr);
    /// CR4 guest host mask.
    cr4_guest_host_mask: u64 = 520, "Cr4GuestHostMask", Some(0x6002), Some(CrDr);
    /// CR0 read shadow.
    cr0_read_shadow: u64 = 528, "Cr0ReadShadow", Some(0x6004), Some(CrDr);
    /// CR4 read shadow.
    cr4_read_shadow: u64 = 536, "Cr4ReadShadow", Some(0x6006), Some(CrDr);
    /// Guest CR0.
    guest_cr0: u64 = 544, "GuestCr0", Some(0x6800), Some(CrDr);
    /// Guest CR3.
    guest_cr3: u64 = 552, "GuestCr3", Some(0x6802), Some(CrDr);
    /// Guest CR4.
    guest_cr4: u64 = 560, "GuestCr4", Some(0x6804), Some(CrDr);
    /// Guest DR7.
    guest_dr7: u64 = 568, "GuestDr7", Some(0x681A), Some(CrDr);
    /// Host FS base.
    host_fs_base: u64 = 576, "HostFsBase", Some(0x6C06), Some(HostPointer);
    /// Host GS base.
    host_gs_base: u64 = 584, "HostGsBase", Some(0x6C08), Some(HostPointer);
    /// Host TR base.
    host_tr_base: u64 = 592, "HostTrBase", Some(0x6C0A), Some(HostPointer);
    /// Host GDTR base.
    host_gdtr_base: u64 = 600, "HostGdtrBase", Some(0x6C0C), Some(HostPointer);
    /// Host IDTR base.
    host_idtr_base: u64 = 608, "HostIdtrBase", Some(0x6C0E), Some(HostPointer);
    /// Host RSP.
    host_rsp: u64 = 616, "HostRsp", Some(0x6C14), Some(HostPointer);
    /// EPT root.
    ept_root: u64 = 624, "EptRoot", Some(0x201A), Some(ControlXlat);
    /// VPID.
    vpid: u16 = 632, "Vpid", Some(0x0000), Some(ControlXlat);
    /// Zero.
    rsvd2: [u16; 3] = 634, "Rsvd2", None, None;
    /// Zero.
    rsvd3: [u64; 5] = 640, "Rsvd3", None, None;
    /// Exit EPT fault GPA.
    exit_ept_fault_gpa: u64 = 680, "ExitEptFaultGpa", Some(0x2400), None;
    /// Exit instruction error.
    exit_instruction_error: u32 = 688, "ExitInstructionError", Some(0x4400), None;
    /// Exit reason.
    exit_reason: u32 = 692, "ExitReason", Some(0x4402), None;
    /// Exit interruption info.
    exit_interruption_info: u32 = 696, "ExitInterruptionInfo", Some(0x4404), None;
    /// Exit exception error code.
    exit_exception_error_code: u32 = 700, "ExitExceptionErrorCode", Some(0x4406), None;
    /// Exit IDT vectoring info.
    exit_idt_vectoring_info: u32 = 704, "ExitIdtVectoringInfo", Some(0x4408), None;
    /// Exit IDT vectoring error code.
    exit_idt_vectoring_error_code: u32 = 708, "ExitIdtVectoringErrorCode", Some(0x440A), None;
    /// Exit instruction length.
    exit_instruction_length: u32 = 712, "ExitInstructionLength", Some(0x440C), None;
    /// Exit instruction info.
    exit_instruction_info: u32 = 716, "ExitInstructionInfo", Some(0x440E), None;
    /// Exit qualification.
    exit_qualification: u64 = 720, "ExitQualification", Some(0x6400), None;
    /// Exit I/O instruction ECX.
    exit_io_instruction_ecx: u64 = 728, "ExitIoInstructionEcx", Some(0x6402), None;
    /// Exit I/O instruction ESI.
    exit_io_instruction_esi: u64 = 736, "ExitIoInstructionEsi", Some(0x6404), None;
    /// Exit I/O instruction EDI.
    exit_io_instruction_edi: u64 = 744, "ExitIoInstructionEdi", Some(0x6406), None;
    /// Exit I/O instruction EIP.
    exit_io_instruction_eip: u64 = 752, "ExitIoInstructionEip", Some(0x6408), None;
    /// Guest linear address.
    guest_linear_address: u64 = 760, "GuestLinearAddress", Some(0x640A), None;
    /// Guest RSP.
    guest_rsp: u64 = 768, "GuestRsp", Some(0x681C), Some(GuestBasic);
    /// Guest RFLAGS.
    guest_rflags: u64 = 776, "GuestRflags", Some(0x6820), Some(GuestBasic);
    /// Guest interruptibility.
    guest_interruptibility: u32 = 784, "GuestInterruptibility", Some(0x4824), Some(GuestBasic);
    /// Processor controls.
    processor_controls: u32 = 788, "ProcessorControls", Some(0x4002), Some(ControlProc);
    /// Exception bitmap.
    exception_bitmap: u32 = 792, "ExceptionBitmap", Some(0x4004), Some(ControlExcpn);
    /// Entry controls.
    entry_controls: u32 = 796, "EntryControls", Some(0x4012), Some(ControlEntry);
    /// Entry interrupt info.
    entry_interrupt_info: u32 = 800, "EntryInterruptInfo", Some(0x4016), Some(ControlEvent);
    /// Entry exception error code.
    entry_exception_error_code: u32 = 804, "EntryExceptionErrorCode", Some(0x4018), Some(ControlEvent);
    /// Entry instruction length.
    entry_instruction_length: u32 = 808, "EntryInstructionLength", Some(0x401A), Some(ControlEvent);
    /// TPR threshold.
    tpr_threshold: u32 = 812, "TprThreshold", Some(0x401C), None;
    /// Guest RIP.
    guest_rip: u64 = 816, "GuestRip", Some(0x681E), None;
    /// Groups that have not changed since the last VM entry.
    clean_fields: CleanFields = 824, "CleanFields", None, None;
    /// Zero.
    rsvd4: u32 = 828, "Rsvd4", None, None;
    /// Synthetic controls.
    synthetic_controls: u32 = 832, "SyntheticControls", None, None;
    /// Enlightenments in use.
    enlightenments_control: EnlightenmentsControl = 836, "EnlightenmentsControl", None, Some(CleanGroup::EnlightenmentsControl);
    /// Identity of the VP, for direct flushes.
    vp_id: u32 = 840, "VpId", None, None;
    /// Zero: aligns the next field.
    pad2: [u8; 4] = 844, "", None, None;
    /// Identity of the virtual machine, for direct flushes.
    vm_id: u64 = 848, "VmId", None, None;
    /// GPA of the [`PartitionAssistPage`](super::PartitionAssistPage), in bytes.
    partition_assist_page: u64 = 856, "PartitionAssistPage", None, None;
    /// Zero.
    rsvd5: [u64; 4] = 864, "Rsvd5", None, None;
    /// Guest BNDCFGS.
    guest_bndcfgs: u64 = 896, "GuestBndcfgs", Some(0x2812), Some(GuestGrp1);
    /// Zero.
    rsvd6: [u64; 7] = 904, "Rsvd6", None, None;
    /// XSS exiting bitmap.
    xss_exiting_bitmap: u64 = 960, "XssExitingBitmap", Some(0x202C), Some(ControlGrp2);
    /// ENCLS exiting bitmap.
    encls_exiting_bitmap: u64 = 968, "EnclsExitingBitmap", Some(0x202E), Some(ControlGrp2);
    /// Zero.
    rsvd7: [u64; 6] = 976, "Rsvd7", None, None;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table has no gap, so no byte of the structure is left undescribed.
    #[test]
    fn fields_follow_each_other() {
        let end = EVMCS_FIELDS.iter().fold(0, |end, field| {
            assert_eq!(field.offset, end, "{}", field.name);
            end + field.size
        });
        assert_eq!(end, 1024);
    }
}

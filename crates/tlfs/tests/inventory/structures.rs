// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sizes of structures and payloads. Offsets are asserted where the structures are declared, when they are compiled.

use crate::table::{Row, Table, number, plain};
use std::collections::BTreeMap;
use tlfs::{
    HvStatus, address::*, extended::*, hypercall::*, intercept::*, interrupt::*, msr::*, nested::*,
    partition::*, privilege::*, register::*, synic::*, timer::*, tlb::*, vp::*, vsm::*,
};

macro_rules! sizes {
    ($($name:literal: $Type:ty,)+) => {
        BTreeMap::from([$( ($name, size_of::<$Type>() as u64), )+])
    };
}

#[test]
fn structures() {
    let mut declared = sizes! {
        "HV_STATUS": HvStatus,
        "Hypercall input value": InputValue,
        "Hypercall result value": ResultValue,
        "Guest OS ID (proprietary)": GuestOsId,
        "Guest OS ID (open source)": OpenSourceGuestOsId,
        "Hypercall MSR contents": Hypercall,
        "Extended hypercall capabilities": ExtendedCapabilities,
        "HV_PARTITION_ID": PartitionId,
        "HV_PARTITION_PRIVILEGE_MASK": PrivilegeMask,
        "_HV_CRASH_CTL_REG_CONTENTS": CrashCtl,
        "HV_VP_INDEX": VpIndex,
        "HV_REGISTER_NAME": RegisterName,
        "HV_REGISTER_VALUE": RegisterValue,
        "HV_EXPLICIT_SUSPEND_REGISTER": ExplicitSuspendRegister,
        "HV_INTERCEPT_SUSPEND_REGISTER": InterceptSuspendRegister,
        "HV_X64_PENDING_EXCEPTION_EVENT": PendingExceptionEvent,
        "HV_X64_MSR_SYNMC_STATUS_CONTENTS": SynmcStatus,
        "HV_SYNMC_X64_EVENT": SynmcX64Event,
        "VP assist page MSR": OverlayPage,
        "HV_VIRTUAL_APIC_ASSIST": ApicAssist,
        "HV_VP_ASSIST_PAGE": VpAssistPage,
        "HV_NESTED_ENLIGHTENMENTS_CONTROL": NestedEnlightenmentsControl,
        "HV_VIRTUALIZATION_FAULT_INFORMATION": VirtualizationFaultInformation,
        "HV_VP_SET": VpSet,
        "HV_X64_INTERRUPT_STATE_REGISTER": InterruptStateRegister,
        "HV_X64_PENDING_INTERRUPTION_REGISTER": PendingInterruptionRegister,
        "HV_X64_FP_REGISTER": FpRegister,
        "HV_X64_FP_CONTROL_STATUS_REGISTER": FpControlStatusRegister,
        "HV_X64_XMM_CONTROL_STATUS_REGISTER": XmmControlStatusRegister,
        "HV_X64_SEGMENT_REGISTER": SegmentRegister,
        "HV_X64_TABLE_REGISTER": TableRegister,
        "HV_INITIAL_VP_CONTEXT": InitialVpContext,
        "HV_X64_MSR_NPIEP_CONFIG_CONTENTS": NpiepConfig,
        "HV_FLUSH_FLAGS": FlushFlags,
        "HV_CACHE_TYPE": CacheType,
        "HV_TRANSLATE_GVA_CONTROL_FLAGS": TranslateGvaControlFlags,
        "HV_TRANSLATE_GVA_RESULT_CODE": TranslateGvaResultCode,
        "HV_TRANSLATE_GVA_RESULT": TranslateGvaResult,
        "Local APIC MSR formats (EOI, ICR, TPR)": Icr,
        "HV_INTERRUPT_TYPE": InterruptType,
        "HV_INTERRUPT_CONTROL": InterruptControl,
        "HV_INTERRUPT_VECTOR": InterruptVector,
        "HV_MSI_ENTRY": MsiEntry,
        "HV_INTERRUPT_SOURCE": InterruptSource,
        "HV_INTERRUPT_ENTRY": InterruptEntry,
        "HV_DEVICE_INTERRUPT_TARGET": DeviceInterruptTarget,
        "SCONTROL": Scontrol,
        "SIEFP / SIMP": OverlayPage,
        "SINTx": Sint,
        "SIEF page": EventFlagsPage,
        "SIM page": MessagePage,
        "HV_MESSAGE_TYPE": MessageType,
        "HV_MESSAGE_FLAGS": MessageFlags,
        "HV_MESSAGE_HEADER": MessageHeader,
        "HV_MESSAGE": Message,
        "HV_SYNIC_EVENT_FLAGS": EventFlags,
        "HV_PORT_ID": PortId,
        "HV_PORT_TYPE": PortType,
        "HV_PORT_INFO": PortInfo,
        "HV_CONNECTION_ID": ConnectionId,
        "HV_MONITOR_TRIGGER_GROUP": MonitorTriggerGroup,
        "HV_MONITOR_PARAMETER": MonitorParameter,
        "HV_MONITOR_TRIGGER_STATE": MonitorTriggerState,
        "HV_MONITOR_PAGE": MonitorPage,
        "STIMERx_CONFIG": StimerConfig,
        "STIME_UNHALTED_TIMER_CONFIG": StimeUnhaltedTimerConfig,
        "HV_REFERENCE_TSC_PAGE": ReferenceTscPage,
        "Reference TSC MSR": OverlayPage,
        "HV_X64_INTERCEPT_MESSAGE_HEADER": InterceptMessageHeader,
        "HV_INTERCEPT_ACCESS_TYPE_MASK": AccessTypeMask,
        "HV_X64_VP_EXECUTION_STATE": VpExecutionState,
        "HV_X64_IO_PORT_ACCESS_INFO": IoPortAccessInfo,
        "HV_X64_EXCEPTION_INFO": ExceptionInfo,
        "HV_X64_MEMORY_ACCESS_INFO": MemoryAccessInfo,
        "HV_TIMER_MESSAGE_PAYLOAD": TimerMessagePayload,
        "HV_INPUT_NOTIFY_LONG_SPINWAIT": NotifyLongSpinWaitInput,
        "HV_VTL": Vtl,
        "HV_INPUT_VTL": InputVtl,
        "VSM capabilities register": VsmCapabilities,
        "HV_REGISTER_VSM_PARTITION_STATUS": VsmPartitionStatus,
        "HV_REGISTER_VSM_VP_STATUS": VsmVpStatus,
        "HV_REGISTER_VSM_PARTITION_CONFIG": VsmPartitionConfig,
        "HV_REGISTER_VSM_VP_SECURE_VTL_CONFIG": VsmVpSecureVtlConfig,
        "VTL call/return control": VtlReturnControl,
        "HV_VTL_ENTRY_REASON": VtlEntryReason,
        "HV_REGISTER_VSM_CODE_PAGE_OFFSETS": VsmCodePageOffsets,
        "HV_VP_VTL_CONTROL": VpVtlControl,
        "HV_REGISTER_VSM_VINA": VsmVina,
        "HV_REGISTER_CR_INTERCEPT_CONTROL": CrInterceptControl,
        "HV_ENABLE_PARTITION_VTL_FLAGS": EnablePartitionVtlFlags,
        "HV_REENLIGHTENMENT_CONTROL": ReenlightenmentControl,
        "HV_TSC_EMULATION_CONTROL": TscEmulationControl,
        "HV_TSC_EMULATION_STATUS": TscEmulationStatus,
        "VM_PARTITION_ASSIST_PAGE": PartitionAssistPage,
        "HV_GPA_PAGE_RANGE": GpaPageRange,
        "HV_VMX_ENLIGHTENED_CLEAN_FIELD_*": CleanFields,
        "HV_MAP_GPA_FLAGS": MapGpaFlags,
    };
    // The part of the page that is defined.
    declared.insert("HV_VMX_ENLIGHTENED_VMCS", core::mem::offset_of!(EnlightenedVmcs, unused) as u64);
    // What TLFS 6.0 prints; hosts in use append to these two.
    declared.insert("HV_CONNECTION_INFO", core::mem::offset_of!(ConnectionInfo, doorbell) as u64);
    declared
        .insert("HV_TRANSLATE_GVA_RESULT_EX", core::mem::offset_of!(TranslateGvaResultEx, reserved) as u64);
    // Numbers that stand inside a wider field here: the set's format in 8 bytes, the interruption's type in 3 bits.
    let inside = ["HV_GENERIC_SET_FORMAT", "HV_X64_PENDING_INTERRUPTION_TYPE"];

    let table = Table::read("structures.tsv");
    for row in table.rows() {
        let (name, kind) = (row.get("name"), row.get("kind"));
        match declared.remove(name) {
            Some(size) => assert_eq!(Some(size), row.number("size_bytes"), "{name}"),
            // Plain integers are plain integers here too; constants have a test of their own.
            None => assert!(
                matches!(kind, "scalars" | "scalar typedef" | "constant") || inside.contains(&name),
                "no structure for {name}"
            ),
        }
    }
    assert!(declared.is_empty(), "no row for {declared:?}");
}

/// Members that this crate names otherwise, or splits, or that stand for a nested structure.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("HV_INITIAL_VP_CONTEXT", "vp_context"),
    ("HV_VP_SET", "processor_set"),
    ("HV_TRANSLATE_GVA_RESULT_EX", "translation_result"),
    ("TargetPartitionId", "partition_id"),
    ("BuffersPages", "buffer_size_in_pages"),
    ("Message", "payload"),
    ("BaseIrtIdx", "base_irt_index"),
    ("InterruptDescriptor", "interrupt_type"),
    ("input", "event_input"),
    ("Type", "page_type"),
    ("DeviceDomain", "partition_id"),
    ("Value", "property_value"),
];

/// Compares the members in a cell with a layout; returns how many were found.
fn compare_members(row: &Row<'_>, column: &str, layout: Option<&tlfs::Layout>) -> usize {
    let mut found = 0;
    for member in row.get(column).split_whitespace() {
        let (name, offset) = member.split_once('@').expect("Name@offset");
        let offset = number(offset).expect("an offset") as usize;
        if ["pad", "Rsvd", "Reserved", "reserved"].iter().any(|reserved| name.starts_with(reserved)) {
            continue;
        }
        // An output that is a list only, without a structure.
        if name == "GpaPageNumbers" {
            continue;
        }
        let layout = layout.unwrap_or_else(|| panic!("{}: no {column}, but {member}", row.get("name")));
        let declared = layout.members.iter().find(|declared| declared.offset == offset);
        let declared = declared.unwrap_or_else(|| panic!("{}: no {member} in {layout:?}", row.get("name")));
        assert!(
            plain(declared.name) == plain(name) || OTHER_NAMES.contains(&(name, declared.name)),
            "{}: {member} is {declared:?}",
            row.get("name")
        );
        found += 1;
    }
    found
}

#[test]
fn call_parameters() {
    let mut found = 0;
    for row in Table::read("hypercalls.tsv").rows() {
        let Some(code) = row.number("code") else { continue };
        let Some(call) = parameters(CallCode(code as u16)) else { continue };
        found += compare_members(&row, "input", call.input);
        found += compare_members(&row, "output", call.output);
    }
    assert!(found > 200, "only {found} members compared: is the extract complete?");
}

#[test]
fn message_payloads() {
    let mut declared = sizes! {
        "HvMessageTypeUnmappedGpa": MemoryInterceptMessage,
        "HvMessageTypeGpaIntercept": MemoryInterceptMessage,
        "HvMessageTimerExpired": TimerMessagePayload,
        "HvMessageTypeInvalidVpRegisterValue": VpMessage,
        "HvMessageTypeUnrecoverableException": UnrecoverableExceptionMessage,
        "HvMessageTypeUnsupportedFeature": UnsupportedFeatureMessage,
        "HvMessageTypeEventLogBuffersComplete": EventLogBuffersCompleteMessage,
        "HvMessageTypeHypercallIntercept": HypercallInterceptMessage,
        "HvMessageTypeX64IoPortIntercept": IoPortInterceptMessage,
        "HvMessageTypeMsrIntercept": MsrInterceptMessage,
        "HvMessageTypeX64CpuidIntercept": CpuidInterceptMessage,
        "HvMessageTypeExceptionIntercept": ExceptionInterceptMessage,
        "HvMessageTypeX64ApicEoi": ApicEoiMessage,
        "HvMessageTypeX64LegacyFpError": VpMessage,
        "HvMessageTypeRegisterIntercept": RegisterInterceptMessage,
    };
    declared.insert("HvMessageTypeNone", 0);
    declared.insert("guest-defined", MESSAGE_MAX_PAYLOAD_BYTE_COUNT as u64);
    let table = Table::read("messages.tsv");
    for row in table.rows() {
        let name = row.get("name");
        if let Some(size) = row.number("payload_size") {
            assert_eq!(declared.remove(name), Some(size), "{name}");
        }
    }
    assert!(declared.is_empty(), "no row for {declared:?}");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which structures each call takes and returns. A call has a row if its layout is known.

use super::CallCode;
use crate::Layout;
use crate::address::GpaPageRange;
use crate::extended::{BootZeroedMemoryOutput, MemoryHeatHintInput, QueryCapabilitiesOutput};
use crate::interrupt::*;
use crate::nested::FlushGuestPhysicalAddressInput;
use crate::register::{RegisterName, RegisterValue};
use crate::root::*;
use crate::synic::{PostMessageInput, SignalEventInput};
use crate::timer::NotifyLongSpinWaitInput;
use crate::tlb::*;
use crate::vp::*;
use crate::vsm::*;

/// The parameters of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The call.
    pub code: CallCode,
    /// Input without its variable header and list.
    pub input: Option<&'static Layout>,
    /// Bytes of an element of the input list; 0 without a list.
    pub input_element: usize,
    /// Output without its list.
    pub output: Option<&'static Layout>,
    /// Bytes of an element of the output list; 0 without a list.
    pub output_element: usize,
}

/// The parameters of the call with this code, if they are known.
pub fn parameters(code: CallCode) -> Option<&'static Parameters> {
    PARAMETERS.binary_search_by_key(&code, |call| call.code).ok().map(|index| &PARAMETERS[index])
}

macro_rules! parameters {
    (@layout -) => { None };
    (@layout $Type:ident) => { Some(&$Type::LAYOUT) };
    (@size -) => { 0 };
    (@size $Type:ident) => { size_of::<$Type>() };
    ($( $CALL:ident: $input:tt, $input_element:tt => $output:tt, $output_element:tt; )+) => {
        /// Every call whose parameters are known, by code.
        pub const PARAMETERS: &[Parameters] = &[$( Parameters {
            code: CallCode::$CALL,
            input: parameters!(@layout $input),
            input_element: parameters!(@size $input_element),
            output: parameters!(@layout $output),
            output_element: parameters!(@size $output_element),
        }, )+];
    };
}

parameters! {
    SWITCH_VIRTUAL_ADDRESS_SPACE: SwitchVirtualAddressSpaceInput, - => -, -;
    FLUSH_VIRTUAL_ADDRESS_SPACE: FlushVirtualAddressInput, - => -, -;
    FLUSH_VIRTUAL_ADDRESS_LIST: FlushVirtualAddressInput, GvaRange => -, -;
    GET_LOGICAL_PROCESSOR_RUN_TIME: GetLogicalProcessorRunTimeInput, - => GetLogicalProcessorRunTimeOutput, -;
    NOTIFY_LONG_SPIN_WAIT: NotifyLongSpinWaitInput, - => -, -;
    PARKED_VIRTUAL_PROCESSORS: ParkedVirtualProcessorsInput, - => -, -;
    SEND_SYNTHETIC_CLUSTER_IPI: SendSyntheticClusterIpiInput, - => -, -;
    MODIFY_VTL_PROTECTION_MASK: ModifyVtlProtectionMaskInput, u64 => -, -;
    ENABLE_PARTITION_VTL: EnablePartitionVtlInput, - => -, -;
    DISABLE_PARTITION_VTL: DisablePartitionVtlInput, - => -, -;
    ENABLE_VP_VTL: StartVirtualProcessorInput, - => -, -;
    DISABLE_VP_VTL: DisableVpVtlInput, - => -, -;
    FLUSH_VIRTUAL_ADDRESS_SPACE_EX: FlushVirtualAddressExInput, - => -, -;
    FLUSH_VIRTUAL_ADDRESS_LIST_EX: FlushVirtualAddressExInput, GvaRange => -, -;
    SEND_SYNTHETIC_CLUSTER_IPI_EX: SendSyntheticClusterIpiExInput, - => -, -;
    CREATE_PARTITION: CreatePartitionInput, - => CreatePartitionOutput, -;
    INITIALIZE_PARTITION: PartitionInput, - => -, -;
    FINALIZE_PARTITION: PartitionInput, - => -, -;
    DELETE_PARTITION: PartitionInput, - => -, -;
    GET_PARTITION_PROPERTY: GetPartitionPropertyInput, - => GetPropertyOutput, -;
    SET_PARTITION_PROPERTY: SetPartitionPropertyInput, - => -, -;
    GET_PARTITION_ID: -, - => PartitionInput, -;
    GET_NEXT_CHILD_PARTITION: GetNextChildPartitionInput, - => GetNextChildPartitionOutput, -;
    DEPOSIT_MEMORY: PartitionInput, u64 => -, -;
    WITHDRAW_MEMORY: MemoryPoolInput, - => -, u64;
    GET_MEMORY_BALANCE: MemoryPoolInput, - => GetMemoryBalanceOutput, -;
    MAP_GPA_PAGES: MapGpaPagesInput, u64 => -, -;
    UNMAP_GPA_PAGES: UnmapGpaPagesInput, - => -, -;
    INSTALL_INTERCEPT: InstallInterceptInput, - => -, -;
    CREATE_VP: CreateVpInput, - => -, -;
    DELETE_VP: DeleteVpInput, - => -, -;
    GET_VP_REGISTERS: VpRegistersInput, RegisterName => -, RegisterValue;
    SET_VP_REGISTERS: VpRegistersInput, RegisterAssociation => -, -;
    TRANSLATE_VIRTUAL_ADDRESS: TranslateVirtualAddressInput, - => TranslateVirtualAddressOutput, -;
    READ_GPA: ReadGpaInput, - => ReadGpaOutput, -;
    WRITE_GPA: WriteGpaInput, - => WriteGpaOutput, -;
    CLEAR_VIRTUAL_INTERRUPT: PartitionInput, - => -, -;
    DELETE_PORT: DeletePortInput, - => -, -;
    CONNECT_PORT_OLD: ConnectPortOldInput, - => -, -;
    GET_PORT_PROPERTY: GetPortPropertyInput, - => GetPropertyOutput, -;
    DISCONNECT_PORT: DisconnectPortInput, - => -, -;
    POST_MESSAGE: PostMessageInput, - => -, -;
    SIGNAL_EVENT: SignalEventInput, - => -, -;
    SAVE_PARTITION_STATE: SavePartitionStateInput, - => SavePartitionStateOutput, -;
    RESTORE_PARTITION_STATE: RestorePartitionStateInput, - => RestorePartitionStateOutput, -;
    INITIALIZE_EVENT_LOG_BUFFER_GROUP: InitializeEventLogBufferGroupInput, - => -, -;
    FINALIZE_EVENT_LOG_BUFFER_GROUP: EventLogTypeInput, - => -, -;
    CREATE_EVENT_LOG_BUFFER: CreateEventLogBufferInput, - => -, -;
    DELETE_EVENT_LOG_BUFFER: EventLogBufferInput, - => -, -;
    MAP_EVENT_LOG_BUFFER: EventLogBufferInput, - => -, u64;
    UNMAP_EVENT_LOG_BUFFER: EventLogBufferInput, - => -, -;
    SET_EVENT_LOG_GROUP_SOURCES: SetEventLogGroupSourcesInput, - => -, -;
    RELEASE_EVENT_LOG_BUFFER: EventLogBufferInput, - => -, -;
    FLUSH_EVENT_LOG_BUFFER: EventLogBufferInput, - => -, -;
    POST_DEBUG_DATA: PostDebugDataInput, - => PostDebugDataOutput, -;
    RETRIEVE_DEBUG_DATA: RetrieveDebugDataInput, - => RetrieveDebugDataOutput, -;
    RESET_DEBUG_SESSION: ResetDebugSessionInput, - => -, -;
    MAP_STATS_PAGE: MapStatsPageInput, - => -, -;
    UNMAP_STATS_PAGE: UnmapStatsPageInput, - => -, -;
    MAP_SPARSE_GPA_PAGES: SparseGpaPagesInput, SparseGpaPage => -, -;
    SET_SYSTEM_PROPERTY: SetSystemPropertyInput, - => -, -;
    SET_PORT_PROPERTY: SetPortPropertyInput, - => -, -;
    ADD_LOGICAL_PROCESSOR: AddLogicalProcessorInput, - => AddLogicalProcessorOutput, -;
    GET_SYSTEM_PROPERTY: GetSystemPropertyInput, - => GetPropertyOutput, -;
    MAP_DEVICE_INTERRUPT: MapDeviceInterruptInput, - => MapDeviceInterruptOutput, -;
    UNMAP_DEVICE_INTERRUPT: UnmapDeviceInterruptInput, - => -, -;
    RETARGET_DEVICE_INTERRUPT: RetargetDeviceInterruptInput, - => -, -;
    NOTIFY_PARTITION_EVENT: NotifyPartitionEventInput, - => -, -;
    NOTIFY_RING_EMPTY: NotifyRingEmptyInput, - => -, -;
    MODIFY_SPARSE_GPA_PAGES: SparseGpaPagesInput, u64 => -, -;
    REGISTER_INTERCEPT_RESULT: RegisterInterceptResultInput, - => -, -;
    UNREGISTER_INTERCEPT_RESULT: UnregisterInterceptResultInput, - => -, -;
    ASSERT_VIRTUAL_INTERRUPT: AssertVirtualInterruptInput, - => -, -;
    CREATE_PORT: CreatePortInput, - => -, -;
    CONNECT_PORT: ConnectPortInput, - => -, -;
    START_VIRTUAL_PROCESSOR: StartVirtualProcessorInput, - => -, -;
    GET_VP_INDEX_FROM_APIC_ID: GetVpIndexFromApicIdInput, u32 => -, VpIndex;
    TRANSLATE_VIRTUAL_ADDRESS_EX: TranslateVirtualAddressInput, - => TranslateVirtualAddressExOutput, -;
    FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE: FlushGuestPhysicalAddressInput, - => -, -;
    FLUSH_GUEST_PHYSICAL_ADDRESS_LIST: FlushGuestPhysicalAddressInput, GpaPageRange => -, -;
    ATTACH_DEVICE_DOMAIN: AttachDeviceDomainInput, - => -, -;
    DISPATCH_VP: DispatchVpInput, - => DispatchVpOutput, -;
    CHECK_SPARSE_GPA_PAGE_VTL_ACCESS: CheckSparseGpaPageVtlAccessInput, u64 => -, VtlAccessResult;
    MAP_VP_STATE_PAGE: MapVpStatePageInput, - => MapVpStatePageOutput, -;
    EXT_QUERY_CAPABILITIES: -, - => QueryCapabilitiesOutput, -;
    EXT_GET_BOOT_ZEROED_MEMORY: -, - => BootZeroedMemoryOutput, -;
    EXT_MEMORY_HEAT_HINT: MemoryHeatHintInput, GpaPageRange => -, -;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::{CALLS, CallClass, LayoutBasis};

    /// A row for every call whose layout is known, and for no other; and a list where the class says so.
    #[test]
    fn rows_agree_with_the_calls() {
        assert!(PARAMETERS.is_sorted_by_key(|call| call.code));
        for call in CALLS {
            let known = call.layout != LayoutBasis::Unknown && call.class != CallClass::CodePage;
            let row = parameters(call.code);
            assert_eq!(row.is_some(), known, "{}", call.name);
            let Some(row) = row else { continue };
            let has_list = row.input_element != 0 || row.output_element != 0;
            // The first repeats without a list, the second returns a list without repeating.
            if ![CallCode::UNMAP_GPA_PAGES, CallCode::MAP_EVENT_LOG_BUFFER].contains(&call.code) {
                assert_eq!(
                    has_list,
                    matches!(call.class, CallClass::Rep | CallClass::RepVariable),
                    "{}",
                    call.name
                );
            }
        }
    }
}

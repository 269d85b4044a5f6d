// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every hypercall that has a name (TLFS Appendix A), and what is fixed about it.

use crate::declare::open_enum;
use crate::privilege::{Privilege, PrivilegeMask};

/// Shape of a call (TLFS 3.2, 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallClass {
    /// One operation.
    Simple,
    /// One operation whose input ends in a variable header.
    SimpleVariable,
    /// One operation for each element of a list.
    Rep,
    /// As `Rep`, with a variable header before the list.
    RepVariable,
    /// Entered through its own place in the hypercall page, without parameters or status.
    CodePage,
    /// Nobody has published it.
    Unpublished,
}

/// Whose call it is, beside the privileges it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whoever holds the privileges.
    Any,
    /// The caller's own partition if it holds the privileges, or a child of the caller without them.
    SelfOrParent,
    /// The parent of the partition the call names.
    Parent,
    /// The parent of the partition the call names, or the root.
    ParentOrRoot,
    /// The parent of the partition the call names, or a higher VTL of the same partition.
    ParentOrHigherVtl,
    /// The root partition.
    Root,
}

/// How the layout of a call's parameters is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutBasis {
    /// From TLFS 6.0.
    Specification,
    /// From TLFS 2.0, later public documentation or the public sources of guests.
    Public,
    /// Guessed from the shape of a sister call.
    Inferred,
    /// Not known: the call cannot be served.
    Unknown,
}

/// What is fixed about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallInfo {
    /// The call's code.
    pub code: CallCode,
    /// Name in the specification.
    pub name: &'static str,
    /// Shape.
    pub class: CallClass,
    /// Whose call it is.
    pub caller: Caller,
    /// Every privilege of this mask is needed, with the exception that [`Caller::SelfOrParent`] makes.
    pub privileges: PrivilegeMask,
    /// How the layout is known.
    pub layout: LayoutBasis,
    /// What it does, in a sentence, with the section that says so.
    pub about: &'static str,
}

/// The facts about the call with this code, if it has a name.
pub fn info(code: CallCode) -> Option<&'static CallInfo> {
    CALLS.binary_search_by_key(&code, |call| call.code).ok().map(|index| &CALLS[index])
}

macro_rules! calls {
    ($(
        $(#[doc = $doc:literal])+
        $CALL:ident = $code:literal, $name:literal, $class:ident, $caller:ident, [$($privilege:ident),*], $layout:ident;
    )+) => {
        open_enum! {
            /// Hypercall code, bits 15:0 of the input value (TLFS 3.7, Appendix A).
            pub struct CallCode(u16);
            $( $(#[doc = $doc])+ $CALL = $code, $name; )+
        }

        /// Every call that has a name, by code.
        pub const CALLS: &[CallInfo] = &[$( CallInfo {
            code: CallCode::$CALL,
            name: $name,
            class: CallClass::$class,
            caller: Caller::$caller,
            privileges: PrivilegeMask::of(&[$( Privilege::$privilege ),*]),
            layout: LayoutBasis::$layout,
            about: concat!($($doc),+).trim_ascii(),
        }, )+];
    };
}

calls! {
    /// Makes another address space current on this VP (TLFS 9.4.1).
    SWITCH_VIRTUAL_ADDRESS_SPACE = 0x0001, "HvCallSwitchVirtualAddressSpace", Simple, Any, [], Specification;
    /// Flushes the TLB of up to 64 VPs (TLFS 9.4.2).
    FLUSH_VIRTUAL_ADDRESS_SPACE = 0x0002, "HvCallFlushVirtualAddressSpace", Simple, Any, [], Specification;
    /// Flushes pages of an address space on up to 64 VPs (TLFS 9.4.4).
    FLUSH_VIRTUAL_ADDRESS_LIST = 0x0003, "HvCallFlushVirtualAddressList", Rep, Any, [], Specification;
    /// Tells how long a logical processor has run what (TLFS 4.2.2).
    GET_LOGICAL_PROCESSOR_RUN_TIME = 0x0004, "HvCallGetLogicalProcessorRunTime", Simple, Any, [CpuManagement], Public;
    /// Says that this VP has been spinning for long (TLFS 14.5.1).
    NOTIFY_LONG_SPIN_WAIT = 0x0008, "HvCallNotifyLongSpinWait", Simple, Any, [], Specification;
    /// Hints which processors are parked (TLFS 4.2.2).
    PARKED_VIRTUAL_PROCESSORS = 0x0009, "HvCallParkedVirtualProcessors", Simple, Any, [CpuManagement], Public;
    /// Sends a fixed interrupt to up to 64 VPs (TLFS 10.5.2).
    SEND_SYNTHETIC_CLUSTER_IPI = 0x000B, "HvCallSendSyntheticClusterIpi", Simple, Any, [], Specification;
    /// Restricts what a lower VTL may do with pages (TLFS 15.15.2).
    MODIFY_VTL_PROTECTION_MASK = 0x000C, "HvCallModifyVtlProtectionMask", Rep, Any, [AccessVSM], Specification;
    /// Enables a VTL for a partition (TLFS 15.15.3).
    ENABLE_PARTITION_VTL = 0x000D, "HvCallEnablePartitionVtl", Simple, Any, [AccessVSM, AccessVpRegisters, AccessSynicRegs], Specification;
    /// Disables a VTL of a partition (TLFS Appendix A).
    DISABLE_PARTITION_VTL = 0x000E, "HvCallDisablePartitionVtl", Simple, Any, [AccessVSM], Inferred;
    /// Enables a VTL on a VP and gives its first state (TLFS 15.15.4).
    ENABLE_VP_VTL = 0x000F, "HvCallEnableVpVtl", Simple, Any, [AccessVSM], Specification;
    /// Disables a VTL on a VP (TLFS Appendix A).
    DISABLE_VP_VTL = 0x0010, "HvCallDisableVpVtl", Simple, Any, [AccessVSM], Inferred;
    /// Enters the next higher VTL (TLFS 15.15.5).
    VTL_CALL = 0x0011, "HvCallVtlCall", CodePage, Any, [AccessVSM], Specification;
    /// Returns to the lower VTL (TLFS 15.15.6).
    VTL_RETURN = 0x0012, "HvCallVtlReturn", CodePage, Any, [AccessVSM], Specification;
    /// Flushes the TLB of a VP set (TLFS 9.4.3).
    FLUSH_VIRTUAL_ADDRESS_SPACE_EX = 0x0013, "HvCallFlushVirtualAddressSpaceEx", SimpleVariable, Any, [], Specification;
    /// Flushes pages of an address space on a VP set (TLFS 9.4.5).
    FLUSH_VIRTUAL_ADDRESS_LIST_EX = 0x0014, "HvCallFlushVirtualAddressListEx", RepVariable, Any, [], Specification;
    /// Sends a fixed interrupt to a VP set (TLFS 10.5.3).
    SEND_SYNTHETIC_CLUSTER_IPI_EX = 0x0015, "HvCallSendSyntheticClusterIpiEx", SimpleVariable, Any, [], Specification;
    /// Creates a child partition (TLFS 4.2.2).
    CREATE_PARTITION = 0x0040, "HvCallCreatePartition", Simple, Any, [CreatePartitions], Public;
    /// Ends the setup of a child and makes it active (TLFS Appendix A).
    INITIALIZE_PARTITION = 0x0041, "HvCallInitializePartition", Simple, Parent, [CreatePartitions], Public;
    /// Removes VPs, ports and connections of a child (TLFS Appendix A).
    FINALIZE_PARTITION = 0x0042, "HvCallFinalizePartition", Simple, Parent, [CreatePartitions], Public;
    /// Deletes a finalized child (TLFS Appendix A).
    DELETE_PARTITION = 0x0043, "HvCallDeletePartition", Simple, Parent, [CreatePartitions], Public;
    /// Reads a property of a partition (TLFS Appendix A).
    GET_PARTITION_PROPERTY = 0x0044, "HvCallGetPartitionProperty", Simple, ParentOrRoot, [], Public;
    /// Changes a property of a partition (TLFS Appendix A).
    SET_PARTITION_PROPERTY = 0x0045, "HvCallSetPartitionProperty", Simple, ParentOrRoot, [], Public;
    /// Tells the caller its partition id (TLFS 4.2.2).
    GET_PARTITION_ID = 0x0046, "HvCallGetPartitionId", Simple, Any, [AccessPartitionId], Public;
    /// Enumerates children (TLFS Appendix A).
    GET_NEXT_CHILD_PARTITION = 0x0047, "HvCallGetNextChildPartition", Simple, Parent, [], Public;
    /// Puts pages into a memory pool (TLFS 4.2.2).
    DEPOSIT_MEMORY = 0x0048, "HvCallDepositMemory", Rep, ParentOrRoot, [AccessMemoryPool], Public;
    /// Takes pages out of a memory pool (TLFS 4.2.2).
    WITHDRAW_MEMORY = 0x0049, "HvCallWithdrawMemory", Rep, ParentOrRoot, [AccessMemoryPool], Public;
    /// Tells the pages of a memory pool (TLFS 4.2.2).
    GET_MEMORY_BALANCE = 0x004A, "HvCallGetMemoryBalance", Simple, ParentOrRoot, [AccessMemoryPool], Public;
    /// Maps pages of the caller into a child (TLFS Appendix A).
    MAP_GPA_PAGES = 0x004B, "HvCallMapGpaPages", Rep, ParentOrRoot, [], Public;
    /// Unmaps pages of a child (TLFS Appendix A).
    UNMAP_GPA_PAGES = 0x004C, "HvCallUnmapGpaPages", Rep, Parent, [], Public;
    /// Intercepts an event of a child (TLFS 6.1).
    INSTALL_INTERCEPT = 0x004D, "HvCallInstallIntercept", Simple, ParentOrHigherVtl, [], Public;
    /// Creates a VP (TLFS Appendix A).
    CREATE_VP = 0x004E, "HvCallCreateVp", Simple, Parent, [], Public;
    /// Deletes a VP (TLFS Appendix A).
    DELETE_VP = 0x004F, "HvCallDeleteVp", Simple, Parent, [], Public;
    /// Reads registers of a VP (TLFS 7.10.2).
    GET_VP_REGISTERS = 0x0050, "HvCallGetVpRegisters", Rep, SelfOrParent, [AccessVpRegisters], Specification;
    /// Changes registers of a VP (TLFS 7.10.1).
    SET_VP_REGISTERS = 0x0051, "HvCallSetVpRegisters", Rep, SelfOrParent, [AccessVpRegisters], Specification;
    /// Translates a virtual address of a VP (TLFS 9.4.6).
    TRANSLATE_VIRTUAL_ADDRESS = 0x0052, "HvCallTranslateVirtualAddress", Simple, ParentOrHigherVtl, [], Specification;
    /// Reads 1 to 16 bytes of guest memory (TLFS Appendix A).
    READ_GPA = 0x0053, "HvCallReadGpa", Simple, Parent, [], Public;
    /// Writes 1 to 16 bytes of guest memory (TLFS Appendix A).
    WRITE_GPA = 0x0054, "HvCallWriteGpa", Simple, Parent, [], Public;
    /// Withdraws an acknowledged external interrupt (TLFS 10.3.2).
    CLEAR_VIRTUAL_INTERRUPT = 0x0056, "HvCallClearVirtualInterrupt", Simple, Parent, [], Public;
    /// Deletes a port (TLFS Appendix A).
    DELETE_PORT = 0x0058, "HvCallDeletePort", Simple, ParentOrRoot, [], Public;
    /// Connects to a port; the form before VTLs (TLFS 4.2.2).
    CONNECT_PORT_OLD = 0x0059, "HvCallConnectPort (old)", Simple, ParentOrRoot, [ConnectPort], Public;
    /// Reads a property of a port (TLFS Appendix A).
    GET_PORT_PROPERTY = 0x005A, "HvCallGetPortProperty", Simple, ParentOrRoot, [], Public;
    /// Deletes a connection (TLFS Appendix A).
    DISCONNECT_PORT = 0x005B, "HvCallDisconnectPort", Simple, ParentOrRoot, [], Public;
    /// Sends a message to a connection (TLFS 11.11.1).
    POST_MESSAGE = 0x005C, "HvCallPostMessage", Simple, Any, [PostMessages], Specification;
    /// Sets an event flag through a connection (TLFS 11.11.2).
    SIGNAL_EVENT = 0x005D, "HvCallSignalEvent", Simple, Any, [SignalEvents], Specification;
    /// Saves a partition piece by piece (TLFS Appendix A).
    SAVE_PARTITION_STATE = 0x005E, "HvCallSavePartitionState", Simple, Parent, [], Public;
    /// Restores a partition piece by piece (TLFS Appendix A).
    RESTORE_PARTITION_STATE = 0x005F, "HvCallRestorePartitionState", Simple, Parent, [CreatePartitions], Public;
    /// Sets up a group of event log buffers (TLFS Appendix A).
    INITIALIZE_EVENT_LOG_BUFFER_GROUP = 0x0060, "HvCallInitializeEventLogBufferGroup", Simple, Root, [], Public;
    /// Takes down a group of event log buffers (TLFS Appendix A).
    FINALIZE_EVENT_LOG_BUFFER_GROUP = 0x0061, "HvCallFinalizeEventLogBufferGroup", Simple, Root, [], Public;
    /// Creates an event log buffer (TLFS Appendix A).
    CREATE_EVENT_LOG_BUFFER = 0x0062, "HvCallCreateEventLogBuffer", Simple, Root, [], Public;
    /// Deletes an event log buffer (TLFS Appendix A).
    DELETE_EVENT_LOG_BUFFER = 0x0063, "HvCallDeleteEventLogBuffer", Simple, Root, [], Public;
    /// Maps an event log buffer into the caller (TLFS Appendix A).
    MAP_EVENT_LOG_BUFFER = 0x0064, "HvCallMapEventLogBuffer", Simple, Root, [], Public;
    /// Unmaps an event log buffer (TLFS Appendix A).
    UNMAP_EVENT_LOG_BUFFER = 0x0065, "HvCallUnmapEventLogBuffer", Simple, Root, [], Public;
    /// Chooses what is logged (TLFS Appendix A).
    SET_EVENT_LOG_GROUP_SOURCES = 0x0066, "HvCallSetEventLogGroupSources", Simple, Root, [], Public;
    /// Gives an event log buffer back (TLFS Appendix A).
    RELEASE_EVENT_LOG_BUFFER = 0x0067, "HvCallReleaseEventLogBuffer", Simple, Root, [], Public;
    /// Flushes an event log buffer (TLFS Appendix A).
    FLUSH_EVENT_LOG_BUFFER = 0x0068, "HvCallFlushEventLogBuffer", Simple, Root, [], Public;
    /// Sends data to the debugger (TLFS 4.2.2).
    POST_DEBUG_DATA = 0x0069, "HvCallPostDebugData", Simple, Any, [Debugging], Public;
    /// Receives data from the debugger (TLFS 4.2.2).
    RETRIEVE_DEBUG_DATA = 0x006A, "HvCallRetrieveDebugData", Simple, Any, [Debugging], Public;
    /// Resets the debug session (TLFS 4.2.2).
    RESET_DEBUG_SESSION = 0x006B, "HvCallResetDebugSession", Simple, Any, [Debugging], Public;
    /// Maps a statistics page (TLFS 4.2.2).
    MAP_STATS_PAGE = 0x006C, "HvCallMapStatsPage", Simple, ParentOrRoot, [AccessStats], Public;
    /// Unmaps a statistics page (TLFS 4.2.2).
    UNMAP_STATS_PAGE = 0x006D, "HvCallUnmapStatsPage", Simple, ParentOrRoot, [AccessStats], Public;
    /// Maps pages of the caller into a child, one by one (TLFS Appendix A).
    MAP_SPARSE_GPA_PAGES = 0x006E, "HvCallMapSparseGpaPages", Rep, ParentOrRoot, [], Public;
    /// Changes a property of the system (TLFS Appendix A).
    SET_SYSTEM_PROPERTY = 0x006F, "HvCallSetSystemProperty", Simple, Root, [], Public;
    /// Changes a property of a port (TLFS Appendix A).
    SET_PORT_PROPERTY = 0x0070, "HvCallSetPortProperty", Simple, ParentOrRoot, [CreatePort], Public;
    /// Adds a logical processor (TLFS Appendix A).
    ADD_LOGICAL_PROCESSOR = 0x0076, "HvCallAddLogicalProcessor", Simple, Root, [CpuManagement], Public;
    /// Removes a logical processor (TLFS Appendix A).
    REMOVE_LOGICAL_PROCESSOR = 0x0077, "HvCallRemoveLogicalProcessor", Simple, Root, [CpuManagement], Unknown;
    /// Asks for the distance of NUMA nodes (TLFS Appendix A).
    QUERY_NUMA_DISTANCE = 0x0078, "HvCallQueryNumaDistance", Simple, Root, [CpuManagement], Unknown;
    /// Changes a property of a logical processor (TLFS Appendix A).
    SET_LOGICAL_PROCESSOR_PROPERTY = 0x0079, "HvCallSetLogicalProcessorProperty", Simple, Root, [CpuManagement], Unknown;
    /// Reads a property of a logical processor (TLFS Appendix A).
    GET_LOGICAL_PROCESSOR_PROPERTY = 0x007A, "HvCallGetLogicalProcessorProperty", Simple, Root, [CpuManagement], Unknown;
    /// Reads a property of the system (TLFS Appendix A).
    GET_SYSTEM_PROPERTY = 0x007B, "HvCallGetSystemProperty", Simple, Any, [CpuManagement], Public;
    /// Maps a device interrupt (TLFS Appendix A).
    MAP_DEVICE_INTERRUPT = 0x007C, "HvCallMapDeviceInterrupt", SimpleVariable, Root, [CpuManagement], Public;
    /// Unmaps a device interrupt (TLFS Appendix A).
    UNMAP_DEVICE_INTERRUPT = 0x007D, "HvCallUnmapDeviceInterrupt", Simple, Root, [CpuManagement], Public;
    /// Sends a device interrupt elsewhere (TLFS 10.5.4).
    RETARGET_DEVICE_INTERRUPT = 0x007E, "HvCallRetargetDeviceInterrupt", SimpleVariable, Any, [], Specification;
    /// Sends an interrupt of a root device elsewhere (TLFS Appendix A).
    RETARGET_ROOT_DEVICE_INTERRUPT = 0x007F, "HvCallRetargetRootDeviceInterrupt", Unpublished, Root, [CpuManagement], Unknown;
    /// Maps pages for a device (TLFS Appendix A).
    MAP_DEVICE_PAGES = 0x0080, "HvCallMapDevicePages", Unpublished, Root, [CpuManagement], Unknown;
    /// Unmaps pages of a device (TLFS Appendix A).
    UNMAP_DEVICE_PAGES = 0x0081, "HvCallUnmapDevicePages", Unpublished, Root, [CpuManagement], Unknown;
    /// Attaches a device to a partition (TLFS Appendix A).
    ATTACH_DEVICE = 0x0082, "HvCallAttachDevice", Simple, Root, [CpuManagement], Unknown;
    /// Detaches a device from a partition (TLFS Appendix A).
    DETACH_DEVICE = 0x0083, "HvCallDetachDevice", Simple, Root, [CpuManagement], Unknown;
    /// Says that standby begins or ends (TLFS Appendix A).
    NOTIFY_STANDBY_TRANSITION = 0x0084, "HvCallNotifyStandbyTransition", Simple, Root, [CpuManagement], Unknown;
    /// Prepares for sleep (TLFS Appendix A).
    PREPARE_FOR_SLEEP = 0x0085, "HvCallPrepareForSleep", Simple, Root, [CpuManagement], Unknown;
    /// Prepares for hibernation (TLFS Appendix A).
    PREPARE_FOR_HIBERNATE = 0x0086, "HvCallPrepareForHibernate", Simple, Root, [CpuManagement], Unknown;
    /// Reports an event of a partition (TLFS Appendix A).
    NOTIFY_PARTITION_EVENT = 0x0087, "HvCallNotifyPartitionEvent", Simple, Root, [CpuManagement], Public;
    /// Reads registers of a logical processor (TLFS Appendix A).
    GET_LOGICAL_PROCESSOR_REGISTERS = 0x0088, "HvCallGetLogicalProcessorRegisters", Unpublished, Root, [CpuManagement], Unknown;
    /// Changes registers of a logical processor (TLFS Appendix A).
    SET_LOGICAL_PROCESSOR_REGISTERS = 0x0089, "HvCallSetLogicalProcessorRegisters", Unpublished, Root, [CpuManagement], Unknown;
    /// Asks which logical processors share a machine check (TLFS Appendix A).
    QUERY_ASSOCIATED_LPS_FOR_MCA = 0x008A, "HvCallQueryAssociatedLpsforMca", Simple, Root, [CpuManagement], Unknown;
    /// Says that a port ring is empty (TLFS Appendix A).
    NOTIFY_RING_EMPTY = 0x008B, "HvCallNotifyRingEmpty", Simple, Any, [CpuManagement], Public;
    /// Injects a synthetic machine check (TLFS Appendix A).
    INJECT_SYNTHETIC_MACHINE_CHECK = 0x008C, "HvCallInjectSyntheticMachineCheck", Simple, Root, [CpuManagement], Unknown;
    /// Scrubs a partition (TLFS Appendix A).
    SCRUB_PARTITION = 0x008D, "HvCallScrubPartition", Simple, Root, [], Unknown;
    /// Collects a live dump (TLFS Appendix A).
    COLLECT_LIVEDUMP = 0x008E, "HvCallCollectLivedump", Simple, Root, [Debugging], Unknown;
    /// Disables the hypervisor (TLFS Appendix A).
    DISABLE_HYPERVISOR = 0x008F, "HvCallDisableHypervisor", Simple, Root, [], Unknown;
    /// Changes access rights of mapped pages (TLFS Appendix A).
    MODIFY_SPARSE_GPA_PAGES = 0x0090, "HvCallModifySparseGpaPages", Rep, ParentOrRoot, [], Public;
    /// Fixes the answer to an intercepted CPUID or MSR (TLFS Appendix A).
    REGISTER_INTERCEPT_RESULT = 0x0091, "HvCallRegisterInterceptResult", SimpleVariable, ParentOrRoot, [], Public;
    /// Forgets a fixed answer (TLFS Appendix A).
    UNREGISTER_INTERCEPT_RESULT = 0x0092, "HvCallUnregisterInterceptResult", Simple, ParentOrRoot, [], Public;
    /// Asserts an interrupt in a child (TLFS 10.5.1).
    ASSERT_VIRTUAL_INTERRUPT = 0x0094, "HvCallAssertVirtualInterrupt", Simple, Parent, [], Specification;
    /// Creates a port (TLFS 4.2.2).
    CREATE_PORT = 0x0095, "HvCallCreatePort", Simple, Root, [CreatePort], Public;
    /// Connects to a port (TLFS 4.2.2).
    CONNECT_PORT = 0x0096, "HvCallConnectPort", Simple, Root, [ConnectPort], Public;
    /// Lists system physical pages (TLFS Appendix A).
    GET_SPA_PAGE_LIST = 0x0097, "HvCallGetSpaPageList", Unpublished, Root, [], Unknown;
    /// Starts a VP in a given state (TLFS 7.10.3).
    START_VIRTUAL_PROCESSOR = 0x0099, "HvCallStartVirtualProcessor", Simple, SelfOrParent, [StartVirtualProcessor], Specification;
    /// Finds VPs by APIC id (TLFS 7.10.4).
    GET_VP_INDEX_FROM_APIC_ID = 0x009A, "HvCallGetVpIndexFromApicId", Rep, SelfOrParent, [AccessVpIndex], Specification;
    /// Reads a power property (TLFS Appendix A).
    GET_POWER_PROPERTY = 0x009B, "HvCallGetPowerProperty", Unpublished, Root, [], Unknown;
    /// Changes a power property (TLFS Appendix A).
    SET_POWER_PROPERTY = 0x009C, "HvCallSetPowerProperty", Unpublished, Root, [], Unknown;
    /// Reads a property of a physical device (TLFS Appendix A).
    GET_PHYSICAL_DEVICE_PROPERTY = 0x00AA, "HvCallGetPhysicalDeviceProperty", Unpublished, Root, [], Unknown;
    /// Translates a virtual address and tells the fault (TLFS 9.3.4).
    TRANSLATE_VIRTUAL_ADDRESS_EX = 0x00AC, "HvCallTranslateVirtualAddressEx", Simple, ParentOrHigherVtl, [], Public;
    /// Flushes a second-level address space of a nested hypervisor (TLFS 16.13.1).
    FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE = 0x00AF, "HvCallFlushGuestPhysicalAddressSpace", Simple, Any, [], Specification;
    /// Flushes pages of a second-level address space (TLFS 16.13.2).
    FLUSH_GUEST_PHYSICAL_ADDRESS_LIST = 0x00B0, "HvCallFlushGuestPhysicalAddressList", Rep, Any, [], Specification;
    /// Attaches a device to a device domain (later than TLFS 6.0).
    ATTACH_DEVICE_DOMAIN = 0x00B2, "HvCallAttachDeviceDomain", Simple, Root, [], Public;
    /// Completes an intercept (later than TLFS 6.0).
    COMPLETE_INTERCEPT = 0x00BD, "HvCallCompleteIntercept", Simple, Parent, [], Unknown;
    /// Commits pages ahead of use (later than TLFS 6.0).
    PRECOMMIT_GPA_PAGES = 0x00BE, "HvCallPrecommitGpaPages", Unpublished, ParentOrRoot, [], Unknown;
    /// Takes back committed pages (later than TLFS 6.0).
    UNCOMMIT_GPA_PAGES = 0x00BF, "HvCallUncommitGpaPages", Unpublished, ParentOrRoot, [], Unknown;
    /// Runs a VP for a while (later than TLFS 6.0).
    DISPATCH_VP = 0x00C2, "HvCallDispatchVp", Simple, Root, [], Public;
    /// Tells how pages are accessible (later than TLFS 6.0).
    GET_SPARSE_GPA_PAGES_ACCESS_STATE = 0x00CA, "HvCallGetSparseGpaPagesAccessState", Unpublished, ParentOrRoot, [], Unknown;
    /// Lets the host access pages (later than TLFS 6.0).
    ACQUIRE_SPARSE_GPA_PAGE_HOST_ACCESS = 0x00D2, "HvCallAcquireSparseGpaPageHostAccess", Unpublished, Parent, [], Unknown;
    /// Checks which VTL forbids an access to pages (later than TLFS 6.0).
    CHECK_SPARSE_GPA_PAGE_VTL_ACCESS = 0x00D4, "HvCallCheckSparseGpaPageVtlAccess", Rep, ParentOrHigherVtl, [], Public;
    /// Asks for a processor to halt (later than TLFS 6.0).
    REQUEST_PROCESSOR_HALT = 0x00DE, "HvCallRequestProcessorHalt", Unpublished, Any, [], Unknown;
    /// Maps a page of a VP's state (later than TLFS 6.0).
    MAP_VP_STATE_PAGE = 0x00E1, "HvCallMapVpStatePage", Simple, ParentOrRoot, [], Public;
    /// Sets extended processor state of a VP (later than TLFS 6.0).
    SET_XSAVE_DATA = 0x00E4, "HvCallSetXsaveData", Simple, ParentOrRoot, [], Unknown;
    /// Refreshes performance counters of a logical processor (later than TLFS 6.0).
    UPDATE_PERFORMANCE_STATE_COUNTERS_FOR_LP = 0x00EE, "HvCallUpdatePerformanceStateCountersForLp", Unpublished, Any, [], Unknown;
    /// Not named by the specification; this is its public name (later than TLFS 6.0).
    ROOT_SIGNAL_EVENT = 0x00F3, "HvCallRootSignalEvent", Unpublished, Any, [], Unknown;
    /// Tells which extended calls exist (TLFS 3.14.1).
    EXT_QUERY_CAPABILITIES = 0x8001, "HvExtCallQueryCapabilities", Simple, Any, [EnableExtendedHypercalls], Specification;
    /// Tells which memory was zero at boot (TLFS 9.4.7).
    EXT_GET_BOOT_ZEROED_MEMORY = 0x8002, "HvExtCallGetBootZeroedMemory", Simple, Any, [EnableExtendedHypercalls], Specification;
    /// Hints which pages are cold (TLFS 3.14).
    EXT_MEMORY_HEAT_HINT = 0x8003, "HvExtCallMemoryHeatHint", Rep, Any, [EnableExtendedHypercalls], Public;
    /// Sets up enlightened page faults (TLFS 3.14).
    EXT_EPF_SETUP = 0x8004, "HvExtCallEpfSetup", Unpublished, Any, [EnableExtendedHypercalls], Unknown;
    /// Sets up scheduler assists (TLFS 3.14).
    EXT_SCHEDULER_ASSIST_SETUP = 0x8005, "HvExtCallSchedulerAssistSetup", Unpublished, Any, [EnableExtendedHypercalls], Unknown;
    /// Hints which pages are cold, asynchronously (TLFS 3.14).
    EXT_MEMORY_HEAT_HINT_ASYNC = 0x8006, "HvExtCallMemoryHeatHintAsync", Unpublished, Any, [EnableExtendedHypercalls], Unknown;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ordered() {
        assert!(CALLS.is_sorted_by_key(|call| call.code));
        for call in CALLS {
            assert_eq!(info(call.code), Some(call));
            assert_eq!(call.code.name(), Some(call.name));
        }
        assert_eq!(info(CallCode(0x0016)), None);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls themselves: each a type that names its code, its privileges and its shape.

use crate::call::{Call, NoVariableHeader, RepCall, SimpleCall, Words};
use crate::processor_set::{HasProcessorSet, ProcessorSetBanks};
use tlfs::extended::{BootZeroedMemoryOutput, QueryCapabilitiesOutput};
use tlfs::hypercall::CallCode;
use tlfs::interrupt::{
    AssertVirtualInterruptInput, RetargetDeviceInterruptInput, SendSyntheticClusterIpiExInput,
    SendSyntheticClusterIpiInput,
};
use tlfs::privilege::{Privilege, PrivilegeMask};
use tlfs::register::{RegisterName, RegisterValue};
use tlfs::root::{
    GetLogicalProcessorRunTimeInput, GetLogicalProcessorRunTimeOutput, GetPropertyOutput,
    GetSystemPropertyInput, ParkedVirtualProcessorsInput, PartitionInput, PostDebugDataInput,
    PostDebugDataOutput, ResetDebugSessionInput, RetrieveDebugDataInput, RetrieveDebugDataOutput,
};
use tlfs::synic::{PostMessageInput, SignalEventInput};
use tlfs::timer::NotifyLongSpinWaitInput;
use tlfs::tlb::{
    FlushVirtualAddressExInput, FlushVirtualAddressInput, GvaRange, SwitchVirtualAddressSpaceInput,
    TranslateVirtualAddressExOutput, TranslateVirtualAddressInput, TranslateVirtualAddressOutput,
};
use tlfs::vp::{
    GetVpIndexFromApicIdInput, MAX_BANKS, RegisterAssociation, StartVirtualProcessorInput, VpIndex,
    VpRegistersInput, VpSet,
};

/// Declares a call type: `simple` with what it gives back, `rep` with the elements of its input and output lists.
macro_rules! call {
    (
        $(#[$meta:meta])*
        simple $name:ident = $code:expr, [$($privilege:ident),*], $input:ty, $variable:ty => $output:ty;
    ) => {
        call!(@call $(#[$meta])* $name, $code, [$($privilege),*], $input, $variable);

        impl SimpleCall for $name {
            type Output = $output;
        }
    };
    (
        $(#[$meta:meta])*
        rep $name:ident = $code:expr, [$($privilege:ident),*], $input:ty, $variable:ty, $element:ty => $output:ty;
    ) => {
        call!(@call $(#[$meta])* $name, $code, [$($privilege),*], $input, $variable);

        impl RepCall for $name {
            type Element = $element;
            type OutputElement = $output;
        }
    };
    (@call $(#[$meta:meta])* $name:ident, $code:expr, [$($privilege:ident),*], $input:ty, $variable:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Call for $name {
            const CODE: CallCode = $code;
            const PRIVILEGES: PrivilegeMask = PrivilegeMask::of(&[$(Privilege::$privilege),*]);
            type Input = $input;
            type Variable = $variable;
        }
    };
}
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use call;

call! {
    /// Makes another address space current (TLFS 9.4.1).
    simple SwitchVirtualAddressSpace = CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE, [],
        SwitchVirtualAddressSpaceInput, NoVariableHeader => ();
}

call! {
    /// Flushes translations of address spaces on other processors (TLFS 9.4.2).
    simple FlushVirtualAddressSpace = CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE, [],
        FlushVirtualAddressInput, NoVariableHeader => ();
}

call! {
    /// Flushes translations of ranges of virtual addresses on other processors (TLFS 9.4.4).
    rep FlushVirtualAddressList = CallCode::FLUSH_VIRTUAL_ADDRESS_LIST, [],
        FlushVirtualAddressInput, NoVariableHeader, GvaRange => ();
}

call! {
    /// Tells how long a logical processor has run (TLFS 4.2.2).
    simple GetLogicalProcessorRunTime = CallCode::GET_LOGICAL_PROCESSOR_RUN_TIME, [CpuManagement],
        GetLogicalProcessorRunTimeInput, NoVariableHeader => GetLogicalProcessorRunTimeOutput;
}

call! {
    /// Hints which processors are parked (TLFS 4.2.2).
    simple ParkedVirtualProcessors = CallCode::PARKED_VIRTUAL_PROCESSORS, [CpuManagement],
        ParkedVirtualProcessorsInput, NoVariableHeader => ();
}

call! {
    /// Tells that a spinlock was held for long (TLFS 14.5.1).
    simple NotifyLongSpinWait = CallCode::NOTIFY_LONG_SPIN_WAIT, [],
        NotifyLongSpinWaitInput, NoVariableHeader => ();
}

call! {
    /// Sends a fixed interrupt to processors 0 to 63 (TLFS 10.5.2).
    simple SendSyntheticClusterIpi = CallCode::SEND_SYNTHETIC_CLUSTER_IPI, [],
        SendSyntheticClusterIpiInput, NoVariableHeader => ();
}

call! {
    /// [`FlushVirtualAddressSpace`] for a processor set (TLFS 9.4.3).
    simple FlushVirtualAddressSpaceEx = CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX, [],
        FlushVirtualAddressExInput, ProcessorSetBanks => ();
}

call! {
    /// [`FlushVirtualAddressList`] for a processor set (TLFS 9.4.5).
    rep FlushVirtualAddressListEx = CallCode::FLUSH_VIRTUAL_ADDRESS_LIST_EX, [],
        FlushVirtualAddressExInput, ProcessorSetBanks, GvaRange => ();
}

call! {
    /// [`SendSyntheticClusterIpi`] for a processor set (TLFS 10.5.3).
    simple SendSyntheticClusterIpiEx = CallCode::SEND_SYNTHETIC_CLUSTER_IPI_EX, [],
        SendSyntheticClusterIpiExInput, ProcessorSetBanks => ();
}

call! {
    /// Sends a message through a connection (TLFS 11.11.1).
    simple PostMessage = CallCode::POST_MESSAGE, [PostMessages],
        PostMessageInput, NoVariableHeader => ();
}

call! {
    /// Signals an event flag through a connection (TLFS 11.11.2).
    simple SignalEvent = CallCode::SIGNAL_EVENT, [SignalEvents],
        SignalEventInput, NoVariableHeader => ();
}

call! {
    /// Gives the caller's partition id (TLFS 4.2.2).
    simple GetPartitionId = CallCode::GET_PARTITION_ID, [AccessPartitionId],
        (), NoVariableHeader => PartitionInput;
}

call! {
    /// Gets registers of a virtual processor (TLFS 7.10.2).
    rep GetVpRegisters = CallCode::GET_VP_REGISTERS, [AccessVpRegisters],
        VpRegistersInput, NoVariableHeader, RegisterName => RegisterValue;
}

call! {
    /// Sets registers of a virtual processor (TLFS 7.10.1).
    rep SetVpRegisters = CallCode::SET_VP_REGISTERS, [AccessVpRegisters],
        VpRegistersInput, NoVariableHeader, RegisterAssociation => ();
}

call! {
    /// Translates a virtual address of a child's (TLFS 9.4.6).
    simple TranslateVirtualAddress = CallCode::TRANSLATE_VIRTUAL_ADDRESS, [],
        TranslateVirtualAddressInput, NoVariableHeader => TranslateVirtualAddressOutput;
}

call! {
    /// Sends data to the debugger (TLFS 4.2.2).
    simple PostDebugData = CallCode::POST_DEBUG_DATA, [Debugging],
        PostDebugDataInput, NoVariableHeader => PostDebugDataOutput;
}

call! {
    /// Receives data from the debugger (TLFS 4.2.2).
    simple RetrieveDebugData = CallCode::RETRIEVE_DEBUG_DATA, [Debugging],
        RetrieveDebugDataInput, NoVariableHeader => RetrieveDebugDataOutput;
}

call! {
    /// Drops what is on its way to and from the debugger (TLFS 4.2.2).
    simple ResetDebugSession = CallCode::RESET_DEBUG_SESSION, [Debugging],
        ResetDebugSessionInput, NoVariableHeader => ();
}

call! {
    /// Gets a property of the system (TLFS Appendix A).
    simple GetSystemProperty = CallCode::GET_SYSTEM_PROPERTY, [CpuManagement],
        GetSystemPropertyInput, NoVariableHeader => GetPropertyOutput;
}

call! {
    /// Sends a device's interrupt elsewhere (TLFS 10.5.4). The variable header is the rest of the target: the mask of the valid banks and the banks, if
    /// the target is a processor set.
    simple RetargetDeviceInterrupt = CallCode::RETARGET_DEVICE_INTERRUPT, [],
        RetargetDeviceInterruptInput, Words<{ 1 + MAX_BANKS }> => ();
}

call! {
    /// Asserts an interrupt at a child's virtual processors (TLFS 10.5.1).
    simple AssertVirtualInterrupt = CallCode::ASSERT_VIRTUAL_INTERRUPT, [],
        AssertVirtualInterruptInput, NoVariableHeader => ();
}

call! {
    /// Starts a virtual processor in a given state (TLFS 7.10.3).
    simple StartVirtualProcessor = CallCode::START_VIRTUAL_PROCESSOR, [StartVirtualProcessor],
        StartVirtualProcessorInput, NoVariableHeader => ();
}

call! {
    /// Tells which virtual processors have these APIC ids (TLFS 7.10.4).
    rep GetVpIndexFromApicId = CallCode::GET_VP_INDEX_FROM_APIC_ID, [AccessVpIndex],
        GetVpIndexFromApicIdInput, NoVariableHeader, u32 => VpIndex;
}

call! {
    /// [`TranslateVirtualAddress`] that also tells the exception; later than TLFS 6.0.
    simple TranslateVirtualAddressEx = CallCode::TRANSLATE_VIRTUAL_ADDRESS_EX, [],
        TranslateVirtualAddressInput, NoVariableHeader => TranslateVirtualAddressExOutput;
}

call! {
    /// Tells which extended calls exist (TLFS 3.14.1).
    simple ExtQueryCapabilities = CallCode::EXT_QUERY_CAPABILITIES, [EnableExtendedHypercalls],
        (), NoVariableHeader => QueryCapabilitiesOutput;
}

call! {
    /// Tells which memory was zero when the partition started (TLFS 9.4.7).
    simple ExtGetBootZeroedMemory = CallCode::EXT_GET_BOOT_ZEROED_MEMORY, [EnableExtendedHypercalls],
        (), NoVariableHeader => BootZeroedMemoryOutput;
}

impl HasProcessorSet for FlushVirtualAddressExInput {
    fn processor_set(&self) -> VpSet {
        self.processor_set
    }
}

impl HasProcessorSet for SendSyntheticClusterIpiExInput {
    fn processor_set(&self) -> VpSet {
        self.processor_set
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls themselves: each a type that names its code, its privileges and its shape.

use crate::call::{Call, NoVariableHeader, RepCall, SimpleCall};
use crate::processor_set::{HasProcessorSet, ProcessorSetBanks};
use tlfs::hypercall::CallCode;
use tlfs::interrupt::{SendSyntheticClusterIpiExInput, SendSyntheticClusterIpiInput};
use tlfs::privilege::{Privilege, PrivilegeMask};
use tlfs::synic::{PostMessageInput, SignalEventInput};
use tlfs::timer::NotifyLongSpinWaitInput;
use tlfs::tlb::{FlushVirtualAddressExInput, FlushVirtualAddressInput, GvaRange};
use tlfs::vp::VpSet;

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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Roles: which calls a kind of partition is served.

use crate::call::{Call, Handler};
use crate::caller::{GuestMemory, Offered, Registers};
use crate::calls;
use crate::dispatch::{Invocation, Outcome};
use tlfs::hypercall::CallCode;
use tlfs::privilege::PrivilegeMask;

/// A call as a list of features shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallDescription {
    /// Call code.
    pub code: CallCode,
    /// Privileges a caller must hold.
    pub privileges: PrivilegeMask,
    /// Whether it takes a list.
    pub rep: bool,
}

impl CallDescription {
    /// Describes `C`.
    pub const fn of<C: Call>(rep: bool) -> Self {
        Self { code: C::CODE, privileges: C::PRIVILEGES, rep }
    }
}

/// A list of calls that `H` handles.
pub trait Role<H: Handler> {
    /// The calls of the list.
    const CALLS: &'static [CallDescription];

    /// Calls that others may make and these callers may not, whatever their parameters say: ACCESS_DENIED.
    const DENIED: &'static [CallCode];

    /// Hands the call to its type; INVALID_HYPERCALL_CODE for one that is not in the list.
    fn call<R: Registers, M: GuestMemory>(
        invocation: Invocation<'_, H, R, M>,
    ) -> Outcome<H::Condition, M::Intercept>;
}

/// Makes the call that the registers ask for, as a member of role `L`.
///
/// Every way out leaves RIP to the caller; [`Outcome`] says where it belongs.
pub fn dispatch<L, H, R, M>(
    handler: &mut H,
    offered: &Offered,
    registers: &mut R,
    memory: &mut M,
) -> Outcome<H::Condition, M::Intercept>
where
    L: Role<H>,
    H: Handler,
    R: Registers,
    M: GuestMemory,
{
    match Invocation::new(handler, registers, memory, offered) {
        Some(invocation) => L::call(invocation),
        None => Outcome::InvalidOpcode,
    }
}

/// Declares a role: its name and its list of call types, each with its kind. Two calls with one code do not compile
/// without a warning (an unreachable pattern).
#[macro_export]
macro_rules! role {
    ($(#[$meta:meta])* $visibility:vis $role:ident { simple { $($simple:ty),* $(,)? } rep { $($rep:ty),* $(,)? }
        $(denied { $($denied:ty),* $(,)? })?
    }) => {
        $(#[$meta])*
        $visibility struct $role;

        impl<H> $crate::Role<H> for $role
        where
            H: $crate::Handler $(+ $crate::HandleSimple<$simple>)* $(+ $crate::HandleRep<$rep>)*,
        {
            const CALLS: &'static [$crate::CallDescription] = &[
                $($crate::CallDescription::of::<$simple>(false),)*
                $($crate::CallDescription::of::<$rep>(true),)*
            ];

            const DENIED: &'static [$crate::CallCode] = &[$($(<$denied as $crate::Call>::CODE,)*)?];

            fn call<R: $crate::Registers, M: $crate::GuestMemory>(
                invocation: $crate::Invocation<'_, H, R, M>,
            ) -> $crate::Outcome<H::Condition, M::Intercept> {
                match invocation.control().call_code() {
                    $(<$simple as $crate::Call>::CODE => invocation.simple::<$simple>(),)*
                    $(<$rep as $crate::Call>::CODE => invocation.rep::<$rep>(),)*
                    $($(<$denied as $crate::Call>::CODE => invocation.denied(),)*)?
                    _ => invocation.unknown(),
                }
            }
        }
    };
}

role! {
    /// What any partition is served: calls about itself and its connections.
    pub Guest {
        simple {
            calls::SwitchVirtualAddressSpace,
            calls::FlushVirtualAddressSpace,
            calls::GetLogicalProcessorRunTime,
            calls::NotifyLongSpinWait,
            calls::ParkedVirtualProcessors,
            calls::SendSyntheticClusterIpi,
            calls::FlushVirtualAddressSpaceEx,
            calls::SendSyntheticClusterIpiEx,
            calls::PostMessage,
            calls::SignalEvent,
            calls::GetPartitionId,
            calls::PostDebugData,
            calls::RetrieveDebugData,
            calls::ResetDebugSession,
            calls::GetSystemProperty,
            calls::RetargetDeviceInterrupt,
            calls::StartVirtualProcessor,
            calls::ExtQueryCapabilities,
            calls::ExtGetBootZeroedMemory,
        }
        rep {
            calls::FlushVirtualAddressList,
            calls::FlushVirtualAddressListEx,
            calls::GetVpRegisters,
            calls::SetVpRegisters,
            calls::GetVpIndexFromApicId,
        }
        denied {
            calls::TranslateVirtualAddress,
            calls::AssertVirtualInterrupt,
            calls::TranslateVirtualAddressEx,
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that only the parent of a partition may make about it. The parent of every partition here is its host program, which has them as methods:
//! [`Partition::translate_virtual_address`](crate::Partition::translate_virtual_address) and
//! [`Partition::assert_virtual_interrupt`](crate::Partition::assert_virtual_interrupt). A guest is nobody's parent.

use hypercall::calls::{AssertVirtualInterrupt, TranslateVirtualAddress, TranslateVirtualAddressEx};
use hypercall::{HandleSimple, Stop};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::interrupt::AssertVirtualInterruptInput;
use tlfs::tlb::{
    TranslateVirtualAddressExOutput, TranslateVirtualAddressInput, TranslateVirtualAddressOutput,
};

use super::{Calls, Condition, Done};

/// The calls of this file.
#[must_use]
pub fn parents_calls() -> &'static [CallCode] {
    &[
        CallCode::TRANSLATE_VIRTUAL_ADDRESS,
        CallCode::ASSERT_VIRTUAL_INTERRUPT,
        CallCode::TRANSLATE_VIRTUAL_ADDRESS_EX,
    ]
}

impl HandleSimple<TranslateVirtualAddress> for Calls<'_> {
    fn handle(
        &mut self,
        _: &TranslateVirtualAddressInput,
    ) -> Result<TranslateVirtualAddressOutput, Stop<Condition>> {
        Err(HvStatus::ACCESS_DENIED.into())
    }
}

impl HandleSimple<TranslateVirtualAddressEx> for Calls<'_> {
    fn handle(
        &mut self,
        _: &TranslateVirtualAddressInput,
    ) -> Result<TranslateVirtualAddressExOutput, Stop<Condition>> {
        Err(HvStatus::ACCESS_DENIED.into())
    }
}

impl HandleSimple<AssertVirtualInterrupt> for Calls<'_> {
    fn handle(&mut self, _: &AssertVirtualInterruptInput) -> Done {
        Err(HvStatus::ACCESS_DENIED.into())
    }
}

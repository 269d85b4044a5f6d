// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shape of a call as a type, and what handles it.

use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::privilege::PrivilegeMask;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// A hypercall: what simple and rep calls have in common.
pub trait Call {
    /// The call code.
    const CODE: CallCode;

    /// The privileges a caller must hold, all of them. `PrivilegeMask::NONE` says that anyone may call. Rules that look
    /// at arguments ("or the parent of the partition named") are the handler's.
    const PRIVILEGES: PrivilegeMask;

    /// The fixed input header; `()` for a call without.
    type Input: FromBytes + IntoBytes;

    /// What may follow the fixed input header: [`NoVariableHeader`], [`Words`] or [`ProcessorSetBanks`](crate::ProcessorSetBanks).
    type Variable: VariableHeader<Self::Input>;
}

/// A call that does one thing (TLFS 3.2).
pub trait SimpleCall: Call {
    /// What it gives back; `()` for nothing.
    type Output: IntoBytes + Immutable;
}

/// A call that does one thing for each element of a list (TLFS 3.2).
pub trait RepCall: Call {
    /// Elements of the input list.
    type Element: FromBytes + IntoBytes;

    /// Elements of the output list, one for each of the input; `()` for a call without.
    type OutputElement: FromBytes + IntoBytes + Immutable;

    /// Elements that one invocation handles before it gives way to interrupts (TLFS 3.3: about 50 µs, counted in
    /// elements here so that it does not depend on the host).
    const REP_BUDGET: usize = 256;
}

/// The variable part of an input header (TLFS 3.7.1).
pub trait VariableHeader<Input> {
    /// Room for the longest variable header, `[u64; N]`.
    type Storage: FromZeros + AsMut<[u64]>;

    /// What the handler gets: the fixed header, and whatever the variable one means.
    type Arguments<'a>
    where
        Input: 'a;

    /// Whether the call takes a variable header at all, even an empty one.
    const EXISTS: bool;

    /// Makes the arguments; `words` is as long as the control word says, at most the length of the storage.
    fn arguments<'a>(input: &'a Input, words: &'a [u64]) -> Result<Self::Arguments<'a>, HvStatus>;
}

/// There is no variable header, and asking for one is INVALID_HYPERCALL_INPUT. The handler gets `&Input`.
pub struct NoVariableHeader;

impl<Input> VariableHeader<Input> for NoVariableHeader {
    type Storage = [u64; 0];
    type Arguments<'a>
        = &'a Input
    where
        Input: 'a;
    const EXISTS: bool = false;

    fn arguments<'a>(input: &'a Input, _: &'a [u64]) -> Result<&'a Input, HvStatus> {
        Ok(input)
    }
}

/// A variable header of up to `MAX` 8-byte units without further structure. The handler gets `(&Input, &[u64])`.
pub struct Words<const MAX: usize>;

impl<const MAX: usize, Input> VariableHeader<Input> for Words<MAX> {
    type Storage = [u64; MAX];
    type Arguments<'a>
        = (&'a Input, &'a [u64])
    where
        Input: 'a;
    const EXISTS: bool = true;

    fn arguments<'a>(input: &'a Input, words: &'a [u64]) -> Result<Self::Arguments<'a>, HvStatus> {
        Ok((input, words))
    }
}

/// What a handler's method gets for call `C`.
pub type Arguments<'a, C> = <<C as Call>::Variable as VariableHeader<<C as Call>::Input>>::Arguments<'a>;

/// Whoever handles calls.
pub trait Handler {
    /// What a call can wait for: a TLB that is inhibited, a register that another thread holds, and the like.
    type Condition;
}

/// Handles the simple call `C`.
pub trait HandleSimple<C: SimpleCall>: Handler {
    /// Does it. An error leaves the outputs unwritten.
    fn handle(&mut self, arguments: Arguments<'_, C>) -> Result<C::Output, Stop<Self::Condition>>;
}

/// Handles the rep call `C`.
pub trait HandleRep<C: RepCall>: Handler {
    /// Does it for `elements`, in order. They are a part of the list, from the start index on; `outputs` is as long and
    /// zeroed. May be called several times for one list.
    fn handle(
        &mut self,
        arguments: Arguments<'_, C>,
        elements: &[C::Element],
        outputs: &mut [C::OutputElement],
    ) -> Result<(), RepStop<Self::Condition>>;
}

/// Why a call did not succeed, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop<Condition> {
    /// It failed, with this status.
    Failed(HvStatus),
    /// It made progress that the state of its object shows, and is to be executed again after pending interrupts.
    Continue,
    /// It did nothing, and is to be executed again when the condition holds.
    Wait(Condition),
}

impl<Condition> From<HvStatus> for Stop<Condition> {
    fn from(status: HvStatus) -> Self {
        Self::Failed(status)
    }
}

/// Why a rep call did not go through all elements it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepStop<Condition> {
    /// Elements processed of those given. Their outputs count.
    pub processed: usize,
    /// What happened then: `Failed` is about the element that follows them; before `Wait` takes effect the processed
    /// ones are accounted for.
    pub reason: Stop<Condition>,
}

impl<Condition> From<HvStatus> for RepStop<Condition> {
    /// The first element failed, or the whole call.
    fn from(status: HvStatus) -> Self {
        Self { processed: 0, reason: Stop::Failed(status) }
    }
}

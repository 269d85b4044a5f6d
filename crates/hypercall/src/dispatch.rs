// SPDX-License-Identifier: MIT OR Apache-2.0
//! One call from its control word to its result.

use crate::call::{
    Arguments, Call, HandleRep, HandleSimple, Handler, RepCall, RepStop, SimpleCall, Stop, VariableHeader,
};
use crate::caller::{GuestMemory, Offered, Registers};
use crate::parameters::{Frame, Parameters, Refusal};
use tlfs::HvStatus;
use tlfs::hypercall::{InputValue, ResultValue};
use zerocopy::{FromZeros, IntoBytes};

/// How a call ended, and what is to be done with the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome<Condition, Intercept> {
    /// The result is written: go on behind the instruction.
    Complete(ResultValue),
    /// There is more to do: stay on the instruction, take pending interrupts, and execute it again.
    Continue,
    /// Nothing has happened: stay on the instruction, and execute it again when the condition holds.
    Wait(Condition),
    /// A parameter page is not accessible: stay on the instruction, raise the memory intercept, execute it again.
    Intercept(Intercept),
    /// Raise #UD at the instruction.
    InvalidOpcode,
}

/// Elements handed to a handler at once. It bounds what of a list stands on the stack.
const CHUNK: usize = 32;

/// A call on its way. Made by [`dispatch`](crate::dispatch); roles hand it on to the call's type.
pub struct Invocation<'a, H, R, M> {
    handler: &'a mut H,
    frame: Frame<'a, R>,
    memory: &'a mut M,
    offered: &'a Offered,
    control: InputValue,
}

impl<'a, H: Handler, R: Registers, M: GuestMemory> Invocation<'a, H, R, M> {
    /// `None` where hypercalls are #UD.
    pub(crate) fn new(
        handler: &'a mut H,
        registers: &'a mut R,
        memory: &'a mut M,
        offered: &'a Offered,
    ) -> Option<Self> {
        let frame = Frame::new(registers)?;
        let control = frame.control();
        Some(Self { handler, frame, memory, offered, control })
    }

    /// The control word the call was made with.
    pub fn control(&self) -> InputValue {
        self.control
    }

    /// Ends the call with a status and without effect.
    pub fn fail(mut self, status: HvStatus) -> Outcome<H::Condition, M::Intercept> {
        self.complete(status, 0)
    }

    /// Makes the simple call `C`.
    pub fn simple<C: SimpleCall>(mut self) -> Outcome<H::Condition, M::Intercept>
    where
        H: HandleSimple<C>,
    {
        match self.try_simple::<C>() {
            Ok(()) => self.complete(HvStatus::SUCCESS, 0),
            Err(end) => self.end(end),
        }
    }

    /// Makes the rep call `C`.
    pub fn rep<C: RepCall>(mut self) -> Outcome<H::Condition, M::Intercept>
    where
        H: HandleRep<C>,
    {
        match self.try_rep::<C>() {
            Ok(reps_complete) => self.complete(HvStatus::SUCCESS, reps_complete),
            Err(end) => self.end(end),
        }
    }

    fn try_simple<C: SimpleCall>(&mut self) -> Result<(), End<H::Condition, M::Intercept>>
    where
        H: HandleSimple<C>,
    {
        let variable = self.admit::<C>()?;
        if self.control.rep_count() != 0 || self.control.rep_start_index() != 0 {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT.into());
        }
        let input_length = header_length::<C>(variable);
        let output_length = size_of::<C::Output>();
        let mut parameters =
            Parameters::find(&self.frame, self.offered, self.control, input_length, output_length)?;

        let mut header = Header::<C>::zeroed();
        let arguments = header.read(&parameters, self.memory, variable)?;
        parameters.lock_output(self.memory).map_err(End::Intercept)?;
        let output = self.handler.handle(arguments).map_err(|stop| End::Stop(stop, 0))?;
        parameters.write(&mut self.frame, self.memory, 0, output.as_bytes()).map_err(End::Intercept)
    }

    /// Gives the elements complete, counted from the start of the list.
    fn try_rep<C: RepCall>(&mut self) -> Result<u16, End<H::Condition, M::Intercept>>
    where
        H: HandleRep<C>,
    {
        const { assert!(C::REP_BUDGET > 0) };
        let variable = self.admit::<C>()?;
        let count = usize::from(self.control.rep_count());
        let start = usize::from(self.control.rep_start_index());
        // Covers an empty list too: no start index is below 0.
        if start >= count {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT.into());
        }
        let header_length = header_length::<C>(variable);
        let input_length = header_length + count * size_of::<C::Element>();
        let output_length = count * size_of::<C::OutputElement>();
        let mut parameters =
            Parameters::find(&self.frame, self.offered, self.control, input_length, output_length)?;

        let mut header = Header::<C>::zeroed();
        // Before an element is done, an intercept leaves no trace; after one, the call continues and meets it again.
        drop(header.read(&parameters, self.memory, variable)?);
        parameters.lock_output(self.memory).map_err(End::Intercept)?;

        let mut elements = <[C::Element; CHUNK]>::new_zeroed();
        let mut outputs = <[C::OutputElement; CHUNK]>::new_zeroed();
        let end = count.min(start + C::REP_BUDGET);
        let mut next = start;
        while next < end {
            let length = CHUNK.min(end - next);
            let elements = &mut elements[..length];
            let outputs = &mut outputs[..length];
            let offset = header_length + next * size_of::<C::Element>();
            if let Err(intercept) = parameters.read(self.memory, offset, elements.as_mut_bytes()) {
                return Err(if next == start {
                    End::Intercept(intercept)
                } else {
                    End::ContinueAt(next as u16)
                });
            }
            outputs.zero();
            let stop = self.handler.handle(header.arguments(variable)?, elements, outputs).err();
            let processed = stop.as_ref().map_or(length, |stop| stop.processed.min(length));
            let offset = next * size_of::<C::OutputElement>();
            if let Err(intercept) =
                parameters.write(&mut self.frame, self.memory, offset, outputs[..processed].as_bytes())
            {
                return Err(if next == start {
                    End::Intercept(intercept)
                } else {
                    End::ContinueAt(next as u16)
                });
            }
            next += processed;
            if let Some(RepStop { reason, .. }) = stop {
                return Err(match reason {
                    Stop::Failed(status) => End::Stop(Stop::Failed(status), next as u16),
                    Stop::Wait(condition) if next == start => End::Stop(Stop::Wait(condition), 0),
                    Stop::Continue | Stop::Wait(_) => End::ContinueAt(next as u16),
                });
            }
        }
        if end < count { Err(End::ContinueAt(end as u16)) } else { Ok(count as u16) }
    }

    /// What comes before everything else: the privilege, then the control word. Gives the variable header's words.
    ///
    /// The privilege is first, so that a caller without it learns nothing (TLFS 3.12.2).
    fn admit<C: Call>(&self) -> Result<usize, End<H::Condition, M::Intercept>> {
        const {
            assert!(size_of::<C::Input>() <= 4096);
            assert!(!C::Variable::EXISTS || size_of::<C::Input>().is_multiple_of(8));
        }
        if !self.offered.privileges.holds(C::PRIVILEGES) {
            return Err(HvStatus::ACCESS_DENIED.into());
        }
        let words = usize::from(self.control.variable_header_size());
        let longest = size_of::<<C::Variable as VariableHeader<C::Input>>::Storage>() / 8;
        if !self.control.reserved_is_zero() || self.control.is_nested() || words > longest {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT.into());
        }
        Ok(words)
    }

    fn complete(&mut self, status: HvStatus, reps_complete: u16) -> Outcome<H::Condition, M::Intercept> {
        let result = ResultValue::of(status).with_reps_complete(reps_complete);
        self.frame.set_result(result);
        Outcome::Complete(result)
    }

    fn end(&mut self, end: End<H::Condition, M::Intercept>) -> Outcome<H::Condition, M::Intercept> {
        match end {
            End::Stop(Stop::Failed(status), reps_complete) => self.complete(status, reps_complete),
            End::Stop(Stop::Continue, _) => Outcome::Continue,
            End::Stop(Stop::Wait(condition), _) => Outcome::Wait(condition),
            End::ContinueAt(index) => {
                self.frame.set_rep_start_index(self.control, index);
                Outcome::Continue
            }
            End::Intercept(intercept) => Outcome::Intercept(intercept),
            End::InvalidOpcode => Outcome::InvalidOpcode,
        }
    }
}

/// Every end of a call but success.
enum End<Condition, Intercept> {
    /// The handler's end; with `Failed` the elements complete, counted from the start of the list.
    Stop(Stop<Condition>, u16),
    /// A rep call gives way before this element.
    ContinueAt(u16),
    Intercept(Intercept),
    InvalidOpcode,
}

impl<Condition, Intercept> From<HvStatus> for End<Condition, Intercept> {
    fn from(status: HvStatus) -> Self {
        Self::Stop(Stop::Failed(status), 0)
    }
}

impl<Condition, Intercept> From<Refusal> for End<Condition, Intercept> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::InvalidOpcode => Self::InvalidOpcode,
            Refusal::Status(status) => status.into(),
        }
    }
}

/// Bytes before the list: the fixed header and `words` 8-byte units of the variable one.
const fn header_length<C: Call>(words: usize) -> usize {
    size_of::<C::Input>() + 8 * words
}

/// A call's own copy of its input header.
struct Header<C: Call> {
    input: C::Input,
    variable: <C::Variable as VariableHeader<C::Input>>::Storage,
}

impl<C: Call> Header<C> {
    fn zeroed() -> Self {
        Self { input: FromZeros::new_zeroed(), variable: FromZeros::new_zeroed() }
    }

    fn read<Condition, M: GuestMemory>(
        &mut self,
        parameters: &Parameters,
        memory: &mut M,
        words: usize,
    ) -> Result<Arguments<'_, C>, End<Condition, M::Intercept>> {
        parameters.read(memory, 0, self.input.as_mut_bytes()).map_err(End::Intercept)?;
        let variable = &mut self.variable.as_mut()[..words];
        parameters.read(memory, size_of::<C::Input>(), variable.as_mut_bytes()).map_err(End::Intercept)?;
        Ok(self.arguments(words)?)
    }

    fn arguments(&mut self, words: usize) -> Result<Arguments<'_, C>, HvStatus> {
        C::Variable::arguments(&self.input, &self.variable.as_mut()[..words])
    }
}

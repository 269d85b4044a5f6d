// SPDX-License-Identifier: MIT OR Apache-2.0
//! One call from its control word to its result.

use crate::call::{
    Arguments, Call, HandleRep, HandleSimple, Handler, RepCall, SimpleCall, Stop, VariableHeader,
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
        let (frame, control) = Frame::new(registers)?;
        Some(Self { handler, frame, memory, offered, control })
    }

    /// The control word the call was made with.
    pub fn control(&self) -> InputValue {
        self.control
    }

    /// Ends the call of a code that the role does not have.
    pub fn unknown(self) -> Outcome<H::Condition, M::Intercept> {
        self.fail(HvStatus::INVALID_HYPERCALL_CODE)
    }

    /// Ends the call of a code that is not for this role's callers, whatever its parameters say.
    pub fn denied(self) -> Outcome<H::Condition, M::Intercept> {
        self.fail(HvStatus::ACCESS_DENIED)
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

    fn try_simple<C: SimpleCall>(&mut self) -> Result<(), EndOf<H, M>>
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
        let output = self.handler.handle(arguments)?;
        parameters.write(&mut self.frame, self.memory, 0, output.as_bytes()).map_err(End::Intercept)
    }

    /// Gives the elements complete, counted from the start of the list.
    fn try_rep<C: RepCall>(&mut self) -> Result<u16, EndOf<H, M>>
    where
        H: HandleRep<C>,
    {
        const {
            assert!(C::REP_BUDGET > 0);
            assert!(size_of::<C::Input>().is_multiple_of(8), "the list is aligned");
        }
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

        let end = count.min(start + C::REP_BUDGET);
        let mut next = start;
        while next < end {
            let length = CHUNK.min(end - next);
            let (processed, halt) = self.part::<C>(&mut parameters, &mut header, variable, next, length);
            next += processed;
            match halt {
                None => {}
                Some(End::Failed(status, _)) => return Err(End::Failed(status, next as u16)),
                Some(halt) if next == start => return Err(halt),
                // What is done is accounted for first; the reason to halt is met again when the call is.
                Some(_) => break,
            }
        }
        if next < count { Err(End::ContinueAt(next as u16)) } else { Ok(count as u16) }
    }

    /// Handles `length` elements from `first` on, at most [`CHUNK`]. Gives how many are done, and what stopped it there.
    fn part<C: RepCall>(
        &mut self,
        parameters: &mut Parameters,
        header: &mut Header<C>,
        variable: usize,
        first: usize,
        length: usize,
    ) -> (usize, Option<EndOf<H, M>>)
    where
        H: HandleRep<C>,
    {
        let mut elements = <[C::Element; CHUNK]>::new_zeroed();
        let mut outputs = <[C::OutputElement; CHUNK]>::new_zeroed();
        let (elements, outputs) = (&mut elements[..length], &mut outputs[..length]);
        let offset = header_length::<C>(variable) + first * size_of::<C::Element>();
        if let Err(intercept) = parameters.read(self.memory, offset, elements.as_mut_bytes()) {
            return (0, Some(End::Intercept(intercept)));
        }
        let arguments = match header.arguments(variable) {
            Ok(arguments) => arguments,
            Err(status) => return (0, Some(status.into())),
        };
        let stop = self.handler.handle(arguments, elements, outputs).err();
        let processed = stop.as_ref().map_or(length, |stop| stop.processed.min(length));
        let offset = first * size_of::<C::OutputElement>();
        match parameters.write(&mut self.frame, self.memory, offset, outputs[..processed].as_bytes()) {
            Ok(()) => (processed, stop.map(|stop| stop.reason.into())),
            Err(intercept) => (0, Some(End::Intercept(intercept))),
        }
    }

    /// What comes before everything else: the privilege, then the control word. Gives the variable header's words.
    ///
    /// The privilege is first, so that a caller without it learns nothing (TLFS 3.12.2).
    fn admit<C: Call>(&self) -> Result<usize, EndOf<H, M>> {
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

    fn end(&mut self, end: EndOf<H, M>) -> Outcome<H::Condition, M::Intercept> {
        match end {
            End::Failed(status, reps_complete) => self.complete(status, reps_complete),
            End::Wait(condition) => Outcome::Wait(condition),
            End::Intercept(intercept) => Outcome::Intercept(intercept),
            End::InvalidOpcode => Outcome::InvalidOpcode,
            End::Continue => Outcome::Continue,
            End::ContinueAt(index) => {
                self.frame.set_rep_start_index(self.control, index);
                Outcome::Continue
            }
        }
    }
}

/// Every end of a call but success.
enum End<Condition, Intercept> {
    /// With this status, and so many elements complete, counted from the start of the list.
    Failed(HvStatus, u16),
    Wait(Condition),
    Intercept(Intercept),
    InvalidOpcode,
    /// To be executed again as it is.
    Continue,
    /// To be executed again from this element on.
    ContinueAt(u16),
}

type EndOf<H, M> = End<<H as Handler>::Condition, <M as GuestMemory>::Intercept>;

impl<Condition, Intercept> From<Stop<Condition>> for End<Condition, Intercept> {
    fn from(stop: Stop<Condition>) -> Self {
        match stop {
            Stop::Failed(status) => status.into(),
            Stop::Continue => Self::Continue,
            Stop::Wait(condition) => Self::Wait(condition),
        }
    }
}

impl<Condition, Intercept> From<HvStatus> for End<Condition, Intercept> {
    fn from(status: HvStatus) -> Self {
        Self::Failed(status, 0)
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

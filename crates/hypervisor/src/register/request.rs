// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests for what only the holder of a VP can reach: its registers, and translations with them. They are left in the VP's mailbox, and the VP serves
//! them between two instructions; so does a VP that itself waits for another one, which is why two that ask each other get their answers.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tlfs::HvStatus;
use tlfs::register::{RegisterName, RegisterValue};

use crate::partition::Partition;
use crate::sync::lock;
use crate::translate::{Translation, TranslationFlags};
use crate::vp::Vp;

/// What is asked of a VP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Get registers.
    Get(Vec<RegisterName>),
    /// Set registers, in order.
    Set(Vec<(RegisterName, RegisterValue)>),
    /// Translate the virtual page with this number.
    Translate(u64, TranslationFlags),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Values of the registers that were got.
    pub(crate) values: Vec<RegisterValue>,
    /// How many registers were got or set.
    pub(crate) processed: usize,
    /// Why it was not more.
    pub(crate) status: HvStatus,
    /// The translation that was asked for.
    pub(crate) translation: Option<Translation>,
}

impl Answer {
    /// To nothing.
    pub(crate) const NOTHING: Self =
        Self { values: Vec::new(), processed: 0, status: HvStatus::SUCCESS, translation: None };
}

/// A request, in the hands of who asks and who answers.
pub(crate) struct Request {
    /// Index of the VP that is asked.
    pub(crate) vp: u32,
    pub(crate) operation: Operation,
    /// Index of the VP that waits for the answer, if it is one.
    waiter: Option<u32>,
    answer: Mutex<Option<Answer>>,
    answered: Condvar,
}

impl Request {
    pub(crate) fn new(vp: u32, operation: Operation, waiter: Option<u32>) -> Arc<Self> {
        Arc::new(Self { vp, operation, waiter, answer: Mutex::new(None), answered: Condvar::new() })
    }

    pub(crate) fn answer(&self) -> Option<Answer> {
        lock(&self.answer).clone()
    }

    pub(crate) fn is_answered(&self) -> bool {
        lock(&self.answer).is_some()
    }

    fn give(&self, answer: Answer) {
        *lock(&self.answer) = Some(answer);
        self.answered.notify_all();
    }

    fn wait(&self) -> Answer {
        let mut answer = lock(&self.answer);
        loop {
            match answer.take() {
                Some(answer) => return answer,
                None => answer = self.answered.wait(answer).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Registers that a hypercall sets on its own VP when it is over.
pub(crate) type Deferred = Vec<(RegisterName, RegisterValue)>;

impl Vp {
    /// Serves requests of others.
    pub(crate) fn serve_requests(&mut self, requests: Vec<Arc<Request>>) {
        for request in requests {
            let answer = self.carry_out(&request.operation);
            request.give(answer);
            if let Some(waiter) = request.waiter {
                self.partition.vp(waiter).notify();
            }
        }
    }

    fn carry_out(&mut self, operation: &Operation) -> Answer {
        let mut answer = Answer::NOTHING;
        let done = match operation {
            Operation::Get(names) => names.iter().try_for_each(|&name| {
                answer.values.push(self.register(name)?);
                answer.processed += 1;
                Ok(())
            }),
            Operation::Set(associations) => associations.iter().try_for_each(|&(name, value)| {
                self.set_register(name, value)?;
                answer.processed += 1;
                Ok(())
            }),
            Operation::Translate(page, flags) => self.translate(*page, *flags).map(|translation| {
                answer.translation = Some(translation);
            }),
        };
        answer.status = done.err().unwrap_or(HvStatus::SUCCESS);
        answer
    }

    /// Serves a request that the VP has of itself, from the middle of a hypercall. What the call itself still needs is set when it is over.
    pub(crate) fn answer_own(&mut self, request: &Request) {
        let answer = match &request.operation {
            Operation::Set(associations) => {
                let (mut processed, mut status) = (0, HvStatus::SUCCESS);
                for &(name, value) in associations {
                    let done = self.check_register(name, value).and_then(|place| {
                        if Self::is_of_the_call(place) {
                            self.deferred.push((name, value));
                            return Ok(());
                        }
                        self.set(place, value)
                    });
                    match done {
                        Ok(()) => processed += 1,
                        Err(failed) => {
                            status = failed;
                            break;
                        }
                    }
                }
                Answer { processed, status, ..Answer::NOTHING }
            }
            operation => self.carry_out(operation),
        };
        request.give(answer);
    }

    /// Sets what a hypercall left for its end.
    pub(crate) fn apply_deferred(&mut self) {
        for (name, value) in std::mem::take(&mut self.deferred) {
            // It was checked when the call was made.
            let _ = self.set_register(name, value);
        }
    }
}

impl Partition {
    /// Leaves a request in the mailbox of its VP.
    pub(crate) fn post_request(&self, request: &Arc<Request>) {
        let vp = self.vp(request.vp);
        vp.state().requests.push(Arc::clone(request));
        vp.notify();
    }

    fn ask(&self, vp: u32, operation: Operation) -> Answer {
        let request = Request::new(vp, operation, None);
        self.post_request(&request);
        request.wait()
    }

    /// Gets registers of a VP that somebody else holds (TLFS 7.10.2): blocks until the thread that runs the VP, which may be asleep, has answered. Gives the
    /// values before the first register that cannot be got, and why it could not.
    ///
    /// Not for the thread that runs the VP, which has [`Vp::register`].
    ///
    /// # Panics
    /// If there is no VP with this index.
    pub fn get_vp_registers(&self, vp: u32, names: &[RegisterName]) -> (Vec<RegisterValue>, HvStatus) {
        let answer = self.ask(vp, Operation::Get(names.to_vec()));
        (answer.values, answer.status)
    }

    /// Sets registers of a VP that somebody else holds, in order (TLFS 7.10.1); as [`Partition::get_vp_registers`]. Gives how many were set, and why it was not more.
    ///
    /// # Panics
    /// If there is no VP with this index.
    pub fn set_vp_registers(
        &self,
        vp: u32,
        registers: &[(RegisterName, RegisterValue)],
    ) -> (usize, HvStatus) {
        let answer = self.ask(vp, Operation::Set(registers.to_vec()));
        (answer.processed, answer.status)
    }

    /// Translates a virtual page number with the registers of a VP that somebody else holds; as [`Vp::translate`].
    ///
    /// # Errors
    /// As [`Vp::translate`].
    ///
    /// # Panics
    /// If there is no VP with this index.
    pub fn translate_virtual_address(
        &self,
        vp: u32,
        page: u64,
        flags: TranslationFlags,
    ) -> Result<Translation, HvStatus> {
        let answer = self.ask(vp, Operation::Translate(page, flags));
        answer.translation.ok_or(answer.status)
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls: from the exit to the parser, and from the parser to what the calls do. What the calls of one family do is in a file of its own.

mod caller;
mod flush;
mod interrupts;
mod messages;
mod scheduling;

use std::convert::Infallible;

use engine::{Event, Resume};
use hypercall::{CallDescription, Guest, Handler, Offered, Outcome, RepStop, Role, Stop};
use tlfs::HvStatus;
use tlfs::hypercall::ResultValue;
use tlfs::vsm::Vtl;

use crate::enlightenment::Enlightenment;
use crate::partition::{Partition, view_of};
use crate::trace::TraceEvent;
use crate::vp::{Vp, VpExit};
use caller::{CallMemory, CallRegisters};

impl Vp {
    /// VMCALL or VMMCALL.
    pub(crate) fn hypercall(&mut self) -> Option<VpExit> {
        let began = self.host_time();
        let partition = &*self.partition;
        let offer = partition.offer();
        if !offer.is_present() || !partition.vtl(self.active_vtl).hypercall_page.is_enabled() {
            self.fault(Event::INVALID_OPCODE);
            return None;
        }
        let offered = Offered {
            privileges: offer.privileges,
            xmm_fast_input: offer.features.xmm_fast_input(),
            xmm_fast_output: offer.features.xmm_fast_output(),
            physical_address_width: partition.space().address_bits() as u8,
        };
        let mut calls = Calls {
            partition,
            index: self.index,
            vtl: self.active_vtl,
            flushes_self: false,
            spin_wait: false,
        };
        let mut registers = CallRegisters(&mut *self.engine);
        let mut memory = CallMemory { space: partition.space(), view: view_of(self.active_vtl) };
        let control = registers.control_word();
        let outcome =
            hypercall::dispatch::<Guest, _, _, _>(&mut calls, &offered, &mut registers, &mut memory);
        let (flushes_self, spin_wait) = (calls.flushes_self, calls.spin_wait);
        if flushes_self || outcome == Outcome::Continue {
            // A flush of its own comes before guest code goes on, and interrupts before a call does.
            self.look_again();
        }
        let result = match outcome {
            Outcome::Complete(result) => {
                self.engine.resume(Resume::Advance);
                result
            }
            Outcome::Continue => {
                self.engine.resume(Resume::Retry);
                ResultValue::of(HvStatus::SUCCESS)
            }
            Outcome::Wait(never) => match never {},
            Outcome::Intercept(access) => return Some(VpExit::Parameter(access)),
            Outcome::InvalidOpcode => {
                self.fault(Event::INVALID_OPCODE);
                return None;
            }
        };
        let cost = self.host_time().saturating_sub(began);
        self.trace(TraceEvent::Hypercall { code: control.call_code(), status: result.status(), cost });
        spin_wait.then_some(VpExit::SpinWait)
    }
}

/// What the calls do, for the VP that makes them.
struct Calls<'a> {
    partition: &'a Partition,
    index: u32,
    vtl: Vtl,
    /// A flush was left for the caller itself.
    flushes_self: bool,
    /// The caller waits for another VP.
    spin_wait: bool,
}

impl Calls<'_> {
    /// A call that no privilege guards exists only where its service is offered.
    fn require(&self, services: &[Enlightenment]) -> Result<(), HvStatus> {
        let offered = self.partition.offer().enlightenments;
        let served = services.iter().all(|&service| offered.contains(service));
        if served { Ok(()) } else { Err(HvStatus::INVALID_HYPERCALL_CODE) }
    }
}

/// The hypercalls that are served, with the privileges that they need.
#[must_use]
pub fn served_calls() -> &'static [CallDescription] {
    <Guest as Role<Calls<'static>>>::CALLS
}

impl Handler for Calls<'_> {
    type Condition = Infallible;
}

type Done = Result<(), Stop<Infallible>>;
type RepDone = Result<(), RepStop<Infallible>>;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls: from the exit to the parser, and from the parser to what the calls do. What the calls of one family do is in a file of its own.

mod caller;
mod debug;
mod devices;
mod extended;
mod flush;
mod interrupts;
mod management;
mod messages;
mod registers;
mod scheduling;
mod start;

use std::sync::Arc;

use engine::{Event, Resume};
use hypercall::{CallDescription, Guest, Handler, Offered, Outcome, RepStop, Role, Stop, control_word};
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, ResultValue};
use tlfs::partition::PartitionId;
use tlfs::vsm::{InputVtl, Vtl};

use crate::enlightenment::Enlightenment;
use crate::partition::{Partition, view_of};
use crate::register::request::{Answer, Operation, Request};
use crate::trace::TraceEvent;
use crate::vp::{Vp, VpExit};
use caller::{CallMemory, CallRegisters};

pub use debug::DebugLink;
pub use devices::DeviceInterrupts;

/// What a call waits for.
pub(crate) enum Condition {
    /// What it asked of a VP, which may be its own.
    Answer(Arc<Request>),
    /// The translations of the VP with this index may be flushed again (TLFS 9.1.4).
    Flush(u32),
}

impl Condition {
    /// Whether the call can be made again.
    pub(crate) fn holds(&self, partition: &Partition) -> bool {
        match self {
            Self::Answer(request) => request.is_answered(),
            Self::Flush(vp) => !partition.vp(*vp).state().intercept_suspend.tlb_flush_inhibit(),
        }
    }
}

impl Vp {
    /// VMCALL or VMMCALL.
    pub(crate) fn hypercall(&mut self) -> Option<VpExit> {
        let began = self.host_time();
        let offer = self.partition.offer();
        if !offer.is_present() || !self.partition.vtl(self.active_vtl).hypercall_page.is_enabled() {
            self.fault(Event::INVALID_OPCODE);
            return None;
        }
        let offered = Offered {
            privileges: offer.privileges,
            xmm_fast_input: offer.features.xmm_fast_input(),
            xmm_fast_output: offer.features.xmm_fast_output(),
            physical_address_width: self.partition.space().address_bits() as u8,
        };
        let mut asked = match self.waiting.take() {
            Some(Condition::Answer(request)) => Some(request),
            _ => None,
        };
        let open_bus = std::mem::take(&mut self.open_bus);
        loop {
            let mut registers = CallRegisters::new(&mut *self.engine);
            let Some(control) = control_word(&registers) else {
                self.fault(Event::INVALID_OPCODE);
                return None;
            };
            let partition = &*self.partition;
            let mut calls = Calls {
                partition,
                index: self.index,
                vtl: self.active_vtl,
                asked: asked.take(),
                aftermath: Aftermath::default(),
            };
            let mut memory =
                CallMemory { space: partition.space(), view: view_of(self.active_vtl), open_bus };
            let outcome =
                hypercall::dispatch::<Guest, _, _, _>(&mut calls, &offered, &mut registers, &mut memory);
            let aftermath = calls.aftermath;
            if aftermath.flushes_self {
                // It comes before guest code goes on.
                self.look_again();
            }
            let result = match outcome {
                Outcome::Complete(result) => {
                    self.engine.resume(Resume::Advance);
                    if let Some(root) = aftermath.new_space {
                        let control = self.engine.control();
                        self.engine.set_control(engine::ControlRegisters { cr3: root, ..control });
                    }
                    self.apply_deferred();
                    result
                }
                Outcome::Continue => {
                    // Interrupts come before a call goes on.
                    self.look_again();
                    self.engine.resume(Resume::Retry);
                    ResultValue::of(HvStatus::SUCCESS)
                }
                Outcome::Wait(Condition::Answer(request)) if request.vp == self.index => {
                    // What the call wants of its own VP is done here, where the VP is at hand; then the call finds the answer.
                    self.answer_own(&request);
                    asked = Some(request);
                    continue;
                }
                Outcome::Wait(condition) => {
                    self.engine.resume(Resume::Retry);
                    if let Condition::Answer(request) = &condition {
                        self.partition.post_request(request);
                    }
                    (self.waiting, self.open_bus) = (Some(condition), open_bus);
                    self.look_again();
                    return None;
                }
                Outcome::Intercept(access) => {
                    return self.memory_intercept(access, VpExit::Parameter(access));
                }
                Outcome::InvalidOpcode => {
                    self.fault(Event::INVALID_OPCODE);
                    return None;
                }
            };
            let cost = self.host_time().saturating_sub(began);
            self.trace(TraceEvent::Hypercall { code: control.call_code(), status: result.status(), cost });
            return aftermath.spin_wait.then_some(VpExit::SpinWait);
        }
    }

    /// Whether the VP waits in a hypercall for something that is not so yet.
    pub(crate) fn waits(&self) -> bool {
        self.waiting.as_ref().is_some_and(|condition| !condition.holds(&self.partition))
    }
}

/// What the calls do, for the VP that makes them.
struct Calls<'a> {
    partition: &'a Partition,
    index: u32,
    vtl: Vtl,
    /// What the call asked for when it was made before.
    asked: Option<Arc<Request>>,
    aftermath: Aftermath,
}

/// What the caller's VP has to do when a call is over.
#[derive(Clone, Copy, Default)]
struct Aftermath {
    /// A flush was left for the caller itself.
    flushes_self: bool,
    /// The caller waits for another VP.
    spin_wait: bool,
    /// The address space that the caller switches to.
    new_space: Option<u64>,
}

impl Calls<'_> {
    /// A call that no privilege guards exists only where its service is offered.
    fn require(&self, services: &[Enlightenment]) -> Result<(), HvStatus> {
        let offered = self.partition.offer().enlightenments;
        let served = services.iter().all(|&service| offered.contains(service));
        if served { Ok(()) } else { Err(HvStatus::INVALID_HYPERCALL_CODE) }
    }

    /// A call about the caller's own partition. Of others a guest learns nothing, not even whether they exist.
    fn require_self(&self, partition: PartitionId) -> Result<(), HvStatus> {
        match partition {
            PartitionId::SELF => Ok(()),
            PartitionId::INVALID => Err(HvStatus::INVALID_PARTITION_ID),
            id if id == self.partition.id() => Ok(()),
            _ => Err(HvStatus::ACCESS_DENIED),
        }
    }

    /// The VTL that a call is about, which is not above the caller's (TLFS 15.15.1).
    fn target_vtl(&self, input: InputVtl) -> Result<Vtl, HvStatus> {
        if input.reserved_z() != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let vtl = if input.use_target_vtl() { Vtl(input.target_vtl()) } else { self.vtl };
        if vtl > self.vtl { Err(HvStatus::ACCESS_DENIED) } else { Ok(vtl) }
    }

    /// Asks something of a VP, or gives the answer if that is there.
    fn ask(&mut self, vp: u32, operation: Operation) -> Result<Answer, Stop<Condition>> {
        if let Some(asked) = self.asked.take()
            && asked.vp == vp
            && asked.operation == operation
            && let Some(answer) = asked.answer()
        {
            return Ok(answer);
        }
        let waiter = (vp != self.index).then_some(self.index);
        Err(Stop::Wait(Condition::Answer(Request::new(vp, operation, waiter))))
    }
}

/// Calls that only the parent of a partition may make about it. The parent of every partition here is its host program, which has them as methods:
/// [`Partition::translate_virtual_address`] and [`Partition::assert_virtual_interrupt`]. A guest is nobody's parent, and denied.
#[must_use]
pub fn parents_calls() -> &'static [CallCode] {
    <Guest as Role<Calls<'static>>>::DENIED
}

/// The hypercalls that are served, with the privileges that they need.
#[must_use]
pub fn served_calls() -> &'static [CallDescription] {
    <Guest as Role<Calls<'static>>>::CALLS
}

impl Handler for Calls<'_> {
    type Condition = Condition;
}

type Done = Result<(), Stop<Condition>>;
type RepDone = Result<(), RepStop<Condition>>;

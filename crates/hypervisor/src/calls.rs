// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls: from the exit to the parser, and from the parser to what the calls do.

use std::convert::Infallible;

use engine::{
    EngineVp, Event, FlushScope, Gpr, MemoryAccess, MemoryAccessKind, MemoryExitCause, Resume, SegmentName,
};
use hypercall::calls::{
    FlushVirtualAddressList, FlushVirtualAddressListEx, FlushVirtualAddressSpace, FlushVirtualAddressSpaceEx,
    NotifyLongSpinWait, PostMessage, SendSyntheticClusterIpi, SendSyntheticClusterIpiEx, SignalEvent,
};
use hypercall::{
    CallDescription, CallerMode, Guest, GuestMemory, HandleRep, HandleSimple, Handler, Offered, Outcome,
    ProcessorSet, Register, Registers, RepStop, Role, Stop,
};
use memory::{AccessError, AccessErrorCause, PAGE_SHIFT, Rights, Space, ViewId};
use tlfs::HvStatus;
use tlfs::hypercall::{InputValue, ResultValue};
use tlfs::interrupt::{MIN_FIXED_VECTOR, SendSyntheticClusterIpiExInput, SendSyntheticClusterIpiInput};
use tlfs::synic::{PostMessageInput, SignalEventInput};
use tlfs::timer::NotifyLongSpinWaitInput;
use tlfs::tlb::{
    ExtendedGvaRange, FlushFlags, FlushVirtualAddressExInput, FlushVirtualAddressInput, GvaRange,
};
use tlfs::vsm::{InputVtl, Vtl};
use x86::control::{Cr0, Efer};

use crate::enlightenment::Enlightenment;
use crate::flush::RUNS;
use crate::partition::{Partition, view_of};
use crate::trace::TraceEvent;
use crate::vp::{Vp, VpExit};

impl Vp {
    /// VMCALL or VMMCALL.
    pub(crate) fn hypercall(&mut self) -> Option<VpExit> {
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
        self.trace(TraceEvent::Hypercall(control.call_code(), result.status()));
        spin_wait.then_some(VpExit::SpinWait)
    }
}

/// The calling VP's registers.
struct CallRegisters<'a>(&'a mut dyn EngineVp);

impl CallRegisters<'_> {
    fn control_word(&self) -> InputValue {
        let half = |register| self.general(register) & u64::from(u32::MAX);
        InputValue::from_bits(match self.mode() {
            CallerMode::Bits64 => self.general(Register::Rcx),
            _ => half(Register::Rdx) << 32 | half(Register::Rax),
        })
    }
}

const fn gpr(register: Register) -> Gpr {
    match register {
        Register::Rax => Gpr::Rax,
        Register::Rcx => Gpr::Rcx,
        Register::Rdx => Gpr::Rdx,
        Register::Rbx => Gpr::Rbx,
        Register::Rsi => Gpr::Rsi,
        Register::Rdi => Gpr::Rdi,
        Register::R8 => Gpr::R8,
    }
}

impl Registers for CallRegisters<'_> {
    fn mode(&self) -> CallerMode {
        let control = self.0.control();
        let attributes = self.0.segment(SegmentName::Cs).attributes;
        CallerMode::of(Cr0::from_bits(control.cr0), Efer::from_bits(control.efer), attributes, self.0.cpl())
    }

    fn general(&self, register: Register) -> u64 {
        self.0.gpr(gpr(register))
    }

    fn set_general(&mut self, register: Register, value: u64) {
        self.0.set_gpr(gpr(register), value);
    }

    fn xmm(&self, index: usize) -> u128 {
        self.0.xmm(index as u8)
    }

    fn set_xmm(&mut self, index: usize, value: u128) {
        self.0.set_xmm(index as u8, value);
    }
}

/// Guest memory as the calling VP sees it.
struct CallMemory<'a> {
    space: &'a Space,
    view: ViewId,
}

/// The memory intercept that a failed access to a parameter is.
fn intercept(error: AccessError, kind: MemoryAccessKind) -> MemoryAccess {
    let cause = match error.cause {
        AccessErrorCause::Unmapped => MemoryExitCause::Unmapped,
        AccessErrorCause::Denied { have, .. } => MemoryExitCause::Rights(have),
        AccessErrorCause::HostFault => MemoryExitCause::HostFault,
    };
    MemoryAccess { gpa: error.gpa, gva: None, size: 8, kind, cause, page_walk: false, user: false }
}

impl GuestMemory for CallMemory<'_> {
    type Intercept = MemoryAccess;

    fn read(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), MemoryAccess> {
        let read = self.space.read(self.view, gpa, bytes, Rights::READ);
        read.map_err(|error| intercept(error, MemoryAccessKind::Read))
    }

    fn lock_output(&mut self, gpa: u64, _length: usize) -> Result<(), MemoryAccess> {
        let cause = match self.space.resolve(self.view, gpa >> PAGE_SHIFT) {
            Some(page) if page.rights.contains(Rights::WRITE) => return Ok(()),
            Some(page) => AccessErrorCause::Denied { have: page.rights, need: Rights::WRITE },
            None => AccessErrorCause::Unmapped,
        };
        Err(intercept(AccessError { gpa, cause }, MemoryAccessKind::Write(0)))
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryAccess> {
        let written = self.space.write(self.view, gpa, bytes, Rights::WRITE);
        written.map_err(|error| intercept(error, MemoryAccessKind::Write(0)))
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

/// Which VPs a flush means.
fn flush_targets<'a>(flags: FlushFlags, named: ProcessorSet<'a>) -> Result<ProcessorSet<'a>, HvStatus> {
    if flags.all_processors() {
        Ok(ProcessorSet::ALL)
    } else if named.is_empty() {
        Err(HvStatus::INVALID_PARAMETER)
    } else {
        Ok(named)
    }
}

impl Calls<'_> {
    /// A call that no privilege guards exists only where its service is offered.
    fn require(&self, services: &[Enlightenment]) -> Result<(), HvStatus> {
        let offered = self.partition.offer().enlightenments;
        let served = services.iter().all(|&service| offered.contains(service));
        if served { Ok(()) } else { Err(HvStatus::INVALID_HYPERCALL_CODE) }
    }

    fn flush(&mut self, targets: &ProcessorSet<'_>, scope: FlushScope<'_>) {
        self.flushes_self |= self.partition.flush(self.index, targets, scope);
    }

    /// HvFlushVirtualAddressSpace (TLFS 9.4.2).
    fn flush_space(
        &mut self,
        address_space: u64,
        flags: FlushFlags,
        named: ProcessorSet<'_>,
    ) -> Result<(), HvStatus> {
        if flags.reserved_z() != 0 || flags.use_extended_range_format() {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let targets = flush_targets(flags, named)?;
        let global = !flags.non_global_mappings_only();
        let scope = if flags.all_virtual_address_spaces() {
            if global { FlushScope::All } else { FlushScope::NonGlobal }
        } else {
            // The low bits of CR3 are caching and PCID.
            FlushScope::AddressSpace { root: self.check_space(address_space)? & !0xFFF, global }
        };
        self.flush(&targets, scope);
        Ok(())
    }

    fn check_space(&self, address_space: u64) -> Result<u64, HvStatus> {
        let valid = address_space >> self.partition.space().address_bits() == 0;
        if valid { Ok(address_space) } else { Err(HvStatus::INVALID_PARAMETER) }
    }

    /// HvFlushVirtualAddressList (TLFS 9.4.4), for a part of the list.
    fn flush_list(
        &mut self,
        address_space: u64,
        flags: FlushFlags,
        named: ProcessorSet<'_>,
        ranges: &[GvaRange],
    ) -> Result<(), HvStatus> {
        let extended = flags.use_extended_range_format();
        let offered = self.partition.offer().features.extended_gva_ranges_for_flush_virtual_address_list();
        if flags.reserved_z() != 0 || flags.non_global_mappings_only() || (extended && !offered) {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let targets = flush_targets(flags, named)?;
        if !flags.all_virtual_address_spaces() {
            self.check_space(address_space)?;
        }
        let mut runs = [(0, 0); RUNS];
        for ranges in ranges.chunks(RUNS) {
            let mut count = 0;
            for &range in ranges {
                let run = if extended { extended_run(range.into_bits().into()) } else { run(range) };
                // What is no address is in no translation; it counts as done.
                if is_canonical(run.0) {
                    runs[count] = run;
                    count += 1;
                }
            }
            if count != 0 {
                self.flush(&targets, FlushScope::Pages(&runs[..count]));
            }
        }
        Ok(())
    }

    /// HvSendSyntheticClusterIpi (TLFS 10.5.2).
    fn send_ipi(
        &mut self,
        vector: u32,
        vtl: InputVtl,
        reserved_z: [u8; 3],
        targets: ProcessorSet<'_>,
    ) -> Result<(), HvStatus> {
        let vector = u8::try_from(vector).ok().filter(|&vector| vector >= MIN_FIXED_VECTOR);
        let vector = vector.ok_or(HvStatus::INVALID_PARAMETER)?;
        if reserved_z != [0; 3] || vtl.reserved_z() != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let target_vtl = if vtl.use_target_vtl() { Vtl(vtl.target_vtl()) } else { self.vtl };
        if target_vtl > self.vtl {
            return Err(HvStatus::ACCESS_DENIED);
        }
        for index in targets.iter(self.partition.vp_count()) {
            let vp = self.partition.vp(index);
            if vp.state().vtl(target_vtl).request(vector, false, false) {
                vp.notify();
            }
        }
        Ok(())
    }
}

/// First address and number of 4 KiB pages.
fn run(range: GvaRange) -> (u64, u64) {
    (range.gva_page_number() << PAGE_SHIFT, u64::from(range.additional_pages()) + 1)
}

/// The same for the extended form, whose large pages are 2 MiB, or 1 GiB if the lowest bit of the page number is set.
fn extended_run(range: ExtendedGvaRange) -> (u64, u64) {
    let (number, count) = (range.gva_page_number(), u64::from(range.additional_pages()) + 1);
    let pages = match (range.large_page(), number & 1) {
        (false, _) => return (number << PAGE_SHIFT, count),
        (true, 0) => 1u64 << 9,
        (true, _) => 1 << 18,
    };
    ((number & !(pages - 1)) << PAGE_SHIFT, count * pages)
}

/// Whether bits 63 to 56 are alike: with five levels of paging that is an address, with four it may be.
fn is_canonical(gva: u64) -> bool {
    matches!((gva as i64) >> 56, 0 | -1)
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

impl HandleSimple<FlushVirtualAddressSpace> for Calls<'_> {
    fn handle(&mut self, input: &FlushVirtualAddressInput) -> Done {
        self.require(&[Enlightenment::TlbFlush])?;
        Ok(self.flush_space(
            input.address_space,
            input.flags,
            ProcessorSet::from_mask(&input.processor_mask),
        )?)
    }
}

impl HandleSimple<FlushVirtualAddressSpaceEx> for Calls<'_> {
    fn handle(&mut self, (input, set): (&FlushVirtualAddressExInput, ProcessorSet<'_>)) -> Done {
        self.require(&[Enlightenment::TlbFlush, Enlightenment::SparseSets])?;
        Ok(self.flush_space(input.address_space, input.flags, set)?)
    }
}

impl HandleRep<FlushVirtualAddressList> for Calls<'_> {
    fn handle(&mut self, input: &FlushVirtualAddressInput, ranges: &[GvaRange], _: &mut [()]) -> RepDone {
        self.require(&[Enlightenment::TlbFlush])?;
        let named = ProcessorSet::from_mask(&input.processor_mask);
        Ok(self.flush_list(input.address_space, input.flags, named, ranges)?)
    }
}

impl HandleRep<FlushVirtualAddressListEx> for Calls<'_> {
    fn handle(
        &mut self,
        (input, set): (&FlushVirtualAddressExInput, ProcessorSet<'_>),
        ranges: &[GvaRange],
        _: &mut [()],
    ) -> RepDone {
        self.require(&[Enlightenment::TlbFlush, Enlightenment::SparseSets])?;
        Ok(self.flush_list(input.address_space, input.flags, set, ranges)?)
    }
}

impl HandleSimple<SendSyntheticClusterIpi> for Calls<'_> {
    fn handle(&mut self, input: &SendSyntheticClusterIpiInput) -> Done {
        self.require(&[Enlightenment::ClusterIpi])?;
        let targets = ProcessorSet::from_mask(&input.processor_mask);
        Ok(self.send_ipi(input.vector, input.target_vtl, input.reserved_z, targets)?)
    }
}

impl HandleSimple<SendSyntheticClusterIpiEx> for Calls<'_> {
    fn handle(&mut self, (input, set): (&SendSyntheticClusterIpiExInput, ProcessorSet<'_>)) -> Done {
        self.require(&[Enlightenment::ClusterIpi, Enlightenment::SparseSets])?;
        Ok(self.send_ipi(input.vector, input.target_vtl, input.reserved_z, set)?)
    }
}

impl HandleSimple<NotifyLongSpinWait> for Calls<'_> {
    /// A hint for whoever schedules VPs: the host (TLFS 14.5.1).
    fn handle(&mut self, _: &NotifyLongSpinWaitInput) -> Done {
        self.spin_wait = true;
        Ok(())
    }
}

/// The status as the parser wants it.
fn done(status: HvStatus) -> Done {
    if status == HvStatus::SUCCESS { Ok(()) } else { Err(status.into()) }
}

impl HandleSimple<PostMessage> for Calls<'_> {
    fn handle(&mut self, input: &PostMessageInput) -> Done {
        let payload = usize::try_from(input.payload_size).ok().and_then(|size| input.payload.get(..size));
        let payload = payload.ok_or(HvStatus::INVALID_PARAMETER)?;
        done(self.partition.post_message(input.connection_id, input.message_type, payload))
    }
}

impl HandleSimple<SignalEvent> for Calls<'_> {
    fn handle(&mut self, input: &SignalEventInput) -> Done {
        if input.reserved_z != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        done(self.partition.signal_event(input.connection_id, input.flag_number))
    }
}

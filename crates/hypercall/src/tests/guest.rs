// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of the guest role: agreement with the table of calls, and the arguments that reach a handler.

use super::{ALL, control, rep};
use crate::call::{Call, HandleRep, HandleSimple, Handler, RepStop, Stop};
use crate::caller::{CallerMode, Offered};
use crate::calls::*;
use crate::dispatch::Outcome;
use crate::processor_set::ProcessorSet;
use crate::role::{Guest, Role, dispatch};
use crate::sandbox::{TestIntercept, TestMemory, TestRegisters};
use std::format;
use std::string::String;
use std::vec::Vec;
use tlfs::HvStatus;
use tlfs::extended::{BootZeroedMemoryOutput, QueryCapabilitiesOutput};
use tlfs::hypercall::{CallClass, InputValue, ResultValue, info};
use tlfs::interrupt::{
    RetargetDeviceInterruptInput, SendSyntheticClusterIpiExInput, SendSyntheticClusterIpiInput,
};
use tlfs::privilege::PrivilegeMask;
use tlfs::register::{RegisterName, RegisterValue};
use tlfs::root::*;
use tlfs::synic::{PostMessageInput, SignalEventInput};
use tlfs::timer::NotifyLongSpinWaitInput;
use tlfs::tlb::*;
use tlfs::vp::*;
use zerocopy::{FromZeros, IntoBytes};

/// Writes down each call in words.
#[derive(Default)]
struct Notes(Vec<String>);

impl Handler for Notes {
    type Condition = ();
}

impl Notes {
    fn note(&mut self, note: String) -> Result<(), Stop<()>> {
        self.0.push(note);
        Ok(())
    }

    fn pages(&mut self, note: String, elements: &[GvaRange]) -> Result<(), RepStop<()>> {
        let pages: Vec<_> = elements.iter().map(|range| range.gva_page_number()).collect();
        self.0.push(format!("{note} pages {pages:x?}"));
        Ok(())
    }
}

impl HandleSimple<FlushVirtualAddressSpace> for Notes {
    fn handle(&mut self, input: &FlushVirtualAddressInput) -> Result<(), Stop<()>> {
        self.note(format!("flush {:#x} of {:#b}", input.address_space, input.processor_mask))
    }
}

impl HandleRep<FlushVirtualAddressList> for Notes {
    fn handle(
        &mut self,
        input: &FlushVirtualAddressInput,
        elements: &[GvaRange],
        _: &mut [()],
    ) -> Result<(), RepStop<()>> {
        self.pages(format!("flush {:#x} of {:#b}", input.address_space, input.processor_mask), elements)
    }
}

impl HandleSimple<FlushVirtualAddressSpaceEx> for Notes {
    fn handle(
        &mut self,
        (input, set): (&FlushVirtualAddressExInput, ProcessorSet<'_>),
    ) -> Result<(), Stop<()>> {
        self.note(format!("flush {:#x} of {:?}", input.address_space, set.iter(256).collect::<Vec<_>>()))
    }
}

impl HandleRep<FlushVirtualAddressListEx> for Notes {
    fn handle(
        &mut self,
        (input, set): (&FlushVirtualAddressExInput, ProcessorSet<'_>),
        elements: &[GvaRange],
        _: &mut [()],
    ) -> Result<(), RepStop<()>> {
        let vps: Vec<_> = set.iter(256).collect();
        self.pages(format!("flush {:#x} of {vps:?}", input.address_space), elements)
    }
}

impl HandleSimple<NotifyLongSpinWait> for Notes {
    fn handle(&mut self, input: &NotifyLongSpinWaitInput) -> Result<(), Stop<()>> {
        self.note(format!("spin {}", input.initial_long_spin_wait))
    }
}

impl HandleSimple<SendSyntheticClusterIpi> for Notes {
    fn handle(&mut self, input: &SendSyntheticClusterIpiInput) -> Result<(), Stop<()>> {
        self.note(format!("interrupt {:#x} to {:#b}", input.vector, input.processor_mask))
    }
}

impl HandleSimple<SendSyntheticClusterIpiEx> for Notes {
    fn handle(
        &mut self,
        (input, set): (&SendSyntheticClusterIpiExInput, ProcessorSet<'_>),
    ) -> Result<(), Stop<()>> {
        self.note(format!("interrupt {:#x} to {:?}", input.vector, set.iter(256).collect::<Vec<_>>()))
    }
}

impl HandleSimple<PostMessage> for Notes {
    fn handle(&mut self, input: &PostMessageInput) -> Result<(), Stop<()>> {
        let payload = &input.payload[..input.payload_size as usize];
        self.note(format!(
            "message {:?} type {:?}: {payload:x?}",
            input.connection_id.into_bits(),
            input.message_type.0
        ))
    }
}

impl HandleSimple<SignalEvent> for Notes {
    fn handle(&mut self, input: &SignalEventInput) -> Result<(), Stop<()>> {
        if input.connection_id.into_bits() == 0x1234 {
            return Err(HvStatus::INVALID_CONNECTION_ID.into());
        }
        self.note(format!("event {:#x} flag {}", input.connection_id.into_bits(), input.flag_number))
    }
}

/// The calls whose arguments are their input as it is, and whose outputs are zeros.
macro_rules! plain {
    ($($call:ident: $input:ty => $output:ty;)+) => {$(
        impl HandleSimple<$call> for Notes {
            fn handle(&mut self, input: &$input) -> Result<$output, Stop<()>> {
                self.note(format!("{} {:x?}", stringify!($call), input.as_bytes().first()))?;
                Ok(FromZeros::new_zeroed())
            }
        }
    )+};
}

plain! {
    SwitchVirtualAddressSpace: SwitchVirtualAddressSpaceInput => ();
    GetLogicalProcessorRunTime: GetLogicalProcessorRunTimeInput => GetLogicalProcessorRunTimeOutput;
    ParkedVirtualProcessors: ParkedVirtualProcessorsInput => ();
    GetPartitionId: () => PartitionInput;
    PostDebugData: PostDebugDataInput => PostDebugDataOutput;
    RetrieveDebugData: RetrieveDebugDataInput => RetrieveDebugDataOutput;
    ResetDebugSession: ResetDebugSessionInput => ();
    GetSystemProperty: GetSystemPropertyInput => GetPropertyOutput;
    StartVirtualProcessor: StartVirtualProcessorInput => ();
    ExtQueryCapabilities: () => QueryCapabilitiesOutput;
    ExtGetBootZeroedMemory: () => BootZeroedMemoryOutput;
}

impl HandleSimple<RetargetDeviceInterrupt> for Notes {
    fn handle(&mut self, (input, words): (&RetargetDeviceInterruptInput, &[u64])) -> Result<(), Stop<()>> {
        self.note(format!("device {:#x} to {:#x} {words:x?}", input.device_id, input.interrupt_target.vector))
    }
}

impl HandleRep<GetVpRegisters> for Notes {
    fn handle(
        &mut self,
        input: &VpRegistersInput,
        names: &[RegisterName],
        _: &mut [RegisterValue],
    ) -> Result<(), RepStop<()>> {
        self.0.push(format!("get {names:?} of {}", input.vp_index.0));
        Ok(())
    }
}

impl HandleRep<SetVpRegisters> for Notes {
    fn handle(
        &mut self,
        input: &VpRegistersInput,
        registers: &[RegisterAssociation],
        _: &mut [()],
    ) -> Result<(), RepStop<()>> {
        let registers: Vec<_> = registers.iter().map(|set| (set.name, set.value.low)).collect();
        self.0.push(format!("set {registers:?} of {}", input.vp_index.0));
        Ok(())
    }
}

impl HandleRep<GetVpIndexFromApicId> for Notes {
    fn handle(
        &mut self,
        _: &GetVpIndexFromApicIdInput,
        ids: &[u32],
        _: &mut [VpIndex],
    ) -> Result<(), RepStop<()>> {
        self.0.push(format!("ids {ids:?}"));
        Ok(())
    }
}

/// The list against the table of all calls: code, shape and privileges, each call once.
#[test]
fn the_list_agrees_with_the_table() {
    let calls = <Guest as Role<Notes>>::CALLS;
    let mut codes: Vec<_> = calls.iter().map(|call| call.code.into_bits()).collect();
    codes.sort();
    assert_eq!(
        codes,
        [
            0x01, 0x02, 0x03, 0x04, 0x08, 0x09, 0x0B, 0x13, 0x14, 0x15, 0x46, 0x50, 0x51, 0x5C, 0x5D, 0x69,
            0x6A, 0x6B, 0x7B, 0x7E, 0x99, 0x9A, 0x8001, 0x8002
        ]
    );
    for call in calls {
        let info = info(call.code).expect("a call of the table");
        assert_eq!(call.privileges, info.privileges, "{}", info.name);
        let rep = matches!(info.class, CallClass::Rep | CallClass::RepVariable);
        assert_eq!(call.rep, rep, "{}", info.name);
        let variable = matches!(info.class, CallClass::SimpleVariable | CallClass::RepVariable);
        let mut notes = Notes::default();
        let control = rep_if(call.rep, call.code.into_bits()).with_variable_header_size(1);
        let refused = run(&mut notes, ALL, control, &[0; 64]) == failed(HvStatus::INVALID_HYPERCALL_INPUT);
        // This one does not end in a set: its handler says what the words mean.
        let refused = refused || call.code == RetargetDeviceInterrupt::CODE;
        // One bank that the mask does not name is refused by the set, not by the control word: ask for the set of all.
        let mut all = [0u64; 64];
        all[1] = 1;
        all[2] = 1;
        let set_of_all = run(&mut notes, ALL, control, &all) != failed(HvStatus::INVALID_HYPERCALL_INPUT);
        assert!(refused && set_of_all == variable, "{}", info.name);
    }
}

/// B03.061: who is denied a call learns nothing else about it.
#[test]
fn denied_calls_say_nothing_else() {
    assert_eq!(<Guest as Role<Notes>>::DENIED.len(), 3);
    for code in <Guest as Role<Notes>>::DENIED {
        let nonsense = InputValue::from_bits(1 << 63).with_call_code(*code).with_rep_count(1);
        assert_eq!(
            run(&mut Notes::default(), ALL, nonsense, &[]),
            failed(HvStatus::ACCESS_DENIED),
            "{code:?}"
        );
    }
}

fn rep_if(is_rep: bool, code: u16) -> InputValue {
    if is_rep { rep(code, 0, 1) } else { control(code) }
}

fn failed(status: HvStatus) -> Outcome<(), TestIntercept> {
    Outcome::Complete(ResultValue::of(status))
}

/// Makes a guest's call with its input at 0x1000.
fn run(
    notes: &mut Notes,
    offered: Offered,
    control: InputValue,
    input: &[u64],
) -> Outcome<(), TestIntercept> {
    let mut memory = TestMemory::default();
    memory.map(0x1000, false);
    for (index, word) in input.iter().enumerate() {
        memory.bytes(0x1000 + 8 * index as u64, 8).copy_from_slice(&word.to_le_bytes());
    }
    let mut registers = TestRegisters::new(CallerMode::Bits64);
    registers.set_control(control.into_bits());
    // An output that no call here needs is nowhere, one that is needed is in a page of its own.
    memory.map(0x2000, true);
    let output = if matches!(control.call_code().into_bits(), 0x50 | 0x9A) { 0x2000 } else { 0xBAD1 };
    registers.set_parameters(0x1000, output);
    if control.fast() {
        let bytes: Vec<u8> = input.iter().flat_map(|word| word.to_le_bytes()).collect();
        registers.set_block(&bytes);
    }
    dispatch::<Guest, _, _, _>(notes, &offered, &mut registers, &mut memory)
}

/// What each call's handler is told. B03.038: variable headers of one, two and three banks.
#[test]
fn arguments() {
    let cases: [(InputValue, &[u64], &str); 16] = [
        (control(0x02), &[0xCC3000, 1, 0b101], "flush 0xcc3000 of 0b101"),
        (control(0x02).with_fast(true), &[0xCC3000, 1, 0b101], "flush 0xcc3000 of 0b101"),
        (rep(0x03, 1, 3), &[0xCC3000, 0, 1, 0xA000, 0xB000, 0xC000], "flush 0xcc3000 of 0b1 pages [b, c]"),
        (control(0x08).with_fast(true), &[7, 0], "spin 7"),
        (control(0x0B).with_fast(true), &[0xF3, 0b110], "interrupt 0xf3 to 0b110"),
        (control(0x13), &[0xCC3000, 0, 1, 0], "flush 0xcc3000 of "),
        (
            control(0x13).with_variable_header_size(2),
            &[0xCC3000, 0, 0, 0b11, 0b10, 0b1],
            "flush 0xcc3000 of [1, 64]",
        ),
        (
            rep(0x14, 0, 2).with_variable_header_size(1),
            &[0xCC3000, 0, 0, 0b10, 0b10, 0xA000, 0xB000],
            "flush 0xcc3000 of [65] pages [a, b]",
        ),
        (
            rep(0x14, 0, 2).with_variable_header_size(1).with_fast(true),
            &[0xCC3000, 0, 0, 0b10, 0b10, 0xA000, 0xB000],
            "flush 0xcc3000 of [65] pages [a, b]",
        ),
        (
            control(0x15).with_variable_header_size(3),
            &[0xF3, 0, 0b1011, 1, 1, 1],
            "interrupt 0xf3 to [0, 64, 192]",
        ),
        (
            control(0x15).with_variable_header_size(3).with_fast(true),
            &[0xF3, 0, 0b1011, 1, 1, 1],
            "interrupt 0xf3 to [0, 64, 192]",
        ),
        (
            rep(0x50, 0, 2),
            &[u64::MAX, 3, 0x2_0001_0002_0000],
            "get [HvX64RegisterRax, HvX64RegisterRcx] of 3",
        ),
        (rep(0x51, 0, 1), &[u64::MAX, 0, 0x2_0010, 0, 0x1234, 0], "set [(HvX64RegisterRip, 4660)] of 0"),
        (rep(0x9A, 1, 3), &[u64::MAX, 0, 0x2_0000_0001, 3], "ids [2, 3]"),
        (control(0x5C), &[4, 3 << 32 | 1, 0xAABBCC], "message 4 type 1: [cc, bb, aa]"),
        (control(0x5D).with_fast(true), &[5 << 32 | 0x21, 0], "event 0x21 flag 5"),
    ];
    for (control, input, expected) in cases {
        let mut notes = Notes::default();
        let success = ResultValue::new().with_reps_complete(control.rep_count());
        assert_eq!(run(&mut notes, ALL, control, input), Outcome::Complete(success), "{control:?}");
        assert_eq!(notes.0.len(), 1);
        assert!(notes.0[0].starts_with(expected), "{} instead of {expected}", notes.0[0]);
    }
}

/// The privileges of messages and events, and a probe that guests make: an event on no connection is not an unknown call.
#[test]
fn privileges_and_statuses() {
    let nothing = Offered { privileges: PrivilegeMask::NONE, ..ALL };
    for code in [0x5C, 0x5D] {
        assert_eq!(run(&mut Notes::default(), nothing, control(code), &[]), failed(HvStatus::ACCESS_DENIED));
    }
    let event = control(0x5D).with_fast(true);
    assert_eq!(run(&mut Notes::default(), ALL, event, &[0x1234, 0]), failed(HvStatus::INVALID_CONNECTION_ID));
    assert_eq!(run(&mut Notes::default(), ALL, control(0x40), &[]), failed(HvStatus::INVALID_HYPERCALL_CODE));
    // B03.045: a message does not fit into registers.
    let message = control(0x5C).with_fast(true);
    assert_eq!(run(&mut Notes::default(), ALL, message, &[]), failed(HvStatus::INVALID_HYPERCALL_INPUT));
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls about the partition, its processors, its debugger and its devices (TLFS 3.14, 4.2, 7.10.3, 7.10.4, 9.4.1, 10.5.4).

use std::collections::VecDeque;
use std::sync::Mutex;

use tlfs::extended::ZeroedRange;
use tlfs::interrupt::InterruptEntry;
use tlfs::register::RegisterName as R;

use super::*;
use crate::{DebugLink, DeviceInterrupts, Enlightenment};

const INPUT: u64 = 0x8000;
const OUTPUT: u64 = 0x9000;

fn lab_with(config: PartitionConfig) -> Lab {
    let mut lab = Lab::configured(PartitionConfig { tracing: crate::Tracing::counting(), ..config });
    lab.enable_hypercalls(0x5000);
    lab
}

fn lab() -> Lab {
    lab_with(PartitionConfig { vp_count: 3, ..Default::default() })
}

fn put(lab: &Lab, words: &[u64]) {
    for (index, &word) in words.iter().enumerate() {
        lab.space.write_value::<8>(ViewId(0), INPUT + 8 * index as u64, word, Rights::WRITE).unwrap();
    }
}

fn output(lab: &Lab, index: u64) -> u64 {
    lab.space.read_value::<8>(ViewId(0), OUTPUT + 8 * index, Rights::READ).unwrap()
}

fn simple(code: CallCode) -> InputValue {
    InputValue::new().with_call_code(code)
}

fn call(lab: &mut Lab, code: CallCode, words: &[u64]) -> HvStatus {
    put(lab, words);
    lab.call(0, simple(code), INPUT, OUTPUT)
}

/// B09.019: another address space becomes current when the call returns, unless its root has bits that none has.
#[test]
fn address_spaces_switch() {
    let mut lab = lab();
    assert_eq!(call(&mut lab, CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE, &[0x12_3000]), HvStatus::SUCCESS);
    assert_eq!(lab.vps[0].registers().control().cr3, 0x12_3000);
    let fast = Lab::fast(CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE);
    assert_eq!(lab.call(0, fast, 0x45_6018, 0), HvStatus::SUCCESS);
    assert_eq!(lab.vps[0].registers().control().cr3, 0x45_6018);
    assert_eq!(lab.call(0, fast, 1 << 36, 0), HvStatus::INVALID_PARAMETER);
    assert_eq!(lab.vps[0].registers().control().cr3, 0x45_6018);
}

/// B09.018, B09.020: the call sets CR3 of the VP that makes it, forgets nothing, for the same root neither, and leaves other VPs alone. It is recommended to no guest that has not asked, and kept from none.
#[test]
fn a_switch_of_address_spaces_is_the_callers_own_and_flushes_nothing() {
    let advice = Enlightenment::UseHypercallForAddressSpaceSwitch;
    for enlightenments in [Enlightenments::ALL, Enlightenments::ALL.with(advice)] {
        let mut lab = lab_with(PartitionConfig { vp_count: 2, enlightenments, ..Default::default() });
        let before = lab.vps[0].registers().control();
        for root in [0x12_3000, 0x12_3000, 0x45_6000] {
            put(&lab, &[root]);
            let control = simple(CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE);
            let (result, deeds) = lab.call_with(1, move |state| {
                state.gprs[Gpr::Rcx as usize] = control.into_bits();
                state.gprs[Gpr::Rdx as usize] = INPUT;
            });
            assert_eq!((result.status(), deeds), (HvStatus::SUCCESS, vec![Deed::Resumed(Resume::Advance)]));
            assert_eq!(lab.vps[1].registers().control().cr3, root);
            assert_eq!(lab.pass(0), []);
            assert_eq!(lab.vps[0].registers().control(), before);
        }
    }
}

/// B04.001, B04.005: ids are unique, and told to who may know.
#[test]
fn partition_ids() {
    let enlightenments = Enlightenments::ALL.with(Enlightenment::AccessPartitionId);
    let mut first = lab_with(PartitionConfig { enlightenments, ..Default::default() });
    let second = lab();
    assert_ne!(first.partition.id(), second.partition.id());
    assert_eq!(call(&mut first, CallCode::GET_PARTITION_ID, &[]), HvStatus::SUCCESS);
    assert_eq!(output(&first, 0), first.partition.id().0);
    assert_eq!(call(&mut lab(), CallCode::GET_PARTITION_ID, &[]), HvStatus::ACCESS_DENIED);
}

/// B04.005, B04.008: management calls succeed for a guest that its host lets manage processors, and for no other.
#[test]
fn processors_are_managed_by_who_may() {
    let calls = [
        CallCode::GET_LOGICAL_PROCESSOR_RUN_TIME,
        CallCode::PARKED_VIRTUAL_PROCESSORS,
        CallCode::GET_SYSTEM_PROPERTY,
    ];
    for code in calls {
        assert_eq!(call(&mut lab(), code, &[0, 0]), HvStatus::ACCESS_DENIED, "{code:?}");
    }
    let enlightenments = Enlightenments::ALL.with(Enlightenment::CpuManagement);
    let mut lab = lab_with(PartitionConfig { vp_count: 2, enlightenments, ..Default::default() });
    lab.advance(1000);
    assert_eq!(call(&mut lab, calls[0], &[0]), HvStatus::SUCCESS);
    assert_eq!((output(&lab, 0), output(&lab, 2)), (1000, 0));
    let run_time = lab.read_msr(0, msr::VP_RUNTIME).unwrap();
    assert!(output(&lab, 1) <= run_time && run_time <= 1000);
    assert_eq!(call(&mut lab, calls[0], &[2]), HvStatus::INVALID_LP_INDEX);
    assert_eq!(call(&mut lab, calls[0], &[1 << 32]), HvStatus::INVALID_PARAMETER);
    assert_eq!(call(&mut lab, calls[1], &[3]), HvStatus::SUCCESS);
    assert_eq!(call(&mut lab, calls[2], &[15, 0]), HvStatus::SUCCESS);
    assert_eq!(output(&lab, 0), 1);
    assert_eq!(call(&mut lab, calls[2], &[14, 0]), HvStatus::UNKNOWN_PROPERTY);
}

/// What only a parent may do is denied, whatever else is wrong with the call.
#[test]
fn a_guest_is_nobodys_parent() {
    let mut lab = lab();
    let (translate, assert) = (CallCode::TRANSLATE_VIRTUAL_ADDRESS, CallCode::ASSERT_VIRTUAL_INTERRUPT);
    for code in [translate, assert, CallCode::TRANSLATE_VIRTUAL_ADDRESS_EX] {
        for partition in [u64::MAX, 0, 5] {
            assert_eq!(call(&mut lab, code, &[partition, 0, 1, 0]), HvStatus::ACCESS_DENIED, "{code:?}");
        }
    }
}

#[derive(Default)]
struct Link {
    sent: Mutex<Vec<Vec<u8>>>,
    arrived: Mutex<VecDeque<u8>>,
}

impl DebugLink for Link {
    fn send(&self, packet: &[u8]) -> Result<u32, HvStatus> {
        if packet.is_empty() {
            return Err(HvStatus::INSUFFICIENT_BUFFERS);
        }
        self.sent.lock().unwrap().push(packet.to_vec());
        Ok(0)
    }

    fn receive(&self, buffer: &mut [u8]) -> Option<(u32, u32)> {
        let mut arrived = self.arrived.lock().unwrap();
        let count = buffer.len().min(arrived.len());
        for (place, byte) in buffer.iter_mut().zip(arrived.drain(..count)) {
            *place = byte;
        }
        (count != 0).then(|| (count as u32, arrived.len() as u32))
    }

    fn purge_incoming(&self) {
        self.arrived.lock().unwrap().clear();
    }
}

/// Debug data goes out as it is posted and comes in as it is retrieved, a packet in parts if need be.
#[test]
fn debug_data_takes_the_link() {
    let link = Arc::new(Link::default());
    let enlightenments =
        Enlightenments::ALL.with(Enlightenment::Debugging).with(Enlightenment::GuestDebugging);
    let config = PartitionConfig { enlightenments, debug_link: Some(link.clone()), ..Default::default() };
    let mut lab = lab_with(config);
    let post = CallCode::POST_DEBUG_DATA;
    assert_eq!(call(&mut lab, post, &[5, u64::from_le_bytes(*b"hello...")]), HvStatus::SUCCESS);
    assert_eq!(*link.sent.lock().unwrap(), [b"hello"]);
    assert_eq!(output(&lab, 0), 0);
    assert_eq!(call(&mut lab, post, &[0]), HvStatus::INSUFFICIENT_BUFFERS, "the link's own status");
    assert_eq!(call(&mut lab, post, &[4089]), HvStatus::INVALID_PARAMETER);
    assert_eq!(call(&mut lab, post, &[1 | 4 << 32]), HvStatus::INVALID_PARAMETER);

    let retrieve = CallCode::RETRIEVE_DEBUG_DATA;
    assert_eq!(call(&mut lab, retrieve, &[8, 0]), HvStatus::NO_DATA);
    assert_eq!(call(&mut lab, retrieve, &[8 | 2 << 32, 0]), HvStatus::INACTIVE);
    link.arrived.lock().unwrap().extend(b"answer");
    assert_eq!(call(&mut lab, retrieve, &[4, 0]), HvStatus::SUCCESS);
    assert_eq!((output(&lab, 0), output(&lab, 1) as u32), (4 | 2 << 32, u32::from_le_bytes(*b"answ")));
    let reset = CallCode::RESET_DEBUG_SESSION;
    assert_eq!(call(&mut lab, reset, &[2]), HvStatus::SUCCESS);
    assert_eq!(link.arrived.lock().unwrap().len(), 2);
    assert_eq!(call(&mut lab, reset, &[1]), HvStatus::SUCCESS);
    assert_eq!(call(&mut lab, retrieve, &[4, 0]), HvStatus::NO_DATA);
    for options in [0, 4] {
        assert_eq!(call(&mut lab, reset, &[options]), HvStatus::INVALID_PARAMETER);
    }

    let mut nobody = lab_with(PartitionConfig { enlightenments, ..Default::default() });
    assert_eq!(call(&mut nobody, post, &[5, 0]), HvStatus::FEATURE_UNAVAILABLE);
    let mut unprivileged = self::lab();
    for code in [post, retrieve, reset] {
        assert_eq!(call(&mut unprivileged, code, &[1, 0]), HvStatus::ACCESS_DENIED, "{code:?}");
    }
}

/// Device, data, vector, whether to all, and the VPs.
type Retargeted = (u64, u32, u8, bool, Vec<u32>);

#[derive(Default)]
struct Devices(Mutex<Vec<Retargeted>>);

impl DeviceInterrupts for Devices {
    fn retarget(
        &self,
        device: u64,
        entry: &InterruptEntry,
        vector: u8,
        multicast: bool,
        vps: &[u32],
    ) -> HvStatus {
        if device != 7 {
            return HvStatus::INVALID_DEVICE_ID;
        }
        self.0.lock().unwrap().push((device, entry.msi_entry.data, vector, multicast, vps.to_vec()));
        HvStatus::SUCCESS
    }
}

/// B10.034, B10.035, B10.044, B10.045, B10.046: interrupts of devices go to VPs that exist; the set of all is not for this call.
#[test]
fn device_interrupts_are_sent_elsewhere() {
    let devices = Arc::new(Devices::default());
    let handler: Arc<dyn DeviceInterrupts> = devices.clone();
    let mut lab =
        lab_with(PartitionConfig { vp_count: 3, device_interrupts: Some(handler), ..Default::default() });
    let input = |device: u64, vector: u64, flags: u64, mask: u64, rest: &[u64]| {
        let fixed = [u64::MAX, device, 1, 0x4711 << 32, 0, vector | flags << 32, mask];
        [&fixed, rest].concat()
    };
    let control = simple(CallCode::RETARGET_DEVICE_INTERRUPT);
    let mut retarget = |words: &[u64], variable: u16| {
        put(&lab, words);
        lab.call(0, control.with_variable_header_size(variable), INPUT, 0)
    };
    assert_eq!(retarget(&input(7, 0x41, 0, 0b101, &[]), 0), HvStatus::SUCCESS);
    assert_eq!(retarget(&input(7, 0x42, 3, 0, &[1, 0b10]), 2), HvStatus::SUCCESS);
    let cases = [
        (input(8, 0x41, 0, 1, &[]), 0, HvStatus::INVALID_DEVICE_ID),
        (input(7, 0xF, 0, 1, &[]), 0, HvStatus::INVALID_PARAMETER),
        (input(7, 0x141, 0, 1, &[]), 0, HvStatus::INVALID_PARAMETER),
        (input(7, 0x41, 4, 1, &[]), 0, HvStatus::INVALID_PARAMETER),
        (input(7, 0x41, 0, 0b1000, &[]), 0, HvStatus::INVALID_PARAMETER),
        (input(7, 0x41, 0, 0, &[]), 0, HvStatus::INVALID_PARAMETER),
        (input(7, 0x41, 2, 1, &[0]), 1, HvStatus::INVALID_PARAMETER),
        (input(7, 0x41, 2, 0, &[1]), 1, HvStatus::INVALID_HYPERCALL_INPUT),
        (input(7, 0x41, 0, 1, &[1]), 1, HvStatus::INVALID_HYPERCALL_INPUT),
    ];
    for (words, variable, expected) in cases {
        assert_eq!(retarget(&words, variable), expected, "{words:x?}");
    }
    for source in [0, 2] {
        let mut other = input(7, 0x41, 0, 1, &[]);
        other[2] = source;
        assert_eq!(retarget(&other, 0), HvStatus::INVALID_PARAMETER, "source {source}");
    }
    let mut second = input(7, 0x43, 0, 1, &[]);
    second[3] = 0x4712 << 32;
    assert_eq!(retarget(&second, 0), HvStatus::SUCCESS);
    let told = devices.0.lock().unwrap();
    let each = [
        (7, 0x4711, 0x41, false, vec![0, 2]),
        (7, 0x4711, 0x42, true, vec![1]),
        (7, 0x4712, 0x43, false, vec![0]),
    ];
    assert_eq!(*told, each);
    drop(told);
    let mut none = self::lab();
    assert_eq!(
        call(&mut none, CallCode::RETARGET_DEVICE_INTERRUPT, &input(7, 0x41, 0, 1, &[])),
        HvStatus::INVALID_DEVICE_ID
    );
}

/// B10.043: the call is about SELF and VPs that exist, a sparse set of them at most; reserved fields are zero. What is wrong reaches no device.
#[test]
fn a_retargeted_interrupt_has_a_well_formed_target() {
    let devices = Arc::new(Devices::default());
    let handler: Arc<dyn DeviceInterrupts> = devices.clone();
    let mut lab =
        lab_with(PartitionConfig { vp_count: 3, device_interrupts: Some(handler), ..Default::default() });
    let own = lab.partition.id().0;
    let right = [u64::MAX, 7, 1, 0x4711 << 32, 0, 0x41 | 2 << 32, 0, 1, 0b100];
    let mut retarget = |changes: &[(usize, u64)], words: usize| {
        let mut input = right;
        changes.iter().for_each(|&(word, value)| input[word] = value);
        put(&lab, &input[..words]);
        let control = simple(CallCode::RETARGET_DEVICE_INTERRUPT);
        lab.call(0, control.with_variable_header_size(words as u16 - 7), INPUT, 0)
    };
    for (changes, words, expected) in [
        // Another's id, its own, none.
        (&[(0, own + 1)][..], 9, HvStatus::INVALID_PARTITION_ID),
        (&[(0, own)], 9, HvStatus::INVALID_PARTITION_ID),
        (&[(0, 0)], 9, HvStatus::INVALID_PARTITION_ID),
        // The entry's reserved half, the call's own word, and the flags' reserved bits.
        (&[(2, 1 | 1 << 32)], 9, HvStatus::INVALID_PARAMETER),
        (&[(4, 1)], 9, HvStatus::INVALID_PARAMETER),
        (&[(5, 0x41 | 6 << 32)], 9, HvStatus::INVALID_PARAMETER),
        // A VP that does not exist among some that do, in both forms.
        (&[(8, 0b1100)], 9, HvStatus::INVALID_PARAMETER),
        (&[(5, 0x41), (6, 0b1100)], 7, HvStatus::INVALID_PARAMETER),
        // The set of all.
        (&[(6, 1), (7, 0)], 8, HvStatus::INVALID_PARAMETER),
        (&[(6, 1)], 9, HvStatus::INVALID_PARAMETER),
    ] {
        assert_eq!(retarget(changes, words), expected, "{changes:x?}");
    }
    assert!(devices.0.lock().unwrap().is_empty());
    assert_eq!(retarget(&[], 9), HvStatus::SUCCESS);
    assert_eq!(devices.0.lock().unwrap()[..], [(7, 0x4711, 0x41, false, vec![2])]);
}

/// Words of an input that starts VP 1 in 64-bit mode.
pub(super) fn context() -> [u64; 30] {
    let code = [0, 0xA09B_0008_FFFF_FFFF];
    let data = [0, 0xC093_0010_FFFF_FFFF];
    let mut words = [0; 30];
    (words[0], words[1]) = (u64::MAX, 1);
    // RIP, RSP, RFLAGS, then CS, DS, ES, FS, GS, SS, TR, LDTR, IDTR, GDTR.
    words[2..5].copy_from_slice(&[0x7000, 0x6000, 2]);
    words[5..7].copy_from_slice(&code);
    for segment in 1..6 {
        words[5 + 2 * segment..7 + 2 * segment].copy_from_slice(&data);
    }
    words[17..19].copy_from_slice(&[0, 0x008B_0018_0000_0067]);
    words[21..23].copy_from_slice(&[0xFFF << 48, 0x2000]);
    words[23..25].copy_from_slice(&[0x7F << 48, 0x3000]);
    // EFER, CR0, CR3, CR4, PAT.
    words[25..].copy_from_slice(&[0x500, 0x8000_0011, 0x10_0000, 0x20, 0x0007_0406_0007_0406]);
    words
}

/// A lab whose VP 1 waits to be started.
fn waiting() -> Lab {
    let lab = lab();
    let mut state = lab.partition.vp(1).state();
    state.set_run_state(crate::vp::state::RunState::WaitForStartUp, lab.partition.reference_time());
    drop(state);
    lab
}

/// B07.050, B07.052: a VP starts in the state it is given, once.
#[test]
fn a_vp_starts_in_a_given_state() {
    let mut lab = waiting();
    // It waits as a reset left it, with nothing of the state to come.
    let mut registers = lab.vps[1].registers().save();
    registers.control = engine::VpState::reset(0).control;
    registers.msrs.pat = 0x0606_0606_0606_0606;
    lab.vps[1].registers().restore(&registers);
    assert_eq!(call(&mut lab, CallCode::START_VIRTUAL_PROCESSOR, &context()), HvStatus::SUCCESS);
    assert_eq!(call(&mut lab, CallCode::START_VIRTUAL_PROCESSOR, &context()), HvStatus::INVALID_VP_STATE);
    lab.pass(1);
    assert_eq!(call(&mut lab, CallCode::START_VIRTUAL_PROCESSOR, &context()), HvStatus::INVALID_VP_STATE);
    let vp = &mut lab.vps[1];
    let low = |vp: &mut Vp, name| vp.register(name).unwrap().low;
    assert_eq!(low(vp, R::RIP), 0x7003, "one instruction later");
    let expected = [
        (R::RSP, 0x6000),
        (R::RFLAGS, 2),
        (R::EFER, 0x500),
        (R::CR0, 0x8000_0011),
        (R::CR3, 0x10_0000),
        (R::CR4, 0x20),
        (R::PAT, 0x0007_0406_0007_0406),
    ];
    for (name, value) in expected {
        assert_eq!(low(vp, name), value, "{name:?}");
    }
    let words = context();
    for (name, at) in [(R::CS, 5), (R::SS, 15), (R::TR, 17), (R::IDTR, 21), (R::GDTR, 23)] {
        let value = vp.register(name).unwrap();
        assert_eq!([value.low, value.high], words[at..at + 2], "{name:?}");
    }
}

/// B07.053, B07.054, B07.055: what keeps a VP from being started.
#[test]
fn starts_are_checked() {
    let refused = |change: fn(&mut [u64; 30])| {
        let mut words = context();
        change(&mut words);
        call(&mut waiting(), CallCode::START_VIRTUAL_PROCESSOR, &words)
    };
    assert_eq!(refused(|_| {}), HvStatus::SUCCESS);
    let values: [fn(&mut [u64; 30]); 8] = [
        |words| words[26] = 0x11,
        |words| words[26] = 0x10,
        |words| words[25] = 0x100,
        |words| words[25] = 2,
        |words| words[28] = 0,
        |words| words[27] = 1 << 50,
        |words| words[29] = 2,
        |words| words[4] = 0,
    ];
    for change in values {
        assert_eq!(refused(change), HvStatus::INVALID_REGISTER_VALUE);
    }
    assert_eq!(refused(|words| words[1] = 1 | 1 << 32), HvStatus::INVALID_VTL_STATE);
    assert_eq!(refused(|words| words[1] = 1 | 1 << 40), HvStatus::INVALID_PARAMETER);
    assert_eq!(refused(|words| words[1] = 3), HvStatus::INVALID_VP_INDEX);
    assert_eq!(refused(|words| words[0] = 0), HvStatus::INVALID_PARTITION_ID);
    assert_eq!(refused(|words| words[0] = 0x1234_5678), HvStatus::ACCESS_DENIED);
    assert_eq!(refused(|words| words[1] = 0), HvStatus::INVALID_VP_STATE, "the caller itself");
    let mut without = Lab::with(2, Enlightenments::ALL.without(Enlightenment::StartVirtualProcessor));
    without.enable_hypercalls(0x5000);
    assert_eq!(call(&mut without, CallCode::START_VIRTUAL_PROCESSOR, &context()), HvStatus::ACCESS_DENIED);
}

/// B07.056, B07.057, B07.058: indexes by APIC id, for VPs that have never run too.
#[test]
fn vps_are_found_by_apic_id() {
    let mut lab = waiting();
    let control = simple(CallCode::GET_VP_INDEX_FROM_APIC_ID);
    let ask = |lab: &mut Lab, partition: u64, vtl: u64, ids: u64, count: u16| {
        put(lab, &[partition, vtl, ids, 0]);
        let (result, _) = lab.call_with(0, move |state| {
            state.gprs[Gpr::Rcx as usize] = control.with_rep_count(count).into_bits();
            state.gprs[Gpr::Rdx as usize] = INPUT;
            state.gprs[Gpr::R8 as usize] = OUTPUT;
        });
        (result.status(), result.reps_complete())
    };
    assert_eq!(ask(&mut lab, u64::MAX, 0, 2 | 1 << 32, 2), (HvStatus::SUCCESS, 2));
    assert_eq!(output(&lab, 0), 2 | 1 << 32);
    assert_eq!(ask(&mut lab, u64::MAX, 0, 0xFFFE << 32, 2), (HvStatus::INVALID_PARAMETER, 1));
    assert_eq!(ask(&mut lab, 0, 0, 0, 1).0, HvStatus::INVALID_PARTITION_ID);
    assert_eq!(ask(&mut lab, 1 << 50, 0, 0, 1).0, HvStatus::ACCESS_DENIED);
    assert_eq!(ask(&mut lab, u64::MAX, 0x11, 0, 1).0, HvStatus::ACCESS_DENIED);
    assert_eq!(ask(&mut lab, u64::MAX, 0x100, 0, 1).0, HvStatus::INVALID_PARAMETER);
}

/// B03.076, B03.077, B03.078, B03.052: extended calls need their privilege, and the mask tells which of them work.
#[test]
fn extended_calls() {
    let mut without = Lab::with(1, Enlightenments::ALL.without(Enlightenment::EnableExtendedHypercalls));
    without.enable_hypercalls(0x5000);
    assert_eq!(call(&mut without, CallCode::EXT_QUERY_CAPABILITIES, &[]), HvStatus::ACCESS_DENIED);

    let mut lab = lab();
    let works = |lab: &mut Lab| -> u64 {
        (0..64)
            .filter(|bit| {
                *bit < 32 && call(lab, CallCode(0x8002 + bit), &[0]) != HvStatus::INVALID_HYPERCALL_CODE
            })
            .fold(0, |mask, bit| mask | 1 << bit)
    };
    assert_eq!(call(&mut lab, CallCode::EXT_QUERY_CAPABILITIES, &[]), HvStatus::SUCCESS);
    assert_eq!(output(&lab, 0), 0);
    assert_eq!(works(&mut lab), 0);
    lab.partition.set_boot_zeroed_memory(&[ZeroedRange { start_gpa_page: 0x100, page_count: 0x40 }]);
    // In a register: there is no input, so the output begins in RDX.
    let fast = Lab::fast(CallCode::EXT_QUERY_CAPABILITIES);
    assert_eq!(lab.call(0, fast, 0xFFFF, 0), HvStatus::SUCCESS);
    let capabilities = lab.vps[0].registers().gpr(Gpr::Rdx);
    assert_eq!((capabilities, works(&mut lab)), (1, 1));
    assert_eq!(call(&mut lab, CallCode::EXT_GET_BOOT_ZEROED_MEMORY, &[]), HvStatus::SUCCESS);
    assert_eq!([0, 1, 2].map(|index| output(&lab, index)), [1, 0x100, 0x40]);
}

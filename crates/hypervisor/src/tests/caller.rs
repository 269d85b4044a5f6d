// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where calls take their parameters from and put their results: registers, vector registers and memory of the VP that calls (TLFS 3.6 to 3.8).

use engine::{MemoryAccess, MemoryAccessKind, MemoryExitCause};
use tlfs::hypercall::CallCode;
use tlfs::register::RegisterName as R;

use super::*;
use crate::{parents_calls, served_calls};

const SELF: u64 = u64::MAX;
const SELF_VP: u64 = 0xFFFF_FFFE;

fn lab(vp_count: u32) -> Lab {
    let mut lab = Lab::new(vp_count);
    lab.enable_hypercalls(0x5000);
    lab
}

/// B03.044: names beyond the sixteenth byte come in XMM0, values go to the registers behind the input.
#[test]
fn parameters_and_results_in_vector_registers() {
    let mut lab = lab(1);
    lab.vps[0].registers().set_gpr(Gpr::Rbp, 0xB1);
    lab.vps[0].registers().set_gpr(Gpr::Rsi, 0x51);
    lab.vps[0].registers().set_xmm(0, u128::from(R::RBP.0) | u128::from(R::RSI.0) << 32);
    lab.vps[0].registers().set_xmm(3, 7);
    let control = Lab::fast(CallCode::GET_VP_REGISTERS).with_rep_count(2);
    let (result, _) = lab.call_with(0, move |state| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = SELF;
        state.gprs[Gpr::R8 as usize] = SELF_VP;
    });
    assert_eq!((result.status(), result.reps_complete()), (HvStatus::SUCCESS, 2));
    let registers = lab.vps[0].registers();
    assert_eq!([1, 2, 3].map(|index| registers.xmm(index)), [0xB1, 0x51, 7]);
}

/// Outside 64-bit mode the call is in EDX:EAX, and so is its result.
#[test]
fn callers_of_32_bits_have_registers_of_their_own() {
    let mut lab = lab(1);
    let (_, deeds) = lab.call_with(0, |state| {
        state.control.efer = 0;
        state.segments[engine::SegmentName::Cs as usize].attributes = 0xC09B.into();
        for (gpr, value) in [
            (Gpr::Rdx, 0),
            (Gpr::Rax, Lab::fast(CallCode::NOTIFY_LONG_SPIN_WAIT).into_bits()),
            (Gpr::Rcx, 0x1234_5678_0000_0001),
            (Gpr::Rbx, 0),
            (Gpr::Rsi, 0),
            (Gpr::Rdi, 0),
        ] {
            state.gprs[gpr as usize] = value;
        }
    });
    assert!(deeds.contains(&Deed::Resumed(Resume::Advance)), "{deeds:?}");
    let registers = lab.vps[0].registers();
    assert_eq!((registers.gpr(Gpr::Rax), registers.gpr(Gpr::Rdx)), (0, 0));
}

/// Makes VP 0 get its RBP, with input and output at these addresses, and gives the access that the call did not get past.
fn refused(lab: &mut Lab, input: u64, output: u64) -> MemoryAccess {
    let control = InputValue::new().with_call_code(CallCode::GET_VP_REGISTERS).with_rep_count(1);
    lab.engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = input;
        state.gprs[Gpr::R8 as usize] = output;
    });
    let exit = lab.vps[0].run(None);
    let VpExit::Parameter(access) = exit else { panic!("{exit:?}") };
    lab.vps[0].retry();
    assert_eq!(lab.vps[0].registers().gpr(Gpr::Rcx), control.into_bits(), "nothing of it is done");
    access
}

/// An output that cannot be written is an intercept of its own kind, before the call does anything.
#[test]
fn parameters_are_accessed_as_the_caller_may() {
    let mut lab = lab(1);
    let input = 0x8000;
    for (offset, value) in [(0, SELF), (8, SELF_VP), (16, R::RBP.0.into())] {
        lab.space.write_value::<8>(ViewId(0), input + offset, value, Rights::WRITE).unwrap();
    }
    let nowhere = refused(&mut lab, input, 0x4000_0000);
    assert_eq!((nowhere.gpa, nowhere.cause), (0x4000_0000, MemoryExitCause::Unmapped));
    assert!(matches!(nowhere.kind, MemoryAccessKind::Write(_)));
    // The hypercall page can be read and executed.
    let protected = refused(&mut lab, input, 0x5000);
    assert_eq!((protected.gpa, protected.cause), (0x5000, MemoryExitCause::Rights(Rights::READ_EXECUTE)));
    assert!(matches!(protected.kind, MemoryAccessKind::Write(_)));
    let unread = refused(&mut lab, 0x4000_0000, input);
    assert_eq!(
        (unread.gpa, unread.kind, unread.cause),
        (0x4000_0000, MemoryAccessKind::Read, MemoryExitCause::Unmapped)
    );
    assert_eq!((unread.gva, unread.page_walk, unread.user), (None, false, false));
}

/// What is listed as served is served, and what is a parent's is denied.
#[test]
fn calls_are_served_as_listed() {
    let mut lab = lab(1);
    let answer = |lab: &mut Lab, code| lab.call(0, InputValue::new().with_call_code(code), 0x8000, 0x9000);
    let served: Vec<CallCode> = served_calls().iter().map(|call| call.code).collect();
    assert!(served.len() > 20 && parents_calls().len() > 2, "{served:?}");
    for number in (0..0x110).chain(0x8001..0x8010) {
        let code = CallCode(number);
        // The one that waits ends the run.
        if code == CallCode::NOTIFY_LONG_SPIN_WAIT {
            continue;
        }
        let status = answer(&mut lab, code);
        if parents_calls().contains(&code) {
            assert_eq!(status, HvStatus::ACCESS_DENIED, "{code:?}");
        } else if !served.contains(&code) {
            assert_eq!(status, HvStatus::INVALID_HYPERCALL_CODE, "{code:?}");
        } else if code != CallCode::EXT_GET_BOOT_ZEROED_MEMORY {
            assert_ne!(status, HvStatus::INVALID_HYPERCALL_CODE, "{code:?}");
        }
    }
}

/// A partition has as many VPs as APIC ids of its kind go round.
#[test]
fn as_many_vps_as_there_are_ids() {
    let create = |vp_count, x2apic| {
        let engine: Arc<dyn Engine> = Arc::new(ScriptedEngine::new(FREQUENCY));
        let config = PartitionConfig { vp_count, x2apic, ..Default::default() };
        Partition::create(&engine, &Space::new(36), config).map(|(partition, vps)| {
            assert_eq!((partition.vp_count() as usize, partition.vps().count()), (vps.len(), vps.len()));
            vps.len()
        })
    };
    for (vp_count, x2apic) in [(0, false), (1, false), (255, false), (256, true), (crate::MAX_VPS, true)] {
        assert_eq!(create(vp_count, x2apic).ok(), Some(vp_count as usize), "{vp_count}");
    }
    for (vp_count, x2apic) in [(256, false), (crate::MAX_VPS + 1, true)] {
        let error = create(vp_count, x2apic).expect_err("too many");
        assert!(matches!(error, crate::CreateError::VpCount(count) if count == vp_count), "{error}");
    }
}

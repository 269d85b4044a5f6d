// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever a guest does, the hypervisor goes on: no value in any register, call or page makes it panic, hang or grow.

use engine::{MemoryAccess, MemoryAccessKind, MemoryExitCause};
use memory::{PAGE_SIZE, Rights};
use proptest::prelude::*;
use tlfs::msr;

use super::*;
use crate::PortKind;
use crate::vp::state::RunState;

/// Something that a guest does.
#[derive(Clone, Debug)]
enum Act {
    Read(u32),
    Write(u32, u64),
    /// RCX, RDX, R8, and what is in memory where RDX may point.
    Call(u64, u64, u64, Vec<u64>),
    /// An access to the register page of the local APIC, or to an overlay.
    Touch(u64, u8, Option<u64>),
    Store(u64, u64),
    TaskPriority(u8),
    Halt,
    Wait(u64),
    Interrupts(bool),
}

/// Numbers of registers: all synthetic ones, some of the processor's, the local APIC's, and any.
fn register() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => proptest::sample::select(msr::MSRS.iter().map(|info| info.number).collect::<Vec<_>>()),
        2 => 0x800u32..0x840,
        1 => proptest::sample::select(vec![0x1B, 0x6E0, 0x8B, 0x179, 0x200, 0x201, 0x250, 0x2FF, 0xC001_0015]),
        1 => any::<u32>(),
    ]
}

/// Values that mean something: enabled pages, vectors, timers that are due soon, and any.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0u64..8).prop_map(|page| page * PAGE_SIZE + 1),
        0u64..0x400,
        0u64..0x1_0000_0000,
        (0u64..1 << 21).prop_map(|bits| bits | 1),
        any::<u64>(),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let codes =
        proptest::sample::select(vec![0x2u64, 0x3, 0x8, 0xB, 0x13, 0x14, 0x15, 0x5C, 0x5D, 0x40, 0x8001]);
    let control =
        (codes, any::<bool>(), 0u64..4, 0u64..6, 0u64..6).prop_map(|(code, fast, variable, count, start)| {
            code | u64::from(fast) << 16 | variable << 17 | count << 32 | start << 48
        });
    let pointer = prop_oneof![4 => Just(0x8000u64), 1 => value()];
    let words = proptest::collection::vec(prop_oneof![value(), 0u64..4, 0x10u64..0x12], 4..12);
    prop_oneof![
        2 => register().prop_map(Act::Read),
        8 => (register(), value()).prop_map(|(number, value)| Act::Write(number, value)),
        4 => (control, pointer, value(), words).prop_map(|(rcx, rdx, r8, words)| Act::Call(rcx, rdx, r8, words)),
        2 => (0u64..0x400, 1u8..=8, proptest::option::of(value()))
            .prop_map(|(offset, size, value)| Act::Touch(0xFEE0_0000 + offset, size, value)),
        1 => (0u64..0x8000, 1u8..=8, proptest::option::of(value()))
            .prop_map(|(gpa, size, value)| Act::Touch(gpa, size, value)),
        2 => (0u64..0x1000, value()).prop_map(|(slot, value)| Act::Store(slot * 8, value)),
        1 => (0u8..16).prop_map(Act::TaskPriority),
        1 => Just(Act::Halt),
        3 => (0u64..100_000).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Interrupts),
    ]
}

/// Lets a VP do one thing, and gets it to the end of its script whatever comes of it.
fn perform(lab: &mut Lab, vp: usize, act: Act) {
    match act {
        Act::Read(number) => lab.engine.push(vp as u32, ExitReason::ReadMsr { number }),
        Act::Write(number, value) => lab.engine.push(vp as u32, ExitReason::WriteMsr { number, value }),
        Act::Call(rcx, rdx, r8, words) => {
            for (index, word) in words.into_iter().enumerate() {
                let _ = lab.space.write_value::<8>(ViewId(0), 0x8000 + 8 * index as u64, word, Rights::NONE);
            }
            lab.engine.push_with(
                vp as u32,
                ExitReason::Hypercall(HypercallInstruction::Vmcall),
                move |state| {
                    state.gprs[Gpr::Rcx as usize] = rcx;
                    state.gprs[Gpr::Rdx as usize] = rdx;
                    state.gprs[Gpr::R8 as usize] = r8;
                },
            );
        }
        Act::Touch(gpa, size, value) => lab.engine.push(
            vp as u32,
            ExitReason::Memory(MemoryAccess {
                gpa,
                gva: None,
                size,
                kind: value.map_or(MemoryAccessKind::Read, MemoryAccessKind::Write),
                cause: MemoryExitCause::Rights(Rights::READ),
                page_walk: false,
                user: false,
            }),
        ),
        Act::Store(gpa, value) => {
            let _ = lab.space.write_value::<8>(ViewId(0), gpa, value, Rights::WRITE);
        }
        Act::TaskPriority(value) => lab.engine.push(vp as u32, ExitReason::WriteTaskPriority(value)),
        Act::Halt => lab.engine.push(vp as u32, ExitReason::Halt),
        Act::Wait(time) => lab.advance(time),
        Act::Interrupts(on) => lab.set_interrupts(vp, on),
    }
    lab.engine.push(vp as u32, ExitReason::Port(END));
    loop {
        match lab.vps[vp].run(None) {
            VpExit::Port(END) => break,
            VpExit::Memory(_) | VpExit::Parameter(_) => lab.vps[vp].retry(),
            VpExit::Idle { .. } => lab
                .partition
                .vp(vp as u32)
                .state()
                .set_run_state(RunState::Running, lab.partition.reference_time()),
            VpExit::Reset | VpExit::Crash(_) | VpExit::SpinWait => {}
            other => panic!("{other:?}"),
        }
    }
    lab.vps[vp].complete(0);
    let _ = lab.engine.take_deeds(vp as u32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_guest_cannot_break_the_hypervisor(acts in proptest::collection::vec((0usize..2, act()), 1..80)) {
        let mut lab = Lab::new(2);
        lab.enable_hypercalls(0x5000);
        for vp in 0..2 {
            lab.enable_synic(vp);
            let target = tlfs::vp::VpIndex(vp as u32);
            let port = lab.partition.create_guest_port(PortKind::Message, target, sint(3)).unwrap();
            lab.partition.connect(0x10 + vp as u32, &port).unwrap();
        }
        for (vp, act) in acts {
            perform(&mut lab, vp, act);
        }
        for vp in 0..2 {
            let waiting = lab.partition.vp(vp).state().vtl(Vtl::VTL0).synic.queued();
            prop_assert!(waiting <= 2 * 16 + 4, "{waiting} messages wait in 32 port buffers and 4 timer buffers");
        }
    }
}

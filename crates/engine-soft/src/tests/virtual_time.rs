// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual time: every instruction is a tick, runs end exactly where they are told to, and where they end changes nothing.

use engine::{ExitReason, Gpr, Resume, RunLimits, VpState};
use iced_x86::code_asm::*;
use proptest::prelude::*;

use super::machine::{DEVICE, Machine};
use crate::SoftEngine;
use crate::model::Model;

const RESULTS: u64 = 0x20_0000;

fn machine() -> Machine {
    Machine::with_engine(&SoftEngine::new(Model::x86_64_v2().unwrap()).with_virtual_time(42))
}

/// A bit of everything that ends a block, stops in the middle of one, or tells the time.
fn program(a: &mut CodeAssembler) {
    let (mut outer, mut inner, mut function) = (a.create_label(), a.create_label(), a.create_label());
    let mut start = a.create_label();
    a.jmp(start).unwrap();
    a.set_label(&mut function).unwrap();
    a.inc(r9).unwrap();
    a.rdtsc().unwrap();
    a.mov(dword_ptr(r15), eax).unwrap();
    a.add(r15, 4).unwrap();
    a.ret().unwrap();
    a.set_label(&mut start).unwrap();
    a.mov(r15, RESULTS).unwrap();
    a.mov(rbx, DEVICE).unwrap();
    a.mov(r12, 40u64).unwrap();
    a.set_label(&mut outer).unwrap();
    a.mov(r13, 5u64).unwrap();
    a.set_label(&mut inner).unwrap();
    a.call(function).unwrap();
    a.pause().unwrap();
    a.dec(r13).unwrap();
    a.jnz(inner).unwrap();
    // Bulk, device accesses in the middle of a block, and numbers.
    a.lea(rsi, ptr(r15 - 256)).unwrap();
    a.lea(rdi, ptr(r15 + 4096)).unwrap();
    a.mov(ecx, 200).unwrap();
    a.rep().movsb().unwrap();
    a.rdrand(rax).unwrap();
    a.mov(qword_ptr(r15), rax).unwrap();
    a.add(r15, 8).unwrap();
    a.add(dword_ptr(rbx), 3).unwrap();
    a.in_(eax, dx).unwrap();
    a.add(r9, rax).unwrap();
    a.xor(eax, eax).unwrap();
    a.cpuid().unwrap();
    a.mov(rbx, DEVICE).unwrap();
    a.sti().unwrap();
    a.cvtsi2sd(xmm1, r9).unwrap();
    a.addsd(xmm0, xmm1).unwrap();
    a.cli().unwrap();
    a.dec(r12).unwrap();
    a.jnz(outer).unwrap();
    a.rdtsc().unwrap();
    a.hlt().unwrap();
}

#[derive(PartialEq, Debug)]
struct End {
    state: VpState,
    results: Vec<u64>,
    now: u64,
    instructions: u64,
    /// Where the clock stood at each exit that was not a deadline.
    exits: Vec<(u64, ExitReason)>,
}

/// Runs to the HLT; `deadline` gives the next one after a tick. If told to, each deadline takes the VP's state out and puts it into another VP.
fn run_to_end(machine: &mut Machine, mut deadline: impl FnMut(u64) -> Option<u64>, replace: bool) -> End {
    let clock = machine.group.clock();
    let mut exits = Vec::new();
    let mut next = deadline(0);
    loop {
        let exit = machine.vp.run(RunLimits { deadline: next, ..RunLimits::default() });
        if exit.reason == ExitReason::Deadline {
            let due = next.expect("a deadline");
            assert!(clock.now() >= due && clock.now() <= due + 1, "{due}: {}", clock.now());
            next = deadline(clock.now());
            if replace {
                let state = machine.vp.save();
                machine.vp = machine.group.create_vp(7).unwrap();
                machine.vp.restore(&state);
            }
            continue;
        }
        exits.push((clock.now(), exit.reason));
        match exit.reason {
            ExitReason::SpinWait => {}
            ExitReason::Port(_) | ExitReason::Memory(_) => machine.vp.resume(Resume::Complete(5)),
            ExitReason::Cpuid { .. } => machine.vp.resume(Resume::Advance),
            ExitReason::Halt => break,
            other => panic!("{other:?}"),
        }
    }
    End {
        state: machine.vp.save(),
        results: (0..2048).map(|word| machine.read(RESULTS + 8 * word)).collect(),
        now: clock.now(),
        instructions: machine.vp.instructions(),
        exits,
    }
}

fn whole() -> End {
    let mut machine = machine();
    machine.load(program);
    run_to_end(&mut machine, |_| None, false)
}

#[test]
fn each_instruction_that_retires_is_a_tick() {
    let end = whole();
    // 4 before the loop, 40 rounds of 5 * 9 + 20, and the last RDTSC; a repeated string instruction is one.
    assert_eq!(end.instructions, 4 + 40 * (1 + 5 * 9 + 19) + 1);
    assert_eq!(end.now, end.instructions);
    let told = end.state.gprs[Gpr::Rdx as usize] << 32 | end.state.gprs[Gpr::Rax as usize];
    assert_eq!(told, end.now - 1, "RDTSC is exact in the middle of a block");
    let spins = end.exits.iter().filter(|(_, reason)| *reason == ExitReason::SpinWait).count();
    assert_eq!(spins, 200 / 32);
}

#[test]
fn two_runs_are_the_same_and_another_seed_is_not() {
    assert_eq!(whole(), whole());
    let engine = SoftEngine::new(Model::x86_64_v2().unwrap()).with_virtual_time(43);
    let mut other = Machine::with_engine(&engine);
    other.load(program);
    assert_ne!(run_to_end(&mut other, |_| None, false).results, whole().results);
}

#[test]
fn a_run_ends_at_its_deadline_to_the_instruction() {
    let mut machine = machine();
    machine.load(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        for _ in 0..30 {
            a.inc(rax).unwrap();
        }
        a.jmp(again).unwrap();
    });
    let clock = machine.group.clock();
    for deadline in [1, 2, 3, 31, 32, 47, 48, 49, 50, 96, 97, 1000, 1001, 100_000] {
        let exit = machine.vp.run(RunLimits { deadline: Some(deadline), ..RunLimits::default() });
        assert_eq!((exit.reason, clock.now()), (ExitReason::Deadline, deadline));
        assert_eq!(machine.vp.gpr(Gpr::Rax), deadline / 31 * 30 + (deadline % 31).min(30));
    }
    // What happens outside of the VP takes time only if it is said to.
    clock.skip_to(200_000);
    let exit = machine.vp.run(RunLimits { deadline: Some(200_000), ..RunLimits::default() });
    assert_eq!((exit.reason, machine.vp.instructions()), (ExitReason::Deadline, 100_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Wherever a run is interrupted, and whether the VP goes on or another takes over its state, the outcome is the same.
    #[test]
    fn interruptions_change_nothing(steps in prop::collection::vec(1u64..400, 1..40), replace: bool) {
        let mut machine = machine();
        machine.load(program);
        // A group makes 64 VPs at most, and the program has some 2600 instructions.
        let least = if replace { 45 } else { 1 };
        let mut steps = steps.into_iter().map(|step| step.max(least)).cycle();
        let end = run_to_end(&mut machine, |now| steps.next().map(|step| now + step), replace);
        let whole = whole();
        prop_assert_eq!(&end.exits, &whole.exits);
        prop_assert_eq!(end, whole);
    }
}

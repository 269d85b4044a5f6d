// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several processors, and a host that changes memory under them.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use engine::{EngineVp, ExitReason, Gpr, RunLimits};
use iced_x86::code_asm::*;
use memory::{MemoryObject, Rights, ViewId};

use super::cross_modifying::seconds;
use super::machine::{CODE, Machine, STACK, long_mode_state};

/// Another processor, which starts at `rip` with a stack of its own.
pub(super) fn vp_at(machine: &Machine, index: u32, rip: u64) -> Box<dyn EngineVp> {
    let mut vp = machine.group.create_vp(index).unwrap();
    let mut state = long_mode_state(0);
    state.rip = rip;
    state.gprs[Gpr::Rsp as usize] = STACK - 0x1000 * u64::from(index);
    vp.restore(&state);
    vp
}

fn run_to_halt(vp: &mut dyn EngineVp) {
    loop {
        match vp.run(RunLimits::default()).reason {
            ExitReason::Halt => return,
            ExitReason::SpinWait => std::thread::yield_now(),
            reason => panic!("{reason:?} at {:#x}", vp.rip()),
        }
    }
}

/// Runs the machine's processor and others at once, each to its HLT; gives the others back.
pub(super) fn wait_together(machine: &mut Machine, others: Vec<Box<dyn EngineVp>>) -> Vec<Box<dyn EngineVp>> {
    std::thread::scope(|scope| {
        let spawn = |mut vp: Box<dyn EngineVp>| {
            scope.spawn(move || {
                run_to_halt(&mut *vp);
                vp
            })
        };
        // Who hangs is kicked after a while, and says where.
        let kickers: Vec<_> = others.iter().map(|vp| vp.kicker()).chain([machine.vp.kicker()]).collect();
        let (over, patience) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            if patience.recv_timeout(Duration::from_secs(60) + 4 * seconds())
                == Err(RecvTimeoutError::Timeout)
            {
                kickers.iter().for_each(|kicker| kicker.kick());
            }
        });
        let running: Vec<_> = others.into_iter().map(spawn).collect();
        run_to_halt(&mut *machine.vp);
        let others = running.into_iter().map(|vp| vp.join().unwrap()).collect();
        drop(over);
        others
    })
}

#[test]
fn locked_increments_of_two_processors_are_not_lost() {
    const COUNT: u32 = 200_000;
    let mut machine = Machine::new();
    // The second operand crosses a cache line.
    machine.load(|a| {
        let mut again = a.create_label();
        a.mov(ecx, COUNT).unwrap();
        a.mov(ebx, 0x20_0000).unwrap();
        a.mov(edx, 1).unwrap();
        a.set_label(&mut again).unwrap();
        a.lock().inc(dword_ptr(rbx)).unwrap();
        a.lock().xadd(qword_ptr(rbx + 60), rdx).unwrap();
        a.mov(edx, 1).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(again).unwrap();
        a.hlt().unwrap();
    });
    let other = vp_at(&machine, 1, CODE);
    wait_together(&mut machine, vec![other]);
    assert_eq!(machine.read(0x20_0000), 2 * u64::from(COUNT));
    assert_eq!(machine.read(0x20_0000 + 60), 2 * u64::from(COUNT));
}

#[test]
fn when_a_change_of_the_map_is_done_nobody_uses_the_old_one() {
    let mut machine = Machine::new();
    machine.load(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.mov(rcx, qword_ptr(0x30_0000)).unwrap();
        a.mov(qword_ptr(0x31_0000), rcx).unwrap();
        a.test(rcx, rcx).unwrap();
        a.jns(again).unwrap();
        a.hlt().unwrap();
    });
    let view = ViewId(0);
    let space = machine.space.clone();
    let read = |gpa| space.read_value::<8>(view, gpa, Rights::NONE).unwrap();
    let runner = std::thread::spawn(move || machine.vp.run(RunLimits::default()).reason);
    for round in 1..=200u64 {
        let value = if round == 200 { u64::MAX } else { round };
        let page = MemoryObject::allocate(4096).unwrap();
        page.write_value::<8>(0, value).unwrap();
        // The page before is gone with its last reference as soon as the change is made.
        space.batch(|batch| batch.map(view, 0x300, 1, &page, 0, Rights::READ)).unwrap();
        if round == 200 {
            break;
        }
        space.write_value::<8>(view, 0x31_0000, 0x5555, Rights::NONE).unwrap();
        let seen = loop {
            // A store that was already on its way when the change was made may still come; after it only the new value does.
            match read(0x31_0000) {
                0x5555 => std::thread::yield_now(),
                seen => break seen,
            }
        };
        assert!(seen == value || seen == round - 1, "{seen} in round {round}");
        if seen != value {
            space.write_value::<8>(view, 0x31_0000, 0x5555, Rights::NONE).unwrap();
            let seen = loop {
                match read(0x31_0000) {
                    0x5555 => std::thread::yield_now(),
                    seen => break seen,
                }
            };
            assert_eq!(seen, value);
        }
    }
    assert_eq!(runner.join().unwrap(), ExitReason::Halt);
}

#[test]
fn processors_that_patch_each_other_go_on() {
    const COUNT: u32 = 300;
    let mut machine = Machine::new();
    // Each stores to the immediate of an instruction that the other executes.
    let program = |own: u64, other: u64| {
        let mut a = CodeAssembler::new(64).unwrap();
        let mut again = a.create_label();
        a.mov(ecx, COUNT).unwrap();
        a.set_label(&mut again).unwrap();
        a.mov(dword_ptr(other + 0x101), ecx).unwrap();
        a.call(own + 0x100).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(again).unwrap();
        a.hlt().unwrap();
        let mut bytes = a.assemble(own).unwrap();
        bytes.resize(0x100, 0x90);
        // MOV EAX, imm32; RET
        bytes.extend([0xB8, 0, 0, 0, 0, 0xC3]);
        bytes
    };
    let (first, second) = (CODE, CODE + 0x4000);
    machine.write(first, &program(first, second));
    machine.write(second, &program(second, first));
    let other = vp_at(&machine, 1, second);
    let others = wait_together(&mut machine, vec![other]);
    assert!(machine.vp.gpr(Gpr::Rax) <= u64::from(COUNT) && others[0].gpr(Gpr::Rax) <= u64::from(COUNT));
}

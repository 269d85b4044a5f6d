// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code that changes: by its own stores, by the host's, by another processor's, by a change of the map.

use engine::{ExitReason, Gpr, RunLimits};
use iced_x86::code_asm::*;
use memory::{MemoryObject, Rights, ViewId};

use super::machine::{CODE, Machine, STACK, long_mode_state};

#[test]
fn an_own_store_is_seen_by_the_next_instruction() {
    let mut machine = Machine::new();
    machine.run_program(|a| {
        let mut again = a.create_label();
        let mut patched = a.create_label();
        a.mov(ecx, 3).unwrap();
        a.xor(ebx, ebx).unwrap();
        a.lea(rsi, ptr(patched)).unwrap();
        a.set_label(&mut again).unwrap();
        a.add(byte_ptr(rsi + 1), cl).unwrap();
        a.set_label(&mut patched).unwrap();
        a.mov(eax, 0x100).unwrap();
        a.add(ebx, eax).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(again).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.vp.gpr(Gpr::Rbx), 0x103 + 0x105 + 0x106);
}

#[test]
fn stores_of_the_host_are_seen() {
    let mut machine = Machine::new();
    for value in [5u8, 6, 7] {
        machine.run_program(|a| {
            a.mov(eax, i32::from(value)).unwrap();
            a.hlt().unwrap();
        });
        assert_eq!(machine.vp.gpr(Gpr::Rax), u64::from(value));
        machine.vp.set_rip(CODE);
    }
}

#[test]
fn a_change_of_the_map_is_seen() {
    let mut machine = Machine::new();
    machine.run_program(|a| {
        a.mov(rax, qword_ptr(0x20_0000)).unwrap();
        a.hlt().unwrap();
    });
    let page = MemoryObject::allocate(4096).unwrap();
    page.write_value::<8>(0, 77).unwrap();
    machine.space.batch(|batch| batch.lay_overlay(ViewId(0), 0x200, &page, 0, Rights::READ)).unwrap();
    machine.vp.set_rip(CODE);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rax), 77);
}

#[test]
fn a_store_of_another_processor_is_seen() {
    let mut machine = Machine::new();
    let mut other = machine.group.create_vp(1).unwrap();
    // The first spins on code that the second changes from a jump to itself into NOPs.
    machine.load(|a| {
        let mut here = a.create_label();
        a.set_label(&mut here).unwrap();
        a.jmp(here).unwrap();
        a.hlt().unwrap();
    });
    let mut assembler = CodeAssembler::new(64).unwrap();
    assembler.mov(word_ptr(CODE), 0x9090).unwrap();
    assembler.hlt().unwrap();
    machine.write(CODE + 0x1000, &assembler.assemble(CODE + 0x1000).unwrap());
    let mut state = long_mode_state(0);
    state.rip = CODE + 0x1000;
    state.gprs[Gpr::Rsp as usize] = STACK - 0x1000;
    other.restore(&state);
    let kicker = machine.vp.kicker();
    std::thread::scope(|scope| {
        let spinner = scope.spawn(|| machine.vp.run(RunLimits::default()).reason);
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(other.run(RunLimits::default()).reason, ExitReason::Halt);
        // So that a failure ends: a kick long after.
        for _ in 0..200 {
            if spinner.is_finished() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kicker.kick();
        assert_eq!(spinner.join().unwrap(), ExitReason::Halt);
    });
}

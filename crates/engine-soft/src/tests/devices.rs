// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses to memory that is not there: exits before the instruction, and replay of what was completed.

use engine::{ExitReason, Gpr, MemoryAccessKind, Resume, RunLimits};
use iced_x86::code_asm::*;

use super::machine::{CODE, DEVICE, Machine, access};

#[test]
fn a_read_modify_write_is_a_read_then_a_write() {
    let mut machine = Machine::new();
    machine.load(|a| {
        a.mov(ebx, DEVICE as i32).unwrap();
        a.add(dword_ptr(rbx + 4), 3).unwrap();
        a.hlt().unwrap();
    });
    let exit = machine.run();
    assert_eq!(exit.reason, access(DEVICE + 4, 4, MemoryAccessKind::Read));
    assert_eq!((machine.vp.rip(), exit.instruction_length), (CODE + 5, 4));
    let flags = machine.vp.rflags();
    machine.vp.resume(Resume::Complete(0xFFFF_FFFE));
    assert_eq!(machine.run().reason, access(DEVICE + 4, 4, MemoryAccessKind::Write(1)));
    assert_eq!((machine.vp.rip(), machine.vp.rflags()), (CODE + 5, flags));
    machine.vp.resume(Resume::Complete(0));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.rflags() & 0x8D5, 0x11);
}

#[test]
fn a_string_move_to_a_device_goes_element_by_element() {
    let mut machine = Machine::new();
    machine.write(0x20_0000, &[1, 2, 3, 4]);
    machine.load(|a| {
        a.mov(esi, 0x20_0000).unwrap();
        a.mov(edi, DEVICE as i32).unwrap();
        a.mov(ecx, 2).unwrap();
        a.rep().movsw().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run().reason, access(DEVICE, 2, MemoryAccessKind::Write(0x0201)));
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 2);
    machine.vp.resume(Resume::Complete(0));
    assert_eq!(machine.run().reason, access(DEVICE + 2, 2, MemoryAccessKind::Write(0x0403)));
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 1);
    machine.vp.resume(Resume::Complete(0));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 0);
}

#[test]
fn a_write_across_the_edge_of_memory_stores_nothing_before_the_device_has_it() {
    let mut machine = Machine::new();
    machine.load(|a| {
        a.mov(ebx, DEVICE as i32 - 3).unwrap();
        a.mov(rax, 0x0807_0605_0403_0201u64).unwrap();
        a.mov(qword_ptr(rbx), rax).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run().reason, access(DEVICE, 5, MemoryAccessKind::Write(0x08_0706_0504)));
    assert_eq!(machine.read(DEVICE - 8), 0);
    machine.vp.resume(Resume::Complete(0));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.read(DEVICE - 8), 0x0302_0100_0000_0000);
}

#[test]
fn an_answer_can_skip_the_instruction() {
    let mut machine = Machine::new();
    machine.load(|a| {
        a.cpuid().unwrap();
        a.hlt().unwrap();
    });
    machine.vp.set_gpr(Gpr::Rax, 7);
    machine.vp.set_gpr(Gpr::Rcx, 1);
    assert_eq!(machine.run().reason, ExitReason::Cpuid { leaf: 7, subleaf: 1 });
    machine.vp.resume(Resume::Advance);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.rip(), CODE + 2);
}

#[test]
fn no_event_comes_between_a_completed_access_and_the_end_of_its_instruction() {
    let mut machine = Machine::new();
    machine.load(|a| {
        a.mov(ebx, DEVICE as i32).unwrap();
        a.mov(dword_ptr(rbx), 7).unwrap();
        a.nop().unwrap();
        a.hlt().unwrap();
    });
    machine.vp.set_rflags(0x202);
    assert_eq!(machine.run().reason, access(DEVICE, 4, MemoryAccessKind::Write(7)));
    machine.vp.resume(Resume::Complete(0));
    assert!(!machine.vp.can_take_interrupt() && !machine.vp.can_take_nmi());
    let window = RunLimits { interrupt_window: true, nmi_window: true, ..RunLimits::default() };
    let exit = machine.vp.run(window);
    assert!(matches!(exit.reason, ExitReason::InterruptWindow | ExitReason::NmiWindow), "{exit:?}");
    assert_eq!(machine.vp.rip(), CODE + 11, "the store is over, the next instruction has not begun");
}

/// A loop of PAUSE says that it waits; a few of them do not.
#[test]
fn a_loop_of_pause_is_a_spin_wait() {
    let mut machine = Machine::new();
    machine.load(|a| {
        let (mut short, mut long) = (a.create_label(), a.create_label());
        a.mov(ecx, 20).unwrap();
        a.set_label(&mut short).unwrap();
        a.pause().unwrap();
        a.dec(ecx).unwrap();
        a.jnz(short).unwrap();
        a.mov(eax, 1).unwrap();
        a.set_label(&mut long).unwrap();
        a.pause().unwrap();
        a.jmp(long).unwrap();
    });
    for _ in 0..3 {
        assert_eq!(machine.run().reason, ExitReason::SpinWait);
        assert_eq!(machine.vp.gpr(Gpr::Rax), 1);
    }
    let limits = RunLimits { deadline: Some(0), ..RunLimits::default() };
    assert_eq!(machine.vp.run(limits).reason, ExitReason::Deadline, "waiting does not hide a deadline");
}

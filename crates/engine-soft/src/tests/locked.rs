// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locked accesses that cross a page: one step, whatever other processors do.

use engine::{ExitReason, Gpr, RunLimits};
use iced_x86::code_asm::*;

use super::concurrency::{vp_at, wait_together};
use super::cross_modifying::seconds;
use super::machine::{CODE, DEVICE, Machine, long_mode_state};

/// Where the pages of an operand meet.
const EDGE: u64 = 0x90_1000;

/// Counts the processors that have begun.
const ARRIVED: u64 = 0x20_0000;

/// Rounds of each processor in a test: a step alone costs its processor some microseconds, and more on a busy host.
fn rounds() -> u32 {
    (3000.0 * seconds().as_secs_f64()) as u32
}

/// Loads a program that does [`rounds`] rounds, runs it on `vps` processors at once, and gives the machine back.
fn hammer(vps: u32, mut round: impl FnMut(&mut CodeAssembler)) -> Machine {
    let mut machine = Machine::new();
    machine.load(|a| {
        let (mut again, mut wait) = (a.create_label(), a.create_label());
        a.mov(r15d, rounds()).unwrap();
        // They begin together.
        a.lock().inc(dword_ptr(ARRIVED)).unwrap();
        a.set_label(&mut wait).unwrap();
        a.cmp(dword_ptr(ARRIVED), vps as i32).unwrap();
        a.jb(wait).unwrap();
        a.set_label(&mut again).unwrap();
        round(a);
        a.dec(r15d).unwrap();
        a.jnz(again).unwrap();
        a.hlt().unwrap();
    });
    let others = (1..vps).map(|index| vp_at(&machine, index, CODE)).collect();
    wait_together(&mut machine, others);
    machine
}

#[test]
fn counters_across_two_pages_lose_nothing() {
    const VPS: u32 = 3;
    let machine = hammer(VPS, |a| {
        a.mov(ebx, EDGE as u32).unwrap();
        a.lock().inc(dword_ptr(rbx - 2)).unwrap();
        // A second one, at other offsets, by the other ways to count.
        a.mov(edx, 1).unwrap();
        a.lock().xadd(qword_ptr(rbx + 0x1000 - 7), rdx).unwrap();
        a.lock().add(word_ptr(rbx + 0x2000 - 1), 1).unwrap();
        // Inside a page, from the host's own instructions, at the same time.
        a.lock().inc(dword_ptr(rbx + 0x100)).unwrap();
    });
    let count = u64::from(VPS * rounds());
    assert_eq!(machine.read(EDGE - 2) & 0xFFFF_FFFF, count);
    assert_eq!(machine.read(EDGE + 0x1000 - 7), count);
    assert_eq!(machine.read(EDGE + 0x2000 - 1) & 0xFFFF, count & 0xFFFF);
    assert_eq!(machine.read(EDGE + 0x100) & 0xFFFF_FFFF, count);
}

#[test]
fn cmpxchg8b_and_cmpxchg_across_two_pages_lose_nothing() {
    const VPS: u32 = 3;
    let machine = hammer(VPS, |a| {
        let (mut again, mut once_more) = (a.create_label(), a.create_label());
        a.mov(edi, EDGE as u32).unwrap();
        // Both halves count, each to the value of the other.
        a.set_label(&mut again).unwrap();
        a.mov(eax, dword_ptr(rdi - 5)).unwrap();
        a.mov(edx, dword_ptr(rdi - 1)).unwrap();
        a.lea(ebx, ptr(rax + 1)).unwrap();
        a.lea(ecx, ptr(rdx + 1)).unwrap();
        a.lock().cmpxchg8b(qword_ptr(rdi - 5)).unwrap();
        a.jnz(again).unwrap();
        a.mov(rax, qword_ptr(rdi + 0x1000 - 3)).unwrap();
        a.set_label(&mut once_more).unwrap();
        a.lea(rbx, ptr(rax + 1)).unwrap();
        a.lock().cmpxchg(qword_ptr(rdi + 0x1000 - 3), rbx).unwrap();
        a.jnz(once_more).unwrap();
    });
    let count = u64::from(VPS * rounds());
    assert_eq!(machine.read(EDGE - 5), count << 32 | count);
    assert_eq!(machine.read(EDGE + 0x1000 - 3), count);
}

/// XCHG locks by itself; what it guards is not locked at all.
#[test]
fn a_spin_lock_across_two_pages_excludes() {
    const VPS: u32 = 2;
    let machine = hammer(VPS, |a| {
        let mut again = a.create_label();
        let mut got = a.create_label();
        a.mov(ebx, EDGE as u32).unwrap();
        a.set_label(&mut again).unwrap();
        a.mov(eax, 0x0101_0101).unwrap();
        a.xchg(dword_ptr(rbx - 3), eax).unwrap();
        a.test(eax, eax).unwrap();
        a.jz(got).unwrap();
        a.pause().unwrap();
        a.jmp(again).unwrap();
        a.set_label(&mut got).unwrap();
        a.mov(rcx, qword_ptr(rbx + 0x200)).unwrap();
        a.inc(rcx).unwrap();
        a.mov(qword_ptr(rbx + 0x200), rcx).unwrap();
        a.xor(eax, eax).unwrap();
        a.xchg(dword_ptr(rbx - 3), eax).unwrap();
    });
    assert_eq!(machine.read(EDGE + 0x200), u64::from(VPS * rounds()));
}

/// The other processor's plain accesses see both parts change at once: it may not see a carry half made.
#[test]
fn a_plain_reader_sees_no_half() {
    let mut machine = Machine::new();
    // The lower bytes, in the first page, are all ones or all zero, and so are the upper ones.
    machine.load(|a| {
        let mut again = a.create_label();
        a.mov(r15d, rounds()).unwrap();
        a.mov(ebx, EDGE as u32).unwrap();
        a.set_label(&mut again).unwrap();
        a.lock().not(dword_ptr(rbx - 2)).unwrap();
        a.dec(r15d).unwrap();
        a.jnz(again).unwrap();
        a.mov(byte_ptr(rbx + 0x100), 1).unwrap();
        a.hlt().unwrap();
    });
    // A reader of both parts in one block: between its two reads nobody changes anything, for whoever is alone waits for the end of a block.
    let reader = CODE + 0x1000;
    let mut a = CodeAssembler::new(64).unwrap();
    let mut again = a.create_label();
    a.mov(ebx, EDGE as u32).unwrap();
    a.xor(edx, edx).unwrap();
    a.set_label(&mut again).unwrap();
    a.mov(ax, word_ptr(rbx - 2)).unwrap();
    a.mov(cx, word_ptr(rbx)).unwrap();
    a.xor(eax, ecx).unwrap();
    a.movzx(eax, ax).unwrap();
    a.or(edx, eax).unwrap();
    a.cmp(byte_ptr(rbx + 0x100), 0).unwrap();
    a.je(again).unwrap();
    a.hlt().unwrap();
    machine.write(reader, &a.assemble(reader).unwrap());
    let other = vp_at(&machine, 1, reader);
    let others = wait_together(&mut machine, vec![other]);
    assert_eq!(others[0].gpr(Gpr::Rdx), 0, "some bits of one part changed without the other");
    assert_eq!(machine.read(EDGE - 2) & 0xFFFF_FFFF, 0);
}

/// With a device behind the edge there is nothing to lock: the access is completed part by part, and once.
#[test]
fn into_a_device_it_is_a_read_and_a_write() {
    let mut machine = Machine::new();
    let operand = DEVICE - 2;
    machine.write(operand, &[0x34, 0x12]);
    machine.load(|a| {
        a.mov(ebx, operand as u32).unwrap();
        a.lock().inc(dword_ptr(rbx)).unwrap();
        a.hlt().unwrap();
    });
    let mut exits = Vec::new();
    loop {
        match machine.run().reason {
            ExitReason::Memory(access) => {
                exits.push((access.gpa, access.size, access.kind));
                machine.vp.resume(engine::Resume::Complete(0x5678));
            }
            ExitReason::Halt => break,
            other => panic!("{other:?}"),
        }
    }
    use engine::MemoryAccessKind::{Read, Write};
    assert_eq!(exits, [(DEVICE, 2, Read), (DEVICE, 2, Write(0x5678))]);
    let mut bytes = [0; 2];
    machine.space.read(memory::ViewId(0), operand, &mut bytes, memory::Rights::NONE).unwrap();
    assert_eq!(bytes, [0x35, 0x12]);
}

/// In an interrupt shadow, and with a trap behind it: a step alone is the same step.
#[test]
fn the_instruction_keeps_what_surrounds_it() {
    let mut machine = Machine::new();
    machine.load(|a| {
        a.mov(ebx, EDGE as u32).unwrap();
        a.sti().unwrap();
        a.lock().inc(dword_ptr(rbx - 2)).unwrap();
        a.nop().unwrap();
        a.hlt().unwrap();
    });
    let exit = machine.vp.run(RunLimits { interrupt_window: true, ..RunLimits::default() });
    assert_eq!(exit.reason, ExitReason::InterruptWindow);
    assert_eq!(machine.read(EDGE - 2), 1, "the window opened inside the shadow");
    let length = machine.vp.rip() - CODE;
    // MOV is 5 bytes, STI one, LOCK INC with a displacement of a byte 4.
    assert_eq!(length, 10);
}

/// A write that the second page does not allow leaves the first page, the registers and the flags as they were.
#[test]
fn a_fault_on_the_second_page_leaves_nothing() {
    let mut machine = Machine::new();
    machine.write(EDGE - 8, &[0x55; 8]);
    // The second page goes read-only; there is no IDT, so the fault ends in a triple fault, before anything else.
    let entry = 0x4000 + 8 * 0x101;
    let table = machine.read(entry);
    assert_eq!(table & !0xFFF, EDGE, "the entry of the second page");
    machine.write(entry, &(table & !2).to_le_bytes());
    machine.load(|a| {
        a.mov(ebx, EDGE as u32).unwrap();
        a.mov(eax, 0x5555_5555).unwrap();
        a.mov(ecx, 7).unwrap();
        a.lock().cmpxchg(dword_ptr(rbx - 2), ecx).unwrap();
        a.hlt().unwrap();
    });
    let mut state = long_mode_state(0);
    state.idtr.limit = 0;
    machine.vp.restore(&state);
    assert_eq!(machine.run().reason, ExitReason::TripleFault);
    assert_eq!(machine.vp.control().cr2, EDGE);
    assert_eq!(machine.read(EDGE - 8), 0x5555_5555_5555_5555);
    assert_eq!(machine.vp.gpr(Gpr::Rax), 0x5555_5555);
}

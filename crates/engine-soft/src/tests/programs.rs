// SPDX-License-Identifier: MIT OR Apache-2.0
//! Straight programs.

use engine::{ExitReason, Gpr, RunLimits};
use iced_x86::code_asm::*;

use crate::SoftEngine;
use crate::model::Model;

use super::machine::{CODE, Machine, STACK};

#[test]
fn a_loop_of_calls_adds_up() {
    let mut machine = Machine::new();
    machine.run_program(|a| {
        let (mut again, mut add) = (a.create_label(), a.create_label());
        a.mov(ecx, 1000).unwrap();
        a.xor(eax, eax).unwrap();
        a.set_label(&mut again).unwrap();
        a.call(add).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(again).unwrap();
        a.hlt().unwrap();
        a.set_label(&mut add).unwrap();
        a.push(rbx).unwrap();
        a.lea(rbx, ptr(rcx + rcx * 2)).unwrap();
        a.add(rax, rbx).unwrap();
        a.pop(rbx).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(machine.vp.gpr(Gpr::Rax), 3 * 500_500);
    assert_eq!(machine.vp.gpr(Gpr::Rsp), STACK);
}

#[test]
fn memory_forms_of_all_widths() {
    let mut machine = Machine::new();
    machine.write(0x20_0000, &[0x11; 64]);
    machine.run_program(|a| {
        a.mov(rbx, 0x20_0000u64).unwrap();
        a.mov(rax, 0x8877_6655_4433_2211u64).unwrap();
        a.mov(qword_ptr(rbx), rax).unwrap();
        a.mov(ah, byte_ptr(rbx + 7)).unwrap();
        a.add(byte_ptr(rbx + 8), 1).unwrap();
        a.sub(word_ptr(rbx + 16), ax).unwrap();
        a.lock().inc(dword_ptr(rbx + 24)).unwrap();
        a.xchg(qword_ptr(rbx + 32), rax).unwrap();
        a.movzx(ecx, byte_ptr(rbx + 3)).unwrap();
        a.movsx(rdx, word_ptr(rbx + 6)).unwrap();
        a.mov(dword_ptr(rbx + 40), 0x7FFF_FFFF).unwrap();
        a.add(dword_ptr(rbx + 40), 1).unwrap();
        a.seto(sil).unwrap();
        a.hlt().unwrap();
    });
    let vp = &machine.vp;
    assert_eq!(machine.read(0x20_0000), 0x8877_6655_4433_2211);
    assert_eq!(machine.read(0x20_0008) & 0xFF, 0x12);
    assert_eq!(machine.read(0x20_0010) & 0xFFFF, 0x1111u64.wrapping_sub(0x8811) & 0xFFFF);
    assert_eq!(machine.read(0x20_0018), 0x1111_1111_1111_1112);
    assert_eq!(machine.read(0x20_0020), 0x8877_6655_4433_8811);
    assert_eq!(vp.gpr(Gpr::Rax), 0x1111_1111_1111_1111);
    assert_eq!(vp.gpr(Gpr::Rcx), 0x44);
    assert_eq!(vp.gpr(Gpr::Rdx), 0xFFFF_FFFF_FFFF_8877);
    assert_eq!(vp.gpr(Gpr::Rsi) & 0xFF, 1);
}

#[test]
fn strings_move_across_pages() {
    let mut machine = Machine::new();
    let bytes: Vec<u8> = (0..0x3000u32).map(|index| ((index * 7) >> 3) as u8).collect();
    machine.write(0x80_0123, &bytes);
    machine.run_program(|a| {
        a.mov(rsi, 0x80_0123u64).unwrap();
        a.mov(rdi, 0x90_0FF1u64).unwrap();
        a.mov(ecx, 0x3000).unwrap();
        a.rep().movsb().unwrap();
        a.mov(rdi, 0xA0_0FF1u64).unwrap();
        a.mov(ecx, 0x801).unwrap();
        a.mov(rax, 0x0102_0304_0506_0708u64).unwrap();
        a.rep().stosq().unwrap();
        a.mov(rsi, 0x80_0123u64).unwrap();
        a.mov(rdi, 0x90_0FF1u64).unwrap();
        a.mov(ecx, 0x3000).unwrap();
        a.repe().cmpsb().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 0);
    assert_ne!(machine.vp.rflags() & 0x40, 0);
    assert_eq!(machine.vp.gpr(Gpr::Rdi), 0x90_0FF1 + 0x3000);
    assert_eq!(machine.read(0xA0_0FF1 + 8 * 0x800), 0x0102_0304_0506_0708);
    assert_eq!(machine.read(0xA0_0FF1 + 8 * 0x801), 0);
}

#[test]
fn an_instruction_across_pages_runs() {
    let mut machine = Machine::new();
    let mut assembler = CodeAssembler::new(64).unwrap();
    assembler.mov(rax, 0x1122_3344_5566_7788u64).unwrap();
    assembler.add(rax, rax).unwrap();
    assembler.hlt().unwrap();
    machine.write(CODE + 0xFFB, &assembler.assemble(CODE + 0xFFB).unwrap());
    machine.vp.set_rip(CODE + 0xFFB);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rax), 0x2244_6688_AACC_EF10);
}

#[test]
fn vector_instructions_run_on_the_host() {
    let mut machine = Machine::new();
    machine.write(0x20_0000, &1.5f64.to_le_bytes());
    machine.run_program(|a| {
        a.mov(rbx, 0x20_0000u64).unwrap();
        a.movsd_2(xmm0, qword_ptr(rbx)).unwrap();
        a.mulsd(xmm0, xmm0).unwrap();
        a.movsd_2(qword_ptr(rbx + 8), xmm0).unwrap();
        a.cvttsd2si(rax, xmm0).unwrap();
        a.fld(qword_ptr(rbx)).unwrap();
        a.fadd(qword_ptr(rbx + 8)).unwrap();
        a.fstp(qword_ptr(rbx + 16)).unwrap();
        a.popcnt(rcx, rbx).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(f64::from_bits(machine.read(0x20_0008)), 2.25);
    assert_eq!(f64::from_bits(machine.read(0x20_0010)), 3.75);
    assert_eq!(machine.vp.gpr(Gpr::Rax), 2);
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 1);
}

#[test]
fn division_faults_and_divides() {
    let mut machine = Machine::new();
    machine.run_program(|a| {
        a.mov(rdx, 1u64).unwrap();
        a.mov(rax, 6u64).unwrap();
        a.mov(rcx, 10u64).unwrap();
        a.div(rcx).unwrap();
        a.mov(rsi, rdx).unwrap();
        a.mov(rdi, rax).unwrap();
        a.mov(rax, -7i64).unwrap();
        a.cqo().unwrap();
        a.mov(rcx, 2i64).unwrap();
        a.idiv(rcx).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.vp.gpr(Gpr::Rdi), ((1u128 << 64) + 6).div_euclid(10) as u64);
    assert_eq!(machine.vp.gpr(Gpr::Rsi), (((1u128 << 64) + 6) % 10) as u64);
    assert_eq!(machine.vp.gpr(Gpr::Rax) as i64, -3);
    assert_eq!(machine.vp.gpr(Gpr::Rdx) as i64, -1);
}

/// A handler that does not end in a jump would use up the stack within a few thousand instructions.
#[test]
fn a_hundred_million_instructions_need_little_stack() {
    let run = || {
        let mut machine = Machine::new();
        machine.load(|a| {
            let mut again = a.create_label();
            let mut inner = a.create_label();
            a.mov(ecx, 5_000_000).unwrap();
            a.mov(rbx, 0x20_0000u64).unwrap();
            a.set_label(&mut again).unwrap();
            a.add(qword_ptr(rbx), rcx).unwrap();
            a.mov(rax, qword_ptr(rbx)).unwrap();
            a.shl(rax, 3).unwrap();
            a.lea(rdx, ptr(rax + rcx * 4 + 5)).unwrap();
            a.xor(rdx, rax).unwrap();
            a.push(rdx).unwrap();
            a.cmp(rdx, rax).unwrap();
            a.cmove(rdx, rax).unwrap();
            a.setne(al).unwrap();
            a.movzx(esi, al).unwrap();
            a.call(inner).unwrap();
            a.pop(rdi).unwrap();
            a.mov(dword_ptr(rbx + 8), edi).unwrap();
            a.test(edi, edi).unwrap();
            a.imul_3(rdi, rdi, 3).unwrap();
            a.adc(rdi, 1).unwrap();
            a.dec(ecx).unwrap();
            a.jnz(again).unwrap();
            a.hlt().unwrap();
            a.set_label(&mut inner).unwrap();
            a.lock().xadd(qword_ptr(rbx + 16), rsi).unwrap();
            a.ret().unwrap();
        });
        let start = std::time::Instant::now();
        assert_eq!(machine.vp.run(RunLimits::default()).reason, ExitReason::Halt);
        let seconds = start.elapsed().as_secs_f64();
        println!("{:.0} million instructions a second", 100.0 / seconds);
        assert_eq!(machine.read(0x20_0000), 5_000_000 * 5_000_001 / 2);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn more_code_than_the_block_cache_holds_runs() {
    const COUNT: usize = 60_000;
    // One chunk of 16384 operations, and none besides.
    let mut machine = Machine::with_engine(&SoftEngine::with_block_bytes(Model::x86_64_v2().unwrap(), 0));
    let mut code = [0xFF, 0xC0].repeat(COUNT);
    // DEC ECX; JNZ to the start; HLT
    code.extend([0xFF, 0xC9, 0x0F, 0x85]);
    code.extend((-(code.len() as i32 + 4)).to_le_bytes());
    code.push(0xF4);
    machine.write(CODE, &code);
    machine.vp.set_gpr(Gpr::Rax, 0);
    machine.vp.set_gpr(Gpr::Rcx, 3);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rax), 3 * COUNT as u64);
    assert_eq!(machine.vp.rip(), CODE + code.len() as u64 - 1);
}

/// The guest does not see a time beyond the deadline before whoever set it had a chance to interrupt.
#[test]
fn a_time_beyond_the_deadline_is_not_seen() {
    let mut machine = Machine::new();
    machine.load(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.rdtsc().unwrap();
        a.shl(rdx, 32).unwrap();
        a.or(rax, rdx).unwrap();
        a.mov(rbx, rax).unwrap();
        a.jmp(again).unwrap();
    });
    let clock = machine.group.clock();
    for _ in 0..20 {
        let deadline = clock.now() + clock.frequency() / 2000;
        let limits = RunLimits { deadline: Some(deadline), ..RunLimits::default() };
        assert_eq!(machine.vp.run(limits).reason, ExitReason::Deadline);
        let seen = machine.vp.gpr(Gpr::Rbx);
        assert!(seen < deadline, "{seen}, and the run was to end at {deadline}");
        assert!(clock.now() >= deadline);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! From real mode to 64-bit mode and through faults, as a start-up program does it.

use engine::{ExitReason, Gpr, Resume, RunLimits, Segment, SegmentName, TableRegister, VpState};
use iced_x86::code_asm::*;

use super::machine::{CODE, Machine, long_mode_state};

const REAL: u64 = 0x1_0000;
const GDT: u64 = 0x7000;

/// Null, 32-bit code, data, 64-bit code.
fn write_gdt(machine: &Machine) {
    let descriptors = [0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00AF_9B00_0000_FFFFu64];
    for (index, descriptor) in descriptors.into_iter().enumerate() {
        machine.write(GDT + 8 * index as u64, &descriptor.to_le_bytes());
    }
    let mut pointer = [0; 6];
    pointer[..2].copy_from_slice(&31u16.to_le_bytes());
    pointer[2..].copy_from_slice(&(GDT as u32).to_le_bytes());
    machine.write(REAL + 0xF00, &pointer);
}

#[test]
fn a_start_up_program_goes_from_real_to_64_bit_mode() {
    let mut machine = Machine::new();
    write_gdt(&machine);
    let mut a = CodeAssembler::new(16).unwrap();
    let (mut subroutine, mut after, mut again) = (a.create_label(), a.create_label(), a.create_label());
    a.mov(ax, cs).unwrap();
    a.mov(ds, ax).unwrap();
    a.mov(es, ax).unwrap();
    a.mov(ss, ax).unwrap();
    a.mov(sp, 0xE00).unwrap();
    a.cld().unwrap();
    a.mov(di, 0x800).unwrap();
    a.mov(cx, 0x20).unwrap();
    a.mov(ax, 0x1234).unwrap();
    a.rep().stosw().unwrap();
    a.mov(bx, word_ptr(0x83E)).unwrap();
    a.call(subroutine).unwrap();
    a.jmp(after).unwrap();
    a.set_label(&mut subroutine).unwrap();
    a.mov(cx, 5).unwrap();
    a.set_label(&mut again).unwrap();
    a.add(bx, 1).unwrap();
    a.loop_(again).unwrap();
    a.push(bx).unwrap();
    a.pop(word_ptr(0x900)).unwrap();
    a.ret().unwrap();
    a.set_label(&mut after).unwrap();
    a.lgdt(fword_ptr(0xF00)).unwrap();
    a.mov(eax, cr0).unwrap();
    a.or(al, 1).unwrap();
    a.mov(cr0, eax).unwrap();
    let mut code = a.assemble(0).unwrap();
    // JMP 8:REAL+0x400 with a 32-bit offset.
    code.extend([0x66, 0xEA]);
    code.extend(((REAL + 0x400) as u32).to_le_bytes());
    code.extend([8, 0]);
    machine.write(REAL, &code);

    let mut a = CodeAssembler::new(32).unwrap();
    a.mov(eax, 0x10).unwrap();
    a.mov(ds, eax).unwrap();
    a.mov(es, eax).unwrap();
    a.mov(ss, eax).unwrap();
    a.mov(esp, 0x9_0000).unwrap();
    a.pushad().unwrap();
    a.popad().unwrap();
    a.movzx(esi, word_ptr(REAL + 0x900)).unwrap();
    a.mov(eax, cr4).unwrap();
    a.or(eax, 0x20).unwrap();
    a.mov(cr4, eax).unwrap();
    a.mov(eax, 0x1000).unwrap();
    a.mov(cr3, eax).unwrap();
    a.mov(ecx, 0xC000_0080u32 as i32).unwrap();
    a.rdmsr().unwrap();
    a.or(eax, 0x900).unwrap();
    a.wrmsr().unwrap();
    a.mov(eax, cr0).unwrap();
    a.or(eax, 0x8000_0000u32 as i32).unwrap();
    a.mov(cr0, eax).unwrap();
    let mut code = a.assemble(REAL + 0x400).unwrap();
    code.push(0xEA);
    code.extend((CODE as u32).to_le_bytes());
    code.extend([0x18, 0]);
    machine.write(REAL + 0x400, &code);

    machine.load(|a| {
        a.mov(rax, 0x1234_5678_9ABC_DEF0u64).unwrap();
        a.push(rax).unwrap();
        a.pop(rbx).unwrap();
        a.hlt().unwrap();
    });
    let mut state = VpState::reset(0);
    let code =
        Segment { base: REAL, limit: 0xFFFF, selector: ((REAL >> 4) as u16).into(), attributes: 0x9B.into() };
    state.segments[SegmentName::Cs as usize] = code;
    state.rip = 0;
    machine.vp.restore(&state);
    let exit = machine.run();
    assert_eq!(exit.reason, ExitReason::Halt, "{exit:?} at {:#x}", machine.vp.rip());
    assert_eq!(machine.vp.gpr(Gpr::Rbx), 0x1234_5678_9ABC_DEF0);
    assert_eq!(machine.vp.gpr(Gpr::Rsi), 0x1239);
    assert_eq!(machine.vp.control().efer & 0x500, 0x500);
}

/// An IDT whose 32 gates all lead to [`HANDLER`]`+ 16 * vector`.
const IDT: u64 = 0x6000;
const HANDLER: u64 = 0x11_0000;

/// The vector whose handler the machine halted in.
pub(super) fn handled_vector(machine: &Machine) -> u64 {
    (machine.vp.rip() - HANDLER) / 16
}

pub(super) fn write_idt(machine: &mut Machine) {
    for vector in 0..32u64 {
        let target = HANDLER + 16 * vector;
        let low = target & 0xFFFF | 0x18 << 16 | 0x8E00 << 32 | (target >> 16 & 0xFFFF) << 48;
        machine.write(IDT + 16 * vector, &low.to_le_bytes());
        machine.write(IDT + 16 * vector + 8, &(target >> 32).to_le_bytes());
        // MOV AL, vector; HLT
        machine.write(target, &[0xB0, vector as u8, 0xF4]);
    }
    write_gdt(machine);
    let vp = &mut machine.vp;
    vp.set_idtr(TableRegister { base: IDT, limit: 0x1FF });
    vp.set_gdtr(TableRegister { base: GDT, limit: 31 });
    let mut code = vp.segment(SegmentName::Cs);
    code.selector = 0x18.into();
    vp.set_segment(SegmentName::Cs, code);
}

#[test]
fn faults_are_precise() {
    type Assemble<'a> = &'a dyn Fn(&mut CodeAssembler);
    let cases: [(u8, u64, Assemble<'_>); 4] = [
        (0, 0, &|a| a.div(byte_ptr(rbx)).unwrap()),
        (6, 0, &|a| a.ud2().unwrap()),
        (14, 0x1_0000_1000, &|a| a.add(qword_ptr(rsi), rax).unwrap()),
        (13, 0, &|a| a.push(qword_ptr(rdi)).unwrap()),
    ];
    for (vector, address, faulting) in cases {
        let mut machine = Machine::new();
        write_idt(&mut machine);
        machine.load(|a| {
            a.mov(rbx, 0x20_0000u64).unwrap();
            a.mov(rsi, 0x1_0000_1000u64).unwrap();
            a.mov(rdi, 0x8000_0000_0000_0000u64).unwrap();
            a.mov(eax, 0x100).unwrap();
            a.stc().unwrap();
            faulting(a);
            a.hlt().unwrap();
        });
        assert_eq!(machine.run().reason, ExitReason::Halt);
        assert_eq!(machine.vp.gpr(Gpr::Rax), 0x100 | u64::from(vector));
        assert_eq!(machine.vp.control().cr2, address);
        let has_code = vector > 8;
        let frame = machine.vp.gpr(Gpr::Rsp) + if has_code { 8 } else { 0 };
        // 10 bytes each of three long immediates, one of five, one of STC.
        assert_eq!(machine.read(frame), CODE + 10 + 10 + 10 + 5 + 1, "vector {vector}");
        assert_eq!(machine.read(frame + 16) & 0x8D5, 1);
        assert_eq!(frame + 40, super::machine::STACK);
        if vector == 14 {
            // A read-modify-write that finds no page is a write.
            assert_eq!(machine.read(frame - 8), 2);
        }
    }
}

#[test]
fn an_interrupt_waits_for_the_shadow_and_its_window_is_told() {
    let mut machine = Machine::new();
    write_idt(&mut machine);
    machine.load(|a| {
        a.cli().unwrap();
        a.nop().unwrap();
        a.sti().unwrap();
        a.mov(ecx, 7).unwrap();
        a.mov(ecx, 8).unwrap();
        a.hlt().unwrap();
    });
    let limits = RunLimits { interrupt_window: true, ..RunLimits::default() };
    assert_eq!(machine.vp.run(limits).reason, ExitReason::InterruptWindow);
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 7);
    assert!(machine.vp.can_take_interrupt());
    machine.vp.inject(engine::Event::Interrupt(0x1F));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rax) & 0xFF, 0x1F);
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 7);
}

#[test]
fn single_step_traps_after_each_instruction() {
    let mut machine = Machine::new();
    write_idt(&mut machine);
    machine.load(|a| {
        a.inc(ecx).unwrap();
        a.inc(ecx).unwrap();
        a.hlt().unwrap();
    });
    machine.vp.set_rflags(0x102);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rax) & 0xFF, 1);
    assert_eq!(machine.vp.gpr(Gpr::Rcx), 1);
    assert_eq!(machine.read(machine.vp.gpr(Gpr::Rsp)), CODE + 2);
    assert_ne!(machine.vp.debug().dr6 & 1 << 14, 0);
}

#[test]
fn a_triple_fault_ends_the_run() {
    let mut machine = Machine::new();
    machine.vp.set_idtr(TableRegister { base: 0, limit: 0 });
    machine.load(|a| a.ud2().unwrap());
    assert_eq!(machine.run().reason, ExitReason::TripleFault);
}

#[test]
fn user_code_may_not_touch_what_is_not_its_own() {
    let mut machine = Machine::new();
    // Page 0x900000 becomes a supervisor's.
    machine.write(0x4000 + 8 * 0x100, &0x90_0003u64.to_le_bytes());
    machine.vp.restore(&long_mode_state(3));
    machine.load(|a| {
        a.mov(rbx, qword_ptr(0x80_0000)).unwrap();
        a.mov(rbx, qword_ptr(0x90_0000)).unwrap();
    });
    // No IDT: the fault becomes a triple fault, before which CR2 is set.
    assert_eq!(machine.run().reason, ExitReason::TripleFault);
    assert_eq!(machine.vp.control().cr2, 0x90_0000);
    assert_eq!(machine.vp.rip(), CODE + 8);
}

#[test]
fn deadlines_and_kicks_end_runs() {
    let mut machine = Machine::new();
    machine.load(|a| {
        let mut here = a.create_label();
        a.set_label(&mut here).unwrap();
        a.jmp(here).unwrap();
    });
    let clock = machine.group.clock();
    let deadline = clock.now() + clock.frequency() / 200;
    let limits = RunLimits { deadline: Some(deadline), ..RunLimits::default() };
    assert_eq!(machine.vp.run(limits).reason, ExitReason::Deadline);
    assert!(clock.now() >= deadline);
    let kicker = machine.vp.kicker();
    kicker.kick();
    assert_eq!(machine.run().reason, ExitReason::Kicked);
    // One that was taken ends no run.
    kicker.kick();
    assert!(machine.vp.take_kick() && !machine.vp.take_kick());
    let deadline = clock.now() + clock.frequency() / 200;
    let limits = RunLimits { deadline: Some(deadline), ..RunLimits::default() };
    let exit = std::thread::scope(|scope| {
        let run = scope.spawn(|| machine.vp.run(limits));
        while !kicker.is_in_guest() && !run.is_finished() {
            std::thread::yield_now();
        }
        run.join().unwrap()
    });
    assert_eq!(exit.reason, ExitReason::Deadline);
    assert!(!kicker.is_in_guest());
}

/// A guest that leaves all the time is looked after as one that never does.
#[test]
fn exits_do_not_put_off_a_deadline() {
    let mut machine = Machine::new();
    machine.load(|a| {
        let mut here = a.create_label();
        a.set_label(&mut here).unwrap();
        a.vmcall().unwrap();
        a.jmp(here).unwrap();
    });
    let clock = machine.group.clock();
    let leave = |machine: &mut Machine, deadline| {
        let exit = machine.vp.run(RunLimits { deadline: Some(deadline), ..RunLimits::default() });
        if let ExitReason::Hypercall(_) = exit.reason {
            machine.vp.resume(Resume::Advance);
        }
        exit.reason
    };
    let deadline = clock.now() + clock.frequency() / 100;
    while clock.now() < deadline {
        leave(&mut machine, deadline);
    }
    let late = (0..).find(|_| leave(&mut machine, deadline) == ExitReason::Deadline);
    assert!(late.is_some_and(|exits| exits <= 16), "{late:?}");
    // And one that comes earlier than the last is met at once.
    let far = u64::MAX;
    assert!((0..100).all(|_| leave(&mut machine, far) != ExitReason::Deadline));
    let deadline = clock.now();
    assert_eq!(leave(&mut machine, deadline), ExitReason::Deadline);
}

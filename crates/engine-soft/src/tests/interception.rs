// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hypervisor may choose: exceptions that raise exits, and instructions that user code may not execute.

use engine::{DescriptorTableGuard, Event, ExitReason, Resume};
use iced_x86::code_asm::{ax, ptr, rax, rbx, rcx};
use x86::segment::TableRegister;

use super::machine::{CODE, Machine, long_mode_state};

const GENERAL_PROTECTION: u8 = 13;
const NOT_PRESENT: u8 = 11;
const BREAKPOINT: u8 = 3;

fn raised(vector: u8, error_code: Option<u32>, parameter: u64) -> ExitReason {
    ExitReason::Exception { vector, error_code, parameter }
}

/// B08.022: the exit stands before the instruction, with nothing delivered; it is executed again, or gets the exception.
#[test]
fn a_chosen_exception_raises_an_exit_before_its_instruction() {
    let mut machine = Machine::new();
    machine.load(|asm| {
        asm.mov(rax, 0xFF_F000u64).unwrap();
        asm.add(rbx, 1).unwrap();
        asm.mov(rcx, ptr(rax + 0x100_0000)).unwrap();
        asm.hlt().unwrap();
    });
    machine.vp.set_exception_exits(1 << 14);
    let exit = machine.run();
    assert_eq!(exit.reason, raised(14, Some(0), 0x1FF_F000));
    assert_eq!((exit.instruction_length, exit.delivering), (7, None));
    assert_eq!((machine.vp.gpr(engine::Gpr::Rbx), machine.vp.events().pending), (1, None));
    let rip = machine.vp.rip();
    machine.vp.resume(Resume::Retry);
    assert_eq!(machine.run().reason, exit.reason, "again");
    assert_eq!((machine.vp.rip(), machine.vp.gpr(engine::Gpr::Rbx)), (rip, 1));
    machine.vp.set_rip(rip + 7);
    assert_eq!(machine.run().reason, ExitReason::Halt, "whoever is asked may go past it");
}

/// What is injected is delivered without another exit. Without an IDT that is a triple fault.
#[test]
fn an_injected_exception_is_delivered() {
    let mut machine = Machine::new();
    machine.load(|asm| asm.ud2().unwrap());
    machine.vp.set_idtr(TableRegister { base: 0, limit: 0 });
    machine.vp.set_exception_exits(1 << 6);
    assert_eq!(machine.run().reason, raised(6, None, 0));
    machine.vp.resume(Resume::Inject(Event::INVALID_OPCODE));
    assert_eq!(machine.run().reason, ExitReason::TripleFault);
}

/// B08.023: an exception that the delivery of another raises is seen as itself, before both make a double fault.
#[test]
fn exceptions_raise_exits_before_they_combine() {
    let mut machine = Machine::new();
    machine.load(|asm| {
        asm.mov(ax, 0x1F8).unwrap();
        asm.mov(iced_x86::code_asm::ds, ax).unwrap();
    });
    // Gates: that of #GP is not present, so its delivery is #NP; the table ends before #DF would have a gate that leads anywhere.
    machine.vp.set_idtr(TableRegister { base: 0x9_8000, limit: 0xFFF });
    machine.vp.set_gdtr(TableRegister { base: 0x9_7000, limit: 0x2F });
    let gate = 0x9_8000 + 16 * u64::from(GENERAL_PROTECTION);
    machine.write(gate, &(0x0000_0E00_0008_0000u64).to_le_bytes());
    machine.vp.set_exception_exits(1 << NOT_PRESENT);
    let exit = machine.run();
    assert_eq!(exit.reason, raised(NOT_PRESENT, Some(u32::from(GENERAL_PROTECTION) << 3 | 3), 0));
    let first = Event::Exception { vector: GENERAL_PROTECTION, error_code: Some(0x1F8), parameter: 0 };
    assert_eq!(exit.delivering, Some(first));
    machine.vp.resume(Resume::Retry);
    assert_eq!(machine.run().reason, exit.reason, "the first is delivered anew");
    machine.vp.resume(Resume::Inject(Event::Exception {
        vector: NOT_PRESENT,
        error_code: Some(0x6B),
        parameter: 0,
    }));
    assert_eq!(machine.run().reason, ExitReason::TripleFault, "a double fault, whose gate is none");
}

/// B08.024: INT3 and INT n are no exceptions.
#[test]
fn software_interrupts_raise_no_exits() {
    let mut machine = Machine::new();
    machine.load(|asm| asm.int3().unwrap());
    machine.vp.set_idtr(TableRegister { base: 0x9_8000, limit: 0xFFF });
    machine.vp.set_gdtr(TableRegister { base: 0x9_7000, limit: 0x2F });
    machine.write(0x9_7008, &0x00AF_9B00_0000_FFFFu64.to_le_bytes());
    let handler = CODE + 0x100;
    let low = (handler & 0xFFFF) | 8 << 16 | 0x8E00 << 32 | (handler >> 16 & 0xFFFF) << 48;
    machine.write(0x9_8000 + 16 * u64::from(BREAKPOINT), &low.to_le_bytes());
    machine.write(handler, &[0xF4]);
    machine.vp.set_exception_exits(u32::MAX);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.rip(), handler);
}

/// B08.019: what is guarded is #GP for user code, and for nobody else.
#[test]
fn user_code_is_kept_from_descriptor_tables() {
    type Assemble = fn(&mut iced_x86::code_asm::CodeAssembler);
    let instructions: [(Assemble, DescriptorTableGuard); 4] = [
        (|asm| asm.sgdt(ptr(rax)).unwrap(), DescriptorTableGuard { sgdt: true, ..Default::default() }),
        (|asm| asm.sidt(ptr(rax)).unwrap(), DescriptorTableGuard { sidt: true, ..Default::default() }),
        (|asm| asm.sldt(ax).unwrap(), DescriptorTableGuard { sldt: true, ..Default::default() }),
        (|asm| asm.str(ax).unwrap(), DescriptorTableGuard { str: true, ..Default::default() }),
    ];
    for (which, (assemble, guard)) in instructions.into_iter().enumerate() {
        for (other, (_, chosen)) in instructions.into_iter().enumerate() {
            for cpl in [0, 3] {
                let mut machine = Machine::new();
                machine.load(|asm| {
                    assemble(asm);
                    asm.ud2().unwrap();
                });
                let mut state = long_mode_state(cpl);
                state.gprs[engine::Gpr::Rax as usize] = 0x8_0000;
                machine.vp.restore(&state);
                machine.vp.set_exception_exits(1 << 6 | 1 << GENERAL_PROTECTION);
                machine.vp.set_descriptor_table_guard(chosen);
                let kept = which == other && cpl == 3;
                let expected = if kept { raised(GENERAL_PROTECTION, Some(0), 0) } else { raised(6, None, 0) };
                assert_eq!(machine.run().reason, expected, "{guard:?} under {chosen:?} at {cpl}");
            }
        }
    }
}

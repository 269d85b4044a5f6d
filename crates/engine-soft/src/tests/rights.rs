// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rights to guest-physical pages: every access that they forbid is an exit with nothing done, whoever makes it (TLFS 5.2, 8.8).

use engine::{Event, ExitReason, Gpr, MemoryAccess, MemoryAccessKind, MemoryExitCause, Resume};
use iced_x86::code_asm::*;
use memory::{MemoryObject, Rights, ViewId};
use x86::segment::TableRegister;

use super::machine::{CODE, DEVICE, Machine, long_mode_state};

const VIEW: ViewId = ViewId(0);
/// A page that tests take rights from, and the one behind it.
const PAGE: u64 = 0x80_0000;

fn protect(machine: &Machine, gpa: u64, rights: Rights) {
    machine.space.batch(|batch| batch.protect(VIEW, gpa >> 12, 1, rights)).unwrap();
}

fn memory_exit(machine: &mut Machine) -> MemoryAccess {
    match machine.run().reason {
        ExitReason::Memory(access) => access,
        other => panic!("{other:?}"),
    }
}

/// B05.002: a page is mapped, or inaccessible, or not mapped, for reads, writes and fetches alike.
#[test]
fn pages_are_in_one_of_three_states() {
    type Program = fn(&mut CodeAssembler, u64);
    type IsKind = fn(MemoryAccessKind) -> bool;
    let accesses: [(Program, IsKind); 3] = [
        (
            |a, page| {
                a.mov(rbx, page).unwrap();
                a.mov(rax, ptr(rbx)).unwrap();
                a.hlt().unwrap();
            },
            |kind| kind == MemoryAccessKind::Read,
        ),
        (
            |a, page| {
                a.mov(rbx, page).unwrap();
                a.mov(ptr(rbx), rax).unwrap();
                a.hlt().unwrap();
            },
            |kind| matches!(kind, MemoryAccessKind::Write(_)),
        ),
        (
            |a, page| {
                a.mov(rbx, page).unwrap();
                a.jmp(rbx).unwrap();
            },
            |kind| kind == MemoryAccessKind::Execute,
        ),
    ];
    for (program, is_kind) in accesses {
        for (page, rights, cause) in [
            (PAGE, Rights::ALL, None),
            (PAGE, Rights::NONE, Some(MemoryExitCause::Rights(Rights::NONE))),
            (DEVICE, Rights::ALL, Some(MemoryExitCause::Unmapped)),
        ] {
            let mut machine = Machine::new();
            machine.write(PAGE, &[0xF4; 8]);
            if page == PAGE {
                protect(&machine, PAGE, rights);
            }
            machine.load(|a| program(a, page));
            match cause {
                None => assert_eq!(machine.run().reason, ExitReason::Halt),
                Some(cause) => {
                    let access = memory_exit(&mut machine);
                    assert_eq!((access.gpa & !0xFFF, access.cause), (page, cause));
                    assert!(is_kind(access.kind), "{access:?}");
                }
            }
        }
    }
}

/// B05.005: the processor's own write of an accessed flag needs the right to write the page table.
#[test]
fn flags_in_page_tables_are_writes() {
    let mut machine = Machine::new();
    let table = 0x4000 + 0x1000 * 3;
    // The first page of the last table, which nothing has touched.
    let page = 7 << 21;
    protect(&machine, table, Rights::READ);
    machine.load(|a| {
        a.mov(rbx, page as u64).unwrap();
        a.mov(rax, ptr(rbx)).unwrap();
        a.hlt().unwrap();
    });
    let access = memory_exit(&mut machine);
    assert_eq!(
        (access.gpa, access.cause, access.page_walk),
        (table, MemoryExitCause::Rights(Rights::READ), true)
    );
    assert!(matches!(access.kind, MemoryAccessKind::Write(_)), "{access:?}");
    assert_eq!(machine.read(table) & 0x20, 0);
    protect(&machine, table, Rights::ALL);
    machine.vp.resume(Resume::Retry);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.read(table) & 0x20, 0x20);
}

/// B05.008: a write across two pages of which the second is protected writes nothing to the first.
#[test]
fn split_writes_are_checked_whole() {
    let mut machine = Machine::new();
    machine.write(PAGE + 0xFF8, &[0x11; 8]);
    protect(&machine, PAGE + 0x1000, Rights::READ);
    machine.load(|a| {
        a.mov(rbx, PAGE + 0xFFE).unwrap();
        a.mov(rax, u64::MAX).unwrap();
        a.mov(dword_ptr(rbx), eax).unwrap();
        a.hlt().unwrap();
    });
    let access = memory_exit(&mut machine);
    assert_eq!(access.gpa & !0xFFF, PAGE + 0x1000);
    assert_eq!(machine.read(PAGE + 0xFF8), 0x1111_1111_1111_1111);
}

/// B05.013: page tables may lie on an overlay page: its contents are used.
#[test]
fn page_tables_on_an_overlay_are_used() {
    let mut machine = Machine::new();
    let overlay = MemoryObject::allocate(0x1000).unwrap();
    // Page 0 of the last table leads to PAGE there.
    overlay.write_value::<8>(0, PAGE | 7).unwrap();
    let table = 0x4000 + 0x1000 * 3;
    machine.write(PAGE, &0x1234u64.to_le_bytes());
    let rights = Rights::READ | Rights::WRITE;
    machine.space.batch(|batch| batch.lay_overlay(VIEW, table >> 12, &overlay, 0, rights)).unwrap();
    machine.load(|a| {
        a.mov(rbx, 7u64 << 21).unwrap();
        a.mov(rax, ptr(rbx)).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.vp.gpr(Gpr::Rax), 0x1234);
}

/// B08.013: so do the processor's own reads of descriptor tables.
#[test]
fn descriptor_tables_are_accesses_too() {
    let mut machine = Machine::new();
    machine.vp.set_gdtr(TableRegister { base: DEVICE, limit: 0xFF });
    machine.load(|a| {
        a.mov(ax, 0x10).unwrap();
        a.mov(ds, ax).unwrap();
        a.hlt().unwrap();
    });
    let access = memory_exit(&mut machine);
    assert_eq!((access.gpa & !0xFFF, access.cause), (DEVICE, MemoryExitCause::Unmapped));
    assert_eq!(access.kind, MemoryAccessKind::Read);
}

/// B07.029: an event whose delivery meets an exit stays pending, and is delivered once when it can be.
#[test]
fn an_event_is_delivered_once() {
    const VECTOR: u8 = 0x41;
    const HANDLER: u64 = CODE + 0x100;
    let mut machine = Machine::new();
    machine.vp.set_idtr(TableRegister { base: DEVICE, limit: 0xFFF });
    machine.vp.set_gdtr(TableRegister { base: 0x9_7000, limit: 0x2F });
    machine.write(0x9_7008, &0x00AF_9B00_0000_FFFFu64.to_le_bytes());
    machine.load(|a| a.hlt().unwrap());
    machine.write(HANDLER, &[0x48, 0xFF, 0xC3, 0xF4]);
    machine.vp.set_gpr(Gpr::Rbx, 0);
    let event = Event::Interrupt(VECTOR);
    machine.vp.inject(event);
    let exit = machine.run();
    assert!(matches!(exit.reason, ExitReason::Memory(access) if access.gpa & !0xFFF == DEVICE));
    assert_eq!((exit.delivering, machine.vp.events().pending), (Some(event), Some(event)));
    let idt = MemoryObject::allocate(0x1000).unwrap();
    let gate = (HANDLER & 0xFFFF) | 8 << 16 | 0x8E00 << 32 | (HANDLER >> 16 & 0xFFFF) << 48;
    idt.write_value::<8>(16 * u64::from(VECTOR), gate).unwrap();
    machine.space.batch(|batch| batch.map(VIEW, DEVICE >> 12, 1, &idt, 0, Rights::ALL)).unwrap();
    machine.vp.resume(Resume::Retry);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!((machine.vp.gpr(Gpr::Rbx), machine.vp.events().pending), (1, None), "INC RBX once");
}

/// B08.025: what the processor checks first is first: a port that user code may not use is #GP, not an access.
#[test]
fn general_protection_comes_before_a_port() {
    let mut machine = Machine::new();
    machine.load(|a| a.in_(al, 0x40).unwrap());
    // The task's map of ports begins where the task's segment ends.
    machine.write(0x8066, &0x68_u16.to_le_bytes());
    machine.vp.restore(&long_mode_state(3));
    machine.vp.set_exception_exits(1 << 13);
    let expected = ExitReason::Exception { vector: 13, error_code: Some(0), parameter: 0 };
    assert_eq!(machine.run().reason, expected);
}

/// B08.007: there is no system management mode to return from.
#[test]
fn rsm_is_undefined() {
    let mut machine = Machine::new();
    machine.write(CODE, &[0x0F, 0xAA]);
    machine.vp.set_exception_exits(1 << 6);
    let expected = ExitReason::Exception { vector: 6, error_code: None, parameter: 0 };
    assert_eq!(machine.run().reason, expected);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! AVX operands in memory: what a mask selects, what crosses pages, what is a device's; and the state behind them.

use engine::{ExitReason, Gpr, MemoryAccessKind, Resume, SegmentName, VpState};
use iced_x86::code_asm::*;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::machine::{CODE, DEVICE, Machine, access, long_mode_state};
use super::modes::{handled_vector, write_idt};
use crate::SoftEngine;
use crate::model::{Model, ModelName};

const DATA: u64 = 0x20_0000;
/// The first page above memory and devices: nothing maps it.
const UNMAPPED: u64 = 0x100_0000;
/// Bits of MXCSR and XSTATE_BV do not matter here; YMM registers lie at these offsets of an XSAVE area.
const XMM: usize = 160;
const YMM_HIGH: usize = 576;

/// A machine with AVX enabled, unless the host has none.
fn machine() -> Option<Machine> {
    let model = match Model::named(ModelName::X86_64V3) {
        Ok(model) => model,
        Err(error) => {
            println!("SKIPPED: {error}");
            return None;
        }
    };
    let mut machine = Machine::with_engine(&SoftEngine::new(model));
    let mut state = long_mode_state(0);
    state.control.xcr0 = 7;
    machine.vp.restore(&state);
    Some(machine)
}

/// The eight 32-bit elements of a YMM register.
fn ymm(machine: &Machine, index: usize) -> [u32; 8] {
    let area = machine.vp.save().xsave.0;
    std::array::from_fn(|element| {
        let half = if element < 4 { XMM } else { YMM_HIGH };
        let at = half + 16 * index + 4 * (element % 4);
        u32::from_le_bytes(area[at..at + 4].try_into().unwrap())
    })
}

/// Sets YMM registers.
fn set_ymm(machine: &mut Machine, registers: &[(usize, [u32; 8])]) {
    let mut state = machine.vp.save();
    for &(index, elements) in registers {
        for (element, value) in elements.into_iter().enumerate() {
            let half = if element < 4 { XMM } else { YMM_HIGH };
            let at = half + 16 * index + 4 * (element % 4);
            state.xsave.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    }
    state.xsave.0[512] = 7;
    machine.vp.restore(&state);
}

fn write_words(machine: &Machine, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    machine.write(at, &bytes);
}

/// A gather to register 0 from RBX plus register 1 times `scale`, by the mask in register 2. (The assembler has the forms of AVX-512 only.)
fn gather(code: Code, first: Register, scale: u32) -> Instruction {
    let memory = MemoryOperand::with_base_index_scale(Register::RBX, first + 1, scale);
    Instruction::with3(code, first, memory, first + 2).unwrap()
}

const ON: u32 = 1 << 31;

#[test]
fn only_selected_elements_of_a_masked_load_fault() {
    let Some(mut machine) = machine() else { return };
    write_idt(&mut machine);
    // The last three elements lie behind the end of what is mapped, which is device space up to there.
    let at = UNMAPPED - 20;
    machine.load(|a| {
        a.mov(ebx, at as u32).unwrap();
        a.vmaskmovps(ymm0, ymm1, ymmword_ptr(rbx)).unwrap();
        a.vmaskmovps(ymm2, ymm3, ymmword_ptr(rbx)).unwrap();
        a.hlt().unwrap();
    });
    set_ymm(
        &mut machine,
        &[(0, [9; 8]), (1, [0, ON, 0, 0, 0, 0, 0, 0]), (2, [9; 8]), (3, [0, 0, 0, 0, 0, 0, ON, 0])],
    );
    assert_eq!(machine.run().reason, access(at + 4, 4, MemoryAccessKind::Read));
    machine.vp.resume(Resume::Complete(77));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(handled_vector(&machine), 14);
    assert_eq!(machine.vp.control().cr2, at + 24);
    assert_eq!(ymm(&machine, 0), [0, 77, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ymm(&machine, 2), [9; 8]);
}

#[test]
fn a_masked_store_reaches_devices_first_and_what_is_not_selected_never() {
    let Some(mut machine) = machine() else { return };
    let at = DEVICE - 8;
    machine.load(|a| {
        a.mov(ebx, at as u32).unwrap();
        a.vpmaskmovd(ymmword_ptr(rbx), ymm1, ymm2).unwrap();
        a.hlt().unwrap();
    });
    set_ymm(&mut machine, &[(1, [ON, 0, 0, ON, 0, ON, 0, 0]), (2, [1, 2, 3, 4, 5, 6, 7, 8])]);
    write_words(&machine, at, &[0xAAAA, 0xBBBB]);
    assert_eq!(machine.run().reason, access(DEVICE + 4, 4, MemoryAccessKind::Write(4)));
    assert_eq!(machine.read(at), 0xBBBB_0000_AAAA, "nothing is stored yet");
    machine.vp.resume(Resume::Complete(0));
    assert_eq!(machine.run().reason, access(DEVICE + 12, 4, MemoryAccessKind::Write(6)));
    machine.vp.resume(Resume::Complete(0));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.read(at), 0xBBBB_0000_0001);
}

#[test]
fn a_masked_store_that_faults_stores_nothing() {
    let Some(mut machine) = machine() else { return };
    write_idt(&mut machine);
    // The second half is read only: the page's entry loses its write bit, and CR0.WP counts for CPL 0 too.
    let page = 0x80_0000_u64;
    machine.write(0x4000 + 8, &((page + 0x1000) | 5).to_le_bytes());
    machine.load(|a| {
        a.mov(ebx, (page + 0x1000 - 16) as u32).unwrap();
        a.vpmaskmovq(ymmword_ptr(rbx), ymm1, ymm2).unwrap();
        a.hlt().unwrap();
    });
    set_ymm(&mut machine, &[(1, [ON; 8]), (2, [1, 2, 3, 4, 5, 6, 7, 8])]);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!((handled_vector(&machine), machine.vp.control().cr2), (14, page + 0x1000));
    assert_eq!(machine.read(page + 0xFF0), 0);
}

#[test]
fn a_gather_that_faults_goes_on_where_it_stopped() {
    let Some(mut machine) = machine() else { return };
    write_idt(&mut machine);
    write_words(&machine, DATA, &[10, 11, 12, 13, 14, 15, 16, 17]);
    machine.load(|a| {
        a.mov(ebx, DATA as u32).unwrap();
        a.add_instruction(gather(Code::VEX_Vpgatherdd_ymm_vm32y_ymm, Register::YMM0, 4)).unwrap();
        a.hlt().unwrap();
    });
    let far = ((UNMAPPED - DATA) / 4) as u32;
    set_ymm(
        &mut machine,
        &[(0, [9; 8]), (1, [7, 0, 3, far, 1, 0, 0, 2]), (2, [ON, 0, ON, ON | 1, 0, 1, 0, ON])],
    );
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!((handled_vector(&machine), machine.vp.control().cr2), (14, UNMAPPED));
    // What is loaded is out of the mask; what is not is whole.
    assert_eq!(ymm(&machine, 0), [17, 9, 13, 9, 9, 9, 9, 9]);
    assert_eq!(ymm(&machine, 2), [0, 0, 0, ON | 1, 0, 1, 0, ON]);
    set_ymm(&mut machine, &[(1, [0, 0, 0, 5, 0, 0, 0, 2])]);
    machine.vp.set_rip(CODE + 5);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(ymm(&machine, 0), [17, 9, 13, 15, 9, 9, 9, 12]);
    assert_eq!(ymm(&machine, 2), [0; 8]);
}

#[test]
fn a_gather_from_a_device_commits_when_all_is_answered() {
    let Some(mut machine) = machine() else { return };
    write_words(&machine, DATA, &[10]);
    machine.load(|a| {
        a.mov(ebx, DATA as u32).unwrap();
        a.add_instruction(gather(Code::VEX_Vpgatherdq_xmm_vm32x_xmm, Register::XMM0, 8)).unwrap();
        a.hlt().unwrap();
    });
    let device = ((DEVICE - DATA) / 8) as u32;
    set_ymm(&mut machine, &[(0, [9; 8]), (1, [0, device, 9, 9, 9, 9, 9, 9]), (2, [ON; 8])]);
    assert_eq!(machine.run().reason, access(DEVICE, 8, MemoryAccessKind::Read));
    assert_eq!((ymm(&machine, 0), ymm(&machine, 2)), ([9; 8], [ON; 8]));
    machine.vp.resume(Resume::Complete(0x2_0000_0001));
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!((ymm(&machine, 0), ymm(&machine, 2)), ([10, 0, 1, 2, 0, 0, 0, 0], [0; 8]));
}

#[test]
fn thirty_two_bytes_across_the_edge_of_memory() {
    let Some(mut machine) = machine() else { return };
    machine.load(|a| {
        a.mov(ebx, (DEVICE - 12) as u32).unwrap();
        a.vmovdqu(ymmword_ptr(rbx), ymm5).unwrap();
        a.vmovdqu(ymm6, ymmword_ptr(rbx)).unwrap();
        a.hlt().unwrap();
    });
    set_ymm(&mut machine, &[(5, [1, 2, 3, 4, 5, 6, 7, 8])]);
    for (offset, size, value) in [(0, 8, 0x5_0000_0004), (8, 8, 0x7_0000_0006), (16, 4, 8)] {
        assert_eq!(machine.run().reason, access(DEVICE + offset, size, MemoryAccessKind::Write(value)));
        assert_eq!(machine.read(DEVICE - 8), 0, "nothing is stored before the devices have it");
        machine.vp.resume(Resume::Complete(0));
    }
    for (offset, size) in [(0, 8), (8, 8), (16, 4)] {
        assert_eq!(machine.run().reason, access(DEVICE + offset, size, MemoryAccessKind::Read));
        machine.vp.resume(Resume::Complete(offset));
    }
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(machine.read(DEVICE - 8), 0x3_0000_0002);
    assert_eq!(ymm(&machine, 6), [1, 2, 3, 0, 0, 8, 0, 16]);
}

#[test]
fn aligned_forms_of_32_bytes_fault_where_they_are_not() {
    let Some(mut machine) = machine() else { return };
    write_idt(&mut machine);
    machine.load(|a| {
        a.mov(ebx, DATA as u32).unwrap();
        a.vmovaps(ymm0, ymmword_ptr(rbx + 32)).unwrap();
        a.vmovups(ymm0, ymmword_ptr(rbx + 16)).unwrap();
        a.vmovaps(ymm0, ymmword_ptr(rbx + 16)).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(handled_vector(&machine), 13);
}

#[test]
fn legacy_instructions_keep_the_upper_halves_and_vex_clears_them() {
    let Some(mut machine) = machine() else { return };
    machine.load(|a| {
        a.paddd(xmm0, xmm3).unwrap();
        a.vpaddd(xmm1, xmm1, xmm3).unwrap();
        a.vpaddd(ymm2, ymm2, ymm3).unwrap();
        a.hlt().unwrap();
    });
    set_ymm(&mut machine, &[(0, [1; 8]), (1, [1; 8]), (2, [1; 8]), (3, [2; 8])]);
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(ymm(&machine, 0), [3, 3, 3, 3, 1, 1, 1, 1]);
    assert_eq!(ymm(&machine, 1), [3, 3, 3, 3, 0, 0, 0, 0]);
    assert_eq!(ymm(&machine, 2), [3; 8]);
    machine.vp.set_rip(CODE);
    machine.run_program(|a| {
        a.vzeroupper().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(ymm(&machine, 2), [3, 3, 3, 3, 0, 0, 0, 0]);
}

#[test]
fn state_goes_out_and_back_whole() {
    let Some(mut machine) = machine() else { return };
    let values: [(usize, [u32; 8]); 16] =
        std::array::from_fn(|index| (index, std::array::from_fn(|element| (index * 8 + element) as u32 + 1)));
    set_ymm(&mut machine, &values);
    let mut state = machine.vp.save();
    assert_eq!((state.xsave.0.len(), state.xsave.0[512]), (832, 7));
    // Registers keep their values while XCR0 has them disabled.
    state.control.xcr0 = 1;
    machine.vp.restore(&state);
    assert_eq!(machine.vp.save(), state);
    for (index, value) in values {
        assert_eq!(ymm(&machine, index), value);
    }
    // A reset leaves nothing of it.
    machine.vp.restore(&VpState::reset(0));
    assert_eq!(ymm(&machine, 3), [0; 8]);
}

/// With a fault before the end of the area, neither memory nor registers change; with AVX enabled the area is longer.
#[test]
fn an_xsave_area_with_avx_state_must_be_there_whole() {
    let Some(mut machine) = machine() else { return };
    let page = 0x80_0000_u64;
    write_idt(&mut machine);
    // The second page is not there.
    machine.write(0x4000 + 8, &0u64.to_le_bytes());
    let at = page + 0x1000 - 576 - 64;
    for (components, vector) in [(7, 14), (3, 3)] {
        machine.write(at + 512, &[0; 64]);
        machine.load(|a| {
            a.mov(ebx, at as u32).unwrap();
            a.mov(eax, components).unwrap();
            a.xor(edx, edx).unwrap();
            a.xsave64(ptr(rbx)).unwrap();
            a.int3().unwrap();
        });
        set_ymm(&mut machine, &[(4, [5; 8])]);
        machine.vp.set_rip(CODE);
        assert_eq!(machine.run().reason, ExitReason::Halt);
        assert_eq!(handled_vector(&machine), vector, "components {components}");
        let saved = machine.read(at + 512);
        assert_eq!(saved, if vector == 14 { 0 } else { 3 }, "XSTATE_BV");
    }
}

#[test]
fn a_model_without_avx_has_none() {
    let mut machine = Machine::new();
    write_idt(&mut machine);
    machine.load(|a| {
        a.xor(ecx, ecx).unwrap();
        a.xor(edx, edx).unwrap();
        a.mov(eax, 7).unwrap();
        a.xsetbv().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run().reason, ExitReason::Halt);
    assert_eq!(handled_vector(&machine), 13);
    for masked in [false, true] {
        machine.load(|a| {
            a.mov(ebx, DATA as u32).unwrap();
            if masked {
                a.vpmaskmovd(ymm0, ymm1, ymmword_ptr(rbx)).unwrap();
            } else {
                a.vpaddd(ymm0, ymm1, ymm2).unwrap();
            }
            a.hlt().unwrap();
        });
        machine.vp.set_rip(CODE);
        assert_eq!(machine.run().reason, ExitReason::Halt);
        assert_eq!(handled_vector(&machine), 6);
    }
    assert_eq!(machine.vp.save().xsave.0.len(), 576);
}

/// C4 and C5 are LES and LDS wherever their next byte names memory; where it does not, they are VEX prefixes in protected mode, of 16 bits too, and invalid in
/// real mode (Intel SDM 2A 2.3.2, table 2-19 to 2-28).
#[test]
fn a_vex_prefix_outside_of_64_bit_mode() {
    const REAL: u64 = 0x1_0000;
    const HANDLER: u64 = 0x500;
    const HLT: u8 = 0xF4;
    let Some(mut machine) = machine() else { return };
    // The handler of #UD in real mode.
    machine.write(6 * 4, &(HANDLER as u32).to_le_bytes());
    machine.write(HANDLER, &[HLT]);
    // A far pointer at DS:200.
    machine.write(0x200, &[0x34, 0x12, 0x20, 0x00]);
    let mut run = |protected: bool, code: &[u8]| {
        machine.write(REAL, &[code, &[HLT]].concat());
        let mut state = VpState::reset(0);
        state.control.cr0 = u64::from(protected);
        // OSFXSR, OSXMMEXCPT, OSXSAVE.
        (state.control.cr4, state.control.xcr0) = (0x4_0600, 7);
        let code_segment = &mut state.segments[SegmentName::Cs as usize];
        (code_segment.base, code_segment.selector) = (REAL, ((REAL >> 4) as u16).into());
        (state.rip, state.gprs[Gpr::Rsp as usize]) = (0, 0xE00);
        (state.gprs[Gpr::Rcx as usize], state.gprs[Gpr::Rdx as usize]) = (0x0F0F, 0x1234);
        machine.vp.restore(&state);
        assert_eq!(machine.run().reason, ExitReason::Halt);
        let ran = machine.vp.segment(SegmentName::Cs).base == REAL;
        (ran, machine.vp.gpr(Gpr::Rax), machine.vp.segment(SegmentName::Ds).selector.into_bits())
    };
    // VADDPS XMM0, XMM0, XMM1, by the short and the long prefix; ANDN EAX, ECX, EDX.
    let instructions =
        [&[0xC5, 0xF8, 0x58, 0xC1][..], &[0xC4, 0xE1, 0x78, 0x58, 0xC1], &[0xC4, 0xE2, 0x70, 0xF2, 0xC2]];
    for code in instructions {
        assert!(!run(false, code).0, "{code:x?} is invalid in real mode");
        assert!(run(true, code).0, "{code:x?} is there in 16-bit code of protected mode");
    }
    assert_eq!(run(true, instructions[2]).1, 0x1030);
    // LDS AX, [200]
    assert_eq!(run(false, &[0xC5, 0x06, 0x00, 0x02]), (true, 0x1234, 0x20));
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! SYSCALL, SYSRET, SYSENTER and SYSEXIT: transfers between fixed flat segments (SDM 2; AMD APM 2 6.1).
//!
//! Only AMD's processors have SYSCALL outside 64-bit mode (in compatibility mode through CSTAR), only Intel's have SYSENTER in long mode: software picks by vendor.

use engine::{Gpr, Segment, SegmentName};
use iced_x86::{Code, Instruction};
use x86::segment::{SegmentAttributes, Selector};

use crate::cpu::{Cpu, rflags};
use crate::model::Vendor;
use crate::stop::{Next, Stop};

/// Flat 64-bit code, 32-bit code and data of privilege level 0; DPL is added.
const CODE_64: u16 = 0xA09B;
const CODE_32: u16 = 0xC09B;
const DATA: u16 = 0xC093;

fn flat(selector: u64, attributes: u16, level: u8) -> Segment {
    let selector = Selector::from_bits(selector as u16).with_rpl(level);
    let attributes = SegmentAttributes::from_bits(attributes).with_dpl(level);
    Segment { base: 0, limit: u32::MAX, selector, attributes }
}

fn enter(cpu: &mut Cpu, code: Segment, stack_selector: u64, level: u8) {
    cpu.set_segment_raw(SegmentName::Cs, code);
    cpu.set_segment_raw(SegmentName::Ss, flat(stack_selector, DATA, level));
}

/// SYSCALL and SYSRET have to be enabled. Intel's processors know them in 64-bit mode only (SDM 2).
fn require_enabled(cpu: &Cpu) -> Result<(), Stop> {
    let outside = match cpu.vendor {
        Vendor::Intel => !cpu.mode().is_64(),
        Vendor::Amd => cpu.is_real_mode() || cpu.is_v86(),
    };
    if outside || !cpu.efer().sce() { Err(Stop::INVALID_OPCODE) } else { Ok(()) }
}

/// SYSCALL.
pub(super) fn syscall(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_enabled(cpu)?;
    let selector = cpu.msrs.star >> 32 & 0xFFFF;
    if cpu.is_long_mode() {
        let target = if cpu.mode().is_64() { cpu.msrs.lstar } else { cpu.msrs.cstar };
        let flags = cpu.rflags() & !rflags::RF;
        cpu.set_gpr(Gpr::Rcx, cpu.next_rip);
        cpu.set_gpr(Gpr::R11, flags);
        cpu.set_rflags(flags & !cpu.msrs.sfmask);
        enter(cpu, flat(selector, CODE_64, 0), selector + 8, 0);
        cpu.rip = target;
    } else {
        cpu.set_gpr_part(Gpr::Rcx, 4, cpu.next_rip);
        cpu.set_rflags(cpu.rflags() & !(rflags::IF | rflags::RF | rflags::VM));
        enter(cpu, flat(selector, CODE_32, 0), selector + 8, 0);
        cpu.rip = cpu.msrs.star & 0xFFFF_FFFF;
    }
    Ok(Next::Jump)
}

/// SYSRET.
pub(super) fn sysret(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_enabled(cpu)?;
    if cpu.cpl() != 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let selector = cpu.msrs.star >> 48;
    let to_64 = instruction.code() == Code::Sysretq;
    let target = if to_64 { cpu.gpr(Gpr::Rcx) } else { cpu.gpr(Gpr::Rcx) & 0xFFFF_FFFF };
    if !cpu.is_canonical(target) {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let flags = if cpu.is_long_mode() {
        cpu.gpr(Gpr::R11) & !(rflags::RF | rflags::VM)
    } else {
        cpu.rflags() | rflags::IF
    };
    cpu.set_rflags(flags);
    let code = if to_64 { flat(selector + 16, CODE_64, 3) } else { flat(selector, CODE_32, 3) };
    enter(cpu, code, selector + 8, 3);
    cpu.rip = target;
    Ok(Next::Jump)
}

/// AMD's processors know SYSENTER and SYSEXIT in legacy mode only (APM 3).
fn undefined_in_long_mode(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.vendor == Vendor::Amd && cpu.is_long_mode() { Err(Stop::INVALID_OPCODE) } else { Ok(()) }
}

/// SYSENTER.
pub(super) fn sysenter(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    undefined_in_long_mode(cpu)?;
    let selector = cpu.msrs.sysenter_cs;
    if cpu.is_real_mode() || selector & 0xFFFC == 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    cpu.set_rflags(cpu.rflags() & !(rflags::IF | rflags::RF | rflags::VM));
    let (code, mask) = if cpu.is_long_mode() { (CODE_64, u64::MAX) } else { (CODE_32, 0xFFFF_FFFF) };
    enter(cpu, flat(selector, code, 0), selector + 8, 0);
    cpu.set_gpr(Gpr::Rsp, cpu.msrs.sysenter_esp & mask);
    cpu.rip = cpu.msrs.sysenter_eip & mask;
    Ok(Next::Jump)
}

/// SYSEXIT.
pub(super) fn sysexit(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    if cpu.is_real_mode() || cpu.cpl() != 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    undefined_in_long_mode(cpu)?;
    let selector = cpu.msrs.sysenter_cs;
    if selector & 0xFFFC == 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let to_64 = instruction.code() == Code::Sysexitq;
    let (rip, rsp) = (cpu.gpr(Gpr::Rdx), cpu.gpr(Gpr::Rcx));
    if to_64 && !(cpu.is_canonical(rip) && cpu.is_canonical(rsp)) {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let mask = if to_64 { u64::MAX } else { 0xFFFF_FFFF };
    let (code, offset) = if to_64 { (CODE_64, 32) } else { (CODE_32, 16) };
    enter(cpu, flat(selector + offset, code, 3), selector + offset + 8, 3);
    cpu.set_gpr(Gpr::Rsp, rsp & mask);
    cpu.rip = rip & mask;
    Ok(Next::Jump)
}

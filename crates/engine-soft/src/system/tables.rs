// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptor-table registers, and the instructions that look at descriptors: LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR, LAR, LSL, VERR, VERW, ARPL.

use engine::{Segment, SegmentName, TableRegister};
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::paging::AccessKind;
use x86::segment::{SegmentAttributes, Selector, SystemDescriptor, SystemType};

use super::descriptor::{Found, general_protection, not_present};
use super::{require_kernel, require_kernel_or_no_umip, require_protected};
use crate::cpu::{Cpu, Flags, Operand, gpr_of};
use crate::stop::{Next, Stop};

fn memory_operand(cpu: &Cpu, instruction: &Instruction, size: usize, kind: AccessKind) -> Result<u64, Stop> {
    match cpu.operand_address(instruction, 0, size, kind)? {
        Operand::Memory(linear) => Ok(linear),
        Operand::Register(_) => Err(Stop::INVALID_OPCODE),
    }
}

/// LGDT and LIDT.
pub(super) fn load_table(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let base_size = if cpu.mode().is_64() { 8 } else { 4 };
    let linear = memory_operand(cpu, instruction, 2 + base_size, AccessKind::Read)?;
    let limit = cpu.read(linear, 2, cpu.privilege())? as u16;
    let mut base = cpu.read(linear.wrapping_add(2), base_size, cpu.privilege())?;
    if matches!(instruction.code(), iced_x86::Code::Lgdt_m1632_16 | iced_x86::Code::Lidt_m1632_16) {
        base &= 0xFF_FFFF;
    }
    if !cpu.is_canonical(base) {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let table = TableRegister { base, limit };
    if instruction.mnemonic() == Mnemonic::Lgdt {
        cpu.gdtr = table;
    } else {
        cpu.idtr = table;
    }
    Ok(Next::Sequential)
}

/// What the hypervisor keeps from user code.
fn require_kernel_if(cpu: &Cpu, guarded: bool) -> Result<(), Stop> {
    if guarded { require_kernel(cpu) } else { Ok(()) }
}

/// SGDT and SIDT.
pub(super) fn store_table(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel_or_no_umip(cpu)?;
    let guard = cpu.descriptor_table_guard;
    let (table, guarded) = match instruction.mnemonic() {
        Mnemonic::Sgdt => (cpu.gdtr, guard.sgdt),
        _ => (cpu.idtr, guard.sidt),
    };
    require_kernel_if(cpu, guarded)?;
    let size = if cpu.mode().is_64() { 10 } else { 6 };
    let linear = memory_operand(cpu, instruction, size, AccessKind::Write)?;
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    cpu.write_bytes(linear, &bytes[..size], cpu.privilege())?;
    Ok(Next::Sequential)
}

/// STR and SLDT.
pub(super) fn store_selector(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_protected(cpu)?;
    require_kernel_or_no_umip(cpu)?;
    let guard = cpu.descriptor_table_guard;
    let (name, guarded) = match instruction.mnemonic() {
        Mnemonic::Str => (SegmentName::Tr, guard.str),
        _ => (SegmentName::Ldtr, guard.sldt),
    };
    require_kernel_if(cpu, guarded)?;
    let selector = cpu.segment(name).selector;
    match instruction.op0_kind() {
        OpKind::Register => cpu.set_register(instruction.op0_register(), selector.into_bits().into()),
        _ => cpu.write_operand(instruction, 0, 2, selector.into_bits().into())?,
    }
    Ok(Next::Sequential)
}

/// The segment register that a system descriptor makes; in long mode it has 16 bytes.
fn system_segment(cpu: &mut Cpu, found: &Found) -> Result<Segment, Stop> {
    if !cpu.is_long_mode() {
        return Ok(found.segment());
    }
    let descriptor = SystemDescriptor { low: found.descriptor, high: found.upper_half(cpu)? };
    if !descriptor.is_well_formed() || !cpu.is_canonical(descriptor.base()) {
        return Err(general_protection(found.selector));
    }
    Ok(Segment { base: descriptor.base(), ..found.segment() })
}

/// A system descriptor in the GDT, of which `wanted` says whether its type will do.
fn find_system(
    cpu: &mut Cpu,
    selector: Selector,
    wanted: fn(SystemType) -> bool,
) -> Result<(Found, Segment), Stop> {
    let fault = general_protection(selector);
    if selector.ldt() {
        return Err(fault);
    }
    let found = cpu.descriptor(selector)?;
    let attributes = found.attributes();
    let kind = SystemType::from_bits(attributes.segment_type());
    if attributes.non_system() || !kind.is_some_and(wanted) {
        return Err(fault);
    }
    if !attributes.present() {
        return Err(not_present(selector));
    }
    let segment = system_segment(cpu, &found)?;
    Ok((found, segment))
}

/// LLDT.
pub(super) fn lldt(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_protected(cpu)?;
    require_kernel(cpu)?;
    let selector = Selector::from_bits(cpu.read_operand(instruction, 0, 2)? as u16);
    let segment = if selector.is_null() {
        Segment { selector, ..Segment::default() }
    } else {
        find_system(cpu, selector, |kind| kind == SystemType::Ldt)?.1
    };
    cpu.set_segment_raw(SegmentName::Ldtr, segment);
    Ok(Next::Sequential)
}

/// LTR.
pub(super) fn ltr(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    const BUSY: u8 = 2;
    require_protected(cpu)?;
    require_kernel(cpu)?;
    let selector = Selector::from_bits(cpu.read_operand(instruction, 0, 2)? as u16);
    if selector.is_null() {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let available: fn(SystemType) -> bool = if cpu.is_long_mode() {
        |kind| kind == SystemType::AvailableTss
    } else {
        |kind| matches!(kind, SystemType::AvailableTss | SystemType::AvailableTss16)
    };
    let (found, mut segment) = find_system(cpu, selector, available)?;
    if !found.set_type(cpu, found.attributes().segment_type() | BUSY)? {
        return Err(general_protection(selector));
    }
    segment.attributes.set_segment_type(segment.attributes.segment_type() | BUSY);
    cpu.set_segment_raw(SegmentName::Tr, segment);
    Ok(Next::Sequential)
}

/// The descriptor that LAR, LSL, VERR and VERW may look at, or `None`, which makes them clear ZF.
fn visible(cpu: &mut Cpu, selector: Selector) -> Result<Option<Found>, Stop> {
    if selector.is_null() {
        return Ok(None);
    }
    let weakest = cpu.cpl().max(selector.rpl());
    Ok(cpu.find_descriptor(selector)?.filter(|found| {
        let attributes = found.attributes();
        attributes.is_conforming() || attributes.dpl() >= weakest
    }))
}

/// LAR and LSL.
pub(super) fn load_rights_or_limit(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_protected(cpu)?;
    let selector = Selector::from_bits(cpu.read_operand(instruction, 1, 2)? as u16);
    let rights = instruction.mnemonic() == Mnemonic::Lar;
    let long = cpu.is_long_mode();
    let found = visible(cpu, selector)?.filter(|found| {
        let attributes = found.attributes();
        use SystemType as T;
        attributes.non_system()
            || match T::from_bits(attributes.segment_type()) {
                Some(T::Ldt | T::AvailableTss | T::BusyTss) => true,
                Some(T::AvailableTss16 | T::BusyTss16) => !long,
                Some(T::CallGate) => rights,
                Some(T::CallGate16 | T::TaskGate) => rights && !long,
                _ => false,
            }
    });
    if let Some(found) = found {
        let value = if rights {
            (found.descriptor.into_bits() >> 32) & 0x00FF_FF00
        } else {
            found.descriptor.limit().into()
        };
        cpu.set_register(instruction.op0_register(), value);
    }
    cpu.flags.set(Flags::ZF, found.is_some());
    Ok(Next::Sequential)
}

/// VERR and VERW.
pub(super) fn verify(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_protected(cpu)?;
    let selector = Selector::from_bits(cpu.read_operand(instruction, 0, 2)? as u16);
    let allowed: fn(SegmentAttributes) -> bool = if instruction.mnemonic() == Mnemonic::Verr {
        SegmentAttributes::is_readable
    } else {
        SegmentAttributes::is_writable
    };
    let verified = visible(cpu, selector)?.is_some_and(|found| allowed(found.attributes()));
    cpu.flags.set(Flags::ZF, verified);
    Ok(Next::Sequential)
}

/// ARPL.
pub(super) fn arpl(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_protected(cpu)?;
    let destination = cpu.read_operand(instruction, 0, 2)?;
    let source = cpu.register(instruction.op1_register());
    let raised = destination & 3 < source & 3;
    if raised {
        let value = destination & !3 | source & 3;
        match instruction.op0_kind() {
            // Sixteen bits whatever the operand size.
            OpKind::Register => cpu.set_gpr_part(gpr_of(instruction.op0_register()), 2, value),
            _ => cpu.write_operand(instruction, 0, 2, value)?,
        }
    }
    cpu.flags.set(Flags::ZF, raised);
    Ok(Next::Sequential)
}

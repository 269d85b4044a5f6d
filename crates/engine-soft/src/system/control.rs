// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control registers: MOV CR, LMSW, SMSW, CLTS, XSETBV and XGETBV (SDM 2: MOV; SDM 3A 2.5, 4.1.2, 4.10.4).

use engine::{ControlRegisters, ExitReason, SegmentName};
use iced_x86::{Instruction, OpKind, Register};
use x86::control::{Cr0, Cr4, Efer, Xcr0};

use super::{require_kernel, require_kernel_or_no_umip};
use crate::cpu::Cpu;
use crate::stop::{Next, Stop};

/// Bits of CR4 that this processor has: what the model's CPUID offers (TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE,
/// PCIDE, OSXSAVE, SMEP, SMAP).
const CR4: u64 = 0x0037_0FFC;
/// Bits of EFER that software may set: SCE, LME, NXE.
pub(super) const EFER_WRITABLE: u64 = 1 | 1 << 8 | 1 << 11;

/// Width of the operand of a move to or from a control or debug register.
pub(super) fn operand_mask(cpu: &Cpu) -> u64 {
    if cpu.mode().is_64() { u64::MAX } else { 0xFFFF_FFFF }
}

/// MOV from a control register.
pub(super) fn read(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let control = cpu.control();
    let value = match instruction.op_register(1) {
        Register::CR0 => control.cr0,
        Register::CR2 => control.cr2,
        Register::CR3 => control.cr3,
        Register::CR4 => control.cr4,
        Register::CR8 => cpu.external(ExitReason::ReadTaskPriority)?,
        _ => return Err(Stop::INVALID_OPCODE),
    };
    cpu.set_register(instruction.op_register(0), value & operand_mask(cpu));
    Ok(Next::Sequential)
}

/// MOV to a control register.
pub(super) fn write(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let value = cpu.register(instruction.op_register(1));
    match instruction.op_register(0) {
        Register::CR0 => set_cr0(cpu, value)?,
        Register::CR2 => cpu.set_cr2(value),
        Register::CR3 => set_cr3(cpu, value)?,
        Register::CR4 => set_cr4(cpu, value)?,
        Register::CR8 => {
            let priority =
                u8::try_from(value).ok().filter(|&value| value < 16).ok_or(Stop::GENERAL_PROTECTION)?;
            cpu.external(ExitReason::WriteTaskPriority(priority))?;
        }
        _ => return Err(Stop::INVALID_OPCODE),
    }
    Ok(Next::Sequential)
}

fn set_cr0(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    let fault = Err(Stop::GENERAL_PROTECTION);
    if value >> 32 != 0 {
        return fault;
    }
    let old = cpu.control();
    let new = Cr0::from_bits(value & Cr0::DEFINED).with_et(true);
    let (cr4, mut efer) = (cpu.cr4(), cpu.efer());
    if (new.pg() && !new.pe()) || (new.nw() && !new.cd()) {
        return fault;
    }
    let paging_starts = new.pg() && !cpu.cr0().pg();
    let paging_ends = !new.pg() && cpu.cr0().pg();
    if paging_starts && efer.lme() {
        if !cr4.pae() || cpu.segment(SegmentName::Cs).attributes.long() {
            return fault;
        }
        efer.set_lma(true);
    }
    if paging_ends {
        if cpu.mode().is_64() || cr4.pcide() {
            return fault;
        }
        efer.set_lma(false);
    }
    let paging_changes = (new.into_bits() ^ old.cr0) & (1 << 31 | 1 << 30 | 1 << 29) != 0;
    if new.pg() && cr4.pae() && !efer.lma() && paging_changes {
        load_pdptes(cpu, old.cr3)?;
    }
    cpu.set_control(ControlRegisters { cr0: new.into_bits(), efer: efer.into_bits(), ..old });
    Ok(())
}

fn load_pdptes(cpu: &mut Cpu, cr3: u64) -> Result<(), Stop> {
    let pdptes = cpu.read_pdptes(cr3)?.ok_or(Stop::GENERAL_PROTECTION)?;
    cpu.set_pdptes(pdptes);
    Ok(())
}

fn set_cr3(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    const NO_FLUSH: u64 = 1 << 63;
    let old = cpu.control();
    let tagged = cpu.cr4().pcide();
    let keeps = tagged && value & NO_FLUSH != 0;
    let value = if tagged { value & !NO_FLUSH } else { value };
    if cpu.is_long_mode() && value >> cpu.space.address_bits() != 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    if cpu.cr0().pg() && cpu.cr4().pae() && !cpu.is_long_mode() {
        load_pdptes(cpu, value)?;
    }
    if tagged {
        cpu.set_control(ControlRegisters { cr3: value, ..old });
        if !keeps {
            cpu.flush_space((value & 0xFFF) as u16);
            cpu.derive();
        }
    } else {
        // A load of the same value flushes as well, which `set_control` does not see.
        if old.cr3 == value {
            cpu.flush_non_global();
        }
        cpu.set_control(ControlRegisters { cr3: value, ..old });
    }
    Ok(())
}

fn set_cr4(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    // PGE, PSE, PAE and SMEP.
    const RELOAD: u64 = 1 << 7 | 1 << 4 | 1 << 5 | 1 << 20;
    let fault = Err(Stop::GENERAL_PROTECTION);
    if value & !CR4 != 0 {
        return fault;
    }
    let old = cpu.control();
    let (before, new) = (cpu.cr4(), Cr4::from_bits(value));
    if cpu.is_long_mode() && !new.pae() {
        return fault;
    }
    if new.pcide() && !before.pcide() && (!cpu.is_long_mode() || old.cr3 & 0xFFF != 0) {
        return fault;
    }
    if cpu.cr0().pg() && new.pae() && !cpu.is_long_mode() && (value ^ old.cr4) & RELOAD != 0 {
        load_pdptes(cpu, old.cr3)?;
    }
    cpu.set_control(ControlRegisters { cr4: value, ..old });
    Ok(())
}

/// Writes EFER (SDM 3A 2.2.1, AMD APM 2 3.1.7).
pub(super) fn set_efer(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    let old = cpu.efer();
    let lma = Efer::new().with_lma(true).into_bits();
    // LMA is read only: a write of either value leaves it as it is.
    if value & !(EFER_WRITABLE | cpu.efer_optional | lma) != 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let new = Efer::from_bits(value).with_lma(old.lma());
    if new.lme() != old.lme() && cpu.cr0().pg() {
        return Err(Stop::GENERAL_PROTECTION);
    }
    cpu.set_control(ControlRegisters { efer: new.into_bits(), ..cpu.control() });
    Ok(())
}

/// CLTS.
pub(super) fn clts(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let cr0 = cpu.cr0().with_ts(false).into_bits();
    cpu.set_control(ControlRegisters { cr0, ..cpu.control() });
    Ok(Next::Sequential)
}

/// LMSW: the low four bits of CR0, of which PE can only be set.
pub(super) fn lmsw(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let value = cpu.read_operand(instruction, 0, 2)?;
    let old = cpu.control().cr0;
    set_cr0(cpu, old & !0xE | value & 0xF)?;
    Ok(Next::Sequential)
}

/// SMSW.
pub(super) fn smsw(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel_or_no_umip(cpu)?;
    let value = cpu.control().cr0;
    match instruction.op0_kind() {
        OpKind::Register => cpu.set_register(instruction.op0_register(), value),
        _ => cpu.write_operand(instruction, 0, 2, value)?,
    }
    Ok(Next::Sequential)
}

fn edx_eax(cpu: &Cpu) -> u64 {
    cpu.gpr(engine::Gpr::Rdx) << 32 | cpu.gpr(engine::Gpr::Rax) & 0xFFFF_FFFF
}

/// XSETBV.
pub(super) fn xsetbv(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    if !cpu.cr4().osxsave() {
        return Err(Stop::INVALID_OPCODE);
    }
    require_kernel(cpu)?;
    let value = Xcr0::from_bits(edx_eax(cpu));
    if cpu.gpr(engine::Gpr::Rcx) as u32 != 0 || !value.is_valid(cpu.components) {
        return Err(Stop::GENERAL_PROTECTION);
    }
    cpu.set_control(ControlRegisters { xcr0: value.into_bits(), ..cpu.control() });
    Ok(Next::Sequential)
}

/// XGETBV.
pub(super) fn xgetbv(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    if !cpu.cr4().osxsave() {
        return Err(Stop::INVALID_OPCODE);
    }
    let xcr0 = cpu.control().xcr0;
    let value = match cpu.gpr(engine::Gpr::Rcx) as u32 {
        0 => xcr0,
        1 => xcr0 & cpu.frame.vector.xinuse(),
        _ => return Err(Stop::GENERAL_PROTECTION),
    };
    super::set_edx_eax(cpu, value);
    Ok(Next::Sequential)
}

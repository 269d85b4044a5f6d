// SPDX-License-Identifier: MIT OR Apache-2.0
//! RDMSR and WRMSR, the time-stamp counter, and the bases of FS and GS. MSRs that the engine does not keep are the hypervisor's.

use engine::{ExitReason, Gpr, Segment, SegmentName};
use iced_x86::{Instruction, Mnemonic};
use x86::msr;

use super::{control, require_kernel, set_edx_eax};
use crate::cpu::{Cpu, slot};
use crate::stop::{Next, Stop};

/// The guest's TSC as this VP sees it.
fn time_stamp(cpu: &Cpu) -> u64 {
    cpu.now().wrapping_add(cpu.msrs.tsc_offset)
}

/// RDMSR.
pub(super) fn rdmsr(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let msrs = &cpu.msrs;
    let value = match cpu.gpr(Gpr::Rcx) as u32 {
        msr::IA32_TIME_STAMP_COUNTER => time_stamp(cpu),
        msr::IA32_TSC_ADJUST => msrs.tsc_adjust,
        msr::IA32_SYSENTER_CS => msrs.sysenter_cs,
        msr::IA32_SYSENTER_ESP => msrs.sysenter_esp,
        msr::IA32_SYSENTER_EIP => msrs.sysenter_eip,
        msr::IA32_PAT => msrs.pat,
        msr::IA32_XSS => msrs.xss,
        msr::IA32_EFER => cpu.control().efer,
        msr::IA32_STAR => msrs.star,
        msr::IA32_LSTAR => msrs.lstar,
        msr::IA32_CSTAR => msrs.cstar,
        msr::IA32_FMASK => msrs.sfmask,
        msr::IA32_FS_BASE => cpu.frame.slots[slot::FS_BASE],
        msr::IA32_GS_BASE => cpu.frame.slots[slot::GS_BASE],
        msr::IA32_KERNEL_GS_BASE => msrs.kernel_gs_base,
        msr::IA32_TSC_AUX => msrs.tsc_aux,
        number => cpu.external(ExitReason::ReadMsr { number })?,
    };
    set_edx_eax(cpu, value);
    Ok(Next::Sequential)
}

/// WRMSR.
pub(super) fn wrmsr(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    let value = cpu.gpr(Gpr::Rdx) << 32 | cpu.gpr(Gpr::Rax) & 0xFFFF_FFFF;
    let canonical = || if cpu.is_canonical(value) { Ok(value) } else { Err(Stop::GENERAL_PROTECTION) };
    let low = || if value >> 32 == 0 { Ok(value) } else { Err(Stop::GENERAL_PROTECTION) };
    match cpu.gpr(Gpr::Rcx) as u32 {
        msr::IA32_TIME_STAMP_COUNTER => {
            // A write of the counter moves IA32_TSC_ADJUST by the same amount (SDM 3B 18.17.3).
            let moved = value.wrapping_sub(time_stamp(cpu));
            move_time_stamp(cpu, moved);
        }
        msr::IA32_TSC_ADJUST => {
            let moved = value.wrapping_sub(cpu.msrs.tsc_adjust);
            move_time_stamp(cpu, moved);
        }
        msr::IA32_SYSENTER_CS => cpu.msrs.sysenter_cs = value,
        msr::IA32_SYSENTER_ESP => cpu.msrs.sysenter_esp = canonical()?,
        msr::IA32_SYSENTER_EIP => cpu.msrs.sysenter_eip = canonical()?,
        msr::IA32_PAT => {
            // Memory types 2 and 3 are reserved, as is everything above 7 (SDM 3A 12.12.2).
            if value.to_le_bytes().iter().any(|&entry| !matches!(entry, 0 | 1 | 4..=7)) {
                return Err(Stop::GENERAL_PROTECTION);
            }
            cpu.msrs.pat = value;
        }
        // No supervisor state components exist.
        msr::IA32_XSS if value != 0 => return Err(Stop::GENERAL_PROTECTION),
        msr::IA32_XSS => {}
        msr::IA32_EFER => control::set_efer(cpu, value)?,
        msr::IA32_STAR => cpu.msrs.star = value,
        msr::IA32_LSTAR => cpu.msrs.lstar = canonical()?,
        msr::IA32_CSTAR => cpu.msrs.cstar = canonical()?,
        msr::IA32_FMASK => cpu.msrs.sfmask = low()?,
        msr::IA32_FS_BASE => {
            let base = canonical()?;
            set_base(cpu, SegmentName::Fs, base);
        }
        msr::IA32_GS_BASE => {
            let base = canonical()?;
            set_base(cpu, SegmentName::Gs, base);
        }
        msr::IA32_KERNEL_GS_BASE => cpu.msrs.kernel_gs_base = canonical()?,
        msr::IA32_TSC_AUX => cpu.msrs.tsc_aux = low()?,
        number => {
            cpu.external(ExitReason::WriteMsr { number, value })?;
        }
    }
    Ok(Next::Sequential)
}

fn move_time_stamp(cpu: &mut Cpu, by: u64) {
    cpu.msrs.tsc_offset = cpu.msrs.tsc_offset.wrapping_add(by);
    cpu.msrs.tsc_adjust = cpu.msrs.tsc_adjust.wrapping_add(by);
}

fn set_base(cpu: &mut Cpu, name: SegmentName, base: u64) {
    cpu.set_segment_raw(name, Segment { base, ..cpu.segment(name) });
}

/// RDTSC and RDTSCP.
pub(super) fn rdtsc(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    if cpu.cr4().tsd() && cpu.cpl() != 0 {
        return Err(Stop::GENERAL_PROTECTION);
    }
    let now = cpu.now();
    if !cpu.time_may_be_seen(now) {
        return Err(cpu.stop_for(ExitReason::Deadline));
    }
    set_edx_eax(cpu, now.wrapping_add(cpu.msrs.tsc_offset));
    if instruction.mnemonic() == Mnemonic::Rdtscp {
        cpu.set_gpr(Gpr::Rcx, cpu.msrs.tsc_aux);
    }
    Ok(Next::Sequential)
}

/// RDPID.
pub(super) fn rdpid(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    cpu.set_register(instruction.op0_register(), cpu.msrs.tsc_aux);
    Ok(Next::Sequential)
}

/// RDPMC: there are no performance counters, so every number is #GP.
pub(super) fn rdpmc(_cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    Err(Stop::GENERAL_PROTECTION)
}

/// SWAPGS.
pub(super) fn swapgs(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    if !cpu.mode().is_64() {
        return Err(Stop::INVALID_OPCODE);
    }
    require_kernel(cpu)?;
    let base = cpu.msrs.kernel_gs_base;
    cpu.msrs.kernel_gs_base = cpu.frame.slots[slot::GS_BASE];
    set_base(cpu, SegmentName::Gs, base);
    Ok(Next::Sequential)
}

/// RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE.
pub(super) fn base(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    if !cpu.mode().is_64() || !cpu.cr4().fsgsbase() {
        return Err(Stop::INVALID_OPCODE);
    }
    let register = instruction.op0_register();
    let mnemonic = instruction.mnemonic();
    let name = if matches!(mnemonic, Mnemonic::Rdfsbase | Mnemonic::Wrfsbase) {
        SegmentName::Fs
    } else {
        SegmentName::Gs
    };
    if matches!(mnemonic, Mnemonic::Rdfsbase | Mnemonic::Rdgsbase) {
        cpu.set_register(register, cpu.segment(name).base);
    } else {
        let value = cpu.register(register);
        if !cpu.is_canonical(value) {
            return Err(Stop::GENERAL_PROTECTION);
        }
        set_base(cpu, name, value);
    }
    Ok(Next::Sequential)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that call on someone else: INT n and its kin through the IDT, and those that the hypervisor handles.

use engine::{ExitReason, HypercallInstruction};
use iced_x86::{Instruction, Mnemonic};
use x86::exception::Exception;

use super::delivery::software_interrupt;
use super::require_kernel;
use crate::cpu::{Cpu, Flags};
use crate::stop::{Next, Stop};

/// INT n, INT3, INTO and INT1.
pub(super) fn interrupt(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    match instruction.mnemonic() {
        Mnemonic::Int3 => software_interrupt(cpu, Exception::Breakpoint.vector())?,
        Mnemonic::Into if !cpu.flags.has(Flags::OF) => return Ok(Next::Sequential),
        Mnemonic::Into => software_interrupt(cpu, Exception::Overflow.vector())?,
        // INT1 is a trap that no gate's privilege level guards.
        Mnemonic::Int1 => {
            let rip = std::mem::replace(&mut cpu.rip, cpu.next_rip);
            let debug = Stop::exception(Exception::Debug);
            let Stop::Exception(raised) = debug else { return Err(debug) };
            if let Err(noted) = super::deliver(cpu, raised.event()) {
                cpu.rip = rip;
                return Err(Stop::Exit(noted));
            }
        }
        _ => software_interrupt(cpu, instruction.immediate8())?,
    }
    Ok(Next::Jump)
}

/// HLT.
pub(super) fn hlt(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    Err(cpu.stop_for(ExitReason::Halt))
}

/// CPUID.
pub(super) fn cpuid(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    let (leaf, subleaf) = (cpu.gpr(engine::Gpr::Rax) as u32, cpu.gpr(engine::Gpr::Rcx) as u32);
    Err(cpu.stop_for(ExitReason::Cpuid { leaf, subleaf }))
}

/// VMCALL and VMMCALL.
pub(super) fn hypercall(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    let which = if instruction.mnemonic() == Mnemonic::Vmcall {
        HypercallInstruction::Vmcall
    } else {
        HypercallInstruction::Vmmcall
    };
    Err(cpu.stop_for(ExitReason::Hypercall(which)))
}

/// WBINVD, WBNOINVD and INVD: there is no cache that anyone could see.
pub(super) fn write_back(cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    require_kernel(cpu)?;
    Ok(Next::Sequential)
}

/// Instructions that this processor does not offer.
pub(super) fn undefined(_cpu: &mut Cpu, _instruction: &Instruction) -> Result<Next, Stop> {
    Err(Stop::INVALID_OPCODE)
}

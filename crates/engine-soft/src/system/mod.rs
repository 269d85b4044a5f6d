// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system half: slow instructions, the delivery of events, and debugging.
//!
//! The rest of the crate calls in here at these points only:
//! * [`slow_instruction`] when an instruction is decoded;
//! * [`deliver`] between two instructions, for injected events and for exceptions that instructions raise;
//! * [`before_step`] and [`after_step`] around each instruction while the processor steps ([`Cpu::must_step`]): when RFLAGS.TF is set, DR7 enables a
//!   breakpoint, an interrupt shadow is in force, or completed accesses wait.

mod control;
mod debugging;
mod delivery;
mod descriptor;
mod far_transfer;
mod fast_system_call;
mod flag_control;
mod inner_stack;
mod interrupt_return;
mod msr;
mod port;
mod random;
mod segment_load;
mod state_instruction;
mod tables;
mod translation;
mod trap;

use engine::Gpr;
use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::cpu::Cpu;
use crate::stop::{Next, Stop};

pub use debugging::{after_step, before_step};
pub use delivery::deliver;
pub(crate) use delivery::injected_during;

/// A slow instruction. See the crate's documentation for the rules.
pub type SlowInstruction = fn(&mut Cpu, &Instruction) -> Result<Next, Stop>;

/// The function that executes an instruction, if it is one of this half's.
#[must_use]
pub fn slow_instruction(instruction: &Instruction) -> Option<SlowInstruction> {
    use Mnemonic as M;
    Some(match instruction.mnemonic() {
        M::Mov => return slow_move(instruction),
        M::Push if names_segment(instruction) => segment_load::push,
        M::Pop if names_segment(instruction) => segment_load::pop,
        M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => segment_load::far_pointer,
        M::Jmp if is_far(instruction) => far_transfer::jump,
        M::Call if is_far(instruction) => far_transfer::call,
        M::Retf => far_transfer::ret,
        M::Iret | M::Iretd | M::Iretq => interrupt_return::iret,
        M::Syscall => fast_system_call::syscall,
        M::Sysret | M::Sysretq => fast_system_call::sysret,
        M::Sysenter => fast_system_call::sysenter,
        M::Sysexit | M::Sysexitq => fast_system_call::sysexit,
        M::Int | M::Int1 | M::Int3 | M::Into => trap::interrupt,
        M::Hlt => trap::hlt,
        M::Cpuid => trap::cpuid,
        M::Vmcall | M::Vmmcall => trap::hypercall,
        M::Invd | M::Wbinvd => trap::write_back,
        M::Monitor | M::Mwait | M::Monitorx | M::Mwaitx | M::Rsm | M::Getsec => trap::undefined,
        M::Lmsw => control::lmsw,
        M::Smsw => control::smsw,
        M::Clts => control::clts,
        M::Xsetbv => control::xsetbv,
        M::Xgetbv => control::xgetbv,
        M::Lgdt | M::Lidt => tables::load_table,
        M::Sgdt | M::Sidt => tables::store_table,
        M::Str | M::Sldt => tables::store_selector,
        M::Lldt => tables::lldt,
        M::Ltr => tables::ltr,
        M::Lar | M::Lsl => tables::load_rights_or_limit,
        M::Verr | M::Verw => tables::verify,
        M::Arpl => tables::arpl,
        M::Rdmsr => msr::rdmsr,
        M::Wrmsr => msr::wrmsr,
        M::Rdtsc | M::Rdtscp => msr::rdtsc,
        M::Rdpid => msr::rdpid,
        M::Rdpmc => msr::rdpmc,
        M::Swapgs => msr::swapgs,
        M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase => msr::base,
        M::Salc => flag_control::salc,
        M::Cli => flag_control::cli,
        M::Sti => flag_control::sti,
        M::Clac => flag_control::clac,
        M::Stac => flag_control::stac,
        M::Pushf | M::Pushfd | M::Pushfq => flag_control::pushf,
        M::Popf | M::Popfd | M::Popfq => flag_control::popf,
        M::In => port::input,
        M::Out => port::output,
        M::Insb | M::Insw | M::Insd => port::input_string,
        M::Outsb | M::Outsw | M::Outsd => port::output_string,
        M::Clflush | M::Clflushopt | M::Clwb => translation::clflush,
        M::Invlpg => translation::invlpg,
        M::Invpcid => translation::invpcid,
        M::Rdrand | M::Rdseed => random::number,
        _ if state_instruction::is_one(instruction) => state_instruction::execute,
        _ => return None,
    })
}

fn slow_move(instruction: &Instruction) -> Option<SlowInstruction> {
    let (to, from) = (instruction.op0_register(), instruction.op1_register());
    if to.is_cr() {
        Some(control::write)
    } else if from.is_cr() {
        Some(control::read)
    } else if to.is_dr() {
        Some(debugging::write)
    } else if from.is_dr() {
        Some(debugging::read)
    } else if to.is_segment_register() || from.is_segment_register() {
        Some(segment_load::mov)
    } else if to.is_tr() || from.is_tr() {
        Some(trap::undefined)
    } else {
        None
    }
}

fn names_segment(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_segment_register()
}

fn is_far(instruction: &Instruction) -> bool {
    instruction.is_jmp_far()
        || instruction.is_jmp_far_indirect()
        || instruction.is_call_far()
        || instruction.is_call_far_indirect()
}

fn require_kernel(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.cpl() == 0 { Ok(()) } else { Err(Stop::GENERAL_PROTECTION) }
}

/// CR4.UMIP keeps SGDT, SIDT, SLDT, SMSW and STR from user code.
fn require_kernel_or_no_umip(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.cr4().umip() { require_kernel(cpu) } else { Ok(()) }
}

fn require_protected(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.is_real_mode() || cpu.is_v86() { Err(Stop::INVALID_OPCODE) } else { Ok(()) }
}

/// Sets EDX:EAX; the upper halves of RDX and RAX become zero.
pub(crate) fn set_edx_eax(cpu: &mut Cpu, value: u64) {
    cpu.set_gpr(Gpr::Rax, value & 0xFFFF_FFFF);
    cpu.set_gpr(Gpr::Rdx, value >> 32);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which tests are not made: those that could hurt the process, and those about which processors need not agree.

use iced_x86::{Code, CodeSize, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::{memory_address, register_value};
use crate::layout::{CODE, CODE_PAGES, PAGE, PageRights, data_rights, is_harmless};
use crate::state::{State, rflags};

const RCX: usize = 1;
const RSP: usize = 4;
const RDI: usize = 7;

/// Sign-extends from bit 47.
pub(super) const fn canonical(address: u64) -> u64 {
    ((address << 16) as i64 >> 16) as u64
}

/// Whether an address is canonical.
pub(super) const fn is_canonical(address: u64) -> bool {
    canonical(address) == address
}

/// Whether nothing of the process but the test's own pages can be touched.
pub(super) fn harmless(
    factory: &mut InstructionInfoFactory,
    instruction: &Instruction,
    state: &State,
) -> bool {
    if is_bit_test(instruction)
        && let Some(base) = memory_address(instruction, state)
    {
        // A bit offset leads away from the operand.
        let offset = register_value(state, instruction.op1_register()).unwrap_or(0);
        let bytes = match instruction.op1_register().size() {
            2 => i64::from(offset as i16) >> 4 << 1,
            4 => i64::from(offset as i32) >> 5 << 2,
            _ => offset as i64 >> 6 << 3,
        };
        if !is_harmless(base.wrapping_add_signed(bytes)) {
            return false;
        }
    }
    let info = factory.info(instruction);
    info.used_memory().iter().all(|memory| {
        let address = memory.virtual_address(0, |register, _, _| register_value(state, register));
        address.is_none_or(|address| is_harmless(address) && is_harmless(address.wrapping_add(64)))
    })
}

/// BT and its kin with a bit offset in a register.
pub(super) fn is_bit_test(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts)
        && instruction.op1_kind() == OpKind::Register
}

/// Whether the manuals say what is asked of the processor, or processors agree at least. Where they do not, each arm tells why.
pub(super) fn defined(instruction: &Instruction, state: &State) -> bool {
    use Mnemonic as M;
    let aligns = state.rflags & rflags::AC != 0;
    let size = instruction.memory_size().size() as u64;
    let address = memory_address(instruction, state);
    let rsp = state.gprs[RSP];
    let open = match instruction.mnemonic() {
        // Whether the write that it tries at the new top is to be aligned.
        M::Enter => aligns,
        // How far it has come when it faults.
        M::Popa | M::Popad => rsp % PAGE > PAGE - 32,
        M::Pusha | M::Pushad => rsp % PAGE < 32,
        // How operands of many parts are to be aligned.
        M::Fldenv
        | M::Fnstenv
        | M::Fnsave
        | M::Frstor
        | M::Fxsave
        | M::Fxsave64
        | M::Fxrstor
        | M::Fxrstor64
            if aligns =>
        {
            true
        }
        // AMD's processors read 32 bits.
        M::Movsxd if instruction.code() == Code::Movsxd_r16_rm16 => {
            address.is_some_and(|address| aligns || address % PAGE > PAGE - 4)
        }
        // AMD's processors do not fetch what is behind these opcodes.
        M::Ud0 | M::Ud1 => instruction.next_ip() > CODE + CODE_PAGES * PAGE,
        // Whether the fault of the push or that of the target goes first.
        M::Call => (!can_push(rsp) || (aligns && !rsp.is_multiple_of(8))) && may_miss(instruction, state),
        // Linux keeps the processor's number in the limit of this segment.
        M::Lar | M::Lsl => names_processor_number(instruction, state),
        // How far up the stack it looks before it checks the selector.
        M::Retf if aligns => true,
        // Whether they let the trap of a single step in between two elements, as AMD's processors do.
        _ if instruction.is_vsib() && state.rflags & rflags::TF != 0 => true,
        // Which of the bytes goes first.
        M::Maskmovq | M::Maskmovdqu | M::Vmaskmovdqu => {
            let rdi = state.gprs[RDI];
            aligns || is_canonical(rdi) != is_canonical(rdi.wrapping_add(16))
        }
        // Which part of the frame is read first.
        M::Retf | M::Iret | M::Iretd | M::Iretq => is_canonical(rsp) != is_canonical(rsp.wrapping_add(40)),
        // AMD's processors look at the right to the port first, even if nothing is to be done.
        M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd => {
            (instruction.has_rep_prefix() || instruction.has_repne_prefix()) && state.gprs[RCX] as u32 == 0
        }
        _ => false,
    };
    let Some(address) = address else { return !open && !is_only_half_canonical(instruction, state) };
    let first = is_canonical(address);
    // Compatibility mode has the end of its segments in place of the canonical addresses' end.
    let ends = match instruction.code_size() {
        CodeSize::Code32 => offset(instruction, state) + size.max(1) - 1 <= u64::from(u32::MAX),
        _ => true,
    };
    let last = ends && is_canonical(address.wrapping_add(size.max(1) - 1));
    // Which of two faults goes first: of alignment or of the address, of one part or the other.
    let two_faults = match size {
        32 if !address.is_multiple_of(32) => !first || !last,
        16.. if !address.is_multiple_of(16) => !first || !last,
        9.. => first != last,
        // Whether the selector's offset wraps around as the pointer's does.
        _ if is_far_pointer(instruction) => {
            first != is_canonical(address.wrapping_add(16))
                || offset(instruction, state) as u32 > u32::MAX - 16
        }
        _ => false,
    };
    !(open || two_faults || is_only_half_canonical(instruction, state))
}

/// Offset of the operand in memory in its segment.
fn offset(instruction: &Instruction, state: &State) -> u64 {
    let flat = State { fs_base: 0, gs_base: 0, ..state.clone() };
    memory_address(instruction, &flat).unwrap_or(0)
}

fn names_processor_number(instruction: &Instruction, state: &State) -> bool {
    const PROCESSOR_NUMBER: u64 = 0x78;
    let register = instruction.op1_register();
    register_value(state, register).is_some_and(|selector| selector & 0xFFFC == PROCESSOR_NUMBER)
}

/// Whether an offset is not canonical, but the sum with the base of FS or GS may be, or the other way round. AMD's processors raise #GP for it; the manuals speak
/// of the sum alone.
fn is_only_half_canonical(instruction: &Instruction, state: &State) -> bool {
    if !matches!(instruction.memory_segment(), Register::FS | Register::GS) {
        return false;
    }
    let in_segment = |kind| {
        use OpKind as K;
        matches!(
            kind,
            K::Memory
                | K::MemorySegSI
                | K::MemorySegESI
                | K::MemorySegRSI
                | K::MemorySegDI
                | K::MemorySegEDI
                | K::MemorySegRDI
        )
    };
    // Bit offsets move the offset.
    if is_bit_test(instruction)
        && register_value(state, instruction.op1_register()).is_some_and(|bits| bits >> 40 != 0)
    {
        return true;
    }
    let flat = State { fs_base: 0, gs_base: 0, ..state.clone() };
    (0..instruction.op_count())
        .find(|&index| in_segment(instruction.op_kind(index)))
        .and_then(|operand| {
            instruction.virtual_address(operand, 0, |register, _, _| register_value(&flat, register))
        })
        .is_some_and(|offset| !is_canonical(offset) || !is_canonical(offset.wrapping_add(64)))
}

fn can_push(rsp: u64) -> bool {
    (1..=8).all(|below| data_rights(rsp.wrapping_sub(below)) == PageRights::Write)
}

/// Whether the target of a call may be one that faults by itself.
fn may_miss(instruction: &Instruction, state: &State) -> bool {
    match instruction.op0_kind() {
        OpKind::Register => {
            register_value(state, instruction.op0_register()).is_some_and(|target| !is_canonical(target))
        }
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => false,
        _ => true,
    }
}

/// Whether the operand in memory is a selector behind an offset.
fn is_far_pointer(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    instruction.is_jmp_far_indirect()
        || instruction.is_call_far_indirect()
        || matches!(instruction.mnemonic(), M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss)
}

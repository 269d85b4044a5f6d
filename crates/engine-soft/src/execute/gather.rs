// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gathers of AVX2: loads of selected elements, each from an address of its own (Intel SDM 2 VGATHERDPS and its kin).

use iced_x86::{Instruction, Mnemonic, Register};
use x86::paging::AccessKind;

use crate::cpu::{Cpu, memory_segment, segment_of};
use crate::host_execution::Requirement;
use crate::stop::{Next, Stop};

/// Bytes of an element and of an index.
const fn sizes(mnemonic: Mnemonic) -> (usize, usize) {
    use Mnemonic as M;
    match mnemonic {
        M::Vgatherdps | M::Vpgatherdd => (4, 4),
        M::Vgatherqps | M::Vpgatherqd => (4, 8),
        M::Vgatherdpd | M::Vpgatherdq => (8, 4),
        _ => (8, 8),
    }
}

/// All eight. Elements are loaded from the first to the last. If one raises an exception, those before it are in the destination and out of the mask, so that the
/// instruction goes on from there when it is executed again; what is left of the mask stays as it is.
pub(crate) fn gather(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    cpu.check_requirement(Requirement::Avx)?;
    let (size, index_size) = sizes(instruction.mnemonic());
    let (to, indices, by) =
        (instruction.op0_register(), instruction.memory_index(), instruction.op2_register());
    let elements = (to.size() / size).min(indices.size() / index_size);
    let indices = cpu.frame.vector.ymm(indices.number());
    let mut mask = cpu.frame.vector.ymm(by.number());
    let mut value = cpu.frame.vector.ymm(to.number());
    for element in 0..elements {
        let at = element * size;
        if mask[at + size - 1] & 0x80 == 0 {
            mask[at..at + size].fill(0);
            continue;
        }
        let index = &indices[element * index_size..][..index_size];
        match load(cpu, instruction, index, size) {
            Ok(loaded) => value[at..at + size].copy_from_slice(&loaded.to_le_bytes()[..size]),
            Err(stop) => {
                // An exit is answered, and the instruction executed from its start with what has been completed.
                if matches!(stop, Stop::Exception(_)) {
                    cpu.frame.vector.set_ymm(to.number(), value);
                    cpu.frame.vector.set_ymm(by.number(), mask);
                }
                return Err(stop);
            }
        }
        mask[at..at + size].fill(0);
    }
    value[elements * size..].fill(0);
    cpu.frame.vector.set_ymm(to.number(), value);
    cpu.frame.vector.set_ymm(by.number(), [0; 32]);
    Ok(Next::Sequential)
}

/// Loads the element at an index.
fn load(cpu: &mut Cpu, instruction: &Instruction, index: &[u8], size: usize) -> Result<u64, Stop> {
    let index = match *index {
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    };
    let base = instruction.memory_base();
    let (base, width) = match base {
        Register::None => (0, instruction.memory_displ_size() as usize),
        base => (cpu.register(base), base.size()),
    };
    let offset = base
        .wrapping_add((index as u64).wrapping_mul(u64::from(instruction.memory_index_scale())))
        .wrapping_add(instruction.memory_displacement64());
    let offset = if width == 4 { offset & 0xFFFF_FFFF } else { offset };
    let segment = segment_of(memory_segment(instruction, cpu.mode().is_64()));
    let linear = cpu.linear(segment, offset, size, AccessKind::Read)?;
    let privilege = cpu.privilege();
    cpu.read_unaligned(linear, size, privilege)
}

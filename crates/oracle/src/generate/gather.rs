// SPDX-License-Identifier: MIT OR Apache-2.0
//! Aims the elements of gathers, each of which has an index of its own in a vector register.

use iced_x86::{Instruction, Register};

use super::{Encoded, Start, register_value};
use crate::layout::{DATA, DATA_BYTES, PAGE, is_harmless};
use crate::random::Random;
use crate::state::{State, VectorArea};

/// Bytes of an index.
fn index_bytes(instruction: &Instruction) -> usize {
    if instruction.is_vsib64() { 8 } else { 4 }
}

/// Makes the indices of a gather lead to the test's pages, mostly to those that can be read; does nothing to other instructions. `false` if an element would reach
/// outside.
pub fn aim_gather(random: &mut Random, encoded: &Encoded, start: &mut Start) -> bool {
    let instruction = &encoded.instruction;
    if instruction.is_invalid() || !instruction.is_vsib() {
        return true;
    }
    let state = &mut start.state;
    state.fs_base = random.below(PAGE);
    state.gs_base = random.below(PAGE);
    let base = instruction.memory_base();
    if base != Register::None {
        let garbage = if base.size() == 4 { random.bits() << 32 } else { 0 };
        state.gprs[base.full_register().number()] = (DATA + random.below(DATA_BYTES)) | garbage;
    }
    let bytes = index_bytes(instruction);
    let vector = instruction.memory_index();
    let scale = u64::from(instruction.memory_index_scale());
    let origin = origin(instruction, state);
    let segment = register_value(state, instruction.memory_segment()).unwrap_or(0);
    let Some(area) = &mut state.vector else { return false };
    let place = |element| VectorArea::ymm_byte(vector.number(), element * bytes);
    for element in 0..vector.size() / bytes {
        let page = if random.percent(88) { random.pick(&[1, 2, 4, 6]) } else { random.below(10) };
        let target = DATA + page * PAGE + random.below(PAGE);
        let index = (target.wrapping_sub(segment).wrapping_sub(origin) as i64 / scale as i64) as u64;
        area.0[place(element)..][..bytes].copy_from_slice(&index.to_le_bytes()[..bytes]);
    }
    // Masks of all elements now and then; those of random numbers select half of them.
    let mask = instruction.op2_register();
    if mask != vector && random.percent(30) {
        for byte in 0..mask.size() {
            area.0[VectorArea::ymm_byte(mask.number(), byte)] |= 0x80;
        }
    }
    let area = &area.0;
    (0..vector.size() / bytes).all(|element| {
        let mut index = [0; 8];
        index[..bytes].copy_from_slice(&area[place(element)..][..bytes]);
        let index = u64::from_le_bytes(index);
        let index = if bytes == 4 { index as i32 as i64 as u64 } else { index };
        let offset = origin.wrapping_add(index.wrapping_mul(scale));
        let narrow = base.size() == 4 || base == Register::None && instruction.memory_displ_size() == 4;
        let address = segment.wrapping_add(if narrow { offset & 0xFFFF_FFFF } else { offset });
        is_harmless(address) && is_harmless(address.wrapping_add(64))
    })
}

/// Base and displacement.
fn origin(instruction: &Instruction, state: &State) -> u64 {
    register_value(state, instruction.memory_base())
        .unwrap_or(0)
        .wrapping_add(instruction.memory_displacement64())
}

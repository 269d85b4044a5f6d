// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes with vector registers.

use super::{Altered, Fault};
use crate::state::VectorArea;

/// Bytes of a YMM register, and of half of it.
const WHOLE: usize = 32;
const HALF: usize = 16;

impl Altered<'_> {
    /// Puts bytes of a vector register back to what they were.
    fn put_back(&mut self, register: usize, bytes: impl Iterator<Item = usize>) {
        if let (true, Some(before), Some(after)) =
            (self.completed, &self.before.vector, &mut self.after.state.vector)
        {
            for at in bytes.map(|byte| VectorArea::ymm_byte(register, byte)) {
                after.0[at] = before.0[at];
            }
        }
    }

    fn number(&self, operand: u32) -> usize {
        self.instruction.op_register(operand).number()
    }
}

/// Mistakes to be found among the forms of vector registers.
pub static VECTOR_FAULTS: &[Fault] = &[
    Fault {
        name: "VPADDD of XMM registers keeps the upper half",
        forms: &["VEX_Vpaddd_xmm"],
        alter: |run| run.put_back(run.number(0), HALF..WHOLE),
    },
    Fault {
        name: "PADDD clears the upper half",
        forms: &["Paddd_xmm"],
        alter: |run| {
            let register = run.number(0);
            if let (true, Some(after)) = (run.completed, &mut run.after.state.vector) {
                (HALF..WHOLE).for_each(|byte| after.0[VectorArea::ymm_byte(register, byte)] = 0);
            }
        },
    },
    Fault {
        name: "VZEROUPPER leaves YMM8 to YMM15",
        forms: &["VEX_Vzeroupper"],
        alter: |run| (8..16).for_each(|register| run.put_back(register, HALF..WHOLE)),
    },
    Fault {
        name: "a gather leaves its mask",
        forms: &["VEX_Vpgatherdd_ymm", "VEX_Vgatherqpd_xmm"],
        alter: |run| run.put_back(run.number(2), 0..HALF),
    },
    Fault {
        name: "VMASKMOVPS keeps elements that are not selected",
        forms: &["VEX_Vmaskmovps_ymm_ymm_m256"],
        alter: |run| {
            let mask = run.number(1);
            let Some(before) = &run.before.vector else { return };
            let selected: [bool; 8] = core::array::from_fn(|element| {
                before.0[VectorArea::ymm_byte(mask, 4 * element + 3)] & 0x80 != 0
            });
            run.put_back(run.number(0), (0..WHOLE).filter(|byte| !selected[byte / 4]));
        },
    },
    Fault {
        name: "VDIVPS leaves the flags in MXCSR",
        forms: &["VEX_Vdivps_"],
        alter: |run| {
            if let (Some(before), Some(after)) = (&run.before.vector, &mut run.after.state.vector) {
                after.0[24] = after.0[24] & !0x3F | before.0[24] & 0x3F;
            }
        },
    },
];

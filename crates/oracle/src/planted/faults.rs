// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of mistakes.

use iced_x86::{OpKind, Register};

use super::{Fault, mask};
use crate::layout::{DATA, PAGE};
use crate::state::End;
use crate::state::rflags::{AF, CF, DF, IF, OF, RF, ZF};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RSP: usize = 4;
const RSI: usize = 6;
const RDI: usize = 7;

/// Mistakes to be found.
pub static FAULTS: &[Fault] = &[
    Fault {
        name: "ADC works out AF without the carry that goes in",
        forms: &["Adc_"],
        alter: |run| {
            if run.completed {
                let (a, b) = (run.value(0), run.value(1));
                run.flag(AF, (a ^ b ^ a.wrapping_add(b)) & 0x10 != 0);
            }
        },
    },
    Fault {
        name: "SBB forgets the borrow that goes in when it works out CF",
        forms: &["Sbb_"],
        alter: |run| {
            if run.completed {
                run.flag(CF, run.value(0) < run.value(1));
            }
        },
    },
    Fault {
        name: "SAR by CL masks the count to six bits for every size",
        forms: &["Sar_rm8_CL", "Sar_rm16_CL", "Sar_rm32_CL"],
        alter: |run| {
            if run.completed {
                let shift = 64 - run.bits(0);
                let value = (run.value(0) << shift) as i64 >> shift;
                let count = run.before.gprs[RCX] & 63;
                run.set(0, (value >> count) as u64);
            }
        },
    },
    Fault {
        name: "SHL of 8 and 16 bits masks the count to the operand",
        forms: &["Shl_rm8_CL", "Shl_rm16_CL"],
        alter: |run| {
            if run.completed {
                let count = run.before.gprs[RCX] & u64::from(run.bits(0) - 1);
                run.set(0, run.value(0) << count);
            }
        },
    },
    Fault {
        name: "RCL by one leaves CF as it was",
        forms: &["Rcl_rm8_1", "Rcl_rm16_1", "Rcl_rm32_1", "Rcl_rm64_1"],
        alter: |run| {
            if run.completed {
                run.flag(CF, run.had(CF));
            }
        },
    },
    Fault {
        name: "ROR by one sets OF from the top bit alone",
        forms: &["Ror_rm8_1", "Ror_rm16_1", "Ror_rm32_1", "Ror_rm64_1"],
        alter: |run| {
            if run.completed {
                run.flag(OF, run.value(0) & 1 != 0);
            }
        },
    },
    Fault {
        name: "SHLD takes bits from the low end",
        forms: &["Shld_rm32", "Shld_rm64"],
        alter: |run| {
            if run.completed {
                let bits = run.bits(0);
                let count = match run.instruction.op2_kind() {
                    OpKind::Register => run.before.gprs[RCX] as u32,
                    _ => run.instruction.immediate8().into(),
                } & (bits - 1);
                if count != 0 {
                    run.set(0, run.value(0) << count | run.value(1) & mask(count));
                }
            }
        },
    },
    Fault {
        name: "IMUL with two operands never sets CF and OF",
        forms: &["Imul_r16_rm16", "Imul_r32_rm32", "Imul_r64_rm64"],
        alter: |run| {
            if run.completed {
                run.flag(CF | OF, false);
            }
        },
    },
    Fault {
        name: "MUL sets CF and OF if the product is not zero",
        forms: &["Mul_"],
        alter: |run| {
            if run.completed {
                let accumulator = run.before.gprs[RAX] & mask(run.bits(0));
                run.flag(CF | OF, accumulator != 0 && run.value(0) != 0);
            }
        },
    },
    Fault {
        name: "DIV lets a quotient through that is one bit too wide",
        forms: &["Div_rm32", "Div_rm64"],
        alter: |run| {
            let bits = run.bits(0);
            let divisor = run.value(0);
            let high = run.before.gprs[RDX] & mask(bits);
            if run.raised() == Some(0) && divisor != 0 && high == divisor {
                let dividend = u128::from(high) << bits | u128::from(run.before.gprs[RAX] & mask(bits));
                run.after.state.gprs[RAX] = (dividend / u128::from(divisor)) as u64 & mask(bits);
                run.after.state.gprs[RDX] = (dividend % u128::from(divisor)) as u64;
                run.after.state.rip = run.instruction.next_ip();
                run.after.end = End::Exception { vector: 13, error_code: 0, address: 0 };
            }
        },
    },
    Fault {
        name: "IDIV gives the remainder the divisor's sign",
        forms: &["Idiv_rm32"],
        alter: |run| {
            if run.completed {
                let remainder = run.after.state.gprs[RDX] as i32;
                if remainder != 0 && (remainder < 0) != ((run.value(0) as i32) < 0) {
                    run.after.state.gprs[RDX] = u64::from(remainder.wrapping_neg() as u32);
                }
            }
        },
    },
    Fault {
        name: "BSF of zero writes the operand's width",
        forms: &["Bsf_r32", "Bsf_r64"],
        alter: |run| {
            if run.completed && run.value(1) == 0 {
                run.set(0, run.bits(0).into());
            }
        },
    },
    Fault {
        name: "BSR counts from the top",
        forms: &["Bsr_r32", "Bsr_r64"],
        alter: |run| {
            if run.completed && run.value(1) != 0 {
                run.set(0, u64::from(run.value(1).leading_zeros()) - u64::from(64 - run.bits(0)));
            }
        },
    },
    Fault {
        name: "BT with a register looks at the first word only",
        forms: &["Bt_rm16_r16", "Bt_rm32_r32", "Bt_rm64_r64"],
        alter: |run| {
            if run.completed && run.instruction.op0_kind() == OpKind::Memory {
                let bit = run.value(1) % u64::from(run.bits(1));
                run.flag(CF, run.value(0) >> bit & 1 != 0);
            }
        },
    },
    Fault {
        name: "CMPXCHG that fails loads EAX without clearing the upper half",
        forms: &["Cmpxchg_rm32_r32"],
        alter: |run| {
            if run.completed && run.after.state.rflags & ZF == 0 {
                let value = run.after.state.gprs[RAX] & 0xFFFF_FFFF;
                run.after.state.gprs[RAX] = run.before.gprs[RAX] & !0xFFFF_FFFF | value;
            }
        },
    },
    Fault {
        name: "CMPXCHG of a byte writes the whole accumulator",
        forms: &["Cmpxchg_rm8_r8"],
        alter: |run| {
            if run.completed && run.after.state.rflags & ZF == 0 {
                run.after.state.gprs[RAX] &= 0xFF;
            }
        },
    },
    Fault {
        name: "CMPXCHG8B compares the low half only",
        forms: &["Cmpxchg8b_m64"],
        alter: |run| {
            if run.completed && run.value(0) as u32 == run.before.gprs[RAX] as u32 {
                run.flag(ZF, true);
            }
        },
    },
    Fault {
        name: "XADD of a register with itself forgets to add",
        forms: &["Xadd_rm32_r32", "Xadd_rm64_r64"],
        alter: |run| {
            if run.completed && run.same_register() {
                run.set(0, run.value(0));
            }
        },
    },
    Fault {
        name: "MOVSXD does not extend the sign",
        forms: &["Movsxd_r64_rm32"],
        alter: |run| {
            if run.completed {
                run.set(0, run.value(1));
            }
        },
    },
    Fault {
        name: "a write of 32 bits keeps the upper half",
        forms: &["Mov_r32_rm32", "Xor_r32_rm32"],
        alter: |run| {
            if run.completed && run.instruction.op0_kind() == OpKind::Register {
                let register = run.instruction.op0_register().full_register().number();
                run.after.state.gprs[register] |= run.before.gprs[register] & !0xFFFF_FFFF;
            }
        },
    },
    Fault {
        name: "a write of 16 bits clears the upper part",
        forms: &["Mov_r16_rm16"],
        alter: |run| {
            if run.completed {
                let register = run.instruction.op0_register().full_register().number();
                run.after.state.gprs[register] &= 0xFFFF;
            }
        },
    },
    Fault {
        name: "AH is taken for SPL",
        forms: &["Mov_r8_rm8", "Mov_rm8_r8"],
        alter: |run| {
            if run.completed && run.instruction.op1_register() == Register::AH {
                run.set(0, run.before.gprs[RSP]);
            }
        },
    },
    Fault {
        name: "LEA of 32 bits keeps 64 bits of the address",
        forms: &["Lea_r32_m"],
        alter: |run| {
            let register = run.instruction.op0_register().full_register().number();
            if let (true, Some(address)) = (run.completed, run.address()) {
                run.after.state.gprs[register] = address;
            }
        },
    },
    Fault {
        name: "CMOV whose condition fails leaves the upper half",
        forms: &["Cmovb_r32", "Cmovg_r32"],
        alter: |run| {
            let register = run.instruction.op0_register().full_register().number();
            let old = run.before.gprs[register];
            if run.completed && run.after.state.gprs[register] == old & 0xFFFF_FFFF {
                run.after.state.gprs[register] = old;
            }
        },
    },
    Fault {
        name: "INC changes CF",
        forms: &["Inc_"],
        alter: |run| {
            if run.completed {
                run.flag(CF, run.value(0) == mask(run.bits(0)));
            }
        },
    },
    Fault {
        name: "PUSH RSP pushes the value after the push",
        forms: &["Push_r64"],
        alter: |run| {
            if run.completed && run.instruction.op0_register() == Register::RSP {
                let top = run.after.state.gprs[RSP];
                run.write(top, &top.to_le_bytes());
            }
        },
    },
    Fault {
        name: "POP RSP moves the popped value on",
        forms: &["Pop_r64"],
        alter: |run| {
            if run.completed && run.instruction.op0_register() == Register::RSP {
                run.after.state.gprs[RSP] = run.after.state.gprs[RSP].wrapping_add(8);
            }
        },
    },
    Fault {
        name: "POPF lets programs change IF",
        forms: &["Popfq"],
        alter: |run| {
            let mut image = [0; 8];
            let top = run.before.gprs[RSP];
            if run.completed && (DATA..DATA + 9 * PAGE).contains(&top) {
                run.machine.read_data(top, &mut image);
                run.flag(IF, u64::from_le_bytes(image) & IF != 0);
            }
        },
    },
    Fault {
        name: "LOOP with ECX keeps the upper half of RCX",
        forms: &["Loop_rel8_64_ECX"],
        alter: |run| {
            if run.completed {
                run.after.state.gprs[RCX] |= run.before.gprs[RCX] & !0xFFFF_FFFF;
            }
        },
    },
    Fault {
        name: "REP with a count of zero does one element",
        forms: &["Lodsb_AL_m8", "Stosb_m8_AL"],
        alter: |run| {
            if run.completed && run.instruction.has_rep_prefix() && run.before.gprs[RCX] == 0 {
                let by = if run.had(DF) { u64::MAX } else { 1 };
                let which = if run.instruction.op0_kind() == OpKind::Register { RSI } else { RDI };
                run.after.state.gprs[which] = run.after.state.gprs[which].wrapping_add(by);
            }
        },
    },
    Fault {
        name: "SCAS goes up whatever DF says",
        forms: &["Scasd_EAX_m32"],
        alter: |run| {
            if run.completed && run.had(DF) {
                let moved = run.before.gprs[RDI].wrapping_sub(run.after.state.gprs[RDI]);
                run.after.state.gprs[RDI] = run.before.gprs[RDI].wrapping_add(moved);
            }
        },
    },
    Fault {
        name: "REP MOVS that faults leaves RCX as it was",
        forms: &["Movsb_m8_m8", "Movsq_m64_m64"],
        alter: |run| {
            if !run.completed {
                run.after.state.gprs[RCX] = run.before.gprs[RCX];
            }
        },
    },
    Fault {
        name: "a page fault behind a page's end names the operand's start",
        forms: &["Mov_rm32_r32", "Mov_r64_rm64"],
        alter: |run| {
            let start = run.address();
            if let (false, End::Exception { vector: 14, address, .. }, Some(start)) =
                (run.completed, &mut run.after.end, start)
                && (start..start.saturating_add(8)).contains(address)
            {
                *address = start;
            }
        },
    },
    Fault {
        name: "a write that faults partway has written its first part",
        forms: &["Mov_rm64_r64"],
        alter: |run| {
            if let (Some(14), Some(start)) = (run.raised(), run.address())
                && start % PAGE > PAGE - 8
                && crate::layout::data_rights(start) == crate::layout::PageRights::Write
            {
                run.write(start, &run.value(1).to_le_bytes()[..1]);
            }
        },
    },
    Fault {
        name: "non-canonical addresses in the stack's segment raise #GP",
        forms: &["Add_", "Cmp_", "Mov_", "Test_"],
        alter: |run| {
            if let End::Exception { vector, .. } = &mut run.after.end
                && *vector == 12
            {
                *vector = 13;
            }
        },
    },
    Fault { name: "faults are reported without RF", forms: &["Ud2"], alter: |run| run.flag(RF, false) },
    Fault {
        name: "MULX writes its halves the other way round",
        forms: &["VEX_Mulx_r64_r64_rm64"],
        alter: |run| {
            if run.completed {
                let first = run.instruction.op0_register().full_register().number();
                let second = run.instruction.op1_register().full_register().number();
                run.after.state.gprs.swap(first, second);
            }
        },
    },
    Fault {
        name: "BLSR leaves CF clear when its operand is zero",
        forms: &["VEX_Blsr_"],
        alter: |run| {
            if run.completed && run.value(1) == 0 {
                run.flag(CF, false);
            }
        },
    },
];

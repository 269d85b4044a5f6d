// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMASKMOVPS, VMASKMOVPD, VPMASKMOVD and VPMASKMOVQ: loads and stores of selected elements (Intel SDM 2 VMASKMOV, VPMASKMOV).

use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::paging::AccessKind;

use crate::cpu::{Cpu, memory_segment, segment_of};
use crate::host_execution::Requirement;
use crate::stop::{Next, Stop};

/// Elements in 32 bytes, at most.
const MOST: usize = 8;

/// All four. Elements that the mask does not select are not touched: they raise nothing, and no device hears of them.
pub(crate) fn masked_move(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    cpu.check_requirement(Requirement::Avx)?;
    let size = match instruction.mnemonic() {
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => 4,
        _ => 8,
    };
    let stores = instruction.op0_kind() == OpKind::Memory;
    let kind = if stores { AccessKind::Write } else { AccessKind::Read };
    let mask_register = instruction.op1_register();
    let elements = mask_register.size() / size;
    let mask = cpu.frame.vector.ymm(mask_register.number());
    let privilege = cpu.privilege();
    let (_, offset) = cpu.effective_address(instruction);
    let segment = segment_of(memory_segment(instruction, cpu.mode().is_64()));
    let mut selected = [(0, 0); MOST];
    let mut count = 0;
    for at in (0..elements).map(|element| element * size) {
        if mask[at + size - 1] & 0x80 == 0 {
            continue;
        }
        let linear = cpu.linear(segment, offset.wrapping_add(at as u64), size, kind)?;
        if stores {
            cpu.probe_write(linear, size, privilege)?;
        }
        selected[count] = (at, linear);
        count += 1;
    }
    let selected = &selected[..count];
    if stores {
        let source = cpu.frame.vector.ymm(instruction.op2_register().number());
        // What the hypervisor does comes first: as long as it has not, nothing may be stored.
        for devices in [true, false] {
            for &(at, linear) in selected {
                if cpu.is_device(linear, size, privilege)? == devices {
                    cpu.write_unaligned(linear, size, element(&source, at, size), privilege)?;
                }
            }
        }
    } else {
        let mut value = [0; 32];
        for &(at, linear) in selected {
            let bytes = cpu.read_unaligned(linear, size, privilege)?.to_le_bytes();
            value[at..at + size].copy_from_slice(&bytes[..size]);
        }
        cpu.frame.vector.set_ymm(instruction.op0_register().number(), value);
    }
    Ok(Next::Sequential)
}

/// The `size` bytes at `at`, zero-extended.
fn element(value: &[u8; 32], at: usize, size: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&value[at..at + size]);
    u64::from_le_bytes(bytes)
}

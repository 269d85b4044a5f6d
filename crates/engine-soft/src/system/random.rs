// SPDX-License-Identifier: MIT OR Apache-2.0
//! RDRAND and RDSEED, from the host's random numbers, or under virtual time from a seed.

use iced_x86::Instruction;

use crate::cpu::{Cpu, Flags};
use crate::stop::{Next, Stop};

/// RDRAND and RDSEED. CF says whether there was a number: the host may have none, early in its boot.
pub(super) fn number(cpu: &mut Cpu, instruction: &Instruction) -> Result<Next, Stop> {
    if let Some(generator) = cpu.time.generator() {
        let number = generator.next();
        cpu.set_register(instruction.op0_register(), number);
        cpu.flags = Flags::default();
        cpu.flags.set(Flags::CF, true);
        return Ok(Next::Sequential);
    }
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    let ready = filled.is_ok_and(|count| count == bytes.len());
    cpu.set_register(instruction.op0_register(), if ready { u64::from_le_bytes(bytes) } else { 0 });
    cpu.flags = Flags::default();
    cpu.flags.set(Flags::CF, ready);
    Ok(Next::Sequential)
}

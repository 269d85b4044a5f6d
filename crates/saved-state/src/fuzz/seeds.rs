// SPDX-License-Identifier: MIT OR Apache-2.0
//! Good files, from which the bad ones are made.

use zerocopy::IntoBytes;

use super::seal::seal;
use crate::container::storage::layout::{LogEntry, LogHeader};
use crate::memory::{Encoding, PAGE_SIZE};
use crate::partition::{Register, RegisterValue};
use crate::write::{Machine, NewValue, Options, bin_and_vsv, vmrs};

pub(super) fn machine() -> Machine {
    let mut machine = Machine::default();
    (machine.os_id, machine.crash) = (0x8100_0006_0105_0000, [1; 5]);
    let mut memory = vec![0; 64 << 10];
    memory[0x100..0x103].copy_from_slice(b"ram");
    machine.memory(0, memory);
    machine.fill(1 << 20, 8192, *b"pattern!");
    machine.vp().set(Register::CR3, 0x1000).set(Register::EFER, 0x500).set_privilege_level(3);
    let vp = machine.vp();
    vp.set(Register::RAX, 7).set_in_vtl(1, Register::CR3, RegisterValue::U64(0x2000));
    vp.set_in_vtl(0, Register::CR4, RegisterValue::U64(0x20));
    vp.set(Register::DR7, 0x400).set_value(Register::XMM0, RegisterValue::U128(1 << 99));
    vp.set_value(Register::GDTR, RegisterValue::Table { base: 0x1000, limit: 0x7F });
    vp.chunk(0x3002_1000, vec![1; 5]);
    machine.keys = vec![
        ("text".into(), NewValue::String("words".into())),
        ("real".into(), NewValue::Double(1.5)),
        ("yes".into(), NewValue::Bool(true)),
        ("a/b/c".into(), NewValue::UInt(3)),
    ];
    machine
}

/// Good files of both formats: .vmrs, .vsv, .bin, and a .vmrs with a pending log.
pub(super) fn files() -> [Vec<u8>; 4] {
    let options = Options { encoding: Encoding::Pages, log_pages: 1 };
    let (bin, vsv) = bin_and_vsv(&machine(), &options);
    let good = vmrs(&machine(), &options);
    let logged = with_log(&good);
    [good, vsv, bin, logged]
}

/// Its last page is still in the replay log.
fn with_log(good: &[u8]) -> Vec<u8> {
    const LOG: usize = 0x3000;
    let mut file = good.to_vec();
    let last = file.len() - PAGE_SIZE;
    file.copy_within(last.., LOG + PAGE_SIZE);
    let entry = LogEntry {
        destination: (last as u64).into(),
        size: (PAGE_SIZE as u32).into(),
        data_offset: (PAGE_SIZE as u64).into(),
        crc: 0.into(),
        data_crc: 0.into(),
    };
    let place = LOG + size_of::<LogHeader>();
    file[place..place + size_of::<LogEntry>()].copy_from_slice(entry.as_bytes());
    file[LOG + 8] = 1;
    file[last..].fill(0xAA);
    seal(&mut file);
    file
}

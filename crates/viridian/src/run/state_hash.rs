// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--state-hash`: a hash of all that a run could go on from, on standard error. Two runs that print the same were the same up to there.

use hypervisor::Vp;
use memory::{PAGE_SIZE, Space};
use state::{Hash, State, Writer};

use super::VIEW;
use super::in_turn::Every;
use super::serve::Surroundings;

/// Prints the hash at every so many instructions, if that is a number.
pub(crate) fn every(instructions: Option<u64>, executed: u64) -> Option<Every<'static>> {
    let instructions = instructions.filter(|&every| every != 0)?;
    Some(Every::new(instructions, executed, Box::new(|vps, around, executed| print(vps, around, executed))))
}

/// Prints the hash of where the run ended.
pub(crate) fn print_at_end(vps: &[Vp], around: &Surroundings) {
    print(vps, around, vps.iter().map(Vp::instructions).sum());
}

fn print(vps: &[Vp], around: &Surroundings, instructions: u64) {
    let hash = hash(vps, around);
    // Whoever closed standard error does not want to know.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("state at {instructions} instructions: {hash}\r\n"),
    );
}

/// A hash of memory, processors and devices.
pub(crate) fn hash(vps: &[Vp], around: &Surroundings) -> Hash {
    let mut parts = Vec::new();
    let mut add = |state: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::default();
        state(&mut writer);
        parts.extend_from_slice(&Hash::of(&writer.into_bytes()).0.to_le_bytes());
    };
    for vp in vps {
        add(&|writer| vp.save(writer));
    }
    add(&|writer| around.partition.save(writer));
    add(&|writer| around.pc.save(writer));
    parts.extend_from_slice(&memory(around.partition.space()).0.to_le_bytes());
    Hash::of(&parts)
}

/// A hash of guest memory, not of what is laid over it. Pages of zeros count as if they were not there: that is how memory begins.
fn memory(space: &Space) -> Hash {
    let mut pages = Vec::new();
    let mut page = [0; PAGE_SIZE as usize];
    space.for_each_mapped(VIEW, |gpn, object, number| {
        if object.read(number * PAGE_SIZE, &mut page).is_ok() && page != ZEROS {
            pages.extend_from_slice(&gpn.to_le_bytes());
            pages.extend_from_slice(&Hash::of(&page).0.to_le_bytes());
        }
    });
    Hash::of(&pages)
}

const ZEROS: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers, decoded.

use core::fmt;
use support::println;
use tlfs::hypercall::ResultValue;
use tlfs::{Field, HvStatus, Layout};

/// Prints the named fields of a word, those of one bit only where it is set.
pub(crate) fn fields(fields: &[Field], word: u64) {
    for field in fields.iter().filter(|field| !field.name.is_empty()) {
        let value = (word & field.mask()) >> field.low;
        match (field.width, value) {
            (1, 0) => {}
            (1, _) => println!("  {:<46} {}", field.name, field.about),
            (_, value) => println!("  {:<29} {value:#16x} {}", field.name, field.about),
        }
    }
}

/// Four bytes at a time, those that are letters.
pub(crate) struct Letters<'a>(pub(crate) &'a [u32]);

impl fmt::Display for Letters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().flat_map(|word| word.to_le_bytes()) {
            write!(f, "{}", if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' })?;
        }
        Ok(())
    }
}

/// Prints the result of a call.
pub(crate) fn result(result: ResultValue, is_rep: bool) {
    let status = result.status();
    let known = HvStatus::ALL.iter().find(|known| known.value == status);
    match known {
        Some(known) => println!("{} ({:#06x}): {}", known.name, status.0, known.about),
        None => println!("status {:#06x}, which has no name", status.0),
    }
    if is_rep {
        println!("  reps complete: {}", result.reps_complete());
    }
}

/// Prints a structure by its members; `word` gives the eight bytes at an offset that is a multiple of eight.
pub(crate) fn structure(layout: &Layout, word: impl Fn(usize) -> u64) {
    println!("  output: {}, {} bytes", layout.name, layout.size);
    for (index, member) in layout.members.iter().enumerate() {
        let end = layout.members.get(index + 1).map_or(layout.size, |next| next.offset);
        let (shift, bytes) = (member.offset % 8 * 8, (end - member.offset).min(8 - member.offset % 8));
        let value = word(member.offset / 8 * 8) >> shift & (u64::MAX >> (64 - 8 * bytes));
        println!("  {:>4}  {:<39} {value:#x}", member.offset, member.name);
    }
}

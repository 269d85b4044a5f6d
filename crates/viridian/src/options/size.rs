// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory sizes as people write them.

const MIB: u64 = 1 << 20;
/// The least memory that a guest can have: what a PC needs below its first hole.
const LEAST: u64 = 2 * MIB;
/// The most memory that a guest can have: half of what guest-physical addresses of 40 bits reach, so that the holes fit beside it.
const MOST: u64 = 512 << 30;

/// Bytes of a size such as `512M`, `2G` or `1048576K`; a plain number counts MiB, as elsewhere. The result is a whole number of MiB.
pub(crate) fn memory_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "K" | "KB" | "KIB" => 1 << 10,
        "" | "M" | "MB" | "MIB" => MIB,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        other => return Err(format!("'{other}' is no unit; write K, M, G or T")),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number and a unit, like 512M".to_owned())?;
    match number.checked_mul(unit) {
        Some(bytes) if (LEAST..=MOST).contains(&bytes) && bytes.is_multiple_of(MIB) => Ok(bytes),
        _ => Err("a guest has a whole number of MiB, from 2M to 512G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::memory_size;

    #[test]
    fn sizes() {
        assert_eq!(memory_size("512M"), Ok(512 << 20));
        assert_eq!(memory_size("512"), Ok(512 << 20));
        assert_eq!(memory_size("2g"), Ok(2 << 30));
        assert_eq!(memory_size("2048K"), Ok(2 << 20));
        assert_eq!(memory_size("512GiB"), Ok(512 << 30));
        for bad in [
            "",
            "M",
            "0",
            "1K",
            "1M",
            "1T",
            "513G",
            "2T",
            "-5M",
            "1.5G",
            "99999999999999999999G",
            "17179869184G",
            "3X",
            "1025K",
        ] {
            assert!(memory_size(bad).is_err(), "{bad}");
        }
    }
}

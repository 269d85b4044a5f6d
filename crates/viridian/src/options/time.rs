// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of `run` that decide what time is, and what share of it VPs get.

use clap::{Args, ValueEnum};

use crate::run::share::WHOLE;

/// What time is, and who gets it.
#[derive(Args, Debug)]
pub(crate) struct TimeOptions {
    /// Where the guest's time comes from: the host's clock, or the guest's own instructions, which makes runs repeat exactly.
    #[arg(long, value_enum, default_value_t = TimeKind::Real)]
    pub(crate) time: TimeKind,

    /// What RDRAND and RDSEED give under --time virtual follows from this number, 0 if there is none.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Print a hash of memory, processors and devices at the end, and under --time virtual also every N instructions (like 100M).
    #[arg(long, value_name = "N", num_args = 0..=1, value_parser = count)]
    pub(crate) state_hash: Option<Option<u64>>,

    /// A check of this program itself, under --time virtual: about every N instructions, take the whole state, drop everything, and go on from it.
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = ["stats", "profile", "trace"])]
    pub(crate) rebuild_every: Option<u64>,

    /// Under --time virtual, the least share of a processor that each VP gets when it has work.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = share)]
    pub(crate) cpu_reserve: u32,

    /// Under --time virtual, the largest share of a processor that each VP gets.
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = share)]
    pub(crate) cpu_cap: u32,

    /// Under --time virtual, the length of each VP's turns, in hundredths of the usual: 1 to 10000.
    #[arg(long, value_name = "WEIGHT", default_value_t = 100)]
    pub(crate) cpu_weight: u32,
}

/// Where the guest's time comes from.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimeKind {
    /// The host's clock. Each VP has a thread.
    Real,
    /// The guest's instructions: a nanosecond each. The VPs take turns on one thread.
    Virtual,
}

/// A number such as `250000`, `250k`, `100M` or `2G`, in thousands.
fn count(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        other => return Err(format!("'{other}' is no unit; write k, M or G")),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number of instructions, like 100M".to_owned())?;
    match number.checked_mul(unit) {
        Some(0) => Err("there is nothing between one point and the next; write at least 1".to_owned()),
        Some(number) => Ok(number),
        None => Err("no run has so many instructions".to_owned()),
    }
}

/// A share of a processor such as `50`, `50%` or `12.5`, in parts of [`WHOLE`].
fn share(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent: f64 = number.parse().map_err(|_| "write a percentage, like 50".to_owned())?;
    if (0.0..=100.0).contains(&percent) {
        Ok((percent / 100.0 * f64::from(WHOLE)).round() as u32)
    } else {
        Err("a share is 0 to 100 percent of a processor".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares() {
        assert_eq!(count("100M"), Ok(100_000_000));
        assert_eq!(count("7"), Ok(7));
        for bad in ["", "M", "1T", "-1", "1.5M", "99999999999G", "0", "0M"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (share("50"), share("75%"), share("100"), share("0")),
            (Ok(0x8000), Ok(0xC000), Ok(0x1_0000), Ok(0))
        );
        for bad in ["", "101", "-1", "half", "NaN", "inf"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}

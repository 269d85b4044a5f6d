// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of `run` that scripts and continuous integration use: when a run is over, what the verdict is, and what is kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// When the run is over, and what is kept of it.
#[derive(Args, Debug)]
pub(crate) struct VerdictOptions {
    /// End the run with status 0 once the guest's console has printed TEXT; status 67 if the guest ends without.
    #[arg(long, value_name = "TEXT", value_parser = expected_text, allow_hyphen_values = true)]
    pub(crate) expect: Option<String>,

    /// End the run with status 67 after this time: seconds, or a number with ms, s, m or h.
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,

    /// Write memory and processors as an ELF core when the guest crashes, shuts down on a triple fault, fails --timeout or
    /// --expect, or when SIGUSR1 or the console's Ctrl-] x ends the run.
    #[arg(long, value_name = "FILE")]
    pub(crate) core: Option<PathBuf>,

    /// Boot again when the guest resets, instead of ending with status 64.
    #[arg(long)]
    pub(crate) reboot: bool,
}

/// The longest time that a run can be given.
const MOST: Duration = Duration::from_secs(365 * 24 * 3600);

fn expected_text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("there is nothing to look for".to_owned()) } else { Ok(text.to_owned()) }
}

/// A time such as `90`, `1.5`, `500ms` or `10m`; a plain number counts seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("'{other}' is no unit; write ms, s, m or h")),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = digits.parse::<f64>().ok().filter(|_| plain).ok_or("write a number of seconds, like 90")?;
    Duration::try_from_secs_f64(number * unit)
        .ok()
        .filter(|time| !time.is_zero() && *time <= MOST)
        .ok_or_else(|| "a run has more than no time, and at most a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1d"), Err("'d' is no unit; write ms, s, m or h".to_owned()));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "0", "-1", "s", "1d", "1e99", "inf", "nan", "9999999h", "1..5", "0.0000000000001"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}

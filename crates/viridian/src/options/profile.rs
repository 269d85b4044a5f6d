// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of `run` that tell what the guest does.

use std::path::PathBuf;

use clap::Args;

/// What is counted, and what is written down.
#[derive(Args, Debug)]
pub(crate) struct ProfileOptions {
    /// Print what the guest did at the end: exits, hypercalls, MSR accesses, interrupts, messages.
    #[arg(long)]
    pub(crate) stats: bool,

    /// Print at the end, and on Ctrl-] p, every hypercall with its count and cost, MSRs, CPUID, SynIC and exits by VP and phase; to
    /// FILE if there is one, as JSON if that ends in .json.
    #[arg(long, value_name = "FILE", num_args = 0..=1, value_parser = profile_file)]
    pub(crate) profile: Option<Option<PathBuf>>,

    /// Start phase NAME of the profile whenever the console prints TEXT. Without any: boot, then idle once there is a login or a
    /// shell.
    #[arg(long = "phase", value_name = "NAME=TEXT", requires = "profile", value_parser = phase)]
    pub(crate) phases: Vec<Phase>,

    /// Write every event to FILE, a line each.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

/// A phase, and the text that starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) text: String,
}

fn phase(option: &str) -> Result<Phase, String> {
    match option.split_once('=') {
        Some((name, text)) if !name.is_empty() && !text.is_empty() => {
            Ok(Phase { name: name.to_owned(), text: text.to_owned() })
        }
        _ => Err("write NAME=TEXT, such as work=Starting".to_owned()),
    }
}

/// What follows `--profile` is its file; a guest's name there is a mistake.
fn profile_file(file: &str) -> Result<PathBuf, String> {
    match file {
        "" => Err("a file needs a name; without '=', the profile is printed".to_owned()),
        "debian" => Err("it would be the file; write 'run debian --profile'".to_owned()),
        file => Ok(file.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases() {
        assert_eq!(phase("work=a = b"), Ok(Phase { name: "work".into(), text: "a = b".into() }));
        for bad in ["work", "=text", "work=", ""] {
            assert!(phase(bad).is_err(), "{bad}");
        }
        assert!(
            profile_file("debian").is_err()
                && profile_file("").is_err()
                && profile_file("debian.json").is_ok()
        );
    }
}

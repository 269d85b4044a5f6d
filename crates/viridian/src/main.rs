// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `viridian` command: options, threads and glue. It knows every room and is known by none.
#![forbid(unsafe_code)]

mod options;
mod status;

use std::process::ExitCode;

use clap::Parser;

use options::Options;
use status::Status;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            eprintln!("viridian: {}", options::complaint(&error));
            return Status::Refused.into();
        }
        // Help and version.
        Err(text) => {
            print!("{text}");
            return Status::Done.into();
        }
    };
    let _ = options;
    Status::Done.into()
}

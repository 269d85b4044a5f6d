// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `viridian` command: options, threads and glue. It knows every room and is known by none.
#![forbid(unsafe_code)]

#[macro_use]
mod tell;

mod explain;
mod features;
mod harmless;
mod options;
mod refusal;
mod run;
mod saved_state;
mod signals;
mod status;
mod unfinished;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use options::{Command, Options};
use refusal::Refusal;
use status::Status;

fn main() -> ExitCode {
    // First of all, so that a signal means what it is to mean from the beginning.
    let signals = signals::catch();
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            tell!("{}", help.to_string().trim_end());
            return Status::Refused.into();
        }
        Err(error) if error.use_stderr() => {
            tell!("viridian: {}", options::complaint(&error));
            return Status::Refused.into();
        }
        // Help and version.
        Err(text) => {
            show!("{text}");
            return Status::Done.into();
        }
    };
    let is_run = matches!(options.command, Command::Run(_));
    if let Err(error) = signals.and_then(|signals| signals.serve(is_run)) {
        tell!("viridian: {}", Refusal::Signals(error));
        return Status::Refused.into();
    }
    let outcome = match options.command {
        Command::Run(options) => run::run(*options),
        Command::Features { markdown } => {
            show!("{}", features::page(markdown));
            Ok(Status::Done)
        }
        Command::Explain { what } => explain::explain(&what).map(|pages| {
            show!("{pages}");
            Status::Done
        }),
        Command::SavedState(command) => saved_state::run(&command),
        Command::Tour { write } => unfinished::write(&write, guest_programs::TOUR)
            .map_err(|source| Refusal::Write { path: write, source })
            .map(|()| Status::Done),
    };
    match outcome {
        Ok(Status::Signal(signal)) => signals::die(signal),
        Ok(status) => status.into(),
        Err(refusal) => {
            tell!("viridian: {refusal}");
            Status::Refused.into()
        }
    }
}

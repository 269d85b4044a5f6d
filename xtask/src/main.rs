// SPDX-License-Identifier: MIT OR Apache-2.0
//! Development tasks: `cargo xtask TASK`. Never part of the product. One file a task.

mod inventory;
mod long;
mod oracle;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Development tasks of OpenViridian.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Extract names, numbers, sizes and sections from the inventory tables into tests/inventory
    Inventory {
        /// Folder that holds the tables (hypercalls.tsv, msrs.tsv ...)
        path: PathBuf,
    },
    /// Compare the software processor with this host's processor: the long run of docs/oracle.md
    Oracle {
        /// Arguments for the oracle; `--help` tells which
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the checks that take too long for every change: boots in a row, the oracle, fuzzing, advisories, AddressSanitizer
    Long(long::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Inventory { path } => {
            inventory::run(&path, &repository().join("tests/inventory")).map_err(|error| error.to_string())
        }
        Task::Oracle { arguments } => {
            oracle::run(&repository(), &arguments).map_err(|error| error.to_string())
        }
        Task::Long(options) => {
            return if long::run(&repository(), &options) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Top folder of the repository, wherever cargo was started.
fn repository() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

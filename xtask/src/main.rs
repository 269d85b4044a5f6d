// SPDX-License-Identifier: MIT OR Apache-2.0
//! Development tasks: `cargo xtask TASK`. Never part of the product. One file a task.

mod conformance;
mod crash;
mod enlightenments;
mod inventory;
mod kernels;
mod long;
mod machine;
mod mutants;
mod oracle;
mod reference;
mod saved_states;
mod soak;
mod virtual_time;

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
    /// Run what claims to prove behaviours of the specification, and count them by chapter
    Conformance(conformance::Options),
    /// Extract names, numbers, sizes and sections from the inventory tables into tests/inventory
    Inventory {
        /// Folder that holds the tables (hypercalls.tsv, msrs.tsv ...)
        path: PathBuf,
    },
    /// Run the checks that take too long for every change: boots in a row, the oracle, fuzzing, advisories, AddressSanitizer
    Long(long::Options),
    /// Compare the software processor with this host's processor: the long run of docs/oracle.md
    Oracle {
        /// Arguments for the oracle; `--help` tells which
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Boot every stock kernel of Debian with several numbers of VPs, with and without Hyper-V, and print a table
    Kernels(kernels::Options),
    /// Run the conformance guest here and under QEMU with KVM's own Hyper-V interface, and compare: docs/reference.md
    Reference,
    /// Boot Debian without each service in turn, and with each that is only offered on request
    Enlightenments(enlightenments::Options),
    /// Keep a guest busy with processes, pipes, compression and signals for minutes, and watch its memory
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Conformance(options) => {
            conformance::run(&repository(), &options).map_err(|error| error.to_string())
        }
        Task::Inventory { path } => {
            inventory::run(&path, &repository().join("tests/inventory")).map_err(|error| error.to_string())
        }
        Task::Oracle { arguments } => {
            oracle::run(&repository(), &arguments).map_err(|error| error.to_string())
        }
        Task::Long(options) => long::run(&repository(), &options).map_err(|error| error.to_string()),
        Task::Kernels(options) => {
            return if kernels::run(&repository(), &options) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Task::Soak(options) => soak::run(&repository(), &options).map_err(tell),
        Task::Reference => reference::run(&repository()).map_err(tell),
        Task::Enlightenments(options) => enlightenments::run(&repository(), &options).map_err(tell),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why something was not done.
fn tell(trouble: machine::Trouble) -> String {
    match trouble {
        machine::Trouble::Skipped(why) => format!("SKIPPED: {why}"),
        machine::Trouble::Failed(why) => why,
    }
}

/// Top folder of the repository, wherever cargo was started.
fn repository() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

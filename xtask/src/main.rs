// SPDX-License-Identifier: MIT OR Apache-2.0
//! Development tasks: `cargo xtask TASK`. Never part of the product. One file a task.

mod inventory;
mod long;

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
    /// Checks that take long or need tools from outside
    Long {
        /// Only those with this in their name
        #[arg(default_value = "")]
        filter: String,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Long { filter } => {
            return if long::run(&repository(), &filter) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Task::Inventory { path } => inventory::run(&path, &repository().join("tests/inventory")),
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

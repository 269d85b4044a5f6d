// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that the command itself refuses or cannot do: one sentence each, and exit status 70.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hypervisor::CreateError;
use loader::debian::FetchError;
use loader::initramfs::BuildError;
use loader::{BadMemoryMap, LoadError, ReadError};
use machine::PcError;
use machine::acpi::TablesTooLarge;
use machine::console::ConsoleError;
use machine::layout::BadRamSize;
use memory::{AccessError, MemoryError};

use crate::harmless::{harmless, harmless_path};

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cannot load {path}: {source}")]
    Load { path: PathBuf, source: LoadError },
    #[error("cannot load the built-in guest '{name}': {source}")]
    BuiltIn { name: &'static str, source: LoadError },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Initramfs(#[from] BuildError),
    #[error(transparent)]
    RamSize(#[from] BadRamSize),
    #[error(transparent)]
    MemoryMap(#[from] BadMemoryMap),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("cannot write the guest's memory: {0}")]
    Access(#[from] AccessError),
    #[error(transparent)]
    Acpi(#[from] TablesTooLarge),
    #[error(transparent)]
    Partition(#[from] CreateError),
    #[error(transparent)]
    Model(#[from] engine_soft::model::HostLacks),
    #[error(transparent)]
    Machine(#[from] PcError),
    #[error(transparent)]
    Console(#[from] ConsoleError),
    #[error("the guest cannot be connected to its host: {0}")]
    Port(#[from] hypervisor::PortError),
    #[error("'debugging' needs a debugger to talk to: add --debug-link, such as --debug-link 127.0.0.1:5005")]
    NoDebugLink,
    #[error(
        "--debug-link is for guests that make hypercalls; without 'access-hypercall-msrs' in --hv there are none"
    )]
    DebugLinkWithoutHypercalls,
    #[error("cannot make a debug link to {address}: {source}")]
    DebugLink { address: SocketAddr, source: std::io::Error },
    #[error("what was saved of the guest cannot be restored: {0}")]
    Snapshot(state::Damaged),
    #[error("a bug ended the run; please report what was printed above")]
    Broken,
    #[error(transparent)]
    Share(#[from] crate::run::share::BadShare),
    #[error("{0} needs --time virtual: with the host's clock no run can be held to it")]
    NeedsVirtualTime(&'static str),
    #[error(
        "--cpu-reserve, --cpu-cap and --cpu-weight need --time virtual: with the host's clock no run can be held to them"
    )]
    ShareNeedsVirtualTime,
    #[error("cannot read standard input: {0}")]
    StandardInput(std::io::Error),
    #[error(
        "standard input has more than {} MiB, which --time virtual reads before the guest starts; give the guest less, or leave --time virtual away",
        .0 >> 20
    )]
    LongStandardInput(u64),
    #[error("the trace in {} ends before the run, after a whole line: {source}", harmless_path(path))]
    Trace { path: PathBuf, source: std::io::Error },
    #[error(
        "the trace in {} ends before the run: who reads it did not take the rest in {patience:?}",
        harmless_path(path)
    )]
    TraceUnread { path: PathBuf, patience: Duration },
    #[error("what was to be told at the end could not all be written to standard error: {0}")]
    StandardError(std::io::Error),
    #[error("what the guest's console printed could not all be written to standard output: {0}")]
    StandardOutput(std::io::Error),
    #[error("the host gives no thread for a virtual processor: {0}")]
    Thread(std::io::Error),
    #[error("the host lets nobody catch signals: {0}")]
    Signals(std::io::Error),
    #[error("the interface has nothing called '{text}'{}", proposal(.near))]
    Unexplained { text: String, near: Vec<&'static str> },
    #[error("cannot write {}: {source}", harmless_path(path))]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}", about_saved_state(path, source))]
    SavedState { path: PathBuf, source: saved_state::Error },
    #[error("{0} of {1} addresses are not mapped")]
    NotMapped(usize, usize),
    #[error("there are no addresses from {0:#x} to {1:#x}: the last one is below the first one")]
    NoAddresses(u64, u64),
    #[error("{} is the saved state itself; it would be overwritten", harmless_path(.0))]
    OntoItself(PathBuf),
    #[error(
        "{option} would write to {}, which {other} names already; give it a file of its own",
        harmless_path(path)
    )]
    SameFile { option: &'static str, other: &'static str, path: PathBuf },
    #[error(
        "{option} would write to {}, which is in the folder that --root names; give it a place of its own",
        harmless_path(path)
    )]
    InRoot { option: &'static str, path: PathBuf },
}

/// What is wrong with a file, and which file it is, said once.
fn about_saved_state(path: &Path, error: &saved_state::Error) -> String {
    let names_it = matches!(error, saved_state::Error::Open { .. } | saved_state::Error::OtherHalf { .. });
    let error = harmless(&error.to_string());
    if names_it { error } else { format!("{}: {error}", harmless_path(path)) }
}

fn proposal(near: &[&str]) -> String {
    match near {
        [] => "; `viridian features` lists what there is".to_owned(),
        [only] => format!("; did you mean {only}?"),
        [all @ .., last] => format!("; did you mean {} or {last}?", all.join(", ")),
    }
}

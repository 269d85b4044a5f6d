// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state`: answers about saved virtual machines, as text or JSON.

mod images;
mod info;
mod memory;
mod options;
mod registers;
mod translate;

pub(crate) use options::SavedStateCommand;

use std::io::{self, Write};
use std::path::Path;

use saved_state::{Error, PagingMode, SavedState, apply_pending_log};
use serde_json::Value;

use crate::harmless::harmless_path;
use crate::refusal::Refusal;
use crate::status::Status;
use options::{FileOptions, PagingName, ViewOptions};

/// Does what was asked.
pub(crate) fn run(command: &SavedStateCommand) -> Result<Status, Refusal> {
    match command {
        SavedStateCommand::Info { file, keys } => info::run(file, *keys),
        SavedStateCommand::Registers { file, vp, vtl } => registers::run(file, *vp, *vtl),
        SavedStateCommand::Memory { file, format, output, threads } => {
            memory::run(file, *format, output, *threads)
        }
        SavedStateCommand::Translate { file, addresses, view } => translate::run(file, addresses, view),
        SavedStateCommand::Images { file, view, from, to } => images::run(file, view, *from, *to),
    }
}

/// Opens the file and prepares what is asked of it. If its log is to be applied, that is done between preparing once and doing both again:
/// what `prepare` refuses leaves the file as it was.
fn open(
    file: &FileOptions,
    prepare: &mut dyn FnMut(&mut SavedState) -> Result<(), Refusal>,
) -> Result<SavedState, Refusal> {
    let failed = |error| refused(&file.file, error);
    let mut prepared = || -> Result<SavedState, Refusal> {
        let mut saved = SavedState::open(&file.file).map_err(failed)?;
        prepare(&mut saved)?;
        Ok(saved)
    };
    let mut saved = prepared()?;
    if file.apply_log {
        apply_pending_log(&file.file).map_err(failed)?;
        saved = prepared()?;
    }
    warn(&saved);
    Ok(saved)
}

/// Says what the files lack. What they have is read all the same: often there is nothing better.
fn warn(saved: &SavedState) {
    let missing = [saved.memory().missing_bytes(), saved.container().missing_bytes()];
    for (path, bytes) in saved.files().iter().zip(missing).filter(|(_, bytes)| *bytes > 0) {
        tell!(
            "viridian: {} is {} shorter than it says: it was cut short, or was never written in full; no value is missing",
            harmless_path(path),
            count(bytes, "byte")
        );
    }
    let census = saved.memory().census();
    if let (Some(first), [path, others @ ..]) = (census.first_missing, saved.files()) {
        let (blocks, path) = (count(census.missing, "block"), harmless_path(path));
        let which = if census.missing == 1 { "it is" } else { "the first of them is" };
        let or = if others.is_empty() { "" } else { ", or of another save than its other half" };
        tell!(
            "viridian: {path} lacks {blocks} of 1 MiB of the memory that the machine had; {which} block {first}: the file is incomplete{or}"
        );
    }
}

/// A number of things.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// What is wrong with the file at `path`.
fn refused(path: &Path, source: Error) -> Refusal {
    Refusal::SavedState { path: path.into(), source }
}

/// Opens the file and looks at it as the options say; `prepare` sees it so.
fn open_view(
    file: &FileOptions,
    view: &ViewOptions,
    prepare: &mut dyn FnMut(&SavedState) -> Result<(), Refusal>,
) -> Result<SavedState, Refusal> {
    let mode = view.paging.map(|name| match name {
        PagingName::None => PagingMode::NonPaged,
        PagingName::Bits32 => PagingMode::Bits32,
        PagingName::Pae => PagingMode::Pae,
        PagingName::Long => PagingMode::Long,
    });
    let failed = |error| refused(&file.file, error);
    open(file, &mut |saved| {
        saved.force_active_vtl(view.vp, view.vtl).map_err(failed)?;
        saved.force_paging_mode(view.vp, mode).map_err(failed)?;
        prepare(saved)
    })
}

/// Prints an answer. A reader that has read enough is no failure.
fn print(text: &str) -> Result<(), Refusal> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Refusal::Write { path: "standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}

fn print_json(value: &Value) -> Result<(), Refusal> {
    print(&format!("{value:#}\n"))
}

/// A number as JSON has it: numbers of 64 bits would lose digits in many readers.
fn hex(number: u64) -> Value {
    format!("{number:#x}").into()
}

/// A size in the largest unit that divides it.
fn size_in_words(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB"];
    let unit =
        (0..units.len()).rev().find(|unit| bytes > 0 && bytes.is_multiple_of(1 << (10 * unit))).unwrap_or(0);
    format!("{} {}", bytes >> (10 * unit), units[unit])
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        for (bytes, words) in
            [(0, "0 bytes"), (5, "5 bytes"), (4096, "4 KiB"), (264_241_152, "252 MiB"), (5 << 30, "5 GiB")]
        {
            assert_eq!(super::size_in_words(bytes), words);
        }
    }
}

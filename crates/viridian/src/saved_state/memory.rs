// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state memory`.

use std::fs::{self, File, Metadata};
use std::io;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{Access, access};
use saved_state::export::{FileSink, Form, Sink, StreamSink, export};
use saved_state::{Error, SavedState};
use serde_json::json;

use super::options::{FileOptions, FormName};
use super::{open, print_json, refused};
use crate::refusal::Refusal;
use crate::status::Status;
use crate::unfinished::Unfinished;

pub(super) fn run(
    file: &FileOptions,
    format: FormName,
    output: &Path,
    threads: usize,
) -> Result<Status, Refusal> {
    let mut target = None;
    let saved = open(file, &mut |saved| {
        if target.is_none() {
            target = Some(Target::of(saved, output)?);
        }
        Ok(())
    })?;
    let form = match format {
        FormName::Raw => Form::Raw,
        FormName::ElfCore => Form::ElfCore,
        FormName::Lime => Form::Lime,
    };
    let threads = NonZero::new(threads).or_else(|| thread::available_parallelism().ok());
    // More than this gains nothing, and a host may refuse to give them.
    const MOST_THREADS: NonZero<usize> = NonZero::new(64).unwrap();
    let threads = threads.unwrap_or(NonZero::<usize>::MIN).min(MOST_THREADS);
    let write = |sink: &mut dyn Sink, output: &Path| {
        let bar = ProgressBar::new(saved.memory().raw_size());
        let style =
            ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let written = export(&saved, form, threads, sink, &mut |done| bar.set_position(done));
        bar.finish_and_clear();
        written.map_err(|error| match error {
            Error::Write(source) => Refusal::Write { path: output.into(), source },
            error => refused(&file.file, error),
        })
    };
    let failed = |source| Refusal::Write { path: output.into(), source };
    match target {
        // Less than the whole image is a failure, even if the reader wanted no more.
        None | Some(Target::StandardOutput) => {
            write(&mut StreamSink(io::stdout().lock()), Path::new(STANDARD_OUTPUT))?;
            return Ok(Status::Done);
        }
        Some(Target::Device) => {
            let device = File::options().write(true).open(output).map_err(failed)?;
            write(&mut StreamSink(device), output)?;
        }
        Some(Target::File(unfinished)) => {
            write(&mut FileSink::new(unfinished.file().map_err(failed)?), output)?;
            unfinished.finish().map_err(failed)?;
        }
    }
    if file.json {
        print_json(&json!({ "output": output.display().to_string(), "memory": saved.memory().raw_size() }))?;
    }
    Ok(Status::Done)
}

/// What standard output is called.
const STANDARD_OUTPUT: &str = "standard output";

/// Where the image goes.
enum Target {
    StandardOutput,
    /// A device or pipe, which is written to as it is.
    Device,
    /// Written under another name, which becomes the right one when all is written.
    File(Unfinished),
}

impl Target {
    /// What `output` names, begun if it is a file. Never the saved state itself.
    fn of(saved: &SavedState, output: &Path) -> Result<Self, Refusal> {
        if output.as_os_str() == "-" {
            let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
            // One that is closed or cannot be asked about leads to no file.
            if let Ok(existing) = stdout.and_then(|stdout| stdout.metadata()) {
                refuse_itself(saved, Path::new(STANDARD_OUTPUT), &existing)?;
            }
            return Ok(Self::StandardOutput);
        }
        let failed = |source| Refusal::Write { path: output.into(), source };
        if let Ok(existing) = fs::metadata(output) {
            refuse_itself(saved, output, &existing)?;
            if existing.is_dir() {
                return Err(failed(rustix::io::Errno::ISDIR.into()));
            }
            if !existing.is_file() {
                access(output, Access::WRITE_OK).map_err(|error| failed(error.into()))?;
                return Ok(Self::Device);
            }
        }
        Unfinished::begin(output).map(Self::File).map_err(failed)
    }
}

/// Refuses to write to what the memory is read from, whatever it is called.
fn refuse_itself(saved: &SavedState, output: &Path, existing: &Metadata) -> Result<(), Refusal> {
    let same = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|input| (input.dev(), input.ino()) == (existing.dev(), existing.ino()))
    };
    if saved.files().iter().any(same) { Err(Refusal::OntoItself(output.into())) } else { Ok(()) }
}

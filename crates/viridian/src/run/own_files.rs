// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run writes goes to files of their own: none that it reads, none twice, and none that a standard stream leads to.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::options::RunOptions;
use crate::refusal::Refusal;
use crate::unfinished::{folder, follow};

/// Which file a path names.
#[derive(PartialEq, Eq)]
enum Identity {
    /// One that is there: its device and number.
    There(u64, u64),
    /// One that could be made.
    New(PathBuf),
}

/// Which file it is, unless it is a device, a pipe or the like, which takes what everyone writes.
fn identity(path: &Path) -> Option<Identity> {
    if let Ok(found) = fs::metadata(path) {
        return found.is_file().then(|| Identity::There(found.dev(), found.ino()));
    }
    Some(Identity::New(place(path).unwrap_or_else(|| path.to_owned())))
}

/// Where a file lies, or would lie, without links on the way.
fn place(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = fs::canonicalize(path) {
        return Some(found);
    }
    let path = follow(path).ok()?;
    Some(fs::canonicalize(folder(&path)).ok()?.join(path.file_name()?))
}

/// Which file a standard stream leads to, if it is one.
fn stream(stream: impl AsFd) -> Option<Identity> {
    let found = File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    found.is_file().then(|| Identity::There(found.dev(), found.ino()))
}

/// Refuses a file that would be written and is something else already.
pub(crate) fn check(options: &RunOptions) -> Result<(), Refusal> {
    let named = |option, path: Option<&PathBuf>| path.map(|path| (option, path.clone()));
    let written = [
        named("--trace", options.profile.trace.as_ref()),
        named("--profile", options.profile.profile.as_ref().and_then(Option::as_ref)),
        named("--core", options.verdict.core.as_ref()),
    ];
    let read = [
        named("--kernel", options.kernel.as_ref()),
        named("--initrd", options.initrd.as_ref()),
        named("--multiboot", options.multiboot.as_ref()),
        named("--module", options.module.as_ref()),
    ];
    let mut others: Vec<_> =
        read.into_iter().flatten().map(|(other, path)| (other, identity(&path))).collect();
    others.push(("standard input", stream(std::io::stdin())));
    others.push(("standard output", stream(std::io::stdout())));
    others.push(("standard error", stream(std::io::stderr())));
    let root = options.root.as_deref().and_then(place);
    for (option, path) in written.into_iter().flatten() {
        if let Some(root) = &root
            && place(&path).is_some_and(|place| place.starts_with(root))
        {
            return Err(Refusal::InRoot { option, path });
        }
        let Some(identity) = identity(&path) else { continue };
        if let Some(&(other, _)) = others.iter().find(|(_, taken)| taken.as_ref() == Some(&identity)) {
            return Err(Refusal::SameFile { option, other, path });
        }
        others.push((option, Some(identity)));
    }
    Ok(())
}

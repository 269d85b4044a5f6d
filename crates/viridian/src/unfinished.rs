// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file that has another name until it is whole, and is gone if it never becomes whole: by a failure, or by a signal.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, Gid, OFlags, Uid, access, fchown, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// What is to be removed if a signal ends the process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Links that are followed, as the system does.
const MOST_LINKS: usize = 40;

fn lock() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is unfinished, for a process that ends. Nothing new begins while what this gives is held.
pub(crate) fn remove() -> impl Sized {
    let mut unfinished = lock();
    for path in unfinished.drain(..) {
        // There is nobody left to tell.
        let _ = fs::remove_file(path);
    }
    unfinished
}

/// Finds out whether the file could be begun, long before it is.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    check_in_place(path)?;
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Ok(()),
        _ => Ok(access(folder(&follow(path)?), Access::WRITE_OK)?),
    }
}

/// Finds out whether [`open`] could open what the path names, long before it does. Whether somebody reads a pipe shows only then.
pub(crate) fn check_in_place(path: &Path) -> io::Result<()> {
    if let Ok(found) = fs::metadata(path) {
        let refusal = found.is_dir().then_some(Errno::ISDIR);
        return Ok(refusal.map_or_else(|| access(path, Access::WRITE_OK), Err)?);
    }
    let path = follow(path)?;
    if path.file_name().is_none() {
        return Err(Errno::ISDIR.into());
    }
    let folder = folder(&path);
    if !fs::metadata(folder)?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    Ok(access(folder, Access::WRITE_OK)?)
}

/// Opens, or makes, what is written as it is, from its beginning. A pipe that nobody reads is refused: its reader might never come.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut how = File::options();
    how.write(true).create(true).truncate(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = how.open(path).map_err(|error| {
        let is_pipe = || fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) && is_pipe() {
            return io::Error::other("nobody reads this pipe");
        }
        error
    })?;
    // Writing may wait.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Writes a file that is whole or not there; what is there and no file, such as a device, is written to as it is.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return open(path)?.write_all(bytes);
    }
    let unfinished = Unfinished::begin(path)?;
    unfinished.file()?.write_all(bytes)?;
    unfinished.finish()
}

/// Where a file lies.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file in the making. Dropped before [`finish`](Self::finish), it leaves nothing.
pub(crate) struct Unfinished {
    file: NamedTempFile,
    /// The name it is to have.
    path: PathBuf,
    permissions: Permissions,
}

impl Unfinished {
    /// Begins the file that `path` is to name. If that is a link, what it leads to is written. If there is such a file already, it is replaced
    /// when the new one is whole, which gets its permissions and, if the system lets it, its owner.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let path = follow(path)?;
        let folder = folder(&path);
        let existing = fs::metadata(&path).ok();
        // What is there is nobody's to see before it is; a new file has what the user's umask lets through.
        let mode = if existing.is_some() { 0o600 } else { 0o666 };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".viridian-").suffix(".part");
        // Opened here, since errors of tempfile's own opening tell the temporary name, which means nothing to anybody.
        let mut how = File::options();
        how.read(true).write(true).create_new(true).mode(mode);
        if existing.is_some() {
            access(&path, Access::WRITE_OK)?;
        }
        let mut unfinished = lock();
        let file = builder.make_in(folder, |path| how.open(path))?;
        unfinished.push(file.path().into());
        drop(unfinished);
        let permissions = match existing {
            Some(existing) => {
                let owner = (Uid::from_raw(existing.uid()), Gid::from_raw(existing.gid()));
                // Only root may give files away; others keep what they wrote.
                let _ = fchown(&file, Some(owner.0), Some(owner.1));
                Permissions::from_mode(existing.mode() & 0o777)
            }
            None => file.as_file().metadata()?.permissions(),
        };
        Ok(Self { file, path, permissions })
    }

    /// The file to write to.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.as_file().set_permissions(self.permissions)?;
        let mut unfinished = lock();
        let partial = self.file.path().to_owned();
        let named = self.file.persist(self.path);
        unfinished.retain(|path| *path != partial);
        named.map(drop).map_err(|error| error.error)
    }
}

/// What a path names in the end, be it there or not.
pub(crate) fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(Errno::LOOP.into())
}

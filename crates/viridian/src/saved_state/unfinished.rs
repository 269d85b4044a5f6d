// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file that has another name until it is whole, and is gone if it never becomes whole: by a failure, or by a signal.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, Gid, Uid, access, fchown};
use rustix::io::Errno;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::iterator::Signals;
use tempfile::NamedTempFile;

/// What is to be removed if a signal ends the process.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Signals that end a process. SIGXFSZ, which would, is kept from it for every subcommand.
const DEADLY: [i32; 11] =
    [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGXCPU, SIGVTALRM, SIGPROF, SIGIO];
/// Links that are followed, as the system does.
const MOST_LINKS: usize = 40;

fn lock() -> MutexGuard<'static, Option<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file in the making. Dropped before [`finish`](Self::finish), it leaves nothing.
pub(super) struct Unfinished {
    file: NamedTempFile,
    /// The name it is to have.
    path: PathBuf,
    permissions: Permissions,
}

impl Unfinished {
    /// Begins the file that `path` is to name. If that is a link, what it leads to is written. If there is such a file already, it is replaced
    /// when the new one is whole, which gets its permissions and, if the system lets it, its owner.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let path = follow(path)?;
        remove_on_signals()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
        *unfinished = Some(file.path().into());
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
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.as_file().set_permissions(self.permissions)?;
        let mut unfinished = lock();
        let named = self.file.persist(self.path);
        *unfinished = None;
        named.map(drop).map_err(|error| error.error)
    }
}

/// What a path names in the end, be it there or not.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(Errno::LOOP.into())
}

/// From now on signals that end the process remove what is unfinished first. Those that whoever started it wants to be ignored (as `nohup`
/// does) are.
fn remove_on_signals() -> io::Result<()> {
    static WATCHED: Mutex<bool> = Mutex::new(false);
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*watched {
        let ignored = ignored_signals();
        let signals = Signals::new(DEADLY.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
        std::thread::Builder::new().name("signals".into()).spawn(move || watch(signals))?;
        *watched = true;
    }
    Ok(())
}

fn watch(mut signals: Signals) {
    for signal in signals.forever() {
        // Held to the end: nothing new begins.
        let unfinished = lock();
        if let Some(path) = &*unfinished {
            // There is nobody left to tell.
            let _ = fs::remove_file(path);
        }
        // Ends the process. It fails only for signals that do not exist.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}

/// Signals that the process was started with as ignored, bit n - 1 for signal n.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

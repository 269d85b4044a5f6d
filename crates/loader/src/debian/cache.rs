// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cache on disk, per suite and flavour:
//!
//! ```text
//! debian/bookworm-cloud-amd64/lock              held by the process that fetches
//! debian/bookworm-cloud-amd64/work/             its scratch folder; left over only by a killed process
//! debian/bookworm-cloud-amd64/KERNEL_BUSYBOX/   one folder for each pair of package versions
//! debian/bookworm-cloud-amd64/current           the name of the one in use
//! ```
//!
//! A folder appears whole, by a rename, and is never changed afterwards; so is `current`. Readers need no lock.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::error::at;
use super::{DebianKernel, FetchError, Options};

/// Names of the files in an entry.
pub(super) const KERNEL: &str = "vmlinuz";
pub(super) const BUSYBOX: &str = "busybox";
const MANIFEST: &str = "manifest";

/// An unpacked kernel that is not in the cache yet.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its files are.
    pub(super) folder: PathBuf,
    /// The kernel package's version.
    pub(super) version: String,
    /// The modules' file names in their order of loading.
    pub(super) modules: Vec<String>,
}

/// The cache of one suite and flavour.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// The right to change a cache.
#[derive(Debug)]
pub(super) struct Lock<'a> {
    cache: &'a Cache,
    /// Unlocked when it is closed.
    _file: File,
}

/// The name of the entry made of these two packages.
pub(super) fn name(kernel_version: &str, busybox_version: &str) -> String {
    // Versions hold no slash by Debian's rules; the archive is trusted, but a path is not made of trust.
    format!("{kernel_version}_{busybox_version}").replace('/', "_")
}

impl Cache {
    pub(super) fn new(options: &Options) -> Self {
        let name = format!("{}-{}", options.suite.name(), options.flavour.name());
        Self { folder: options.cache_dir.join("debian").join(name) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The entry in use, if there is a whole one.
    pub(super) fn current(&self) -> Option<DebianKernel> {
        let name = fs::read_to_string(self.folder.join("current")).ok()?;
        self.entry(name.trim_end())
    }

    /// The entry called `name`, if all its files are there with the sizes they were written with.
    pub(super) fn entry(&self, name: &str) -> Option<DebianKernel> {
        let folder = self.path(name);
        let manifest = fs::read_to_string(folder.join(MANIFEST)).ok()?;
        let mut lines = manifest.lines();
        let version = lines.next()?.to_owned();
        let mut files = Vec::new();
        for line in lines {
            let (size, name) = line.split_once(' ')?;
            let path = folder.join(name);
            if fs::metadata(&path).ok()?.len() != size.parse().ok()? {
                return None;
            }
            files.push(path);
        }
        let modules = files.split_off(files.len().min(2));
        let [kernel, busybox] = files.try_into().ok()?;
        Some(DebianKernel { version, kernel, modules, busybox })
    }

    /// Waits for the lock.
    pub(super) fn lock(&self) -> Result<Lock<'_>, FetchError> {
        fs::create_dir_all(&self.folder).map_err(at("create", &self.folder))?;
        let path = self.folder.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at("open", &path))?;
        file.lock().map_err(at("lock", &path))?;
        Ok(Lock { cache: self, _file: file })
    }
}

impl Lock<'_> {
    /// A fresh, empty folder for scratch files.
    pub(super) fn work_folder(&self) -> Result<Work, FetchError> {
        let path = self.cache.folder.join("work");
        let work = Work { path };
        work.remove().map_err(at("clear", &work.path))?;
        fs::create_dir(&work.path).map_err(at("create", &work.path))?;
        Ok(work)
    }

    /// Makes `entry` part of the cache under `name`, and the one in use.
    pub(super) fn publish(&self, name: &str, entry: &Entry) -> Result<(), FetchError> {
        let mut manifest = format!("{}\n", entry.version);
        for file in [KERNEL, BUSYBOX].into_iter().chain(entry.modules.iter().map(String::as_str)) {
            let path = entry.folder.join(file);
            let file_on_disk = File::open(&path).map_err(at("open", &path))?;
            // On disk before the rename says so: a crash of the host must not leave a folder of empty files.
            file_on_disk.sync_all().map_err(at("write", &path))?;
            let size = file_on_disk.metadata().map_err(at("look at", &path))?.len();
            manifest.push_str(&format!("{size} {file}\n"));
        }
        let path = entry.folder.join(MANIFEST);
        fs::write(&path, manifest).map_err(at("write", &path))?;
        let target = self.cache.path(name);
        // What is there under this name was not whole, else it would have been used.
        match fs::remove_dir_all(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(at("clear", &target)(error));
            }
            _ => {}
        }
        fs::rename(&entry.folder, &target).map_err(at("write", &target))?;
        self.make_current(name)
    }

    /// Makes the entry called `name` the one in use.
    pub(super) fn make_current(&self, name: &str) -> Result<(), FetchError> {
        let new = self.cache.folder.join("current.new");
        let current = self.cache.folder.join("current");
        fs::write(&new, name).map_err(at("write", &new))?;
        fs::rename(&new, &current).map_err(at("write", &current))
    }
}

/// A scratch folder that goes away with its owner.
#[derive(Debug)]
pub(super) struct Work {
    path: PathBuf,
}

impl Work {
    fn remove(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl std::ops::Deref for Work {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // If it stays, the next fetch clears it.
        let _ = self.remove();
    }
}

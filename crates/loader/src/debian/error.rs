// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a fetch failed.

use std::path::{Path, PathBuf};

use super::PackageError;

/// Why no kernel could be fetched. Each message is one sentence that says what can be done.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no apt on this machine.
    #[error(
        "Debian's kernel is fetched and verified by apt, and {program} is not on this machine; name a kernel file \
         with --kernel instead"
    )]
    NoApt {
        /// The program that was not found.
        program: &'static str,
    },
    /// There are no keys to verify the archive with.
    #[error(
        "the keys of the Debian archive are not at {path} (the package debian-archive-keyring has them), so that \
         Debian's kernel could not be verified; name a kernel file with --kernel instead"
    )]
    NoKeyring {
        /// Where they were expected.
        path: PathBuf,
    },
    /// The environment does not say where caches are kept.
    #[error(
        "neither XDG_CACHE_HOME nor HOME is an absolute path, so there is no place to keep Debian's kernel in"
    )]
    NoCacheDir,
    /// A mirror or keyring that cannot stand in an apt source list.
    #[error(
        "{value:?} cannot be used as a {what}: it must not be empty or hold spaces, brackets or control characters"
    )]
    BadOption {
        /// Which option it is.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// The archive or a package is not what Debian signed. Nothing of it is used.
    #[error("what the mirror {mirror} sent could not be verified and was refused: {reason}")]
    Unverified {
        /// The mirror's URL.
        mirror: String,
        /// What apt said.
        reason: String,
    },
    /// apt failed in another way, mostly because it could not reach the archive.
    #[error("apt could not {step} from the mirror {mirror}: {reason}")]
    Apt {
        /// What it was to do.
        step: &'static str,
        /// The mirror's URL.
        mirror: String,
        /// What apt said.
        reason: String,
    },
    /// A package file is not what it should be.
    #[error("what the package {name} brought is not as expected: {source}")]
    Package {
        /// The package's name.
        name: String,
        /// What is wrong with it.
        source: PackageError,
    },
    /// The cache lost files under our hands.
    #[error("the cached files in {path} were changed while they were being written; run again")]
    Damaged {
        /// The cache's folder.
        path: PathBuf,
    },
    /// A file operation of the host failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
}

impl FetchError {
    /// Whether this machine lacks apt or Debian's keys: then only a kernel that the user names can be booted.
    pub fn is_unsupported_host(&self) -> bool {
        matches!(self, Self::NoApt { .. } | Self::NoKeyring { .. })
    }
}

/// Makes the error of a failed file operation.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Io { action, path, source }
}

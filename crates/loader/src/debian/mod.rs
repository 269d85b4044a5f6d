// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stock kernel of Debian, fetched from the Debian archive by an ordinary user.
//!
//! [`fetch`] lets apt do the fetching and the verifying, but an apt of its own: lists, state, source list and
//! configuration lie in our cache folder, the system's sources are not read, and Debian's archive keyring is the
//! only one trusted. Of the system's apt configuration only the transport settings count (proxies, address
//! families, retries) and the policy on how old an archive's index may be.
//!
//! From the packages, three kinds of file are kept, under a folder named by the packages' versions: the kernel,
//! its module for Hyper-V (with the modules that this one needs) and busybox. Once they are there, later runs use
//! them at once and without a network, until [`Options::refresh`] asks for newer ones.

mod apt;
mod cache;
mod error;
mod guest;
mod package;
mod progress;

use std::fs;
use std::path::{Path, PathBuf};

pub use error::FetchError;
pub use guest::{Mode, SHELL_IS_UP, initramfs};
pub use package::PackageError;
pub use progress::{Progress, Silent, Terminal};

use apt::{Apt, Candidate, KernelPackages};
use cache::{Cache, Entry};
use error::at;

/// Debian's own mirror network, used when nothing else is named.
pub const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
/// The environment variable that names another mirror.
pub const MIRROR_VARIABLE: &str = "OPENVIRIDIAN_DEBIAN_MIRROR";
/// Where the package `debian-archive-keyring` puts the keys of the Debian archive.
pub const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A release of Debian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suite {
    /// Debian 12: Linux 6.1.
    #[default]
    Bookworm,
    /// Debian 13: Linux 6.12.
    Trixie,
    /// Debian unstable: the newest Linux that Debian has, without a security archive of its own.
    Sid,
}

impl Suite {
    /// The suite's name in the archive.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// Which build of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// `cloud-amd64`: for virtual machines, with few drivers.
    #[default]
    Cloud,
    /// `amd64`: for any machine.
    Generic,
}

impl Flavour {
    /// The flavour's name at the end of the kernel packages' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud-amd64",
            Self::Generic => "amd64",
        }
    }
}

/// What to fetch, from where, and where to keep it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The release of Debian.
    pub suite: Suite,
    /// The build of its kernel.
    pub flavour: Flavour,
    /// The folder under which everything is kept; made if absent.
    pub cache_dir: PathBuf,
    /// URL of the main archive. The security archive is expected beside it, under the same URL with `-security`
    /// at its end, as [`DEFAULT_MIRROR`] has it.
    pub mirror: String,
    /// The keys that an archive must be signed with, [`ARCHIVE_KEYRING`] except in tests.
    pub keyring: PathBuf,
    /// Ask the archive for newer packages although some are in the cache.
    pub refresh: bool,
}

impl Options {
    /// Debian 12's cloud kernel, kept in `cache_dir`, from the default mirror.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            suite: Suite::default(),
            flavour: Flavour::default(),
            cache_dir: cache_dir.into(),
            mirror: DEFAULT_MIRROR.to_owned(),
            keyring: ARCHIVE_KEYRING.into(),
            refresh: false,
        }
    }

    /// As [`Options::new`], with the cache where the user's environment wants caches (`$XDG_CACHE_HOME`, else
    /// `~/.cache`) and the mirror that [`MIRROR_VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// [`FetchError::NoCacheDir`] if neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
    pub fn from_environment() -> Result<Self, FetchError> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
        let mut options = Self::new(caches.ok_or(FetchError::NoCacheDir)?.join("openviridian"));
        if let Ok(mirror) = std::env::var(MIRROR_VARIABLE)
            && !mirror.is_empty()
        {
            options.mirror = mirror;
        }
        Ok(options)
    }
}

/// A kernel of Debian and what its guest's user space is made of, as files of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianKernel {
    /// Version of the kernel's package, such as `6.1.140-1`.
    pub version: String,
    /// The kernel itself, a bzImage.
    pub kernel: PathBuf,
    /// The modules for Hyper-V, uncompressed, in the order in which they must be loaded; none if built in.
    pub modules: Vec<PathBuf>,
    /// A statically linked busybox.
    pub busybox: PathBuf,
}

/// Gives the kernel that `options` describe: from the cache, else from the archive.
///
/// Several processes may do this at once: one fetches, the others wait for it and then find the result.
///
/// # Errors
/// A [`FetchError`]; see [`FetchError::is_unsupported_host`] for those that no retry will mend.
pub fn fetch(options: &Options, progress: &dyn Progress) -> Result<DebianKernel, FetchError> {
    let cache = Cache::new(options);
    if !options.refresh
        && let Some(kernel) = cache.current()
    {
        return Ok(kernel);
    }
    let lock = cache.lock()?;
    // Another process may have fetched it while this one waited.
    if !options.refresh
        && let Some(kernel) = cache.current()
    {
        return Ok(kernel);
    }
    let work = lock.work_folder()?;
    let apt = Apt::new(options, &work)?;
    progress.begin(&format!("Reading the package lists of Debian {}", options.suite.name()), None);
    let updated = apt.update(progress);
    progress.end();
    updated?;

    let wanted = Wanted { kernel: apt.kernel()?, busybox: apt.candidate("busybox-static")? };
    let name = cache::name(&wanted.kernel.image.version, &wanted.busybox.version);
    if let Some(found) = cache.entry(&name) {
        lock.make_current(&name)?;
        return Ok(found);
    }
    let packages = work.join("packages");
    download(&apt, &wanted, &packages, progress)?;
    let entry = unpack(&apt, &wanted, &packages, &work.join("entry"))?;
    lock.publish(&name, &entry)?;
    cache.entry(&name).ok_or_else(|| FetchError::Damaged { path: cache.path(&name) })
}

/// The packages that are downloaded together.
struct Wanted {
    kernel: KernelPackages,
    busybox: Candidate,
}

fn download(
    apt: &Apt<'_>,
    wanted: &Wanted,
    packages: &Path,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    fs::create_dir(packages).map_err(at("create", packages))?;
    let all: Vec<&Candidate> = wanted.kernel.all().chain([&wanted.busybox]).collect();
    let bytes = apt.download_size(&all, packages)?;
    progress.say(&format!(
        "Downloading {} {} and busybox-static {} of Debian {} ({:.1} MB) from {}; kept in {}.",
        wanted.kernel.image.name,
        wanted.kernel.image.version,
        wanted.busybox.version,
        apt.options().suite.name(),
        bytes as f64 / 1e6,
        apt.options().mirror,
        apt.options().cache_dir.display(),
    ));
    progress.begin("Downloading", Some(bytes));
    let downloaded = apt.download(&all, packages, progress);
    progress.end();
    downloaded
}

/// Takes what is kept out of the packages into the new folder `folder`.
fn unpack(apt: &Apt<'_>, wanted: &Wanted, packages: &Path, folder: &Path) -> Result<Entry, FetchError> {
    fs::create_dir(folder).map_err(at("create", folder))?;
    let bad = |package: &Candidate| {
        let name = package.name.clone();
        move |source| FetchError::Package { name, source }
    };
    let files: Result<Vec<_>, _> =
        wanted.kernel.all().map(|package| apt.package_file(package, packages)).collect();
    let modules = package::extract_kernel(&files?, folder).map_err(bad(&wanted.kernel.image))?;
    let file = apt.package_file(&wanted.busybox, packages)?;
    package::extract_busybox(&file, folder).map_err(bad(&wanted.busybox))?;
    Ok(Entry { folder: folder.to_owned(), version: wanted.kernel.image.version.clone(), modules })
}

#[cfg(test)]
mod tests;

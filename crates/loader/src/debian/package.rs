// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking files out of Debian packages (deb(5)): an `ar` archive whose member `data.tar.xz` is the file tree.
//!
//! The packages have been verified before. Even so, sizes are bounded and only files whose names are asked for
//! are written, under names of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lzma_rust2::XzReader;

use super::cache::{BUSYBOX, KERNEL};
use crate::elf::Elf;

/// The module that connects Linux with Hyper-V's VMBus.
const WANTED_MODULE: &str = "hv_vmbus";
/// No file that is taken from a package is larger.
const FILE_LIMIT: u64 = 256 << 20;
/// Bound on the memory of the xz decoder; Debian's packages ask for up to 64 MiB.
const XZ_MEMORY_KIB: u32 = 256 << 10;

/// What is wrong with a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The package is not an `ar` archive, or is cut short.
    #[error("it is not a Debian package, or is cut short")]
    NotAPackage,
    /// The file tree is compressed in a way that Debian does not use for its own packages.
    #[error("its files are stored as {name}, and only data.tar and data.tar.xz are understood")]
    UnknownCompression {
        /// Name of the member.
        name: String,
    },
    /// A file that the package should have is not in it.
    #[error("it holds no {what}")]
    Missing {
        /// The file.
        what: String,
    },
    /// A file is larger than any that was expected.
    #[error("its file {name} is larger than {} MiB", FILE_LIMIT >> 20)]
    TooLarge {
        /// Path in the package.
        name: String,
    },
    /// The package could not be read or unpacked, or its files not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Takes kernel and modules out of a kernel's packages into `folder`; gives the modules' file names in the order in
/// which they must be loaded.
pub(super) fn extract_kernel(packages: &[PathBuf], folder: &Path) -> Result<Vec<String>, PackageError> {
    let mut kernel = false;
    let mut built_in = false;
    let mut modules = BTreeMap::new();
    let mut wanted = BTreeSet::from([WANTED_MODULE.to_owned()]);
    // The files come in the archive's order, so that a module may come before the one that needs it: then it is
    // found in another round. Debian's hv_vmbus needs none.
    loop {
        let mut visit = |path: &str, content: Content<'_>| {
            let name = path.rsplit('/').next().unwrap_or(path);
            if !kernel && is_kernel(path) {
                fs::write(folder.join(KERNEL), content.whole(path)?)?;
                kernel = true;
            } else if name == "modules.builtin" {
                let list = String::from_utf8_lossy(&content.whole(path)?).into_owned();
                built_in = list.lines().any(|line| module_name(line).as_deref() == Some(WANTED_MODULE));
            } else if let Some(module) = module_name(path).filter(|module| wanted.contains(module)) {
                let mut bytes = content.whole(path)?;
                if name.ends_with(".xz") {
                    bytes = Content(&mut unxz(&bytes[..])).whole(path)?;
                }
                modules.insert(module, bytes);
            }
            Ok(())
        };
        for package in packages {
            each_file(package, &mut visit)?;
        }
        let needed: BTreeSet<String> = modules.values().flat_map(|bytes| dependencies(bytes)).collect();
        if needed.is_subset(&wanted) {
            break;
        }
        wanted.extend(needed);
    }
    if !kernel {
        return Err(PackageError::Missing { what: "kernel".to_owned() });
    }
    if built_in && modules.is_empty() {
        return Ok(Vec::new());
    }
    let order = load_order(&modules, &wanted)?;
    for name in &order {
        fs::write(folder.join(format!("{name}.ko")), &modules[name])?;
    }
    Ok(order.into_iter().map(|name| format!("{name}.ko")).collect())
}

/// Takes busybox out of its package into `folder`.
pub(super) fn extract_busybox(package: &Path, folder: &Path) -> Result<(), PackageError> {
    let mut found = false;
    each_file(package, &mut |path, content| {
        if path == "bin/busybox" || path == "usr/bin/busybox" {
            fs::write(folder.join(BUSYBOX), content.whole(path)?)?;
            found = true;
        }
        Ok(())
    })?;
    if found { Ok(()) } else { Err(PackageError::Missing { what: "bin/busybox".to_owned() }) }
}

/// The modules with what they need first.
fn load_order(
    modules: &BTreeMap<String, Vec<u8>>,
    wanted: &BTreeSet<String>,
) -> Result<Vec<String>, PackageError> {
    if let Some(missing) = wanted.iter().find(|name| !modules.contains_key(*name)) {
        return Err(PackageError::Missing { what: format!("module {missing}") });
    }
    let mut order: Vec<String> = Vec::new();
    while order.len() < modules.len() {
        let ready = modules.iter().find(|(name, bytes)| {
            !order.contains(name) && dependencies(bytes).iter().all(|needed| order.contains(needed))
        });
        match ready {
            Some((name, _)) => order.push(name.clone()),
            None => {
                return Err(PackageError::Missing {
                    what: "order in which its modules can be loaded".to_owned(),
                });
            }
        }
    }
    Ok(order)
}

/// The names of the modules that the module `bytes` says it needs.
fn dependencies(bytes: &[u8]) -> Vec<String> {
    let information = Elf::parse(bytes).ok().and_then(|elf| elf.section(".modinfo")).unwrap_or_default();
    let depends = information.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(depends.unwrap_or_default());
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Whether the file at `path` is the kernel: `boot/vmlinuz-RELEASE` up to Linux 6.12, later
/// `usr/lib/modules/RELEASE/vmlinuz`.
fn is_kernel(path: &str) -> bool {
    path.starts_with("boot/vmlinuz-") || path.starts_with("usr/lib/modules/") && path.ends_with("/vmlinuz")
}

/// The name of the module in the file at `path`, if it is one.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let name = file.strip_suffix(".ko").or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(name.replace('-', "_"))
}

/// A file's content, not read yet.
struct Content<'a>(&'a mut dyn Read);

impl Content<'_> {
    fn whole(self, name: &str) -> Result<Vec<u8>, PackageError> {
        let mut bytes = Vec::new();
        self.0.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(PackageError::TooLarge { name: name.to_owned() });
        }
        Ok(bytes)
    }
}

/// Calls `visit` with path (without a leading `./`) and content of each regular file of a package.
fn each_file(
    package: &Path,
    visit: &mut dyn FnMut(&str, Content<'_>) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let mut file = BufReader::new(File::open(package)?);
    let (name, size) = find_data(&mut file)?;
    let member = file.take(size);
    let tree: Box<dyn Read> = match name.as_str() {
        "data.tar" => Box::new(member),
        "data.tar.xz" => Box::new(unxz(member)),
        _ => return Err(PackageError::UnknownCompression { name }),
    };
    let mut tree = tar::Archive::new(tree);
    for entry in tree.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            visit(path.trim_start_matches("./"), Content(&mut entry))?;
        }
    }
    // The check sums come after the last member.
    io::copy(&mut tree.into_inner(), &mut io::sink())?;
    Ok(())
}

fn unxz<R: Read>(compressed: R) -> XzReader<R> {
    XzReader::new_mem_limit(compressed, true, XZ_MEMORY_KIB)
}

/// Moves to the content of the `ar` member with the file tree; gives its name and size.
fn find_data(file: &mut (impl Read + Seek)) -> Result<(String, u64), PackageError> {
    const HEADER: usize = 60;
    let mut magic = [0; 8];
    exactly(file, &mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(PackageError::NotAPackage);
    }
    loop {
        // name (16 bytes), time (12), owner (6), group (6), mode (8), size (10, decimal), "`\n"
        let mut header = [0; HEADER];
        exactly(file, &mut header)?;
        let text = str::from_utf8(&header).map_err(|_| PackageError::NotAPackage)?;
        let name = text.get(..16).ok_or(PackageError::NotAPackage)?.trim_end().trim_end_matches('/');
        let size = text.get(48..58).and_then(|size| size.trim_end().parse::<u64>().ok());
        let size = size.filter(|_| text.ends_with("`\n")).ok_or(PackageError::NotAPackage)?;
        if name.starts_with("data.tar") {
            return Ok((name.to_owned(), size));
        }
        // Members start at even offsets. Ten digits fit an i64.
        file.seek(SeekFrom::Current((size + size % 2) as i64))?;
    }
}

fn exactly(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), PackageError> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => PackageError::NotAPackage,
        _ => error.into(),
    })
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Initial RAM file systems, built without root and without tools: a [`Builder`] collects directories, files,
//! symbolic links and device nodes and writes them as one uncompressed archive. [`crate::debian::initramfs`]
//! makes the one that `viridian run debian` boots.
//!
//! The archive is left uncompressed: it never leaves this host, and a guest on the software processor would
//! spend more time unpacking it than the host spends copying it.

mod cpio;
mod tree;

use std::collections::BTreeMap;

use cpio::{FileType, Member};

/// Why a file system could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A member's path is empty, absolute, climbs with `..`, holds a NUL or is longer than Linux accepts.
    #[error(
        "{path:?} cannot be a path in an initramfs: it must be relative, without `..`, and under 4096 bytes"
    )]
    BadPath {
        /// The path as it was given.
        path: String,
    },
    /// A member lies below one that is no directory.
    #[error("{path:?} cannot be packed into the initramfs, since {parent:?} is not a directory there")]
    NotADirectory {
        /// The path as it was given.
        path: String,
        /// The part of it that is something else.
        parent: String,
    },
    /// A file is larger than a cpio member can be.
    #[error("{path} has {size} bytes, and a file in an initramfs must be smaller than 4 GiB")]
    TooLarge {
        /// Path of the file.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A file of the host could not be read.
    #[error("cannot read {path} to pack it into the initramfs: {source}")]
    Read {
        /// Path on the host.
        path: String,
        /// What the host said.
        source: std::io::Error,
    },
    /// The host's folder holds a file whose name is not UTF-8.
    #[error("the file name {name:?} is not valid UTF-8 and cannot be packed into the initramfs")]
    ForeignName {
        /// The name, with replacement characters.
        name: String,
    },
}

/// What a path stands for.
#[derive(Clone, Debug)]
enum Node {
    Directory { permissions: u32 },
    File { permissions: u32, content: Vec<u8> },
    Symlink { target: String },
    CharacterDevice { permissions: u32, major: u32, minor: u32 },
}

/// Collects the members of an initramfs. The same members give the same bytes, in whatever order they were
/// added: members are written in path order, and times and owners are zero.
///
/// ```
/// let mut root = loader::initramfs::Builder::new();
/// root.file("etc/motd", 0o644, b"welcome\n".to_vec())?;
/// root.symlink("etc/issue", "motd")?;
/// let archive = root.finish();
/// assert!(archive.starts_with(b"070701"));
/// # Ok::<(), loader::initramfs::BuildError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    nodes: BTreeMap<String, Node>,
}

impl Builder {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory with `permissions` (0 to 0o7777). Parent directories appear by themselves, with 0o755.
    ///
    /// # Errors
    /// [`BuildError::BadPath`]; so for every method that takes a path.
    pub fn directory(&mut self, path: &str, permissions: u32) -> Result<&mut Self, BuildError> {
        self.insert(path, Node::Directory { permissions: permissions & 0o7777 })
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// [`BuildError::BadPath`], or [`BuildError::TooLarge`] from 4 GiB on.
    pub fn file(&mut self, path: &str, permissions: u32, content: Vec<u8>) -> Result<&mut Self, BuildError> {
        if u32::try_from(content.len()).is_err() {
            return Err(BuildError::TooLarge { path: path.to_owned(), size: content.len() as u64 });
        }
        self.insert(path, Node::File { permissions: permissions & 0o7777, content })
    }

    /// Adds a symbolic link to `target`, which is stored as it is.
    ///
    /// # Errors
    /// [`BuildError::BadPath`], also for a target that is empty, holds a NUL or is too long.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self, BuildError> {
        if target.is_empty() || target.len() >= PATH_MAX || target.contains('\0') {
            return Err(BuildError::BadPath { path: target.to_owned() });
        }
        self.insert(path, Node::Symlink { target: target.to_owned() })
    }

    /// Adds a character device node.
    ///
    /// # Errors
    /// [`BuildError::BadPath`].
    pub fn character_device(
        &mut self,
        path: &str,
        permissions: u32,
        (major, minor): (u32, u32),
    ) -> Result<&mut Self, BuildError> {
        self.insert(path, Node::CharacterDevice { permissions: permissions & 0o7777, major, minor })
    }

    /// The finished archive.
    pub fn finish(&self) -> Vec<u8> {
        let content: usize =
            self.nodes.iter().map(|(path, node)| node.content().len() + path.len() + 128).sum();
        let mut archive = Vec::with_capacity(content);
        // A path sorts after its parents, so that the kernel finds each directory made before what it holds.
        for (inode, (path, node)) in (1..).zip(&self.nodes) {
            cpio::append(&mut archive, inode, node.member(path), node.content());
        }
        cpio::finish(&mut archive);
        archive
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<&mut Self, BuildError> {
        let proper = |part: &str| !part.is_empty() && part != "." && part != "..";
        if path.len() >= PATH_MAX || path.contains('\0') || !path.split('/').all(proper) {
            return Err(BuildError::BadPath { path: path.to_owned() });
        }
        for (slash, _) in path.match_indices('/') {
            let parent = path[..slash].to_owned();
            match self.nodes.entry(parent).or_insert(Node::Directory { permissions: 0o755 }) {
                Node::Directory { .. } => {}
                _ => {
                    return Err(BuildError::NotADirectory {
                        path: path.to_owned(),
                        parent: path[..slash].to_owned(),
                    });
                }
            }
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(self)
    }
}

/// Linux's bound on a path, its NUL included, and so on a member's name.
const PATH_MAX: usize = 4096;

impl Node {
    fn member<'a>(&self, name: &'a str) -> Member<'a> {
        let (file_type, permissions, device) = match *self {
            Self::Directory { permissions } => (FileType::Directory, permissions, (0, 0)),
            Self::File { permissions, .. } => (FileType::Regular, permissions, (0, 0)),
            Self::Symlink { .. } => (FileType::Symlink, 0o777, (0, 0)),
            Self::CharacterDevice { permissions, major, minor } => {
                (FileType::CharacterDevice, permissions, (major, minor))
            }
        };
        Member { name, file_type, permissions, device }
    }

    fn content(&self) -> &[u8] {
        match self {
            Self::File { content, .. } => content,
            Self::Symlink { target } => target.as_bytes(),
            Self::Directory { .. } | Self::CharacterDevice { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests;

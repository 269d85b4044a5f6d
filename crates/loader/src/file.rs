// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading the files that a user names.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// No file that is loaded into a guest is larger: boot protocols count in 32 bits.
const LIMIT: u64 = 4 << 30;

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The host refuses.
    #[error("cannot read the {what} {path}: {source}")]
    Host {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// A folder, a device or a pipe.
    #[error("cannot use {path} as the {what}: it is not a regular file")]
    NotAFile {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// Too large to be loaded by any protocol.
    #[error("cannot use {path} as the {what}: it has {size} bytes, and at most 4 GiB can be loaded")]
    TooLarge {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
}

/// Reads the whole file at `path`, which is `what` ("kernel", "initrd", "module") to the guest.
///
/// # Errors
/// A [`ReadError`], one sentence that names the file and its purpose.
pub fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, ReadError> {
    let host = |source| ReadError::Host { what, path: path.to_owned(), source };
    // Looked at before it is opened, since opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(host)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile { what, path: path.to_owned() });
    }
    if metadata.len() > LIMIT {
        return Err(ReadError::TooLarge { what, path: path.to_owned(), size: metadata.len() });
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path).map_err(host)?.take(LIMIT).read_to_end(&mut bytes).map_err(host)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_readable_file_is_refused_in_one_sentence() {
        let sentence = |path: &str| read_file("kernel", Path::new(path)).expect_err(path).to_string();
        assert!(sentence("/no/such/file").starts_with("cannot read the kernel /no/such/file: "));
        assert_eq!(sentence("/dev/zero"), "cannot use /dev/zero as the kernel: it is not a regular file");
        assert_eq!(sentence("/"), "cannot use / as the kernel: it is not a regular file");
    }
}

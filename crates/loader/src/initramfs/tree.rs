// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packing a folder of the host.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::{BuildError, Builder};

impl Builder {
    /// Adds everything under the host's folder `root`, with its permissions and symbolic links as they are;
    /// owners become root and times zero. Device nodes keep their numbers if they are character devices;
    /// sockets, pipes and block devices have no use in a fresh guest and are left out.
    ///
    /// # Errors
    /// [`BuildError::Read`] for the first file that cannot be read, and the errors of [`Builder::file`].
    pub fn tree(&mut self, root: &Path) -> Result<&mut Self, BuildError> {
        self.folder(root, "")?;
        Ok(self)
    }

    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<(), BuildError> {
        for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
            let entry = entry.map_err(|source| unreadable(folder, source))?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| BuildError::ForeignName { name: name.to_string_lossy().into_owned() })?;
            self.entry(&entry.path(), &format!("{prefix}{name}"))?;
        }
        Ok(())
    }

    fn entry(&mut self, host: &Path, path: &str) -> Result<(), BuildError> {
        // `symlink_metadata` and no following: a link is packed as a link and cannot lead out of the folder.
        let metadata = fs::symlink_metadata(host).map_err(|source| unreadable(host, source))?;
        let permissions = metadata.permissions().mode();
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.directory(path, permissions)?;
            self.folder(host, &format!("{path}/"))?;
        } else if kind.is_symlink() {
            let target = fs::read_link(host).map_err(|source| unreadable(host, source))?;
            let target = target
                .into_os_string()
                .into_string()
                .map_err(|name| BuildError::ForeignName { name: name.to_string_lossy().into_owned() })?;
            self.symlink(path, &target)?;
        } else if kind.is_file() {
            if u32::try_from(metadata.len()).is_err() {
                return Err(BuildError::TooLarge { path: host.display().to_string(), size: metadata.len() });
            }
            self.file(path, permissions, fs::read(host).map_err(|source| unreadable(host, source))?)?;
        } else if kind.is_char_device() {
            self.character_device(path, permissions, device_numbers(metadata.rdev()))?;
        }
        Ok(())
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> BuildError {
    BuildError::Read { path: path.display().to_string(), source }
}

/// Splits the C library's `dev_t` into major and minor number (glibc and musl on Linux lay it out alike).
fn device_numbers(device: u64) -> (u32, u32) {
    let major = (device >> 8) & 0xFFF | (device >> 32) & 0xFFFF_F000;
    let minor = device & 0xFF | (device >> 12) & 0xFFFF_FF00;
    (major as u32, minor as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_split_as_the_c_library_splits_them() {
        let metadata = fs::metadata("/dev/null").expect("every Linux has /dev/null");
        assert_eq!(device_numbers(metadata.rdev()), (1, 3));
        assert_eq!(device_numbers(0xABCD_E012_3456_7F89), (0xABCD_E67F, 0x0123_4589));
    }
}

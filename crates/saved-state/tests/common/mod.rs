// SPDX-License-Identifier: MIT OR Apache-2.0
//! Genuine saved states, which the public crate `vmsavedstatedump_rs` has among its tests.

use std::path::PathBuf;

use cargo_metadata::MetadataCommand;

/// The folder of the genuine files, or `None` after a line that says why they are not here.
pub(crate) fn genuine() -> Option<PathBuf> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let metadata = match MetadataCommand::new().manifest_path(manifest).exec() {
        Ok(metadata) => metadata,
        Err(error) => {
            println!("SKIPPED: cargo metadata cannot tell where the genuine files are: {error}");
            return None;
        }
    };
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "vmsavedstatedump_rs");
    let folder =
        package.and_then(|package| Some(package.manifest_path.parent()?.join("tests").into_std_path_buf()));
    let folder = folder.filter(|folder| folder.join("test_file.VMRS").is_file());
    if folder.is_none() {
        println!("SKIPPED: the crate vmsavedstatedump_rs with the genuine files was not fetched");
    }
    folder
}

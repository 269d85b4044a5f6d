// SPDX-License-Identifier: MIT OR Apache-2.0
//! Genuine saved states, which the public crate `vmsavedstatedump_rs` has among its tests.

use std::io::Write;
use std::path::PathBuf;

use cargo_metadata::MetadataCommand;

/// Says why something was not tested. Not by `println`: that is not shown for tests that pass.
fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// The folder of the genuine files, or `None` after a line that says why they are not here.
pub(crate) fn genuine() -> Option<PathBuf> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let metadata = match MetadataCommand::new().manifest_path(manifest).exec() {
        Ok(metadata) => metadata,
        Err(error) => {
            skipped(&format!("cargo metadata cannot tell where the genuine files are: {error}"));
            return None;
        }
    };
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "vmsavedstatedump_rs");
    let folder =
        package.and_then(|package| Some(package.manifest_path.parent()?.join("tests").into_std_path_buf()));
    let folder = folder.filter(|folder| folder.join("test_file.VMRS").is_file());
    if folder.is_none() {
        skipped("the crate vmsavedstatedump_rs with the genuine files was not fetched");
    }
    folder
}

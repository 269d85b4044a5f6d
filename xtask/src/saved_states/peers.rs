// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other people's tools read the same files: they come from the Python registry into a place of their own under `target`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use saved_state::Register;
use saved_state::write::{Machine, NewValue, Options, vmrs};
use serde_json::Value;

use super::{Outcome, cargo, output};

const DISSECT: &str = include_str!("dissect.py");

/// The folder of the programs of a Python environment with the peers in it, or why there is none.
fn environment(repository: &Path) -> Result<PathBuf, String> {
    let folder = repository.join("target/long/peers");
    let programs = folder.join("bin");
    if !programs.join("vol").is_file() {
        output(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut install = Command::new(programs.join("pip"));
        output(install.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "dissect.hypervisor",
            "volatility3",
        ]))?;
    }
    Ok(programs)
}

/// Builds the command and gives its path.
fn viridian(repository: &Path) -> Result<PathBuf, String> {
    output(cargo(repository).args(["build", "--quiet", "-p", "openviridian"]))?;
    Ok(crate::machine::target(repository).join("debug/viridian"))
}

/// The folder of genuine files, if they are there.
fn genuine(repository: &Path) -> Result<Option<PathBuf>, String> {
    let metadata = output(cargo(repository).args(["metadata", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let package = packages.iter().find(|package| package["name"] == "vmsavedstatedump_rs");
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).map(Path::new);
    Ok(manifest.and_then(Path::parent).map(|folder| folder.join("tests")).filter(|folder| folder.is_dir()))
}

/// A Linux banner on both sides of a gap, and where they are.
fn bannered() -> (Machine, [u64; 2]) {
    const GPAS: [u64; 2] = [0x12_3450, 0x1_0004_5670];
    let mut machine = Machine::default();
    for (gpa, base) in GPAS.into_iter().zip([0, 1 << 32]) {
        let mut memory = vec![0; 4 << 20];
        let text = format!("Linux version 6.1.{}-test (nobody@nowhere) #1 SMP\n\0", base >> 32);
        memory[(gpa - base) as usize..][..text.len()].copy_from_slice(text.as_bytes());
        machine.memory(base, memory);
    }
    machine.vp().set(Register::RIP, 0x1000).set(Register::EFER, 0);
    machine.keys = vec![
        ("configuration/_x_/text".into(), NewValue::String("Grüße".into())),
        ("configuration/_x_/large".into(), NewValue::Array(vec![7; 9999])),
        ("configuration/_x_/flag".into(), NewValue::Bool(true)),
        ("configuration/_x_/real".into(), NewValue::Double(-2.5)),
    ];
    (machine, GPAS)
}

/// A save of our own, under `target/long`.
fn our_save(repository: &Path) -> Result<(PathBuf, [u64; 2]), String> {
    let path = repository.join("target/long/bannered.vmrs");
    let (machine, gpas) = bannered();
    let written = fs::create_dir_all(repository.join("target/long"))
        .and_then(|()| fs::write(&path, vmrs(&machine, &Options::default())));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path, gpas))
}

pub(super) fn dissect(repository: &Path) -> Result<Outcome, String> {
    let programs = match environment(repository) {
        Ok(programs) => programs,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let viridian = viridian(repository)?;
    let (ours, _) = our_save(repository)?;
    let mut files = vec![ours];
    match genuine(repository)? {
        Some(folder) => files.push(folder.join("test_file.VMRS")),
        None => println!("SKIPPED: the genuine files were not fetched"),
    }
    let mut count = 0;
    for file in &files {
        let parse =
            |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string());
        let answer = parse(output(
            Command::new(&viridian).args(["saved-state", "info", "--keys", "--json"]).arg(file),
        )?)?;
        let keys = answer["keys"].as_object().ok_or("viridian lists no keys")?;
        let ours: BTreeMap<&String, &Value> = keys.iter().map(|(path, key)| (path, &key["value"])).collect();
        let answer = parse(output(Command::new(programs.join("python")).args(["-c", DISSECT]).arg(file))?)?;
        let theirs: BTreeMap<&String, &Value> =
            answer.as_object().ok_or("dissect lists no keys")?.iter().collect();
        if let Some((path, value)) = ours.iter().find(|(path, value)| theirs.get(*path) != Some(*value)) {
            let other = theirs.get(path);
            return Ok(Outcome::Failed(format!(
                "{}: {path} is {value} to us, {other:?} to dissect",
                file.display()
            )));
        }
        if let Some(path) = theirs.keys().find(|path| !ours.contains_key(*path)) {
            return Ok(Outcome::Failed(format!("{}: we do not list {path}", file.display())));
        }
        count += ours.len();
    }
    Ok(Outcome::Passed(format!("{count} keys of {} files", files.len())))
}

pub(super) fn volatility(repository: &Path) -> Result<Outcome, String> {
    let programs = match environment(repository) {
        Ok(programs) => programs,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let viridian = viridian(repository)?;
    let (save, gpas) = our_save(repository)?;
    for format in ["lime", "elf-core"] {
        let image = repository.join("target/long").join(format!("bannered.{format}"));
        let mut write = Command::new(&viridian);
        output(write.args(["saved-state", "memory", "--format", format, "--output"]).arg(&image).arg(&save))?;
        let mut scan = Command::new(programs.join("vol"));
        scan.args(["-q", "-r", "json", "--offline", "-f"]).arg(&image).arg("banners.Banners");
        let answer: Value = serde_json::from_slice(&output(&mut scan)?).map_err(|error| error.to_string())?;
        let rows = answer.as_array().ok_or("volatility gives no rows")?;
        let mut found: Vec<u64> = rows.iter().filter_map(|row| row["Offset"].as_u64()).collect();
        found.sort_unstable();
        if found != gpas {
            return Ok(Outcome::Failed(format!("{format}: banners at {found:x?} and not at {gpas:x?}")));
        }
    }
    Ok(Outcome::Passed(format!("banners at {gpas:#x?} in LiME and ELF images").replace('\n', "")))
}

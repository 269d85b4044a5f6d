// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which lines of the saved-state parsers the committed fuzz corpus reaches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, cargo, output};

/// The parsers, below `crates/saved-state/src`.
const PARSERS: &[&str] = &[
    "container/flat.rs",
    "container/index.rs",
    "container/mod.rs",
    "container/read.rs",
    "container/storage/keys.rs",
    "container/storage/log.rs",
    "container/storage/mod.rs",
    "container/storage/objects.rs",
    "memory/layout.rs",
    "memory/tokens.rs",
    "memory/xpress.rs",
    "partition/chunk.rs",
    "partition/mod.rs",
    "partition/register.rs",
];
/// Share of lines that must be reached, in per cent.
const LEAST: usize = 90;

pub(super) fn saved_state(repository: &Path) -> Result<Outcome, String> {
    let Some(tools) = tools()? else {
        return Ok(Outcome::Skipped("the toolchain's llvm-tools component is not installed".into()));
    };
    let folder = repository.join("target/coverage");
    let profile = folder.join("saved-state.profraw");
    let program = test_program(repository, &folder)?;
    let mut tests = Command::new(&program);
    output(
        tests
            .arg("fuzz::tests::corpus_of")
            .env("LLVM_PROFILE_FILE", &profile)
            .current_dir(repository.join("crates/saved-state")),
    )?;
    let merged = folder.join("saved-state.profdata");
    output(
        Command::new(tools.join("llvm-profdata")).args(["merge", "-sparse", "-o"]).arg(&merged).arg(&profile),
    )?;
    let mut show = Command::new(tools.join("llvm-cov"));
    show.args(["export", "--format=lcov", "--instr-profile"]).arg(&merged).arg(&program);
    let table = String::from_utf8(output(&mut show)?).map_err(|error| error.to_string())?;
    report(repository, &table)
}

/// The folder of llvm-profdata and llvm-cov that fit the compiler.
fn tools() -> Result<Option<PathBuf>, String> {
    let text = |command: &mut Command| {
        let bytes = output(command)?;
        String::from_utf8(bytes).map_err(|error| error.to_string())
    };
    let version = text(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let sysroot = text(Command::new("rustc").args(["--print", "sysroot"]))?;
    let folder = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    Ok(folder.join("llvm-profdata").is_file().then_some(folder))
}

/// Builds the unit tests with counters.
fn test_program(repository: &Path, folder: &Path) -> Result<PathBuf, String> {
    let mut build = cargo(repository);
    build.args(["test", "--no-run", "--message-format=json", "-p", "openviridian-saved-state", "--lib"]);
    build.env("RUSTFLAGS", "-C instrument-coverage").env("CARGO_TARGET_DIR", folder);
    // Build scripts are programs with counters, too.
    build.env("LLVM_PROFILE_FILE", folder.join("build-%p.profraw"));
    let messages = String::from_utf8(output(&mut build)?).map_err(|error| error.to_string())?;
    let programs = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program =
        programs.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    program.ok_or_else(|| "cargo built no test program".into())
}

/// Counts the lines of the parsers and names those that were not reached.
fn report(repository: &Path, table: &str) -> Result<Outcome, String> {
    let sources = repository.join("crates/saved-state/src");
    let (mut reached, mut total) = (0, 0);
    for section in table.split("end_of_record") {
        let Some(file) = section.lines().find_map(|line| line.strip_prefix("SF:")) else { continue };
        let Ok(name) = Path::new(file).strip_prefix(&sources) else { continue };
        if !PARSERS.iter().any(|parser| Path::new(parser) == name) {
            continue;
        }
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        // Tests are no parsers.
        let end = text.lines().position(|line| line == "#[cfg(test)]").unwrap_or(usize::MAX);
        let counts = section.lines().filter_map(|line| {
            let (line, count) = line.strip_prefix("DA:")?.split_once(',')?;
            Some((line.parse::<usize>().ok()?, count != "0"))
        });
        let counts: Vec<_> = counts.filter(|&(line, _)| line <= end).collect();
        let missed: Vec<usize> = counts.iter().filter(|(_, hit)| !hit).map(|&(line, _)| line).collect();
        total += counts.len();
        reached += counts.len() - missed.len();
        let share = (counts.len() - missed.len()) * 100 / counts.len().max(1);
        println!("{share:>4} % of {:>3} lines  {}  {}", counts.len(), name.display(), ranges(&missed));
    }
    if total == 0 {
        return Err("the coverage table has none of the parsers".into());
    }
    let found =
        format!("{:.1} % of {total} lines, {LEAST} % are needed", reached as f64 * 100.0 / total as f64);
    Ok(if reached * 100 >= total * LEAST { Outcome::Passed(found) } else { Outcome::Failed(found) })
}

/// `not reached: 3-5 9`
fn ranges(lines: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => ranges.push((line, line)),
        }
    }
    let words = ranges
        .iter()
        .map(|(first, last)| if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
    if lines.is_empty() { String::new() } else { format!("not reached:{}", words.collect::<String>()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges() {
        assert_eq!(super::ranges(&[]), "");
        assert_eq!(super::ranges(&[3, 4, 5, 9]), "not reached: 3-5 9");
    }
}

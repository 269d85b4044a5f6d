// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs what claims to prove something, and gathers how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;
use super::behaviour::{Behaviour, ids};
use super::claims::Test;

/// How a proof went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// It ran, and said that it lacks something.
    Skipped,
    /// It does not exist in what was built, was ignored, or its program ended before.
    DidNotRun,
}

/// For each behaviour, everybody who claims to prove it, and how that went.
pub(crate) type Evidence = BTreeMap<Behaviour, Vec<(String, Verdict)>>;

/// A built test program.
struct Program {
    file: PathBuf,
    /// The folder of its package.
    package: PathBuf,
    /// `None` for unit tests.
    target: Option<String>,
}

/// What cargo built.
struct Built {
    tests: Vec<Program>,
    /// The command.
    viridian: Option<PathBuf>,
}

/// Runs the tests that claim something, and the guest programs.
///
/// # Errors
/// If something cannot be built or started; tests that fail are evidence.
pub(crate) fn gather(
    repository: &Path,
    tests: &[Test],
    guests: &[(&str, BTreeSet<Behaviour>)],
) -> Result<Evidence, Error> {
    let packages: BTreeSet<&Path> = tests.iter().map(|test| test.package.as_path()).collect();
    let built = build(repository, &packages)?;
    let mut evidence = Evidence::new();
    for program in &built.tests {
        let claiming: Vec<&Test> = tests
            .iter()
            .filter(|test| repository.join(&test.package) == program.package && test.target == program.target)
            .collect();
        if claiming.is_empty() {
            continue;
        }
        let listed = harness(program, &["--list", "--format", "terse"])?.0;
        let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
        let wanted: Vec<&str> =
            names.iter().copied().filter(|name| claiming.iter().any(|test| test.is_called(name))).collect();
        let verdicts = run(program, &wanted)?;
        for test in claiming {
            for name in wanted.iter().filter(|name| test.is_called(name)) {
                let verdict = verdicts.get(*name).cloned().unwrap_or(Verdict::DidNotRun);
                note(&mut evidence, test, verdict);
            }
        }
    }
    for test in tests {
        let shown = test.shown();
        let seen = |id| evidence.get(id).is_some_and(|all| all.iter().any(|(who, _)| *who == shown));
        if !test.proves.iter().all(seen) {
            note(&mut evidence, test, Verdict::DidNotRun);
        }
    }
    let viridian = built.viridian.ok_or(Error::NoCommand)?;
    for (name, claims) in guests {
        let image = guest_programs::ALL.iter().find(|program| program.name == *name).ok_or(Error::NoGuest)?;
        let mut verdicts = of_guest(&run_guest(&viridian, image.image, ALL)?, claims);
        for list in LESS {
            weigh_in(&mut verdicts, of_guest(&run_guest(&viridian, image.image, list)?, &BTreeSet::new()));
        }
        for (id, verdict) in verdicts {
            evidence.entry(id).or_default().push((format!("guest {name}"), verdict));
        }
    }
    Ok(evidence)
}

fn note(evidence: &mut Evidence, test: &Test, verdict: Verdict) {
    for id in &test.proves {
        evidence.entry(*id).or_default().push((test.shown(), verdict.clone()));
    }
}

/// Builds the tests of the packages in these folders, and the command.
fn build(repository: &Path, packages: &BTreeSet<&Path>) -> Result<Built, Error> {
    let mut built = Built { tests: Vec::new(), viridian: None };
    let mut tests = vec!["test".to_owned(), "--no-run".to_owned()];
    for folder in packages {
        tests.extend(["--package".to_owned(), package(&repository.join(folder))?]);
    }
    for arguments in [tests, ["build", "--package", "openviridian"].map(str::to_owned).into()] {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(repository).args(arguments).args(["--quiet", "--message-format=json"]);
        let output = cargo.stderr(Stdio::inherit()).output().map_err(Error::Start)?;
        if !output.status.success() {
            return Err(Error::Build(format!("{cargo:?}")));
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            built.add(line);
        }
    }
    Ok(built)
}

/// The name of the package in a folder.
fn package(folder: &Path) -> Result<String, Error> {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.map(str::to_owned).ok_or_else(|| Error::Table(format!("{}: no name", path.display())))
}

impl Built {
    /// Takes in one of cargo's messages.
    fn add(&mut self, line: &str) -> Option<()> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let file = PathBuf::from(message.get("executable")?.as_str()?);
        let target = message.get("target")?;
        let name = target.get("name")?.as_str()?;
        let kind = target.get("kind")?.get(0)?.as_str()?;
        if message.get("profile")?.get("test")?.as_bool()? {
            let package = Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_owned();
            let target = (kind == "test").then(|| name.to_owned());
            self.tests.push(Program { file, package, target });
        } else if kind == "bin" && name == "viridian" {
            self.viridian = Some(file);
        }
        Some(())
    }
}

/// Runs a test program; gives standard output and standard error.
fn harness(program: &Program, arguments: &[&str]) -> Result<(String, String), Error> {
    let output = Command::new(&program.file)
        .args(arguments)
        .current_dir(&program.package)
        .env("CARGO_MANIFEST_DIR", &program.package)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::Start)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

/// Runs tests by their full names.
fn run(program: &Program, names: &[&str]) -> Result<BTreeMap<String, Verdict>, Error> {
    let arguments = [&["--exact", "--show-output"], names].concat();
    let (output, errors) = harness(program, &arguments)?;
    let mut verdicts = verdicts(&output);
    // What tests write past the harness names no test: then each is run alone.
    if errors.contains("SKIPPED") && names.len() > 1 {
        for name in names {
            verdicts.extend(run(program, &[name])?);
        }
    } else if errors.contains("SKIPPED") {
        verdicts.values_mut().filter(|verdict| **verdict == Verdict::Passed).for_each(|verdict| {
            *verdict = Verdict::Skipped;
        });
    }
    Ok(verdicts)
}

/// What the harness prints: `test NAME ... ok`, and behind `---- NAME stdout ----` what a test printed.
fn verdicts(output: &str) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut printing = None;
    for line in output.lines() {
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let name = name.strip_suffix(" - should panic").unwrap_or(name);
            let verdict = match result {
                "ok" => Verdict::Passed,
                result if result.starts_with("ignored") => Verdict::DidNotRun,
                _ => Verdict::Failed,
            };
            verdicts.insert(name.to_owned(), verdict);
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            printing = Some(name.to_owned());
        } else if line.contains("SKIPPED")
            && let Some(verdict) = printing.as_ref().and_then(|name| verdicts.get_mut(name))
            && *verdict == Verdict::Passed
        {
            *verdict = Verdict::Skipped;
        }
    }
    verdicts
}

/// Processors that guests are run with: enough for two that watch a third.
const PROCESSORS: &str = "4";
/// What `--hv` offers in the run that counts.
const ALL: &str = "all";
/// What it offers in further runs, for checks of what is not offered.
const LESS: [&str; 2] = [
    "access-hypercall-msrs,access-vp-index",
    "access-hypercall-msrs,access-vp-index,hypercall-msr-lock-available,access-partition-reference-counter,\
     access-synic-regs,sint-polling-mode-available,post-messages,signal-events",
];

fn run_guest(viridian: &Path, image: &[u8], list: &str) -> Result<String, Error> {
    let mut file = tempfile::NamedTempFile::new().map_err(Error::Start)?;
    file.write_all(image).map_err(Error::Start)?;
    let output = Command::new(viridian)
        .args(["run", "--timeout", "120", "--cpus", PROCESSORS, "--hv", list, "--multiboot"])
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .map_err(Error::Start)?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}

/// What a guest's lines say: `ok   B03.041  ...`, `FAIL B03.041  ...`, `skip B03.041  ...`. A behaviour that its source claims and
/// that no line names did not run; one that any line failed or skipped is not proven by the others.
fn of_guest(output: &str, claims: &BTreeSet<Behaviour>) -> BTreeMap<Behaviour, Verdict> {
    let mut verdicts: BTreeMap<Behaviour, Verdict> =
        claims.iter().map(|id| (*id, Verdict::DidNotRun)).collect();
    for line in output.lines() {
        let (verdict, rest) = match line.split_once(' ') {
            Some(("ok", rest)) => (Verdict::Passed, rest),
            Some(("FAIL", rest)) => (Verdict::Failed, rest),
            Some(("skip", rest)) => (Verdict::Skipped, rest),
            _ => continue,
        };
        let named = |word: &&str| Behaviour::parse(word.trim_end_matches(',')).is_some();
        for id in rest.split_whitespace().take_while(named).flat_map(ids) {
            let old = verdicts.entry(id).or_insert(Verdict::DidNotRun);
            match (&*old, &verdict) {
                (Verdict::Failed, _) | (Verdict::Skipped, Verdict::Passed | Verdict::Skipped) => {}
                _ => *old = verdict.clone(),
            }
        }
    }
    verdicts
}

/// Adds what a run with less on offer shows: there a check may be skipped, and one that stands for what is not offered is made.
fn weigh_in(verdicts: &mut BTreeMap<Behaviour, Verdict>, less: BTreeMap<Behaviour, Verdict>) {
    for (id, verdict) in less {
        let old = verdicts.entry(id).or_insert(Verdict::DidNotRun);
        if verdict == Verdict::Failed || (verdict == Verdict::Passed && *old == Verdict::DidNotRun) {
            *old = verdict;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_understood() {
        let output = "
running 5 tests
test a::b ... ok
test a::c ... FAILED
test d - should panic ... ok
test e ... ignored, why
test f ... ok

successes:

---- f stdout ----
SKIPPED: no QEMU

---- a::b stdout ----
nothing of note
";
        let verdicts = verdicts(output);
        let shown: Vec<_> = verdicts.iter().map(|(name, verdict)| (name.as_str(), verdict.clone())).collect();
        assert_eq!(
            shown,
            [
                ("a::b", Verdict::Passed),
                ("a::c", Verdict::Failed),
                ("d", Verdict::Passed),
                ("e", Verdict::DidNotRun),
                ("f", Verdict::Skipped)
            ]
        );
    }

    #[test]
    fn a_guest_proves_what_no_line_denies() {
        let id = |number| Behaviour::parse(&format!("B02.00{number}")).expect("an id");
        let claims = (1..=6).map(id).collect();
        let output = "
ok   B02.001, B02.002 both, as B02.006 says
ok   B02.003    once
FAIL B02.003    twice
ok   B02.003    thrice
skip B02.004    one processor only
ok   B02.004    the rest
ok   nothing    at all
";
        let verdicts: Vec<Verdict> = of_guest(output, &claims).into_values().collect();
        use Verdict::{DidNotRun, Failed, Passed, Skipped};
        assert_eq!(verdicts, [Passed, Passed, Failed, Skipped, DidNotRun, DidNotRun]);

        let mut verdicts = of_guest(output, &claims);
        let less = "FAIL B02.001 here\nskip B02.002 here\nok   B02.004 here\nok   B02.005 here";
        weigh_in(&mut verdicts, of_guest(less, &BTreeSet::new()));
        let verdicts: Vec<Verdict> = verdicts.into_values().collect();
        assert_eq!(verdicts, [Failed, Passed, Failed, Skipped, Passed, DidNotRun]);
    }
}

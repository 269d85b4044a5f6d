// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who says to prove what: ids in the doc comments of tests, and ids that guest programs' checks carry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::behaviour::{Behaviour, ids};

/// A test, and what it says to prove.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// The folder of its package, from the top of the repository.
    pub(crate) package: PathBuf,
    /// The name of the integration test that it belongs to; `None` for unit tests.
    pub(crate) target: Option<String>,
    /// The module of its file, with `::` between the parts; empty for the crate's root.
    module: String,
    /// The name of its function.
    name: String,
    pub(crate) proves: BTreeSet<Behaviour>,
}

impl Test {
    /// Whether the harness means this test by this name: between file and function there may be modules.
    pub(crate) fn is_called(&self, full_name: &str) -> bool {
        let (modules, name) = full_name.rsplit_once("::").unwrap_or(("", full_name));
        let inside = modules.strip_prefix(self.module.as_str());
        name == self.name
            && inside.is_some_and(|rest| rest.is_empty() || self.module.is_empty() || rest.starts_with("::"))
    }

    /// How it is shown to people.
    pub(crate) fn shown(&self) -> String {
        let target = self.target.as_deref().unwrap_or("");
        let parts = [self.package.to_str().unwrap_or(""), target, &self.module, &self.name];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("::")
    }
}

/// Every `.rs` file below a folder, except what is built.
pub(crate) fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The tests of `crates/*` that claim something.
pub(crate) fn of_tests(repository: &Path) -> io::Result<Vec<Test>> {
    let mut tests = Vec::new();
    for file in rust_files(&repository.join("crates"))? {
        let relative = file.strip_prefix(repository).unwrap_or(&file);
        let Some((package, target, module)) = place(relative) else { continue };
        for (name, proves) in claims(&fs::read_to_string(&file)?) {
            tests.push(Test {
                package: package.clone(),
                target: target.clone(),
                module: module.clone(),
                name: name.to_owned(),
                proves,
            });
        }
    }
    Ok(tests)
}

/// Package, integration test and module of `crates/NAME/src/...` and `crates/NAME/tests/...`; `None` for benchmarks and examples.
fn place(file: &Path) -> Option<(PathBuf, Option<String>, String)> {
    let parts: Vec<&str> = file.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let [crates, package, kind, rest @ ..] = parts.as_slice() else { return None };
    let mut modules: Vec<&str> = rest.iter().map(|part| part.strip_suffix(".rs").unwrap_or(part)).collect();
    if matches!(modules.last(), Some(&("mod" | "lib" | "main"))) {
        modules.pop();
    }
    let target = match *kind {
        "src" => None,
        "tests" if !modules.is_empty() => Some(modules.remove(0).to_owned()),
        _ => return None,
    };
    Some((PathBuf::from_iter([crates, package]), target, modules.join("::")))
}

/// Test functions and the ids in the comments directly above them.
fn claims(source: &str) -> Vec<(&str, BTreeSet<Behaviour>)> {
    let mut found = Vec::new();
    let (mut proves, mut is_test) = (BTreeSet::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            proves.extend(ids(comment));
        } else if line == "#[test]" {
            is_test = true;
        } else if line.starts_with("#[") {
            // Another attribute of the same function.
        } else {
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
            if let Some(name) = name.filter(|_| is_test && !proves.is_empty()) {
                found.push((name, std::mem::take(&mut proves)));
            }
            (proves, is_test) = (BTreeSet::new(), false);
        }
    }
    found
}

/// A check of a guest program that does not say in so many words what it proves.
#[derive(Debug, thiserror::Error)]
#[error("{file}: a check! whose id is not written out; its claim would be overlooked")]
pub(crate) struct Unnamed {
    file: String,
}

/// What the checks of a guest program claim, by its source.
pub(crate) fn of_guest(folder: &Path) -> io::Result<Result<BTreeSet<Behaviour>, Unnamed>> {
    let mut proves = BTreeSet::new();
    for file in rust_files(folder)? {
        let source = fs::read_to_string(&file)?;
        for call in source.split("check!(").skip(1) {
            let literal = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            let Some(literal) = literal else { return Ok(Err(Unnamed { file: file.display().to_string() })) };
            proves.extend(ids(literal));
        }
    }
    Ok(Ok(proves))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_comments_directly_above_a_test_claim() {
        let source = "
            //! B01.001
            /// B02.001, B02.002: holds.
            /// B02.003 too.
            #[test]
            #[should_panic]
            fn first() {
                // B02.004
            }
            /// B02.005
            fn helper() {}
            /// B02.006

            #[test]
            fn second() {}
            proptest! {
                /// B02.007
                #[test]
                fn third(x in 0..3) {}
            }";
        let found = claims(source);
        let shown: Vec<String> = found
            .iter()
            .map(|(name, proves)| {
                format!("{name} {}", proves.iter().map(Behaviour::to_string).collect::<String>())
            })
            .collect();
        assert_eq!(shown, ["first B02.001B02.002B02.003", "third B02.007"]);
    }

    #[test]
    fn files_have_their_place() {
        let at = |path: &str| place(Path::new(path)).map(|(_, target, module)| (target, module));
        assert_eq!(at("crates/a/src/lib.rs"), Some((None, String::new())));
        assert_eq!(at("crates/a/src/b/mod.rs"), Some((None, "b".into())));
        assert_eq!(at("crates/a/src/b/c.rs"), Some((None, "b::c".into())));
        assert_eq!(at("crates/a/tests/t.rs"), Some((Some("t".into()), String::new())));
        assert_eq!(at("crates/a/tests/t/main.rs"), Some((Some("t".into()), String::new())));
        assert_eq!(at("crates/a/tests/t/d.rs"), Some((Some("t".into()), "d".into())));
        assert_eq!(at("crates/a/benches/t.rs"), None);
    }

    #[test]
    fn the_harness_names_modules_too() {
        let test = |module: &str| Test {
            package: "crates/a".into(),
            target: None,
            module: module.into(),
            name: "holds".into(),
            proves: BTreeSet::new(),
        };
        assert!(test("b").is_called("b::tests::holds"));
        assert!(test("b").is_called("b::holds"));
        assert!(test("").is_called("holds"));
        assert!(test("").is_called("tests::holds"));
        assert!(!test("b").is_called("bc::holds"));
        assert!(!test("b").is_called("b::holds_not"));
    }
}

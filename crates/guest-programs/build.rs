// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the workspace `guests/` under OUT_DIR and tells the crate where the files are.
//!
//! The inner build must not inherit what the outer one was told: flags (`RUSTFLAGS` may instrument code or choose a processor),
//! Clippy's wrapper, a target, a target directory, a profile.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs to embed.
const PROGRAMS: [&str; 5] = ["tour", "interactive", "processor", "conformance", "privileges"];

/// What the guests are built from besides `guests/` itself.
const NUMBERS: &str = "crates/tlfs";

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository's root");
    let guests = root.join("guests");
    for watched in [
        "support",
        "tour",
        "interactive",
        "processor",
        "conformance",
        "privileges",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={}", guests.join(watched).display());
    }
    for watched in [NUMBERS, "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    println!("cargo:rerun-if-changed=build.rs");

    let host = variable("HOST");
    assert!(
        host.starts_with("x86_64-") && host.contains("linux"),
        "the guest programs are built with the host's own compiler and linker, which must be for x86-64 Linux, not {host}"
    );
    let target = PathBuf::from(variable("OUT_DIR")).join("guests");
    build(&guests, &target, &host);
    for program in PROGRAMS {
        let file = target.join(&host).join("release").join(program);
        println!("cargo:rustc-env=GUEST_PROGRAM_{}={}", program.to_uppercase(), file.display());
    }
}

fn build(guests: &Path, target: &Path, host: &str) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(guests).args(["build", "--release", "--quiet", "--target", host]);
    cargo.arg("--target-dir").arg(target);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if is_of_the_outer_build(&name) {
            cargo.env_remove(&*name);
        }
    }
    // Set and empty: this also keeps out the flags of configuration files.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "");
    let output = cargo.output().unwrap_or_else(|error| panic!("cannot run {:?}: {error}", variable("CARGO")));
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "building the guest programs in {} failed:\n{report}", guests.display());
    for line in report.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo:warning=guest programs: {line}");
    }
}

fn is_of_the_outer_build(name: &str) -> bool {
    matches!(
        name,
        "RUSTFLAGS"
            | "RUSTC_WORKSPACE_WRAPPER"
            | "CLIPPY_ARGS"
            | "CARGO_BUILD_TARGET"
            | "CARGO_TARGET_DIR"
            | "CARGO_BUILD_TARGET_DIR"
    ) || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_FEATURE_")
        || name.starts_with("CARGO_CFG_")
        || (name.starts_with("CARGO_TARGET_") && name.ends_with("_RUSTFLAGS"))
        || name == "CARGO_BUILD_RUSTFLAGS"
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

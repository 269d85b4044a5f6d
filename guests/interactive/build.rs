// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the program for a bare machine: no C library, no start files, fixed addresses.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../support/link.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rerun-if-changed=build.rs");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-T{script}");
}

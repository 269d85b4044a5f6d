// SPDX-License-Identifier: MIT OR Apache-2.0
//! The build script of every program: links it for a bare machine, with no C library, no start files, fixed addresses.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../support/link.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rerun-if-changed=../support/program.rs");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-T{script}");
}

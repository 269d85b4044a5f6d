#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Prints, in nanoseconds, what a guest waits for a hypercall that does nothing, for a message of its own, and for the reference time: guests/latency, which
# measures by the TSC, on the command as it is released. More arguments go to `viridian run`, such as --engine or --cpu.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --package openviridian
target=${CARGO_TARGET_DIR:-target}
host=$(rustc -vV | sed -n 's/^host: //p')
# As crates/guest-programs/build.rs builds them: flags of the host's programs are not the guest's.
env -u RUSTFLAGS CARGO_ENCODED_RUSTFLAGS= cargo build --quiet --release --manifest-path guests/Cargo.toml \
    --package openviridian-guest-latency --target "$host" --target-dir "$target/latency"
exec "$target/release/viridian" run --multiboot "$target/latency/$host/release/latency" "$@" </dev/null

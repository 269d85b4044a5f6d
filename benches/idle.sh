#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What an idle guest costs the host: Debian's shell at its prompt for ten seconds, as percent of one host processor. The aim is less than 2 %.
# Arguments: numbers of VPs, 1 and 2 if there are none.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --package openviridian
target=${CARGO_TARGET_DIR:-target}
work=$target/idle
mkdir -p "$work"
# User and system time of a process, in clock ticks. Its name, which may hold spaces, ends with the last parenthesis.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
[ $# -gt 0 ] || set -- 1 2
for cpus; do
    rm -f "$work/input"
    mkfifo "$work/input"
    "$target"/release/viridian run debian --cpus "$cpus" <"$work/input" >"$work/output" 2>&1 &
    pid=$!
    exec 3>"$work/input"
    echo 'echo the shell is $((40 + 2))' >&3
    until grep -q 'the shell is 42' "$work/output"; do
        kill -0 "$pid"
        sleep 0.2
    done
    sleep 3
    before=$(ticks "$pid")
    sleep 10
    after=$(ticks "$pid")
    exec 3>&-
    wait "$pid"
    awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v cpus="$cpus" \
        'BEGIN { printf "%d VPs, idle: %.2f %% of a host processor\n", cpus, 100 * ticks / hz / 10 }'
done

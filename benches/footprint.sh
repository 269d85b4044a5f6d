#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Measures what a guest costs beyond its own memory, and how soon it runs: the largest resident memory of `viridian run debian` without the pages of the
# guest's RAM, sampled during a boot and a shell's work, and the time from the command's start to the end of a guest of five instructions.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --package openviridian
target=${CARGO_TARGET_DIR:-target}
work=$target/footprint
mkdir -p "$work"

# Resident KiB of a process that are not guest RAM. Guest RAM is the one object that is mapped whole: its mapping is as large as --memory.
beyond_ram() {
    awk -v ram=$((512 * 1024)) '
        /^Size:/ { size = $2 }
        /^Rss:/ { all += $2; if (size >= ram - 1024 && size < 2 * ram) guest += $2 }
        END { print all - guest, guest }' "/proc/$1/smaps" 2>/dev/null || true
}

{ echo 'ls -lR / >/dev/null 2>&1; for i in 1 2 3 4 5; do sort /proc/kallsyms | sha256sum; done'; } >"$work/commands"
"$target"/release/viridian run debian --memory 512M <"$work/commands" >"$work/output" &
pid=$!
most=0
guest=0
while kill -0 "$pid" 2>/dev/null; do
    read -r kib ram <<<"$(beyond_ram "$pid")" || true
    if [ "${kib:-0}" -gt "$most" ]; then most=$kib; fi
    if [ "${ram:-0}" -gt "$guest" ]; then guest=$ram; fi
    sleep 0.05
done
wait "$pid"
printf 'memory beyond guest RAM: at most %d MiB (and %d of 512 MiB of guest RAM in use); the bound is 100 MiB\n' $((most / 1024)) $((guest / 1024))

# A multiboot header with addresses; mov edx, 0x3F8; mov al, '!'; out dx, al; xor eax, eax; out 0xF4, eax.
printf '\x02\xb0\xad\x1b\x00\x00\x01\x00\xfe\x4f\x51\xe4\x00\x00\x10\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x10\x00\xba\xf8\x03\x00\x00\xb0!\xee\x31\xc0\xe7\xf4' >"$work/guest"
for _ in {1..21}; do
    begin=$(date +%s%N)
    [ "$("$target"/release/viridian run --multiboot "$work/guest" </dev/null)" = '!' ]
    end=$(date +%s%N)
    echo $(((end - begin) / 1000))
done | sort -n | awk '{ time[NR] = $1 } END { printf "start to the end of a guest of five instructions: median %.1f ms of %d; the bound for the first instruction is 50 ms\n", time[(NR + 1) / 2] / 1000, NR }'

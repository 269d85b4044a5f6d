#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Measures the software processor against QEMU's TCG on this machine: a boot of Debian's stock cloud kernel to power-off, and five busybox programs in the
# guest (benches/programs). The two run in turn, so that a drift of the machine's speed meets both; medians are compared.
#
#   benches/against-tcg.sh [RUNS]        RUNS of each, default 5
#
# Needs qemu-system-x86_64 (Debian package qemu-system-x86) and what `viridian run debian` needs.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
command -v qemu-system-x86_64 >/dev/null || { echo "SKIPPED: qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)"; exit 0; }

cargo build --quiet --release --package openviridian --package openviridian-loader --bins --example fetch-debian
target=${CARGO_TARGET_DIR:-target}
work=$target/against-tcg
mkdir -p "$work"
{
    cat benches/programs/run-all.sh
    for program in benches/programs/[0-9]*.sh; do
        cat "$program"
        name=$(basename "$program" .sh)
        echo "timed ${name#*-}"
    done
} >"$work/script.sh"
"$target"/release/examples/fetch-debian "$work" "$work/script.sh"

parameters="console=ttyS0 cryptomgr.notests quiet"
tcg() { timeout 600 qemu-system-x86_64 -accel tcg -cpu max -m 512 -nographic -no-reboot -net none -kernel "$work/vmlinuz" -initrd "$1" -append "$parameters" </dev/null; }
ours() { timeout 600 "$target"/release/viridian run --engine soft --memory 512M --stats --kernel "$work/vmlinuz" --initrd "$1" --append quiet </dev/null; }

# elapsed COMMAND...: seconds it takes.
elapsed() {
    local begin end
    begin=$(date +%s.%N)
    "$@" >"$work/output" 2>"$work/errors" || { echo "$* failed:" >&2; tail -n 5 "$work/output" "$work/errors" >&2; exit 1; }
    end=$(date +%s.%N)
    awk -v begin="$begin" -v end="$end" 'BEGIN { printf "%.3f\n", end - begin }'
}
median() { sort -n | awk '{ value[NR] = $1 } END { print (NR % 2) ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

for side in tcg ours; do : >"$work/$side.boot"; : >"$work/$side.programs"; done
for ((run = 1; run <= runs; run++)); do
    for side in tcg ours; do
        elapsed "$side" "$work/initrd.img" >>"$work/$side.boot"
        [ "$side" = tcg ] || cp "$work/errors" "$work/statistics"
    done
done
for ((run = 1; run <= runs; run++)); do
    for side in tcg ours; do
        elapsed "$side" "$work/initrd-commands.img" >/dev/null
        tr -d '\r' <"$work/output" | grep -a '^program ' >>"$work/$side.programs"
    done
done

echo
echo "median of $runs runs, seconds"
printf '%-12s %10s %10s %8s\n' "" "QEMU TCG" "ours" "ratio"
peer=$(median <"$work/tcg.boot")
own=$(median <"$work/ours.boot")
printf '%-12s %10s %10s %7sx\n' boot "$peer" "$own" "$(ratio "$own" "$peer")"
for program in benches/programs/[0-9]*.sh; do
    name=$(basename "$program" .sh)
    name=${name#*-}
    results=$(grep -h "^program $name " "$work/tcg.programs" "$work/ours.programs" | cut -d ' ' -f 5- | sort -u | wc -l)
    [ "$results" = 1 ] || { echo "program $name gives different results on the two sides" >&2; exit 1; }
    peer=$(grep "^program $name " "$work/tcg.programs" | cut -d ' ' -f 3 | median)
    own=$(grep "^program $name " "$work/ours.programs" | cut -d ' ' -f 3 | median)
    printf '%-12s %10s %10s %7sx\n' "$name" "$peer" "$own" "$(ratio "$own" "$peer")"
done
instructions=$(awk '/instructions/ { print $1; exit }' "$work/statistics")
if [ -n "$instructions" ]; then
    own=$(median <"$work/ours.boot")
    awk -v count="$instructions" -v seconds="$own" 'BEGIN { printf "boot: %.0f M instructions, %.0f MIPS\n", count / 1e6, count / seconds / 1e6 }'
fi

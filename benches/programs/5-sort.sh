# SPDX-License-Identifier: MIT OR Apache-2.0
# Input: 120000 lines of a linear congruential sequence.
prepare() { awk 'BEGIN { x = 42; for (i = 0; i < 120000; i++) { x = (x * 16807) % 2147483647; print x } }' >/tmp/lines; }
program() { sort /tmp/lines | sha256sum; }

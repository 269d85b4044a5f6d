# SPDX-License-Identifier: MIT OR Apache-2.0
# Input: none. A million rounds of floating-point arithmetic in an interpreter.
prepare() { :; }
program() { awk 'BEGIN { for (i = 1; i <= 1000000; i++) sum += (i * 1.5 + 3.25) / (1 + i * 0.5); printf "%.6f\n", sum }'; }

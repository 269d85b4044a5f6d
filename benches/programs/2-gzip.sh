# SPDX-License-Identifier: MIT OR Apache-2.0
# Input: the numbers 1 to 200000, one a line (1.3 MB), packed twice.
prepare() { seq 1 200000 >/tmp/numbers; }
program() { gzip -9 -c /tmp/numbers | wc -c; gzip -9 -c /tmp/numbers | wc -c; }

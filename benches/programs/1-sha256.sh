# SPDX-License-Identifier: MIT OR Apache-2.0
# Input: 32 MiB of zeros.
prepare() { :; }
program() { dd if=/dev/zero bs=1M count=32 2>/dev/null | sha256sum; }

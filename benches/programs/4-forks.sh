# SPDX-License-Identifier: MIT OR Apache-2.0
# Input: none. 300 processes, one after the other.
prepare() { :; }
program() { for i in $(seq 300); do /bin/busybox true; done; echo 300; }

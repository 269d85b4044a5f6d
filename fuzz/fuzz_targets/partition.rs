// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as what guests and a host program do to a partition.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypervisor::fuzz::partition(data));

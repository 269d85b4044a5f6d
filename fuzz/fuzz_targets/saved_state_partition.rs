// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as the state of a partition.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saved_state::fuzz::partition_state(data));

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as a block of saved memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saved_state::fuzz::tokens(data));

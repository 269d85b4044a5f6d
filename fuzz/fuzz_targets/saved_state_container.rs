// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any pages as a container.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saved_state::fuzz::container(data));

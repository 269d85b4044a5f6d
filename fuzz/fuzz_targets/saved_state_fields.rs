// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changed numbers behind right checksums.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saved_state::fuzz::changed_fields(data));

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as batches of changes of a guest-physical space, and accesses to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memory::fuzz::batches(data));

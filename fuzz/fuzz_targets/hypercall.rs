// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as a caller, its memory and a hypercall.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypercall::fuzz::parse(data));

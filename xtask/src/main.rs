// SPDX-License-Identifier: MIT OR Apache-2.0
//! Development tasks: `cargo xtask TASK`. Never part of the product.
fn main() {}

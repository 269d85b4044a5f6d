// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares what the crate declares with the inventory: every row that has a number exists under that number and name,
//! and nothing is declared that no row knows.

mod bits;
mod constants;
mod numbers;
mod structures;
mod table;

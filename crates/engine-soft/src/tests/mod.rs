// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs for the whole processor, assembled here and run by way of the contract.

mod concurrency;
mod cross_modifying;
mod devices;
mod interception;
mod locked;
mod machine;
mod modes;
mod programs;
mod rights;
mod self_modifying;
mod vector;
mod virtual_time;

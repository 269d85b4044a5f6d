// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks: one line each, totals at the end, and the exit code that follows from them.

use crate::exit::Code;
use crate::{println, serial};
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);
static SKIPPED: AtomicU32 = AtomicU32::new(0);

/// Counts a check and prints its line. Use [`check!`](crate::check!).
pub fn record(id: &str, passed: bool, what: fmt::Arguments<'_>) {
    let counter = if passed { &PASSED } else { &FAILED };
    counter.fetch_add(1, Ordering::Relaxed);
    serial::write(format_args!("{} {id:<10} {what}\n", if passed { "ok  " } else { "FAIL" }));
}

/// Counts a check that cannot be made here and prints why. Use [`skip!`](crate::skip!).
pub fn record_skip(id: &str, why: fmt::Arguments<'_>) {
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    serial::write(format_args!("skip {id:<10} {why}\n"));
}

/// `check!("B03.041", condition, "what is checked, {}", value)`: prints one line, gives the condition back.
#[macro_export]
macro_rules! check {
    ($id:expr, $condition:expr, $($what:tt)+) => {{
        let passed: bool = $condition;
        $crate::check::record($id, passed, format_args!($($what)+));
        passed
    }};
}

/// `skip!("B03.041", "why it cannot be checked here")`
#[macro_export]
macro_rules! skip {
    ($id:expr, $($why:tt)+) => { $crate::check::record_skip($id, format_args!($($why)+)) };
}

/// Prints the totals and gives the exit code: pass, fail, or skip when nothing could be checked.
pub fn finish() -> Code {
    let [passed, failed, skipped] =
        [&PASSED, &FAILED, &SKIPPED].map(|counter| counter.load(Ordering::Relaxed));
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    match (passed, failed) {
        (_, 1..) => Code::Fail,
        (0, 0) => Code::Skip,
        _ => Code::Pass,
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Printing that never fails: whoever reads may have gone, and that must change neither the exit status nor end in a panic.

/// A line on standard error.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// Text on standard output, as it is.
macro_rules! show {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = write!(std::io::stdout(), $($text)*);
        let _ = std::io::stdout().flush();
    }};
}

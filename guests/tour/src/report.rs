// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the tour speaks: sections, facts, and things that worked, failed, or are not offered.

use core::fmt;
use support::trap::Fault;
use support::{exit::Code, print, println};

const WIDTH: usize = 100;
/// Where the second column begins.
const COLUMN: usize = 40;

/// What the tour has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    worked: u32,
    failed: u32,
    absent: u32,
}

impl Report {
    /// Begins a section.
    pub(crate) fn section(&self, title: &str) {
        println!();
        println!("{title}");
        println!("{:-<width$}", "", width = title.len());
    }

    /// Tells what was found, without judging it.
    pub(crate) fn fact(&self, what: &str, value: impl fmt::Display) {
        line("    ", what, format_args!("{value}"));
    }

    /// Tells a list of names, over as many lines as it needs.
    pub(crate) fn list<'a>(&self, what: &str, names: impl Iterator<Item = &'a str>) {
        print!("        {what:<width$}", width = COLUMN - 8);
        let mut used = COLUMN;
        for name in names {
            if used > COLUMN && used + name.len() > WIDTH {
                print!("\n{:COLUMN$}", "");
                used = COLUMN;
            } else if used > COLUMN {
                print!("  ");
            }
            // Field names are words with underscores between them; reading is easier with hyphens.
            for (index, word) in name.split('_').enumerate() {
                print!("{}{word}", if index == 0 { "" } else { "-" });
            }
            used += name.len() + 2;
        }
        println!("{}", if used == COLUMN { "none" } else { "" });
    }

    /// Tells of something that was tried.
    pub(crate) fn outcome(&mut self, worked: bool, what: &str, value: impl fmt::Display) -> bool {
        if worked {
            self.worked += 1;
            line(" ok ", what, format_args!("{value}"));
        } else {
            self.failed += 1;
            line("FAIL", what, format_args!("{value}"));
        }
        worked
    }

    /// Tells of something that was tried and ended in an exception.
    pub(crate) fn fault(&mut self, what: &str, fault: Fault) {
        self.outcome(false, what, format_args!("{fault} instead of an answer"));
    }

    /// Tells of something that could not be tried.
    pub(crate) fn absent(&mut self, what: &str, why: impl fmt::Display) {
        self.absent += 1;
        line(" -- ", what, format_args!("not offered: {why}"));
    }

    /// Takes the value out of a result, or tells of the fault.
    pub(crate) fn expect<T>(&mut self, what: &str, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.fault(what, fault)).ok()
    }

    /// Sums up.
    pub(crate) fn finish(&self) -> Code {
        println!();
        println!("{:=<WIDTH$}", "");
        let Report { worked, failed, absent } = self;
        print!("The tour ends: {worked} worked, {failed} failed, {absent} not offered. ");
        let code = if *failed == 0 { Code::Pass } else { Code::Fail };
        match code {
            Code::Pass => println!("All that is offered works."),
            _ => println!("Not all that is offered works."),
        }
        code
    }
}

fn line(mark: &str, what: &str, value: fmt::Arguments<'_>) {
    println!("  {mark}  {what:<width$}{value}", width = COLUMN - 8);
}

/// A number with a separator after every three digits.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut divisor = 1;
        while self.0 / divisor >= 1000 {
            divisor *= 1000;
        }
        write!(f, "{}", self.0 / divisor)?;
        while divisor > 1 {
            divisor /= 1000;
            write!(f, ",{:03}", self.0 / divisor % 1000)?;
        }
        Ok(())
    }
}

/// A time span in units of 100 ns, as microseconds.
pub(crate) struct Span(pub(crate) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} us", Grouped(self.0 / 10), self.0 % 10)
    }
}

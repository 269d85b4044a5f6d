// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is expected: `tests/conformance/privileges.tsv`, written by hand from the specification, and what a guest found.

use std::collections::BTreeMap;

/// INVALID_HYPERCALL_CODE is not told by the guest; this one is ACCESS_DENIED.
const ACCESS_DENIED: u16 = 0x0006;

/// Who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Guard {
    /// Everybody, if it exists at all.
    Any,
    /// Nobody.
    Never,
    /// Whoever has all these bits, of the privilege mask and of the features.
    Bits { privileges: u64, features: u32 },
}

/// The table.
pub(crate) struct Table {
    msrs: BTreeMap<u32, (Guard, Guard)>,
    calls: BTreeMap<u16, Guard>,
}

/// What a guest was offered, by CPUID, and what it could do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) privileges: u64,
    pub(crate) features: u32,
    /// Whether it could be read and written; both false for what is not named.
    pub(crate) msrs: BTreeMap<u32, (bool, bool)>,
    /// The status of every call that is known; none where calls cannot be made.
    pub(crate) calls: BTreeMap<u16, u16>,
}

impl Found {
    /// Reads the guest's lines.
    pub(crate) fn parse(output: &str) -> Self {
        let mut found = Self::default();
        let mut done = false;
        for line in output.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["offer", privileges, features] => {
                    (found.privileges, found.features) = (number(privileges), number(features) as u32);
                }
                ["msr", msr, read, write] => {
                    found.msrs.insert(number(msr) as u32, (read == "ok", write == "ok"));
                }
                ["call", code, status] => {
                    found.calls.insert(number(code) as u16, number(status) as u16);
                }
                ["done"] => done = true,
                _ => panic!("{line:?} is not a line of this guest's"),
            }
        }
        assert!(done, "the guest did not come to its end:\n{output}");
        found
    }
}

fn number(text: &str) -> u64 {
    let digits = text.strip_prefix("0x");
    digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).expect("a number")
}

impl Table {
    /// Reads the table.
    pub(crate) fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/privileges.tsv");
        let text = std::fs::read_to_string(path).expect("the table");
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        let mut bits = BTreeMap::new();
        for row in &rows {
            match row[0] {
                "privilege" => _ = bits.insert(row[2], (1 << number(row[1]), 0)),
                "feature" => _ = bits.insert(row[2], (0, 1 << number(row[1]))),
                _ => {}
            }
        }
        let guard = |text: &str| match text {
            "any" => Guard::Any,
            _ if text.split('+').any(|name| ["never", "nested", "parent"].contains(&name)) => Guard::Never,
            _ => {
                let bits = text.split('+').map(|name| bits[name]);
                let (privileges, features) = bits.fold((0, 0), |all, bit| (all.0 | bit.0, all.1 | bit.1));
                Guard::Bits { privileges, features }
            }
        };
        let mut table = Self { msrs: BTreeMap::new(), calls: BTreeMap::new() };
        for row in &rows {
            let (first, last) = row[1].split_once('-').unwrap_or((row[1], row[1]));
            for number in number(first)..=number(last) {
                let twice = match row[0] {
                    "msr" => table.msrs.insert(number as u32, (guard(row[3]), guard(row[4]))).is_some(),
                    "call" => table.calls.insert(number as u16, guard(row[3])).is_some(),
                    _ => false,
                };
                assert!(!twice, "{number:#x} stands there twice");
            }
        }
        table
    }

    /// What a guest found against the table, a sentence each. `most` is what it found with everything on offer: what is not served
    /// even then need not be served.
    pub(crate) fn mistakes(&self, found: &Found, most: &Found) -> Vec<String> {
        let mut mistakes = Vec::new();
        let is_held = |guard: &Guard| match *guard {
            Guard::Any => true,
            Guard::Never => false,
            Guard::Bits { privileges, features } => {
                found.privileges & privileges == privileges && found.features & features == features
            }
        };
        let may = |allowed: bool| if allowed { "may" } else { "may not" };
        for number in self.msrs.keys().chain(found.msrs.keys()) {
            let (reads, writes) = self.msrs.get(number).unwrap_or(&(Guard::Never, Guard::Never));
            let (read, written) = found.msrs.get(number).copied().unwrap_or_default();
            for (what, expected, seen) in
                [("read", is_held(reads), read), ("written", is_held(writes), written)]
            {
                if expected != seen {
                    let text = format!("MSR {number:#010x} {} be {what}, and was {seen}", may(expected));
                    mistakes.push(text);
                }
            }
        }
        // Without the hypercall page there is no call to try.
        if found.calls.is_empty() {
            return mistakes;
        }
        for code in self.calls.keys().chain(found.calls.keys()) {
            let guard = self.calls.get(code).unwrap_or(&Guard::Never);
            let allowed = is_held(guard);
            let is_right = match found.calls.get(code) {
                Some(&status) => allowed == (status != ACCESS_DENIED),
                // One that is not served at all says so to everybody.
                None => !allowed || !most.calls.contains_key(code),
            };
            if !is_right {
                let status = found.calls.get(code);
                mistakes.push(format!("call {code:#06x} {} be made: status {status:x?}", may(allowed)));
            }
        }
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }
}

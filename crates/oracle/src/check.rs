// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs tests on both machines and keeps the books.

use std::collections::BTreeMap;
use std::fmt::Write;

use iced_x86::{Code, FastFormatter, InstructionInfoFactory};

use crate::compare::{describe, difference, undefined_of};
use crate::forms::Family;
use crate::generate::{Encoded, Start, encode, fill, vector};
use crate::layout::{DATA, DATA_RIGHTS, FILLER, PAGE, PageRights};
use crate::random::Random;
use crate::state::{End, Machine, Mode, Outcome};

/// What happened to one form.
#[derive(Clone, Copy, Default, Debug)]
pub struct Count {
    /// Runs compared.
    pub executions: u64,
    /// Of those, runs in which the instruction raised an exception.
    pub faults: u64,
    /// Runs in which the machines disagreed.
    pub differences: u64,
}

/// The books of many runs.
#[derive(Default)]
pub struct Report {
    /// By form.
    pub counts: BTreeMap<Code, Count>,
    /// The first disagreements of each form, in words.
    pub samples: Vec<(Code, String)>,
}

impl Report {
    /// Everything together.
    #[must_use]
    pub fn total(&self) -> Count {
        self.counts.values().fold(Count::default(), |all, count| Count {
            executions: all.executions + count.executions,
            faults: all.faults + count.faults,
            differences: all.differences + count.differences,
        })
    }
}

/// Disagreements told of a form.
const SAMPLES_PER_FORM: u64 = 2;
/// Runs of one encoding: the first finds it new, the others find it decoded and its pages known.
const STATES_PER_ENCODING: u64 = 4;
/// Draws in a row that may come to nothing before a form counts as one that cannot be encoded.
const MOST_ATTEMPTS: u64 = 2000;

/// The two machines and what is known of them.
pub struct Checker<'a> {
    host: &'a mut dyn Machine,
    guest: &'a mut dyn Machine,
    factory: InstructionInfoFactory,
    pages: Box<[[u8; PAGE as usize]; 2]>,
    /// The books.
    pub report: Report,
}

impl<'a> Checker<'a> {
    /// Fills the data of both machines with the same bytes.
    pub fn new(host: &'a mut dyn Machine, guest: &'a mut dyn Machine, seed: u64) -> Self {
        let mut random = Random::new(seed, 0);
        for (index, rights) in (0..).zip(DATA_RIGHTS) {
            if rights == PageRights::None {
                continue;
            }
            let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
            host.write_data(DATA + index * PAGE, &bytes);
            guest.write_data(DATA + index * PAGE, &bytes);
        }
        Self {
            host,
            guest,
            factory: InstructionInfoFactory::new(),
            pages: Box::new([[0; PAGE as usize]; 2]),
            report: Report::default(),
        }
    }

    /// Runs a form `executions` times.
    pub fn form(&mut self, seed: u64, code: Code, mode: Mode, executions: u64, family: Family) {
        let stream = 1 + code as u64 * 4 + mode as u64;
        let mut random = Random::new(seed, stream);
        let mut done = 0;
        let mut attempts = 0;
        while done < executions && attempts < MOST_ATTEMPTS {
            attempts += 1;
            let Some(encoded) = encode(&mut random, code, mode) else { continue };
            if !self.belongs(&encoded, code) {
                continue;
            }
            let states = STATES_PER_ENCODING.min(executions - done);
            let runs = self.encoding(&mut random, &encoded, code, states, family);
            if runs > 0 {
                attempts = 0;
            }
            done += runs;
        }
        self.compare_read_only_pages(code);
    }

    /// A prefix may have made another form of it; then only those count that mean the same but for sizes.
    fn belongs(&self, encoded: &Encoded, code: Code) -> bool {
        let found = encoded.instruction.code();
        encoded.instruction.is_invalid() || found == code
    }

    /// Runs one encoding from several states; gives the number of runs.
    fn encoding(
        &mut self,
        random: &mut Random,
        encoded: &Encoded,
        code: Code,
        states: u64,
        family: Family,
    ) -> u64 {
        let filler = vec![FILLER; encoded.bytes.len()];
        let fits = crate::layout::CODE + crate::layout::CODE_PAGES * PAGE - encoded.address;
        let length = (encoded.bytes.len() as u64).min(fits) as usize;
        self.write_code(encoded.address, &encoded.bytes[..length]);
        let mut runs = 0;
        for _ in 0..states {
            let start = (0..16).find_map(|_| fill(random, &mut self.factory, encoded));
            let Some(mut start) = start else { continue };
            if family == Family::Vector {
                start.state.vector = Some(vector(random));
            }
            runs += 1;
            self.run(encoded, &start, code);
        }
        self.write_code(encoded.address, &filler[..length]);
        runs
    }

    fn write_code(&mut self, address: u64, bytes: &[u8]) {
        self.host.write_code(address, bytes);
        self.guest.write_code(address, bytes);
    }

    fn run(&mut self, encoded: &Encoded, start: &Start, code: Code) {
        for (address, bytes) in &start.pokes {
            self.host.write_data(*address, bytes);
            self.guest.write_data(*address, bytes);
        }
        let guest = self.guest.run(encoded.mode, &start.state);
        let host = self.host.run(encoded.mode, &start.state);
        let undefined = undefined_of(&encoded.instruction, &start.state);
        let mut text = difference(encoded.mode, &undefined, &host, &guest);
        self.compare_written_pages(undefined.memory, &mut text);
        let count = self.report.counts.entry(code).or_default();
        count.executions += 1;
        count.faults += u64::from(is_fault(encoded, &host));
        if text.is_empty() {
            return;
        }
        count.differences += 1;
        if count.differences <= SAMPLES_PER_FORM {
            self.report.samples.push((code, sample(encoded, start, &host, &guest, &text)));
        }
    }

    fn compare_written_pages(&mut self, undefined: bool, text: &mut String) {
        for (index, rights) in DATA_RIGHTS.iter().enumerate() {
            if *rights == PageRights::Write {
                self.compare_page(index, undefined, text);
            }
        }
    }

    fn compare_read_only_pages(&mut self, code: Code) {
        let mut text = String::new();
        for (index, rights) in DATA_RIGHTS.iter().enumerate() {
            if *rights == PageRights::Read {
                self.compare_page(index, false, &mut text);
            }
        }
        if !text.is_empty() {
            self.report.counts.entry(code).or_default().differences += 1;
            self.report
                .samples
                .push((code, format!("{code:?}: a page that is read-only was changed\n{text}")));
        }
    }

    /// Compares a page and makes the guest's what the host's is.
    fn compare_page(&mut self, index: usize, undefined: bool, text: &mut String) {
        let [host, guest] = &mut *self.pages;
        self.host.read_page(index, host);
        self.guest.read_page(index, guest);
        if host == guest {
            return;
        }
        let first = host.iter().zip(&*guest).position(|(a, b)| a != b).unwrap_or(0);
        let last = host.iter().zip(&*guest).rposition(|(a, b)| a != b).unwrap_or(0);
        let address = DATA + index as u64 * PAGE;
        if !undefined {
            let _ = writeln!(
                text,
                "  memory at {:#x}: host {:02x?}, guest {:02x?}",
                address + first as u64,
                &host[first..=last.min(first + 31)],
                &guest[first..=last.min(first + 31)]
            );
        }
        self.guest.write_data(address, &host[..]);
    }
}

/// Whether the instruction raised an exception, rather than the HLT behind it.
fn is_fault(encoded: &Encoded, host: &Outcome) -> bool {
    match host.end {
        End::Exception { vector: 13, error_code: 0, .. } => host.state.rip == encoded.address,
        _ => true,
    }
}

fn sample(encoded: &Encoded, start: &Start, host: &Outcome, guest: &Outcome, text: &str) -> String {
    let mut name = String::new();
    FastFormatter::new().format(&encoded.instruction, &mut name);
    let pokes: Vec<_> =
        start.pokes.iter().map(|(address, bytes)| format!("[{address:x}]={bytes:02x?}")).collect();
    format!(
        "{:?} {name}\n  {:?}, bytes {:02x?}\n  from {}\n  {}\n{text}  host ended with {:x?}, guest with {:x?}",
        encoded.instruction.code(),
        encoded.mode,
        encoded.bytes,
        describe(&start.state),
        pokes.join(" "),
        host.end,
        guest.end
    )
}

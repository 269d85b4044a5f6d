// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs tests on both machines and keeps the books.

use std::collections::BTreeMap;
use std::fmt::Write;

use iced_x86::{Code, Decoder, DecoderOptions, FastFormatter, Instruction, InstructionInfoFactory, Mnemonic};

use crate::compare::{describe, difference, undefined_of};
use crate::forms::Family;
use crate::generate::memory_address;
use crate::generate::{Encoded, Program, Start, aim_gather, encode, fill, program, start, vector};
use crate::layout::{CODE, CODE_PAGES, DATA, DATA_RIGHTS, FILLER, PAGE, PageRights, data_rights};
use crate::random::Random;
use crate::state::{End, Machine, Mode, Outcome};
use crate::undefined::Undefined;

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

    /// Runs `count` programs, each from several states, and gives the number of runs.
    pub fn programs(&mut self, seed: u64, pool: &[Code], count: u64) -> u64 {
        let mut random = Random::new(seed, u64::MAX);
        let (mut runs, mut faults) = (0, 0);
        for _ in 0..count {
            let program = program(&mut random, &mut self.factory, pool);
            let end = CODE + CODE_PAGES * PAGE;
            let length = (program.bytes.len() as u64).min(end - program.address) as usize;
            self.write_code(program.address, &program.bytes[..length]);
            for _ in 0..STATES_PER_ENCODING {
                runs += 1;
                let start = start(&mut random, program.address);
                let guest = self.guest.run(Mode::User64, &start.state);
                let host = self.host.run(Mode::User64, &start.state);
                let to_the_end = host.state.rip == program.address + program.bytes.len() as u64;
                faults += u64::from(!to_the_end);
                let mut text = difference(Mode::User64, &Undefined::default(), &host, &guest);
                self.compare_written_pages(false, &mut text);
                if !text.is_empty() {
                    self.report.counts.entry(Code::INVALID).or_default().differences += 1;
                    let text = format!("{}  from {}\n{text}", listing(&program), describe(&start.state));
                    self.report.samples.push((Code::INVALID, text));
                }
            }
            let filler = vec![FILLER; length];
            self.write_code(program.address, &filler);
        }
        self.compare_read_only_pages(Code::INVALID);
        let count = self.report.counts.entry(Code::INVALID).or_default();
        count.executions += runs;
        count.faults += faults;
        runs
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
            if family != Family::Integer {
                let mut state = vector(random);
                if converts_to_mmx(&encoded.instruction) {
                    state.mask_exceptions();
                }
                if encoded.instruction.mnemonic() == Mnemonic::Maskmovq {
                    state.enter_mmx();
                }
                start.state.vector = Some(state);
                if !aim_gather(random, encoded, &mut start) {
                    continue;
                }
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
        if undefined.mxcsr_mask {
            self.ignore_mxcsr_mask(encoded, start);
        }
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

    /// Gives the guest the host's MXCSR_MASK, if the guest has one in that place.
    fn ignore_mxcsr_mask(&mut self, encoded: &Encoded, start: &Start) {
        const MXCSR_MASK: u64 = 28;
        let Some(address) = memory_address(&encoded.instruction, &start.state) else { return };
        let at = address.wrapping_add(MXCSR_MASK);
        if (at..at.saturating_add(4)).any(|byte| data_rights(byte) != PageRights::Write) {
            return;
        }
        let (mut host, mut guest) = ([0; 4], [0; 4]);
        self.host.read_data(at, &mut host);
        self.guest.read_data(at, &mut guest);
        if u32::from_le_bytes(guest) == 0xFFFF && u32::from_le_bytes(host) & 0xFFFF == 0xFFFF {
            self.guest.write_data(at, &host);
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

/// Whether the x87 unit enters MMX state even if the instruction then raises a SIMD exception, of which the manuals do not tell. (MASKMOVQ does so on a
/// page fault, so it starts from that state.)
fn converts_to_mmx(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        instruction.mnemonic(),
        M::Cvtps2pi | M::Cvttps2pi | M::Cvtpd2pi | M::Cvttpd2pi | M::Cvtpi2ps | M::Cvtpi2pd
    )
}

/// Whether the instruction raised an exception, rather than the HLT behind it.
fn is_fault(encoded: &Encoded, host: &Outcome) -> bool {
    match host.end {
        End::Exception { vector: 13, error_code: 0, .. } => host.state.rip == encoded.address,
        _ => true,
    }
}

/// A program in words.
fn listing(program: &Program) -> String {
    let mut decoder = Decoder::with_ip(64, &program.bytes, program.address, DecoderOptions::NONE);
    let mut text = String::from("a program\n");
    let mut formatter = FastFormatter::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let mut name = String::new();
        formatter.format(&instruction, &mut name);
        let _ = writeln!(text, "    {:x} {name}", instruction.ip());
    }
    text
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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts that one VP keeps for itself.

use std::collections::BTreeMap;
use std::fmt;

use tlfs::HvStatus;
use tlfs::hypercall::CallCode;

use super::{ExitKind, SharedCounts, TraceEvent};

/// Calls with one code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// How often; a call that is continued counts each time.
    pub calls: u64,
    /// How many of them did not succeed.
    pub failed: u64,
    /// What they cost together, in ticks of the host's time ([`super::Tracing::host_time`]).
    pub cost: u64,
    /// What the dearest cost.
    pub dearest: u64,
}

impl CallCount {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.cost += other.cost;
        self.dearest = self.dearest.max(other.dearest);
    }
}

/// Accesses to one MSR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsrCount {
    /// RDMSR.
    pub reads: u64,
    /// WRMSR.
    pub writes: u64,
    /// Those of both that faulted.
    pub faults: u64,
}

/// Codes below this are counted in an array, for all that are made often are here.
const FREQUENT: usize = 0x100;

/// A guest may name any of four billion MSRs and leaves: at most this many are counted apart.
const APART: usize = 1024;

/// The entry of a number, or `None` if as many as may be are counted apart already.
fn entry<T: Default>(map: &mut BTreeMap<u32, T>, number: u32) -> Option<&mut T> {
    if map.len() >= APART && !map.contains_key(&number) { None } else { Some(map.entry(number).or_default()) }
}

/// How often what happened on a VP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Guest instructions, as far as the engine counts them.
    pub(crate) instructions: u64,
    /// By [`ExitKind`].
    exits: [u64; ExitKind::ALL.len()],
    /// By call code, below [`FREQUENT`].
    frequent_calls: Box<[CallCount; FREQUENT]>,
    /// By call code, from there up.
    other_calls: BTreeMap<u32, CallCount>,
    /// By number.
    msrs: BTreeMap<u32, MsrCount>,
    /// By number.
    leaves: BTreeMap<u32, u64>,
    interrupts: [u64; 256],
    external_interrupts: u64,
    nmis: u64,
    machine_checks: u64,
    direct_timers: u64,
    timer_messages: u64,
    shared: SharedCounts,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            instructions: 0,
            exits: [0; ExitKind::ALL.len()],
            frequent_calls: Box::new([CallCount::default(); FREQUENT]),
            other_calls: BTreeMap::new(),
            msrs: BTreeMap::new(),
            leaves: BTreeMap::new(),
            interrupts: [0; 256],
            external_interrupts: 0,
            nmis: 0,
            machine_checks: 0,
            direct_timers: 0,
            timer_messages: 0,
            shared: SharedCounts::default(),
        }
    }
}

impl Statistics {
    #[inline]
    pub(crate) fn count(&mut self, event: TraceEvent) {
        match event {
            TraceEvent::Exit(kind) => self.exits[kind as usize] += 1,
            TraceEvent::Hypercall { code, status, cost } => {
                let failed = u64::from(status != HvStatus::SUCCESS);
                let call = CallCount { calls: 1, failed, cost, dearest: cost };
                match self.frequent_calls.get_mut(usize::from(code.0)) {
                    Some(counts) => counts.add(&call),
                    None => self.other_calls.entry(code.0.into()).or_default().add(&call),
                }
            }
            TraceEvent::ReadMsr(number, done) => {
                if let Some(counts) = entry(&mut self.msrs, number) {
                    counts.reads += 1;
                    counts.faults += u64::from(!done);
                }
            }
            TraceEvent::WriteMsr(number, done) => {
                if let Some(counts) = entry(&mut self.msrs, number) {
                    counts.writes += 1;
                    counts.faults += u64::from(!done);
                }
            }
            TraceEvent::Cpuid(leaf) => {
                if let Some(count) = entry(&mut self.leaves, leaf) {
                    *count += 1;
                }
            }
            TraceEvent::Interrupt(vector) => self.interrupts[usize::from(vector)] += 1,
            TraceEvent::ExternalInterrupt(_) => self.external_interrupts += 1,
            TraceEvent::Nmi => self.nmis += 1,
            TraceEvent::MachineCheck => self.machine_checks += 1,
            TraceEvent::DirectTimers(count) => self.direct_timers += u64::from(count),
            TraceEvent::TimerMessages(count) => self.timer_messages += u64::from(count),
        }
    }

    /// Takes in what others counted.
    pub(crate) fn add_shared(&mut self, shared: &SharedCounts) {
        self.shared += *shared;
    }

    /// Adds another VP's counts.
    pub fn add(&mut self, other: &Self) {
        let arrays = self.exits.iter_mut().chain(&mut self.interrupts);
        for (sum, more) in arrays.zip(other.exits.iter().chain(&other.interrupts)) {
            *sum += more;
        }
        for (sum, more) in self.frequent_calls.iter_mut().zip(other.frequent_calls.iter()) {
            sum.add(more);
        }
        for (&code, more) in &other.other_calls {
            self.other_calls.entry(code).or_default().add(more);
        }
        for (&number, more) in &other.msrs {
            if let Some(counts) = entry(&mut self.msrs, number) {
                counts.reads += more.reads;
                counts.writes += more.writes;
                counts.faults += more.faults;
            }
        }
        for (&leaf, more) in &other.leaves {
            if let Some(count) = entry(&mut self.leaves, leaf) {
                *count += more;
            }
        }
        self.instructions += other.instructions;
        self.external_interrupts += other.external_interrupts;
        self.nmis += other.nmis;
        self.machine_checks += other.machine_checks;
        self.direct_timers += other.direct_timers;
        self.timer_messages += other.timer_messages;
        self.shared += other.shared;
    }

    /// Guest instructions executed; 0 if the engine does not count them.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// Exits of one kind.
    #[must_use]
    pub fn exits(&self, kind: ExitKind) -> u64 {
        self.exits[kind as usize]
    }

    /// Calls with this code.
    #[must_use]
    pub fn hypercalls(&self, code: CallCode) -> u64 {
        self.calls().find(|(found, _)| *found == code).map_or(0, |(_, count)| count.calls)
    }

    /// Every call that was made, by code.
    pub fn calls(&self) -> impl Iterator<Item = (CallCode, CallCount)> {
        let frequent = self.frequent_calls.iter().enumerate().map(|(code, count)| (code as u16, *count));
        let others = self.other_calls.iter().map(|(&code, count)| (code as u16, *count));
        frequent
            .chain(others)
            .filter(|(_, count)| count.calls != 0)
            .map(|(code, count)| (CallCode(code), count))
    }

    /// Reads and writes of this MSR.
    #[must_use]
    pub fn msr_accesses(&self, number: u32) -> (u64, u64) {
        self.msrs.get(&number).map_or((0, 0), |counts| (counts.reads, counts.writes))
    }

    /// Every MSR that was accessed, by number; of very many not all.
    pub fn msrs(&self) -> impl Iterator<Item = (u32, MsrCount)> {
        self.msrs.iter().map(|(&number, count)| (number, *count))
    }

    /// Every leaf of CPUID that was asked for where that is an exit, by number; of very many not all.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, u64)> {
        self.leaves.iter().map(|(&leaf, &count)| (leaf, count))
    }

    /// Interrupts of the local APIC that were delivered with this vector.
    #[must_use]
    pub fn interrupts(&self, vector: u8) -> u64 {
        self.interrupts[usize::from(vector)]
    }

    /// Expirations of synthetic timers in direct mode.
    #[must_use]
    pub fn direct_timers(&self) -> u64 {
        self.direct_timers
    }

    /// Messages that synthetic timers sent.
    #[must_use]
    pub fn timer_messages(&self) -> u64 {
        self.timer_messages
    }

    /// Messages that reached a slot of the SynIC.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.shared.synic.messages
    }

    /// Event flags that were set.
    #[must_use]
    pub fn event_flags(&self) -> u64 {
        self.shared.synic.event_flags
    }

    /// Interrupts that sources of the SynIC requested.
    #[must_use]
    pub fn synic_interrupts(&self) -> u64 {
        self.shared.synic.interrupts
    }

    /// Interrupts that the guest ended through the VP assist page.
    #[must_use]
    pub fn eoi_assists(&self) -> u64 {
        self.shared.eoi_assists
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |count: u64, what: &dyn fmt::Display| {
            if count == 0 { Ok(()) } else { writeln!(f, "{count:>12}  {what}") }
        };
        line(self.instructions, &"guest instructions")?;
        for &kind in ExitKind::ALL {
            line(self.exits(kind), &format_args!("exits: {}", kind.name()))?;
        }
        for (code, CallCount { calls, failed, .. }) in self.calls() {
            match failed {
                0 => line(calls, &format_args!("hypercall {code:?}"))?,
                _ => line(calls, &format_args!("hypercall {code:?} ({failed} without success)"))?,
            }
        }
        for (&number, &MsrCount { reads, writes, faults }) in &self.msrs {
            let name = tlfs::msr::info(number).map_or("", |info| info.name);
            let faults = if faults == 0 { String::new() } else { format!(" ({faults} faulted)") };
            line(
                reads + writes,
                &format_args!("MSR {number:#010x} {name}: {reads} reads, {writes} writes{faults}"),
            )?;
        }
        for (vector, &count) in self.interrupts.iter().enumerate() {
            line(count, &format_args!("interrupts: vector {vector:#04x}"))?;
        }
        line(self.external_interrupts, &"interrupts: PIC")?;
        line(self.nmis, &"interrupts: NMI")?;
        line(self.machine_checks, &"interrupts: synthetic machine check")?;
        line(self.direct_timers, &"synthetic timers: direct expirations")?;
        line(self.timer_messages, &"synthetic timers: messages")?;
        line(self.shared.synic.messages, &"SynIC messages delivered")?;
        line(self.shared.synic.event_flags, &"SynIC event flags set")?;
        line(self.shared.synic.interrupts, &"SynIC interrupts")?;
        line(self.shared.eoi_assists, &"EOI assists")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synic::SynicCounts;

    /// Counts of a VP on which everything that is counted happened, numbers of each that no other has.
    fn everything() -> Statistics {
        let mut statistics = Statistics { instructions: 1_000_000, ..Statistics::default() };
        let again = |statistics: &mut Statistics, times: u32, event| {
            (0..times).for_each(|_| statistics.count(event));
        };
        again(&mut statistics, 2, TraceEvent::Exit(ExitKind::Halt));
        again(&mut statistics, 3, TraceEvent::Exit(ExitKind::Msr));
        let call = |code, status, cost| TraceEvent::Hypercall { code, status, cost };
        statistics.count(call(CallCode::SIGNAL_EVENT, HvStatus::SUCCESS, 10));
        statistics.count(call(CallCode::SIGNAL_EVENT, HvStatus::SUCCESS, 30));
        statistics.count(call(CallCode::SIGNAL_EVENT, HvStatus::ACCESS_DENIED, 20));
        statistics.count(call(CallCode::EXT_QUERY_CAPABILITIES, HvStatus::SUCCESS, 5));
        again(&mut statistics, 4, TraceEvent::ReadMsr(0x4000_0002, true));
        again(&mut statistics, 5, TraceEvent::WriteMsr(0x4000_0070, true));
        again(&mut statistics, 2, TraceEvent::ReadMsr(0x8B, false));
        again(&mut statistics, 1, TraceEvent::WriteMsr(0x8B, false));
        again(&mut statistics, 6, TraceEvent::Cpuid(0x4000_0001));
        again(&mut statistics, 7, TraceEvent::Interrupt(0xEF));
        again(&mut statistics, 8, TraceEvent::ExternalInterrupt(0x30));
        again(&mut statistics, 9, TraceEvent::Nmi);
        again(&mut statistics, 2, TraceEvent::DirectTimers(5));
        again(&mut statistics, 1, TraceEvent::TimerMessages(11));
        let synic = SynicCounts { messages: 12, event_flags: 13, interrupts: 14 };
        statistics.add_shared(&SharedCounts { synic, eoi_assists: 15 });
        statistics
    }

    const REPORT: &str = "     1000000  guest instructions
           2  exits: halt
           3  exits: MSR access
           3  hypercall HvCallSignalEvent (1 without success)
           1  hypercall HvExtCallQueryCapabilities
           3  MSR 0x0000008b : 2 reads, 1 writes (3 faulted)
           4  MSR 0x40000002 HV_X64_MSR_VP_INDEX: 4 reads, 0 writes
           5  MSR 0x40000070 HV_X64_MSR_EOI: 0 reads, 5 writes
           7  interrupts: vector 0xef
           8  interrupts: PIC
           9  interrupts: NMI
          10  synthetic timers: direct expirations
          11  synthetic timers: messages
          12  SynIC messages delivered
          13  SynIC event flags set
          14  SynIC interrupts
          15  EOI assists
";

    #[test]
    fn the_report_has_a_line_for_each_thing_that_happened() {
        assert_eq!(everything().to_string(), REPORT);
        assert_eq!(Statistics::default().to_string(), "");
    }

    #[test]
    fn counts_are_got_by_name() {
        let all = everything();
        assert_eq!(
            (all.instructions(), all.exits(ExitKind::Halt), all.exits(ExitKind::Port)),
            (1_000_000, 2, 0)
        );
        assert_eq!((all.direct_timers(), all.timer_messages(), all.interrupts(0xEF)), (10, 11, 7));
        let shared = (all.messages(), all.event_flags(), all.synic_interrupts(), all.eoi_assists());
        assert_eq!(shared, (12, 13, 14, 15));
        assert_eq!((all.msr_accesses(0x8B), all.msr_accesses(0x8C)), ((2, 1), (0, 0)));
        assert_eq!(all.hypercalls(CallCode::SIGNAL_EVENT), 3);
        let calls: Vec<_> = all.calls().collect();
        let signals = CallCount { calls: 3, failed: 1, cost: 60, dearest: 30 };
        let queries = CallCount { calls: 1, failed: 0, cost: 5, dearest: 5 };
        let expected = [(CallCode::SIGNAL_EVENT, signals), (CallCode::EXT_QUERY_CAPABILITIES, queries)];
        assert_eq!(calls, expected);
    }

    /// What two VPs counted is together twice as much, but for the dearest call, which stays it.
    #[test]
    fn counts_of_two_vps_add_up() {
        let mut sum = everything();
        sum.add(&everything());
        let twice = |line: &str| {
            let (count, what) = line.trim_start().split_once("  ").unwrap();
            let what = what
                .replace("(1 without", "(2 without")
                .replace("2 reads, 1 writes (3", "4 reads, 2 writes (6");
            let what = what.replace("4 reads, 0", "8 reads, 0").replace("0 reads, 5", "0 reads, 10");
            format!("{:>12}  {what}\n", 2 * count.parse::<u64>().unwrap())
        };
        assert_eq!(sum.to_string(), REPORT.lines().map(twice).collect::<String>());
        let signals = sum.calls().find(|(code, _)| *code == CallCode::SIGNAL_EVENT).unwrap().1;
        assert_eq!(signals, CallCount { calls: 6, failed: 2, cost: 120, dearest: 30 });
        assert_eq!(sum.leaves().collect::<Vec<_>>(), [(0x4000_0001, 12)]);
        let mut none = Statistics::default();
        none.add(&everything());
        assert_eq!(none, everything());
    }
}

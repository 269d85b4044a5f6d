// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trace point: every entry from a guest passes it. Here it feeds [`Statistics`], counts that one VP keeps for itself.

use std::collections::BTreeMap;
use std::fmt;

use tlfs::HvStatus;
use tlfs::hypercall::CallCode;

use crate::synic::SynicCounts;

/// Something that a guest did, or that was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// The engine left guest code.
    Exit(ExitKind),
    /// A hypercall was made; a call that is continued counts each time.
    Hypercall(CallCode, HvStatus),
    /// An MSR was read; false if it faulted.
    ReadMsr(u32, bool),
    /// An MSR was written; false if it faulted.
    WriteMsr(u32, bool),
    /// An interrupt of the local APIC was delivered.
    Interrupt(u8),
    /// An interrupt of the PIC was delivered.
    ExternalInterrupt(u8),
    /// An NMI was delivered.
    Nmi,
    /// Synthetic timers in direct mode expired.
    DirectTimers(u32),
    /// Synthetic timers sent messages.
    TimerMessages(u32),
}

macro_rules! exit_kinds {
    ($( $(#[$doc:meta])* $Kind:ident = $name:literal, )+) => {
        /// Kinds of exits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ExitKind {
            $( $(#[$doc])* $Kind, )+
        }

        impl ExitKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$( Self::$Kind, )+];

            /// What people call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$Kind => $name, )+
                }
            }
        }
    };
}

exit_kinds! {
    /// A timer was due.
    Deadline = "deadline",
    /// Another thread wanted the VP's attention.
    Kicked = "kicked",
    /// An interrupt or NMI that was waiting could be delivered.
    Window = "interrupt window",
    /// HLT.
    Halt = "halt",
    /// A loop of PAUSE.
    SpinWait = "spin wait",
    /// IN or OUT.
    Port = "port access",
    /// A register of the local APIC's page.
    LocalApic = "local APIC page",
    /// Other memory.
    Memory = "memory access",
    /// RDMSR or WRMSR.
    Msr = "MSR access",
    /// CPUID.
    Cpuid = "CPUID",
    /// VMCALL or VMMCALL.
    Hypercall = "hypercall",
    /// CR8.
    TaskPriority = "CR8 access",
    /// Anything else.
    Other = "other",
}

/// How often what happened on a VP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Guest instructions, as far as the engine counts them.
    pub(crate) instructions: u64,
    /// By [`ExitKind`].
    exits: [u64; ExitKind::ALL.len()],
    /// By call code: calls, and those that did not succeed.
    hypercalls: BTreeMap<u16, (u64, u64)>,
    /// By number: reads, writes, and those of both that faulted.
    msrs: BTreeMap<u32, (u64, u64, u64)>,
    interrupts: [u64; 256],
    external_interrupts: u64,
    nmis: u64,
    direct_timers: u64,
    timer_messages: u64,
    /// Interrupts that the guest ended through the VP assist page.
    pub(crate) eoi_assists: u64,
    pub(crate) synic: SynicCounts,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            instructions: 0,
            exits: [0; ExitKind::ALL.len()],
            hypercalls: BTreeMap::new(),
            msrs: BTreeMap::new(),
            interrupts: [0; 256],
            external_interrupts: 0,
            nmis: 0,
            direct_timers: 0,
            timer_messages: 0,
            eoi_assists: 0,
            synic: SynicCounts::default(),
        }
    }
}

impl Statistics {
    pub(crate) fn count(&mut self, event: TraceEvent) {
        match event {
            TraceEvent::Exit(kind) => self.exits[kind as usize] += 1,
            TraceEvent::Hypercall(code, status) => {
                let counts = self.hypercalls.entry(code.0).or_default();
                counts.0 += 1;
                counts.1 += u64::from(status != HvStatus::SUCCESS);
            }
            TraceEvent::ReadMsr(number, done) => {
                let counts = self.msrs.entry(number).or_default();
                counts.0 += 1;
                counts.2 += u64::from(!done);
            }
            TraceEvent::WriteMsr(number, done) => {
                let counts = self.msrs.entry(number).or_default();
                counts.1 += 1;
                counts.2 += u64::from(!done);
            }
            TraceEvent::Interrupt(vector) => self.interrupts[usize::from(vector)] += 1,
            TraceEvent::ExternalInterrupt(_) => self.external_interrupts += 1,
            TraceEvent::Nmi => self.nmis += 1,
            TraceEvent::DirectTimers(count) => self.direct_timers += u64::from(count),
            TraceEvent::TimerMessages(count) => self.timer_messages += u64::from(count),
        }
    }

    /// Adds another VP's counts.
    pub fn add(&mut self, other: &Self) {
        let arrays = self.exits.iter_mut().chain(&mut self.interrupts);
        for (sum, more) in arrays.zip(other.exits.iter().chain(&other.interrupts)) {
            *sum += more;
        }
        for (&code, more) in &other.hypercalls {
            let counts = self.hypercalls.entry(code).or_default();
            *counts = (counts.0 + more.0, counts.1 + more.1);
        }
        for (&number, more) in &other.msrs {
            let counts = self.msrs.entry(number).or_default();
            *counts = (counts.0 + more.0, counts.1 + more.1, counts.2 + more.2);
        }
        self.instructions += other.instructions;
        self.external_interrupts += other.external_interrupts;
        self.nmis += other.nmis;
        self.direct_timers += other.direct_timers;
        self.timer_messages += other.timer_messages;
        self.eoi_assists += other.eoi_assists;
        self.synic.messages += other.synic.messages;
        self.synic.event_flags += other.synic.event_flags;
        self.synic.interrupts += other.synic.interrupts;
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
        self.hypercalls.get(&code.0).map_or(0, |counts| counts.0)
    }

    /// Reads and writes of this MSR.
    #[must_use]
    pub fn msr_accesses(&self, number: u32) -> (u64, u64) {
        self.msrs.get(&number).map_or((0, 0), |counts| (counts.0, counts.1))
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
        self.synic.messages
    }

    /// Event flags that were set.
    #[must_use]
    pub fn event_flags(&self) -> u64 {
        self.synic.event_flags
    }

    /// Interrupts that sources of the SynIC requested.
    #[must_use]
    pub fn synic_interrupts(&self) -> u64 {
        self.synic.interrupts
    }

    /// Interrupts that the guest ended through the VP assist page.
    #[must_use]
    pub fn eoi_assists(&self) -> u64 {
        self.eoi_assists
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
        for (&code, &(count, failed)) in &self.hypercalls {
            let code = CallCode(code);
            match failed {
                0 => line(count, &format_args!("hypercall {code:?}"))?,
                _ => line(count, &format_args!("hypercall {code:?} ({failed} without success)"))?,
            }
        }
        for (&number, &(reads, writes, faults)) in &self.msrs {
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
        line(self.direct_timers, &"synthetic timers: direct expirations")?;
        line(self.timer_messages, &"synthetic timers: messages")?;
        line(self.synic.messages, &"SynIC messages delivered")?;
        line(self.synic.event_flags, &"SynIC event flags set")?;
        line(self.synic.interrupts, &"SynIC interrupts")?;
        line(self.eoi_assists, &"EOI assists")
    }
}

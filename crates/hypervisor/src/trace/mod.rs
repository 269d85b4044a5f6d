// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trace point: every entry from a guest passes it. What it is told of is counted ([`Statistics`], by VP, VTL and phase), handed to a
//! [`TraceSink`], both, or neither: then it costs one branch.

mod phase;
mod statistics;

use std::sync::Arc;

use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::vsm::Vtl;

use crate::vp::state::VTL_COUNT;

pub(crate) use phase::{Phases, SharedCounts};
pub use statistics::{CallCount, MsrCount, Statistics};

/// Something that a guest did, or that was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// The engine left guest code.
    Exit(ExitKind),
    /// A hypercall was made; a call that is continued counts each time.
    Hypercall {
        /// Which.
        code: CallCode,
        /// How it ended; success for one that is continued.
        status: HvStatus,
        /// What it cost, in ticks of [`Tracing::host_time`].
        cost: u64,
    },
    /// An MSR was read; false if it faulted.
    ReadMsr(u32, bool),
    /// An MSR was written; false if it faulted.
    WriteMsr(u32, bool),
    /// A leaf of CPUID was asked for.
    Cpuid(u32),
    /// An interrupt of the local APIC was delivered.
    Interrupt(u8),
    /// An interrupt of the PIC was delivered.
    ExternalInterrupt(u8),
    /// An NMI was delivered.
    Nmi,
    /// A synthetic machine check was delivered.
    MachineCheck,
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

/// Who is handed every event. Called on VPs' threads, with no lock of this room that a sink could need; it must not block.
pub trait TraceSink: Send + Sync {
    /// An event of a VP at tick `at` of the partition's clock.
    fn record(&self, at: u64, vp: u32, vtl: Vtl, event: TraceEvent);
}

/// What is done with the events of a partition's VPs.
#[derive(Clone, Default)]
pub struct Tracing {
    /// Whether they are counted.
    pub count: bool,
    /// A reading of the host's time, in ticks of its own, for what hypercalls cost. Without it they cost nothing.
    pub host_time: Option<fn() -> u64>,
    /// Who is handed each.
    pub sink: Option<Arc<dyn TraceSink>>,
}

impl Tracing {
    /// Counts, and no more.
    #[must_use]
    pub fn counting() -> Self {
        Self { count: true, ..Self::default() }
    }
}

/// What a VP counted in one phase at one VTL.
#[derive(Clone, Debug)]
pub struct PhaseStatistics {
    /// The number that [`crate::Partition::begin_phase`] was given; 0 until then.
    pub phase: usize,
    /// The VTL.
    pub vtl: Vtl,
    /// The counts.
    pub statistics: Statistics,
}

/// What a VP keeps to serve its trace point.
pub(crate) struct Tracer {
    tracing: Tracing,
    phase: usize,
    /// By phase and VTL; empty if nothing is counted.
    counts: Vec<[Statistics; VTL_COUNT]>,
    /// Instructions that were executed before this phase.
    instructions: u64,
}

impl Tracer {
    /// `None` if nothing is to be done.
    pub(crate) fn new(tracing: &Tracing) -> Option<Box<Self>> {
        let idle = !tracing.count && tracing.sink.is_none();
        let counts = if tracing.count { vec![Default::default()] } else { Vec::new() };
        (!idle).then(|| Box::new(Self { tracing: tracing.clone(), phase: 0, counts, instructions: 0 }))
    }

    pub(crate) fn host_time(&self) -> u64 {
        self.tracing.host_time.map_or(0, |read| read())
    }

    pub(crate) fn sink(&self) -> Option<&dyn TraceSink> {
        self.tracing.sink.as_deref()
    }

    pub(crate) fn phase(&self) -> usize {
        self.phase
    }

    /// Another phase has begun, when `instructions` had been executed in all.
    #[cold]
    pub(crate) fn begin_phase(&mut self, phase: usize, instructions: u64) {
        if self.tracing.count {
            self.counts[self.phase][0].instructions += instructions.saturating_sub(self.instructions);
            self.instructions = instructions;
            if self.counts.len() <= phase {
                self.counts.resize_with(phase + 1, Default::default);
            }
        }
        self.phase = phase;
    }

    #[inline]
    pub(crate) fn count(&mut self, vtl: Vtl, event: TraceEvent) {
        if let Some(counts) = self.counts.get_mut(self.phase) {
            counts[usize::from(vtl.0)].count(event);
        }
    }

    /// What has been counted until now, when `instructions` have been executed in all; `shared` tells what others counted for the VP
    /// in each phase. The engine counts instructions for the processor, not for a VTL: they stand with VTL 0, as do those.
    pub(crate) fn statistics(&self, instructions: u64, shared: &[SharedCounts]) -> Vec<PhaseStatistics> {
        let mut all = Vec::new();
        for (phase, counts) in self.counts.iter().enumerate() {
            for (vtl, statistics) in counts.iter().enumerate() {
                let mut statistics = statistics.clone();
                if (phase, vtl) == (self.phase, 0) {
                    statistics.instructions += instructions.saturating_sub(self.instructions);
                }
                if let Some(shared) = shared.get(phase).filter(|_| vtl == 0) {
                    statistics.add_shared(shared);
                }
                all.push(PhaseStatistics { phase, vtl: Vtl(vtl as u8), statistics });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synic::SynicCounts;

    /// Instructions and what others counted stand with VTL 0, in the phase in which they were.
    #[test]
    fn each_phase_has_its_own_counts() {
        let mut tracer = Tracer::new(&Tracing::counting()).unwrap();
        tracer.count(Vtl::VTL0, TraceEvent::Nmi);
        tracer.begin_phase(2, 100);
        tracer.count(Vtl::VTL0, TraceEvent::Exit(ExitKind::Halt));
        tracer.begin_phase(1, 150);
        assert_eq!(tracer.phase(), 1);
        let shared = [3, 0, 4].map(|messages| SharedCounts {
            synic: SynicCounts { messages, ..Default::default() },
            ..Default::default()
        });
        let parts = tracer.statistics(157, &shared);
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.phase, part.vtl, part.statistics.instructions(), part.statistics.messages()))
            .collect();
        let vtl = Vtl::VTL0;
        assert_eq!(found, [(0, vtl, 100, 3), (1, vtl, 7, 0), (2, vtl, 50, 4)]);
        assert_eq!([0, 1, 2].map(|phase| parts[phase].statistics.exits(ExitKind::Halt)), [0, 0, 1]);
        // A phase that comes again goes on where it was.
        tracer.begin_phase(0, 160);
        assert_eq!(
            tracer.statistics(161, &[]).iter().map(|part| part.statistics.instructions()).sum::<u64>(),
            161
        );
    }

    #[test]
    fn nobody_is_traced_for_nothing() {
        assert!(Tracer::new(&Tracing::default()).is_none());
        assert!(Tracer::new(&Tracing::counting()).is_some());
        assert_eq!(
            Tracer::new(&Tracing::counting()).unwrap().host_time(),
            0,
            "without a clock nothing costs"
        );
    }
}

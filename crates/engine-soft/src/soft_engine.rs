// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine and its groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::{
    Capabilities, Clock, CpuidResult, Engine, EngineError, EngineVp, HostClock, VirtualClock, VpGroup,
};
use memory::{Space, SpaceObserver};

use crate::block::ChunkBudget;
use crate::cpu::{Generator, Parts, TimeSource, VirtualTime};
use crate::model::Model;
use crate::shared::{Registry, SpaceMembers, VpShared};
use crate::vp::SoftVp;

/// Memory that blocks of all processors together may take.
const BLOCK_BYTES: usize = 48 << 20;
/// Most processors in a group.
const MOST_VPS: u32 = 64;

/// The software processor.
pub struct SoftEngine {
    model: Arc<Model>,
    registry: Arc<Registry>,
    chunks: Arc<ChunkBudget>,
    /// Where groups have time from.
    clock: EngineClock,
}

impl SoftEngine {
    /// An engine with processors of a model.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Self::with_block_bytes(model, BLOCK_BYTES)
    }

    /// An engine whose processors together keep about so many bytes of decoded blocks.
    pub(crate) fn with_block_bytes(model: Model, bytes: usize) -> Self {
        Self {
            model: Arc::new(model),
            registry: Arc::default(),
            chunks: Arc::new(ChunkBudget::new(bytes)),
            clock: EngineClock::Host,
        }
    }

    /// The same engine under virtual time: all groups share a [`VirtualClock`], and RDRAND and RDSEED give numbers that follow from `seed`. What
    /// VPs do is then a function of their state and of what they are told, as long as no two run at once.
    #[must_use]
    pub fn with_virtual_time(self, seed: u64) -> Self {
        Self { clock: EngineClock::Virtual { clock: Arc::default(), seed }, ..self }
    }
}

impl Engine for SoftEngine {
    fn name(&self) -> &'static str {
        "soft"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            cpuid_exits: true,
            hypercall_exits: true,
            exception_exits: true,
            descriptor_table_guard: true,
            execute_rights: true,
            mode_based_execute: true,
            walk_rights: true,
            task_priority_exits: true,
            most_vps: MOST_VPS,
        }
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        self.model.cpuid(leaf, subleaf)
    }

    fn create_group(&self, space: &Arc<Space>) -> Result<Box<dyn VpGroup>, EngineError> {
        let members: Arc<SpaceMembers> = Arc::default();
        let observer: Arc<dyn SpaceObserver> = members.clone();
        space.add_observer(Arc::downgrade(&observer));
        Ok(Box::new(SoftGroup {
            model: Arc::clone(&self.model),
            registry: Arc::clone(&self.registry),
            chunks: Arc::clone(&self.chunks),
            space: Arc::clone(space),
            clock: match &self.clock {
                EngineClock::Host => GroupClock::Host(Arc::default()),
                EngineClock::Virtual { clock, seed } => {
                    GroupClock::Virtual { clock: Arc::clone(clock), seed: *seed }
                }
            },
            members,
            vps: AtomicU32::new(0),
        }))
    }
}

/// Where the groups of an engine have time from.
enum EngineClock {
    /// Each has a clock of its own, by the host's.
    Host,
    /// All have the same.
    Virtual { clock: Arc<VirtualClock>, seed: u64 },
}

/// The clock of a group.
enum GroupClock {
    Host(Arc<HostClock>),
    Virtual { clock: Arc<VirtualClock>, seed: u64 },
}

impl GroupClock {
    /// What processor `number` has time from.
    fn source(&self, number: u32) -> TimeSource {
        match self {
            Self::Host(clock) => TimeSource::Host(Arc::clone(clock)),
            Self::Virtual { clock, seed } => {
                TimeSource::Virtual(VirtualTime::new(Arc::clone(clock), Generator::seeded(*seed, number)))
            }
        }
    }
}

/// Processors that share a space and a clock.
struct SoftGroup {
    model: Arc<Model>,
    registry: Arc<Registry>,
    chunks: Arc<ChunkBudget>,
    space: Arc<Space>,
    clock: GroupClock,
    members: Arc<SpaceMembers>,
    vps: AtomicU32,
}

impl VpGroup for SoftGroup {
    fn clock(&self) -> Arc<dyn Clock> {
        match &self.clock {
            GroupClock::Host(clock) => clock.clone(),
            GroupClock::Virtual { clock, .. } => clock.clone(),
        }
    }

    fn create_vp(&self, _index: u32) -> Result<Box<dyn EngineVp>, EngineError> {
        let number = self.vps.fetch_add(1, Ordering::Relaxed);
        if number >= MOST_VPS {
            return Err(EngineError::TooManyVps { engine: "soft", most: MOST_VPS });
        }
        let shared: Arc<VpShared> = Arc::default();
        let parts = Parts {
            chunks: Arc::clone(&self.chunks),
            offered: self.model.extensions(),
            vendor: self.model.vendor(),
            efer_optional: self.model.efer_optional(),
            components: self.model.state_components(),
            shared: Arc::clone(&shared),
            registry: Arc::clone(&self.registry),
        };
        let vp = SoftVp::new(
            &self.space,
            self.clock.source(number),
            parts,
            &self.model,
            Arc::clone(&self.members),
        )
        .map_err(|error| EngineError::Host {
            engine: "soft",
            action: "prepare to execute data instructions",
            source: std::io::Error::other(error),
        })?;
        self.registry.add(&shared);
        self.members.add(&shared);
        Ok(Box::new(vp))
    }
}

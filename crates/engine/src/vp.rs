// SPDX-License-Identifier: MIT OR Apache-2.0
//! The traits of the contract.

use std::sync::Arc;

use memory::{Space, ViewId};

use crate::{
    Capabilities, Clock, ControlRegisters, DebugRegisters, Event, EventState, Exit, Gpr,
    ModelSpecificRegisters, Resume, Segment, SegmentName, TableRegister, VpState, XsaveArea,
};

/// Something that can run virtual processors.
pub trait Engine: Send + Sync {
    /// Short name for people: `soft`, `kvm`.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What CPUID says on a VP of this engine with no hypervisor on top: the processor model. APIC id and topology fields hold the values of
    /// VP 0 of one; whoever answers the guest puts in the VP's own.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult;

    /// Makes a group of VPs that share `space`.
    ///
    /// # Errors
    /// If the host refuses what the engine needs.
    fn create_group(&self, space: &Arc<Space>) -> Result<Box<dyn VpGroup>, EngineError>;
}

/// VPs that share guest-physical memory and a clock.
pub trait VpGroup: Send + Sync {
    /// The guest TSC that all of them share.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Makes a VP in the state after reset, in view 0. `index` is unique in the group.
    ///
    /// # Errors
    /// If the host refuses what the engine needs, or there are too many VPs.
    fn create_vp(&self, index: u32) -> Result<Box<dyn EngineVp>, EngineError>;
}

/// Up to when a VP runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunLimits {
    /// Tick of the group's clock at which the run ends with [`crate::ExitReason::Deadline`]. It may end a little later (an engine looks at the clock
    /// every few thousand instructions, and every few exits), never earlier. Under a [`crate::VirtualClock`] it ends exactly there, or where the instruction ends that
    /// [`Resume::Complete`] has let go on.
    pub deadline: Option<u64>,
    /// End with [`crate::ExitReason::InterruptWindow`] as soon as an external interrupt can be injected.
    pub interrupt_window: bool,
    /// End with [`crate::ExitReason::NmiWindow`] as soon as an NMI can be injected.
    pub nmi_window: bool,
}

/// A virtual processor, as its engine sees it.
///
/// Getters are cheap: the common hypercall is a handful of them. Setters take effect with the next run.
pub trait EngineVp: Send {
    /// Runs guest code until something happens.
    ///
    /// # Panics
    /// If an exit that stands before an instruction has not been answered by [`EngineVp::resume`] or by setting RIP.
    fn run(&mut self, limits: RunLimits) -> Exit;

    /// Answers the last exit, which stood before an instruction or during the delivery of an event.
    fn resume(&mut self, resume: Resume);

    /// Has an event delivered before the next instruction. Whoever injects an interrupt has made sure of [`EngineVp::can_take_interrupt`].
    fn inject(&mut self, event: Event);

    /// Whether an external interrupt could be delivered before the next instruction: RFLAGS.IF is set, there is no shadow and no event pending,
    /// and no instruction has begun, by an access that [`Resume::Complete`] answered, that has not ended.
    fn can_take_interrupt(&self) -> bool;

    /// Whether an NMI could be delivered before the next instruction.
    fn can_take_nmi(&self) -> bool;

    /// Whether an instruction has begun, by an exit that waits for its answer or an access that [`Resume::Complete`] answered, and has not ended.
    /// What [`EngineVp::save`] gives is then not all that the VP needs to go on.
    fn is_in_instruction(&self) -> bool;

    /// The handle with which any thread can end a run.
    fn kicker(&self) -> Arc<dyn Kick>;

    /// Whether there was a kick that has not ended a run. Then it will not: whoever holds the VP knows.
    fn take_kick(&mut self) -> bool;

    /// Chooses the view of memory that the VP runs in from now on.
    fn set_view(&mut self, view: ViewId);

    /// Forgets translations of guest-virtual addresses.
    fn flush(&mut self, scope: FlushScope<'_>);

    /// Guest instructions that have retired since the VP was made: those that [`Resume::Advance`] moved past count, those that faulted do not, and
    /// a repeated string instruction counts once. An engine that cannot count says 0.
    fn instructions(&self) -> u64;

    /// Bytes of the instruction that RIP points to, as many as can be read, up to 15.
    fn instruction_bytes(&mut self) -> ([u8; 15], u8);

    /// A general-purpose register, whole.
    fn gpr(&self, register: Gpr) -> u64;
    /// Sets a general-purpose register, whole.
    fn set_gpr(&mut self, register: Gpr, value: u64);
    /// RIP.
    fn rip(&self) -> u64;
    /// Sets RIP; a pending exit counts as answered, and what it had completed is dropped.
    fn set_rip(&mut self, value: u64);
    /// RFLAGS, exact.
    fn rflags(&self) -> u64;
    /// Sets RFLAGS; bit 1 is set and reserved bits are cleared.
    fn set_rflags(&mut self, value: u64);
    /// XMM0 to XMM15.
    fn xmm(&self, index: u8) -> u128;
    /// Sets XMM0 to XMM15.
    fn set_xmm(&mut self, index: u8, value: u128);
    /// Current privilege level, 0 to 3.
    fn cpl(&self) -> u8;
    /// A segment register.
    fn segment(&self, name: SegmentName) -> Segment;
    /// Sets a segment register, hidden part included, with no checks.
    fn set_segment(&mut self, name: SegmentName, segment: Segment);
    /// GDTR.
    fn gdtr(&self) -> TableRegister;
    /// Sets GDTR.
    fn set_gdtr(&mut self, table: TableRegister);
    /// IDTR.
    fn idtr(&self) -> TableRegister;
    /// Sets IDTR.
    fn set_idtr(&mut self, table: TableRegister);
    /// Control registers.
    fn control(&self) -> ControlRegisters;
    /// Sets control registers, with no checks; forgets translations where they change them.
    fn set_control(&mut self, control: ControlRegisters);
    /// Debug registers.
    fn debug(&self) -> DebugRegisters;
    /// Sets debug registers.
    fn set_debug(&mut self, debug: DebugRegisters);
    /// The MSRs that the engine keeps.
    fn msrs(&self) -> ModelSpecificRegisters;
    /// Sets the MSRs that the engine keeps.
    fn set_msrs(&mut self, msrs: ModelSpecificRegisters);
    /// What stands between the last instruction and the next.
    fn events(&self) -> EventState;
    /// Sets what stands between the last instruction and the next.
    fn set_events(&mut self, events: EventState);

    /// Chooses the exceptions (bit n: vector n) that raise [`crate::ExitReason::Exception`] in place of being delivered, those too that an event's delivery raises, before the two
    /// combine. Software interrupts are none. Nothing is chosen at first; an engine without [`Capabilities::exception_exits`] ignores it.
    fn set_exception_exits(&mut self, vectors: u32);

    /// Chooses the instructions that are #GP with CPL above 0. None at first; an engine without [`Capabilities::descriptor_table_guard`]
    /// ignores it.
    fn set_descriptor_table_guard(&mut self, guard: DescriptorTableGuard);

    /// Sets x87, SSE and AVX state; the area is taken as [`EngineVp::restore`] takes it.
    fn set_xsave(&mut self, area: &XsaveArea);

    /// Everything the engine keeps.
    fn save(&self) -> VpState;
    /// Replaces everything the engine keeps. The contents of `state` are taken as they are, except that an XSAVE area of another
    /// size is filled up or cut.
    fn restore(&mut self, state: &VpState);
}

/// Ends runs from outside.
///
/// Who kicks a VP and *then* sees that it is not in guest code knows that it enters guest code only after the kick was noticed: both are sequentially
/// consistent, as are the VP's entry and the look at kicks that follows it.
pub trait Kick: Send + Sync {
    /// Ends the current run, or the next one if none is under way, with [`crate::ExitReason::Kicked`]. Returns at once.
    fn kick(&self);

    /// Whether guest code may be running.
    fn is_in_guest(&self) -> bool;
}

/// Which translations of guest-virtual addresses to forget. More may be forgotten than asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushScope<'a> {
    /// All, global ones too.
    All,
    /// All that are not global.
    NonGlobal,
    /// Those of one address space (the CR3 value without its PCID), global ones too if the flag says so.
    AddressSpace {
        /// Page-table root, low 12 bits zero.
        root: u64,
        /// Forget global ones too.
        global: bool,
    },
    /// Those of these pages, in any address space: (first linear address, number of 4 KiB pages).
    Pages(&'a [(u64, u64)]),
}

/// Instructions that user code may not execute, though it may elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DescriptorTableGuard {
    /// SGDT.
    pub sgdt: bool,
    /// SIDT.
    pub sidt: bool,
    /// SLDT.
    pub sldt: bool,
    /// STR.
    pub str: bool,
}

/// What CPUID says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct CpuidResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// The host did not give an engine what it needs.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A host facility failed.
    #[error("the {engine} engine could not {action}: {source}")]
    Host {
        /// The engine.
        engine: &'static str,
        /// What it tried to do.
        action: &'static str,
        /// What the host said.
        source: std::io::Error,
    },
    /// The engine has no room for another VP.
    #[error("the {engine} engine runs at most {most} virtual processors")]
    TooManyVps {
        /// The engine.
        engine: &'static str,
        /// How many it runs.
        most: u32,
    },
    /// The host's processor lacks something.
    #[error("the {engine} engine needs {feature}, which this host's processor does not have")]
    HostProcessor {
        /// The engine.
        engine: &'static str,
        /// What is missing.
        feature: &'static str,
    },
}

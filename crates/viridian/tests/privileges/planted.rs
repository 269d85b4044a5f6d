// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wrong guards, planted: does the matrix find what it is there to find?
//!
//! [`Planted`] stands between the engine and the hypervisor. It reports an access to one register, or a call, as one to another, so that what
//! guards the other guards it, too. The hypervisor and the comparison know nothing of it.

use std::sync::Arc;

use engine::{
    Capabilities, Clock, ControlRegisters, CpuidResult, DebugRegisters, DescriptorTableGuard, Engine,
    EngineError, EngineVp, Event, EventState, Exit, ExitReason, FlushScope, Gpr, Kick,
    ModelSpecificRegisters, Resume, RunLimits, Segment, SegmentName, TableRegister, VpGroup, VpState,
    XsaveArea,
};
use memory::{Space, ViewId};

/// What is taken for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Reads of the first MSR are guarded as reads of the second.
    Reads(u32, u32),
    /// Writes of the first MSR are guarded as writes of the second.
    Writes(u32, u32),
    /// The first call is guarded as the second, and does its work.
    Calls(u16, u16),
}

/// A number that no MSR has.
const NOTHING: u32 = 0x4000_01FF;

/// Guards that somebody could write, with the way in which each is wrong.
pub(crate) const FAULTS: &[(Fault, &str)] = &[
    (Fault::Reads(0x4000_0093, 0x4000_0002), "SINT3 is read by whoever may read VP_INDEX"),
    (Fault::Writes(0x4000_009F, 0x4000_0072), "SINT15, the last, is written by whoever may write TPR"),
    (Fault::Reads(0x4000_0020, 0x4000_0010), "the reference counter goes with the run time"),
    (
        Fault::Reads(0x4000_0021, 0x4000_0020),
        "the reference TSC goes with the counter, as a table of the specification says",
    ),
    (Fault::Reads(0x4000_0073, 0x4000_0083), "the assist page goes with the SynIC"),
    (
        Fault::Writes(0x4000_00B4, 0x4000_0080),
        "a timer goes with the SynIC, as the words of the specification have it",
    ),
    (Fault::Reads(0x4000_0022, NOTHING), "the TSC frequency is nobody's"),
    (Fault::Writes(0x4000_0081, 0x4000_0080), "SVERSION can be written"),
    (Fault::Reads(0x4000_0030, 0x4000_0002), "a register that does not exist can be read"),
    (Fault::Reads(0x4000_0100, 0x4000_0002), "crash parameters go with VP_INDEX"),
    (Fault::Calls(0x005C, 0x005D), "messages go with events"),
    (Fault::Calls(0x005D, 0x0008), "events are everybody's"),
];

/// An engine with a fault.
pub(crate) struct Planted {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) fault: Fault,
}

impl Engine for Planted {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        self.engine.cpuid(leaf, subleaf)
    }

    fn create_group(&self, space: &Arc<Space>) -> Result<Box<dyn VpGroup>, EngineError> {
        Ok(Box::new(Group { group: self.engine.create_group(space)?, fault: self.fault }))
    }
}

struct Group {
    group: Box<dyn VpGroup>,
    fault: Fault,
}

impl VpGroup for Group {
    fn clock(&self) -> Arc<dyn Clock> {
        self.group.clock()
    }

    fn create_vp(&self, index: u32) -> Result<Box<dyn EngineVp>, EngineError> {
        Ok(Box::new(PlantedVp { vp: self.group.create_vp(index)?, fault: self.fault }))
    }
}

struct PlantedVp {
    vp: Box<dyn EngineVp>,
    fault: Fault,
}

impl PlantedVp {
    fn alter(&mut self, reason: &mut ExitReason) {
        match (self.fault, reason) {
            (Fault::Reads(from, to), ExitReason::ReadMsr { number }) if *number == from => *number = to,
            (Fault::Writes(from, to), ExitReason::WriteMsr { number, .. }) if *number == from => *number = to,
            (Fault::Calls(from, to), ExitReason::Hypercall(_)) => {
                let control = self.vp.gpr(Gpr::Rcx);
                if control as u16 == from {
                    self.vp.set_gpr(Gpr::Rcx, control & !0xFFFF | u64::from(to));
                }
            }
            _ => {}
        }
    }
}

macro_rules! the_same {
    ($( fn $name:ident(&self $(, $argument:ident: $Type:ty)*) $(-> $Result:ty)?; )+
     $( mut fn $changer:ident(&mut self $(, $given:ident: $Given:ty)*) $(-> $Changed:ty)?; )+) => {
        $( fn $name(&self $(, $argument: $Type)*) $(-> $Result)? { self.vp.$name($($argument),*) } )+
        $( fn $changer(&mut self $(, $given: $Given)*) $(-> $Changed)? { self.vp.$changer($($given),*) } )+
    };
}

impl EngineVp for PlantedVp {
    fn run(&mut self, limits: RunLimits) -> Exit {
        let mut exit = self.vp.run(limits);
        self.alter(&mut exit.reason);
        exit
    }

    the_same! {
        fn can_take_interrupt(&self) -> bool;
        fn can_take_nmi(&self) -> bool;
        fn is_in_instruction(&self) -> bool;
        fn kicker(&self) -> Arc<dyn Kick>;
        fn instructions(&self) -> u64;
        fn gpr(&self, register: Gpr) -> u64;
        fn rip(&self) -> u64;
        fn rflags(&self) -> u64;
        fn xmm(&self, index: u8) -> u128;
        fn cpl(&self) -> u8;
        fn segment(&self, name: SegmentName) -> Segment;
        fn gdtr(&self) -> TableRegister;
        fn idtr(&self) -> TableRegister;
        fn control(&self) -> ControlRegisters;
        fn debug(&self) -> DebugRegisters;
        fn msrs(&self) -> ModelSpecificRegisters;
        fn events(&self) -> EventState;
        fn save(&self) -> VpState;
        mut fn take_kick(&mut self) -> bool;
        mut fn resume(&mut self, resume: Resume);
        mut fn inject(&mut self, event: Event);
        mut fn set_view(&mut self, view: ViewId);
        mut fn flush(&mut self, scope: FlushScope<'_>);
        mut fn instruction_bytes(&mut self) -> ([u8; 15], u8);
        mut fn set_gpr(&mut self, register: Gpr, value: u64);
        mut fn set_rip(&mut self, value: u64);
        mut fn set_rflags(&mut self, value: u64);
        mut fn set_xmm(&mut self, index: u8, value: u128);
        mut fn set_segment(&mut self, name: SegmentName, segment: Segment);
        mut fn set_gdtr(&mut self, table: TableRegister);
        mut fn set_idtr(&mut self, table: TableRegister);
        mut fn set_control(&mut self, control: ControlRegisters);
        mut fn set_debug(&mut self, debug: DebugRegisters);
        mut fn set_msrs(&mut self, msrs: ModelSpecificRegisters);
        mut fn set_events(&mut self, events: EventState);
        mut fn set_exception_exits(&mut self, vectors: u32);
        mut fn set_descriptor_table_guard(&mut self, guard: DescriptorTableGuard);
        mut fn set_xsave(&mut self, area: &XsaveArea);
        mut fn restore(&mut self, state: &VpState);
    }
}
